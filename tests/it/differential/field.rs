//! What these tests know of a field, whether its message or an extension declares it, and of whole messages.

use std::fmt;

use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
    Value,
};
use serde_json::{Value as Json, json};

const ANY: &str = "google.protobuf.Any";

#[derive(Debug, Clone)]
pub(super) struct Field {
    /// The name in the `.proto`, and the one in ProtoJSON.
    pub(super) names: [String; 2],
    pub(super) number: u32,
    /// The type of one value; that of a map is its entry.
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// Whether a value equal to the default differs from none.
    pub(super) explicit: bool,
    pub(super) is_group: bool,
    /// The other members of its `oneof`.
    pub(super) rivals: Vec<FieldDescriptor>,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Single,
    List,
    Map,
}

#[derive(Debug, Clone)]
enum Place {
    Field(FieldDescriptor),
    Extension(ExtensionDescriptor),
}

/// All that a message says, to be compared and to be printed: descriptors, which a [`DynamicMessage`] would print
/// too, have no end. Scalars are text, so that NaN equals itself and minus zero is not zero.
#[derive(Clone, PartialEq)]
pub(super) struct Picture(Json);

// === impl Field ===

macro_rules! field {
    ($descriptor:expr, $names:expr, $rivals:expr, $place:path) => {
        Field {
            names: $names.map(str::to_owned),
            number: $descriptor.number(),
            kind: $descriptor.kind(),
            shape: match () {
                () if $descriptor.is_map() => Shape::Map,
                () if $descriptor.is_list() => Shape::List,
                () => Shape::Single,
            },
            explicit: $descriptor.supports_presence(),
            is_group: $descriptor.is_group(),
            rivals: $rivals,
            place: $place($descriptor),
        }
    };
}

impl Field {
    /// Every field and every extension of a message.
    pub(super) fn all(message: &MessageDescriptor) -> Vec<Self> {
        let extension = |e: ExtensionDescriptor| field!(e, [e.json_name(); 2], Vec::new(), Place::Extension);
        message.fields().map(Self::of).chain(message.extensions().map(extension)).collect()
    }

    pub(super) fn of(field: FieldDescriptor) -> Self {
        let oneof = field.containing_oneof();
        let members = oneof.iter().flat_map(|oneof| oneof.fields());
        let rivals = members.filter(|member| *member != field).collect();
        field!(field, [field.name(), field.json_name()], rivals, Place::Field)
    }

    /// Whether it is set, and the value or the default.
    pub(super) fn read(&self, message: &DynamicMessage) -> (bool, Value) {
        match &self.place {
            Place::Field(field) => (message.has_field(field), message.get_field(field).into_owned()),
            Place::Extension(it) => (message.has_extension(it), message.get_extension(it).into_owned()),
        }
    }

    /// The value, if it is set.
    pub(super) fn get(&self, message: &DynamicMessage) -> Option<Value> {
        let (is_set, value) = self.read(message);
        let is_set = match &value {
            // To `prost-reflect` minus zero is zero, which is as good as none.
            Value::F64(value) if !self.explicit => value.to_bits() != 0,
            Value::F32(value) if !self.explicit => value.to_bits() != 0,
            // What `prost-reflect` makes of null for a list of `google.protobuf.Value`.
            Value::Message(_) if self.shape == Shape::List => false,
            // JSON has one null, whatever number was sent.
            Value::EnumNumber(_) if self.is("google.protobuf.NullValue") => {
                return (is_set && self.explicit).then_some(Value::EnumNumber(0));
            }
            _ => is_set,
        };
        is_set.then_some(value)
    }

    pub(super) fn set(&self, message: &mut DynamicMessage, value: Value) {
        match &self.place {
            Place::Field(field) => message.set_field(field, value),
            Place::Extension(extension) => message.set_extension(extension, value),
        }
    }

    /// Whether this is the type of its values.
    pub(super) fn is(&self, name: &str) -> bool {
        match &self.value_kind() {
            Kind::Message(message) => message.full_name() == name,
            Kind::Enum(values) => values.full_name() == name,
            _ => false,
        }
    }

