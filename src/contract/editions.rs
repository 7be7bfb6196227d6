//! Files of protobuf editions, told in the terms of proto2 and proto3.
//!
//! `prost-reflect` reads descriptors of proto2 and proto3 alone. What an edition says by features (presence,
//! packing, delimited messages) is written as proto2 says it before the descriptors are read; the one thing that
//! proto2 cannot say, a field without presence, is kept beside. What is published stays as it was read.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};

/// Descriptors that `prost-reflect` can read.
pub(super) struct Lowered {
    pub(super) descriptor_set: Bytes,
    /// The full names of singular fields whose default value is the same as none.
    pub(super) implicit: HashSet<String>,
}

/// What the features of a file, a message or a field come to (`google.protobuf.FeatureSet`).
#[derive(Debug, Clone, Copy)]
struct Features {
    presence: Presence,
    packed: bool,
    delimited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Explicit,
    Implicit,
    Required,
}

/// What edition 2023 and its successors begin with.
const DEFAULTS: Features = Features { presence: Presence::Explicit, packed: true, delimited: false };

const TYPE_GROUP: i32 = 10;
const TYPE_MESSAGE: i32 = 11;
/// string, group, message, bytes: what cannot be packed.
const NOT_PACKABLE: [i32; 4] = [9, 10, 11, 12];
const LABEL_REQUIRED: i32 = 2;
const LABEL_REPEATED: i32 = 3;

/// Rewrites the files of `descriptor_set` that have an edition; others are left as they are.
pub(super) fn lower(descriptor_set: &Bytes) -> Result<Lowered, String> {
    let mut implicit = HashSet::new();
    let descriptor = file_descriptor_set().ok_or("the descriptors of descriptors are missing")?;
    let mut set =
        DynamicMessage::decode(descriptor, descriptor_set.clone()).map_err(|error| error.to_string())?;
    let mut changed = false;
    each(&mut set, "file", |file| {
        if text(file, "syntax") == "editions" {
            changed = true;
            lower_file(file, &mut implicit);
        }
    });
    let descriptor_set = if changed { set.encode_to_vec().into() } else { descriptor_set.clone() };
    Ok(Lowered { descriptor_set, implicit })
}

fn file_descriptor_set() -> Option<MessageDescriptor> {
    DescriptorPool::global().get_message_by_name("google.protobuf.FileDescriptorSet")
}

fn lower_file(file: &mut DynamicMessage, implicit: &mut HashSet<String>) {
    file.set_field_by_name("syntax", Value::String("proto2".to_owned()));
    file.clear_field_by_name("edition");
    let features = DEFAULTS.with(file);
    let package = text(file, "package");
    each(file, "message_type", |message| lower_message(message, &package, features, implicit));
    each(file, "extension", |field| lower_field(field, None, features));
}

fn lower_message(
    message: &mut DynamicMessage,
    parent: &str,
    features: Features,
    implicit: &mut HashSet<String>,
) {
    let mut features = features.with(message);
    let name = [parent, &text(message, "name")].join(".");
    let name = name.trim_start_matches('.').to_owned();
    // Maps, and what is in them, stand behind their lengths whatever the features say.
    features.delimited &= !is_map_entry(message);
    let mut entries = Vec::new();
    each(message, "nested_type", |nested| {
        if is_map_entry(nested) {
            entries.push(format!(".{name}.{}", text(nested, "name")));
        }
    });
    each(message, "field", |field| {
        let full_name = format!("{name}.{}", text(field, "name"));
        let is_map = entries.contains(&text(field, "type_name"));
        let features = Features { delimited: features.delimited && !is_map, ..features };
        lower_field(field, Some((full_name, &mut *implicit)), features);
    });
    each(message, "extension", |field| lower_field(field, None, features));
    each(message, "nested_type", |nested| lower_message(nested, &name, features, implicit));
}

/// `implicit` is where a field of a message is noted that has no presence; an extension always has one.
fn lower_field(
    field: &mut DynamicMessage,
    implicit: Option<(String, &mut HashSet<String>)>,
    features: Features,
) {
    let features = features.with(field);
    let kind = number(field, "type");
    let repeated = number(field, "label") == LABEL_REPEATED;
    if features.delimited && kind == TYPE_MESSAGE {
        field.set_field_by_name("type", Value::EnumNumber(TYPE_GROUP));
    }
    if repeated && !NOT_PACKABLE.contains(&kind) {
        set_packed(field, features.packed);
    }
    let singular = !repeated && !field.has_field_by_name("oneof_index") && kind != TYPE_MESSAGE;
    match (features.presence, implicit) {
        (Presence::Required, _) if !repeated => {
            field.set_field_by_name("label", Value::EnumNumber(LABEL_REQUIRED));
        }
        (Presence::Implicit, Some((name, implicit))) if singular => drop(implicit.insert(name)),
        _ => {}
    }
}

fn is_map_entry(message: &DynamicMessage) -> bool {
    let options = message.get_field_by_name("options");
    let options = options.as_ref().and_then(|options| options.as_message());
    options.and_then(|options| options.get_field_by_name("map_entry")?.as_bool()).unwrap_or_default()
}

fn set_packed(field: &mut DynamicMessage, packed: bool) {
    if !field.has_field_by_name("options") {
        let options = field.get_field_by_name("options").map(|options| options.into_owned());
        if let Some(options) = options {
            field.set_field_by_name("options", options);
        }
    }
    if let Some(Value::Message(options)) = field.get_field_by_name_mut("options") {
        options.set_field_by_name("packed", Value::Bool(packed));
    }
}

/// Calls `change` with every message of a repeated field.
fn each(message: &mut DynamicMessage, field: &str, mut change: impl FnMut(&mut DynamicMessage)) {
    let Some(Value::List(list)) = message.get_field_by_name_mut(field) else { return };
    for value in list {
        if let Value::Message(message) = value {
            change(message);
        }
    }
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn number(message: &DynamicMessage, field: &str) -> i32 {
    message.get_field_by_name(field).and_then(|value| value.as_enum_number()).unwrap_or_default()
}

// === impl Features ===

impl Features {
    /// These features, overridden by those that the options of `element` set.
    fn with(mut self, element: &DynamicMessage) -> Self {
        let options = element.get_field_by_name("options");
        let Some(options) = options.as_ref().and_then(|options| options.as_message()) else { return self };
        let features = options.get_field_by_name("features");
        let Some(features) = features.as_ref().and_then(|features| features.as_message()) else {
            return self;
        };
        match number(features, "field_presence") {
            1 => self.presence = Presence::Explicit,
            2 => self.presence = Presence::Implicit,
            3 => self.presence = Presence::Required,
            _ => {}
        }
        match number(features, "repeated_field_encoding") {
            1 => self.packed = true,
            2 => self.packed = false,
            _ => {}
        }
        match number(features, "message_encoding") {
            1 => self.delimited = false,
            2 => self.delimited = true,
            _ => {}
        }
        debug_assert_eq!(features.descriptor().full_name(), "google.protobuf.FeatureSet");
        self
    }
}
