//! Who is sent next: the calls that wait for a place, and the places that are taken.
//!
//! First come, first served, and whoever would wait too long is refused at once. Serving the newest first, as some do
//! in overload, lets those who came early wait for nothing; to know beforehand who cannot be served is better for both.
//! How long is too long depends on the load, as in CoDel: a burst may wait for half of the time that it has, for it passes;
//! to a line that has stood for a while ([`STANDING`]) nobody is let in who would wait longer than the configured time,
//! because waiting there buys no throughput, only latency. Who was let in by an estimate that was too good is not sent
//! away for it: so much waiting in vain helps nobody.
//!
//! Endpoints that are much slower than the others leave them what they need, up to half of the places, and wait in a line of
//! their own, so as not to slow them.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{
    finder::Limits,
    limit::Permit,
    rates::{Need, Pace, Typical},
};

/// A line that has not been empty for this long is an overload, not a burst.
const STANDING: Duration = Duration::from_secs(5);
/// Which part of its time a call keeps for hearing that it was refused.
const MARGIN: u32 = 20;
/// What an expected wait is multiplied by: to be refused at once is better than to be refused after a wait in vain.
const CAUTION: f64 = 1.25;
/// How many times the need of the others is kept from slow calls: calls come in bursts, and some of the places wait inside
/// the API.
const RESERVE: f64 = 3.0;

/// The calls that wait and the places that are taken.
#[derive(Debug)]
pub(super) struct Queue {
    endpoints: Vec<Endpoint>,
    slow: Line,
    others: Line,
    /// How many places those need that are not slow.
    need: Need,
    next_ticket: u64,
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

/// All endpoints that are slow, or all others.
#[derive(Debug, Default)]
struct Line {
    in_flight: usize,
    waiting: usize,
    /// Since when there has always been somebody waiting.
    standing_since: Option<Instant>,
    /// When the last one had its turn, if somebody has waited ever since.
    last_turn: Option<Instant>,
    /// How fast turns come while somebody waits.
    pace: Pace,
    /// How long requests take.
    typical: Typical,
}

#[derive(Debug, Default)]
struct Endpoint {
    waiting: VecDeque<Waiter>,
    in_flight: usize,
    typical: Typical,
    is_slow: bool,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    turn: oneshot::Sender<Permit>,
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            endpoints: Vec::new(),
            slow: Line::default(),
            others: Line::default(),
            need: Need::new(now),
            next_ticket: 0,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slow.in_flight + self.others.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        self.slow.waiting + self.others.waiting
    }

    /// How long a request to this endpoint takes.
    pub(super) fn typical(&self, endpoint: usize) -> Duration {
        let typical = self.endpoints.get(endpoint).map(|endpoint| endpoint.typical).unwrap_or_default();
        Duration::from_secs_f64(typical.seconds())
    }

    /// A call comes, to an endpoint of which this is known.
    pub(super) fn arrive(&mut self, endpoint: usize, is_slow: bool, calm: Option<f64>, now: Instant) {
        if endpoint >= self.endpoints.len() {
            self.endpoints.resize_with(endpoint + 1, Endpoint::default);
        }
        self.mark(endpoint, is_slow, now);
        if let Some(calm) = calm.filter(|_| !is_slow) {
            self.need.add(calm, now);
        }
    }

    /// Takes a place if there is one and nobody has waited for it longer.
    pub(super) fn try_take(&mut self, endpoint: usize, limit: Limits, now: Instant) -> bool {
        let is_free = self.endpoints[endpoint].waiting.is_empty() && self.has_place(endpoint, limit, now);
        if is_free {
            self.take(endpoint);
        }
        is_free
    }

    /// Begins to wait; the ticket is for [`Queue::leave`]. Call it after [`Queue::try_take`] was in vain.
    pub(super) fn wait(
        &mut self,
        endpoint: usize,
        limit: Limits,
        patience: Patience,
        now: Instant,
    ) -> Result<(u64, oneshot::Receiver<Permit>), TooLong> {
        let expected = self.expected_wait(endpoint, limit, now);
        let stands = self.line(endpoint).standing_since.is_some_and(|since| now - since >= STANDING);
        let allowed =
            self.longest_wait(endpoint, patience).min(if stands { patience.overload } else { Duration::MAX });
        if self.waiting() >= patience.length {
            return Err(TooLong(expected));
        }
        if expected > allowed {
            return Err(TooLong(expected - allowed));
        }
        let (turn, its_turn) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.endpoints[endpoint].waiting.push_back(Waiter { ticket, turn });
        self.line_mut(endpoint).join(1, now);
        Ok((ticket, its_turn))
    }

