//! JSON to protobuf, the values: numbers, texts, bytes, enums, and the well-known types that JSON writes as
//! one of these.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    decoder::{Decoder, Result},
    json::Next,
    mismatch::Complaint,
    number::Number,
    plan::{EnumPlan, Scalar, WellKnown},
    tolerance::Tolerance,
    well_known::{self, Time},
    wire::{self, Type},
};

const ENUM: &str = "the name or number of an enum value";

impl<const SURVEY: bool> Decoder<'_, SURVEY> {
    /// Appends one scalar without a tag.
    #[inline]
    pub(super) fn scalar(&mut self, scalar: Scalar, out: &mut Vec<u8>) -> Result<()> {
        match (scalar, self.parser.peek()?) {
            (Scalar::String, Next::String) => self.string(out)?,
            (Scalar::Bytes, Next::String) => self.bytes(out)?,
            (Scalar::Bool, Next::Bool) => out.push(u8::from(self.parser.bool()?)),
            (Scalar::String | Scalar::Bytes | Scalar::Bool, found) => {
                return Err(self.wrong_kind(scalar.expected(), found));
            }
            (scalar, Next::Number) => {
                let number = self.parser.number()?;
                if !scalar.is_float() && !number.is_plain_integer() {
                    self.tolerate(Tolerance::IntegralFloat)?;
                }
                self.put_number(scalar, &number, "another number", out)?;
            }
            (scalar, Next::String) => self.quoted_number(scalar, out)?,
            (scalar, found) => return Err(self.wrong_kind(scalar.expected(), found)),
        }
        Ok(())
    }

    /// Appends a text, unescaped, behind its length.
    #[inline]
    fn string(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let plain = self.parser.begin_string()?;
        if self.parser.eat_quote() {
            wire::put_bytes(plain.as_bytes(), out);
            return Ok(());
        }
        wire::put_delimited(out, |out| {
            out.extend_from_slice(plain.as_bytes());
            self.parser.rest_of_string(out).map_err(Box::from)
        })
    }

    /// A number in quotes, which is how 64 bits are written, and a tolerance for others.
    fn quoted_number(&mut self, scalar: Scalar, out: &mut Vec<u8>) -> Result<()> {
        let text = self.parser.string()?;
        if scalar.is_float() && is_float_word(&text) {
            return put_float_word(scalar, &text, out).ok_or_else(|| self.not_a_number(scalar, &text));
        }
        let Some(number) = Number::spelled(&text) else { return Err(self.not_a_number(scalar, &text)) };
        self.put_quoted(scalar, &number, out)
    }

    fn put_quoted(&mut self, scalar: Scalar, number: &Number<'_>, out: &mut Vec<u8>) -> Result<()> {
        if !scalar.is_long() {
            self.tolerate(Tolerance::QuotedNumber)?;
        }
        if !scalar.is_float() && !number.is_plain_integer() {
            self.tolerate(Tolerance::IntegralFloat)?;
        }
        self.put_number(scalar, number, "a string", out)
    }

    #[cold]
    fn not_a_number(&self, scalar: Scalar, text: &str) -> Box<Complaint> {
        self.mismatch(scalar.expected(), "a string", text)
    }

    /// Appends a number, which `found` says what it is if it does not fit.
    #[allow(clippy::cast_possible_truncation)] // the value is in range
    pub(super) fn put_number(
        &self,
        scalar: Scalar,
        number: &Number<'_>,
        found: &str,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let wrong = || self.mismatch(scalar.expected(), found, number.text);
        if scalar.is_float() {
            return put_float(scalar, number, out).ok_or_else(wrong);
        }
        let value = number.integer().filter(|value| scalar.range().contains(value)).ok_or_else(wrong)?;
        put_integer(scalar, value as i64, out);
        Ok(())
    }

    fn bytes(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let text = self.parser.string()?;
        let url_safe = memchr::memchr2(b'-', b'_', text.as_bytes()).is_some();
        let engine = if url_safe { &URL_SAFE_BASE64 } else { &STANDARD_BASE64 };
        wire::put_delimited(out, |out| {
            let start = out.len();
            out.resize(start + text.len().div_ceil(4) * 3, 0);
            let decoded = engine.decode_slice(text.as_bytes(), &mut out[start..]);
            let length = decoded.map_err(|_| self.mismatch("base64 in a string", "another string", &text))?;
            out.truncate(start + length);
            Ok(())
        })
    }

    /// Appends the number of an enum value; `false` if its name is not known.
    #[allow(clippy::cast_sign_loss)] // a negative enum value is written as a ten-byte varint
    pub(super) fn enum_value(&mut self, plan: &EnumPlan, out: &mut Vec<u8>) -> Result<bool> {
        let number = match self.parser.peek()? {
            Next::String => {
                let name = self.parser.string()?;
                match plan.number(&name) {
                    Some(number) => number,
                    None => {
                        self.tolerate(Tolerance::UnknownEnumValue)
                            .map_err(|complaint| complaint.with_value(&name))?;
                        return Ok(false);
                    }
                }
            }
            Next::Number => {
                let number = self.parser.number()?;
                let value = number.integer().and_then(|number| i32::try_from(number).ok());
                value.ok_or_else(|| self.mismatch(ENUM, "another number", number.text))?
            }
            found => return Err(self.wrong_kind(ENUM, found)),
        };
        wire::put_varint(i64::from(number) as u64, out);
        Ok(true)
    }

    /// Appends the one value of `google.protobuf.NullValue`, which is written `null`, by its name or as 0.
    pub(super) fn null_value(&mut self, out: &mut Vec<u8>) -> Result<()> {
        match self.parser.peek()? {
            Next::Null => self.parser.null()?,
            Next::String => match &*self.parser.string()? {
                "NULL_VALUE" => {}
                other => return Err(self.mismatch("null", "a string", other)),
            },
            Next::Number => match self.parser.number()? {
                number if number.integer() == Some(0) => {}
                number => return Err(self.mismatch("null", "a number", number.text)),
            },
            found => return Err(self.wrong_kind("null", found)),
        }
        out.push(0);
        Ok(())
    }

    /// Appends the fields of a well-known message.
    pub(super) fn well_known(&mut self, known: WellKnown, out: &mut Vec<u8>) -> Result<()> {
        match known {
            WellKnown::Timestamp => self.timestamp(out),
            WellKnown::Duration => {
                let time = self.text("a duration such as 1.5s", well_known::parse_duration)?;
                put_time(time, out);
                Ok(())
            }
            WellKnown::FieldMask => self.field_mask(out),
            WellKnown::Wrapper(scalar) => self.wrapper(scalar, out),
            WellKnown::Struct(_) => self.any_object(out),
            WellKnown::Value(_) => self.any_value(out),
            WellKnown::List(_) => self.any_array(out),
            WellKnown::Any(_) => self.any(out),
        }
    }

    fn timestamp(&mut self, out: &mut Vec<u8>) -> Result<()> {
        const EXPECTED: &str = "a time such as 2026-01-02T03:04:05.678Z";
        self.expect_as(Next::String, EXPECTED)?;
        let text = self.parser.string()?;
        let time = match well_known::parse_timestamp(&text) {
            Some(time) => time,
            None => {
                let time = well_known::parse_ruby_time(&text);
                let time = time.ok_or_else(|| self.mismatch(EXPECTED, "another string", &text))?;
                self.tolerate(Tolerance::RubyTime).map_err(|complaint| complaint.with_value(&text))?;
                time
            }
        };
        put_time(time, out);
        Ok(())
    }

    fn field_mask(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let paths = self.text("field paths joined by commas", |text| {
            let paths = text.split(',').filter(|path| !path.is_empty());
            paths.map(well_known::mask_path_from_json).collect::<Option<Vec<_>>>()
        })?;
        for path in paths {
            wire::put_tag(1, Type::Bytes, out);
            wire::put_bytes(path.as_bytes(), out);
        }
        Ok(())
    }

    fn wrapper(&mut self, scalar: Scalar, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_tag(1, scalar.wire_type(), out);
        let content = out.len();
        self.scalar(scalar, out)?;
        if out[content..].iter().all(|byte| *byte == 0) {
            out.truncate(start);
        }
        Ok(())
    }

    fn text<T>(&mut self, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.expect_as(Next::String, expected)?;
        let text = self.parser.string()?;
        parse(&text).ok_or_else(|| self.mismatch(expected, "another string", &text))
    }
}

