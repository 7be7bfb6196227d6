//! Fields in a query, named as Rack reads them: `tags[]=a`, `filter[brand]=x`.
//!
//! Rack builds no list from repeated plain names and does not nest dots, so `tags=a&tags=b` and
//! `filter.brand=x` would lose data there.

use percent_encoding::utf8_percent_encode;

use super::{
    path::RESERVED,
    plan::{FieldPlan, Kind, MessageId, Schema, Shape},
    refusal::RequestError,
    value::{self, Leaf},
    view::{View, below},
};

type Result<T> = std::result::Result<T, RequestError>;

/// Every field of the message that is set, is not at the end of `bound`, and is not `body`; with the `?`.
pub(super) fn query(
    schema: &Schema,
    view: &View<'_>,
    bound: &[&[usize]],
    body: Option<usize>,
) -> Result<String> {
    let mut query = Query { schema, text: String::new() };
    query.message("", view, bound, body)?;
    Ok(query.text)
}

struct Query<'a> {
    schema: &'a Schema,
    text: String,
}

// === impl Query ===

impl<'a> Query<'a> {
    /// Appends every field that is set, is not bound by the path, and is not the body.
    fn message(
        &mut self,
        name: &str,
        view: &View<'a>,
        bound: &[&[usize]],
        body: Option<usize>,
    ) -> Result<()> {
        for (slot, field) in view.plan.fields.iter().enumerate() {
            if Some(slot) == body || bound.contains(&[slot].as_slice()) || !view.has(slot) {
                continue;
            }
            let name = if name.is_empty() { field.name.clone() } else { format!("{name}[{}]", field.name) };
            let written = self.field(&name, view, slot, field, &below(bound, slot));
            written.map_err(|error| error.under(&field.name))?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        name: &str,
        view: &View<'a>,
        slot: usize,
        field: &FieldPlan,
        bound: &[&[usize]],
    ) -> Result<()> {
        match (&field.kind, field.shape) {
            (Kind::Message(id), Shape::Single { .. }) => {
                self.message(name, &view.message(self.schema, slot, *id)?, bound, None)?;
            }
            (Kind::Message(id), Shape::Map) => self.map(name, view, slot, *id)?,
            (Kind::Message(_), Shape::List { .. }) => {
                return Err(RequestError::unmappable("is a list of messages, which a query cannot carry"));
            }
            (kind, Shape::Single { explicit }) => {
                let leaf = Leaf::single(view, slot, kind)?;
                if let Some(leaf) = leaf.filter(|leaf| explicit || !leaf.is_default(kind)) {
                    self.pair(name, &leaf.text());
                }
            }
            (kind, Shape::List { .. } | Shape::Map) => {
                for leaf in Leaf::list(view, slot, kind)? {
                    self.pair(&format!("{name}[]"), &leaf.text());
                }
            }
        }
        Ok(())
    }

    fn map(&mut self, name: &str, view: &View<'a>, slot: usize, entry: MessageId) -> Result<()> {
        for (key, entry) in value::entries(self.schema, view, slot, entry)? {
            self.entry(&format!("{name}[{key}]"), &entry).map_err(|error| error.under(&key))?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, entry: &View<'a>) -> Result<()> {
        match &entry.plan.fields[1].kind {
            Kind::Message(id) => self.message(name, &entry.message(self.schema, 1, *id)?, &[], None)?,
            kind => self.pair(name, &Leaf::or_default(entry, 1, kind)?.text()),
        }
        Ok(())
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.text.push(if self.text.is_empty() { '?' } else { '&' });
        self.text.extend(utf8_percent_encode(name, RESERVED));
        self.text.push('=');
        self.text.extend(utf8_percent_encode(value, RESERVED));
    }
}
