//! JSON to protobuf in one pass: the parser reads, the plan decides, the wire format is appended.
//!
//! There is no document tree and no message struct in between, so this works for any contract at the
//! speed that a contract compiled into the program would have. Unknown fields are skipped, `null` is
//! unset, both spellings of a name are understood; a value of the wrong type is told with its place.

use std::{borrow::Cow, fmt::Write};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use super::{
    json::{Next, Parser, SyntaxError},
    number,
    plan::{EnumPlan, FieldPlan, Kind, MessageId, Scalar, Schema, Shape, WellKnown},
    well_known::{self, Time},
    wire::{self, Type},
};

/// How to read the HTTP body of one binding.
#[derive(Debug, Clone)]
pub(super) struct ResponsePlan {
    /// The response message.
    pub(super) message: MessageId,
    /// The slot of the field that the body is, if it is not the whole message.
    pub(super) field: Option<usize>,
}

/// Where and why an answer does not fit the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what} (line {line}, column {column})", self.place())]
pub struct Mismatch {
    /// The JSON path, such as `products[3].rate`; empty at the top.
    pub path: String,
    /// What was expected and what kind of thing was found.
    pub what: String,
    /// The value that was found, where there is one. It is of the API's making: for the log only.
    pub value: Option<String>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A complaint on its way up, which gathers its path from the inside out.
#[derive(Debug)]
struct Complaint {
    offset: usize,
    what: String,
    value: Option<String>,
    path: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Boxed, so that the result of reading a value stays small.
type Result<T> = std::result::Result<T, Box<Complaint>>;

struct Decoder<'a> {
    schema: &'a Schema,
    parser: Parser<'a>,
}

// === impl ResponsePlan ===

impl ResponsePlan {
    /// Turns the body of a successful answer into the message; no body is the empty message.
    pub(super) fn decode(&self, schema: &Schema, json: &[u8]) -> std::result::Result<Bytes, Mismatch> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Bytes::new());
        }
        self.decode_value(schema, json).map_err(|complaint| complaint.into_mismatch(json))
    }

    fn decode_value(&self, schema: &Schema, json: &[u8]) -> Result<Bytes> {
        let mut decoder = Decoder { schema, parser: Parser::new(json)? };
        // Protobuf is hardly ever longer than its JSON.
        let mut out = Vec::with_capacity(json.len());
        match self.field {
            None => decoder.message(self.message, &mut out)?,
            Some(slot) => decoder.field(&schema.message(self.message).fields[slot], &mut out)?,
        }
        decoder.parser.end()?;
        Ok(Bytes::from(out))
    }
}

// === impl Mismatch ===

impl Mismatch {
    fn place(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) }
    }
}

// === impl Complaint ===

impl Complaint {
    fn new(offset: usize, what: impl Into<String>) -> Box<Self> {
        Box::new(Self { offset, what: what.into(), value: None, path: Vec::new() })
    }

    fn under(mut self: Box<Self>, step: Step) -> Box<Self> {
        self.path.push(step);
        self
    }

    fn into_mismatch(self, json: &[u8]) -> Mismatch {
        let before = &json[..self.offset.min(json.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let mut path = String::new();
        for step in self.path.iter().rev() {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Key(key) if path.is_empty() => write!(path, "{key}"),
                Step::Key(key) => write!(path, ".{key}"),
                Step::Index(index) => write!(path, "[{index}]"),
            };
        }
        Mismatch {
            path,
            what: self.what,
            value: self.value,
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        }
    }
}

impl From<SyntaxError> for Box<Complaint> {
    fn from(error: SyntaxError) -> Self {
        Complaint::new(error.offset, error.what)
    }
}

// === impl Decoder ===

impl Decoder<'_> {
    /// Appends the fields of an object.
    fn message(&mut self, id: MessageId, out: &mut Vec<u8>) -> Result<()> {
        self.expect(Next::Object)?;
        self.parser.begin_object()?;
        let plan = self.schema.message(id);
        let mut oneofs = Vec::new();
        let mut first = true;
        while let Some(key) = self.parser.next_key(&mut first)? {
            match plan.slot_named(&key) {
                Some(slot) => {
                    let field = &plan.fields[slot];
                    self.member(field, &mut oneofs, out)
                        .map_err(|error| error.under(Step::Key(key.into_owned())))?;
                }
                None => self
                    .parser
                    .skip()
                    .map_err(Box::from)
                    .map_err(|error: Box<Complaint>| error.under(Step::Key(key.into_owned())))?,
            }
        }
        Ok(())
    }

