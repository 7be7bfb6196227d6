//! A private cache (RFC 9111), keyed by everything that is sent, credentials included.
//!
//! What may be stored, how long it is fresh and how it is revalidated is `http-cache-semantics`' to say. By default every
//! stored answer is revalidated: an API that answers 304 saves the transfer, the parsing and the mapping, for the
//! message that was made of an answer stays beside it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_cache_semantics::CachePolicy;
use tokio::time::{Instant, timeout};

use super::{
    Exchange, Memo, Reply, Served, Terms,
    coalesce::{Flights, Key},
    stats::{Event, Stats},
    stored::{Entry, Store, conditional, is_for_equals, own, policy, size, store},
};
use crate::{
    config::{CacheConfig, Freshness},
    deadline::Deadline,
    error::{Error, Side},
};

/// What is kept of the time of a call to serve a stale answer instead.
const STALE_MARGIN: u32 = 20;
/// How long a revalidation may take that nobody waits for.
const BACKGROUND_TIME: Duration = Duration::from_secs(30);

/// Serves what is stored, and sends what is not.
#[derive(Debug)]
pub(super) struct Cache<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    inner: S,
    config: CacheConfig,
    /// `None` if nothing is to be stored.
    store: Option<Store>,
    flights: Arc<Flights>,
    /// Counts writes; what was asked for before the last one is not served unasked.
    writes: AtomicU64,
    stats: Arc<Stats>,
}

/// An answer that several callers may have.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    response: Arc<Response<Bytes>>,
    memo: Arc<Memo>,
    unmodified: bool,
    stored: bool,
}

/// A request on its way to the API, and where its answer is kept.
struct Asking {
    key: Key,
    request: Request<Bytes>,
    /// How many writes there had been when it began.
    writes: u64,
    begun: Instant,
}

/// A request that may change what others have been answered; it counts when this is dropped.
struct Write<'a, S>(&'a Inner<S>);

// === impl Cache ===

impl<S: Exchange> Cache<S> {
    pub(super) fn new(inner: S, config: &CacheConfig, stats: Arc<Stats>) -> Self {
        let store = (config.size > 0).then(|| store(config.size));
        let (flights, writes) = (Arc::new(Flights::new(stats.clone())), AtomicU64::new(0));
        Self { inner: Arc::new(Inner { inner, config: config.clone(), store, flights, writes, stats }) }
    }

    /// An answer from the store, or from the API.
    pub(super) async fn reply(&self, request: Request<Bytes>, terms: &Terms) -> Result<Reply, Error> {
        if request.method() == Method::GET {
            self.get(request, terms).await
        } else {
            self.pass(request, terms).await
        }
    }

    /// What is no GET goes through by itself.
    async fn pass(&self, request: Request<Bytes>, terms: &Terms) -> Result<Reply, Error> {
        let is_safe = terms.safe || request.method().is_safe();
        let _write = (!is_safe).then(|| Write(&*self.inner));
        let response = Arc::new(self.inner.inner.exchange(request, terms).await?);
        Ok(Reply { response, memo: Arc::default(), served: Served::Bypassed })
    }

    async fn get(&self, request: Request<Bytes>, terms: &Terms) -> Result<Reply, Error> {
        let key = Key::of(&request);
        let found = self.inner.store.as_ref().and_then(|store| store.get(&key));
        let writes = self.inner.writes.load(Ordering::Acquire);
        if let Some(entry) = found.as_ref().filter(|entry| entry.writes == writes) {
            if entry.is_fresh(terms.ttl, Duration::ZERO) {
                self.inner.stats.count(Event::CacheHit);
                return Ok(entry.reply(false));
            }
            if entry.is_fresh(terms.ttl, self.inner.config.stale_while_revalidate) {
                self.refresh(entry, key, request, terms);
                self.inner.stats.count(Event::CacheStale);
                return Ok(entry.reply(true));
            }
        }
        let stale_if_error = self.inner.config.stale_if_error;
        let may_be_stale =
            |entry: &Arc<Entry>| entry.writes == writes && entry.is_fresh(terms.ttl, stale_if_error);
        match found.clone().filter(may_be_stale) {
            Some(stale) => {
                let time = terms.deadline.left();
                let fetched =
                    timeout(time - time / STALE_MARGIN, self.fetch(key, request, found, terms)).await;
                match fetched {
                    Ok(Ok(reply)) if !reply.response.status().is_server_error() => Ok(reply),
                    Ok(Err(error)) if error.side() != Side::Upstream => Err(error),
                    _ => {
                        self.inner.stats.count(Event::CacheStale);
                        Ok(stale.reply(true))
                    }
                }
            }
            None => self.fetch(key, request, found, terms).await,
        }
    }

    /// Asks the API, together with those who ask the same.
    async fn fetch(
        &self,
        key: Key,
        request: Request<Bytes>,
        found: Option<Arc<Entry>>,
        terms: &Terms,
    ) -> Result<Reply, Error> {
        let (revalidated, mut asking) = (found.is_some(), Some((request, found)));
        let fetch = |terms| {
            let (inner, key, asking) = (self.inner.clone(), key.clone(), asking.take());
            async move {
                let (request, found) = asking.expect("it is asked for once");
                inner.fetch(key, request, found, &terms).await
            }
        };
        let (mut fetched, mut collapsed) = self.inner.flights.join(&key, terms, fetch).await;
        // One that says that it is not for all who ask like this (`Vary`) is for the first of them.
        if let Some((request, found)) = asking
            && fetched.as_ref().is_ok_and(|fetched| !is_for_equals(&fetched.response))
        {
            (fetched, collapsed) = (self.inner.fetch(key, request, found, terms).await, false);
        }
        let Fetched { response, memo, unmodified, stored } = fetched?;
        let served = Served::Forwarded { revalidated, unmodified, stored, collapsed };
        Ok(Reply { response, memo, served })
    }

