//! Numbers from their JSON spelling, exactly, and back to text.

use super::json::Parser;

/// A JSON number: as it is spelled, and what was learned of it while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<'a> {
    pub(super) text: &'a str,
    pub(super) negative: bool,
    /// All digits as one integer, decimals included; of use if `exact`.
    pub(super) mantissa: u64,
    /// How many of the digits stand after the point.
    pub(super) decimals: usize,
    /// Whether mantissa and decimals are the whole number: no exponent, and not too many digits.
    pub(super) exact: bool,
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Integers up to this are doubles.
const MAX_EXACT_DOUBLE: u64 = 1 << 53;

// === impl Number ===

impl<'a> Number<'a> {
    /// So many digits always fit 64 bits.
    pub(super) const MAX_EXACT_DIGITS: usize = 19;

    /// The number that `text` spells as JSON does, for numbers that stand in quotes.
    pub(super) fn spelled(text: &'a str) -> Option<Self> {
        let mut parser = Parser::over(text);
        parser.number().ok().filter(|number| number.text.len() == text.len())
    }

    /// Whether it is spelled as an integer is.
    pub(super) fn is_plain_integer(&self) -> bool {
        self.decimals == 0 && (self.exact || !self.text.contains(['e', 'E']))
    }

    /// The integer that it is; `None` if it is none.
    pub(super) fn integer(&self) -> Option<i128> {
        if self.exact && self.decimals == 0 {
            let value = i128::from(self.mantissa);
            return Some(if self.negative { -value } else { value });
        }
        integer(self.text)
    }

    /// The double nearest to it; infinite if it is too large.
    pub(super) fn double(&self) -> Option<f64> {
        let plain = divided(self.mantissa, self.decimals).filter(|_| self.exact);
        plain.map(|value| if self.negative { -value } else { value }).or_else(|| self.text.parse().ok())
    }

    /// The float nearest to it; infinite if it is too large.
    pub(super) fn single(&self) -> Option<f32> {
        self.text.parse().ok()
    }
}

/// The double nearest to the quotient, where both are doubles: then a division, which is rounded once, tells it.
#[inline]
#[allow(clippy::cast_precision_loss)] // integers up to the limit are doubles
fn divided(mantissa: u64, decimals: usize) -> Option<f64> {
    let power = POWERS.get(decimals).filter(|_| mantissa <= MAX_EXACT_DOUBLE)?;
    Some(mantissa as f64 / power)
}

/// Where the digits from `at` on end; they are counted into `value`, which wraps if there are too many.
#[inline]
pub(super) fn digits(text: &[u8], mut at: usize, value: &mut u64) -> usize {
    while let Some(digit @ b'0'..=b'9') = text.get(at) {
        *value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    at
}

/// The decimal number at `at` in a JSON text, and where it ends; `None` where it has an exponent, more digits than a
/// division tells, or anything but an end after it.
#[inline]
pub(super) fn plain_double(text: &[u8], at: usize) -> Option<(f64, usize)> {
    let negative = text.get(at) == Some(&b'-');
    let first = at + usize::from(negative);
    let mut mantissa = 0;
    let mut end = digits(text, first, &mut mantissa);
    let whole = end - first;
    let mut decimals = 0;
    if text.get(end) == Some(&b'.') {
        let point = end;
        end = digits(text, point + 1, &mut mantissa);
        decimals = end - point - 1;
        if decimals == 0 {
            return None;
        }
    }
    let ends = matches!(text.get(end), Some(b',' | b'}' | b']'));
    if !ends
        || whole == 0
        || whole + decimals > Number::MAX_EXACT_DIGITS
        || (whole > 1 && text[first] == b'0')
    {
        return None;
    }
    let value = divided(mantissa, decimals)?;
    Some((if negative { -value } else { value }, end))
}

/// The integer that a JSON number spells: `7`, `7.0`, `70e-1`; `None` if it is no integer.
///
/// It is never rounded through a float: `9223372036854775807` stays what it is.
fn integer(text: &str) -> Option<i128> {
    if let Ok(plain) = text.parse::<i64>() {
        return Some(i128::from(plain));
    }
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()),
        None => (text, Some(0)),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{decimals}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let trailing = i64::try_from(digits.len() - digits.trim_end_matches('0').len()).ok()?;
    let zeros = i64::from(exponent?) - i64::try_from(decimals.len()).ok()? + trailing;
    // No integer type of protobuf has more than 20 digits.
    let zeros = usize::try_from(zeros).ok().filter(|zeros| zeros + significant.len() <= 20)?;
    let value: i128 = format!("{significant}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if negative { -value } else { value })
}

/// The shortest text that reads as the same value: `2`, `4.5`, `1e-7`, `NaN`, `-Infinity`.
pub(super) fn double_text(value: f64) -> String {
    float_text(value, || format!("{value:?}"))
}

/// The shortest text that reads as the same value.
pub(super) fn single_text(value: f32) -> String {
    float_text(f64::from(value), || format!("{value:?}"))
}

fn float_text(value: f64, shortest: impl Fn() -> String) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let text = shortest();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_from_every_spelling_and_nothing_else_is() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("7", Some(7)),
            ("-7.0", Some(-7)),
            ("1e3", Some(1000)),
            ("70e-1", Some(7)),
            ("0.5e1", Some(5)),
            ("0e999999", Some(0)),
            ("0.0e99999999999", Some(0)),
            ("9223372036854775807", Some(i128::from(i64::MAX))),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("1.5", None),
            ("1e-1", None),
            ("1e20", None),
            ("1e99999999999", None),
            ("100000000000000000000000", None),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_is_read_as_the_standard_library_reads_it(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,24})?") {
            let number = Number::spelled(&text).unwrap();
            prop_assert_eq!(number.double().map(f64::to_bits), text.parse::<f64>().ok().map(f64::to_bits));
            prop_assert_eq!(number.integer(), integer(&text));
        }

        #[test]
        fn a_float_is_read_as_it_was_written(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            prop_assert_eq!(double_text(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }

        #[test]
        fn an_integer_with_an_exponent_is_the_same_integer(value in any::<i32>(), zeros in 0_usize..5) {
            let text = format!("{value}{}e-{zeros}", "0".repeat(zeros));
            prop_assert_eq!(integer(&text), Some(i128::from(value)));
        }
    }
}
