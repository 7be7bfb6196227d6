//! Values from the wire, typed by their plan: what paths, queries and JSON bodies print.

use std::collections::{HashMap, hash_map::Entry};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    number,
    plan::{EnumPlan, Kind, MessageId, Scalar, Schema, WellKnown},
    view::View,
    well_known::{self, Time},
    wire::{self, Value, WireError},
};

/// A value that is neither a message nor a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leaf<'a> {
    /// Up to 32 bits, which JSON writes as a number.
    Int(i64),
    /// 64 bits, which JSON writes in quotes so that no reader rounds it.
    Long(i128),
    Double(f64),
    Float(f32),
    Bool(bool),
    Text(&'a str),
    /// Text that the value spells: a time, a duration, the name of an enum value.
    Spelled(String),
    Bytes(&'a [u8]),
    /// The one value of `google.protobuf.NullValue`.
    Null,
}

/// Why a value cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeafError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A time, duration or mask that JSON cannot write.
    #[error("{0}")]
    Range(&'static str),
}

// === impl Leaf ===

impl<'a> Leaf<'a> {
    /// Reads one value; `None` if it is laid out in another way than its type, which a view leaves out.
    pub(super) fn read(kind: &Kind, value: Value<'a>) -> Result<Option<Self>, LeafError> {
        match (kind, value) {
            (Kind::Scalar(scalar), value) => Ok(Self::scalar(*scalar, value)?),
            (Kind::Enum(plan), Value::Varint(value)) => Ok(Some(Self::enum_value(plan, value))),
            (Kind::WellKnown(known), Value::Bytes(bytes)) => Self::well_known(*known, [bytes]).map(Some),
            (Kind::Null, Value::Varint(_)) => Ok(Some(Self::Null)),
            (Kind::Enum(_) | Kind::Null | Kind::WellKnown(_) | Kind::Message(_) | Kind::Group(_), _) => {
                Ok(None)
            }
        }
    }

    /// The value of a single field that is no message, if it was sent.
    pub(super) fn single(view: &View<'a>, slot: usize, kind: &Kind) -> Result<Option<Self>, LeafError> {
        match (kind, view.last(slot)) {
            (Kind::WellKnown(known), Some(_)) => {
                Self::well_known(*known, view.all(slot).filter_map(Value::bytes)).map(Some)
            }
            (kind, Some(value)) => Self::read(kind, value),
            (_, None) => Ok(None),
        }
    }

    /// The value of a single field that is no message, or its default.
    pub(super) fn or_default(view: &View<'a>, slot: usize, kind: &Kind) -> Result<Self, LeafError> {
        Ok(Self::single(view, slot, kind)?.or_else(|| Self::default(kind)).unwrap_or(Self::Text("")))
    }

    /// The values of a list that holds no messages, packed or not, one after the other: a few bytes may hold millions.
    pub(super) fn list<'v>(
        view: &'v View<'a>,
        slot: usize,
        kind: &'v Kind,
    ) -> impl Iterator<Item = Result<Self, LeafError>> + use<'v, 'a> {
        let values = view.all(slot).flat_map(|value| {
            let (packed, single) = match value {
                Value::Bytes(packed) if kind.wire_type() != wire::Type::Bytes => (Some(packed), None),
                value => (None, Some(Ok(value))),
            };
            packed.into_iter().flat_map(|packed| wire::unpack(packed, kind.wire_type())).chain(single)
        });
        values
            .filter_map(|value| value.map_err(LeafError::from).and_then(|v| Self::read(kind, v)).transpose())
    }

    /// The value that stands for none; a message is no leaf and has none.
    pub(super) fn default(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Scalar(Scalar::String) => Some(Self::Text("")),
            Kind::Scalar(Scalar::Bytes) => Some(Self::Bytes(&[])),
            Kind::Scalar(scalar) => {
                let zero = match scalar.wire_type() {
                    wire::Type::Fixed64 => Value::Fixed64(0),
                    wire::Type::Fixed32 => Value::Fixed32(0),
                    _ => Value::Varint(0),
                };
                Self::scalar(*scalar, zero).ok().flatten()
            }
            Kind::Enum(plan) => Some(Self::enum_number(plan, plan.default)),
            Kind::Null => Some(Self::Null),
            kind if kind.message_id().is_some() => None,
            Kind::WellKnown(known) => Self::well_known(*known, []).ok(),
            Kind::Message(_) | Kind::Group(_) => None,
        }
    }

    /// Whether it equals the default of its type.
    pub(super) fn is_default(&self, kind: &Kind) -> bool {
        match self {
            // Minus zero is a value of its own.
            Self::Double(value) => value.to_bits() == 0,
            Self::Float(value) => value.to_bits() == 0,
            other => Self::default(kind).as_ref() == Some(other),
        }
    }

    /// As a path or a query writes it, before percent-encoding. Bytes are URL-safe base64 without padding.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) => number::double_text(*value),
            Self::Float(value) => number::single_text(*value),
            Self::Bool(value) => value.to_string(),
            Self::Text(text) => (*text).to_owned(),
            Self::Spelled(text) => text.clone(),
            Self::Bytes(bytes) => URL_SAFE_NO_PAD.encode(bytes),
            Self::Null => "NULL_VALUE".to_owned(),
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // as the wire format defines
    fn scalar(scalar: Scalar, value: Value<'a>) -> Result<Option<Self>, WireError> {
        Ok(Some(match (scalar, value) {
            (Scalar::Double, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
            (Scalar::Float, Value::Fixed32(bits)) => Self::Float(f32::from_bits(bits)),
            (Scalar::Int32, Value::Varint(value)) => Self::Int(i64::from(value as i32)),
            (Scalar::Int64, Value::Varint(value)) => Self::Long(i128::from(value as i64)),
            (Scalar::Uint32, Value::Varint(value)) => Self::Int(i64::from(value as u32)),
            (Scalar::Uint64, Value::Varint(value)) => Self::Long(i128::from(value)),
            (Scalar::Sint32, Value::Varint(value)) => {
                Self::Int(i64::from(zigzag(u64::from(value as u32)) as i32))
            }
            (Scalar::Sint64, Value::Varint(value)) => Self::Long(i128::from(zigzag(value))),
            (Scalar::Fixed32, Value::Fixed32(value)) => Self::Int(i64::from(value)),
            (Scalar::Fixed64, Value::Fixed64(value)) => Self::Long(i128::from(value)),
            (Scalar::Sfixed32, Value::Fixed32(value)) => Self::Int(i64::from(value as i32)),
            (Scalar::Sfixed64, Value::Fixed64(value)) => Self::Long(i128::from(value as i64)),
            (Scalar::Bool, Value::Varint(value)) => Self::Bool(value != 0),
            (Scalar::String, Value::Bytes(bytes)) => {
                Self::Text(std::str::from_utf8(bytes).map_err(|_| WireError::Utf8)?)
            }
            (Scalar::Bytes, Value::Bytes(bytes)) => Self::Bytes(bytes),
            _ => return Ok(None),
        }))
    }

    #[allow(clippy::cast_possible_truncation)] // enum values are the low 32 bits
    fn enum_value(plan: &EnumPlan, value: u64) -> Self {
        Self::enum_number(plan, value as i32)
    }

    /// The name, or the number where the contract knows no name.
    fn enum_number(plan: &EnumPlan, number: i32) -> Self {
        match plan.name(number) {
            Some(name) => Self::Spelled(name.to_owned()),
            None => Self::Int(i64::from(number)),
        }
    }

    /// Reads a well-known message from all the parts it was sent in.
    pub(super) fn well_known(
        known: WellKnown,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, LeafError> {
        match known {
            WellKnown::Timestamp => well_known::format_timestamp(read_time(parts)?)
                .map(Self::Spelled)
                .ok_or(LeafError::Range("must be a time in the years 1 to 9999")),
            WellKnown::Duration => well_known::format_duration(read_time(parts)?)
                .map(Self::Spelled)
                .ok_or(LeafError::Range("must be a duration of at most 10,000 years with one sign")),
            WellKnown::FieldMask => {
                let mut paths = Vec::new();
                for value in values(parts, 1)? {
                    if let Some(Self::Text(path)) = Self::scalar(Scalar::String, value)? {
                        let path = well_known::mask_path_to_json(path);
                        paths.push(path.ok_or(LeafError::Range("must name fields in snake_case"))?);
                    }
                }
                Ok(Self::Spelled(paths.join(",")))
            }
            WellKnown::Wrapper(scalar) => {
                let mut leaf = Self::default(&Kind::Scalar(scalar));
                for value in values(parts, 1)? {
                    leaf = Self::scalar(scalar, value)?.or(leaf);
                }
                leaf.ok_or(LeafError::Wire(WireError::Tag))
            }
            WellKnown::Struct(_) | WellKnown::Value(_) | WellKnown::List(_) | WellKnown::Any(_) => {
                unreachable!("these are made of other values, so they are no leaves")
            }
        }
    }
}

/// The entries of a map, each with the text of its key. A key or a value that is missing from an entry is its
/// default; of equal keys the last one counts.
pub(super) fn entries<'a>(
    schema: &'a Schema,
    view: &View<'a>,
    slot: usize,
    entry: MessageId,
) -> Result<Vec<(String, View<'a>)>, LeafError> {
    let mut entries: Vec<(String, View<'a>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for bytes in view.all(slot).filter_map(Value::bytes) {
        let entry = view.element(schema, entry, bytes)?;
        let key = Leaf::or_default(&entry, 0, &entry.plan.fields[0].kind)?.text();
        match places.entry(key.clone()) {
            Entry::Occupied(place) => entries[*place.get()].1 = entry,
            Entry::Vacant(place) => {
                place.insert(entries.len());
                entries.push((key, entry));
            }
        }
    }
    Ok(entries)
}

/// Every value of field `number`, from all parts.
fn values<'a>(parts: impl IntoIterator<Item = &'a [u8]>, number: u32) -> Result<Vec<Value<'a>>, WireError> {
    let mut found = Vec::new();
    for bytes in parts {
        wire::each_field(bytes, |other, value| {
            if other == number {
                found.push(value);
            }
        })?;
    }
    Ok(found)
}

/// The seconds and nanoseconds of a Timestamp or Duration.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // as the wire format defines
fn read_time<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Time, WireError> {
    let mut time = Time { seconds: 0, nanos: 0 };
    for bytes in parts {
        wire::each_field(bytes, |number, value| match (number, value) {
            (1, Value::Varint(value)) => time.seconds = value as i64,
            (2, Value::Varint(value)) => time.nanos = value as i32,
            _ => {}
        })?;
    }
    Ok(time)
}

#[allow(clippy::cast_possible_wrap)] // the encoding of signed integers
fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
