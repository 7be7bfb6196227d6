//! Who may come in, and to what: each method has a [`Requirement`], and a caller proves who it is by an API key, a bearer
//! token, or the certificate of its connection.
//!
//! What is asked here is answered before a message is read. A refusal helps the honest (what is missing, what has expired),
//! and tells others nothing: a key that is wrong is told like one that never was, and a method that is not served like one
//! that is.

mod audit;
mod jwks;
mod key;
mod keys;
mod rates;
mod requirement;
mod signatures;
mod token;

use std::{
    collections::HashMap,
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderMap;
use tonic::Code;

pub use self::{
    audit::{Audit, Refused},
    jwks::JwksSource,
    key::ApiKey,
    keys::{KeyEntry, Keys},
    rates::{Rate, SharedCounts},
    requirement::{Policy, Proof, Requirement, ScopePolicy},
    token::TokenAlgorithm,
};
use self::{
    rates::{Rates, Shared},
    token::Tokens,
};
use crate::{config::DoorConfig, error::Error, fault::Fault, reload::Reloaded, tls::Peer};

/// The header that a key comes in.
const X_API_KEY: &str = "x-api-key";
/// The reason where nothing was shown that could have been enough.
const MISSING: &str = "CREDENTIALS_MISSING";

/// What callers have to prove, and what they can prove it by.
#[derive(Debug)]
pub struct Door {
    /// By path: `/service/method`.
    methods: HashMap<String, Requirement>,
    /// Of all other paths, known or not.
    others: Requirement,
    keys: Option<Arc<Reloaded<Keys>>>,
    tokens: Option<Tokens>,
    rates: Rates,
}

/// Who was let in.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What it has proved and the name that it has there, so that nobody is taken for another by a name alone: `key:` and the
    /// name of its key, else `token:` and the subject of its token, else `mtls:` and the first name in its certificate.
    pub name: Arc<str>,
    /// How often it may call, if its key says so.
    rates: Option<Arc<[Rate]>>,
}

/// What a caller shows.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The path of the call.
    pub path: &'a str,
    /// Its metadata.
    pub headers: &'a HeaderMap,
    /// Who is at the other end of its connection.
    pub peer: Option<&'a Peer>,
    /// The time.
    pub now: SystemTime,
}

// === impl Door ===

