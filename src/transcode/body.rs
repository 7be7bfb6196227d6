//! The JSON body of a request: ProtoJSON with proto names, unset fields left out.
//!
//! What was not set is not written, so that a PATCH changes only what its caller named.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    number,
    plan::{FieldPlan, Kind, MessageId, Schema, Shape},
    refusal::RequestError,
    value::{self, Leaf},
    view::{View, below},
    wire::Value,
};

type Result<T> = std::result::Result<T, RequestError>;

struct Writer<'a> {
    schema: &'a Schema,
    out: Vec<u8>,
}

/// The whole message without the fields at the end of `bound`.
pub(super) fn message(schema: &Schema, view: &View<'_>, bound: &[&[usize]]) -> Result<Vec<u8>> {
    let mut writer = Writer { schema, out: Vec::new() };
    writer.object(view, bound)?;
    Ok(writer.out)
}

/// One field; `None` if it is not set.
pub(super) fn field(schema: &Schema, view: &View<'_>, slot: usize) -> Result<Option<Vec<u8>>> {
    let field = &view.plan.fields[slot];
    let mut writer = Writer { schema, out: Vec::new() };
    let written = writer.member(view, slot, field, &[], |_| ()).map_err(|error| error.under(&field.name))?;
    Ok(written.then_some(writer.out))
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
        self.out.push(b'{');
        let mut first = true;
        for (slot, field) in view.plan.fields.iter().enumerate() {
            if bound.contains(&[slot].as_slice()) {
                continue;
            }
            let key = |writer: &mut Self| writer.key(&field.name, &mut first);
            let written = self.member(view, slot, field, &below(bound, slot), key);
            written.map_err(|error| error.under(&field.name))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes the field, after what `before` writes, if it is set.
    fn member(
        &mut self,
        view: &View<'a>,
        slot: usize,
        field: &FieldPlan,
        bound: &[&[usize]],
        before: impl FnOnce(&mut Self),
    ) -> Result<bool> {
        let set = is_set(view, slot, field)?;
        if set {
            before(self);
            self.field(view, slot, field, bound)?;
        }
        Ok(set)
    }

    fn field(&mut self, view: &View<'a>, slot: usize, field: &FieldPlan, bound: &[&[usize]]) -> Result<()> {
        match (&field.kind, field.shape) {
            (Kind::Message(id), Shape::Single { .. }) => {
                self.object(&view.message(self.schema, slot, *id)?, bound)?;
            }
            (Kind::Message(id), Shape::List { .. }) => self.objects(view, slot, *id)?,
            (Kind::Message(id), Shape::Map) => self.map(view, slot, *id)?,
            (kind, Shape::Single { .. }) => {
                // It is set, or the value of a map entry, whose default counts.
                self.leaf(&Leaf::or_default(view, slot, kind)?);
            }
            (kind, Shape::List { .. } | Shape::Map) => {
                self.array(Leaf::list(view, slot, kind)?, |writer, leaf| {
                    writer.leaf(&leaf);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn objects(&mut self, view: &View<'a>, slot: usize, id: MessageId) -> Result<()> {
        self.array(view.all(slot).filter_map(Value::bytes), |writer, bytes| {
            writer.object(&view.element(writer.schema, id, bytes)?, &[])
        })
    }

    fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Result<()>,
    ) -> Result<()> {
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            write(self, item).map_err(|error| error.under(&format!("[{index}]")))?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, view: &View<'a>, slot: usize, entry: MessageId) -> Result<()> {
        self.out.push(b'{');
        let mut first = true;
        for (key, entry) in value::entries(self.schema, view, slot, entry)? {
            self.key(&key, &mut first);
            let written = self.field(&entry, 1, &entry.plan.fields[1], &[]);
            written.map_err(|error| error.under(&key))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn key(&mut self, name: &str, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
        self.string(name);
        self.out.push(b':');
    }

    fn leaf(&mut self, leaf: &Leaf<'_>) {
        match leaf {
            Leaf::Int(value) => self.out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Leaf::Bool(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Leaf::Double(value) => self.float(value.is_finite(), &number::double_text(*value)),
            Leaf::Float(value) => self.float(value.is_finite(), &number::single_text(*value)),
            Leaf::Text(text) => self.string(text),
            Leaf::Spelled(text) => self.string(text),
            Leaf::Long(_) => self.string(&leaf.text()),
            Leaf::Bytes(bytes) => self.string(&STANDARD.encode(bytes)),
        }
    }

    /// NaN and the infinities have no number in JSON and stand in quotes.
    fn float(&mut self, finite: bool, text: &str) {
        if finite {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            self.string(text);
        }
    }

    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut self.out, text).expect("a string is always JSON, and a Vec takes it");
    }
}
