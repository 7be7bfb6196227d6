//! Descriptors, compiled into a schema.

use std::collections::HashMap;

use prost_reflect::{
    Cardinality, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind as ProtoKind, MessageDescriptor,
    Value,
};

use super::{
    key::Key,
    plan::{EnumPlan, FieldPlan, Kind, MessageId, MessagePlan, Scalar, Schema, Shape, WellKnown},
};
use crate::contract::Contract;

/// Compiles messages into a [`Schema`].
pub(super) struct Compiler<'a> {
    contract: &'a Contract,
    field_behavior: Option<ExtensionDescriptor>,
    schema: Schema,
    by_name: HashMap<String, MessageId>,
    has_any: bool,
}

// === impl Compiler ===

impl<'a> Compiler<'a> {
    pub(super) fn new(contract: &'a Contract) -> Self {
        let field_behavior = contract.pool().get_extension_by_name("google.api.field_behavior");
        Self { contract, field_behavior, schema: Schema::default(), by_name: HashMap::new(), has_any: false }
    }

    /// Every message of the contract.
    pub(super) fn everything(mut self) -> Schema {
        self.has_any = true;
        self.finish()
    }

    /// Everything that was compiled.
    pub(super) fn finish(mut self) -> Schema {
        if self.has_any {
            let pool = self.contract.pool().clone();
            for message in pool.all_messages().filter(|message| !message.is_map_entry()) {
                let kind = self.kind_of(&message);
                self.schema.any.insert(message.full_name().to_owned(), kind);
            }
        }
        self.schema
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How JSON writes a message, with everything that it reaches compiled.
    pub(super) fn kind_of(&mut self, descriptor: &MessageDescriptor) -> Kind {
        let name = descriptor.full_name().strip_prefix("google.protobuf.");
        let known = match name {
            Some("Timestamp") => WellKnown::Timestamp,
            Some("Duration") => WellKnown::Duration,
            Some("FieldMask") => WellKnown::FieldMask,
            Some("DoubleValue") => WellKnown::Wrapper(Scalar::Double),
            Some("FloatValue") => WellKnown::Wrapper(Scalar::Float),
            Some("Int32Value") => WellKnown::Wrapper(Scalar::Int32),
            Some("Int64Value") => WellKnown::Wrapper(Scalar::Int64),
            Some("UInt32Value") => WellKnown::Wrapper(Scalar::Uint32),
            Some("UInt64Value") => WellKnown::Wrapper(Scalar::Uint64),
            Some("BoolValue") => WellKnown::Wrapper(Scalar::Bool),
            Some("StringValue") => WellKnown::Wrapper(Scalar::String),
            Some("BytesValue") => WellKnown::Wrapper(Scalar::Bytes),
            Some("Struct") => WellKnown::Struct(self.fields_of(descriptor)),
            Some("Value") => WellKnown::Value(self.fields_of(descriptor)),
            Some("ListValue") => WellKnown::List(self.fields_of(descriptor)),
            Some("Any") => {
                self.has_any = true;
                WellKnown::Any(self.fields_of(descriptor))
            }
            _ => return Kind::Message(self.fields_of(descriptor)),
        };
        Kind::WellKnown(known)
    }

    /// The fields of a message, whatever JSON makes of it, with everything that they reach.
    pub(super) fn fields_of(&mut self, descriptor: &MessageDescriptor) -> MessageId {
        if let Some(id) = self.by_name.get(descriptor.full_name()) {
            return *id;
        }
        let id = MessageId(self.schema.messages.len());
        self.schema.messages.push(MessagePlan::default());
        self.by_name.insert(descriptor.full_name().to_owned(), id);

        let mut fields: Vec<_> = descriptor.fields().map(|field| self.field(&field)).collect();
        fields.extend(descriptor.extensions().map(|extension| self.extension(&extension)));
        fields.sort_by_key(|field| field.number);
        let names = names(&mut fields);
        self.schema.messages[id.0] = MessagePlan::new(fields, names, descriptor.oneofs().len());
        id
    }

    fn field(&mut self, field: &FieldDescriptor) -> FieldPlan {
        let shape = match field.cardinality() {
            _ if field.is_map() => Shape::Map,
            Cardinality::Repeated => Shape::List { packed: field.is_packed() },
            Cardinality::Optional | Cardinality::Required => {
                Shape::Single { explicit: self.contract.has_presence(field) }
            }
        };
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let index = |oneof| field.parent_message().oneofs().position(|other| other == oneof);
        FieldPlan {
            name: field.name().to_owned(),
            json_name: field.json_name().to_owned(),
            keys: [Key::new(field.json_name()), Key::new(field.name())],
            number: field.number(),
            kind: self.kind(&field.kind(), field.is_group()),
            shape,
            oneof: oneof.and_then(index),
            required: self.is_required(field),
        }
    }

    fn extension(&mut self, extension: &ExtensionDescriptor) -> FieldPlan {
        let shape = match extension.cardinality() {
            Cardinality::Repeated => Shape::List { packed: extension.is_packed() },
            Cardinality::Optional | Cardinality::Required => Shape::Single { explicit: true },
        };
        FieldPlan {
            name: extension.json_name().to_owned(),
            json_name: extension.json_name().to_owned(),
            keys: [Key::new(extension.json_name()), Key::new(extension.json_name())],
            number: extension.number(),
            kind: self.kind(&extension.kind(), extension.is_group()),
            shape,
            oneof: None,
            required: false,
        }
    }

    fn kind(&mut self, kind: &ProtoKind, is_group: bool) -> Kind {
        match kind {
            ProtoKind::Message(message) if is_group => Kind::Group(self.fields_of(message)),
            ProtoKind::Message(message) => self.kind_of(message),
            ProtoKind::Enum(values) if values.full_name() == "google.protobuf.NullValue" => Kind::Null,
            ProtoKind::Enum(values) => Kind::Enum(EnumPlan::of(values).into()),
            scalar => Kind::Scalar(Scalar::of(scalar)),
        }
    }

    fn is_required(&self, field: &FieldDescriptor) -> bool {
        const REQUIRED: i32 = 2;
        let Some(extension) = &self.field_behavior else { return false };
        let options = field.options();
        let behaviors = options.get_extension(extension);
        behaviors.as_list().is_some_and(|list| list.contains(&Value::EnumNumber(REQUIRED)))
    }
}

/// What JSON may call the fields: each by its JSON name, and by its proto name unless that is another's JSON name.
fn names(fields: &mut [FieldPlan]) -> Vec<(Box<str>, usize)> {
    let by_slot = fields.iter().enumerate();
    let mut names: HashMap<Box<str>, usize> =
        by_slot.map(|(slot, field)| (field.json_name.as_str().into(), slot)).collect();
    for (slot, field) in fields.iter_mut().enumerate() {
        if *names.entry(field.name.as_str().into()).or_insert(slot) != slot {
            field.keys[1] = Key::never();
        }
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names
}

// === impl Scalar ===

impl Scalar {
    fn of(kind: &ProtoKind) -> Self {
        match kind {
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
            ProtoKind::Message(_) | ProtoKind::Enum(_) => unreachable!("these are no scalars"),
        }
    }
}

// === impl EnumPlan ===

impl EnumPlan {
    fn of(descriptor: &EnumDescriptor) -> Self {
        let mut plan = Self { default: descriptor.default_value().number(), ..Self::default() };
        for value in descriptor.values() {
            plan.by_name.insert(value.name().to_owned(), value.number());
            // Of several names for one number, the first declared is the one to print.
            plan.by_number.entry(value.number()).or_insert_with(|| value.name().to_owned());
        }
        plan
    }
}
