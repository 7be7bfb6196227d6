//! What callers prove themselves by, and the names that they have by that.

use std::{future::pending, sync::Arc, time::Duration};

use tonic::Code;

use super::{
    Caller, Keys, Shown, missing, refused,
    requirement::{Proof, Requirement, ScopePolicy},
    token::{self, Tokens},
};
use crate::{config::DoorConfig, error::Error, fault::Fault, reload::Reloaded};

/// The header that a key comes in.
pub(super) const X_API_KEY: &str = "x-api-key";

/// What callers can be told by.
#[derive(Debug)]
pub(super) struct Proofs {
    keys: Option<Arc<Reloaded<Keys>>>,
    tokens: Tokens,
    scopes: Vec<ScopePolicy>,
}

// === impl Proofs ===

impl Proofs {
    pub(super) fn new(config: &DoorConfig) -> Result<Self, Vec<Fault>> {
        let keys =
            config.keys.clone().map(|file| Reloaded::read("API keys", vec![file], Keys::parse)).transpose();
        match (keys, Tokens::new(&config.tokens)) {
            (Ok(keys), Ok(tokens)) => Ok(Self { keys, tokens, scopes: config.tokens.scopes.clone() }),
            (keys, tokens) => Err([keys.err(), tokens.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// Keeps keys and issuers fresh, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        let keys = async {
            match &self.keys {
                Some(keys) => keys.clone().follow(every).await,
                None => pending().await,
            }
        };
        tokio::join!(keys, self.tokens.follow(every));
    }

    /// Who has all of these proofs; nobody if there are none.
    pub(super) async fn prove(
        &self,
        proofs: &[Proof],
        whole: &Requirement,
        shown: &Shown<'_>,
    ) -> Result<Option<Caller>, Error> {
        let mut caller = None;
        for proof in proofs {
            let found = match proof {
                Proof::Key => self.by_key(whole, shown)?,
                Proof::Token => self.by_token(whole, shown).await?,
                Proof::Mtls => by_certificate(shown).ok_or_else(|| missing(whole))?,
            };
            caller.get_or_insert(found);
        }
        Ok(caller)
    }

    fn by_key(&self, whole: &Requirement, shown: &Shown<'_>) -> Result<Caller, Error> {
        let mut given = shown.headers.get_all(X_API_KEY).iter();
        let Some(key) = given.next() else { return Err(missing(whole)) };
        let keys = self.keys.as_ref().map(|keys| keys.current());
        let known = key.to_str().ok().zip(keys.as_ref()).and_then(|(key, keys)| keys.find(key));
        // Which of several was meant is nobody's to guess.
        let Some(entry) = known.filter(|_| given.next().is_none()) else {
            return Err(refused(
                Code::Unauthenticated,
                "API_KEY_INVALID",
                "the API key is not valid",
                "no key of ours".to_owned(),
            ));
        };
        let who = format!("key {} of {}", entry.id, entry.name);
        if entry.revoked {
            return Err(refused(Code::Unauthenticated, "API_KEY_REVOKED", "the API key was taken back", who));
        }
        if entry.has_expired(shown.now) {
            return Err(refused(Code::Unauthenticated, "API_KEY_EXPIRED", "the API key has expired", who));
        }
        if !entry.is_for(shown.method()) {
            return Err(refused(
                Code::PermissionDenied,
                "API_KEY_METHOD_BLOCKED",
                "the API key is not for this method",
                who,
            ));
        }
        Ok(Caller { rates: Some(entry.rates.clone()), ..Caller::named(entry.caller.clone()) })
    }

    async fn by_token(&self, whole: &Requirement, shown: &Shown<'_>) -> Result<Caller, Error> {
        let says = self.tokens.says(shown.headers, shown.now).await?.ok_or_else(|| missing(whole))?;
        says.check_scopes(&self.scopes, shown.method(), &token::TERMS)?;
        Ok(Caller::named(says.caller.clone()))
    }
}

fn by_certificate(shown: &Shown<'_>) -> Option<Caller> {
    shown.peer?.names.first().map(|name| Caller::named(format!("{}:{name}", Proof::Mtls).into()))
}
