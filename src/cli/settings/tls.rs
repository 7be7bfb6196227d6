//! TLS towards callers.

use std::path::{Path, PathBuf};

use crate::{
    cli::reader::{Reader, any_path},
    config::{ClientAuth, TlsConfig},
};

/// The settings of TLS.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsSettings {
    /// The certificate as PEM, those of its issuers behind it [default: no TLS]
    #[arg(long, env = "BRIDGE_TLS_CERT", value_parser = any_path(), value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key as PEM
    #[arg(long, env = "BRIDGE_TLS_KEY", value_parser = any_path(), value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The certificates that issue those of callers, as PEM [default: callers are asked for none]
    #[arg(long, env = "BRIDGE_TLS_CLIENT_CA", value_parser = any_path(), value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Whether a caller may come without a certificate (required: no connection without one, requested: it may)
    #[arg(long, env = "BRIDGE_TLS_CLIENT_AUTH", value_name = "HOW", default_value = "required")]
    tls_client_auth: String,
    /// Which alternative names a caller's certificate may have, * for anything: spiffe://shop/* [default: all]
    #[arg(long, env = "BRIDGE_TLS_CLIENT_NAMES", value_name = "NAME", value_delimiter = ',')]
    tls_client_names: Vec<String>,
}

// === impl TlsSettings ===

impl TlsSettings {
    /// The typed settings; nothing inside is no TLS.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<Option<TlsConfig>> {
        let certificate = read.path("tls_cert", self.tls_cert.as_deref(), "name the file of the certificate");
        let key = read.path("tls_key", self.tls_key.as_deref(), "name the file of its private key");
        let client_ca = self.tls_client_ca.as_deref();
        let client_ca = read.path("tls_client_ca", client_ca, "name the file of the CA's certificates");
        let client_auth =
            read.value("tls_client_auth", &self.tls_client_auth, "write required or requested", |text| {
                match text {
                    "required" => Some(ClientAuth::Required),
                    "requested" => Some(ClientAuth::Requested),
                    _ => None,
                }
            });
        let names =
            read.list("tls_client_names", &self.tls_client_names, "write a name, such as shop.example.com");
        if client_ca.is_none() {
            for id in ["tls_client_auth", "tls_client_names"] {
                Self::needs(
                    read,
                    id,
                    "--tls-client-ca",
                    "name the CA that issues the certificates of callers",
                );
            }
        }
        if certificate.is_none() {
            for id in ["tls_key", "tls_client_ca"] {
                Self::needs(read, id, "--tls-cert", "name the certificate to serve with");
            }
            return Some(None);
        }
        if key.is_none() {
            Self::needs(read, "tls_cert", "--tls-key", "name the private key of the certificate");
        }
        Some(Some(TlsConfig {
            certificate: certificate.map(Path::to_owned)?,
            key: key.map(Path::to_owned)?,
            client_ca: client_ca.map(Path::to_owned),
            client_auth: client_auth?,
            client_names: names.to_vec(),
        }))
    }

    /// A setting that says nothing without another one.
    fn needs(read: &mut Reader<'_>, id: &str, other: &str, mend: &str) {
        if read.is_set(id) {
            read.fault(id, format!("stands without {other}"), mend);
        }
    }
}
