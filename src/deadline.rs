//! How long a call may take: `grpc-timeout`, or the default.
//!
//! The server library answers an expired call with CANCELLED; callers must get DEADLINE_EXCEEDED, so the
//! header is read here. Its format is in gRPC's `PROTOCOL-HTTP2.md`: at most eight digits and a unit.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

/// The header.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// What is kept of a caller's time for the way of the answer back to it, as a part of the time and at most.
const MARGIN: (u32, Duration) = (20, Duration::from_millis(50));

/// When a call has to be done. Several callers may share one request; it then lasts as long as the last of them waits.
#[derive(Debug, Clone)]
pub struct Deadline(Arc<Mutex<Span>>);

/// When the first of the callers gives up, and when the last.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

/// A `grpc-timeout` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("grpc-timeout {0:?} is malformed: expected one to eight digits and one of H, M, S, m, u, n")]
pub struct MalformedTimeout(String);

// === impl Deadline ===

impl Deadline {
    /// This time from now.
    pub fn after(time: Duration) -> Self {
        let at = Instant::now() + time;
        Self(Arc::new(Mutex::new(Span { first: at, last: at })))
    }

    /// Another one, which is the same for now.
    pub fn detached(&self) -> Self {
        Self(Arc::new(Mutex::new(*self.lock())))
    }

    /// The moment, as it is known now.
    pub fn at(&self) -> Instant {
        self.lock().last
    }

    /// How much time is left.
    pub fn left(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// How much time the one who gives up first has left.
    pub fn left_for_all(&self) -> Duration {
        self.lock().first.saturating_duration_since(Instant::now())
    }

    /// Lasts at least as long as the other one from now on.
    pub fn extend(&self, other: &Self) {
        let other = *other.lock();
        let mut span = self.lock();
        *span = Span { first: other.first.min(span.first), last: other.last.max(span.last) };
    }

    fn lock(&self) -> MutexGuard<'_, Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that is used of `limit`, so that the caller hears of its end before it gives up by itself.
pub fn without_margin(limit: Duration) -> Duration {
    limit - (limit / MARGIN.0).min(MARGIN.1)
}

/// The time that the caller gives, if it names one.
///
/// # Errors
/// The header is there, but is not what the protocol allows.
pub fn time_limit(headers: &HeaderMap) -> Result<Option<Duration>, MalformedTimeout> {
    let malformed =
        |value: &HeaderValue| MalformedTimeout(String::from_utf8_lossy(value.as_bytes()).into_owned());
    headers.get(GRPC_TIMEOUT).map(|value| parse(value).ok_or_else(|| malformed(value))).transpose()
}

fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(value: &[u8]) -> Result<Option<Duration>, MalformedTimeout> {
        let value = HeaderValue::from_bytes(value).unwrap();
        time_limit(&HeaderMap::from_iter([(GRPC_TIMEOUT.parse().unwrap(), value)]))
    }

    #[test]
    fn every_unit_is_read() {
        for (text, limit_is) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("0S", Duration::ZERO),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("5u", Duration::from_micros(5)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(limit(text.as_bytes()), Ok(Some(limit_is)), "{text}");
        }
    }

    #[test]
    fn a_malformed_timeout_is_refused_and_a_missing_one_is_none() {
        for text in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", " 1S", "1 S"] {
            assert_eq!(limit(text.as_bytes()), Err(MalformedTimeout(text.to_owned())));
        }
        assert_eq!(time_limit(&HeaderMap::new()), Ok(None));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(bytes in prop::collection::vec(0x20_u8..=0x7e, 0..12)) {
            let _ = limit(&bytes);
        }
    }
}