impl Door {
    /// Reads the files, and finds the requirement of each method, which are named `service/method`.
    ///
    /// # Errors
    /// A file cannot be used, a policy names no method, or something is required that nobody can prove.
    pub fn new(
        config: &DoorConfig,
        callers_have_certificates: bool,
        methods: &[&str],
    ) -> Result<Self, Vec<Fault>> {
        let can = |proof| match proof {
            Proof::Key => config.keys.is_some(),
            Proof::Token => config.tokens.is_some(),
            Proof::Mtls => callers_have_certificates,
        };
        let all = || Requirement::all_of(Proof::ALL.into_iter().filter(|proof| can(*proof)).collect());
        let others = config.require.clone().unwrap_or_else(all);
        let mut faults = Vec::new();
        for policy in &config.policies {
            faults.extend(unprovable(&format!("--policy {policy}"), &policy.requirement, can));
            if !methods.iter().any(|method| policy.methods.matches(method)) {
                faults.push(names_nothing(&format!("--policy {policy}"), methods));
            }
        }
        faults.extend(unprovable("--require", &others, can));
        let keys =
            config.keys.clone().map(|file| Reloaded::read("API keys", vec![file], Keys::parse)).transpose();
        let keys = keys.unwrap_or_else(|more| {
            faults.extend(more);
            None
        });
        let scopes = config.tokens.iter().flat_map(|tokens| &tokens.scopes);
        for scope in scopes.filter(|scope| !methods.iter().any(|method| scope.methods.matches(method))) {
            faults.push(names_nothing(&format!("--token-scope {scope}"), methods));
        }
        let tokens = config.tokens.as_ref().map(Tokens::new).transpose();
        let tokens = tokens.unwrap_or_else(|more| {
            faults.extend(more);
            None
        });
        let shared = config.shared_rates.as_ref().map(Shared::new).transpose();
        let shared = shared.unwrap_or_else(|more| {
            faults.extend(more);
            None
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let of = |method: &str| {
            let policy = config.policies.iter().find(|policy| policy.methods.matches(method));
            policy.map_or(&others, |policy| &policy.requirement).clone()
        };
        let methods = methods.iter().map(|method| (format!("/{method}"), of(method))).collect();
        Ok(Self { methods, others, keys, tokens, rates: Rates::new(&config.rates, shared) })
    }

    /// Keeps keys and issuers fresh and the counts of rates shared, for ever.
    pub async fn follow(&self, every: Duration) {
        let keys = async {
            match &self.keys {
                Some(keys) => keys.clone().follow(every).await,
                None => pending().await,
            }
        };
        let issuer = async {
            match &self.tokens {
                Some(tokens) => tokens.follow(every).await,
                None => pending().await,
            }
        };
        tokio::join!(keys, issuer, self.rates.follow(every));
    }

    /// Waits until this is known of shared rates: whether they can be. It needs that [`Self::follow`] runs.
    pub async fn ready(&self) {
        self.rates.ready().await;
    }

    /// How calls were counted, where replicas share the counts of rates.
    pub fn shared_counts(&self) -> Option<SharedCounts> {
        self.rates.shared_counts()
    }

    /// Whether anybody may call anything.
    pub fn is_open(&self) -> bool {
        self.methods.values().chain([&self.others]).all(|requirement| *requirement == Requirement::public())
    }

    /// Lets a caller in, who has a name if the method is not public.
    ///
    /// # Errors
    /// What it shows is not enough.
    pub async fn admit(&self, shown: &Shown<'_>) -> Result<Option<Caller>, Error> {
        let requirement = self.methods.get(shown.path).unwrap_or(&self.others);
        let mut refusal = None;
        for proofs in requirement.alternatives() {
            match self.prove(proofs, requirement, shown).await {
                Ok(caller) => return self.counted(caller).await,
                // What was shown and is no good says more than what was not shown.
                Err(why) if refusal.as_ref().is_none_or(is_missing) => refusal = Some(why),
                Err(_) => {}
            }
        }
        Err(refusal.unwrap_or_else(|| missing(requirement)))
    }

    async fn prove(
        &self,
        proofs: &[Proof],
        whole: &Requirement,
        shown: &Shown<'_>,
    ) -> Result<Option<Caller>, Error> {
        let mut caller = None;
        for proof in proofs {
            let found = match proof {
                Proof::Key => self.by_key(whole, shown)?,
                Proof::Token => Caller::named(self.by_token(whole, shown).await?),
                Proof::Mtls => Caller::named(by_certificate(shown).ok_or_else(|| missing(whole))?),
            };
            caller.get_or_insert(found);
        }
        Ok(caller)
    }

    async fn counted(&self, caller: Option<Caller>) -> Result<Option<Caller>, Error> {
        if let Some(caller) = &caller {
            self.rates.count(&caller.name, caller.rates.as_ref()).await?;
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
        if !entry.is_for(shown.path.trim_start_matches('/')) {
            return Err(refused(
                Code::PermissionDenied,
                "API_KEY_METHOD_BLOCKED",
                "the API key is not for this method",
                who,
            ));
        }
        Ok(Caller { name: entry.caller.clone(), rates: Some(entry.rates.clone()) })
    }

    async fn by_token(&self, whole: &Requirement, shown: &Shown<'_>) -> Result<Arc<str>, Error> {
        let method = shown.path.trim_start_matches('/');
        let caller = match &self.tokens {
            Some(tokens) => tokens.caller(shown.headers, method, shown.now).await?,
            None => None,
        };
        caller.ok_or_else(|| missing(whole))
    }
}

impl Caller {
    fn named(name: Arc<str>) -> Self {
        Self { name, rates: None }
    }
}

fn by_certificate(shown: &Shown<'_>) -> Option<Arc<str>> {
    shown.peer?.names.first().map(|name| format!("{}:{name}", Proof::Mtls).into())
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotAdmitted { reason, .. } if *reason == MISSING)
}

fn missing(requirement: &Requirement) -> Error {
    let what = format!("this method requires {}", requirement.in_words());
    refused(Code::Unauthenticated, MISSING, &what, "nothing that is enough was shown".to_owned())
}

fn refused(code: Code, reason: &'static str, what: &str, detail: String) -> Error {
    Error::NotAdmitted { code, reason, what: what.to_owned(), detail }
}

fn unprovable(place: &str, requirement: &Requirement, can: impl Fn(Proof) -> bool) -> Option<Fault> {
    let proof = Proof::ALL.into_iter().find(|proof| requirement.knows(*proof) && !can(*proof))?;
    Some(match proof {
        Proof::Key => {
            Fault::new(place, "requires a key, and there are none", "name the file of them as --api-keys")
        }
        Proof::Token => Fault::new(
            place,
            "requires a token, and there is no issuer of them",
            "name the issuer as --token-issuer",
        ),
        Proof::Mtls => Fault::new(
            place,
            "requires a certificate, and callers are asked for none",
            "name the CA that issues theirs as --tls-client-ca",
        ),
    })
}

fn names_nothing(place: &str, methods: &[&str]) -> Fault {
    let known = methods.iter().take(8).copied().collect::<Vec<_>>().join(", ");
    let more = if methods.len() > 8 { ", …" } else { "" };
    Fault::new(
        place,
        "names no method that is served",
        format!("write SERVICE/METHOD, with * for anything; there are {known}{more}"),
    )
}

#[cfg(test)]
mod tests;
