//! How many connections there may be, in all and from one address.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places of connections.
#[derive(Debug, Clone)]
pub(super) struct Places {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    most_each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    shared: Arc<Shared>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// There are as many connections as there may be.
    Full,
    /// There are as many from this address.
    TooManyFromThere,
}

// === impl Places ===

impl Places {
    pub(super) fn new(most: usize, most_each: usize) -> Self {
        Self { shared: Arc::new(Shared { most, most_each, taken: Mutex::default() }) }
    }

    pub(super) fn take(&self, address: IpAddr) -> Result<Place, NoPlace> {
        let address = network(address);
        let Shared { most, most_each, .. } = *self.shared;
        let mut taken = self.shared.lock();
        if taken.all == most {
            return Err(NoPlace::Full);
        }
        let from_there = taken.by_address.entry(address).or_default();
        if *from_there == most_each {
            return Err(NoPlace::TooManyFromThere);
        }
        *from_there += 1;
        taken.all += 1;
        Ok(Place { address, shared: self.shared.clone() })
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        taken.all -= 1;
        if let Entry::Occupied(mut from_there) = taken.by_address.entry(self.address) {
            *from_there.get_mut() -= 1;
            if *from_there.get() == 0 {
                from_there.remove();
            }
        }
    }
}

/// Whoever has an address of IPv6 has 2^64 of them: a network of that size counts as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn there_are_so_many_places_in_all_and_so_many_for_one_address() {
        let places = Places::new(3, 2);
        let here = [places.take(address("10.0.0.1")).unwrap(), places.take(address("10.0.0.1")).unwrap()];
        assert_eq!(places.take(address("10.0.0.1")).unwrap_err(), NoPlace::TooManyFromThere);
        let _there = places.take(address("10.0.0.2")).unwrap();
        assert_eq!(places.take(address("10.0.0.3")).unwrap_err(), NoPlace::Full);
        drop(here);
        places.take(address("10.0.0.3")).unwrap();
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_ipv4_in_it_is_ipv4() {
        let places = Places::new(10, 1);
        let _one = places.take(address("2001:db8::1")).unwrap();
        assert_eq!(places.take(address("2001:db8::ffff:1")).unwrap_err(), NoPlace::TooManyFromThere);
        let _other = places.take(address("2001:db8:0:1::1")).unwrap();
        let _four = places.take(address("10.0.0.1")).unwrap();
        assert_eq!(places.take(address("::ffff:10.0.0.1")).unwrap_err(), NoPlace::TooManyFromThere);
    }

    proptest! {
        #[test]
        fn no_place_is_lost_and_nothing_is_kept_of_who_has_gone(steps in prop::collection::vec((0..4_u8, prop::bool::ANY), 0..200)) {
            let places = Places::new(8, 3);
            let mut taken: Vec<(u8, Place)> = Vec::new();
            for (host, comes) in steps {
                let from_there = taken.iter().filter(|(other, _)| *other == host).count();
                if comes {
                    let place = places.take(IpAddr::from([10, 0, 0, host]));
                    prop_assert_eq!(place.is_ok(), taken.len() < 8 && from_there < 3);
                    taken.extend(place.ok().map(|place| (host, place)));
                } else if let Some(index) = taken.iter().position(|(other, _)| *other == host) {
                    taken.remove(index);
                }
            }
            taken.clear();
            let left = places.shared.lock();
            prop_assert_eq!((left.all, left.by_address.len()), (0, 0));
        }
    }
}
