//! How the calls of the last seconds ended.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::config::BreakerConfig;

/// The time that the failure rate is of, and how many parts it slides by.
const WINDOW: Duration = Duration::from_secs(10);
const PARTS: u32 = 10;
/// Fewer calls than this in the window have no rate.
const MIN_CALLS: u32 = 20;

/// What happened in the last seconds.
#[derive(Debug)]
pub(super) struct Counts {
    in_a_row: u32,
    parts: VecDeque<Part>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    since: Instant,
    calls: u32,
    failures: u32,
}

// === impl Counts ===

impl Counts {
    pub(super) fn new() -> Self {
        Self { in_a_row: 0, parts: VecDeque::new() }
    }

    pub(super) fn add(&mut self, failed: bool, now: Instant) {
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        while self.parts.front().is_some_and(|part| now - part.since >= WINDOW) {
            self.parts.pop_front();
        }
        if self.parts.back().is_none_or(|part| now - part.since >= WINDOW / PARTS) {
            self.parts.push_back(Part { since: now, calls: 0, failures: 0 });
        }
        if let Some(part) = self.parts.back_mut() {
            part.calls += 1;
            part.failures += u32::from(failed);
        }
    }

    /// Whether it is time to stop asking.
    pub(super) fn are_too_bad(&self, config: &BreakerConfig) -> bool {
        let calls: u32 = self.parts.iter().map(|part| part.calls).sum();
        let failures: u32 = self.parts.iter().map(|part| part.failures).sum();
        let rate = f64::from(failures) / f64::from(calls.max(1));
        self.in_a_row >= config.failures || (calls >= MIN_CALLS && rate >= f64::from(config.failure_rate))
    }
}
