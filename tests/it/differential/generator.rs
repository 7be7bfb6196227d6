//! Messages of any type, made from its descriptor: every kind of value, mostly at its edges.

use std::{fmt, ops::RangeInclusive};

use proptest::{collection, prelude::*, sample::select, strategy::Union};
use prost::Message;
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::field::{Field, Picture, Shape};
use crate::support::Kitchen;

/// A message, with the method that takes and answers it.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) method: &'static str,
    pub(super) message: DynamicMessage,
}

/// What may be in a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Everything,
    /// What Rack can tell apart: no extensions, lists of messages, free JSON, or brackets in keys.
    Query,
}

/// A message of the kitchen.
pub(super) fn samples() -> impl Strategy<Value = Sample> {
    prop_oneof![3 => sample("Weigh", Scope::Everything), 1 => sample("Stock", Scope::Everything)]
}

/// A message that a query can carry.
pub(super) fn samples_for_a_query() -> impl Strategy<Value = Sample> {
    sample("WeighByQuery", Scope::Query)
}

fn sample(method: &'static str, scope: Scope) -> impl Strategy<Value = Sample> {
    let input = Kitchen::open().input(method);
    message(&input, 3, scope).prop_map(move |message| Sample { method, message })
}

/// A message that nests messages so deep.
fn message(descriptor: &MessageDescriptor, depth: u32, scope: Scope) -> BoxedStrategy<DynamicMessage> {
    let sign = select(vec![1, -1]);
    let time = |seconds: i64, nanos: i32| vec![Value::I64(seconds), Value::I32(nanos)];
    let values = match descriptor.full_name().strip_prefix("google.protobuf.").unwrap_or_default() {
        "Timestamp" => (edges(-62_135_596_800..=253_402_300_799_i64), nanos())
            .prop_map(move |(seconds, nanos)| time(seconds, nanos))
            .boxed(),
        "Duration" => (edges(0..=315_576_000_000_i64), nanos(), sign)
            .prop_map(move |(seconds, nanos, sign)| time(seconds * i64::from(sign), nanos * sign))
            .boxed(),
        "FieldMask" => collection::vec("[a-z]{1,3}(_[a-z][a-z0-9]?){0,2}(\\.[a-z](_[a-z])?)?", 0..4)
            .prop_map(|paths| vec![Value::List(paths.into_iter().map(Value::String).collect())])
            .boxed(),
        "Any" => any_content(descriptor, depth, scope),
        _ => return generic(descriptor, depth, scope),
    };
    let descriptor = descriptor.clone();
    let build = move |values: Vec<Value>| {
        let mut message = DynamicMessage::new(descriptor.clone());
        (1..).zip(values).for_each(|(number, value)| message.set_field_by_number(number, value));
        message
    };
    values.prop_map(build).boxed()
}

/// A message of which any fields are set. A `Value` has one; it is finite, since JSON has no other numbers.
fn generic(descriptor: &MessageDescriptor, depth: u32, scope: Scope) -> BoxedStrategy<DynamicMessage> {
    let fields = Field::all(descriptor).into_iter();
    let often = if fields.len() < 5 { 0.8 } else { 0.1 };
    let fields = fields.filter(|field| (depth > 0 || !field.nests()) && scope.has(field));
    let set = fields.map(|field| values(&field, depth, scope).prop_map(move |value| (field.clone(), value)));
    let set = if descriptor.full_name() == "google.protobuf.Value" {
        let finite = |(_, value): &(Field, Value)| value.as_f64().is_none_or(f64::is_finite);
        Union::new(set).prop_filter("finite", finite).prop_map(|set| vec![Some(set)]).boxed()
    } else {
        set.map(|set| prop::option::weighted(often, set)).collect::<Vec<_>>().boxed()
    };
    let descriptor = descriptor.clone();
    let build = move |set: Vec<Option<(Field, Value)>>| {
        let mut message = DynamicMessage::new(descriptor.clone());
        set.into_iter().flatten().for_each(|(field, value)| field.set(&mut message, value));
        message
    };
    set.prop_map(build).boxed()
}

/// The URL and the bytes of an `Any` that holds one of some types, or nothing.
fn any_content(any: &MessageDescriptor, depth: u32, scope: Scope) -> BoxedStrategy<Vec<Value>> {
    const TYPES: [&str; 8] = [
        "kitchen.v1.Dish",
        "kitchen.v1.Pantry",
        "google.protobuf.Duration",
        "google.protobuf.Int64Value",
        "google.protobuf.Empty",
        "google.protobuf.Struct",
        "google.protobuf.Value",
        "google.protobuf.Any",
    ];
    let types = TYPES.into_iter().filter(|name| depth > 0 || *name != any.full_name());
    let holding = types.map(|name| {
        let inner = any.parent_pool().get_message_by_name(name).unwrap();
        message(&inner, depth.saturating_sub(1), scope).prop_map(move |inner| {
            let url = format!("type.googleapis.com/{name}");
            vec![Value::String(url), Value::Bytes(inner.encode_to_vec().into())]
        })
    });
    prop_oneof![1 => Just(Vec::new()), 15 => Union::new(holding)].boxed()
}

