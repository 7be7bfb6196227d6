//! Bearer tokens: JWTs (RFC 7519) of one issuer, as OAuth 2.0 (RFC 9068) and OpenID Connect have them.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tonic::Code;

use super::{
    jwks::{IssuerKeys, VerifyingKey},
    refused,
    requirement::Proof,
    signatures,
};
use crate::{config::TokenConfig, error::Error, fault::Fault};

/// How many tokens that were good are remembered.
const REMEMBERED: usize = 10_000;
/// A longer token is not looked at.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// A longer subject is none (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT_BYTES: usize = 255;

/// The algorithms that a token may be signed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// EdDSA on Ed25519.
    EdDsa,
}

/// Tells good tokens from others.
#[derive(Debug)]
pub(super) struct Tokens {
    config: TokenConfig,
    keys: IssuerKeys,
    good: Cache<[u8; 32], Good>,
}

/// A token that was good, and the key that has said so: with another key it has to be looked at again.
#[derive(Debug, Clone)]
struct Good {
    key: Arc<VerifyingKey>,
    says: Arc<Says>,
}

/// What of a token counts here.
#[derive(Debug)]
struct Says {
    caller: Arc<str>,
    expires: u64,
    begins: Option<u64>,
    /// Which of the scopes that are asked for it has, by their order.
    scopes: Vec<bool>,
}

/// What a token says.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    nbf: Option<u64>,
    /// Words with spaces between them (RFC 8693).
    scope: Option<String>,
    /// The same as a list, as some issuers have it.
    scp: Option<Scopes>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scopes {
    List(Vec<String>),
    Words(String),
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(config: &TokenConfig) -> Result<Self, Vec<Fault>> {
        signatures::install();
        let keys = IssuerKeys::new(&config.jwks)?;
        Ok(Self { config: config.clone(), keys, good: Cache::new(REMEMBERED) })
    }

    pub(super) async fn follow(&self, every: Duration) {
        self.keys.follow(every).await;
    }

    /// Who shows a token that is good for this method; nothing if none is shown.
    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        method: &str,
        now: SystemTime,
    ) -> Result<Option<Arc<str>>, Error> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let Some(first) = given.next() else { return Ok(None) };
        let token = first.to_str().ok().and_then(bearer).filter(|_| given.next().is_none());
        let token = token.filter(|token| token.len() <= MAX_TOKEN_BYTES);
        let says = self.read(token.ok_or_else(|| invalid("is no single bearer token"))?).await?;
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.check_time(&says, seconds)?;
        self.check_scopes(&says, method)?;
        Ok(Some(says.caller.clone()))
    }

    async fn read(&self, token: &str) -> Result<Arc<Says>, Error> {
        let header = decode_header(token).map_err(|error| invalid(&format!("is no JWT: {error}")))?;
        if !self.config.algorithms.iter().any(|allowed| Algorithm::from(*allowed) == header.alg) {
            return Err(invalid(&format!("is signed by {:?}, which is not allowed", header.alg)));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await;
        let key = key.ok_or_else(|| {
            if self.keys.is_empty() {
                no_keys()
            } else {
                invalid("names a key that its issuer does not have")
            }
        })?;
        let digest = Sha256::digest(token).into();
        if let Some(good) = self.good.get(&digest).filter(|good| Arc::ptr_eq(&good.key, &key)) {
            return Ok(good.says);
        }
        let decoded = decode::<Claims>(token, &key.key, &self.validation(key.algorithm));
        let claims = decoded.map_err(|error| invalid(&complaint(error.kind())))?.claims;
        if claims.sub.is_empty() || claims.sub.len() > MAX_SUBJECT_BYTES {
            return Err(invalid("has a subject that is none"));
        }
        let says = Arc::new(Says {
            caller: format!("{}:{}", Proof::Token, claims.sub).into(),
            expires: claims.exp,
            begins: claims.nbf,
            scopes: self.config.scopes.iter().map(|needed| claims.has(&needed.scope)).collect(),
        });
        self.good.insert(digest, Good { key, says: says.clone() });
        Ok(says)
    }

    /// All but the times, which are asked anew each time that the token comes.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.iss = Some(HashSet::from([self.config.issuer.clone()]));
        validation.aud = Some(self.config.audiences.iter().cloned().collect());
        validation.validate_exp = false;
        validation
    }

    fn check_time(&self, says: &Says, now: u64) -> Result<(), Error> {
        let skew = self.config.clock_skew.as_secs();
        let who = || says.caller.to_string();
        if says.expires.saturating_add(skew) <= now {
            return Err(refused(
                Code::Unauthenticated,
                "ACCESS_TOKEN_EXPIRED",
                "the bearer token has expired",
                who(),
            ));
        }
        if says.begins.is_some_and(|from| from > now.saturating_add(skew)) {
            let what = "the bearer token is not valid yet";
            return Err(refused(Code::Unauthenticated, "ACCESS_TOKEN_NOT_YET_VALID", what, who()));
        }
        Ok(())
    }

    fn check_scopes(&self, says: &Says, method: &str) -> Result<(), Error> {
        let needed = self.config.scopes.iter().zip(&says.scopes);
        for (needed, is_there) in needed.filter(|(needed, _)| needed.methods.matches(method)) {
            if !is_there {
                let what = format!("the bearer token lacks the scope {}", needed.scope);
                let who = says.caller.to_string();
                return Err(refused(Code::PermissionDenied, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", &what, who));
            }
        }
        Ok(())
    }
}

// === impl Claims ===

impl Claims {
    fn has(&self, scope: &str) -> bool {
        let has = |words: &str| words.split(' ').any(|word| word == scope);
        self.scope.as_deref().is_some_and(has)
            || match &self.scp {
                Some(Scopes::List(list)) => list.iter().any(|word| word == scope),
                Some(Scopes::Words(words)) => has(words),
                None => false,
            }
    }
}

// === impl TokenAlgorithm ===

impl From<TokenAlgorithm> for Algorithm {
    fn from(algorithm: TokenAlgorithm) -> Self {
        match algorithm {
            TokenAlgorithm::Rs256 => Self::RS256,
            TokenAlgorithm::Es256 => Self::ES256,
            TokenAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// What stands behind `Bearer`, which may be written in any case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start_matches(' '))
}

fn invalid(why: &str) -> Error {
    refused(
        Code::Unauthenticated,
        "ACCESS_TOKEN_INVALID",
        "the bearer token is not valid",
        format!("the token {why}"),
    )
}

fn no_keys() -> Error {
    let what = "the keys that tell good tokens from others cannot be had";
    refused(Code::Unavailable, "TOKEN_ISSUER_UNREACHABLE", what, "no key of the issuer is known".to_owned())
}

fn complaint(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::InvalidSignature => "is not signed by the key that it names".to_owned(),
        ErrorKind::InvalidIssuer => "is of another issuer".to_owned(),
        ErrorKind::InvalidAudience => "is for another audience".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("lacks the claim {claim}"),
        kind => format!("cannot be read: {kind:?}"),
    }
}
