//! The public keys of an issuer of tokens (RFC 7517): from a file, or from its server, where they are asked for again as
//! time goes on and when a token names one that is not known.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::Uri;
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{
    fault::Fault,
    fetch::Fetcher,
    reload::{Reloaded, Text},
};

/// How often the keys are asked for, whether or not a token needs them.
const REFRESH: Duration = Duration::from_secs(300);
/// How often they are asked for because of a token at most, for those can name any key. So long, too, a key may not be known
/// here that its issuer has just begun to use.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// How often they are asked for while none is known.
const RETRY: Duration = Duration::from_secs(5);
/// How many keys are taken from one issuer.
const MAX_KEYS: usize = 100;

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// A file of a JWK set.
    File(PathBuf),
    /// The URL of a JWK set.
    Url(Uri),
    /// Where the OpenID configuration of the issuer says.
    Discovery,
}

/// The keys of an issuer.
#[derive(Debug)]
pub(super) enum IssuerKeys {
    File(Arc<Reloaded<KeySet>>),
    Server(Box<Server>),
}

/// Keys that are asked for.
#[derive(Debug)]
pub(super) struct Server {
    issuer: String,
    source: JwksSource,
    fetcher: Fetcher,
    current: ArcSwap<KeySet>,
    /// When they were asked for the last time; who asks holds it.
    asked: Mutex<Option<Instant>>,
}

/// Some keys.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Arc<VerifyingKey>>,
}

/// A key, and the one algorithm that it is for.
#[derive(Debug)]
pub(super) struct VerifyingKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// What an issuer says of itself (OpenID Connect Discovery 1.0).
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// A JWK set, whose keys may be of kinds that nobody knows here.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

// === impl JwksSource ===

impl JwksSource {
    /// Whether keys from there can be believed: what comes without TLS could be anybody's, except on this machine.
    ///
    /// # Errors
    /// Why not.
    pub fn is_safe(url: &Uri) -> Result<(), String> {
        let host = url.host().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        match url.scheme_str() {
            Some("https") if !host.is_empty() => Ok(()),
            Some("http") if is_here => Ok(()),
            _ => Err(format!("{url} is no https URL")),
        }
    }
}

// === impl IssuerKeys ===

impl IssuerKeys {
    /// Those of this issuer.
    pub(super) fn new(issuer: &str, source: &JwksSource) -> Result<Self, Vec<Fault>> {
        let url = match source {
            JwksSource::File(file) => {
                return Reloaded::read("keys of the token issuer", vec![file.clone()], KeySet::of_file)
                    .map(Self::File);
            }
            JwksSource::Url(url) => url.clone(),
            JwksSource::Discovery => discovery(issuer).map_err(|what| vec![no_url(issuer, what)])?,
        };
        let fetcher = Fetcher::new(&url).map_err(|what| vec![no_url(issuer, what)])?;
        let (issuer, source) = (issuer.to_owned(), source.clone());
        let (current, asked) = (ArcSwap::default(), Mutex::new(None));
        Ok(Self::Server(Box::new(Server { issuer, source, fetcher, current, asked })))
    }

    /// Keeps them fresh, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        match self {
            Self::File(file) => file.clone().follow(every).await,
            Self::Server(server) => server.follow().await,
        }
    }

    /// The key that a token names, for its algorithm.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<VerifyingKey>> {
        match self {
            Self::File(file) => file.current().find(id, algorithm),
            Self::Server(server) => {
                if let Some(key) = server.current.load().find(id, algorithm) {
                    return Some(key);
                }
                // It may be new. The issuer has begun to use it, so that its server has it.
                server.ask_again().await;
                server.current.load().find(id, algorithm)
            }
        }
    }

    /// Whether this very key is shown still.
    pub(super) fn has(&self, key: &Arc<VerifyingKey>) -> bool {
        match self {
            Self::File(file) => file.current().has(key),
            Self::Server(server) => server.current.load().has(key),
        }
    }

    /// Whether there is any key.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::File(file) => file.current().keys.is_empty(),
            Self::Server(server) => server.current.load().keys.is_empty(),
        }
    }
}

// === impl Server ===

impl Server {
    async fn follow(&self) {
        loop {
            self.ask_again().await;
            sleep(if self.current.load().keys.is_empty() { RETRY } else { REFRESH }).await;
        }
    }

