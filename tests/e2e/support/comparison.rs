//! Whether a message says what Rails says, field by field and to the last digit.
//!
//! It goes by the names on both sides and knows no message, so it cannot overlook a field: what Rails sends
//! must be in the message, what is in the message Rails must have sent, and null is the same as not set.

use std::collections::BTreeMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use prost_types::Timestamp;
use serde_json::value::RawValue;

type Object<'a> = BTreeMap<String, &'a RawValue>;

/// Panics with everything in which `message` is not what Rails sent.
pub(crate) fn assert_same(rails: &RawValue, message: &DynamicMessage) {
    let differences = differences(rails, message);
    assert!(differences.is_empty(), "not what Rails says:\n  {}", differences.join("\n  "));
}

/// Everything in which `message` is not what Rails sent, each with its place.
pub(crate) fn differences(rails: &RawValue, message: &DynamicMessage) -> Vec<String> {
    let mut found = Vec::new();
    compare_message("$", rails, message, &mut found);
    found
}

fn compare_message(place: &str, rails: &RawValue, message: &DynamicMessage, found: &mut Vec<String>) {
    let Ok(object) = serde_json::from_str::<Object<'_>>(rails.get()) else {
        return found.push(format!("{place}: {rails} is no object"));
    };
    let descriptor = message.descriptor();
    for name in object.keys().filter(|name| descriptor.get_field_by_name(name).is_none()) {
        found.push(format!("{place}.{name}: the message has no such field"));
    }
    for field in descriptor.fields() {
        let place = format!("{place}.{}", field.name());
        let rails = object.get(field.name()).copied().filter(|value| value.get() != "null");
        match (rails, message.has_field(&field)) {
            (None, false) => {}
            (None, true) => {
                found.push(format!("{place}: only the message has {}", message.get_field(&field)))
            }
            // A list without elements is a field that is not set.
            (Some(rails), false) if field.is_list() && rails.get() == "[]" => {}
            (Some(rails), false) => found.push(format!("{place}: {rails} was lost")),
            (Some(rails), true) => compare_field(&place, rails, &field, &message.get_field(&field), found),
        }
    }
}

fn compare_field(
    place: &str,
    rails: &RawValue,
    field: &FieldDescriptor,
    value: &Value,
    found: &mut Vec<String>,
) {
    let Some(elements) = value.as_list() else { return compare_value(place, rails, field, value, found) };
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(rails.get()) else {
        return found.push(format!("{place}: {rails} is no list"));
    };
    if list.len() != elements.len() {
        found.push(format!("{place}: {} elements became {}", list.len(), elements.len()));
    }
    for (index, (rails, value)) in list.iter().zip(elements).enumerate() {
        compare_value(&format!("{place}[{index}]"), rails, field, value, found);
    }
}

fn compare_value(
    place: &str,
    rails: &RawValue,
    field: &FieldDescriptor,
    value: &Value,
    found: &mut Vec<String>,
) {
    let text = || serde_json::from_str::<String>(rails.get()).ok();
    let same = match (field.kind(), value) {
        (Kind::String, Value::String(value)) => text().as_ref() == Some(value),
        (Kind::Int64, Value::I64(value)) => rails.get().parse() == Ok(*value),
        // Bit by bit, so that no zero loses its sign either. Rust's own parser is exact.
        (Kind::Double, Value::F64(value)) => {
            rails.get().parse::<f64>().is_ok_and(|rails| rails.to_bits() == value.to_bits())
        }
        (Kind::Message(kind), Value::Message(value)) if kind.full_name() == "google.protobuf.Timestamp" => {
            let value: Result<Timestamp, _> = value.transcode_to();
            text().and_then(|text| text.parse::<Timestamp>().ok()) == value.ok()
        }
        (Kind::Message(_), Value::Message(value)) => return compare_message(place, rails, value, found),
        (kind, _) => panic!("{place}: this comparison has yet to learn about {kind:?}"),
    };
    if !same {
        found.push(format!("{place}: {rails} became {value}"));
    }
}
