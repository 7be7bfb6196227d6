//! Who is sent next: the calls that wait for a place, and the places that are taken.
//!
//! First come, first served, and whoever would wait too long is refused at once. Serving the newest first, as some do
//! in overload, lets those who came early wait for nothing; to know beforehand who cannot be served is better for both.
//! How long is too long depends on the load, as in CoDel: a burst may wait for half of the time that it has, for it passes;
//! to a queue that has stood for a while ([`STANDING`]) nobody is let in who would wait longer than the configured time,
//! because waiting there buys no throughput, only latency. Who was let in by an estimate that was too good is not sent
//! away for it: so much waiting in vain helps nobody.
//!
//! An endpoint that is much slower than the others takes half of the places at most, so that it does not slow them.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{finder::Limits, limit::Permit};

/// A queue that has not been empty for this long is an overload, not a burst.
const STANDING: Duration = Duration::from_secs(5);
/// An endpoint is slow if it takes this many times longer than the fastest one
const SLOW: f64 = 4.0;
/// that was used within this time.
const RECENT: Duration = Duration::from_secs(10);
/// Which part of its time a call keeps for hearing that it was refused.
const MARGIN: u32 = 20;
/// What an expected wait is multiplied by: to be refused at once is better than to be refused after a wait in vain.
const CAUTION: f64 = 1.25;
/// After how long a turn counts for little more than a third in the pace.
const PACE_MEMORY: Duration = Duration::from_secs(1);
/// How much one answer changes what is known of how long they take.
const WEIGHT: f64 = 0.1;

/// The calls that wait and the places that are taken, by endpoint.
#[derive(Debug)]
pub(super) struct Queue {
    endpoints: Vec<Endpoint>,
    in_flight: usize,
    waiting: usize,
    next_ticket: u64,
    /// Since when there has always been somebody waiting.
    standing_since: Option<Instant>,
    /// How long requests take, of all endpoints.
    typical: Typical,
    /// How fast places come free while somebody waits.
    pace: Pace,
    /// When the last one came free, if somebody has waited ever since.
    last_turn: Option<Instant>,
}

/// How long a call may expect to wait, and how many may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How much time the call had when it came.
    pub(super) time: Duration,
    /// The longest expected wait in an overload.
    pub(super) overload: Duration,
    /// How many may wait.
    pub(super) length: usize,
}

/// A call is not let in, because its turn would come so much too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) Duration);

#[derive(Debug, Default)]
struct Endpoint {
    waiting: VecDeque<Waiter>,
    in_flight: usize,
    typical: Typical,
    used: Option<Instant>,
    is_slow: bool,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    turn: oneshot::Sender<Permit>,
}

/// How many turns there were in how many seconds, of late. One long pause among many short ones is no more than that.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    turns: f64,
    seconds: f64,
}

/// A mean that forgets, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Typical(Option<f64>);

