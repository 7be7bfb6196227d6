//! The counts of this replica alone, by `governor`.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use quick_cache::sync::Cache;

use super::{Over, Rate};

/// How many callers are counted at a time. The one that was not seen for the longest is forgotten, which needs this many
/// others that have proved who they are.
const CALLERS: usize = 100_000;

/// The counts of all callers.
pub(super) struct Local {
    counts: Cache<Whose, Arc<[Count]>>,
    clock: DefaultClock,
}

/// A caller, and the rates that it is counted by.
type Whose = (Arc<str>, Arc<[Rate]>);

/// The count of one caller for one of its rates.
struct Count {
    rate: Rate,
    limiter: DefaultDirectRateLimiter,
}

// === impl Local ===

impl Local {
    pub(super) fn new() -> Self {
        Self { counts: Cache::new(CALLERS), clock: DefaultClock::default() }
    }

    /// Counts a call of a caller by these rates.
    pub(super) fn count(&self, caller: &Arc<str>, rates: &Arc<[Rate]>) -> Result<(), Over> {
        let key = (caller.clone(), rates.clone());
        let counts = self.counts.get_or_insert_with(&key, || Ok::<_, Infallible>(Count::of(rates)));
        let Ok(counts) = counts;
        // The shortest first: what is refused by the second does not count for the day.
        for count in counts.iter() {
            if let Err(not_until) = count.limiter.check() {
                let retry_after = not_until.wait_time_from(self.clock.now());
                return Err(Over { rate: count.rate, retry_after });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("callers", &self.counts.len()).finish_non_exhaustive()
    }
}

// === impl Count ===

impl Count {
    fn of(rates: &[Rate]) -> Arc<[Self]> {
        rates.iter().map(|rate| Self { rate: *rate, limiter: RateLimiter::direct(quota(*rate)) }).collect()
    }
}

fn quota(rate: Rate) -> Quota {
    let each = rate.span.length() / rate.calls.get();
    // A span that is shorter than a nanosecond a call would be no limit.
    Quota::with_period(each.max(Duration::from_nanos(1)))
        .map_or_else(|| Quota::per_second(rate.calls), |quota| quota.allow_burst(rate.calls))
}

#[cfg(test)]
mod tests {
    use super::{super::in_order, *};

    fn rates(texts: &[&str]) -> Arc<[Rate]> {
        in_order(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    /// How many of so many calls are let through.
    fn passed(local: &Local, caller: &str, rates: &Arc<[Rate]>, calls: usize) -> usize {
        (0..calls).filter(|_| local.count(&caller.into(), rates).is_ok()).count()
    }

    #[test]
    fn each_caller_has_its_own_count() {
        let (local, rates) = (Local::new(), rates(&["5/h"]));
        assert_eq!((passed(&local, "a", &rates, 20), passed(&local, "b", &rates, 20)), (5, 5));
    }

    #[test]
    fn what_the_shorter_rate_refuses_does_not_count_for_the_longer() {
        let (local, rates) = (Local::new(), rates(&["30/day", "10/h"]));
        assert_eq!(passed(&local, "a", &rates, 100), 10);
        let Over { rate, retry_after } = local.count(&"a".into(), &rates).unwrap_err();
        assert_eq!(rate.to_string(), "10/h");
        assert!(
            retry_after > Duration::from_secs(300) && retry_after <= Duration::from_secs(360),
            "{retry_after:?}"
        );
        let count = local.counts.get(&("a".into(), rates)).unwrap();
        assert_eq!((0..100).filter(|_| count[1].limiter.check().is_ok()).count(), 20);
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let (local, rates) = (Local::new(), rates(&["5/h"]));
        for caller in 0..150_000 {
            local.count(&caller.to_string().into(), &rates).unwrap();
        }
        assert!(local.counts.len() <= CALLERS, "{}", local.counts.len());
    }
}
