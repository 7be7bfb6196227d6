//! Stops asking an API that does not answer, and asks again, one call at a time.
//!
//! There is one breaker for the host, which counts only whether it can be reached, and one for each endpoint, which counts
//! whether it works: an endpoint that fails does not shut the others.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::{sync::watch, time::Instant};

use super::{
    Exchange, Terms,
    stats::{Event, Stats},
};
use crate::{config::BreakerConfig, error::Error};

/// The time that the failure rate is of, and how many parts it slides by.
const WINDOW: Duration = Duration::from_secs(10);
const PARTS: u32 = 10;
/// Fewer calls than this in the window have no rate.
const MIN_CALLS: u32 = 20;
/// A breaker that trips again and again stays shut for up to this many times the first pause.
const LONGEST: u32 = 2;

/// Refuses calls while their endpoint, or the whole host, fails.
#[derive(Debug)]
pub(super) struct Breakers<S> {
    inner: S,
    config: BreakerConfig,
    host: Arc<Host>,
    stats: Arc<Stats>,
}

/// The breakers of the host and of its endpoints, for who wants to know of them.
#[derive(Debug)]
pub(super) struct Host {
    breaker: Arc<Breaker>,
    shut: watch::Sender<bool>,
    endpoints: Mutex<Vec<Arc<Breaker>>>,
}

/// What the breakers do at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerStates {
    /// That of the host.
    pub host: BreakerState,
    endpoints: Vec<BreakerState>,
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

/// What happened in the last seconds.
#[derive(Debug)]
struct Counts {
    in_a_row: u32,
    parts: VecDeque<Part>,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    since: Instant,
    calls: u32,
    failures: u32,
}

/// A call that was let through. Dropping it without a word says nothing of the API.
#[derive(Debug)]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    /// The era in which it began; a probe has one of its own.
    era: u64,
}

/// A call that is on its way. An API that hangs says nothing before its callers go away, so that this is looked at then.
struct Trial<'a, S> {
    breakers: &'a Breakers<S>,
    terms: &'a Terms,
    passes: Option<(Pass, Pass)>,
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

// === impl Breakers ===

impl<S> Breakers<S> {
    pub(super) fn new(inner: S, config: &BreakerConfig, stats: Arc<Stats>) -> Self {
        let breaker = Arc::new(Breaker::new(config));
        let host = Arc::new(Host { breaker, shut: watch::Sender::new(false), endpoints: Mutex::default() });
        Self { inner, config: config.clone(), host, stats }
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    fn admit(&self, breaker: &Arc<Breaker>) -> Result<Pass, Error> {
        breaker.clone().admit(Instant::now()).map_err(|retry_after| {
            self.stats.count(Event::Shut);
            Error::BreakerShut { retry_after }
        })
    }

    fn heard(&self, turn: Turn, what: &str) {
        if turn == Turn::Tripped {
            self.stats.count(Event::Tripped);
        }
        turn.tell(what);
    }
}

impl<S: Exchange> Exchange for Breakers<S> {
    async fn exchange(&self, request: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        if self.config.failures == 0 {
            return self.inner.exchange(request, terms).await;
        }
        let host = self.admit(&self.host.breaker)?;
        let endpoint = self.admit(&self.host.endpoint(terms.endpoint))?;
        let mut trial = Trial { breakers: self, terms, passes: Some((host, endpoint)) };
        let outcome = self.inner.exchange(request, terms).await;
        trial.end(health(&outcome));
        outcome
    }
}

// === impl Trial ===

impl<S> Trial<'_, S> {
    fn end(&mut self, (host_is, endpoint_is): (Health, Health)) {
        let Some((host, endpoint)) = self.passes.take() else { return };
        let now = Instant::now();
        self.breakers.heard(endpoint.end(endpoint_is, now), "one endpoint");
        let turn = host.end(host_is, now);
        self.breakers.heard(turn, "all of it");
        if turn != Turn::Stays {
            self.breakers.host.show();
        }
    }
}

