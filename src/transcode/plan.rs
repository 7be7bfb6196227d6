//! Messages compiled flat: what both directions look up while a call runs.
//!
//! A descriptor is made for reading with care; a plan is made for speed. A [`Schema`] holds one
//! [`MessagePlan`] per message type that the contract reaches, and messages name each other by index, so
//! that recursive types are no special case.

use std::collections::HashMap;

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind as ProtoKind, MessageDescriptor};

/// Every message that the contract reaches.
#[derive(Debug, Default)]
pub(super) struct Schema {
    messages: Vec<MessagePlan>,
    by_name: HashMap<String, MessageId>,
    unsupported: Vec<Unsupported>,
}

/// The index of a message in its [`Schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId(usize);

/// A field that cannot be transcoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsupported {
    /// The full name of the field.
    pub(super) field: String,
    /// Its type.
    pub(super) kind: String,
}

/// A message type.
#[derive(Debug, Default)]
pub(super) struct MessagePlan {
    /// The fields, sorted by number; their index is their slot.
    pub(super) fields: Vec<FieldPlan>,
    /// Proto names and JSON names, sorted, each with the slot of its field.
    names: Vec<(String, usize)>,
}

/// A field of a message.
#[derive(Debug, Clone)]
pub(super) struct FieldPlan {
    /// The name in the `.proto`.
    pub(super) name: String,
    /// The number on the wire.
    pub(super) number: u32,
    /// The type of one value.
    pub(super) kind: Kind,
    /// How many values it holds.
    pub(super) shape: Shape,
    /// The `oneof` that it is a member of, by its index in the message.
    pub(super) oneof: Option<usize>,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value, and whether a value equal to the default differs from none.
    Single {
        /// Whether a value equal to the default is sent.
        explicit: bool,
    },
    /// A list, and whether it is written in packed form.
    List {
        /// Whether it is written in packed form.
        packed: bool,
    },
    /// A map; the kind is the entry message, with the key in slot 0 and the value in slot 1.
    Map,
}

/// The type of one value.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A scalar.
    Scalar(Scalar),
    /// An enum.
    Enum(EnumPlan),
    /// A message that JSON writes as an object of its fields.
    Message(MessageId),
    /// A message that JSON writes in a way of its own.
    WellKnown(WellKnown),
}

/// The scalar types of protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it: https://protobuf.dev/programming-guides/proto3/#scalar
pub(super) enum Scalar {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
}

/// The well-known types whose JSON form is not an object of their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WellKnown {
    /// `google.protobuf.Timestamp`: RFC 3339 text.
    Timestamp,
    /// `google.protobuf.Duration`: seconds with the suffix `s`.
    Duration,
    /// `google.protobuf.FieldMask`: paths in lowerCamelCase, joined by commas.
    FieldMask,
    /// `google.protobuf.Int64Value` and its like: the bare value.
    Wrapper(Scalar),
}

/// The values of an enum by name and by number.
#[derive(Debug, Clone, Default)]
pub(super) struct EnumPlan {
    by_name: HashMap<String, i32>,
    by_number: HashMap<i32, String>,
    /// The number of the value that an unset field reads as.
    pub(super) default: i32,
}

// === impl Schema ===

impl Schema {
    /// Compiles `descriptor` and everything it reaches, once.
    pub(super) fn compile(&mut self, descriptor: &MessageDescriptor) -> MessageId {
        if let Some(id) = self.by_name.get(descriptor.full_name()) {
            return *id;
        }
        let id = MessageId(self.messages.len());
        self.messages.push(MessagePlan::default());
        self.by_name.insert(descriptor.full_name().to_owned(), id);

        let mut fields: Vec<_> = descriptor.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        let plans: Vec<_> = fields.iter().map(|field| self.field(field)).collect();
        let mut names: Vec<_> = (fields.iter().enumerate())
            .flat_map(|(slot, field)| [(field.name().to_owned(), slot), (field.json_name().to_owned(), slot)])
            .collect();
        names.sort_unstable();
        names.dedup();
        self.messages[id.0] = MessagePlan { fields: plans, names };
        id
    }

    /// The plan of a message.
    pub(super) fn message(&self, id: MessageId) -> &MessagePlan {
        &self.messages[id.0]
    }

    /// What was met while compiling that cannot be transcoded, and clears it.
    pub(super) fn take_unsupported(&mut self) -> Vec<Unsupported> {
        std::mem::take(&mut self.unsupported)
    }

