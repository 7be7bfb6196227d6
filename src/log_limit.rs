//! Lines that strangers can cause, but no more of them than a log can bear; what is left out is counted.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Says when a line may be written.
#[derive(Debug)]
pub(crate) struct LogLimit {
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    since: Instant,
    written: u32,
    left_out: u64,
}

/// For how long lines are counted.
const SPAN: Duration = Duration::from_secs(1);

impl LogLimit {
    /// So many lines a second.
    pub(crate) fn per_second(most: u32) -> Self {
        Self { most, state: Mutex::new(State { since: Instant::now(), written: 0, left_out: 0 }) }
    }

    /// How many were left out before, if this one may be written.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now - state.since >= SPAN {
            (state.since, state.written) = (now, 0);
        }
        if state.written == self.most {
            state.left_out += 1;
            return None;
        }
        state.written += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_is_counted() {
        let (limit, now) = (LogLimit::per_second(100), Instant::now());
        let written = (0..250).filter(|_| limit.admit_at(now).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!(limit.admit_at(now + SPAN), Some(150));
        assert_eq!(limit.admit_at(now + SPAN), Some(0));
    }
}