const STANDARD_BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_SAFE_BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
/// ProtoJSON takes base64 with or without padding.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Appends an integer that is in the range of its type; those above 63 bits come as the negative number of the same bits.
#[inline]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // as the wire format defines
pub(super) fn put_integer(scalar: Scalar, value: i64, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Int32 | Scalar::Int64 | Scalar::Uint32 | Scalar::Uint64 => {
            wire::put_varint(value as u64, out);
        }
        Scalar::Sint32 | Scalar::Sint64 => wire::put_varint(((value << 1) ^ (value >> 63)) as u64, out),
        Scalar::Fixed32 | Scalar::Sfixed32 => out.extend_from_slice(&(value as u32).to_le_bytes()),
        _ => out.extend_from_slice(&value.to_le_bytes()),
    }
}

/// Appends a float; one too large for the type is not rounded to infinity.
#[inline]
fn put_float(scalar: Scalar, number: &Number<'_>, out: &mut Vec<u8>) -> Option<()> {
    if scalar == Scalar::Float {
        let value = number.single().filter(|value| value.is_finite())?;
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        let value = number.double().filter(|value| value.is_finite())?;
        out.extend_from_slice(&value.to_le_bytes());
    }
    Some(())
}

fn put_float_word(scalar: Scalar, word: &str, out: &mut Vec<u8>) -> Option<()> {
    if scalar == Scalar::Float {
        out.extend_from_slice(&word.parse::<f32>().ok()?.to_le_bytes());
    } else {
        out.extend_from_slice(&word.parse::<f64>().ok()?.to_le_bytes());
    }
    Some(())
}

