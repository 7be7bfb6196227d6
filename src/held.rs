//! What a call keeps until its answer is handed over: its places in whatever has a limited number of them.
//!
//! An answer takes memory for as long as its caller has not taken it, which is longer than any layer works on the call.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// The places of one call; it is in the extensions of its request.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<Vec<Box<dyn Send>>>>);

impl Held {
    /// Keeps a place.
    pub fn keep(&self, place: impl Send + 'static) {
        self.lock(|held| held.push(Box::new(place)));
    }

    /// Gives all of them back.
    pub fn free(&self) {
        // They are dropped when the lock is free again.
        drop(self.lock(std::mem::take));
    }

    fn lock<T>(&self, what: impl FnOnce(&mut Vec<Box<dyn Send>>) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.lock(|held| held.len())).finish()
    }
}
