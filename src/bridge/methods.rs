//! Which method a call is of, and what is configured for it.

use std::{collections::HashMap, time::Duration};

use crate::{
    contract::{Contract, Method},
    error::Error,
    fault::Fault,
};

/// The methods of a contract, known by their index there.
#[derive(Debug)]
pub(super) struct Methods {
    contract: Contract,
    /// gRPC path to index in the contract.
    by_path: HashMap<String, usize>,
    /// How long the answers of each method are served without asking again, where that is configured.
    ttls: Vec<Option<Duration>>,
}

// === impl Methods ===

impl Methods {
    /// # Errors
    /// `ttls` names a method that the contract has not.
    pub(super) fn new(contract: Contract, ttls: &[(String, Duration)]) -> Result<Self, Vec<Fault>> {
        let ttls = resolve(&contract, ttls)?;
        let methods = contract.methods().iter().enumerate();
        let by_path = methods.map(|(index, method)| (method.path().to_owned(), index)).collect();
        Ok(Self { contract, by_path, ttls })
    }

    pub(super) fn contract(&self) -> &Contract {
        &self.contract
    }

    /// The method of a gRPC path, such as `/shop.v1.ProductService/GetProduct`, if it is served.
    pub(super) fn find(&self, path: &str) -> Result<usize, Error> {
        let method = *self.by_path.get(path).ok_or(Error::UnknownMethod)?;
        self.serves(method).map(|()| method)
    }

    /// Whether calls of a method are served at all.
    pub(super) fn serves(&self, method: usize) -> Result<(), Error> {
        match self.described(method) {
            method if method.is_streaming() => Err(Error::Streaming),
            method if method.bindings().is_empty() => Err(Error::Unmapped),
            _ => Ok(()),
        }
    }

    /// What the contract says of a method.
    pub(super) fn described(&self, method: usize) -> &Method {
        &self.contract.methods()[method]
    }

    /// How long the answers of a method are served without asking again, if that is configured.
    pub(super) fn ttl(&self, method: usize) -> Option<Duration> {
        self.ttls[method]
    }
}

/// How long answers are served unasked, by the index of the method.
fn resolve(
    contract: &Contract,
    configured: &[(String, Duration)],
) -> Result<Vec<Option<Duration>>, Vec<Fault>> {
    let mut ttls = vec![None; contract.methods().len()];
    let mut faults = Vec::new();
    for (name, ttl) in configured {
        match contract.method_named(name) {
            Ok(method) => ttls[method] = Some(*ttl),
            Err(others) => faults.push(Fault::new(
                "--cache-ttl or BRIDGE_CACHE_TTL",
                format!("the contract has no one method {name:?}"),
                format!("it has: {}", others.join(", ")),
            )),
        }
    }
    if faults.is_empty() { Ok(ttls) } else { Err(faults) }
}
