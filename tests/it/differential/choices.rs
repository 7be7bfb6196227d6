//! Decisions that proptest draws: which of several legal ways to write the same thing.

use std::fmt;

use proptest::prelude::*;

/// A tape of decisions, read round and round. Proptest shrinks it to the empty one, which makes everything plain.
#[derive(Clone)]
pub(super) struct Choices {
    tape: Vec<u8>,
    at: usize,
}

impl Choices {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|tape| Self { tape, at: 0 })
    }

    /// One of `count` ways; the plainest is 0.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        let mut next = || {
            self.at += 1;
            self.tape.get((self.at - 1) % self.tape.len().max(1)).copied().map_or(0, usize::from)
        };
        (next() * 256 + next()) % count
    }

    /// Whether to do something that is not plain.
    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.pick(count) == count - 1
    }

    /// One of these; the plainest is the first.
    pub(super) fn of<T: Clone>(&mut self, ways: &[T]) -> T {
        ways[self.pick(ways.len())].clone()
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.tape)
    }
}
