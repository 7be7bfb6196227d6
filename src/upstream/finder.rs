//! Finds how many requests the API can work on at once, from how long it takes to answer them.
//!
//! The gradient of Netflix's `concurrency-limits` (Gradient2) and of Envoy's adaptive concurrency filter: while
//! answers take as long as they did in calm, there is room; as soon as they take longer, they wait inside the API, and the
//! limit shrinks by the same ratio. As Envoy does, what calm means is measured again and again, by letting few
//! requests through for a moment; otherwise a queue that never empties would become what is normal. Unlike both, each
//! answer is compared with the calm of its own endpoint, so that a change of the mix is no change of the load.
//! Failures that mean "too much" shrink it as in AIMD.

use std::time::Duration;

use tokio::time::Instant;

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
/// One answer that took longer than this many times its calm counts as this.
const LONGEST_STRETCH: f64 = 10.0;
/// How much one answer changes what is known of calm.
const CALM_WEIGHT: f64 = 0.1;
/// One that takes longer than this many times the calm counts as this: for a fifth of a second a thread of Puma waits for
/// the next request on the connection that it has just served, so that a few are slow even in calm.
const CALM_JUMP: f64 = 2.0;
/// How many answers it takes to know calm at all.
const CALM_SAMPLES: u32 = 5;
/// After this long without calm it is measured again: soon at first, for what was seen first is what was cold, and
/// twice as long after it each time, up to the second.
const CALM_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// It is measured for this long or for this many answers, whichever ends first.
const CALM_TIME: Duration = Duration::from_millis(500);
const CALM_ENOUGH: u32 = 20;
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
    pub(super) endpoint: usize,
    pub(super) took: Duration,
    /// How many were in flight with it when it was sent, itself included.
    pub(super) among: usize,
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
    calm: Vec<Calm>,
    measuring: Option<Measuring>,
    calm_seen: Instant,
    calm_every: Duration,
    window: Window,
}

/// How long an endpoint takes where nothing hurries it, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Calm {
    seconds: f64,
    samples: u32,
}

/// A moment of calm that was made. It begins with its first answer.
#[derive(Debug, Default)]
struct Measuring {
    until: Option<Instant>,
    samples: u32,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    /// How many times longer than in calm the answers took, in sum.
    stretch: f64,
    /// How many are in that sum.
    compared: u32,
    answers: usize,
    most: usize,
    too_much: bool,
}

// === impl Finder ===

impl Finder {
    /// One that finds the limit, or a fixed limit.
    pub(super) fn new(fixed: Option<usize>, now: Instant) -> Self {
        Self {
            fixed,
            limit: FIRST,
            calm: Vec::new(),
            measuring: Some(Measuring::default()),
            calm_seen: now,
            calm_every: CALM_EVERY.0,
            window: Window::new(now),
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

    /// Learns from a request that has ended.
    pub(super) fn learn(&mut self, sample: &Sample, now: Instant) {
        if self.fixed.is_some() {
            return;
        }
        self.window.most = self.window.most.max(sample.among);
        match sample.verdict {
            Verdict::Answered => self.answered(sample, now),
            Verdict::TooMuch => self.window.too_much = true,
            Verdict::Neither => {}
        }
        self.measure(now);
        if self.measuring.is_none() && self.window.is_full(self.limit, now) {
            self.limit = self.next_limit();
            self.window = Window::new(now);
        }
    }

    fn answered(&mut self, sample: &Sample, now: Instant) {
        if sample.endpoint >= self.calm.len() {
            self.calm.resize(sample.endpoint + 1, Calm::default());
        }
        let calm = &mut self.calm[sample.endpoint];
        let took = sample.took.as_secs_f64();
        if sample.among <= CALM {
            calm.learn(took);
            self.calm_seen = now;
            if let Some(measuring) = &mut self.measuring {
                measuring.until.get_or_insert(now + CALM_TIME);
                measuring.samples += 1;
            }
        }
        self.window.answers += 1;
        if calm.samples >= CALM_SAMPLES {
            self.window.stretch += (took / calm.seconds).min(LONGEST_STRETCH);
            self.window.compared += 1;
        }
    }

    /// Begins and ends the moments of calm.
    fn measure(&mut self, now: Instant) {
        match &self.measuring {
            None if now - self.calm_seen >= self.calm_every => {
                self.measuring = Some(Measuring::default());
                self.calm_every = (self.calm_every * 2).min(CALM_EVERY.1);
            }
            Some(measuring) if measuring.is_enough(now) => {
                self.measuring = None;
                self.calm_seen = now;
                self.window = Window::new(now);
            }
            _ => {}
        }
    }

    fn next_limit(&mut self) -> f64 {
        // The mean, and no percentile: with more connections than threads, Puma serves most of them as fast as ever and lets
        // a few wait for long.
        let mean = (self.window.compared > 0).then(|| self.window.stretch / f64::from(self.window.compared));
        // Some room to find out that there is more of it.
        let headroom = (self.limit.sqrt() / 2.0).max(1.0);
        let next = match mean {
            _ if self.window.too_much => self.limit * BACKOFF,
            Some(stretch) => self.limit * (TOLERANCE / stretch).clamp(STEEPEST, 1.0) + headroom,
            None => self.limit,
        };
        // One that was not used up says nothing about more.
        #[allow(clippy::cast_precision_loss)]
        let is_used = self.window.most as f64 >= self.limit - 1.0;
        let next = if is_used { next } else { next.min(self.limit) };
        #[allow(clippy::cast_precision_loss)]
        next.midpoint(self.limit).clamp(CALM as f64, MAX)
    }
}

// === impl Calm ===

impl Calm {
    fn learn(&mut self, seconds: f64) {
        self.samples = self.samples.saturating_add(1);
        match self.samples {
            1 => self.seconds = seconds,
            // What is cold is slow.
            2..=CALM_SAMPLES => self.seconds = self.seconds.min(seconds),
            _ => self.seconds += (seconds.min(self.seconds * CALM_JUMP) - self.seconds) * CALM_WEIGHT,
        }
    }
}

// === impl Measuring ===

impl Measuring {
    fn is_enough(&self, now: Instant) -> bool {
        self.samples >= CALM_ENOUGH || self.until.is_some_and(|until| now >= until)
    }
}

// === impl Window ===

impl Window {
    fn new(since: Instant) -> Self {
        Self { since, stretch: 0.0, compared: 0, answers: 0, most: 0, too_much: false }
    }

    fn is_full(&self, limit: f64, now: Instant) -> bool {
        #[allow(clippy::cast_precision_loss)]
        let enough = self.answers >= WINDOW_SAMPLES && self.answers as f64 >= limit;
        now - self.since >= WINDOW && (enough || self.too_much)
    }
}
