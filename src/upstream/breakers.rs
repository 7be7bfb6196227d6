//! Stops asking an API that does not answer, and asks again, one call at a time.
//!
//! There is one breaker for the host, which counts only whether it can be reached, and one for each endpoint, which counts
//! whether it works: an endpoint that fails does not shut the others.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;

use super::{
    Exchange, Terms,
    breaker::{Breaker, Health, Pass, Turn},
    host::Host,
    stats::{Event, Stats},
};
use crate::{config::BreakerConfig, error::Error};

/// Refuses calls while their endpoint, or the whole host, fails.
#[derive(Debug)]
pub(super) struct Breakers<S> {
    inner: S,
    host: Arc<Host>,
    stats: Arc<Stats>,
}

/// A call that is on its way. An API that hangs says nothing before its callers go away, so that this is looked at then.
struct Trial<'a, S> {
    breakers: &'a Breakers<S>,
    terms: &'a Terms,
    passes: Option<(Pass, Pass)>,
}

// === impl Breakers ===

impl<S> Breakers<S> {
    pub(super) fn new(inner: S, config: &BreakerConfig, stats: Arc<Stats>) -> Self {
        Self { inner, host: Arc::new(Host::new(config)), stats }
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    fn admit(&self, breaker: &Arc<Breaker>) -> Result<Pass, Error> {
        breaker.clone().admit(Instant::now()).map_err(|retry_after| {
            self.stats.count(Event::Shut);
            Error::BreakerShut { retry_after }
        })
    }

    fn heard(&self, turn: Turn, what: &str) {
        if turn == Turn::Tripped {
            self.stats.count(Event::Tripped);
        }
        turn.tell(what);
    }
}

impl<S: Exchange> Exchange for Breakers<S> {
    async fn exchange(&self, request: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        if self.host.never_shuts() {
            return self.inner.exchange(request, terms).await;
        }
        let host = self.admit(self.host.breaker())?;
        let endpoint = self.admit(&self.host.endpoint(terms.endpoint))?;
        let mut trial = Trial { breakers: self, terms, passes: Some((host, endpoint)) };
        let outcome = self.inner.exchange(request, terms).await;
        trial.end(health(&outcome));
        outcome
    }
}

// === impl Trial ===

impl<S> Trial<'_, S> {
    fn end(&mut self, (host_is, endpoint_is): (Health, Health)) {
        let Some((host, endpoint)) = self.passes.take() else { return };
        let now = Instant::now();
        self.breakers.heard(endpoint.end(endpoint_is, now), "one endpoint");
        let turn = host.end(host_is, now);
        self.breakers.heard(turn, "all of it");
        if turn != Turn::Stays {
            self.breakers.host.show();
        }
    }
}

impl<S> Drop for Trial<'_, S> {
    fn drop(&mut self) {
        if self.passes.is_some() {
            let endpoint_is = if self.terms.waited_in_vain() { Health::Bad } else { Health::Unknown };
            self.end((Health::Unknown, endpoint_is));
        }
    }
}

/// What an outcome says of the host, and of the endpoint.
fn health(outcome: &Result<Response<Bytes>, Error>) -> (Health, Health) {
    match outcome {
        Ok(answer) if answer.status().is_server_error() => (Health::Good, Health::Bad),
        Ok(_) => (Health::Good, Health::Good),
        Err(Error::Unreachable { .. }) => (Health::Bad, Health::Unknown),
        Err(Error::UpstreamTimeout { .. } | Error::ConnectionLost { .. } | Error::AnswerCutOff { .. }) => {
            (Health::Unknown, Health::Bad)
        }
        // It answered, if not as it should.
        Err(Error::AnswerTooLarge { .. } | Error::AnswerUndecodable { .. }) => (Health::Good, Health::Good),
        // Nothing was sent.
        Err(_) => (Health::Unknown, Health::Unknown),
    }
}

#[cfg(test)]
mod tests;