impl<S> Drop for Trial<'_, S> {
    fn drop(&mut self) {
        if self.passes.is_some() {
            let endpoint_is = if self.terms.waited_in_vain() { Health::Bad } else { Health::Unknown };
            self.end((Health::Unknown, endpoint_is));
        }
    }
}

// === impl Host ===

impl Host {
    /// Whether it is shut; it changes as soon as that does.
    pub(super) fn shut(&self) -> watch::Receiver<bool> {
        self.shut.subscribe()
    }

    /// Hears that the host has answered one who asked past the breaker, so that it need not wait for a call to find out.
    pub(super) fn lives(&self) {
        self.breaker.heal().tell("all of it");
        self.show();
    }

    /// What the breakers do now.
    pub(super) fn states(&self) -> BreakerStates {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = endpoints.iter().map(|breaker| breaker.state()).collect();
        BreakerStates { host: self.breaker.state(), endpoints }
    }

    fn endpoint(&self, endpoint: usize) -> Arc<Breaker> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        while endpoints.len() <= endpoint {
            endpoints.push(Arc::new(Breaker::new(&self.breaker.config)));
        }
        endpoints[endpoint].clone()
    }

    /// Tells what is so now, rather than what has changed: two who changed it may come here in any order.
    fn show(&self) {
        self.shut.send_if_modified(|shut| {
            let was = std::mem::replace(shut, self.breaker.state() != BreakerState::Admitting);
            *shut != was
        });
    }
}

// === impl BreakerStates ===

impl BreakerStates {
    /// That of an endpoint, which admits as long as it was never asked.
    pub fn endpoint(&self, endpoint: usize) -> BreakerState {
        self.endpoints.get(endpoint).copied().unwrap_or(BreakerState::Admitting)
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

// === impl Turn ===

impl Turn {
    fn tell(self, what: &str) {
        match self {
            Self::Tripped => tracing::warn!(what, "the API fails, and is not asked for a while"),
            Self::Healed => tracing::info!(what, "the API answers, and is asked again"),
            Self::Stays => {}
        }
    }
}

/// What an outcome says of the host, and of the endpoint.
fn health(outcome: &Result<Response<Bytes>, Error>) -> (Health, Health) {
    match outcome {
        Ok(answer) if answer.status().is_server_error() => (Health::Good, Health::Bad),
        Ok(_) => (Health::Good, Health::Good),
        Err(Error::Unreachable { .. }) => (Health::Bad, Health::Unknown),
        Err(Error::UpstreamTimeout { .. } | Error::ConnectionLost { .. } | Error::AnswerCutOff { .. }) => {
            (Health::Unknown, Health::Bad)
        }
        // It answered, if not as it should.
        Err(Error::AnswerTooLarge { .. } | Error::AnswerUndecodable { .. }) => (Health::Good, Health::Good),
        // Nothing was sent.
        Err(_) => (Health::Unknown, Health::Unknown),
    }
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
    fn heal(&self) -> Turn {
        let mut era = self.lock();
        if matches!(era.state, State::Admitting(_)) {
            return Turn::Stays;
        }
        era.begin(State::Admitting(Counts::new()));
        Turn::Healed
    }

    fn state(&self) -> BreakerState {
        match self.lock().state {
            State::Admitting(_) => BreakerState::Admitting,
            State::Shut { .. } => BreakerState::Shut,
            State::Probing { .. } => BreakerState::Probing,
        }
    }

    fn pause(&self, trips: u32) -> Duration {
        self.config.pause * 2_u32.saturating_pow(trips).min(LONGEST)
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

// === impl Counts ===

impl Counts {
    fn new() -> Self {
        Self { in_a_row: 0, parts: VecDeque::new() }
    }

    fn add(&mut self, failed: bool, now: Instant) {
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

    fn are_too_bad(&self, config: &BreakerConfig) -> bool {
        let calls: u32 = self.parts.iter().map(|part| part.calls).sum();
        let failures: u32 = self.parts.iter().map(|part| part.failures).sum();
        let rate = f64::from(failures) / f64::from(calls.max(1));
        self.in_a_row >= config.failures || (calls >= MIN_CALLS && rate >= f64::from(config.failure_rate))
    }
}

#[cfg(test)]
mod tests;
