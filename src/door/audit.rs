//! A line for every caller who was not let in, but not more than a log can bear.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The target of the lines, to be kept apart from others.
const TARGET: &str = "audit";
/// So many lines are written
const MOST: u32 = 100;
/// in this time; what is more is counted.
const SPAN: Duration = Duration::from_secs(1);

/// Writes the lines.
#[derive(Debug)]
pub struct Audit {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// Who was not let in, and why.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// Where it came from.
    pub peer: Option<std::net::SocketAddr>,
    /// What it wanted.
    pub method: &'a str,
    /// The id of its call.
    pub request_id: &'a str,
    /// Why not, for programs.
    pub reason: &'a str,
    /// Who it seems to be.
    pub who: &'a str,
}

// === impl Audit ===

impl Audit {
    /// Nothing was written yet.
    pub fn new() -> Self {
        Self { state: Mutex::new(State { since: Instant::now(), written: 0, left_out: 0 }) }
    }

    /// Writes a line, if there were not too many of late.
    pub fn refused(&self, refused: &Refused<'_>) {
        let (is_written, left_out) = self.count(Instant::now());
        if left_out > 0 {
            tracing::warn!(target: TARGET, left_out, "callers were not let in of whom there is no line");
        }
        if is_written {
            let Refused { peer, method, request_id, reason, who } = refused;
            let peer = peer.map(|peer| peer.to_string());
            tracing::warn!(target: TARGET, peer, method, request_id, reason, who, "not let in: {reason}");
        }
    }

    /// Whether there is room for one more line, and how many had none before.
    fn count(&self, now: Instant) -> (bool, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if now - state.since >= SPAN {
            left_out = state.left_out;
            *state = State { since: now, written: 0, left_out: 0 };
        }
        let is_written = state.written < MOST;
        if is_written {
            state.written += 1;
        } else {
            state.left_out += 1;
        }
        (is_written, left_out)
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_is_counted() {
        let (audit, now) = (Audit::new(), Instant::now());
        let written = (0..250).filter(|_| audit.count(now).0).count();
        assert_eq!(written, 100);
        assert_eq!(audit.count(now + SPAN), (true, 150));
        assert_eq!(audit.count(now + SPAN), (true, 0));
    }
}
