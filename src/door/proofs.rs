//! What callers prove themselves by, and the names that they have by that.

use std::{future::pending, sync::Arc, time::Duration};

use tonic::Code;

use super::{
    Caller, Gateways, Keys, Shown,
    claims::Says,
    missing, missing_because, refused,
    requirement::{Proof, Requirement, ScopePolicy},
    token::{self, Tokens},
    userinfo,
};
use crate::{config::DoorConfig, error::Error, fault::Fault, reload::Reloaded};

/// The header that a key comes in.
pub(super) const X_API_KEY: &str = "x-api-key";

/// What callers can be told by.
#[derive(Debug)]
pub(super) struct Proofs {
    keys: Option<Arc<Reloaded<Keys>>>,
    tokens: Tokens,
    gateways: Vec<Gateways>,
    scopes: Vec<ScopePolicy>,
    clock_skew: Duration,
}

// === impl Proofs ===

impl Proofs {
    pub(super) fn new(config: &DoorConfig) -> Result<Self, Vec<Fault>> {
        let keys =
            config.keys.clone().map(|file| Reloaded::read("API keys", vec![file], Keys::parse)).transpose();
        match (keys, Tokens::new(&config.tokens)) {
            (Ok(keys), Ok(tokens)) => Ok(Self {
                keys,
                tokens,
                gateways: config.userinfo_from.clone(),
                scopes: config.tokens.scopes.clone(),
                clock_skew: config.tokens.clock_skew,
            }),
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

    /// Whether user info is believed of a caller with this name, or with none.
    pub(super) fn believe(&self, name: Option<&str>) -> bool {
        self.gateways.iter().any(|gateways| gateways.has(name))
    }

    /// Who has all of these proofs; nobody if there are none.
    pub(super) async fn prove(
        &self,
        proofs: &[Proof],
        whole: &Requirement,
        shown: &Shown<'_>,
    ) -> Result<Option<Caller>, Error> {
        // The scopes are those of the caller. With user info that is who it tells of, and a token is that of the gateway.
        let through_gateway = proofs.contains(&Proof::Userinfo);
        let mut callers = Vec::with_capacity(proofs.len());
        for proof in proofs {
            match proof {
                Proof::Key => callers.push(self.by_key(whole, shown)?),
                Proof::Token => callers.push(self.by_token(whole, shown, !through_gateway).await?),
                Proof::Mtls => callers.push(by_certificate(shown).ok_or_else(|| missing(whole))?),
                // Last of all, for by the others it is known whether to believe it.
                Proof::Userinfo => {}
            }
        }
        if through_gateway {
            return self.by_userinfo(&callers, whole, shown).map(Some);
        }
        Ok(callers.into_iter().next())
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

    async fn by_token(
        &self,
        whole: &Requirement,
        shown: &Shown<'_>,
        needs_scopes: bool,
    ) -> Result<Caller, Error> {
        let says = self.tokens.says(shown.headers, shown.now).await?.ok_or_else(|| missing(whole))?;
        if needs_scopes {
            says.check_scopes(&self.scopes, shown.method(), &token::TERMS)?;
        }
        Ok(Caller::named(says.caller.clone()))
    }

    /// The caller of a gateway, which is one of those who have proved themselves, or anybody where anybody is believed.
    fn by_userinfo(
        &self,
        proved: &[Caller],
        whole: &Requirement,
        shown: &Shown<'_>,
    ) -> Result<Caller, Error> {
        let gateway = proved.iter().map(|caller| &caller.name).find(|name| self.believe(Some(name)));
        if gateway.is_none() && !self.believe(None) {
            let who = proved.first().map_or("nobody", |caller| &caller.name);
            return Err(missing_because(
                whole,
                format!("user info is not believed of {who} (--userinfo-from)"),
            ));
        }
        let caller = self.told(shown).and_then(|says| says.ok_or_else(|| missing(whole)));
        match (caller, gateway) {
            (Ok(says), gateway) => Ok(Caller { gateway: gateway.cloned(), ..Caller::named(says.caller) }),
            (Err(error), Some(gateway)) => Err(error.through(gateway)),
            (Err(error), None) => Err(error),
        }
    }

    /// What the user info says, if it is good by now and for this method.
    fn told(&self, shown: &Shown<'_>) -> Result<Option<Says>, Error> {
        let Some(says) = userinfo::read(shown.headers, &self.scopes)? else { return Ok(None) };
        says.check_time(shown.now, self.clock_skew, &userinfo::TERMS)?;
        says.check_scopes(&self.scopes, shown.method(), &userinfo::TERMS)?;
        Ok(Some(says))
    }
}

fn by_certificate(shown: &Shown<'_>) -> Option<Caller> {
    shown.peer?.names.first().map(|name| Caller::named(format!("{}:{name}", Proof::Mtls).into()))
}
