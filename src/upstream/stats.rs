//! What happened on the way to the API, counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A request was sent.
    Attempt,
    /// A request was sent again.
    Retry,
    /// A failure would have been repeated, had the budget allowed it.
    RetryOverBudget,
    /// A caller shared the request of another.
    Collapsed,
    /// An answer came from the cache without a request.
    CacheHit,
    /// An answer in the cache was confirmed by the API.
    CacheRevalidated,
    /// An answer was put into the cache.
    CacheStored,
    /// An answer that is older than it should be was served.
    CacheStale,
    /// A call was refused because it would have waited too long.
    Refused,
    /// A call was refused by a shut breaker.
    Shut,
    /// A breaker that admitted calls was shut.
    Tripped,
}

const EVENTS: usize = Event::Tripped as usize + 1;

/// The counts, and what is so at the moment.
#[derive(Debug, Default)]
pub struct Stats {
    events: [AtomicU64; EVENTS],
    limit: AtomicUsize,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    events: [u64; EVENTS],
    /// How many requests may be sent at once.
    pub limit: usize,
    /// How many have been sent and not been answered.
    pub in_flight: usize,
    /// How many wait to be sent.
    pub waiting: usize,
}

// === impl Stats ===

impl Stats {
    /// The counts now.
    pub fn snapshot(&self) -> Snapshot {
        let load = |gauge: &AtomicUsize| gauge.load(Ordering::Relaxed);
        Snapshot {
            events: std::array::from_fn(|index| self.events[index].load(Ordering::Relaxed)),
            limit: load(&self.limit),
            in_flight: load(&self.in_flight),
            waiting: load(&self.waiting),
        }
    }

    pub(super) fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn gauge(&self, limit: usize, in_flight: usize, waiting: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// How often this has happened.
    pub fn of(&self, event: Event) -> u64 {
        self.events[event as usize]
    }
}
