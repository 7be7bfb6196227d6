//! What is known of each endpoint of the API: how long it takes in calm, and whether it is slow beside the others.

use std::time::Duration;

use tokio::time::Instant;

use super::calm::Calm;

/// An endpoint is slow if it takes this many times longer than the fastest one
const SLOW: f64 = 4.0;
/// that was used within this time.
const RECENT: Duration = Duration::from_secs(10);

/// What is known of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    all: Vec<Endpoint>,
    /// The endpoint that was the fastest of late.
    fastest: Option<Fastest>,
}

#[derive(Debug, Clone, Default)]
struct Endpoint {
    calm: Calm,
    /// Nothing is known of it before its first answer.
    is_slow: Option<bool>,
}

/// An endpoint, how long it takes in calm, in seconds, and when it answered the last time.
#[derive(Debug, Clone, Copy)]
struct Fastest {
    endpoint: usize,
    calm: f64,
    answered: Instant,
}

impl Endpoints {
    /// A moment of calm begins.
    pub(super) fn begin_moment(&mut self) {
        self.all.iter_mut().for_each(|endpoint| endpoint.calm.begin_moment());
    }

    /// Learns from an answer, which came in calm or did not.
    pub(super) fn learn(&mut self, endpoint: usize, seconds: f64, in_calm: bool, now: Instant) {
        if endpoint >= self.all.len() {
            self.all.resize_with(endpoint + 1, Endpoint::default);
        }
        self.all[endpoint].calm.learn(seconds, in_calm);
        self.sort_out(endpoint, now);
    }

    /// How many seconds it takes in calm, once that is known.
    pub(super) fn calm(&self, endpoint: usize) -> Option<f64> {
        self.all.get(endpoint)?.calm.seconds()
    }

    /// Whether it is much slower than others. What is not known is slow, as soon as anything is known of another one: a first
    /// burst of slow calls would have all places.
    pub(super) fn is_slow(&self, endpoint: usize) -> bool {
        let known = self.all.get(endpoint).and_then(|endpoint| endpoint.is_slow);
        known.unwrap_or(self.fastest.is_some())
    }

    /// Finds out whether an endpoint is slow. Its time in calm tells, not the one under load: fast calls that wait inside
    /// the API for slow ones take as long as those, and what is no longer told apart would have all places for good.
    fn sort_out(&mut self, endpoint: usize, now: Instant) {
        let Some(calm) = self.all[endpoint].calm.estimate() else { return };
        let faster = self.fastest.filter(|fastest| {
            fastest.endpoint != endpoint && fastest.calm < calm && now - fastest.answered <= RECENT
        });
        self.all[endpoint].is_slow = Some(faster.is_some_and(|faster| calm > faster.calm * SLOW));
        if faster.is_none() {
            self.fastest = Some(Fastest { endpoint, calm, answered: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two endpoints, of 2 ms and of half a second, each seen in calm.
    fn two(now: Instant) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for _ in 0..10 {
            endpoints.learn(0, 0.002, true, now);
            endpoints.learn(1, 0.5, true, now);
        }
        endpoints
    }

    #[test]
    fn what_waits_for_a_slow_endpoint_is_not_taken_for_one_nor_the_other_for_fast() {
        let now = Instant::now();
        let mut endpoints = two(now);
        for _ in 0..100 {
            endpoints.learn(0, 0.6, false, now);
            endpoints.learn(1, 0.5, false, now);
        }
        assert!(!endpoints.is_slow(0) && endpoints.is_slow(1));
    }

    #[test]
    fn what_is_not_known_is_slow_only_beside_what_is_known() {
        assert!(!Endpoints::default().is_slow(7));
        assert!(two(Instant::now()).is_slow(7));
    }

    #[test]
    fn nothing_is_slow_beside_what_is_not_used() {
        let now = Instant::now();
        let mut endpoints = two(now);
        endpoints.learn(1, 0.5, true, now + RECENT * 2);
        assert!(!endpoints.is_slow(1));
    }
}
