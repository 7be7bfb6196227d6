//! The JSON body of a request: ProtoJSON, unset fields left out.
//!
//! What was not set is not written, so that a PATCH changes only what its caller named. A field of the request
//! message itself that is marked REQUIRED is written even at its default.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    number,
    plan::{FieldPlan, Kind, MessageId, Schema, Shape, WellKnown},
    refusal::RequestError,
    value::{self, Leaf},
    view::{View, below},
    wire::Value,
};
use crate::contract::RestStyle;

type Result<T> = std::result::Result<T, RequestError>;

/// Appends JSON.
pub(super) struct Writer<'a> {
    pub(super) schema: &'a Schema,
    style: RestStyle,
    out: Vec<u8>,
}

/// The whole message without the fields at the end of `bound`.
pub(super) fn message(
    schema: &Schema,
    style: RestStyle,
    view: &View<'_>,
    bound: &[&[usize]],
) -> Result<Vec<u8>> {
    let mut writer = Writer { schema, style, out: Vec::new() };
    writer.raw("{");
    let mut first = true;
    for (slot, field) in view.plan.fields.iter().enumerate() {
        let always = field.is_always_sent() && !bound.contains(&[slot].as_slice());
        if always && !is_set(view, slot, field)? {
            writer.key(field.name_in(style), &mut first);
            writer.leaf(&Leaf::or_default(view, slot, &field.kind)?);
        } else {
            writer.field_of(view, slot, bound, &mut first)?;
        }
    }
    writer.raw("}");
    Ok(writer.out)
}

/// Every field that is set.
pub(super) fn bare(schema: &Schema, style: RestStyle, view: &View<'_>) -> Result<Vec<u8>> {
    let mut writer = Writer { schema, style, out: Vec::new() };
    writer.object(view, &[])?;
    Ok(writer.out)
}

/// The whole message, which JSON writes in a way of its own.
pub(super) fn well_known(
    schema: &Schema,
    style: RestStyle,
    known: WellKnown,
    bytes: &[u8],
) -> Result<Vec<u8>> {
    let mut writer = Writer { schema, style, out: Vec::new() };
    match Kind::WellKnown(known).message_id() {
        Some(id) => {
            let view = View::read(schema, id, bytes)?;
            writer.made(known, &view).unwrap_or(Ok(()))?;
        }
        None => writer.leaf(&Leaf::well_known(known, [bytes])?),
    }
    Ok(writer.out)
}

/// One field; `None` if it is not set.
pub(super) fn field(
    schema: &Schema,
    style: RestStyle,
    view: &View<'_>,
    slot: usize,
) -> Result<Option<Vec<u8>>> {
    let field = &view.plan.fields[slot];
    let mut writer = Writer { schema, style, out: Vec::new() };
    if !is_set(view, slot, field)? && !field.is_always_sent() {
        return Ok(None);
    }
    writer.value(view, slot, field, &[]).map_err(|error| error.under(&field.name))?;
    Ok(Some(writer.out))
}

