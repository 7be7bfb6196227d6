//! A stored answer: how long it is good, what it takes, and what RFC 9111 says of storing and confirming it.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{self, HeaderName},
};
use http_cache_semantics::{AfterResponse, BeforeRequest, CacheOptions, CachePolicy};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, sync::DefaultLifecycle};
use tokio::time::Instant;

use super::{Memo, Reply, Served, coalesce::Key, memo::MIN_KEPT_BYTES};

/// What an entry takes besides key, headers and bodies.
const ENTRY_BYTES: usize = 1024;
/// What the place of a header takes besides its text.
const HEADER_BYTES: usize = 112;
/// For how many entries there is room at once; it grows.
const FIRST_ENTRIES: usize = 256;
/// In how many parts the store is locked; no entry is larger than a part.
const PARTS: usize = 4;
/// What describes the body that is kept, whatever the 304 says that confirms it.
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
];

/// A private cache whose answers say by themselves how long they are fresh: heuristics would be a guess.
const OPTIONS: CacheOptions = CacheOptions {
    shared: false,
    cache_heuristic: 0.0,
    immutable_min_time_to_live: Duration::ZERO,
    ignore_cargo_cult: false,
};

/// The stored answers.
pub(super) type Store = quick_cache::sync::Cache<Key, Arc<Entry>, Weight>;

/// A stored answer.
pub(super) struct Entry {
    pub(super) response: Arc<Response<Bytes>>,
    pub(super) memo: Arc<Memo>,
    pub(super) policy: CachePolicy,
    /// When it was asked for, or asked whether it is still good; it may be as old as that.
    pub(super) asked: Instant,
    /// How long it is served unasked from then on, if its method does not say.
    pub(super) fresh: Duration,
    /// How many writes there had been when it was asked for.
    pub(super) writes: u64,
    /// Whether somebody asks already whether it is still good, while it is served.
    pub(super) refreshing: AtomicBool,
    pub(super) size: usize,
}

/// What a stored answer takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight;

// === impl Entry ===

impl Entry {
    /// Whether it may be served unasked, given what its method says, if it may be that much too old.
    pub(super) fn is_fresh(&self, ttl: Option<Duration>, too_old: Duration) -> bool {
        let fresh = ttl.filter(|_| self.response.status().is_success()).unwrap_or(self.fresh);
        self.asked.elapsed() < fresh.saturating_add(too_old)
    }

    /// This answer with the head that a 304 brings for it (RFC 9111, section 3.2), if it is this one that is confirmed.
    pub(super) fn confirmed(
        &self,
        request: &Request<Bytes>,
        answer: &Response<Bytes>,
    ) -> Option<Response<Bytes>> {
        let AfterResponse::NotModified(..) = self.policy.after_response(request, answer, SystemTime::now())
        else {
            return None;
        };
        let mut response = Response::clone(&self.response);
        for name in answer.headers().keys().filter(|name| !OF_THE_BODY.contains(name)) {
            response.headers_mut().remove(name);
            for value in answer.headers().get_all(name) {
                response.headers_mut().append(name, value.clone());
            }
        }
        Some(response)
    }

    pub(super) fn reply(&self, stale: bool) -> Reply {
        Reply { response: self.response.clone(), memo: self.memo.clone(), served: Served::Hit { stale } }
    }
}

// === impl Weight ===

impl Weighter<Key, Arc<Entry>> for Weight {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        entry.size as u64
    }
}

/// A store of so many bytes.
pub(super) fn store(bytes: usize) -> Store {
    let options = OptionsBuilder::new()
        .shards(PARTS)
        .estimated_items_capacity(FIRST_ENTRIES)
        .weight_capacity(bytes as u64)
        .build()
        .expect("every option is given");
    Store::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

/// Copies the values of headers into memory of their own. What comes from a connection is a part of the buffer it was
/// read into, which may be a thousand times as large and would live as long.
pub(super) fn own(headers: &mut HeaderMap) {
    let mut own = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values_mut() {
        own.extend_from_slice(value.as_bytes());
        let is_sensitive = value.is_sensitive();
        *value = HeaderValue::from_maybe_shared(own.split().freeze()).expect("it was a value before");
        value.set_sensitive(is_sensitive);
    }
}

/// What a stored answer takes: twice the body, for there is room for what is made of it.
pub(super) fn size(key: &Key, request: &Request<Bytes>, response: &Response<Bytes>) -> usize {
    let text = |headers: &HeaderMap| -> usize {
        headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    };
    let (asked, answered, body) = (request.headers(), response.headers(), response.body().len());
    // The policy has the headers of both, and shares their text.
    let places = asked.len() + answered.len() + answered.capacity();
    let headers = text(asked) + text(answered) + HEADER_BYTES * places;
    ENTRY_BYTES + key.size() + headers + body + body.max(MIN_KEPT_BYTES)
}

/// Whether all requests with the same key can have this answer.
pub(super) fn is_for_equals(response: &Response<Bytes>) -> bool {
    let names = response
        .headers()
        .get_all(header::VARY)
        .iter()
        .flat_map(|names| names.as_bytes().split(|b| *b == b','));
    !names.map(<[u8]>::trim_ascii).any(|name| name == b"*" || Key::leaves_out(name))
}

/// What may be done with an answer. The crate knows directives in small letters only, but `No-Store` means the same.
pub(super) fn policy(request: &Request<Bytes>, response: &Response<Bytes>) -> CachePolicy {
    let now = SystemTime::now();
    let has_capitals = |value: &HeaderValue| value.as_bytes().iter().any(u8::is_ascii_uppercase);
    if !response.headers().get_all(header::CACHE_CONTROL).iter().any(has_capitals) {
        return CachePolicy::new_options(request, response, now, OPTIONS);
    }
    let mut response = response.clone();
    for (_, value) in response.headers_mut().iter_mut().filter(|(name, _)| **name == header::CACHE_CONTROL) {
        if let Ok(small) = HeaderValue::from_bytes(&value.as_bytes().to_ascii_lowercase()) {
            *value = small;
        }
    }
    CachePolicy::new_options(request, &response, now, OPTIONS)
}

/// The request that asks whether what is stored is still good.
pub(super) fn conditional(policy: &CachePolicy, request: &Request<Bytes>) -> Request<Bytes> {
    let mut asking = request.clone();
    // For that is what it says if it would otherwise serve what is fresh.
    asking.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let BeforeRequest::Stale { request: head, .. } = policy.before_request(&asking, SystemTime::now()) else {
        return request.clone();
    };
    let mut conditional = request.clone();
    for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE] {
        if let Some(value) = head.headers.get(&name) {
            conditional.headers_mut().insert(name, value.clone());
        }
    }
    conditional
}
