//! Places that are taken and given back: so many in all, and so many for each who takes them.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places, and who has them.
#[derive(Debug)]
pub struct Places<W> {
    shared: Arc<Shared<W>>,
}

#[derive(Debug)]
struct Shared<W> {
    most: usize,
    most_each: usize,
    taken: Mutex<Taken<W>>,
}

#[derive(Debug)]
struct Taken<W> {
    all: usize,
    by_each: HashMap<W, usize>,
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
pub struct Place<W: Hash + Eq> {
    whose: W,
    shared: Arc<Shared<W>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// All are taken.
    Full,
    /// Who asks has as many as one may have.
    TooManyOfOne,
}

// === impl Places ===

impl<W: Hash + Eq + Clone> Places<W> {
    /// So many in all, and for each.
    pub fn new(most: usize, most_each: usize) -> Self {
        let taken = Mutex::new(Taken { all: 0, by_each: HashMap::new() });
        Self { shared: Arc::new(Shared { most, most_each, taken }) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// There is none for this one.
    pub fn take(&self, whose: W) -> Result<Place<W>, NoPlace> {
        let Shared { most, most_each, .. } = *self.shared;
        let mut taken = self.shared.lock();
        if taken.all == most {
            return Err(NoPlace::Full);
        }
        match taken.by_each.entry(whose.clone()) {
            Entry::Occupied(mut of_one) if *of_one.get() < most_each => *of_one.get_mut() += 1,
            Entry::Vacant(of_one) if most_each > 0 => drop(of_one.insert(1)),
            _ => return Err(NoPlace::TooManyOfOne),
        }
        taken.all += 1;
        Ok(Place { whose, shared: self.shared.clone() })
    }
}

impl<W> Clone for Places<W> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

// === impl Shared ===

impl<W> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, Taken<W>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl<W: Hash + Eq> Drop for Place<W> {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        taken.all -= 1;
        if let Some(of_one) = taken.by_each.get_mut(&self.whose) {
            *of_one -= 1;
            if *of_one == 0 {
                taken.by_each.remove(&self.whose);
            }
        }
    }
}

/// Whom an address stands for. Whoever has an address of IPv6 has 2^64 of them: a network of that size counts as one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_are_so_many_places_in_all_and_so_many_for_each() {
        let places = Places::new(3, 2);
        let of_one = [places.take("one").unwrap(), places.take("one").unwrap()];
        assert_eq!(places.take("one").unwrap_err(), NoPlace::TooManyOfOne);
        let _other = places.take("other").unwrap();
        assert_eq!(places.take("third").unwrap_err(), NoPlace::Full);
        drop(of_one);
        places.take("third").unwrap();
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_ipv4_in_it_is_ipv4() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
    }

    proptest! {
        #[test]
        fn no_place_is_lost_and_nothing_is_kept_of_who_has_gone(steps in prop::collection::vec((0..4_u8, prop::bool::ANY), 0..200)) {
            let places = Places::new(8, 3);
            let mut taken: Vec<(u8, Place<u8>)> = Vec::new();
            for (whose, comes) in steps {
                let of_one = taken.iter().filter(|(other, _)| *other == whose).count();
                if comes {
                    let place = places.take(whose);
                    prop_assert_eq!(place.is_ok(), taken.len() < 8 && of_one < 3);
                    taken.extend(place.ok().map(|place| (whose, place)));
                } else if let Some(index) = taken.iter().position(|(other, _)| *other == whose) {
                    taken.remove(index);
                }
            }
            taken.clear();
            let left = places.shared.lock();
            prop_assert_eq!((left.all, left.by_each.len()), (0, 0));
        }
    }
}