    /// The type of one value, that of a map's values for a map.
    pub(super) fn value_kind(&self) -> Kind {
        match self.kind.as_message() {
            Some(entry) if self.shape == Shape::Map => entry.map_entry_value_field().kind(),
            _ => self.kind.clone(),
        }
    }

    /// Whether JSON writes its values as objects or lists, or as anything.
    pub(super) fn nests(&self) -> bool {
        self.value_kind().as_message().is_some_and(|message| {
            let known = message.full_name().strip_prefix("google.protobuf.").unwrap_or_default();
            !matches!(known, "Timestamp" | "Duration" | "FieldMask") && wrapped(message).is_none()
        })
    }
}

/// The field of a message that JSON writes as the value of its one field.
pub(super) fn wrapped(message: &MessageDescriptor) -> Option<Field> {
    let name = message.full_name().strip_prefix("google.protobuf.")?.strip_suffix("Value")?;
    (!matches!(name, "" | "List")).then(|| Field::of(message.get_field_by_name("value").unwrap()))
}

/// The URL and the message in an `Any`.
pub(super) fn in_any(message: &DynamicMessage) -> Option<(String, DynamicMessage)> {
    let descriptor = message.descriptor();
    if descriptor.full_name() != ANY {
        return None;
    }
    let [url, content] = [1, 2].map(|number| message.get_field_by_number(number).unwrap());
    let url = url.as_str()?.to_owned();
    let inner = descriptor.parent_pool().get_message_by_name(url.rsplit_once('/')?.1)?;
    Some((url, DynamicMessage::decode(inner, content.as_bytes()?.clone()).ok()?))
}

/// A number, a boolean or a text, as Rust prints it.
pub(super) fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => format!("{value:?}").split(['(', ')']).nth(1).unwrap().to_owned(),
    }
}

pub(super) fn key_text(key: &MapKey) -> String {
    scalar_text(&key.clone().into())
}

// === impl Picture ===

impl Picture {
    pub(super) fn of(message: &DynamicMessage) -> Self {
        if message.descriptor().full_name() == ANY && message.has_field_by_number(1) {
            return Self(
                in_any(message).map_or(Json::Null, |(url, inner)| json!({ url: Self::of(&inner).0 })),
            );
        }
        let fields = Field::all(&message.descriptor()).into_iter();
        let set = fields.filter_map(|f| Some((f.names[0].clone(), Self::value(&f.get(message)?))));
        Self(Json::Object(set.collect()))
    }

    fn value(value: &Value) -> Json {
        match value {
            Value::Message(message) => Self::of(message).0,
            Value::List(values) => values.iter().map(Self::value).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|(key, value)| (key_text(key), Self::value(value))).collect())
            }
            scalar => json!(format!("{scalar:?}")),
        }
    }

    /// Whether both are equal but for what gets lost where `serde_json` reads a double: the last digits of doubles
    /// and of long integers with an exponent, and the sign of zero. An `Any` that holds no message is like any other.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        fn double(value: &Json) -> Option<f64> {
            let (kind, digits) = value.as_str()?.strip_suffix(')')?.split_once('(')?;
            let value: f64 = digits.parse().ok()?;
            let is_long = matches!(kind, "I64" | "U64") && value.abs() > 9e15;
            (kind == "F64" || is_long).then_some(value)
        }
        fn alike(a: &Json, b: &Json) -> bool {
            let is_zero = |value: &Json| value == "F64(-0.0)" || value == "F32(-0.0)";
            match (a, b) {
                (Json::Array(a), Json::Array(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
                }
                (Json::Object(a), Json::Object(b)) => {
                    a.iter().all(|(key, a)| b.get(key).map_or(is_zero(a), |b| alike(a, b)))
                        && b.iter().all(|(key, b)| a.contains_key(key) || is_zero(b))
                }
                (Json::Null, _) | (_, Json::Null) => true,
                (a, b) if a == b => true,
                (a, b) => double(a)
                    .zip(double(b))
                    .is_some_and(|(a, b)| (a - b).abs() <= 1e-12 * a.abs() || (a - b).abs() < 1e-300),
            }
        }
        alike(&self.0, &other.0)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