// === impl Queue ===

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            in_flight: 0,
            waiting: 0,
            next_ticket: 0,
            standing_since: None,
            typical: Typical::default(),
            pace: Pace::default(),
            last_turn: None,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How long a request to this endpoint takes.
    pub(super) fn typical(&self, endpoint: usize) -> Duration {
        let typical = self.endpoints.get(endpoint).map(|endpoint| endpoint.typical).unwrap_or_default();
        Duration::from_secs_f64(typical.0.unwrap_or_default())
    }

    /// Takes a place if there is one and nobody has waited for it longer.
    pub(super) fn try_take(&mut self, endpoint: usize, limit: Limits, now: Instant) -> bool {
        if endpoint >= self.endpoints.len() {
            self.endpoints.resize_with(endpoint + 1, Endpoint::default);
        }
        self.endpoints[endpoint].used = Some(now);
        let free = self.endpoints[endpoint].waiting.is_empty() && self.has_place(endpoint, limit);
        if free {
            self.endpoints[endpoint].in_flight += 1;
            self.in_flight += 1;
        }
        free
    }

    /// Begins to wait; the ticket is for [`Queue::leave`]. Call it after [`Queue::try_take`] was in vain.
    pub(super) fn wait(
        &mut self,
        endpoint: usize,
        limit: Limits,
        patience: Patience,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<Permit>), TooLong> {
        let expected = self.expected_wait(endpoint, limit.now, now);
        let stands = self.standing_since.is_some_and(|since| now - since >= STANDING);
        let allowed =
            self.longest_wait(endpoint, patience).min(if stands { patience.overload } else { Duration::MAX });
        if self.waiting >= patience.length {
            return Err(TooLong(expected));
        }
        if expected > allowed {
            return Err(TooLong(expected - allowed));
        }
        let (turn, its_turn) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        self.standing_since.get_or_insert(now);
        self.endpoints[endpoint].waiting.push_back(Waiter { ticket, turn });
        Ok((ticket, its_turn))
    }

    /// Stops waiting, if the turn has not come.
    pub(super) fn leave(&mut self, endpoint: usize, ticket: u64) {
        let waiting = &mut self.endpoints[endpoint].waiting;
        if let Ok(index) = waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            waiting.remove(index);
            self.one_less_waits();
        }
    }

    /// How long a call may wait in all that was let in.
    pub(super) fn longest_wait(&self, endpoint: usize, patience: Patience) -> Duration {
        let longest = patience.overload.max(patience.time / 2);
        // Who is refused hears of it before its time is up.
        let time = patience.time - patience.time / MARGIN;
        time.saturating_sub(self.typical(endpoint)).min(longest)
    }

    /// Gives a place back; `took` is how long the request took, if that is known.
    pub(super) fn give_back(&mut self, endpoint: usize, took: Option<Duration>, now: Instant) {
        self.in_flight -= 1;
        self.endpoints[endpoint].in_flight -= 1;
        // What a place really takes is more than the request: the next one has to be told, and sent.
        if let Some(last) = self.last_turn {
            self.pace.learn(now - last);
        }
        self.last_turn = (self.waiting > 0).then_some(now);
        if let Some(took) = took {
            self.typical.learn(took);
            self.endpoints[endpoint].typical.learn(took);
            self.endpoints[endpoint].is_slow = self.is_slow(endpoint, now);
        }
    }

    /// Whose turn it is, if there is a place for it, which it has then.
    pub(super) fn next(&mut self, limit: Limits) -> Option<(usize, oneshot::Sender<Permit>)> {
        if self.waiting == 0 {
            return None;
        }
        let waiters = self.endpoints.iter().enumerate();
        let waiters = waiters.filter_map(|(index, lane)| Some((lane.waiting.front()?.ticket, index)));
        let (_, endpoint) = waiters.filter(|(_, endpoint)| self.has_place(*endpoint, limit)).min()?;
        let lane = &mut self.endpoints[endpoint];
        let waiter = lane.waiting.pop_front()?;
        lane.in_flight += 1;
        self.in_flight += 1;
        self.one_less_waits();
        Some((endpoint, waiter.turn))
    }

    /// Whether a call may be sent now. Slow calls can hold all places when the limit has just become smaller, for a moment of
    /// calm; what is fast then has its part all the same, within the limit that there will be again.
    fn has_place(&self, endpoint: usize, limit: Limits) -> bool {
        let lane = &self.endpoints[endpoint];
        if lane.is_slow {
            return self.in_flight < limit.now && lane.in_flight < slow_share(limit.now);
        }
        let slow = self.endpoints.iter().filter(|lane| lane.is_slow);
        let fast = self.in_flight - slow.map(|lane| lane.in_flight).sum::<usize>();
        let has_its_part = fast < limit.now - slow_share(limit.now) && self.in_flight < limit.lasting;
        self.in_flight < limit.now || has_its_part
    }

    fn one_less_waits(&mut self) {
        self.waiting -= 1;
        if self.waiting == 0 {
            (self.standing_since, self.last_turn) = (None, None);
        }
    }

    /// As many turns as wait already, at the pace at which places come free; before that is known, by Little's law. If none
    /// has come free for a while, that may go on for as long again. Those who wait for a share are in nobody else's way.
    fn expected_wait(&self, endpoint: usize, limit: usize, now: Instant) -> Duration {
        let lane = &self.endpoints[endpoint];
        let aside = self.endpoints.iter().filter(|other| other.is_slow && !lane.is_slow);
        let turns = self.waiting + 1 - aside.map(|other| other.waiting.len()).sum::<usize>();
        let all = self.pace.for_turns(turns).unwrap_or_else(|| self.typical.for_turns(turns, limit));
        let own = if lane.is_slow {
            lane.typical.for_turns(lane.waiting.len() + 1, slow_share(limit))
        } else {
            0.0
        };
        let stall = self.last_turn.or(self.standing_since).map(|since| now - since).unwrap_or_default();
        Duration::try_from_secs_f64(all.max(own) * CAUTION).unwrap_or(Duration::MAX).saturating_add(stall)
    }

    fn is_slow(&self, endpoint: usize, now: Instant) -> bool {
        let others =
            self.endpoints.iter().enumerate().filter(|(index, lane)| {
                *index != endpoint && lane.used.is_some_and(|used| now - used <= RECENT)
            });
        let fastest = others.filter_map(|(_, lane)| lane.typical.0).min_by(f64::total_cmp);
        let own = self.endpoints[endpoint].typical.0;
        own.zip(fastest).is_some_and(|(own, fastest)| own > fastest * SLOW)
    }
}

// === impl Pace ===

impl Pace {
    /// Counts a turn, so long after the one before.
    fn learn(&mut self, passed: Duration) {
        let passed = passed.as_secs_f64();
        let kept = (-passed / PACE_MEMORY.as_secs_f64()).exp();
        self.turns = self.turns * kept + 1.0;
        self.seconds = self.seconds * kept + passed;
    }

    /// The seconds for so many turns, if any was counted.
    #[allow(clippy::cast_precision_loss)]
    fn for_turns(self, turns: usize) -> Option<f64> {
        (self.turns > 0.0).then(|| self.seconds / self.turns * turns as f64)
    }
}

// === impl Typical ===

impl Typical {
    fn learn(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.0 = Some(self.0.map_or(took, |typical| typical + (took - typical) * WEIGHT));
    }

    /// The seconds until so many places have come free, of which there are `places`.
    #[allow(clippy::cast_precision_loss)]
    fn for_turns(self, turns: usize, places: usize) -> f64 {
        self.0.unwrap_or_default() * turns as f64 / places.max(1) as f64
    }
}

/// How many places slow endpoints take, each.
fn slow_share(limit: usize) -> usize {
    (limit / 2).max(1)
}