    /// Asks whether a stale answer is still good, while it is served.
    fn refresh(&self, entry: &Arc<Entry>, key: Key, request: Request<Bytes>, terms: &Terms) {
        if entry.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (cache, entry) = (Self { inner: self.inner.clone() }, entry.clone());
        let mut terms = terms.detached();
        terms.deadline = Deadline::after(BACKGROUND_TIME);
        tokio::spawn(async move {
            // What comes of it stands in the store, or is tried again.
            let _ = timeout(BACKGROUND_TIME, cache.fetch(key, request, Some(entry.clone()), &terms)).await;
            entry.refreshing.store(false, Ordering::Relaxed);
        });
    }
}

// === impl Inner ===

impl<S: Exchange> Inner<S> {
    async fn fetch(
        &self,
        key: Key,
        request: Request<Bytes>,
        found: Option<Arc<Entry>>,
        terms: &Terms,
    ) -> Result<Fetched, Error> {
        let (writes, begun) = (self.writes.load(Ordering::Acquire), Instant::now());
        let asking = Asking { key, request, writes, begun };
        if let Some(found) = found {
            let conditional = conditional(&found.policy, &asking.request);
            let answer = self.inner.exchange(conditional, terms).await?;
            if answer.status() != StatusCode::NOT_MODIFIED {
                return Ok(self.keep(asking, answer, None, terms));
            }
            if let Some(response) = found.confirmed(&asking.request, &answer) {
                return Ok(self.keep(asking, response, Some(found.memo.clone()), terms));
            }
            // It confirms another answer than the one that is here.
            terms.starts_over(Duration::ZERO);
        }
        let answer = self.inner.exchange(asking.request.clone(), terms).await?;
        Ok(self.keep(asking, answer, None, terms))
    }

    /// Stores an answer, or one that was confirmed and has a memo, if that is allowed and of use.
    fn keep(
        &self,
        mut asking: Asking,
        mut answer: Response<Bytes>,
        confirmed: Option<Arc<Memo>>,
        terms: &Terms,
    ) -> Fetched {
        if self.store.is_some() {
            own(asking.request.headers_mut());
            own(answer.headers_mut());
        }
        let (response, unmodified) = (Arc::new(answer), confirmed.is_some());
        let memo = confirmed.unwrap_or_default();
        let policy = policy(&asking.request, &response);
        let storable =
            policy.is_storable() && is_for_equals(&response) && self.is_of_use(&response, &policy, terms);
        if !storable && let Some(store) = self.store.as_ref().filter(|_| !response.status().is_server_error())
        {
            // What is there is no longer what the API says.
            store.remove(&asking.key);
        }
        let stored = storable && self.store(asking, response.clone(), memo.clone(), policy, terms);
        if unmodified {
            self.stats.count(Event::CacheRevalidated);
        } else if stored {
            self.stats.count(Event::CacheStored);
        }
        Fetched { response, memo, unmodified, stored }
    }

    fn is_of_use(&self, response: &Response<Bytes>, policy: &CachePolicy, terms: &Terms) -> bool {
        let has_validator =
            [header::ETAG, header::LAST_MODIFIED].iter().any(|name| response.headers().contains_key(name));
        let is_served_stale =
            !self.config.stale_if_error.is_zero() || !self.config.stale_while_revalidate.is_zero();
        let fresh = terms.ttl.filter(|_| response.status().is_success()).unwrap_or(self.freshness(policy));
        self.store.is_some()
            // A failure does not replace what is there.
            && !response.status().is_server_error()
            && (!fresh.is_zero() || response.status().is_success() && (has_validator || is_served_stale))
    }

    /// How long an answer is served unasked, if its method does not say.
    fn freshness(&self, policy: &CachePolicy) -> Duration {
        match self.config.freshness {
            Freshness::Revalidate => Duration::ZERO,
            Freshness::Api => policy.time_to_live(SystemTime::now()),
        }
    }

    /// Whether it is stored then: one that is too large is not, nor one that is older than what is there.
    fn store(
        &self,
        asking: Asking,
        response: Arc<Response<Bytes>>,
        memo: Arc<Memo>,
        policy: CachePolicy,
        terms: &Terms,
    ) -> bool {
        let Some(store) = &self.store else { return false };
        let Asking { key, request, writes, begun } = asking;
        // It may have waited for a while before it was sent.
        let asked = terms.sent().unwrap_or(begun);
        if store.peek(&key).is_some_and(|there| there.asked > asked) {
            return false;
        }
        let fresh = self.freshness(&policy);
        let size = size(&key, &request, &response);
        let refreshing = AtomicBool::new(false);
        let entry = Arc::new(Entry { response, memo, policy, asked, fresh, writes, refreshing, size });
        store.insert(key.clone(), entry.clone());
        store.peek(&key).is_some_and(|there| Arc::ptr_eq(&there, &entry))
    }
}

impl<S> fmt::Debug for Inner<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("config", &self.config).finish_non_exhaustive()
    }
}

// === impl Write ===

impl<S> Drop for Write<'_, S> {
    fn drop(&mut self) {
        self.0.writes.fetch_add(1, Ordering::Release);
        self.0.flights.ground();
    }
}

#[cfg(test)]
mod tests;
