//! A message on the wire, sorted by field: what requests are read from.
//!
//! It borrows everything. A message that was sent in parts is read part after part as one, which is how
//! protobuf merges, so there is nothing to build.

use super::{
    plan::{FieldPlan, MessageId, MessagePlan, Schema, Shape},
    wire::{self, MAX_DEPTH, Type, Value, WireError},
};

/// A message sorted by field: what was sent for each slot, in the order it came.
///
/// A message that was sent in several parts is read as one, which is how protobuf merges.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) plan: &'a MessagePlan,
    values: Vec<(usize, Value<'a>)>,
    depth: usize,
}

/// Which member of each `oneof` was sent last: setting one clears the others.
#[derive(Default)]
struct Choices(Vec<Choice>);

struct Choice {
    oneof: usize,
    slot: usize,
    /// The index of the first value that counts.
    since: usize,
}

// === impl View ===

impl<'a> View<'a> {
    /// Reads the message `id` from its bytes.
    pub(super) fn read(schema: &'a Schema, id: MessageId, bytes: &'a [u8]) -> Result<Self, WireError> {
        Self::merge(schema, id, [bytes], 0)
    }

    fn merge(
        schema: &'a Schema,
        id: MessageId,
        parts: impl IntoIterator<Item = &'a [u8]>,
        depth: usize,
    ) -> Result<Self, WireError> {
        if depth > MAX_DEPTH {
            return Err(WireError::Depth);
        }
        let plan = schema.message(id);
        let mut values = Vec::new();
        let mut choices = Choices::default();
        for bytes in parts {
            wire::each_field(bytes, |number, value| {
                let slot = plan.slot_numbered(number);
                if let Some(slot) = slot.filter(|slot| fits(&plan.fields[*slot], value)) {
                    choices.note(plan, slot, values.len());
                    values.push((slot, value));
                }
            })?;
        }
        choices.keep_last(plan, &mut values);
        // Stable: what was sent for one field stays in order.
        values.sort_by_key(|(slot, _)| *slot);
        Ok(Self { plan, values, depth })
    }

    /// The values sent for `slot`, in order.
    pub(super) fn all(&self, slot: usize) -> impl DoubleEndedIterator<Item = Value<'a>> + '_ {
        let start = self.values.partition_point(|(other, _)| *other < slot);
        let end = self.values.partition_point(|(other, _)| *other <= slot);
        self.values[start..end].iter().map(|(_, value)| *value)
    }

    /// The last value sent for `slot`, which is the one that counts.
    pub(super) fn last(&self, slot: usize) -> Option<Value<'a>> {
        self.all(slot).next_back()
    }

    /// Whether anything was sent for `slot`.
    pub(super) fn has(&self, slot: usize) -> bool {
        self.last(slot).is_some()
    }

    /// The message in `slot`, merged from all its parts.
    pub(super) fn inner(&self, schema: &'a Schema, slot: usize) -> Result<Self, WireError> {
        let parts: Vec<_> = self.all(slot).filter_map(Value::bytes).collect();
        Self::merge(schema, self.message_id(slot), parts, self.depth + 1)
    }

    /// The slots for which something was sent, in order.
    pub(super) fn slots(&self) -> Vec<usize> {
        let mut slots: Vec<_> = self.values.iter().map(|(slot, _)| *slot).collect();
        slots.dedup();
        slots
    }

    /// The messages of the list in `slot`.
    pub(super) fn elements(
        &self,
        schema: &'a Schema,
        slot: usize,
    ) -> impl Iterator<Item = Result<Self, WireError>> {
        self.all(slot).filter_map(Value::bytes).map(move |bytes| self.element_of(schema, slot, bytes))
    }

    /// One message of the list in `slot`.
    pub(super) fn element_of(
        &self,
        schema: &'a Schema,
        slot: usize,
        bytes: &'a [u8],
    ) -> Result<Self, WireError> {
        self.element(schema, self.message_id(slot), bytes)
    }

    fn message_id(&self, slot: usize) -> MessageId {
        self.plan.fields[slot].kind.message_id().expect("a field with messages in it is of a message type")
    }

    /// One message of a list, or one entry of a map.
    pub(super) fn element(
        &self,
        schema: &'a Schema,
        id: MessageId,
        bytes: &'a [u8],
    ) -> Result<Self, WireError> {
        Self::merge(schema, id, [bytes], self.depth + 1)
    }
}

/// A value that is laid out in another way than its field is an unknown field. A list may be packed or not.
fn fits(field: &FieldPlan, value: Value<'_>) -> bool {
    let packed = matches!(field.shape, Shape::List { .. }) && value.wire_type() == Type::Bytes;
    packed || value.wire_type() == field.kind.wire_type()
}

/// The bound paths that go through `slot`, without it.
pub(super) fn below<'b>(bound: &[&'b [usize]], slot: usize) -> Vec<&'b [usize]> {
    bound.iter().filter_map(|path| path.strip_prefix(&[slot])).collect()
}

// === impl Choices ===

impl Choices {
    /// Notes that `slot` was sent as the value with this index.
    fn note(&mut self, plan: &MessagePlan, slot: usize, index: usize) {
        let Some(oneof) = plan.fields[slot].oneof else { return };
        match self.0.iter_mut().find(|choice| choice.oneof == oneof) {
            Some(choice) if choice.slot != slot => *choice = Choice { oneof, slot, since: index },
            Some(_) => {}
            None => self.0.push(Choice { oneof, slot, since: index }),
        }
    }

    /// Drops what was sent for a `oneof` before its last member.
    fn keep_last(&self, plan: &MessagePlan, values: &mut Vec<(usize, Value<'_>)>) {
        if self.0.iter().all(|choice| choice.since == 0) {
            return;
        }
        let mut index = 0;
        values.retain(|(slot, _)| {
            let choice = self.0.iter().find(|choice| Some(choice.oneof) == plan.fields[*slot].oneof);
            let keep = choice.is_none_or(|choice| index >= choice.since);
            index += 1;
            keep
        });
    }
}
