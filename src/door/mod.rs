//! Who may come in, and to what: each method has a [`Requirement`], and a caller proves who it is by an API key, a bearer
//! token, the certificate of its connection, or what a gateway tells of it that has proved itself so.
//!
//! What is asked here is answered before a message is read. A refusal helps the honest (what is missing, what has expired),
//! and tells others nothing: a key that is wrong is told like one that never was, and a method that is not served like one
//! that is.

mod audit;
mod claims;
mod faults;
mod issuer;
mod jwks;
mod key;
mod keys;
mod proofs;
mod rates;
mod requirement;
mod signatures;
mod token;
mod userinfo;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::HeaderMap;
use tonic::Code;

pub use self::{
    audit::{Audit, Refused},
    claims::is_issuer,
    jwks::JwksSource,
    key::ApiKey,
    keys::{KeyEntry, Keys},
    rates::{Rate, SharedCounts},
    requirement::{Policy, Proof, Requirement, ScopePolicy},
    token::TokenAlgorithm,
    userinfo::Gateways,
};
use self::{
    proofs::Proofs,
    rates::{Rates, Shared},
};
use crate::{config::DoorConfig, error::Error, fault::Fault, tls::Peer};

/// The reason where nothing was shown that could have been enough.
const MISSING: &str = "CREDENTIALS_MISSING";

/// What callers have to prove, and what they can prove it by.
#[derive(Debug)]
pub struct Door {
    /// By path: `/service/method`.
    methods: HashMap<String, Requirement>,
    /// Of all other paths, known or not.
    others: Requirement,
    proofs: Proofs,
    rates: Rates,
}

/// Who was let in.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What it has proved and the name that it has there, so that nobody is taken for another by a name alone: where a gateway
    /// tells of it, `userinfo:ISSUER#SUBJECT`; else by the first proof that its method requires, `key:NAME` by the entry of its
    /// key, `token:ISSUER#SUBJECT`, or `mtls:NAME` by the first name in its certificate.
    pub name: Arc<str>,
    /// The name of the gateway that tells of it, if that has proved one.
    pub gateway: Option<Arc<str>>,
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
            Proof::Token => !config.tokens.issuers.is_empty(),
            Proof::Mtls => callers_have_certificates,
            Proof::Userinfo => !config.userinfo_from.is_empty(),
        };
        let all = || Requirement::all_of(Proof::ALL.into_iter().filter(|proof| can(*proof)).collect());
        let others = config.require.clone().unwrap_or_else(all);
        let mut faults = faults::faults(config, &others, can, methods);
        let proofs = Proofs::new(config).map_err(|more| faults.extend(more));
        let shared = config.shared_rates.as_ref().map(Shared::new).transpose();
        let shared = shared.map_err(|more| faults.extend(more));
        let (Ok(proofs), Ok(shared), true) = (proofs, shared, faults.is_empty()) else { return Err(faults) };
        let of = |method: &str| {
            let policy = config.policies.iter().find(|policy| policy.methods.matches(method));
            policy.map_or(&others, |policy| &policy.requirement).clone()
        };
        let methods = methods.iter().map(|method| (format!("/{method}"), of(method))).collect();
        Ok(Self { methods, others, proofs, rates: Rates::new(&config.rates, shared) })
    }

    /// Keeps keys and issuers fresh and the counts of rates shared, for ever.
    pub async fn follow(&self, every: Duration) {
        tokio::join!(self.proofs.follow(every), self.rates.follow(every));
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

    /// Whether user info is believed of somebody who has proved nothing.
    pub fn believes_anybody(&self) -> bool {
        self.proofs.believe(None)
    }

    /// Lets a caller in, who has a name if the method is not public.
    ///
    /// # Errors
    /// What it shows is not enough.
    pub async fn admit(&self, shown: &Shown<'_>) -> Result<Option<Caller>, Error> {
        let requirement = self.methods.get(shown.path).unwrap_or(&self.others);
        let mut refusal = None;
        for proofs in requirement.alternatives() {
            match self.proofs.prove(proofs, requirement, shown).await {
                Ok(caller) => return self.counted(caller).await,
                // What was shown and is no good says more than what was not shown.
                Err(why) if refusal.as_ref().is_none_or(is_missing) => refusal = Some(why),
                Err(_) => {}
            }
        }
        Err(refusal.unwrap_or_else(|| missing(requirement)))
    }

    async fn counted(&self, caller: Option<Caller>) -> Result<Option<Caller>, Error> {
        let Some(Caller { name, gateway, rates }) = &caller else { return Ok(None) };
        let counted = self.rates.count(name, rates.as_ref()).await;
        counted.map_err(|error| match gateway {
            Some(gateway) => error.through(gateway),
            None => error,
        })?;
        Ok(caller)
    }
}

// === impl Caller ===

impl Caller {
    fn named(name: Arc<str>) -> Self {
        Self { name, gateway: None, rates: None }
    }
}

// === impl Shown ===

impl Shown<'_> {
    /// `service/method`.
    fn method(&self) -> &str {
        self.path.trim_start_matches('/')
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotAdmitted { reason, .. } if *reason == MISSING)
}

fn missing(requirement: &Requirement) -> Error {
    missing_because(requirement, "nothing that is enough was shown".to_owned())
}

/// The same where the log is told more, and the caller is not.
fn missing_because(requirement: &Requirement, detail: String) -> Error {
    let what = format!("this method requires {}", requirement.in_words());
    refused(Code::Unauthenticated, MISSING, &what, detail)
}

fn refused(code: Code, reason: &'static str, what: &str, detail: String) -> Error {
    Error::NotAdmitted { code, reason, what: what.to_owned(), detail }
}

#[cfg(test)]
mod tests;
