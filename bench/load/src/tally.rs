//! What came of calls, kept call by call, so that no percentile is an estimate.

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::client::Failure;

/// The codes of a server that is busy.
const REFUSALS: [&str; 2] = ["RESOURCE_EXHAUSTED", "UNAVAILABLE"];

/// A time that is measured, or that a call took.
pub(crate) type Window = Range<Instant>;

/// What came of the calls of one method.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long each call took that succeeded.
    successes: Vec<Duration>,
    /// How many of them succeeded while it was measured.
    in_time: u32,
    /// How long each call took that failed, by what it failed with.
    failures: BTreeMap<Failure, Vec<Duration>>,
}

// === impl Tally ===

impl Tally {
    /// Notes one call, from its begin to its end. Its latency counts whenever that was: to leave out those that were under
    /// way when the measurement began would leave out the longest.
    pub(crate) fn note(&mut self, measured: &Window, call: &Window, outcome: Result<(), Failure>) {
        let took = call.end - call.start;
        match outcome {
            Ok(()) => {
                self.successes.push(took);
                self.in_time += u32::from(measured.contains(&call.end));
            }
            Err(failure) => self.failures.entry(failure).or_default().push(took),
        }
    }

    /// Takes over what another noted.
    pub(crate) fn add(&mut self, other: Self) {
        self.successes.extend(other.successes);
        self.in_time += other.in_time;
        for (failure, took) in other.failures {
            self.failures.entry(failure).or_default().extend(took);
        }
    }

    /// The calls that a server would not take, which it should say at once.
    pub(crate) fn refused(&self) -> Latencies {
        let is_refusal = |failure: &Failure| REFUSALS.iter().any(|code| failure.starts_with(code));
        let took = self.failures.iter().filter(|(failure, _)| is_refusal(failure)).flat_map(|(_, took)| took);
        Latencies::of(&mut took.copied().collect::<Vec<_>>())
    }

    /// Says it in numbers.
    pub(crate) fn summary(mut self, measured: &Window) -> Summary {
        let lasted = measured.end - measured.start;
        let failures = self.failures.into_iter();
        Summary {
            per_second: f64::from(self.in_time) / lasted.as_secs_f64(),
            successes: Latencies::of(&mut self.successes),
            failures: failures.map(|(failure, mut took)| (failure, Latencies::of(&mut took))).collect(),
        }
    }
}

/// The calls of one method in numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Calls that succeeded while it was measured, each second.
    per_second: f64,
    /// All calls that succeeded, also before and after.
    successes: Latencies,
    failures: BTreeMap<Failure, Latencies>,
}

/// How long calls took; nothing where there was none.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Latencies {
    count: usize,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    longest_ms: Option<f64>,
}

// === impl Latencies ===

impl Latencies {
    pub(crate) fn of(took: &mut [Duration]) -> Self {
        took.sort_unstable();
        let percentile = |percent| percentile(took, percent).map(|took| took.as_secs_f64() * 1e3);
        Self {
            count: took.len(),
            p50_ms: percentile(50),
            p99_ms: percentile(99),
            longest_ms: percentile(100),
        }
    }
}

/// The smallest of the sorted samples that so many percent of all are not above.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&samples, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&samples, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&samples[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }
}
