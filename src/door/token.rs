//! Bearer tokens: JWTs (RFC 7519) of some issuers, as OAuth 2.0 (RFC 9068) and OpenID Connect have them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, dangerous::insecure_decode_claims, decode_header, errors};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    claims::{Says, Terms},
    issuer::Issuer,
    signatures,
};
use crate::{config::TokenConfig, error::Error, fault::Fault};

/// How many tokens that were good are remembered, of all issuers.
const REMEMBERED: usize = 10_000;
/// A longer token is not looked at, nor is what a gateway has made of one.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How refusals of tokens are told.
pub(super) const TERMS: Terms = Terms {
    what: "the bearer token",
    invalid: "ACCESS_TOKEN_INVALID",
    expired: "ACCESS_TOKEN_EXPIRED",
    not_yet_valid: "ACCESS_TOKEN_NOT_YET_VALID",
    scope_insufficient: "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
};

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
    issuers: Vec<Issuer>,
}

/// A token that somebody shows.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) digest: [u8; 32],
}

/// What of a token is looked at before anything of it is believed.
#[derive(Deserialize)]
struct Unverified {
    iss: String,
}

// === impl Tokens ===

impl Tokens {
    /// Those of these issuers.
    pub(super) fn new(config: &TokenConfig) -> Result<Self, Vec<Fault>> {
        signatures::install();
        let remembered = REMEMBERED / config.issuers.len().max(1);
        let (mut issuers, mut faults) = (Vec::new(), Vec::new());
        for issuer in &config.issuers {
            match Issuer::new(issuer, remembered) {
                Ok(issuer) => issuers.push(issuer),
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(Self { config: config.clone(), issuers }) } else { Err(faults) }
    }

    /// Keeps the keys of all issuers fresh, for ever; none waits for another.
    pub(super) async fn follow(&self, every: Duration) {
        join_all(self.issuers.iter().map(|issuer| issuer.follow(every))).await;
    }

    /// What a token says that is good by now; nothing if none is shown.
    pub(super) async fn says(
        &self,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Option<Arc<Says>>, Error> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let Some(first) = given.next() else { return Ok(None) };
        let token = first.to_str().ok().and_then(bearer).filter(|_| given.next().is_none());
        let token = token.filter(|token| token.len() <= MAX_TOKEN_BYTES);
        let token = Token::of(token.ok_or_else(|| invalid("is no single bearer token"))?);
        let says = match self.issuers.iter().find_map(|issuer| issuer.remembered(&token)) {
            Some(says) => says,
            None => self.read(&token).await?,
        };
        says.check_time(now, self.config.clock_skew, &TERMS)?;
        Ok(Some(says))
    }

    async fn read(&self, token: &Token<'_>) -> Result<Arc<Says>, Error> {
        let no_token = |error: errors::Error| invalid(&format!("is no JWT: {error}"));
        let header = decode_header(token.text).map_err(no_token)?;
        if !self.config.algorithms.iter().any(|allowed| Algorithm::from(*allowed) == header.alg) {
            return Err(invalid(&format!("is signed by {:?}, which is not allowed", header.alg)));
        }
        // Nobody has vouched for it yet: it says who has to, and that issuer asks for its own name again.
        let Unverified { iss } = insecure_decode_claims(token.text).map_err(no_token)?;
        let issuer = self.issuers.iter().find(|issuer| issuer.name() == iss);
        let issuer = issuer.ok_or_else(|| invalid("is of another issuer"))?;
        issuer.read(token, &header, &self.config.scopes).await
    }
}

// === impl Token ===

impl<'a> Token<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, digest: Sha256::digest(text).into() }
    }
}

// === impl TokenAlgorithm ===

impl TokenAlgorithm {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];
}

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

pub(super) fn invalid(why: &str) -> Error {
    TERMS.invalid(format!("the token {why}"))
}
