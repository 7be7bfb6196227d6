//! The JSON spelling of Timestamp, Duration and FieldMask (<https://protobuf.dev/programming-guides/json/>).

const NANOS_PER_SECOND: u32 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range that `timestamp.proto` allows.
const TIMESTAMP_RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// What `duration.proto` allows in either direction: about 10,000 years.
const MAX_DURATION_SECONDS: i64 = 315_576_000_000;

/// Seconds, and nanoseconds of the same sign (Duration) or never negative (Timestamp).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanos: i32,
}

/// Reads RFC 3339: `2026-01-02T03:04:05.678+01:00`.
pub(super) fn parse_timestamp(text: &str) -> Option<Time> {
    parse_time(text, b'T', rfc3339_offset)
}

/// Reads what Ruby's `Time#to_s` writes, which some Rails serializers let through:
/// `2026-01-02 03:04:05 UTC`, `2026-01-02 03:04:05 +0100`.
pub(super) fn parse_ruby_time(text: &str) -> Option<Time> {
    parse_time(text, b' ', ruby_offset)
}

fn parse_time(text: &str, separator: u8, offset: impl Fn(&[u8]) -> Option<i64>) -> Option<Time> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10)?;
    let rest = rest.strip_prefix(&[separator])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else { return None };
    let [h1, h2, b':', i1, i2, b':', s1, s2] = *clock else { return None };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[i1, i2])?, number(&[s1, s2])?);
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) || year < 1 {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let days = days_from_civil(year, month, day);
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    TIMESTAMP_RANGE.contains(&seconds).then_some(Time { seconds, nanos })
}

/// Writes RFC 3339 in UTC with 0, 3, 6 or 9 digits of a second; `None` outside years 1 to 9999.
pub(super) fn format_timestamp(time: Time) -> Option<String> {
    if !TIMESTAMP_RANGE.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    let (year, month, day) = civil_from_days(time.seconds.div_euclid(SECONDS_PER_DAY));
    let second = time.seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = fraction_text(time.nanos.unsigned_abs());
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z"))
}

/// Reads seconds with up to nine decimals and the suffix `s`.
pub(super) fn parse_duration(text: &str) -> Option<Time> {
    let text = text.strip_suffix('s')?;
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let whole = text.find('.').unwrap_or(text.len());
    let seconds = number(&text.as_bytes()[..whole]).filter(|seconds| *seconds <= MAX_DURATION_SECONDS)?;
    let (nanos, rest) = fraction(&text.as_bytes()[whole..])?;
    if whole == 0 || !rest.is_empty() {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    Some(Time { seconds: seconds * i64::from(sign), nanos: nanos * sign })
}

/// Writes seconds with 0, 3, 6 or 9 decimals and the suffix `s`; `None` if out of range or of two signs.
pub(super) fn format_duration(time: Time) -> Option<String> {
    let Time { seconds, nanos } = time;
    let two_signs = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if seconds.unsigned_abs() > MAX_DURATION_SECONDS.unsigned_abs()
        || nanos.unsigned_abs() >= NANOS_PER_SECOND
        || two_signs
    {
        return None;
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    Some(format!("{sign}{}{}s", seconds.unsigned_abs(), fraction_text(nanos.unsigned_abs())))
}

/// One path of a FieldMask from `lowerCamel` to `snake_case`; `None` if it has an underscore already.
pub(super) fn mask_path_from_json(path: &str) -> Option<String> {
    let mut snake = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        match c {
            '_' => return None,
            'A'..='Z' => snake.extend(['_', c.to_ascii_lowercase()]),
            _ => snake.push(c),
        }
    }
    Some(snake)
}

/// One path of a FieldMask from `snake_case` to `lowerCamel`; `None` if it would not come back the same.
pub(super) fn mask_path_to_json(path: &str) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    let mut camel = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            // A comma would be the end of the path.
            'A'..='Z' | ',' => return None,
            '_' => camel.push(chars.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            _ => camel.push(c),
        }
    }
    Some(camel)
}

/// The number that ASCII digits spell; at most 18 digits, so that it fits.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

/// Nanoseconds of an optional `.` with one to nine digits, and what follows.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    if !(1..=9).contains(&count) {
        return None;
    }
    let value = number(&digits[..count])? * 10_i64.pow(9 - u32::try_from(count).ok()?);
    Some((i32::try_from(value).ok()?, &digits[count..]))
}