fn is_float_word(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

#[allow(clippy::cast_sign_loss)] // negative integers are written as ten-byte varints
fn put_time(time: Time, out: &mut Vec<u8>) {
    for (number, value) in [(1, time.seconds), (2, i64::from(time.nanos))] {
        if value != 0 {
            wire::put_tag(number, Type::Varint, out);
            wire::put_varint(value as u64, out);
        }
    }
}

// === impl Scalar ===

impl Scalar {
    fn range(self) -> std::ops::RangeInclusive<i128> {
        match self {
            Self::Int32 | Self::Sint32 | Self::Sfixed32 => i128::from(i32::MIN)..=i128::from(i32::MAX),
            Self::Uint32 | Self::Fixed32 => 0..=i128::from(u32::MAX),
            Self::Uint64 | Self::Fixed64 => 0..=i128::from(u64::MAX),
            _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
        }
    }

    /// The part of its range that 64 bits with a sign hold.
    #[inline]
    pub(super) fn small_range(self) -> std::ops::RangeInclusive<i64> {
        match self {
            Self::Int32 | Self::Sint32 | Self::Sfixed32 => i64::from(i32::MIN)..=i64::from(i32::MAX),
            Self::Uint32 | Self::Fixed32 => 0..=i64::from(u32::MAX),
            Self::Uint64 | Self::Fixed64 => 0..=i64::MAX,
            _ => i64::MIN..=i64::MAX,
        }
    }

    /// Whether ProtoJSON writes it in quotes.
    pub(super) fn is_long(self) -> bool {
        matches!(self, Self::Int64 | Self::Sint64 | Self::Sfixed64 | Self::Uint64 | Self::Fixed64)
    }

    /// What a complaint says was expected.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Double | Self::Float => "a number",
            Self::Int32 | Self::Sint32 | Self::Sfixed32 => "an integer of 32 bits",
            Self::Int64 | Self::Sint64 | Self::Sfixed64 => "an integer of 64 bits",
            Self::Uint32 | Self::Fixed32 => "a positive integer of 32 bits",
            Self::Uint64 | Self::Fixed64 => "a positive integer of 64 bits",
            Self::Bool => "a boolean",
            Self::String => "a string",
            Self::Bytes => "base64 in a string",
        }
    }
}
