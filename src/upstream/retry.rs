//! Sends a request again where that cannot hurt.
//!
//! Only what may be repeated (a GET, or a method that says so by its `idempotency_level`), only after failures in
//! which the request was not processed or need not have been, only with time left, and for no more than a part of the calls.
//! The pause is full jitter (Brooker, "Exponential Backoff And Jitter"), or what the API asks for.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use tokio::time::{Instant, sleep};

use super::{
    Exchange, Terms,
    client::OnReusedConnection,
    stats::{Event, Stats},
};
use crate::{
    config::RetryConfig,
    error::{Error, retry_after},
};

/// Which part of a pause there has to be left behind it for the attempt.
const ATTEMPT: u32 = 10;
/// The longest pause before the second attempt; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The seconds over which the budget counts.
const BUDGET_SECONDS: u64 = 10;
/// What a retry costs; a call pays a part of it.
const RETRY: i64 = 1000;
/// What there is besides, one retry a second, so that a quiet bridge repeats its one call.
const RESERVE: i64 = 10 * RETRY;

/// Repeats requests.
pub(super) struct Retry<S> {
    inner: S,
    attempts: u32,
    budget: Budget,
    stats: Arc<Stats>,
}

/// How many retries there may be: a part of the calls of the last seconds, and a few besides.
struct Budget {
    /// What a call pays.
    pays: i64,
    begun: Instant,
    /// The last seconds in which there were calls.
    seconds: Mutex<VecDeque<Second>>,
}

/// What was paid in a second, less what was spent.
#[derive(Debug, Clone, Copy)]
struct Second {
    number: u64,
    balance: i64,
}

// === impl Retry ===

impl<S> Retry<S> {
    pub(super) fn new(inner: S, config: &RetryConfig, stats: Arc<Stats>) -> Self {
        Self { inner, attempts: config.attempts, budget: Budget::new(config.budget), stats }
    }

    /// Whether there is an attempt left, and budget for it.
    fn may_repeat(&self, attempts: u32, terms: &Terms) -> bool {
        if !terms.repeatable || terms.previous_attempts.saturating_add(attempts) >= self.attempts {
            return false;
        }
        let allowed = self.budget.withdraw();
        self.stats.count(if allowed { Event::Retry } else { Event::RetryOverBudget });
        allowed
    }
}

impl<S: Exchange> Exchange for Retry<S> {
    async fn exchange(&self, request: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        self.budget.deposit();
        if !terms.repeatable || self.attempts < 2 {
            return self.inner.exchange(request, terms).await;
        }
        let mut attempts = 0;
        loop {
            let outcome = self.inner.exchange(request.clone(), terms).await;
            attempts += 1;
            let Some(asked) = pause_asked(&outcome) else { return outcome };
            let pause =
                asked.max((FIRST_PAUSE * 2_u32.saturating_pow(attempts - 1)).mul_f64(fastrand::f64()));
            // A pause that the API asks for may be long. Who shares the request and has no time for it is told now.
            let with_attempt = pause + pause / ATTEMPT;
            let all_can_wait = asked.is_zero() || terms.all_have_time_for(with_attempt);
            if !all_can_wait || !terms.has_time_for(with_attempt) || !self.may_repeat(attempts, terms) {
                return outcome;
            }
            terms.starts_over(pause);
            sleep(pause).await;
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Retry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("inner", &self.inner)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

// === impl Budget ===

impl Budget {
    fn new(part: f32) -> Self {
        // From 0 to 1, so that nothing is cut off.
        #[allow(clippy::cast_possible_truncation)]
        let pays = (f64::from(part) * RETRY as f64).round() as i64;
        Self { pays, begun: Instant::now(), seconds: Mutex::default() }
    }

    /// Counts a call.
    fn deposit(&self) {
        self.book(|_| self.pays);
    }

    /// Counts a retry, if there is enough left for it.
    fn withdraw(&self) -> bool {
        self.book(|left| if left >= RETRY { -RETRY } else { 0 }) < 0
    }

    /// Adds the amount to the balance of this second that is said, given what is left.
    fn book(&self, amount: impl FnOnce(i64) -> i64) -> i64 {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.begun.elapsed().as_secs();
        while seconds.front().is_some_and(|second| second.number + BUDGET_SECONDS <= number) {
            seconds.pop_front();
        }
        if seconds.back().is_none_or(|second| second.number < number) {
            seconds.push_back(Second { number, balance: 0 });
        }
        let amount = amount(RESERVE + seconds.iter().map(|second| second.balance).sum::<i64>());
        if let Some(second) = seconds.back_mut() {
            second.balance += amount;
        }
        amount
    }
}

/// How long the API asks to wait before the request is sent again, if that can help.
fn pause_asked(outcome: &Result<Response<Bytes>, Error>) -> Option<Duration> {
    match outcome {
        Ok(answer) => match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE => {
                Some(retry_after(answer.headers(), SystemTime::now()).unwrap_or_default())
            }
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Some(Duration::ZERO),
            StatusCode::INTERNAL_SERVER_ERROR if is_puma_stopping(answer) => Some(Duration::ZERO),
            _ => None,
        },
        // Nothing was processed, or its answer did not come through; a slow answer would only be slower.
        Err(Error::Unreachable { .. } | Error::ConnectionLost { .. } | Error::AnswerCutOff { .. }) => {
            Some(Duration::ZERO)
        }
        Err(_) => None,
    }
}

/// A Puma that is being stopped answers what comes on a connection it had kept with a 500 of its own, which no
/// application has seen and which therefore lacks the headers of Rails.
fn is_puma_stopping(answer: &Response<Bytes>) -> bool {
    let is_reused = answer.extensions().get() == Some(&OnReusedConnection(true));
    let by_rails = ["x-request-id", "x-runtime"].iter().any(|name| answer.headers().contains_key(*name));
    is_reused && !by_rails && !answer.headers().contains_key(header::CONTENT_TYPE)
}

#[cfg(test)]
mod tests;