    /// Asks for the keys, unless that was just done; who comes meanwhile waits for what is found.
    async fn ask_again(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < MIN_PAUSE) {
            return;
        }
        match self.ask().await {
            Ok(keys) => self.current.store(Arc::new(keys.with_known(&self.current.load()))),
            // Those that are known go on.
            Err(error) => {
                tracing::error!(issuer = self.issuer, error, "the keys of the token issuer cannot be had")
            }
        }
        *asked = Some(Instant::now());
    }

    async fn ask(&self) -> Result<KeySet, String> {
        let url = match &self.source {
            JwksSource::Url(url) => url.clone(),
            JwksSource::Discovery => self.discover().await?,
            JwksSource::File(file) => return Err(format!("{} is no URL", file.display())),
        };
        let keys =
            KeySet::parse(&self.fetcher.get(&url).await?).map_err(|error| format!("{url}: {error}"))?;
        if keys.keys.is_empty() {
            Err(format!("{url} has no key for RS256, ES256 or EdDSA"))
        } else {
            Ok(keys)
        }
    }

    async fn discover(&self) -> Result<Uri, String> {
        let issuer = &self.issuer;
        let url = discovery(issuer)?;
        let found: Configuration = serde_json::from_slice(&self.fetcher.get(&url).await?)
            .map_err(|error| format!("{url} is no OpenID configuration: {error}"))?;
        if found.issuer != *issuer {
            return Err(format!("{url} is the configuration of {:?}, not of {issuer:?}", found.issuer));
        }
        let keys: Uri =
            found.jwks_uri.parse().map_err(|error| format!("{url}: its jwks_uri is no URL: {error}"))?;
        JwksSource::is_safe(&keys).map(|()| keys)
    }
}

// === impl KeySet ===

impl KeySet {
    fn of_file(texts: &[Text]) -> Result<Self, Vec<Fault>> {
        let mend = "write a JWK set: {\"keys\": [...]}";
        let mut all = Self::default();
        for text in texts {
            let set = Self::parse(&text.bytes).map_err(|what| vec![text.fault(what, mend)])?;
            if set.keys.is_empty() {
                return Err(vec![text.fault("has no key for RS256, ES256 or EdDSA", mend)]);
            }
            all.keys.extend(set.keys);
        }
        Ok(all)
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let set: JwkSet = serde_json::from_slice(text).map_err(|error| format!("is no JWK set: {error}"))?;
        let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self { keys: keys.filter_map(|key: Jwk| VerifyingKey::of(&key)).map(Arc::new).collect() })
    }

    /// The same keys, of which those that were known are the ones that were known: tokens that were good by them still are.
    fn with_known(self, known: &Self) -> Self {
        let known_or_new =
            |key: Arc<VerifyingKey>| known.keys.iter().find(|known| known.is(&key)).cloned().unwrap_or(key);
        Self { keys: self.keys.into_iter().map(known_or_new).collect() }
    }

    fn has(&self, key: &Arc<VerifyingKey>) -> bool {
        self.keys.iter().any(|known| Arc::ptr_eq(known, key))
    }

    /// A token that names no key may be signed by the only one that there is for its algorithm.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<VerifyingKey>> {
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).cloned(),
            None => fitting.next().cloned().filter(|_| fitting.next().is_none()),
        }
    }
}

// === impl VerifyingKey ===

impl VerifyingKey {
    fn is(&self, other: &Self) -> bool {
        let is_same = match (self.key.kind(), other.key.kind()) {
            (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(other)) => one == other,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => (n, e) == (other_n, other_e),
            _ => false,
        };
        is_same && self.id == other.id && self.algorithm == other.algorithm
    }

    /// Nothing for a key that signs otherwise, or is for something else.
    fn of(jwk: &Jwk) -> Option<Self> {
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        let is_for_it = jwk.common.key_algorithm.is_none_or(|algorithm| algorithm == named);
        let signs =
            jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_it && signs)?;
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key })
    }
}

fn discovery(issuer: &str) -> Result<Uri, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url: Uri = url.parse().map_err(|error| format!("{url} is no URL: {error}"))?;
    JwksSource::is_safe(&url).map(|()| url)
}

fn no_url(issuer: &str, what: String) -> Fault {
    Fault::new(
        format!("--token-issuer {issuer}"),
        what,
        "name the https URL of the issuer, or its keys as --token-jwks",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[(&str, &str)]) -> KeySet {
        let keys =
            keys.iter().map(|(id, x)| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#));
        let text = format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(","));
        KeySet::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_that_is_shown_again_is_the_one_that_was_known() {
        let old = set(&[("a", "AAAA"), ("b", "BBBB")]);
        let new = set(&[("b", "CCCC"), ("a", "AAAA"), ("c", "AAAA")]).with_known(&old);
        let is_old = |key: &Arc<VerifyingKey>| old.keys.iter().any(|old| Arc::ptr_eq(old, key));
        assert_eq!(new.keys.iter().map(is_old).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn a_token_without_the_id_of_a_key_is_signed_by_the_only_one_or_by_none() {
        assert!(set(&[("a", "AAAA")]).find(None, Algorithm::EdDSA).is_some());
        assert!(set(&[("a", "AAAA")]).find(None, Algorithm::ES256).is_none());
        assert!(set(&[("a", "AAAA"), ("b", "BBBB")]).find(None, Algorithm::EdDSA).is_none());
    }

    #[test]
    fn keys_come_by_tls_or_from_this_machine() {
        let is_safe = |url: &str| JwksSource::is_safe(&url.parse().unwrap()).is_ok();
        for safe in ["https://a/keys", "http://localhost:1/", "http://127.0.0.1/", "http://[::1]:8080/keys"] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_one in
            ["http://a/keys", "http://localhost.evil/", "http://127.0.0.1.evil/", "ftp://a/", "/keys"]
        {
            assert!(!is_safe(unsafe_one), "{unsafe_one}");
        }
    }
}
