//! The HTTP shore: one plain request to the API goes in, its plain answer comes out.
//!
//! It knows sockets, time limits and sizes and never heard of protobuf. Every way in which the network can
//! fail is an [`Error`] of its own here; an answer with an error status is still an answer.
//!
//! Between the two stand the layers that protect a slow API, each in a file of its own. [`Upstream::new`] is the list
//! of them, with the reason for each place.

mod body;
mod breaker;
mod breakers;
mod cache;
mod calm;
mod client;
mod coalesce;
mod connect;
mod counts;
mod credential;
mod endpoints;
mod finder;
mod flights;
mod host;
mod id_token;
mod limit;
mod memo;
mod queue;
mod rates;
mod retry;
mod stats;
mod stored;
mod terms;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::sync::watch;

pub(crate) use self::credential::{basic_header, bearer_header};
pub use self::{
    breaker::BreakerState,
    host::BreakerStates,
    memo::Memo,
    stats::{Event, Snapshot, Stats},
    terms::{Reply, Served, Terms},
};
use self::{breakers::Breakers, cache::Cache, client::Client, host::Host, limit::Limit, retry::Retry};
use crate::{config::UpstreamConfig, error::Error, fault::Fault};

/// One request in, one answer out. No `tower::Service`, for there is no readiness to ask for: all waiting is in one
/// place, the queue of the limit, which knows how long each call may wait.
trait Exchange: Send + Sync + 'static {
    fn exchange(
        &self,
        request: Request<Bytes>,
        terms: &Terms,
    ) -> impl Future<Output = Result<Response<Bytes>, Error>> + Send;
}

/// The API behind the bridge.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client,
    stack: Arc<Stack>,
    stats: Arc<Stats>,
    host: Arc<Host>,
}

type Stack = Cache<Retry<Breakers<Limit<Client>>>>;

// === impl Upstream ===

impl Upstream {
    /// Prepares the client; nothing is connected yet.
    ///
    /// # Errors
    /// The TLS roots of this machine cannot be read, for an `https` URL; or the file of a credential cannot be used.
    pub fn new(config: &UpstreamConfig) -> Result<Self, Vec<Fault>> {
        let stats = Arc::new(Stats::default());
        let client = Client::new(config)?;
        // Innermost: what waits here has not been sent, and waits for nothing else.
        let limit = Limit::new(client.clone(), &config.limit, stats.clone());
        // Outside the limit: what a shut breaker refuses takes no place; inside the retries, so that it sees each attempt.
        let breakers = Breakers::new(limit, &config.breaker, stats.clone());
        let host = breakers.host().clone();
        // Inside what is shared, so that a request is repeated once, and not once for each of its callers.
        let retry = Retry::new(breakers, &config.retry, stats.clone());
        // Outermost: a hit takes no place, no budget, and passes a shut breaker. What is no hit is asked for by one of
        // those who want the same, and revalidated by one.
        let stack = Arc::new(Cache::new(retry, &config.cache, stats.clone()));
        Ok(Self { client, stack, stats, host })
    }

    /// Sends one request, whose URI is path and query below the base URL. Dropping the future cancels it, unless others
    /// wait for the same answer.
    ///
    /// # Errors
    /// No complete answer has come.
    pub async fn send(&self, request: Request<Bytes>, terms: &Terms) -> Result<Reply, Error> {
        self.stack.reply(request, terms).await
    }

    /// Waits until it is known whether there is a credential, where it has to be asked for. It needs that [`Self::follow`]
    /// runs.
    pub async fn ready(&self) {
        self.client.ready().await;
    }

    /// How long the credential is still good, where that is known; nothing is left of one that is not there.
    pub fn credential_left(&self) -> Option<Duration> {
        self.client.credential_left()
    }

    /// Keeps the credential fresh, for ever: reads it again when it changes, or asks for a new one before it expires.
    pub async fn follow(&self, every: Duration) {
        self.client.follow(every).await;
    }

    /// Asks for `path` past all layers and gives the status; the body is not read. Any answer opens the breaker of the host.
    ///
    /// # Errors
    /// No answer has come within `timeout`.
    pub async fn probe(&self, path: &str, timeout: Duration) -> Result<StatusCode, Error> {
        let status = self.client.probe(path, timeout).await?;
        self.host.lives();
        Ok(status)
    }

    /// Whether the breaker of the host is shut, so that no call can reach the API; it changes as soon as that does.
    pub fn host_shut(&self) -> watch::Receiver<bool> {
        self.host.shut()
    }

    /// What the breakers do now.
    pub fn breakers(&self) -> BreakerStates {
        self.host.states()
    }

    /// What happened so far.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }
}
