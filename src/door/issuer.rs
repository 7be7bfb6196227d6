//! One issuer of tokens: its keys, its audiences, and which of its tokens were good. It shares none of them with another, so that
//! nothing that one of them says or fails to say counts for the others.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, Header, Validation, decode, errors::ErrorKind};
use quick_cache::sync::Cache;
use tonic::Code;

use super::{
    claims::{Claims, Says},
    jwks::{IssuerKeys, VerifyingKey},
    refused,
    requirement::{Proof, ScopePolicy},
    token::{Token, invalid},
};
use crate::{config::IssuerConfig, error::Error, fault::Fault};

/// Whose tokens are believed.
#[derive(Debug)]
pub(super) struct Issuer {
    config: IssuerConfig,
    keys: IssuerKeys,
    good: Cache<[u8; 32], Good>,
}

/// A token that was good, and the key that has said so: without that it has to be looked at again.
#[derive(Debug, Clone)]
struct Good {
    key: Arc<VerifyingKey>,
    says: Arc<Says>,
}

// === impl Issuer ===

impl Issuer {
    /// One that remembers so many tokens that were good.
    pub(super) fn new(config: &IssuerConfig, remembered: usize) -> Result<Self, Vec<Fault>> {
        let keys = IssuerKeys::new(&config.name, &config.jwks)?;
        Ok(Self { config: config.clone(), keys, good: Cache::new(remembered) })
    }

    /// Its `iss`.
    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// Keeps its keys fresh, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        self.keys.follow(every).await;
    }

    /// What a token says that was good before, by a key that its issuer still shows.
    pub(super) fn remembered(&self, token: &Token<'_>) -> Option<Arc<Says>> {
        let good = self.good.get(&token.digest)?;
        self.keys.has(&good.key).then_some(good.says)
    }

    /// What a token says that is signed by this issuer, and for one of its audiences.
    ///
    /// # Errors
    /// It is not, or it cannot be found out.
    pub(super) async fn read(
        &self,
        token: &Token<'_>,
        header: &Header,
        scopes: &[ScopePolicy],
    ) -> Result<Arc<Says>, Error> {
        let key = self.keys.find(header.kid.as_deref(), header.alg).await.ok_or_else(|| self.no_key())?;
        let decoded = decode::<Claims>(token.text, &key.key, &self.validation(key.algorithm));
        let claims = decoded.map_err(|error| invalid(&complaint(error.kind())))?.claims;
        let says = Arc::new(claims.keep(Proof::Token, scopes).map_err(invalid)?);
        self.good.insert(token.digest, Good { key, says: says.clone() });
        Ok(says)
    }

    /// All but the times, which are asked anew each time that the token comes.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.iss = Some(HashSet::from([self.config.name.clone()]));
        validation.aud = Some(self.config.audiences.iter().cloned().collect());
        validation.validate_exp = false;
        validation
    }

    fn no_key(&self) -> Error {
        if !self.keys.is_empty() {
            return invalid(&format!("names a key that {} does not have", self.config.name));
        }
        let what = "the keys that tell good tokens from others cannot be had";
        let detail = format!("no key of {} is known", self.config.name);
        refused(Code::Unavailable, "TOKEN_ISSUER_UNREACHABLE", what, detail)
    }
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
