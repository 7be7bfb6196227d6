//! What the past tells of the waits to come: how fast turns come, how many places are needed, how long requests take.

use std::time::Duration;

use tokio::time::Instant;

/// After how long a turn counts for little more than a third in the pace.
const PACE_MEMORY: Duration = Duration::from_secs(1);
/// After how long a call counts for little more than a third in the need for places.
const NEED_MEMORY: Duration = Duration::from_secs(2);
/// How much one answer changes what is known of how long they take.
const WEIGHT: f64 = 0.1;

/// How many turns there were in how many seconds, of late. One long pause among many short ones is no more than that.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    turns: f64,
    seconds: f64,
    last: Option<Instant>,
}

/// How many places calls need that come as they came of late, by Little's law.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    places: f64,
    at: Instant,
}

/// A mean that forgets, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Typical(Option<f64>);

// === impl Pace ===

impl Pace {
    /// Counts a turn, so long after the one before.
    pub(super) fn learn(&mut self, passed: Duration, now: Instant) {
        let passed = passed.as_secs_f64();
        let kept = (-passed / PACE_MEMORY.as_secs_f64()).exp();
        self.turns = self.turns * kept + 1.0;
        self.seconds = self.seconds * kept + passed;
        self.last = Some(now);
    }

    /// The seconds for so many turns, if any was counted of late, or since somebody waits.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn for_turns(&self, turns: usize, waits_since: Option<Instant>, now: Instant) -> Option<f64> {
        let last = self.last?;
        let is_of_late = now - last <= PACE_MEMORY || waits_since.is_some_and(|since| since <= last);
        is_of_late.then(|| self.seconds / self.turns * turns as f64)
    }
}

// === impl Need ===

impl Need {
    pub(super) fn new(now: Instant) -> Self {
        Self { places: 0.0, at: now }
    }

    /// A call comes that takes a place for so many seconds.
    pub(super) fn add(&mut self, seconds: f64, now: Instant) {
        self.places = self.places(now) + seconds / NEED_MEMORY.as_secs_f64();
        self.at = now;
    }

    pub(super) fn places(&self, now: Instant) -> f64 {
        self.places * (-(now - self.at).as_secs_f64() / NEED_MEMORY.as_secs_f64()).exp()
    }
}

// === impl Typical ===

impl Typical {
    pub(super) fn learn(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.0 = Some(self.0.map_or(took, |typical| typical + (took - typical) * WEIGHT));
    }

    /// The seconds that it takes; none before anything is known.
    pub(super) fn seconds(self) -> f64 {
        self.0.unwrap_or_default()
    }

    /// The seconds until so many places have come free, of which there are `places`.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn for_turns(self, turns: usize, places: usize) -> f64 {
        self.seconds() * turns as f64 / places.max(1) as f64
    }
}
