//! How often a caller may call: GCRA by `governor`, for each caller and each of its rates.
//!
//! `50/s` lets fifty calls through at once, and then one every 20 ms; a caller that was silent for a second has the fifty
//! again. `10000/day` is the same with a day. So in any span of time a caller has no more than those that it may make at once
//! and those that come back in that span.

use std::{fmt, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use quick_cache::sync::Cache;

use super::requirement::NotUnderstood;
use crate::error::Error;

/// How many callers are counted at a time. The one that was not seen for the longest is forgotten, which needs this many
/// others that have proved who they are.
const CALLERS: usize = 100_000;

/// So many calls in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    calls: NonZeroU32,
    span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Span {
    Second,
    Minute,
    Hour,
    Day,
}

/// The counts of all callers.
pub(super) struct Rates {
    /// Of callers that have none of their own.
    common: Arc<[Rate]>,
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

// === impl Rates ===

impl Rates {
    pub(super) fn new(common: &[Rate]) -> Self {
        Self { common: in_order(common), counts: Cache::new(CALLERS), clock: DefaultClock::default() }
    }

    /// Counts a call of a caller, by rates of its own or by the common ones.
    pub(super) fn count(&self, caller: &Arc<str>, own: Option<&Arc<[Rate]>>) -> Result<(), Error> {
        let rates = own.filter(|own| !own.is_empty()).unwrap_or(&self.common);
        if rates.is_empty() {
            return Ok(());
        }
        let key = (caller.clone(), rates.clone());
        let counts =
            self.counts.get_or_insert_with(&key, || Ok::<_, std::convert::Infallible>(Count::of(rates)));
        let Ok(counts) = counts;
        // The shortest first: what is refused by the second does not count for the day.
        for count in counts.iter() {
            if let Err(not_until) = count.limiter.check() {
                let retry_after = not_until.wait_time_from(self.clock.now());
                return Err(Error::OverRate {
                    caller: caller.to_string(),
                    rate: count.rate.to_string(),
                    retry_after,
                });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("common", &self.common).finish_non_exhaustive()
    }
}

/// From the shortest span to the longest.
pub(super) fn in_order(rates: &[Rate]) -> Arc<[Rate]> {
    let mut rates = rates.to_vec();
    rates.sort_by_key(|rate| rate.span);
    rates.into()
}

// === impl Count ===

impl Count {
    fn of(rates: &[Rate]) -> Arc<[Self]> {
        rates.iter().map(|rate| Self { rate: *rate, limiter: RateLimiter::direct(rate.quota()) }).collect()
    }
}

// === impl Rate ===

impl Rate {
    /// So many calls in a minute.
    pub const fn per_minute(calls: NonZeroU32) -> Self {
        Self { calls, span: Span::Minute }
    }

    /// How many calls.
    pub fn calls(self) -> u32 {
        self.calls.get()
    }

    /// In which time.
    pub fn span(self) -> Duration {
        self.span.length()
    }

    fn quota(self) -> Quota {
        let each = self.span.length() / self.calls.get();
        // A span that is shorter than a nanosecond a call would be no limit.
        Quota::with_period(each.max(Duration::from_nanos(1)))
            .map_or_else(|| Quota::per_second(self.calls), |quota| quota.allow_burst(self.calls))
    }
}

impl FromStr for Rate {
    type Err = NotUnderstood;

    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let (calls, span) = text.split_once('/').ok_or(NotUnderstood)?;
        let span = match span {
            "s" => Span::Second,
            "min" => Span::Minute,
            "h" => Span::Hour,
            "day" => Span::Day,
            _ => return Err(NotUnderstood),
        };
        Ok(Self { calls: calls.parse().map_err(|_| NotUnderstood)?, span })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = match self.span {
            Span::Second => "s",
            Span::Minute => "min",
            Span::Hour => "h",
            Span::Day => "day",
        };
        write!(f, "{}/{span}", self.calls)
    }
}

// === impl Span ===

impl Span {
    fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 24 * 3600,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(texts: &[&str]) -> Arc<[Rate]> {
        in_order(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
    }

    /// How many of so many calls are let through.
    fn passed(rates: &Rates, caller: &str, own: Option<&Arc<[Rate]>>, calls: usize) -> usize {
        (0..calls).filter(|_| rates.count(&caller.into(), own).is_ok()).count()
    }

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for text in ["1/s", "50/s", "3000/min", "4294967295/h", "100000/day"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "0/s", "-1/s", "1", "/s", "1/", "1/week", "1.5/s", "4294967296/s", "1 /s"] {
            assert_eq!(text.parse::<Rate>(), Err(NotUnderstood), "{text}");
        }
    }

    #[test]
    fn each_caller_has_its_own_count() {
        let counts = Rates::new(&rates(&["5/h"]));
        assert_eq!((passed(&counts, "a", None, 20), passed(&counts, "b", None, 20)), (5, 5));
    }

    #[test]
    fn rates_of_one_s_own_stand_in_place_of_the_common_ones() {
        let counts = Rates::new(&rates(&["5/h"]));
        let own = rates(&["7/h"]);
        assert_eq!(passed(&counts, "a", Some(&own), 20), 7);
        assert_eq!(passed(&counts, "b", Some(&rates(&[])), 20), 5);
        assert_eq!(passed(&Rates::new(&[]), "c", None, 20), 20);
    }

    #[test]
    fn what_the_shorter_rate_refuses_does_not_count_for_the_longer() {
        let counts = Rates::new(&[]);
        let own = rates(&["30/day", "10/h"]);
        assert_eq!(passed(&counts, "a", Some(&own), 100), 10);
        let Err(Error::OverRate { rate, retry_after, .. }) = counts.count(&"a".into(), Some(&own)) else {
            panic!()
        };
        assert_eq!(rate, "10/h");
        assert!(
            retry_after > Duration::from_secs(300) && retry_after <= Duration::from_secs(360),
            "{retry_after:?}"
        );
        let count = counts.counts.get(&("a".into(), own)).unwrap();
        assert_eq!((0..100).filter(|_| count[1].limiter.check().is_ok()).count(), 20);
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let counts = Rates::new(&rates(&["5/h"]));
        for caller in 0..150_000 {
            counts.count(&caller.to_string().into(), None).unwrap();
        }
        assert!(counts.counts.len() <= CALLERS, "{}", counts.counts.len());
    }
}
