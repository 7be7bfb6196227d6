//! One breaker: it lets calls through until too many have failed, refuses them for a while, and then lets one through at a
//! time to see how it fares.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::counts::Counts;
use crate::config::BreakerConfig;

/// One breaker.
pub(super) struct Breaker {
    config: BreakerConfig,
    era: Mutex<Era>,
}

/// A time between two changes of the state. Only the calls that began in it count in it.
#[derive(Debug)]
struct Era {
    number: u64,
    state: State,
}

/// What a breaker does with calls.
#[derive(Debug)]
enum State {
    /// It lets them through, and counts.
    Admitting(Counts),
    /// It refuses them until a time.
    Shut { until: Instant, trips: u32 },
    /// It lets one through at a time, to see how it fares, and another one after a pause if that one hangs.
    Probing { since: Option<Instant>, trips: u32 },
}

/// A call that was let through. Dropping it without a word says nothing of the API.
#[derive(Debug)]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    /// The era in which it began; a probe has one of its own.
    era: u64,
}

/// What an outcome says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Bad,
    Unknown,
}

/// What a breaker did when it heard of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Tripped,
    Healed,
    Stays,
}

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// It lets them through.
    Admitting,
    /// It refuses them.
    Shut,
    /// It lets one through at a time.
    Probing,
}

// === impl Breaker ===

impl Breaker {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        let era = Era { number: 0, state: State::Admitting(Counts::new()) };
        Self { config: config.clone(), era: Mutex::new(era) }
    }

    /// Lets a call through, or says when it is worth trying again.
    pub(super) fn admit(self: Arc<Self>, now: Instant) -> Result<Pass, Duration> {
        let mut era = self.lock();
        match era.state {
            State::Admitting(_) => {}
            State::Shut { until, .. } if now < until => return Err(until - now),
            State::Probing { since: Some(since), .. } if now < since + self.pause(0) => {
                return Err(since + self.pause(0) - now);
            }
            State::Shut { trips, .. } | State::Probing { trips, .. } => {
                era.begin(State::Probing { since: Some(now), trips });
            }
        }
        let number = era.number;
        drop(era);
        Ok(Pass { breaker: self, era: number })
    }

    fn learn(&self, health: Health, began_in: u64, now: Instant) -> Turn {
        let mut era = self.lock();
        if era.number != began_in {
            return Turn::Stays;
        }
        match (&mut era.state, health) {
            (State::Admitting(counts), Health::Good) => counts.add(false, now),
            (State::Admitting(counts), Health::Bad) => {
                counts.add(true, now);
                if counts.are_too_bad(&self.config) {
                    era.begin(State::Shut { until: now + self.pause(0), trips: 0 });
                    return Turn::Tripped;
                }
            }
            (State::Probing { .. }, Health::Good) => {
                era.begin(State::Admitting(Counts::new()));
                return Turn::Healed;
            }
            (State::Probing { trips, .. }, Health::Bad) => {
                let trips = *trips + 1;
                era.begin(State::Shut { until: now + self.pause(trips), trips });
            }
            (State::Probing { since, .. }, Health::Unknown) => *since = None,
            // Nobody begins while it is shut.
            (State::Admitting(_), Health::Unknown) | (State::Shut { .. }, _) => {}
        }
        Turn::Stays
    }

    /// Admits calls again, whatever was before.
    pub(super) fn heal(&self) -> Turn {
        let mut era = self.lock();
        if matches!(era.state, State::Admitting(_)) {
            return Turn::Stays;
        }
        era.begin(State::Admitting(Counts::new()));
        Turn::Healed
    }

    /// What it does now.
    pub(super) fn state(&self) -> BreakerState {
        match self.lock().state {
            State::Admitting(_) => BreakerState::Admitting,
            State::Shut { .. } => BreakerState::Shut,
            State::Probing { .. } => BreakerState::Probing,
        }
    }

    fn pause(&self, trips: u32) -> Duration {
        // Twice as long after it has failed again, and no longer: the API may be back.
        if trips == 0 { self.config.pause } else { self.config.pause * 2 }
    }

    fn lock(&self) -> MutexGuard<'_, Era> {
        self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("era", &*self.lock()).finish_non_exhaustive()
    }
}

// === impl Era ===

impl Era {
    fn begin(&mut self, state: State) {
        *self = Self { number: self.number + 1, state };
    }
}

// === impl Pass ===

impl Pass {
    /// Tells how the call ended.
    pub(super) fn end(self, health: Health, now: Instant) -> Turn {
        // That it is dropped then changes no more: what it said has begun another era, or silence adds nothing to it.
        self.breaker.learn(health, self.era, now)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.breaker.learn(Health::Unknown, self.era, Instant::now());
    }
}

// === impl Turn ===

impl Turn {
    /// Tells those who run the bridge what has changed.
    pub(super) fn tell(self, what: &str) {
        match self {
            Self::Tripped => tracing::warn!(what, "the API fails, and is not asked for a while"),
            Self::Healed => tracing::info!(what, "the API answers, and is asked again"),
            Self::Stays => {}
        }
    }
}

// === impl BreakerState ===

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Admitting, Self::Shut, Self::Probing];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admitting => "admitting",
            Self::Shut => "shut",
            Self::Probing => "probing",
        }
    }
}

#[cfg(test)]
mod tests;