/// Whether the field has a value to write: something was sent, and it differs from the default where
/// that is the same as none.
fn is_set(view: &View<'_>, slot: usize, field: &FieldPlan) -> Result<bool> {
    if !view.has(slot) {
        return Ok(false);
    }
    match field.shape {
        Shape::Single { explicit: false } => {
            let leaf = Leaf::single(view, slot, &field.kind)?;
            Ok(leaf.is_some_and(|leaf| !leaf.is_default(&field.kind)))
        }
        Shape::Single { explicit: true } | Shape::List { .. } | Shape::Map => Ok(true),
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn object(&mut self, view: &View<'a>, bound: &[&[usize]]) -> Result<()> {
        self.raw("{");
        self.fields(view, bound, &mut true)?;
        self.raw("}");
        Ok(())
    }

    /// Writes every field that is set and is not at the end of `bound`.
    pub(super) fn fields(&mut self, view: &View<'a>, bound: &[&[usize]], first: &mut bool) -> Result<()> {
        for slot in view.slots() {
            self.field_of(view, slot, bound, first)?;
        }
        Ok(())
    }

    fn field_of(&mut self, view: &View<'a>, slot: usize, bound: &[&[usize]], first: &mut bool) -> Result<()> {
        let field = &view.plan.fields[slot];
        if bound.contains(&[slot].as_slice()) || !is_set(view, slot, field)? {
            return Ok(());
        }
        self.key(field.name_in(self.style), first);
        let written = self.value(view, slot, field, &below(bound, slot));
        written.map_err(|error| error.under(&field.name))
    }

    fn value(&mut self, view: &View<'a>, slot: usize, field: &FieldPlan, bound: &[&[usize]]) -> Result<()> {
        match (&field.kind, field.shape) {
            (Kind::Message(id), Shape::Map) => self.map(view, slot, *id),
            (Kind::Message(_) | Kind::Group(_), Shape::Single { .. }) => {
                self.object(&view.inner(self.schema, slot)?, bound)
            }
            (Kind::Message(_) | Kind::Group(_), _) => {
                let elements: Vec<_> = view.all(slot).filter_map(Value::bytes).collect();
                self.array(elements, |writer, bytes| {
                    writer.object(&view.element_of(writer.schema, slot, bytes)?, &[])
                })
            }
            (Kind::WellKnown(known), Shape::Single { .. }) if field.kind.message_id().is_some() => {
                let inner = view.inner(self.schema, slot)?;
                self.made(*known, &inner).unwrap_or(Ok(()))
            }
            (Kind::WellKnown(known), _) if field.kind.message_id().is_some() => {
                let elements: Vec<_> = view.elements(self.schema, slot).collect();
                self.array(elements, |writer, element| writer.made(*known, &element?).unwrap_or(Ok(())))
            }
            (kind, Shape::Single { .. }) => {
                // It is set, or the value of a map entry, whose default counts.
                self.leaf(&Leaf::or_default(view, slot, kind)?);
                Ok(())
            }
            (kind, Shape::List { .. } | Shape::Map) => {
                self.array(Leaf::list(view, slot, kind), |writer, leaf| {
                    writer.leaf(&leaf?);
                    Ok(())
                })
            }
        }
    }

    /// Writes a well-known type that is made of other values; `None` if it is a leaf.
    pub(super) fn made(&mut self, known: WellKnown, view: &View<'a>) -> Option<Result<()>> {
        Some(match known {
            WellKnown::Struct(_) => self.any_object(view),
            WellKnown::Value(_) => self.any_value(view),
            WellKnown::List(_) => self.any_array(view),
            WellKnown::Any(_) => self.any(view),
            WellKnown::Timestamp | WellKnown::Duration | WellKnown::FieldMask | WellKnown::Wrapper(_) => {
                return None;
            }
        })
    }

    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Result<()>,
    ) -> Result<()> {
        self.raw("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item).map_err(|error| error.under(&format!("[{index}]")))?;
        }
        self.raw("]");
        Ok(())
    }

    fn map(&mut self, view: &View<'a>, slot: usize, entry: MessageId) -> Result<()> {
        self.raw("{");
        let mut first = true;
        for (key, entry) in value::entries(self.schema, view, slot, entry)? {
            self.key(&key, &mut first);
            let written = self.value(&entry, 1, &entry.plan.fields[1], &[]);
            written.map_err(|error| error.under(&key))?;
        }
        self.raw("}");
        Ok(())
    }

    pub(super) fn key(&mut self, name: &str, first: &mut bool) {
        if !std::mem::take(first) {
            self.raw(",");
        }
        self.string(name);
        self.raw(":");
    }

    pub(super) fn leaf(&mut self, leaf: &Leaf<'_>) {
        match leaf {
            Leaf::Int(value) => self.raw(itoa::Buffer::new().format(*value)),
            Leaf::Bool(value) => self.raw(if *value { "true" } else { "false" }),
            Leaf::Double(value) => self.float(value.is_finite(), &number::double_text(*value)),
            Leaf::Float(value) => self.float(value.is_finite(), &number::single_text(*value)),
            Leaf::Text(text) => self.string(text),
            Leaf::Spelled(text) => self.string(text),
            Leaf::Long(_) => self.string(&leaf.text()),
            Leaf::Bytes(bytes) => self.string(&STANDARD.encode(bytes)),
            Leaf::Null => self.raw("null"),
        }
    }

    /// NaN and the infinities have no number in JSON and stand in quotes.
    fn float(&mut self, finite: bool, text: &str) {
        if finite { self.raw(text) } else { self.string(text) }
    }

    pub(super) fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut self.out, text).expect("a string is always JSON, and a Vec takes it");
    }

    pub(super) fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }
}