    fn field(&mut self, field: &FieldDescriptor) -> FieldPlan {
        let kind = self.kind(field);
        let shape = match field.cardinality() {
            _ if field.is_map() => Shape::Map,
            Cardinality::Repeated => Shape::List { packed: field.is_packed() },
            Cardinality::Optional | Cardinality::Required => {
                Shape::Single { explicit: field.supports_presence() }
            }
        };
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let index = |oneof| field.parent_message().oneofs().position(|other| other == oneof);
        FieldPlan {
            name: field.name().to_owned(),
            number: field.number(),
            kind,
            shape,
            oneof: oneof.and_then(index),
        }
    }

    fn kind(&mut self, field: &FieldDescriptor) -> Kind {
        if let Some(scalar) = Scalar::of(&field.kind()) {
            return Kind::Scalar(scalar);
        }
        match field.kind() {
            ProtoKind::Message(message) => {
                let own_form =
                    message.package_name() == "google.protobuf" || message.package_name() == "google.api";
                if field.is_group() || (own_form && is_unsupported(message.name())) {
                    self.refuse(field, message.full_name());
                }
                match WellKnown::of(message.full_name()) {
                    Some(known) => Kind::WellKnown(known),
                    None => Kind::Message(self.compile(&message)),
                }
            }
            ProtoKind::Enum(values) => {
                if values.full_name() == "google.protobuf.NullValue" {
                    self.refuse(field, values.full_name());
                }
                Kind::Enum(EnumPlan::new(&values))
            }
            _ => unreachable!("every other kind is a scalar"),
        }
    }

    fn refuse(&mut self, field: &FieldDescriptor, kind: &str) {
        let kind = if field.is_group() { "group".to_owned() } else { kind.to_owned() };
        self.unsupported.push(Unsupported { field: field.full_name().to_owned(), kind });
    }
}

/// Types whose JSON is free in form; as plain messages they would be transcoded wrongly in silence.
fn is_unsupported(name: &str) -> bool {
    matches!(name, "Any" | "Struct" | "Value" | "ListValue" | "HttpBody")
}

// === impl MessagePlan ===

impl MessagePlan {
    /// The slot of the field that JSON calls `name`, by its proto name or its JSON name.
    pub(super) fn slot_named(&self, name: &str) -> Option<usize> {
        let at = self.names.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(self.names[at].1)
    }

    /// The slot of the field with this number.
    pub(super) fn slot_numbered(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

// === impl Scalar ===

impl Scalar {
    fn of(kind: &ProtoKind) -> Option<Self> {
        Some(match kind {
            ProtoKind::Double => Self::Double,
            ProtoKind::Float => Self::Float,
            ProtoKind::Int32 => Self::Int32,
            ProtoKind::Int64 => Self::Int64,
            ProtoKind::Uint32 => Self::Uint32,
            ProtoKind::Uint64 => Self::Uint64,
            ProtoKind::Sint32 => Self::Sint32,
            ProtoKind::Sint64 => Self::Sint64,
            ProtoKind::Fixed32 => Self::Fixed32,
            ProtoKind::Fixed64 => Self::Fixed64,
            ProtoKind::Sfixed32 => Self::Sfixed32,
            ProtoKind::Sfixed64 => Self::Sfixed64,
            ProtoKind::Bool => Self::Bool,
            ProtoKind::String => Self::String,
            ProtoKind::Bytes => Self::Bytes,
            ProtoKind::Message(_) | ProtoKind::Enum(_) => return None,
        })
    }

    /// Whether it is a floating-point number.
    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::Double | Self::Float)
    }
}

// === impl WellKnown ===

impl WellKnown {
    fn of(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("google.protobuf.")? {
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "FieldMask" => Self::FieldMask,
            "DoubleValue" => Self::Wrapper(Scalar::Double),
            "FloatValue" => Self::Wrapper(Scalar::Float),
            "Int32Value" => Self::Wrapper(Scalar::Int32),
            "Int64Value" => Self::Wrapper(Scalar::Int64),
            "UInt32Value" => Self::Wrapper(Scalar::Uint32),
            "UInt64Value" => Self::Wrapper(Scalar::Uint64),
            "BoolValue" => Self::Wrapper(Scalar::Bool),
            "StringValue" => Self::Wrapper(Scalar::String),
            "BytesValue" => Self::Wrapper(Scalar::Bytes),
            _ => return None,
        })
    }
}

// === impl EnumPlan ===

impl EnumPlan {
    fn new(descriptor: &EnumDescriptor) -> Self {
        let mut plan = Self { default: descriptor.default_value().number(), ..Self::default() };
        for value in descriptor.values() {
            plan.by_name.insert(value.name().to_owned(), value.number());
            // Of several names for one number, the first declared is the one to print.
            plan.by_number.entry(value.number()).or_insert_with(|| value.name().to_owned());
        }
        plan
    }

    /// The number of the value called `name`; letter case counts.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }

    /// The name to print for `number`.
    pub(super) fn name(&self, number: i32) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }
}