fn values(field: &Field, depth: u32, scope: Scope) -> BoxedStrategy<Value> {
    let single = value(&field.value_kind(), depth, scope);
    match (field.shape, field.kind.as_message()) {
        (Shape::Map, Some(entry)) => {
            let key = map_key(&entry.map_entry_key_field().kind(), scope);
            collection::hash_map(key, single, 1..4).prop_map(Value::Map).boxed()
        }
        (Shape::List, _) => collection::vec(single, 1..4).prop_map(Value::List).boxed(),
        _ => single,
    }
}

fn map_key(kind: &Kind, scope: Scope) -> BoxedStrategy<MapKey> {
    match (kind, scope) {
        (Kind::String, Scope::Query) => "[^\\[\\]]{1,4}".prop_map(MapKey::String).boxed(),
        (kind, _) => value(kind, 0, scope).prop_map(|value| value.into_map_key().unwrap()).boxed(),
    }
}

fn value(kind: &Kind, depth: u32, scope: Scope) -> BoxedStrategy<Value> {
    use Kind::{Fixed32, Fixed64, Int32, Int64, Sfixed32, Sfixed64, Sint32, Sint64, Uint32, Uint64};
    match kind {
        Int32 | Sint32 | Sfixed32 => edges(i32::MIN..=i32::MAX).prop_map(Value::I32).boxed(),
        Int64 | Sint64 | Sfixed64 => edges(i64::MIN..=i64::MAX).prop_map(Value::I64).boxed(),
        Uint32 | Fixed32 => edges(0..=u32::MAX).prop_map(Value::U32).boxed(),
        Uint64 | Fixed64 => edges(0..=u64::MAX).prop_map(Value::U64).boxed(),
        Kind::Double => doubles().prop_map(Value::F64).boxed(),
        Kind::Float => floats().prop_map(Value::F32).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => texts().prop_map(Value::String).boxed(),
        Kind::Bytes => {
            let byte = prop_oneof![any::<u8>(), select(vec![0, 0xff, 0xfb, 0xef])];
            collection::vec(byte, 0..6).prop_map(|bytes| Value::Bytes(bytes.into())).boxed()
        }
        Kind::Enum(values) => select(numbers(values)).prop_map(Value::EnumNumber).boxed(),
        Kind::Message(inner) => {
            message(inner, depth.saturating_sub(1), scope).prop_map(Value::Message).boxed()
        }
    }
}

/// The numbers of an enum, and of an open one some that have no name. `NullValue` has no more in JSON.
fn numbers(values: &EnumDescriptor) -> Vec<i32> {
    let is_open = values.full_name() == "kitchen.v1.Size";
    let unnamed = if is_open { &[-1, 7, i32::MIN, i32::MAX][..] } else { &[] };
    values.values().map(|value| value.number()).chain(unnamed.iter().copied()).collect()
}

fn texts() -> impl Strategy<Value = String> {
    let control = prop::char::range('\0', '\u{1f}');
    let odd = prop_oneof![any::<char>(), control, select(vec!['"', '\\', '/', '\u{10ffff}'])];
    let odd = collection::vec(odd, 0..20).prop_map(String::from_iter);
    let telling = select(vec!["", "NaN", "1.50", "null", "@type"]).prop_map(str::to_owned);
    prop_oneof!["[a-z]{1,20}", odd, telling]
}

fn edges<T>(range: RangeInclusive<T>) -> BoxedStrategy<T>
where
    T: Copy + fmt::Debug + PartialOrd + From<u8> + 'static,
    RangeInclusive<T>: Strategy<Value = T>,
{
    let edges = select(vec![T::from(0), *range.start(), *range.end()]);
    prop_oneof![2 => edges, 1 => (0..=200_u8).prop_map(T::from), 1 => range].boxed()
}

fn nanos() -> impl Strategy<Value = i32> {
    prop_oneof![edges(0..=999).prop_map(|n| n * 1_000_000), edges(0..=999_999_999)]
}

fn doubles() -> impl Strategy<Value = f64> {
    let large = vec![1e21, 1e22, 1e23, 9_007_199_254_740_993.0, f64::MIN, f64::MAX, f64::INFINITY];
    let small = vec![0.0, -0.0, 0.1, f64::MIN_POSITIVE, 5e-324, f64::NAN, f64::NEG_INFINITY];
    let decimals = (-100_000_i32..100_000).prop_map(|n| f64::from(n) / 100.0);
    prop_oneof![select(large), select(small), decimals, -1e3..1e3, any::<u64>().prop_map(f64::from_bits)]
}

fn floats() -> impl Strategy<Value = f32> {
    let large = vec![16_777_217.0, f32::MIN, f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
    let small = vec![0.0, -0.0, 0.1, f32::MIN_POSITIVE, 1e-45, f32::NAN];
    prop_oneof![select(large), select(small), any::<u32>().prop_map(f32::from_bits)]
}

// === impl Sample ===

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.method, Picture::of(&self.message))
    }
}

// === impl Scope ===

impl Scope {
    fn has(self, field: &Field) -> bool {
        let is_list = field.nests() && field.shape == Shape::List;
        let is_free = ["Struct", "Value", "ListValue", "Any"]
            .iter()
            .any(|name| field.is(&format!("google.protobuf.{name}")));
        self == Self::Everything || !(is_list || is_free || field.names[0].starts_with('['))
    }
}
