//! As many requests at once as the API can take, and a queue before it.
//!
//! A Puma of five threads takes whatever it is sent and lets it wait in a queue without end, where it cannot be taken back,
//! and where connections are not served in turn. So what waits, waits here.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Exchange, Terms,
    finder::{Finder, Sample, Verdict},
    flights::FlightId,
    queue::{Patience, Queue, TooLong},
    stats::{Event, Stats},
};
use crate::{config::LimitConfig, error::Error};

/// The shortest pause that a refused caller is asked for.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// The longest time that a place stays taken for a request that was given up.
const MAX_LINGER: Duration = Duration::from_secs(5);

/// An answer is overdue when it takes this many times longer than is usual for its endpoint,
const OVERDUE: u32 = 4;
/// and this long at least.
const MIN_OVERDUE: Duration = Duration::from_millis(500);

/// Lets requests through as places come free.
#[derive(Debug)]
pub(super) struct Limit<S> {
    inner: S,
    gate: Arc<Gate>,
}

struct Gate {
    config: LimitConfig,
    state: Mutex<State>,
    stats: Arc<Stats>,
}

struct State {
    finder: Finder,
    queue: Queue,
}

/// A place for one request. It is given back when this is dropped, at once or, if the request was given up after it
/// had been sent, when the API will be done with it: a thread of Rails goes on although nobody waits.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    endpoint: usize,
    flight: FlightId,
    /// After how long an answer is overdue.
    overdue: Duration,
    /// When the request was sent.
    sent: Option<Instant>,
    /// How it ended.
    sample: Option<Sample>,
}

/// A call in the queue, which leaves it when this is dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    endpoint: usize,
    ticket: u64,
}

// === impl Limit ===

impl<S> Limit<S> {
    pub(super) fn new(inner: S, config: &LimitConfig, stats: Arc<Stats>) -> Self {
        let now = Instant::now();
        let state =
            Mutex::new(State { finder: Finder::new(config.concurrency, now), queue: Queue::new(now) });
        let gate = Arc::new(Gate { config: config.clone(), state, stats });
        gate.show(&gate.lock());
        Self { inner, gate }
    }
}

impl<S: Exchange> Exchange for Limit<S> {
    async fn exchange(&self, request: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        let mut permit = self.gate.clone().enter(terms).await?;
        permit.sent = Some(Instant::now());
        terms.request_leaves(permit.overdue);
        self.gate.stats.count(Event::Attempt);
        let outcome = self.inner.exchange(request, terms).await;
        permit.end(verdict(&outcome));
        outcome
    }
}

// === impl Gate ===

impl Gate {
    /// Waits for a place, for as long as the call can.
    async fn enter(self: Arc<Self>, terms: &Terms) -> Result<Permit, Error> {
        let (entered, endpoint) = (Instant::now(), terms.endpoint);
        let (ticket, mut turn) = match self.ask(terms, entered)? {
            Ok(permit) => return Ok(permit),
            Err(waits) => waits,
        };
        let _waiting = Waiting { gate: &self, endpoint, ticket };
        loop {
            let until = entered + self.longest_wait(terms, entered);
            if until <= Instant::now() {
                return Err(self.refuse(TooLong(MIN_PAUSE)));
            }
            tokio::select! {
                // The gate keeps the other end for as long as the ticket is in the queue.
                Ok(permit) = &mut turn => {
                    // Its turn has come too late if the API needs longer than there is time.
                    let typical = self.lock().queue.typical(endpoint);
                    return if terms.has_time_for(typical) { Ok(permit) } else { Err(self.refuse(TooLong(MIN_PAUSE))) };
                }
                // By then another caller may have come to wait for the same answer, and longer.
                () = sleep_until(until) => {}
            }
        }
    }

    /// A place, or a ticket and the turn it is for.
    fn ask(
        self: &Arc<Self>,
        terms: &Terms,
        now: Instant,
    ) -> Result<Result<Permit, (u64, oneshot::Receiver<Permit>)>, Error> {
        let endpoint = terms.endpoint;
        let state = &mut *self.lock();
        let (limit, known) = (state.finder.limit(), state.finder.endpoints());
        state.queue.arrive(endpoint, known.is_slow(endpoint), known.calm(endpoint), now);
        let taken = state.queue.try_take(endpoint, limit, now);
        let asked = if taken {
            Ok(Ok(self.permit(endpoint, state, now)))
        } else {
            state.finder.press();
            state.queue.wait(endpoint, limit, self.patience(terms, now), now).map(Err)
        };
        self.show(state);
        asked.map_err(|late| self.refuse(late))
    }

