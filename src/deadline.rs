//! How long a call may take: `grpc-timeout`, or the default.
//!
//! The server library answers an expired call with CANCELLED; callers must get DEADLINE_EXCEEDED, so the
//! header is read here. Its format is in gRPC's `PROTOCOL-HTTP2.md`: at most eight digits and a unit.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

/// The header.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// A `grpc-timeout` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("grpc-timeout {0:?} is malformed: expected one to eight digits and one of H, M, S, m, u, n")]
pub struct MalformedTimeout(String);

/// The time that the caller gives, or `default` where it names none.
///
/// # Errors
/// The header is there, but is not what the protocol allows.
pub fn time_limit(headers: &HeaderMap, default: Duration) -> Result<Duration, MalformedTimeout> {
    headers.get(GRPC_TIMEOUT).map_or(Ok(default), |value| {
        parse(value).ok_or_else(|| MalformedTimeout(String::from_utf8_lossy(value.as_bytes()).into_owned()))
    })
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

    fn limit(value: &[u8]) -> Result<Duration, MalformedTimeout> {
        let value = HeaderValue::from_bytes(value).unwrap();
        time_limit(&HeaderMap::from_iter([(GRPC_TIMEOUT.parse().unwrap(), value)]), Duration::ZERO)
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
            assert_eq!(limit(text.as_bytes()), Ok(limit_is), "{text}");
        }
    }

    #[test]
    fn a_malformed_timeout_is_refused_and_a_missing_one_is_the_default() {
        for text in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", " 1S", "1 S"] {
            assert_eq!(limit(text.as_bytes()), Err(MalformedTimeout(text.to_owned())));
        }
        assert_eq!(time_limit(&HeaderMap::new(), Duration::from_secs(9)), Ok(Duration::from_secs(9)));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(bytes in prop::collection::vec(0x20_u8..=0x7e, 0..12)) {
            let _ = limit(&bytes);
        }
    }
}
