//! Finds how many requests the API can work on at once, from how long it takes to answer them.
//!
//! The gradient of Netflix's `concurrency-limits` (Gradient2) and of Envoy's adaptive concurrency filter: while
//! requests take as long as they did in calm, there is room; as soon as they take longer, they wait inside the API, and the
//! limit shrinks by the same ratio. As Envoy does, what calm means is measured again and again, by letting few
//! requests through for a moment; otherwise a queue that never empties would become what is normal. Unlike both, each
//! request is compared with the calm of its own endpoint, so that a change of the mix is no change of the load; it is the
//! time of places that is compared ([`super::flights`]); and before the limit changes by much, calm is measured anew, since
//! an API may become slower, or faster, without any load. Failures that mean "too much" shrink it as in AIMD.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    endpoints::Endpoints,
    flights::{Flight, FlightId, Flights, Use, Uses},
};

/// The limit before anything is known: a stock Puma has three or five threads.
const FIRST: f64 = 5.0;
/// Few enough to be calm, and the least that the limit becomes.
pub(super) const CALM: usize = 3;
/// The most that it becomes.
const MAX: f64 = 200.0;
/// How much longer than in calm answers may take before the limit shrinks.
const TOLERANCE: f64 = 1.25;
/// A new limit is made of this much time and this many answers, at least.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_SAMPLES: usize = 10;
/// It is calm when so long no more than [`CALM`] were in flight: for a fifth of a second a thread of Puma waits for the next
/// request on the connection that it has just served, so that others wait for it that come on other connections.
const SETTLE: Duration = Duration::from_millis(250);
/// After this long without calm it is measured again: soon at first, for what was seen first is what was cold, and
/// twice as long after it each time, up to the second;
const CALM_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// but never for more than one part in so many of the time.
const CALM_PART: u32 = 10;
/// It is measured until there are so many answers, or for this long after the first one, or for as long again as that
/// one took.
const CALM_ENOUGH: u32 = 20;
const CALM_TIME: Duration = Duration::from_millis(500);
/// Answers that take so many times longer than in calm, or less, are reason to look whether calm is what it was: the API may
/// have become slower, which no fewer requests make better, or faster, so that many wait before it is noticed.
const DOUBT: f64 = 2.5;
/// So soon after the last time in the second case, in which it does not take long.
const CALM_SOONER: Duration = Duration::from_secs(5);
/// The factor for a window in which the API said that it is too much.
const BACKOFF: f64 = 0.9;
/// The most by which one window shrinks it.
const STEEPEST: f64 = 0.5;

/// How a request ended, as far as the load is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The API answered.
    Answered,
    /// It had too much to do, or seemed to.
    TooMuch,
    /// It says nothing about the load.
    Neither,
}

/// One request that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) took: Duration,
    pub(super) verdict: Verdict,
}

/// How many requests may be in flight: now, and when the moment of calm is over, if it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) now: usize,
    pub(super) lasting: usize,
}

/// The limit, and what it is found by.
#[derive(Debug)]
pub(super) struct Finder {
    fixed: Option<usize>,
    limit: f64,
    flights: Flights,
    window: Window,
    endpoints: Endpoints,
    measuring: Option<Measuring>,
    /// When more were in flight than in calm.
    crowded: Option<Instant>,
    /// When something was learned of calm the last time.
    calm_seen: Instant,
    calm_every: Duration,
    /// When a moment of calm ended, and before when no other one begins.
    calm_ended: Instant,
    calm_again: Instant,
}

/// A moment of calm that was made.
#[derive(Debug)]
struct Measuring {
    since: Instant,
    until: Option<Instant>,
    samples: u32,
}

/// What happened since the last limit was made.
#[derive(Debug)]
struct Window {
    since: Instant,
    of_places: Uses,
    answers: usize,
    slow_answers: usize,
    /// Whether a call had to wait.
    is_pressed: bool,
    too_much: bool,
}

// === impl Finder ===

impl Finder {
    /// One that finds the limit, or a fixed limit.
    pub(super) fn new(fixed: Option<usize>, now: Instant) -> Self {
        Self {
            fixed,
            limit: FIRST,
            flights: Flights::default(),
            window: Window::new(now),
            endpoints: Endpoints::default(),
            measuring: Some(Measuring::new(now)),
            crowded: None,
            calm_seen: now,
            calm_every: CALM_EVERY.0,
            calm_ended: now,
            calm_again: now,
        }
    }

    /// How many requests may be in flight.
    pub(super) fn limit(&self) -> Limits {
        // Between 3 and 200.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let lasting = self.fixed.unwrap_or(self.limit.round() as usize);
        let now = if self.fixed.is_none() && self.measuring.is_some() { CALM } else { lasting };
        Limits { now, lasting }
    }

    /// What is known of the endpoints.
    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// A call has to wait.
    pub(super) fn press(&mut self) {
        self.window.is_pressed = true;
    }

    /// A request begins.
    pub(super) fn begin(&mut self, endpoint: usize, now: Instant) -> FlightId {
        let is_calm =
            self.flights.count() < CALM && self.crowded.is_none_or(|crowded| now - crowded >= SETTLE);
        let flight = self.flights.begin(endpoint, is_calm, now);
        self.note_crowd(now);
        flight
    }