    /// Appends a field of an object, unless another member of its `oneof` stands before it.
    fn member(&mut self, field: &FieldPlan, oneofs: &mut Vec<usize>, out: &mut Vec<u8>) -> Result<()> {
        if let Some(oneof) = field.oneof
            && self.parser.peek()? != Next::Null
        {
            if oneofs.contains(&oneof) {
                return Err(self.complaint("another member of its oneof is set already"));
            }
            oneofs.push(oneof);
        }
        self.field(field, out)
    }

    /// Appends all values of a field; `null` is none.
    fn field(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        if self.parser.peek()? == Next::Null {
            return Ok(self.parser.null()?);
        }
        match field.shape {
            Shape::Single { explicit } => self.single(field, explicit, out),
            Shape::List { packed: true } => self.packed(field, out),
            Shape::List { packed: false } => {
                self.elements(|decoder, out| decoder.single(field, true, out), out)
            }
            Shape::Map => self.map(field, out),
        }
    }

    /// Appends one value with its tag. Where a default value is the same as none, it is left out.
    fn single(&mut self, field: &FieldPlan, explicit: bool, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_tag(field.number, field.kind.wire_type(), out);
        let content = out.len();
        let written = self.value(&field.kind, out)?;
        let is_default = !explicit && out[content..].iter().all(|byte| *byte == 0);
        if !written || is_default {
            out.truncate(start);
        }
        Ok(())
    }

    fn packed(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_tag(field.number, Type::Bytes, out);
        let content = out.len();
        wire::put_delimited(out, |out| {
            self.elements(|decoder, out| decoder.value(&field.kind, out).map(drop), out)
        })?;
        if out[content..] == [0] {
            out.truncate(start);
        }
        Ok(())
    }

    fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<()>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.expect(Next::Array)?;
        self.parser.begin_array()?;
        let mut first = true;
        let mut index = 0;
        while self.parser.next_element(&mut first)? {
            element(self, out).map_err(|error| error.under(Step::Index(index)))?;
            index += 1;
        }
        Ok(())
    }

    /// Appends one entry message per member: the key in slot 0, the value in slot 1.
    fn map(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        let Kind::Message(entry) = &field.kind else { unreachable!("a map's kind is its entry message") };
        let [key_plan, value_plan] = self.schema.message(*entry).fields.as_slice() else {
            unreachable!("an entry has a key and a value")
        };
        self.expect(Next::Object)?;
        self.parser.begin_object()?;
        let mut first = true;
        while let Some(key) = self.parser.next_key(&mut first)? {
            let start = out.len();
            wire::put_tag(field.number, Type::Bytes, out);
            let mut written = true;
            let entry = wire::put_delimited(out, |out| {
                self.map_key(key_plan, &key, out)?;
                wire::put_tag(value_plan.number, value_plan.kind.wire_type(), out);
                written = self.value(&value_plan.kind, out)?;
                Ok(())
            });
            entry.map_err(|error: Box<Complaint>| error.under(Step::Key(key.into_owned())))?;
            if !written {
                out.truncate(start);
            }
        }
        Ok(())
    }

    fn map_key(&self, plan: &FieldPlan, key: &str, out: &mut Vec<u8>) -> Result<()> {
        let Kind::Scalar(scalar) = plan.kind else { unreachable!("a map key is a scalar") };
        wire::put_tag(plan.number, scalar.wire_type(), out);
        match (scalar, key) {
            (Scalar::String, key) => wire::put_bytes(key.as_bytes(), out),
            (Scalar::Bool, "true") => out.push(1),
            (Scalar::Bool, "false") => out.push(0),
            (Scalar::Bool, key) => return Err(self.mismatch("true or false as key", "another key", key)),
            (scalar, key) => self.number(scalar, key, "another key", out)?,
        }
        Ok(())
    }

    /// Appends one value without a tag; `false` is a value to be ignored (an enum name that is not known).
    fn value(&mut self, kind: &Kind, out: &mut Vec<u8>) -> Result<bool> {
        match kind {
            Kind::Scalar(scalar) => self.scalar(*scalar, out)?,
            Kind::Enum(plan) => return self.enum_value(plan, out),
            Kind::Message(id) => wire::put_delimited(out, |out| self.message(*id, out))?,
            Kind::WellKnown(known) => wire::put_delimited(out, |out| self.well_known(*known, out))?,
        }
        Ok(true)
    }

    fn scalar(&mut self, scalar: Scalar, out: &mut Vec<u8>) -> Result<()> {
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
    fn number(&self, scalar: Scalar, text: &str, found: &str, out: &mut Vec<u8>) -> Result<()> {
        let wrong = || self.mismatch(scalar.expected(), found, text);
        if scalar.is_float() {
            return self.float(scalar, text, out).ok_or_else(wrong);
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

    /// A number too large for the type is not rounded to infinity.
    #[allow(clippy::cast_possible_truncation)] // rounding to the nearest float is what the field asks for
    fn float(&self, scalar: Scalar, text: &str, out: &mut Vec<u8>) -> Option<()> {
        let value = match text {
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            text => text.parse::<f64>().ok()?,
        };
        let may_be_infinite = is_float_word(text);
        match scalar {
            Scalar::Float => {
                let value = text.parse::<f32>().unwrap_or(value as f32);
                out.extend_from_slice(&value.to_le_bytes());
                (value.is_finite() || may_be_infinite).then_some(())
            }
            _ => {
                out.extend_from_slice(&value.to_le_bytes());
                (value.is_finite() || may_be_infinite).then_some(())
            }
        }
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
    fn enum_value(&mut self, plan: &EnumPlan, out: &mut Vec<u8>) -> Result<bool> {
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
    fn well_known(&mut self, known: WellKnown, out: &mut Vec<u8>) -> Result<()> {
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

    fn text<T>(&mut self, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.expect_as(Next::String, expected)?;
        let text = self.parser.string()?;
        parse(&text).ok_or_else(|| self.mismatch(expected, "another string", &text))
    }

    fn expect(&mut self, wanted: Next) -> Result<()> {
        self.expect_as(wanted, wanted.name())
    }

    fn expect_as(&mut self, wanted: Next, expected: &str) -> Result<()> {
        match self.parser.peek()? {
            found if found == wanted => Ok(()),
            found => Err(self.wrong_kind(expected, found)),
        }
    }

    fn wrong_kind(&self, expected: &str, found: Next) -> Box<Complaint> {
        self.complaint(format!("expected {expected}, found {}", found.name()))
    }

    /// A value of the right JSON kind that does not fit; what it is goes to the log only.
    fn mismatch(&self, expected: &str, found: &str, value: &str) -> Box<Complaint> {
        let mut complaint = self.complaint(format!("expected {expected}, found {found}"));
        complaint.value = Some(excerpt(value).into_owned());
        complaint
    }

    fn complaint(&self, what: impl Into<String>) -> Box<Complaint> {
        Complaint::new(self.parser.offset(), what)
    }
}

const STANDARD_BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_SAFE_BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
/// ProtoJSON takes base64 with or without padding.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

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

fn excerpt(value: &str) -> Cow<'_, str> {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &value[..end])),
        None => Cow::Borrowed(value),
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

    fn expected(self) -> &'static str {
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
