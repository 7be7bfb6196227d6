//! Queries as Rack reads them, and messages as such a query says them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};
use serde_json::{Map, Value as Json};

use super::field::{Field, key_text, scalar_text, wrapped};

/// What Rack makes of a query: texts, lists of them, and objects.
pub(super) fn parse(query: &str) -> Json {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let mut root = Json::Object(Map::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        let name = decode(name);
        let mut parts = name.split('[');
        let mut place = enter(&mut root, parts.next().unwrap());
        for part in parts {
            place = enter(place, part.strip_suffix(']').unwrap());
        }
        assert!(place.is_null(), "{name} comes twice");
        *place = Json::String(decode(value));
    }
    root
}

/// The place under a key, or after the last element if there is none.
fn enter<'a>(place: &'a mut Json, key: &str) -> &'a mut Json {
    if key.is_empty() {
        *place = Json::Array([place.as_array().cloned().unwrap_or_default(), vec![Json::Null]].concat());
        return place.as_array_mut().unwrap().last_mut().unwrap();
    }
    if place.is_null() {
        *place = Json::Object(Map::new());
    }
    place.as_object_mut().unwrap().entry(key).or_insert(Json::Null)
}

/// The message as such a tree, by proto names. What has nothing in it is not there.
pub(super) fn expected(message: &DynamicMessage) -> Json {
    let fields = Field::all(&message.descriptor()).into_iter();
    object(fields.filter_map(|field| {
        let kind = field.value_kind();
        let tree = match field.get(message)? {
            Value::List(values) => values.iter().map(|value| tree(&kind, value)).collect(),
            Value::Map(entries) => {
                object(entries.iter().map(|(key, value)| (key_text(key), tree(&kind, value))))
            }
            value => tree(&kind, &value),
        };
        Some((field.names[0].clone(), tree))
    }))
}

fn object(members: impl Iterator<Item = (String, Json)>) -> Json {
    let is_empty = |tree: &Json| tree.as_object().is_some_and(Map::is_empty);
    Json::Object(members.filter(|(_, tree)| !is_empty(tree)).collect())
}

fn tree(kind: &Kind, value: &Value) -> Json {
    Json::String(match (kind, value) {
        (_, Value::Message(message)) => match wrapped(&message.descriptor()) {
            Some(field) => return tree(&field.kind, &field.read(message).1),
            None => match serde_json::to_value(message).unwrap() {
                Json::String(text) => text,
                _ => return expected(message),
            },
        },
        (Kind::Enum(values), Value::EnumNumber(number)) => match values.get_value(*number) {
            Some(value) => value.name().to_owned(),
            None => number.to_string(),
        },
        (_, Value::Bytes(bytes)) => URL_SAFE_NO_PAD.encode(bytes),
        (Kind::Float | Kind::Double, value) => {
            let text = scalar_text(value).replace("inf", "Infinity");
            text.strip_suffix(".0").unwrap_or(&text).to_owned()
        }
        (_, value) => scalar_text(value),
    })
}
