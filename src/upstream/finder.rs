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
/// No more are looked at for one limit.
const MAX_SAMPLES: usize = 512;
/// How much one answer changes what is known of calm.
const CALM_WEIGHT: f64 = 0.1;
/// How many answers it takes to know calm at all.
const CALM_SAMPLES: u32 = 5;
/// After this long without calm it is measured again,
const CALM_EVERY: Duration = Duration::from_secs(30);
/// for this long or for this many answers, whichever ends first.
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

/// The limit, and what it is found by.
#[derive(Debug)]
pub(super) struct Finder {
    fixed: Option<usize>,
    limit: f64,
    calm: Vec<Calm>,
    measuring: Option<Measuring>,
    calm_seen: Instant,
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
    /// How many times longer than in calm each answer took.
    stretches: Vec<f64>,
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
            window: Window::new(now),
        }
    }

    /// How many requests may be in flight.
    pub(super) fn limit(&self) -> usize {
        match (self.fixed, &self.measuring) {
            (Some(fixed), _) => fixed,
            (None, Some(_)) => CALM,
            // Between 1 and 200.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            (None, None) => self.limit.round() as usize,
        }
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
        if calm.samples >= CALM_SAMPLES && self.window.stretches.len() < MAX_SAMPLES {
            self.window.stretches.push(took / calm.seconds);
        }
    }

    /// Begins and ends the moments of calm.
    fn measure(&mut self, now: Instant) {
        match &self.measuring {
            None if now - self.calm_seen >= CALM_EVERY => {
                self.measuring = Some(Measuring::default());
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
        let median = median(&mut self.window.stretches);
        // Some room to find out that there is more of it.
        let headroom = (self.limit.sqrt() / 2.0).max(1.0);
        let next = match median {
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
        let weight = CALM_WEIGHT.max(1.0 / f64::from(self.samples));
        self.seconds += (seconds - self.seconds) * weight;
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
        Self { since, stretches: Vec::new(), answers: 0, most: 0, too_much: false }
    }

    fn is_full(&self, limit: f64, now: Instant) -> bool {
        #[allow(clippy::cast_precision_loss)]
        let enough = self.answers >= WINDOW_SAMPLES && self.answers as f64 >= limit;
        now - self.since >= WINDOW && (enough || self.too_much)
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}
