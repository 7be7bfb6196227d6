//! Messages compiled flat: what both directions look up while a call runs.
//!
//! A descriptor is made for reading with care; a plan is made for speed. A [`Schema`] holds one
//! [`MessagePlan`] per message type that the contract reaches, and messages name each other by index, so
//! that recursive types are no special case.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use super::key::Key;
use crate::contract::RestStyle;

/// Every message that the contract reaches.
#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) messages: Vec<MessagePlan>,
    /// What `google.protobuf.Any` may hold, by name; empty if the contract has none.
    pub(super) any: HashMap<String, Kind>,
}

/// The index of a message in its [`Schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId(pub(super) usize);

/// A message type.
#[derive(Debug, Default)]
pub(super) struct MessagePlan {
    /// The fields, sorted by number; their index is their slot.
    pub(super) fields: Vec<FieldPlan>,
    /// JSON names, and proto names that are no other field's JSON name, sorted, each with the slot of its field.
    pub(super) names: Vec<(Box<str>, usize)>,
    /// How many words of 64 bits it takes to mark every field and every `oneof`.
    pub(super) words: usize,
    /// The slot of the field that came next the last time, by the slot before it plus one. It is a guess that saves
    /// looking up names: answers mostly have their fields in one order.
    successors: Box<[AtomicU16]>,
}

/// A field of a message.
#[derive(Debug, Clone)]
pub(super) struct FieldPlan {
    /// The name in the `.proto`; that of an extension is its full name in brackets.
    pub(super) name: String,
    /// The name in ProtoJSON.
    pub(super) json_name: String,
    /// Both names, as a key is mostly written; one that is the JSON name of another field never comes.
    pub(super) keys: [Key; 2],
    /// The number on the wire.
    pub(super) number: u32,
    /// The type of one value.
    pub(super) kind: Kind,
    /// How many values it holds.
    pub(super) shape: Shape,
    /// The `oneof` that it is a member of, by its index in the message.
    pub(super) oneof: Option<usize>,
    /// Whether it is marked `google.api.field_behavior = REQUIRED`.
    pub(super) required: bool,
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
    Enum(Arc<EnumPlan>),
    /// `google.protobuf.NullValue`, which JSON writes as `null`.
    Null,
    /// A message that JSON writes as an object of its fields.
    Message(MessageId),
    /// Such a message that stands between two tags instead of behind its length.
    Group(MessageId),
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
    /// `google.protobuf.Struct`: any object.
    Struct(MessageId),
    /// `google.protobuf.Value`: any value.
    Value(MessageId),
    /// `google.protobuf.ListValue`: any array.
    List(MessageId),
    /// `google.protobuf.Any`: an object that says its type.
    Any(MessageId),
}

/// The values of an enum by name and by number.
#[derive(Debug, Clone, Default)]
pub(super) struct EnumPlan {
    pub(super) by_name: HashMap<String, i32>,
    pub(super) by_number: HashMap<i32, String>,
    /// The number of the value that an unset field reads as.
    pub(super) default: i32,
}

// === impl Schema ===

impl Schema {
    /// The plan of a message.
    pub(super) fn message(&self, id: MessageId) -> &MessagePlan {
        &self.messages[id.0]
    }

    /// What an `Any` holds whose type has this name.
    pub(super) fn in_any(&self, name: &str) -> Option<&Kind> {
        self.any.get(name)
    }
}

// === impl Kind ===

impl Kind {
    /// The fields of the message, where a value is one that is made of other values.
    pub(super) fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Message(id) | Self::Group(id) => Some(*id),
            Self::WellKnown(
                WellKnown::Struct(id) | WellKnown::Value(id) | WellKnown::List(id) | WellKnown::Any(id),
            ) => Some(*id),
            Self::Scalar(_) | Self::Enum(_) | Self::Null | Self::WellKnown(_) => None,
        }
    }
}

// === impl FieldPlan ===

impl FieldPlan {
    /// The name that a style gives it.
    pub(super) fn name_in(&self, style: RestStyle) -> &str {
        match style {
            RestStyle::Rails => &self.name,
            RestStyle::Google => &self.json_name,
        }
    }

    /// Whether it is sent even if nothing was set: marked REQUIRED, and its default is the same as none.
    pub(super) fn is_always_sent(&self) -> bool {
        self.required && self.shape == Shape::Single { explicit: false }
    }
}

// === impl MessagePlan ===

impl MessagePlan {
    pub(super) fn new(fields: Vec<FieldPlan>, names: Vec<(Box<str>, usize)>, oneofs: usize) -> Self {
        let words = (fields.len() + oneofs).div_ceil(64);
        let successors = (0..=fields.len()).map(|slot| AtomicU16::new(u16::try_from(slot).unwrap_or(0)));
        Self { successors: successors.collect(), fields, names, words }
    }

    /// The field that will come next after the one in the slot `place - 1`, if the answer is like the last one.
    #[inline]
    pub(super) fn expected(&self, place: usize) -> Option<(usize, &FieldPlan)> {
        let slot = usize::from(self.successors[place].load(Ordering::Relaxed));
        self.fields.get(slot).map(|field| (slot, field))
    }

    /// Remembers which field came.
    pub(super) fn came(&self, place: usize, slot: usize) {
        if let Ok(slot) = u16::try_from(slot) {
            self.successors[place].store(slot, Ordering::Relaxed);
        }
    }

    /// The slot of the field that JSON calls `name`, by its JSON name, or by its proto name if no other has that one.
    pub(super) fn slot_named(&self, name: &str) -> Option<usize> {
        let at = self.names.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(self.names[at].1)
    }

    /// The slot of the field that the `.proto` calls `name`, which may be the JSON name of another.
    pub(super) fn slot_declared(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The slot of the field with this number.
    pub(super) fn slot_numbered(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }
}

// === impl Scalar ===

impl Scalar {
    /// Whether it is a floating-point number.
    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::Double | Self::Float)
    }
}

// === impl EnumPlan ===

impl EnumPlan {
    /// The number of the value called `name`; letter case counts.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.by_name.get(name).copied()
    }

    /// The name to print for `number`.
    pub(super) fn name(&self, number: i32) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }
}
