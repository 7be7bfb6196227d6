//! The requests in flight, and what became of the places that they took: how much of the time they worked, and how much
//! they waited inside the API.
//!
//! A request works for as long as such requests take in calm, and waits for the rest. It is the time of places that is
//! counted, and not answers (Little's law makes the one of the other, but of all calls alone): a hundred fast answers on
//! one place say nothing of four places on which fast calls wait for slow ones. And what has not been answered counts too,
//! since those who wait longest are answered last.

use std::time::Duration;

use tokio::time::Instant;

use super::endpoints::Endpoints;

/// The requests in flight.
#[derive(Debug, Default)]
pub(super) struct Flights {
    places: Vec<Option<Flight>>,
    free: Vec<usize>,
}

/// The name of a request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlightId(usize);

#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) endpoint: usize,
    /// Whether it was calm when it began.
    pub(super) in_calm: bool,
    since: Instant,
    counted: Use,
}

/// The use of places, of endpoints that are slow, and of the others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uses {
    pub(super) slow: Use,
    pub(super) others: Use,
}

/// The use of places, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Use {
    /// The time that they were taken.
    pub(super) taken: f64,
    /// The part of it in which requests worked.
    pub(super) worked: f64,
}

// === impl Flights ===

impl Flights {
    pub(super) fn begin(&mut self, endpoint: usize, in_calm: bool, now: Instant) -> FlightId {
        let flight = Some(Flight { endpoint, in_calm, since: now, counted: Use::default() });
        if let Some(free) = self.free.pop() {
            self.places[free] = flight;
            FlightId(free)
        } else {
            self.places.push(flight);
            FlightId(self.places.len() - 1)
        }
    }

    /// Ends it; an id is good for one end.
    pub(super) fn end(&mut self, FlightId(place): FlightId) -> Option<Flight> {
        let flight = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        Some(flight)
    }

    pub(super) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// What the places were used for since this was asked the last time, apart from what has ended.
    pub(super) fn take_uses(&mut self, endpoints: &Endpoints, now: Instant) -> Uses {
        let mut uses = Uses::default();
        for flight in self.places.iter_mut().flatten() {
            let Some(calm) = endpoints.calm(flight.endpoint) else { continue };
            let taken = (now - flight.since).as_secs_f64();
            let since_then = flight.use_until(Use { taken, worked: taken.min(calm) });
            uses.of(endpoints.is_slow(flight.endpoint)).add(since_then);
        }
        uses
    }
}

// === impl Flight ===

impl Flight {
    /// What an answer after so long adds to what was counted.
    pub(super) fn use_of_answer(&mut self, took: Duration, calm: f64) -> Use {
        // One that was faster than others are has worked like them: the next one will be slower.
        self.use_until(Use { taken: took.as_secs_f64(), worked: calm })
    }

    fn use_until(&mut self, all: Use) -> Use {
        let before = std::mem::replace(&mut self.counted, all);
        Use { taken: all.taken - before.taken, worked: all.worked - before.worked }
    }
}

// === impl Uses ===

impl Uses {
    pub(super) fn of(&mut self, slow: bool) -> &mut Use {
        if slow { &mut self.slow } else { &mut self.others }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.slow.add(other.slow);
        self.others.add(other.others);
    }
}

// === impl Use ===

impl Use {
    pub(super) fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.worked += other.worked;
    }
}
