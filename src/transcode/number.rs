//! Numbers from their JSON spelling, exactly, and back to text.

/// The integer that a JSON number spells: `7`, `7.0`, `70e-1`; `None` if it is no integer.
///
/// It is never rounded through a float: `9223372036854775807` stays what it is.
pub(super) fn integer(text: &str) -> Option<i128> {
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

/// Whether `text` is a number as JSON spells it, for numbers that stand in quotes.
pub(super) fn is_json_number(text: &str) -> bool {
    let Ok(mut parser) = super::json::Parser::new(text.as_bytes()) else { return false };
    parser.number() == Ok(text)
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
