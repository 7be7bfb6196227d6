//! TLS towards callers: the certificate, who of them has to show one, and the handshake.
//!
//! TLS 1.2 and 1.3 with the suites that rustls has, all of them with forward secrecy; ALPN says `h2`, which gRPC is.
//! The files are read again when they change, for connections to come; those that are open go on.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use wildmatch::WildMatch;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::{
    config::{ClientAuth, TlsConfig},
    fault::Fault,
    reload::{Reloaded, Text},
};

/// How to mend a file of certificates.
const CERTIFICATES: &str =
    "write PEM (-----BEGIN CERTIFICATE-----), the server's own first, then those of its issuers";
/// How to mend a file of certificates of a CA.
const AUTHORITIES: &str =
    "write PEM (-----BEGIN CERTIFICATE-----), the certificates that issue those of callers";
/// How to mend a file with a key.
const KEY: &str =
    "write PEM without a password (-----BEGIN PRIVATE KEY-----), the key of the first certificate";

/// Makes TLS connections of accepted ones.
#[derive(Debug, Clone)]
pub struct Tls {
    settings: Arc<Reloaded<ServerConfig>>,
    allowed: Arc<[WildMatch]>,
    handshake_timeout: Duration,
}

/// Who is at the other end of a connection; it is in the extensions of each request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, which may be that of a proxy.
    pub address: SocketAddr,
    /// The names in the certificate that it has shown, if it has: the alternative ones that are allowed, or its subject if it has
    /// no other.
    pub names: Arc<[String]>,
}

/// Takes the certificates that a CA has signed, and of those the ones with a name that is allowed.
#[derive(Debug)]
struct ByName {
    by_issuer: Arc<dyn ClientCertVerifier>,
    allowed: Arc<[WildMatch]>,
}

// === impl Tls ===

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read or used.
    pub fn new(config: &TlsConfig, handshake_timeout: Duration) -> Result<Self, Vec<Fault>> {
        let mut files = vec![config.certificate.clone(), config.key.clone()];
        files.extend(config.client_ca.clone());
        let allowed: Arc<[_]> = config.client_names.iter().map(|name| WildMatch::new(name)).collect();
        let (auth, names) = (config.client_auth, allowed.clone());
        let settings = Reloaded::read("TLS", files, move |texts| {
            settings(texts, auth, &names).map_err(|fault| vec![fault])
        })?;
        Ok(Self { settings, allowed, handshake_timeout })
    }

    /// Reads the files again when they change, for ever.
    pub async fn follow(&self, every: Duration) {
        self.settings.clone().follow(every).await;
    }

    /// Shakes hands, and gives the names in the caller's certificate; nothing if that failed or took too long, of which
    /// only the log hears: what knocks at an open port is mostly no caller.
    pub async fn accept(&self, stream: TcpStream) -> Option<(TlsStream<TcpStream>, Arc<[String]>)> {
        let acceptor = TlsAcceptor::from(self.settings.current());
        match timeout(self.handshake_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let names = shown.map(|shown| self.known_as(shown)).unwrap_or_default();
                Some((stream, names.into()))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(limit = ?self.handshake_timeout, "a TLS handshake took too long");
                None
            }
        }
    }

    /// By which names a caller is known that has shown this certificate.
    fn known_as(&self, certificate: &CertificateDer<'_>) -> Vec<String> {
        let mut names = names(certificate);
        if names.is_empty() {
            names
                .extend(X509Certificate::from_der(certificate).map(|(_, found)| found.subject().to_string()));
        }
        names.retain(|name| is_allowed(name, &self.allowed));
        names
    }
}

/// Whether a caller with this name may come.
fn is_allowed(name: &str, allowed: &[WildMatch]) -> bool {
    allowed.is_empty() || allowed.iter().any(|allowed| allowed.matches(name))
}

fn settings(texts: &[Text], auth: ClientAuth, allowed: &Arc<[WildMatch]>) -> Result<ServerConfig, Fault> {
    let [certificate, key, authorities @ ..] = texts else {
        return Err(Fault::new("--tls-cert", "stands without --tls-key", "give both"));
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| certificate.fault(format!("cannot be used: {error}"), CERTIFICATES))?;
    let builder = match authorities.first() {
        Some(authorities) => builder.with_client_cert_verifier(verifier(authorities, auth, allowed.clone())?),
        None => builder.with_no_client_auth(),
    };
    let (chain, key_der) = (certificates(certificate, CERTIFICATES)?, private_key(key)?);
    warn_of_time(certificate, &chain);
    let mut settings = builder.with_single_cert(chain, key_der).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            key.fault(format!("is not the key of the certificate in {}", certificate.path.display()), KEY)
        }
        error => certificate.fault(format!("cannot be used: {error}"), CERTIFICATES),
    })?;
    settings.alpn_protocols = vec![b"h2".to_vec()];
    Ok(settings)
}

fn certificates(text: &Text, mend: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text.bytes).collect();
    let found = found.map_err(|error| text.fault(format!("is no PEM: {error}"), mend))?;
    if found.is_empty() { Err(text.fault("has no certificate in it", mend)) } else { Ok(found) }
}

fn private_key(text: &Text) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(&text.bytes).map_err(|error| {
        let what = match error {
            _ if text.bytes.windows(9).any(|part| part == b"ENCRYPTED") => {
                "has a key with a password".to_owned()
            }
            pem::Error::NoItemsFound => "has no private key in it".to_owned(),
            error => format!("is no PEM: {error}"),
        };
        text.fault(what, KEY)
    })
}

fn verifier(
    text: &Text,
    auth: ClientAuth,
    allowed: Arc<[WildMatch]>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text, AUTHORITIES)? {
        roots
            .add(certificate)
            .map_err(|error| text.fault(format!("has a bad certificate: {error}"), AUTHORITIES))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Requested => builder.allow_unauthenticated(),
    };
    let by_issuer =
        builder.build().map_err(|error| text.fault(format!("cannot be used: {error}"), AUTHORITIES))?;
    Ok(Arc::new(ByName { by_issuer, allowed }))
}

/// A certificate that is not valid now is served all the same: callers say what they think of it, and a clock that is
/// wrong should not keep the bridge from starting.
fn warn_of_time(text: &Text, chain: &[CertificateDer<'_>]) {
    if let Some(Ok((_, own))) = chain.first().map(|own| X509Certificate::from_der(own))
        && !own.validity().is_valid()
    {
        let (from, until) = (own.validity().not_before, own.validity().not_after);
        tracing::warn!(
            "{}: the certificate is valid from {from} until {until}, not now",
            text.path.display()
        );
    }
}

/// The alternative names in a certificate: of DNS, URIs (as SPIFFE has them), mail and IP addresses.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    names.value.general_names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}

// === impl ByName ===

impl ClientCertVerifier for ByName {
    fn client_auth_mandatory(&self) -> bool {
        self.by_issuer.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_issuer.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.by_issuer.verify_client_cert(certificate, issuers, now)?;
        let is_named = names(certificate).iter().any(|name| is_allowed(name, &self.allowed));
        if self.allowed.is_empty() || is_named {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_issuer.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_issuer.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_issuer.supported_verify_schemes()
    }
}
