//! JSON to protobuf, the values: numbers, texts, bytes, enums, and the well-known types that JSON writes as
//! one of these.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    json::Next,
    number,
    plan::{EnumPlan, FieldPlan, Kind, Scalar, Shape, WellKnown},
    response::{Decoder, Result},
    well_known::{self, Time},
    wire::{self, Type},
};

impl Decoder<'_> {
    /// Appends one scalar without a tag.
    pub(super) fn scalar(&mut self, scalar: Scalar, out: &mut Vec<u8>) -> Result<()> {
        match (scalar, self.parser.peek()?) {
            (Scalar::String, Next::String) => wire::put_bytes(self.parser.string()?.as_bytes(), out),
            (Scalar::Bytes, Next::String) => self.bytes(out)?,
            (Scalar::Bool, Next::Bool) => out.push(u8::from(self.parser.bool()?)),
            (Scalar::String | Scalar::Bytes | Scalar::Bool, found) => {
                return Err(self.wrong_kind(scalar.expected(), found));
            }
            (scalar, Next::Number) => {
                let text = self.parser.number()?;
                self.number(scalar, text, "another number", out)?;
            }
            (scalar, Next::String) => {
                let text = self.parser.string()?;
                let spelled = number::is_json_number(&text) || (scalar.is_float() && is_float_word(&text));
                if !spelled {
                    return Err(self.mismatch(scalar.expected(), "a string", &text));
                }
                self.number(scalar, &text, "a string", out)?;
            }
            (scalar, found) => return Err(self.wrong_kind(scalar.expected(), found)),
        }
        Ok(())
    }

    /// Appends the number that `text` spells.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // every cast is of a value in range
    pub(super) fn number(&self, scalar: Scalar, text: &str, found: &str, out: &mut Vec<u8>) -> Result<()> {
        let wrong = || self.mismatch(scalar.expected(), found, text);
        if scalar.is_float() {
            return put_float(scalar, text, out).ok_or_else(wrong);
        }
        let value = number::integer(text).filter(|value| scalar.range().contains(value)).ok_or_else(wrong)?;
        match scalar {
            Scalar::Int32 | Scalar::Int64 => wire::put_varint(value as i64 as u64, out),
            Scalar::Uint32 | Scalar::Uint64 => wire::put_varint(value as u64, out),
            Scalar::Sint32 | Scalar::Sint64 => {
                let value = value as i64;
                wire::put_varint(((value << 1) ^ (value >> 63)) as u64, out);
            }
            Scalar::Fixed32 | Scalar::Sfixed32 => out.extend_from_slice(&(value as u32).to_le_bytes()),
            _ => out.extend_from_slice(&(value as u64).to_le_bytes()),
        }
        Ok(())
    }

    fn bytes(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let text = self.parser.string()?;
        let engine = if text.contains(['-', '_']) { &URL_SAFE_BASE64 } else { &STANDARD_BASE64 };
        let bytes = engine.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| self.mismatch("base64 in a string", "another string", &text))?;
        wire::put_bytes(&bytes, out);
        Ok(())
    }

    #[allow(clippy::cast_sign_loss)] // a negative enum value is written as a ten-byte varint
    pub(super) fn enum_value(&mut self, plan: &EnumPlan, out: &mut Vec<u8>) -> Result<bool> {
        let number = match self.parser.peek()? {
            Next::String => match plan.number(&self.parser.string()?) {
                Some(number) => number,
                None => return Ok(false),
            },
            Next::Number => {
                let text = self.parser.number()?;
                let number = number::integer(text).and_then(|number| i32::try_from(number).ok());
                number.ok_or_else(|| {
                    self.mismatch("the name or number of an enum value", "another number", text)
                })?
            }
            found => return Err(self.wrong_kind("the name or number of an enum value", found)),
        };
        wire::put_varint(i64::from(number) as u64, out);
        Ok(true)
    }

    /// Appends the fields of a well-known message.
    pub(super) fn well_known(&mut self, known: WellKnown, out: &mut Vec<u8>) -> Result<()> {
        match known {
            WellKnown::Timestamp => {
                let time =
                    self.text("a time such as 2026-01-02T03:04:05.678Z", well_known::parse_timestamp)?;
                put_time(time, out);
            }
            WellKnown::Duration => {
                let time = self.text("a duration such as 1.5s", well_known::parse_duration)?;
                put_time(time, out);
            }
            WellKnown::FieldMask => {
                let paths = self.text("field paths joined by commas", |text| {
                    let paths = text.split(',').filter(|path| !path.is_empty());
                    paths.map(well_known::mask_path_from_json).collect::<Option<Vec<_>>>()
                })?;
                for path in paths {
                    wire::put_tag(1, Type::Bytes, out);
                    wire::put_bytes(path.as_bytes(), out);
                }
            }
            WellKnown::Wrapper(scalar) => {
                let field = FieldPlan {
                    name: String::new(),
                    number: 1,
                    kind: Kind::Scalar(scalar),
                    shape: Shape::Single { explicit: false },
                    oneof: None,
                };
                self.single(&field, false, out)?;
            }
        }
        Ok(())
    }
}

const STANDARD_BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_SAFE_BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
/// ProtoJSON takes base64 with or without padding.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Appends the float that `text` spells; one too large for the type is not rounded to infinity.
fn put_float(scalar: Scalar, text: &str, out: &mut Vec<u8>) -> Option<()> {
    let word = is_float_word(text);
    if scalar == Scalar::Float {
        let value = text.parse().ok().filter(|value: &f32| value.is_finite() || word)?;
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        let value = text.parse().ok().filter(|value: &f64| value.is_finite() || word)?;
        out.extend_from_slice(&value.to_le_bytes());
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
