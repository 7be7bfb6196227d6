//! One request for all callers that ask for the same at the same time.
//!
//! RFC 9111, section 4, lets a cache collapse requests. Equal are method, URL and every header but the ones that name a
//! single call, so that an answer never crosses credentials. Who comes when the answer has begun to arrive starts a
//! request of its own, for that answer cannot know of what it may have just changed; so does everyone after a write, and
//! everyone who would join a request that hangs: there would always be somebody who waits for it.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{Shared, WeakShared},
};
use http::{Request, header::HeaderName};

use super::{
    Terms,
    cache::Fetched,
    stats::{Event, Stats},
};
use crate::error::Error;

/// What names one call and does not change its answer, unless that says so (`Vary`).
const OF_ONE_CALL: [HeaderName; 4] = [
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

type Fetching = Pin<Box<dyn Future<Output = Result<Fetched, Error>> + Send>>;

/// What makes two requests equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key(Arc<[u8]>);

/// The requests that are on their way.
#[derive(Debug)]
pub(super) struct Flights {
    flying: Mutex<HashMap<Key, Flight>>,
    next_id: AtomicU64,
    stats: Arc<Stats>,
}

/// A request on its way. It lives as long as one caller waits for it.
#[derive(Debug)]
struct Flight {
    id: u64,
    answer: WeakShared<Fetching>,
    terms: Terms,
}

/// Takes a flight out of the list when it has ended, in whatever way.
struct Landing {
    flights: Arc<Flights>,
    key: Key,
    id: u64,
}

// === impl Key ===

impl Key {
    pub(super) fn of(request: &Request<Bytes>) -> Self {
        let mut key = Vec::with_capacity(256);
        key.extend_from_slice(request.method().as_str().as_bytes());
        key.push(b' ');
        key.extend_from_slice(request.uri().path().as_bytes());
        if let Some(query) = request.uri().query() {
            key.push(b'?');
            key.extend_from_slice(query.as_bytes());
        }
        let mut headers: Vec<_> =
            request.headers().iter().filter(|(name, _)| !OF_ONE_CALL.contains(name)).collect();
        // By name only: the order of several values of one name counts.
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            // Neither a name nor a value has a line feed in it.
            key.push(b'\n');
            key.extend_from_slice(name.as_str().as_bytes());
            key.push(b':');
            key.extend_from_slice(value.as_bytes());
        }
        Self(key.into())
    }

    /// Whether requests can differ in this header and have the same key.
    pub(super) fn leaves_out(name: &[u8]) -> bool {
        OF_ONE_CALL.iter().any(|own| own.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }
}

// === impl Flights ===

impl Flights {
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        Self { flying: Mutex::default(), next_id: AtomicU64::new(0), stats }
    }

    /// The answer to an equal request that is on its way, or else to the one that `fetch` makes; and whether it is shared.
    pub(super) async fn join<F>(
        self: &Arc<Self>,
        key: &Key,
        terms: &Terms,
        fetch: impl FnOnce(Terms) -> F,
    ) -> (Result<Fetched, Error>, bool)
    where
        F: Future<Output = Result<Fetched, Error>> + Send + 'static,
    {
        if let Some(answer) = self.boarding(key, terms) {
            self.stats.count(Event::Collapsed);
            return (answer.await, true);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let own = terms.detached();
        let landing = Landing { flights: self.clone(), key: key.clone(), id };
        let fetching = fetch(own.clone());
        let fetching: Fetching = Box::pin(async move {
            let _landing = landing;
            fetching.await
        });
        let answer = fetching.shared();
        if let Some(weak) = answer.downgrade() {
            self.lock().insert(key.clone(), Flight { id, answer: weak, terms: own });
        }
        (answer.await, false)
    }

    /// From now on nobody joins what is on its way.
    pub(super) fn ground(&self) {
        self.lock().clear();
    }

    /// The flight for this key, if its answer has not begun to come; it then lasts as long as this caller waits.
    fn boarding(&self, key: &Key, terms: &Terms) -> Option<Shared<Fetching>> {
        let flying = self.lock();
        let joinable = |flight: &&Flight| {
            let has_hope = !flight.terms.is_overdue() && flight.terms.resumes_before(&terms.deadline);
            has_hope && !flight.terms.has_begun()
        };
        let flight = flying.get(key).filter(joinable)?;
        let answer = flight.answer.upgrade()?;
        flight.terms.deadline.extend(&terms.deadline);
        Some(answer)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Landing ===

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flying = self.flights.lock();
        if flying.get(&self.key).is_some_and(|flight| flight.id == self.id) {
            flying.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
