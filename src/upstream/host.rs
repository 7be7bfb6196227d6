//! The breakers of one host: its own, and one for each of its endpoints.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::breaker::{Breaker, BreakerState};
use crate::config::BreakerConfig;

/// The breakers of the host and of its endpoints, for who wants to know of them.
#[derive(Debug)]
pub(super) struct Host {
    config: BreakerConfig,
    breaker: Arc<Breaker>,
    shut: watch::Sender<bool>,
    endpoints: Mutex<Vec<Arc<Breaker>>>,
}

/// What the breakers do at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerStates {
    /// That of the host.
    pub host: BreakerState,
    endpoints: Vec<BreakerState>,
}

// === impl Host ===

impl Host {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        let breaker = Arc::new(Breaker::new(config));
        Self { config: config.clone(), breaker, shut: watch::Sender::new(false), endpoints: Mutex::default() }
    }

    /// Whether there is nothing to count, since nothing is ever shut.
    pub(super) fn never_shuts(&self) -> bool {
        self.config.failures == 0
    }

    /// Its own breaker.
    pub(super) fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// The breaker of an endpoint.
    pub(super) fn endpoint(&self, endpoint: usize) -> Arc<Breaker> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        while endpoints.len() <= endpoint {
            endpoints.push(Arc::new(Breaker::new(&self.config)));
        }
        endpoints[endpoint].clone()
    }

    /// Whether it is shut; it changes as soon as that does.
    pub(super) fn shut(&self) -> watch::Receiver<bool> {
        self.shut.subscribe()
    }

    /// Hears that the host has answered one who asked past the breaker, so that it need not wait for a call to find out.
    pub(super) fn lives(&self) {
        self.breaker.heal().tell("all of it");
        self.show();
    }

    /// What the breakers do now.
    pub(super) fn states(&self) -> BreakerStates {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = endpoints.iter().map(|breaker| breaker.state()).collect();
        BreakerStates { host: self.breaker.state(), endpoints }
    }

    /// Tells what is so now, rather than what has changed: two who changed it may come here in any order.
    pub(super) fn show(&self) {
        self.shut.send_if_modified(|shut| {
            let was = std::mem::replace(shut, self.breaker.state() != BreakerState::Admitting);
            *shut != was
        });
    }
}

// === impl BreakerStates ===

impl BreakerStates {
    /// That of an endpoint, which admits as long as it was never asked.
    pub fn endpoint(&self, endpoint: usize) -> BreakerState {
        self.endpoints.get(endpoint).copied().unwrap_or(BreakerState::Admitting)
    }
}