    /// Learns from a request that has ended; from one that was given up there is nothing to learn.
    pub(super) fn end(&mut self, flight: FlightId, sample: Option<Sample>, now: Instant) {
        self.note_crowd(now);
        let Some(flight) = self.flights.end(flight) else { return };
        match sample {
            Some(Sample { took, verdict: Verdict::Answered }) => self.answered(flight, took, now),
            Some(Sample { verdict: Verdict::TooMuch, .. }) => self.window.too_much = true,
            Some(Sample { verdict: Verdict::Neither, .. }) | None => {}
        }
        if self.fixed.is_some() {
            return;
        }
        self.measure(now);
        if self.measuring.is_none() && self.window.is_full(self.limit, now) {
            self.judge(now);
        }
    }

    fn note_crowd(&mut self, now: Instant) {
        if self.flights.count() > CALM {
            self.crowded = Some(now);
        }
    }

    fn answered(&mut self, mut flight: Flight, took: Duration, now: Instant) {
        self.endpoints.learn(flight.endpoint, took.as_secs_f64(), flight.in_calm, now);
        if flight.in_calm {
            self.calm_seen = now;
            if let Some(measuring) = &mut self.measuring {
                measuring.until.get_or_insert(now + took.max(CALM_TIME));
                measuring.samples += 1;
            }
        }
        let is_slow = self.endpoints.is_slow(flight.endpoint);
        self.window.answers += 1;
        self.window.slow_answers += usize::from(is_slow);
        if let Some(calm) = self.endpoints.calm(flight.endpoint) {
            self.window.of_places.of(is_slow).add(flight.use_of_answer(took, calm));
        }
    }

    /// Begins and ends the moments of calm.
    fn measure(&mut self, now: Instant) {
        match &self.measuring {
            None if now - self.calm_seen >= self.calm_every && now >= self.calm_again => {
                self.begin_moment(now);
                self.calm_every = (self.calm_every * 2).min(CALM_EVERY.1);
            }
            Some(measuring) if measuring.is_enough(now) => {
                self.calm_again = now + (now - measuring.since) * (CALM_PART - 1);
                self.measuring = None;
                (self.calm_seen, self.calm_ended) = (now, now);
                self.begin_window(now);
            }
            _ => {}
        }
    }

    fn begin_moment(&mut self, now: Instant) {
        self.measuring = Some(Measuring::new(now));
        self.endpoints.begin_moment();
    }

    fn begin_window(&mut self, now: Instant) {
        // What was before does not count.
        self.flights.take_uses(&self.endpoints, now);
        self.window = Window::new(now);
    }

    /// Makes a new limit of a full window, or looks first whether calm is still what it was.
    fn judge(&mut self, now: Instant) {
        let unanswered = self.flights.take_uses(&self.endpoints, now);
        self.window.of_places.add(unanswered);
        let in_doubt = match self.window.stretch() {
            _ if self.window.too_much => false,
            Some(stretch) if stretch > DOUBT => now >= self.calm_again,
            Some(stretch) if stretch < 1.0 / DOUBT => now - self.calm_ended >= CALM_SOONER,
            _ => false,
        };
        if in_doubt {
            self.begin_moment(now);
        } else {
            self.limit = self.next_limit();
            self.window = Window::new(now);
        }
    }

    fn next_limit(&mut self) -> f64 {
        // Some room to find out that there is more of it.
        let headroom = (self.limit.sqrt() / 2.0).max(1.0);
        let next = match self.window.stretch() {
            _ if self.window.too_much => self.limit * BACKOFF,
            Some(stretch) => self.limit * (TOLERANCE / stretch).clamp(STEEPEST, 1.0) + headroom,
            None => self.limit,
        };
        // One for which nobody had to wait says nothing about more.
        let next = if self.window.is_pressed { next } else { next.min(self.limit) };
        #[allow(clippy::cast_precision_loss)]
        next.midpoint(self.limit).clamp(CALM as f64, MAX)
    }
}

// === impl Measuring ===

impl Measuring {
    fn new(since: Instant) -> Self {
        Self { since, until: None, samples: 0 }
    }

    fn is_enough(&self, now: Instant) -> bool {
        self.samples >= CALM_ENOUGH || self.until.is_some_and(|until| now >= until)
    }
}

// === impl Window ===

impl Window {
    fn new(since: Instant) -> Self {
        let of_places = Uses::default();
        Self { since, of_places, answers: 0, slow_answers: 0, is_pressed: false, too_much: false }
    }

    /// How many times longer than in calm requests take. Slow ones count if there are enough of them, for with few it is
    /// chance how long they took; but those that are faster count with them, or those that wait for them would not be seen.
    fn stretch(&self) -> Option<f64> {
        let mut sum = self.of_places.others;
        if self.slow_answers >= WINDOW_SAMPLES {
            sum.add(self.of_places.slow);
        }
        let Use { taken, worked } = sum;
        (taken > 0.0).then(|| (taken / worked.max(f64::MIN_POSITIVE)).max(0.0))
    }

    fn is_full(&self, limit: f64, now: Instant) -> bool {
        #[allow(clippy::cast_precision_loss)]
        let enough = self.answers >= WINDOW_SAMPLES && self.answers as f64 >= limit;
        now - self.since >= WINDOW && (enough || self.too_much)
    }
}