    /// Stops waiting, if the turn has not come.
    pub(super) fn leave(&mut self, endpoint: usize, ticket: u64) {
        let waiting = &mut self.endpoints[endpoint].waiting;
        if let Ok(index) = waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            waiting.remove(index);
            self.line_mut(endpoint).leave(1);
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
    pub(super) fn give_back(&mut self, endpoint: usize, is_slow: bool, took: Option<Duration>, now: Instant) {
        self.endpoints[endpoint].in_flight -= 1;
        self.line_mut(endpoint).in_flight -= 1;
        self.mark(endpoint, is_slow, now);
        if let Some(took) = took {
            self.endpoints[endpoint].typical.learn(took);
            self.line_mut(endpoint).typical.learn(took);
        }
    }

    /// Whose turn it is, if there is a place for it, which it has then.
    pub(super) fn next(&mut self, limit: Limits, now: Instant) -> Option<(usize, oneshot::Sender<Permit>)> {
        if self.waiting() == 0 {
            return None;
        }
        let waiters = self.endpoints.iter().enumerate();
        let waiters = waiters.filter_map(|(index, lane)| Some((lane.waiting.front()?.ticket, index)));
        let (_, endpoint) = waiters.filter(|(_, endpoint)| self.has_place(*endpoint, limit, now)).min()?;
        let waiter = self.endpoints[endpoint].waiting.pop_front()?;
        self.line_mut(endpoint).serve(now);
        self.take(endpoint);
        Some((endpoint, waiter.turn))
    }

    /// Whether a call may be sent now. Slow calls can hold all places when the limit has just become smaller, for a moment of
    /// calm; what is fast then has its part all the same, within the limit that there will be again.
    fn has_place(&self, endpoint: usize, limit: Limits, now: Instant) -> bool {
        let (in_flight, share) = (self.in_flight(), self.slow_share(limit.now, now));
        if self.endpoints[endpoint].is_slow {
            return in_flight < limit.now && self.slow.in_flight < share;
        }
        let has_its_part = self.others.in_flight < limit.now - share && in_flight < limit.lasting;
        in_flight < limit.now || has_its_part
    }

    /// How many places slow calls may take: what the others leave that come of late, and half at least.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn slow_share(&self, limit: usize, now: Instant) -> usize {
        let reserve = (self.need.places(now) * RESERVE + 1.0).ceil().min(limit as f64) as usize;
        limit.saturating_sub(reserve).max(limit / 2).max(1)
    }

    fn take(&mut self, endpoint: usize) {
        self.endpoints[endpoint].in_flight += 1;
        self.line_mut(endpoint).in_flight += 1;
    }

    /// As many turns as wait already in this line, at the pace at which they come there; before that is known, by Little's
    /// law. If none has come for a while, that may go on for as long again.
    fn expected_wait(&self, endpoint: usize, limit: Limits, now: Instant) -> Duration {
        let line = self.line(endpoint);
        let share = self.slow_share(limit.now, now);
        let places =
            if self.endpoints[endpoint].is_slow { share } else { limit.now - self.slow.in_flight.min(share) };
        let turns = line.waiting + 1;
        let paced = line.pace.for_turns(turns, line.standing_since, now);
        let seconds = paced.unwrap_or_else(|| line.typical.for_turns(turns, places));
        let stall = line.last_turn.or(line.standing_since).map(|since| now - since).unwrap_or_default();
        Duration::try_from_secs_f64(seconds * CAUTION).unwrap_or(Duration::MAX).saturating_add(stall)
    }

    fn line(&self, endpoint: usize) -> &Line {
        if self.endpoints[endpoint].is_slow { &self.slow } else { &self.others }
    }

    fn line_mut(&mut self, endpoint: usize) -> &mut Line {
        if self.endpoints[endpoint].is_slow { &mut self.slow } else { &mut self.others }
    }

    /// Moves an endpoint to the line that is its.
    fn mark(&mut self, endpoint: usize, is_slow: bool, now: Instant) {
        let Endpoint { in_flight, is_slow: was_slow, ref waiting, .. } = self.endpoints[endpoint];
        if was_slow != is_slow {
            let waiting = waiting.len();
            self.line_mut(endpoint).leave(waiting);
            self.line_mut(endpoint).in_flight -= in_flight;
            self.endpoints[endpoint].is_slow = is_slow;
            self.line_mut(endpoint).join(waiting, now);
            self.line_mut(endpoint).in_flight += in_flight;
        }
    }
}

// === impl Line ===

impl Line {
    fn join(&mut self, calls: usize, now: Instant) {
        self.waiting += calls;
        if calls > 0 {
            self.standing_since.get_or_insert(now);
        }
    }

    fn leave(&mut self, calls: usize) {
        self.waiting -= calls;
        if self.waiting == 0 {
            (self.standing_since, self.last_turn) = (None, None);
        }
    }

    /// One has its turn. What a place really takes is more than the request, for the next one has to be told, and sent.
    fn serve(&mut self, now: Instant) {
        if let Some(before) = self.last_turn {
            self.pace.learn(now - before, now);
        }
        self.last_turn = Some(now);
        self.leave(1);
    }
}
