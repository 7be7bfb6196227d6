//! How often a caller may call: GCRA, for each caller and each of its rates.
//!
//! `50/s` lets fifty calls through at once, and then one every 20 ms; a caller that was silent for a second has the fifty
//! again. `10000/day` is the same with a day. So in any span of time a caller has no more than those that it may make at once
//! and those that come back in that span.
//!
//! Each replica counts for itself ([`Local`]), or all of them count in one Redis ([`Shared`]) for as long as it answers.

mod link;
mod local;
mod shared;

use std::{fmt, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use self::local::Local;
pub(super) use self::shared::Shared;
pub use self::shared::SharedCounts;
use super::requirement::NotUnderstood;
use crate::error::Error;

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
#[derive(Debug)]
pub(super) struct Rates {
    /// Of callers that have none of their own.
    common: Arc<[Rate]>,
    local: Local,
    shared: Option<Shared>,
}

/// A call that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Over {
    /// The rate that refuses it.
    rate: Rate,
    /// After which time it would not be.
    retry_after: Duration,
}

// === impl Rates ===

impl Rates {
    pub(super) fn new(common: &[Rate], shared: Option<Shared>) -> Self {
        Self { common: in_order(common), local: Local::new(), shared }
    }

    /// Counts a call of a caller, by rates of its own or by the common ones.
    pub(super) async fn count(&self, caller: &Arc<str>, own: Option<&Arc<[Rate]>>) -> Result<(), Error> {
        let rates = own.filter(|own| !own.is_empty()).unwrap_or(&self.common);
        if rates.is_empty() {
            return Ok(());
        }
        let shared = match &self.shared {
            // On the heap, so that the calls of those who share nothing stay small.
            Some(shared) => Box::pin(shared.count(caller, rates)).await,
            None => None,
        };
        let counted = shared.unwrap_or_else(|| self.local.count(caller, rates));
        counted.map_err(|Over { rate, retry_after }| Error::OverRate {
            caller: caller.to_string(),
            gateway: None,
            rate: rate.to_string(),
            retry_after,
        })
    }

    /// Keeps the counts shared, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        match &self.shared {
            Some(shared) => shared.follow(every).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until Redis was asked for the first time, with or without success.
    pub(super) async fn ready(&self) {
        if let Some(shared) = &self.shared {
            shared.ready().await;
        }
    }

    /// How calls were counted, where the counts are shared.
    pub(super) fn shared_counts(&self) -> Option<SharedCounts> {
        self.shared.as_ref().map(Shared::counts)
    }
}

/// From the shortest span to the longest.
pub(super) fn in_order(rates: &[Rate]) -> Arc<[Rate]> {
    let mut rates = rates.to_vec();
    rates.sort_by_key(|rate| rate.span);
    rates.into()
}

// === impl Rate ===

impl Rate {
    /// One that refuses nobody.
    const LARGEST: Self = Self { calls: NonZeroU32::MAX, span: Span::Second };

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

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for text in ["1/s", "50/s", "3000/min", "4294967295/h", "100000/day"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "0/s", "-1/s", "1", "/s", "1/", "1/week", "1.5/s", "4294967296/s", "1 /s"] {
            assert_eq!(text.parse::<Rate>(), Err(NotUnderstood), "{text}");
        }
    }

    #[tokio::test]
    async fn rates_of_one_s_own_stand_in_place_of_the_common_ones() {
        let rates =
            |texts: &[&str]| -> Vec<Rate> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let passed = async |common: &[&str], own: Option<&[&str]>| {
            let counts = Rates::new(&rates(common), None);
            let (caller, own) = ("a".into(), own.map(|own| in_order(&rates(own))));
            let mut passed = 0;
            for _ in 0..20 {
                passed += usize::from(counts.count(&caller, own.as_ref()).await.is_ok());
            }
            passed
        };
        assert_eq!(passed(&["5/h"], None).await, 5);
        assert_eq!(passed(&["5/h"], Some(&["7/h"])).await, 7);
        assert_eq!(passed(&["5/h"], Some(&[])).await, 5);
        assert_eq!(passed(&[], None).await, 20);
    }
}
