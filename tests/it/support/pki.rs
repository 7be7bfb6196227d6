//! Certificates, made for a test.

use std::{fs, path::PathBuf};

use grpc_rest_bridge::config::{ClientAuth, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// A certification authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The files that a bridge reads.
pub(crate) struct Files {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server on this machine.
    pub(crate) fn for_server(&self) -> Certified {
        self.issue(&CertificateParams::new(vec!["localhost".to_owned()]).unwrap())
    }

    /// A certificate for a caller, with a URI as SPIFFE has them.
    pub(crate) fn for_caller(&self, uri: &str) -> Certified {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Certified {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Certified { certificate, key: key.serialize_pem() }
    }

    /// A client that trusts this one alone, and shows a certificate if it has one.
    pub(crate) fn trusted(&self, caller: Option<&Certified>) -> ClientTlsConfig {
        let tls =
            ClientTlsConfig::new().domain_name("localhost").ca_certificate(Certificate::from_pem(self.pem()));
        match caller {
            Some(caller) => tls.identity(Identity::from_pem(&caller.certificate, &caller.key)),
            None => tls,
        }
    }
}

impl Files {
    /// The files of this server.
    pub(crate) fn of(server: &Certified) -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        files.renew(server);
        files
    }

    pub(crate) fn renew(&self, server: &Certified) {
        self.write("cert.pem", &server.certificate);
        self.write("key.pem", &server.key);
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The settings for them.
    pub(crate) fn config(&self) -> TlsConfig {
        TlsConfig {
            certificate: self.path("cert.pem"),
            key: self.path("key.pem"),
            client_ca: None,
            client_auth: ClientAuth::Required,
            client_names: Vec::new(),
        }
    }

    /// The settings where callers show certificates of this authority.
    pub(crate) fn mutual(&self, authority: &Authority) -> TlsConfig {
        TlsConfig { client_ca: Some(self.write("ca.pem", &authority.pem())), ..self.config() }
    }
}