    fn patience(&self, terms: &Terms, entered: Instant) -> Patience {
        let time = terms.deadline.at().saturating_duration_since(entered);
        Patience { time, overload: self.config.queue_wait, length: self.config.queue }
    }

    fn longest_wait(&self, terms: &Terms, entered: Instant) -> Duration {
        self.lock().queue.longest_wait(terms.endpoint, self.patience(terms, entered))
    }

    fn refuse(&self, TooLong(pause): TooLong) -> Error {
        self.stats.count(Event::Refused);
        // Spread, so that those who are refused together do not come back together.
        let pause = pause.max(MIN_PAUSE).mul_f64(1.0 + fastrand::f64());
        Error::ApiBusy { retry_after: pause }
    }

    /// Gives a place back, and the places that are free to those who wait.
    fn give_back(self: &Arc<Self>, endpoint: usize, flight: FlightId, sample: Option<Sample>) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.queue.waiting() > 0 {
            state.finder.press();
        }
        state.finder.end(flight, sample, now);
        let took = sample.filter(|sample| sample.verdict != Verdict::Neither).map(|sample| sample.took);
        let is_slow = state.finder.endpoints().is_slow(endpoint);
        state.queue.give_back(endpoint, is_slow, took, now);
        let limit = state.finder.limit();
        let mut unwanted = Vec::new();
        while let Some((endpoint, turn)) = state.queue.next(limit, now) {
            let permit = self.permit(endpoint, &mut state, now);
            // Who went away in this moment gives its place back again, which needs the lock.
            unwanted.extend(turn.send(permit).err());
        }
        self.show(&state);
        drop(state);
        drop(unwanted);
    }

    fn permit(self: &Arc<Self>, endpoint: usize, state: &mut State, now: Instant) -> Permit {
        let flight = state.finder.begin(endpoint, now);
        let overdue = (state.queue.typical(endpoint) * OVERDUE).max(MIN_OVERDUE);
        Permit { gate: self.clone(), endpoint, flight, overdue, sent: None, sample: None }
    }

    fn show(&self, state: &State) {
        self.stats.gauge(state.finder.limit().now, state.queue.in_flight(), state.queue.waiting());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("config", &self.config).finish_non_exhaustive()
    }
}

// === impl Permit ===

impl Permit {
    fn end(mut self, verdict: Verdict) {
        self.sample = self.sent.map(|sent| Sample { took: sent.elapsed(), verdict });
    }

    /// How long the API will still work on a request that was given up, as far as is known.
    fn remaining_work(&self) -> Duration {
        let Some(sent) = self.sent.filter(|_| self.sample.is_none()) else { return Duration::ZERO };
        let typical = self.gate.lock().queue.typical(self.endpoint);
        typical.saturating_sub(sent.elapsed()).min(MAX_LINGER)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (gate, endpoint, flight, sample) = (self.gate.clone(), self.endpoint, self.flight, self.sample);
        let work = self.remaining_work();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !work.is_zero() => {
                runtime.spawn(async move {
                    sleep(work).await;
                    gate.give_back(endpoint, flight, None);
                });
            }
            _ => gate.give_back(endpoint, flight, sample),
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.queue.leave(self.endpoint, self.ticket);
        self.gate.show(&state);
    }
}

/// What an outcome says of the load.
fn verdict(outcome: &Result<Response<Bytes>, Error>) -> Verdict {
    match outcome {
        Ok(answer) => match answer.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Verdict::TooMuch
            }
            // It may have failed before it did its work.
            status if status.is_server_error() => Verdict::Neither,
            _ => Verdict::Answered,
        },
        Err(Error::UpstreamTimeout { .. }) => Verdict::TooMuch,
        Err(_) => Verdict::Neither,
    }
}

#[cfg(test)]
mod tests;