fn fraction_text(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    }
}

fn rfc3339_offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z'] => Some(0),
        [sign, h1, h2, b':', m1, m2] => offset(sign, &[h1, h2], &[m1, m2]),
        _ => None,
    }
}

fn ruby_offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b' ', b'U', b'T', b'C'] => Some(0),
        [b' ', sign, h1, h2, m1, m2] => offset(sign, &[h1, h2], &[m1, m2]),
        _ => None,
    }
}

fn offset(sign: u8, hours: &[u8], minutes: &[u8]) -> Option<i64> {
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = hours * 3600 + minutes * 60;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; years begin in March, so that the leap day
/// is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_in_rfc_3339_and_as_ruby_writes_them() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2021-03-14T16:09:26.535Z", 1_615_738_166, 535_000_000),
            ("2022-08-05 22:38:22 UTC", 1_659_739_102, 0),
            ("2022-08-05 22:38:22 +0200", 1_659_731_902, 0),
            ("2022-08-05T22:38:22.1-07:30", 1_659_766_102, 100_000_000),
            ("2000-02-29T23:59:59.123456789Z", 951_868_799, 123_456_789),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0),
            ("9999-12-31T23:59:59.999999999Z", 253_402_300_799, 999_999_999),
        ] {
            let ruby = text.as_bytes()[10] == b' ';
            let parsed = if ruby { parse_ruby_time(text) } else { parse_timestamp(text) };
            assert_eq!(parsed, Some(Time { seconds, nanos }), "{text}");
        }
        for text in [
            "",
            "2021",
            "2021-02-29T00:00:00Z",
            "2021-13-01T00:00:00Z",
            "2021-01-01T24:00:00Z",
            "2021-01-01T00:00:60Z",
            "2021-01-01T00:00:00",
            "2021-01-01T00:00:00z",
            "2021-01-01t00:00:00Z",
            "2021-01-01 00:00:00",
            "2021-01-01 00:00:00Z",
            "2021-01-01T00:00:00+0100",
            "2021-01-01T00:00:00.Z",
            "2021-01-01T00:00:00.0123456789Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2021-01-01T00:00:00Z ",
            "2021-01-01T00:00:0\u{e9}Z",
            "+021-01-01T00:00:00Z",
        ] {
            assert_eq!((parse_timestamp(text), parse_ruby_time(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn durations_keep_sign_and_range() {
        for (text, seconds, nanos) in [
            ("0s", 0, 0),
            ("3.000000001s", 3, 1),
            ("-0.5s", 0, -500_000_000),
            ("-3s", -3, 0),
            ("315576000000.999999999s", 315_576_000_000, 999_999_999),
            ("1.5s", 1, 500_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(Time { seconds, nanos }), "{text}");
        }
        for text in ["", "s", "1", "1.s", ".5s", "1.0000000001s", "315576000001s", "+1s", "--1s", "1 s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(format_duration(Time { seconds: 1, nanos: -1 }), None);
        assert_eq!(format_duration(Time { seconds: 315_576_000_001, nanos: 0 }), None);
    }

    #[test]
    fn mask_paths_change_their_case_only_if_they_can_change_back() {
        assert_eq!(mask_path_from_json("product.createdAt").as_deref(), Some("product.created_at"));
        assert_eq!(mask_path_from_json("created_at"), None);
        assert_eq!(mask_path_to_json("product.created_at").as_deref(), Some("product.createdAt"));
        for path in ["createdAt", "a__b", "a_1", "a_", "a,b", ""] {
            assert_eq!(mask_path_to_json(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_time_is_read_as_it_was_written(seconds in TIMESTAMP_RANGE, nanos in 0..1_000_000_000) {
            let time = Time { seconds, nanos };
            prop_assert_eq!(parse_timestamp(&format_timestamp(time).unwrap()), Some(time));
        }

        #[test]
        fn a_duration_is_read_as_it_was_written(millis in -315_576_000_000_000_i64..=315_576_000_000_000) {
            let nanos = i32::try_from(millis % 1000).unwrap() * 1_000_000;
            let time = Time { seconds: millis / 1000, nanos };
            prop_assert_eq!(parse_duration(&format_duration(time).unwrap()), Some(time));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "[-+0-9:.TZ UCs\u{e9}]{0,36}") {
            let _ = (parse_timestamp(&text), parse_ruby_time(&text), parse_duration(&text));
        }
    }
}
