//! What is said of a caller, in a token or by a gateway that has looked at its token: who it is, for how long, and what it may.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use tonic::Code;

use super::{
    refused,
    requirement::{Proof, ScopePolicy},
};
use crate::error::Error;

/// A longer subject is none (OpenID Connect Core 1.0, section 2), nor is a longer issuer one here.
const MAX_NAME_BYTES: usize = 255;

/// The claims (RFC 7519, section 4.1) that count here.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
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

/// What of them is kept.
#[derive(Debug)]
pub(super) struct Says {
    /// The name of the caller.
    pub(super) caller: Arc<str>,
    expires: u64,
    begins: Option<u64>,
    /// Which of the scopes that are asked for it has, by their order.
    scopes: Vec<bool>,
}

/// How it is told where claims do not let a caller in.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) what: &'static str,
    pub(super) invalid: &'static str,
    pub(super) expired: &'static str,
    pub(super) not_yet_valid: &'static str,
    pub(super) scope_insufficient: &'static str,
}

/// Whether an issuer can have this name. `#` ends it in the names of callers, so that no two of them are the same.
pub fn is_issuer(name: &str) -> bool {
    is_name(name) && !name.contains('#')
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
}

// === impl Claims ===

impl Claims {
    /// What is kept of them, for a caller who proves itself in this way.
    ///
    /// # Errors
    /// They name nobody.
    pub(super) fn keep(&self, proof: Proof, scopes: &[ScopePolicy]) -> Result<Says, &'static str> {
        if !is_issuer(&self.iss) {
            return Err("has an issuer that is none");
        }
        if !is_name(&self.sub) {
            return Err("has a subject that is none");
        }
        Ok(Says {
            caller: format!("{proof}:{}#{}", self.iss, self.sub).into(),
            expires: self.exp,
            begins: self.nbf,
            scopes: scopes.iter().map(|needed| self.has(&needed.scope)).collect(),
        })
    }

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

// === impl Says ===

impl Says {
    /// Whether it is good by now.
    ///
    /// # Errors
    /// It was, or it will be.
    pub(super) fn check_time(&self, now: SystemTime, skew: Duration, terms: &Terms) -> Result<(), Error> {
        let (now, skew) = (now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(), skew.as_secs());
        let refuse = |reason, why| {
            let what = format!("{} {why}", terms.what);
            Err(refused(Code::Unauthenticated, reason, &what, self.caller.to_string()))
        };
        if self.expires.saturating_add(skew) <= now {
            return refuse(terms.expired, "has expired");
        }
        if self.begins.is_some_and(|from| from > now.saturating_add(skew)) {
            return refuse(terms.not_yet_valid, "is not valid yet");
        }
        Ok(())
    }

    /// Whether it has the scopes that a method needs, of those that it was kept with.
    ///
    /// # Errors
    /// It lacks one.
    pub(super) fn check_scopes(
        &self,
        scopes: &[ScopePolicy],
        method: &str,
        terms: &Terms,
    ) -> Result<(), Error> {
        let mut needed = scopes.iter().zip(&self.scopes).filter(|(needed, _)| needed.methods.matches(method));
        match needed.find(|(_, is_there)| !**is_there) {
            Some((ScopePolicy { scope, .. }, _)) => {
                let what = format!("{} lacks the scope {scope}", terms.what);
                let who = self.caller.to_string();
                Err(refused(Code::PermissionDenied, terms.scope_insufficient, &what, who))
            }
            None => Ok(()),
        }
    }
}

// === impl Terms ===

impl Terms {
    /// Why is for the log alone.
    pub(super) fn invalid(&self, why: String) -> Error {
        refused(Code::Unauthenticated, self.invalid, &format!("{} is not valid", self.what), why)
    }
}
