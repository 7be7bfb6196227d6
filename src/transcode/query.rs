//! Fields in a query, named as the API behind reads them.
//!
//! In the style of Rails: `tags[]=a&tags[]=b`, `filter[brand]=x`. Rack builds no list from repeated plain names and
//! does not nest dots, so the other style would lose data there. In the style of Google, which is that of
//! `google/api/http.proto`: `tags=a&tags=b`, `filter.brand=x`, and no maps or lists of messages.

use std::collections::HashSet;

use percent_encoding::utf8_percent_encode;

use super::{
    dynamic::slot as value_slot,
    path::RESERVED,
    plan::{FieldPlan, Kind, MessageId, Schema, Shape, WellKnown},
    refusal::RequestError,
    request::{MAX_URL_BYTES, too_long_a_url},
    value::{self, Leaf},
    view::{View, below},
};
use crate::contract::RestStyle;

type Result<T> = std::result::Result<T, RequestError>;

struct Query<'a> {
    schema: &'a Schema,
    style: RestStyle,
    pairs: Vec<Pair>,
    /// How many bytes of names and values may still come: what is too long for a URL is not built first.
    left: usize,
}

/// A name with its value; without one Rack reads `nil`.
struct Pair {
    name: String,
    value: Option<String>,
}

/// Every field of the message that is set, is not at the end of `bound`, and is not `body`; with the `?`. Fields
/// of the message itself that are marked REQUIRED are written even at their default.
pub(super) fn query(
    schema: &Schema,
    style: RestStyle,
    view: &View<'_>,
    bound: &[&[usize]],
    body: Option<usize>,
) -> Result<String> {
    let mut query = Query { schema, style, pairs: Vec::new(), left: MAX_URL_BYTES };
    for (slot, field) in view.plan.fields.iter().enumerate() {
        let elsewhere = Some(slot) == body || bound.contains(&[slot].as_slice());
        if field.is_always_sent() && !elsewhere {
            query.pair(field.name_in(style), Leaf::or_default(view, slot, &field.kind)?.text())?;
        } else if !elsewhere {
            query.field("", view, slot, bound)?;
        }
    }
    Ok(query.text())
}

// === impl Query ===

impl<'a> Query<'a> {
    fn text(&self) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.extend(utf8_percent_encode(&pair.name, RESERVED));
            if let Some(value) = &pair.value {
                text.push('=');
                text.extend(utf8_percent_encode(value, RESERVED));
            }
        }
        text
    }

    /// Appends every field that is set and is not bound by the path.
    fn message(&mut self, name: &str, view: &View<'a>, bound: &[&[usize]]) -> Result<()> {
        for slot in view.slots() {
            if !bound.contains(&[slot].as_slice()) {
                self.field(name, view, slot, bound)?;
            }
        }
        Ok(())
    }

    /// Appends one field, if it is set.
    fn field(&mut self, parent: &str, view: &View<'a>, slot: usize, bound: &[&[usize]]) -> Result<()> {
        if !view.has(slot) {
            return Ok(());
        }
        let field = &view.plan.fields[slot];
        let name = self.nested(parent, field.name_in(self.style));
        let written = self.values(&name, view, slot, field, &below(bound, slot));
        written.map_err(|error| error.under(&field.name))
    }

    fn values(
        &mut self,
        name: &str,
        view: &View<'a>,
        slot: usize,
        field: &FieldPlan,
        bound: &[&[usize]],
    ) -> Result<()> {
        match (&field.kind, field.shape) {
            (Kind::Message(id), Shape::Map) => self.map(name, view, slot, *id),
            (Kind::Message(_) | Kind::Group(_), Shape::Single { .. }) => {
                self.message(name, &view.inner(self.schema, slot)?, bound)
            }
            (Kind::Message(_) | Kind::Group(_), _) => self.messages(name, view, slot),
            (Kind::WellKnown(known), shape) if field.kind.message_id().is_some() => {
                self.made(name, *known, view, slot, shape)
            }
            (kind, Shape::Single { explicit }) => {
                let leaf = Leaf::single(view, slot, kind)?;
                match leaf.filter(|leaf| explicit || !leaf.is_default(kind)) {
                    Some(leaf) => self.pair(name, leaf.text()),
                    None => Ok(()),
                }
            }
            (kind, Shape::List { .. } | Shape::Map) => {
                let name = self.listed(name);
                Leaf::list(view, slot, kind).try_for_each(|leaf| self.pair(&name, leaf?.text()))
            }
        }
    }

    fn map(&mut self, name: &str, view: &View<'a>, slot: usize, entry: MessageId) -> Result<()> {
        self.rails_only("is a map")?;
        for (key, entry) in value::entries(self.schema, view, slot, entry)? {
            self.present(|query| query.entry(name, &key, &entry)).map_err(|error| error.under(&key))?;
        }
        Ok(())
    }

    fn entry(&mut self, parent: &str, key: &str, entry: &View<'a>) -> Result<()> {
        let name = self.keyed(parent, key)?;
        let field = &entry.plan.fields[1];
        if field.kind.message_id().is_some() {
            return self.values(&name, entry, 1, field, &[]);
        }
        self.pair(&name, Leaf::or_default(entry, 1, &field.kind)?.text())
    }

    /// A list of messages: `items[][a]=1&items[][b]=2&items[][a]=3`. Rack begins a new element where a name comes
    /// again, so each element has to begin with a name that the one before it has.
    fn messages(&mut self, name: &str, view: &View<'a>, slot: usize) -> Result<()> {
        self.rails_only("is a list of messages")?;
        let name = self.listed(name);
        let mut before: Option<HashSet<String>> = None;
        for (index, element) in view.elements(self.schema, slot).enumerate() {
            let mut inner =
                Query { schema: self.schema, style: self.style, pairs: Vec::new(), left: self.left };
            let written = element.map_err(RequestError::from).and_then(|e| inner.message(&name, &e, &[]));
            written.map_err(|error| error.under(&format!("[{index}]")))?;
            let begins = |pair: &Pair| {
                before.as_ref().is_none_or(|before| {
                    !pair.name[name.len()..].contains("[]") && before.contains(&pair.name)
                })
            };
            if inner.pairs.is_empty() {
                let what = "has nothing set, which a query cannot carry in a list";
                return Err(RequestError::unmappable(what).under(&format!("[{index}]")));
            }
            let Some(begin) = inner.pairs.iter().position(begins) else {
                return Err(RequestError::unmappable(
                    "shares no field with the element before it, so that a query cannot tell where it begins",
                )
                .under(&format!("[{index}]")));
            };
            inner.pairs[..=begin].rotate_right(1);
            before = Some(inner.pairs.iter().map(|pair| pair.name.clone()).collect());
            self.left = inner.left;
            self.pairs.extend(inner.pairs);
        }
        Ok(())
    }

    /// Free JSON: a Struct, a Value or a ListValue.
    fn made(
        &mut self,
        name: &str,
        known: WellKnown,
        view: &View<'a>,
        slot: usize,
        shape: Shape,
    ) -> Result<()> {
        self.rails_only("is free in form")?;
        let write = |query: &mut Self, name: &str, view: &View<'a>| match known {
            WellKnown::Struct(_) => query.any_object(name, view),
            WellKnown::List(_) => query.any_array(name, view),
            WellKnown::Value(_) => query.any_value(name, view),
            _ => Err(RequestError::unmappable("is of any type, which a query cannot carry")),
        };
        if matches!(shape, Shape::Single { .. }) {
            return write(self, name, &view.inner(self.schema, slot)?);
        }
        let name = self.listed(name);
        for (index, element) in view.elements(self.schema, slot).enumerate() {
            let written = element.map_err(RequestError::from).and_then(|element| {
                if matches!(known, WellKnown::Struct(_) | WellKnown::List(_)) || known_to_nest(&element) {
                    return Err(RequestError::unmappable(
                        "is a list or an object in a list, which a query cannot carry",
                    ));
                }
                write(self, &name, &element)
            });
            written.map_err(|error| error.under(&format!("[{index}]")))?;
        }
        Ok(())
    }

    fn any_value(&mut self, name: &str, view: &View<'a>) -> Result<()> {
        let set = (0..view.plan.fields.len()).find(|slot| view.has(*slot));
        match set {
            None => Err(RequestError::unmappable("must have a kind of value set")),
            Some(value_slot::NULL) => self.push(name, None),
            Some(value_slot::STRUCT) => self.any_object(name, &view.inner(self.schema, value_slot::STRUCT)?),
            Some(value_slot::LIST) => self.any_array(name, &view.inner(self.schema, value_slot::LIST)?),
            Some(slot) => self.pair(name, Leaf::or_default(view, slot, &view.plan.fields[slot].kind)?.text()),
        }
    }

    fn any_object(&mut self, name: &str, view: &View<'a>) -> Result<()> {
        let Kind::Message(entry) = view.plan.fields[0].kind else { unreachable!("the fields are a map") };
        for (key, entry) in value::entries(self.schema, view, 0, entry)? {
            let written = self.present(|query| {
                let name = query.keyed(name, &key)?;
                let value = entry.inner(query.schema, 1)?;
                query.any_value(&name, &value)
            });
            written.map_err(|error| error.under(&key))?;
        }
        Ok(())
    }

    fn any_array(&mut self, name: &str, view: &View<'a>) -> Result<()> {
        let WellKnown::Value(_) = (match &view.plan.fields[0].kind {
            Kind::WellKnown(known) => *known,
            _ => unreachable!("a ListValue holds values"),
        }) else {
            unreachable!("a ListValue holds values")
        };
        self.values(name, view, 0, &view.plan.fields[0], &[])
    }

    /// Writes a value that is there by its key, and would not be there without a pair.
    fn present(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let before = self.pairs.len();
        write(self)?;
        if self.pairs.len() == before {
            return Err(RequestError::unmappable("is empty, which a query cannot carry"));
        }
        Ok(())
    }

    fn rails_only(&self, what: &str) -> Result<()> {
        match self.style {
            RestStyle::Rails => Ok(()),
            RestStyle::Google => Err(RequestError::unmappable(format!("{what}, which a query cannot carry"))),
        }
    }

    fn nested(&self, parent: &str, name: &str) -> String {
        match self.style {
            _ if parent.is_empty() => name.to_owned(),
            RestStyle::Rails => format!("{parent}[{name}]"),
            RestStyle::Google => format!("{parent}.{name}"),
        }
    }

    /// The name of a map entry; brackets in it would be read as nesting, and none as a list.
    fn keyed(&self, parent: &str, key: &str) -> Result<String> {
        if key.is_empty() || key.contains(['[', ']']) {
            return Err(RequestError::unmappable("is a key that a query cannot carry"));
        }
        Ok(self.nested(parent, key))
    }

    fn listed(&self, name: &str) -> String {
        match self.style {
            RestStyle::Rails => format!("{name}[]"),
            RestStyle::Google => name.to_owned(),
        }
    }

    fn pair(&mut self, name: &str, value: String) -> Result<()> {
        self.push(name, Some(value))
    }

    fn push(&mut self, name: &str, value: Option<String>) -> Result<()> {
        let length = name.len() + value.as_ref().map_or(0, String::len) + 1;
        self.left = self.left.checked_sub(length).ok_or_else(too_long_a_url)?;
        self.pairs.push(Pair { name: name.to_owned(), value });
        Ok(())
    }
}

/// Whether an element of a ListValue is a list or an object: Rack could not tell where the next one begins.
fn known_to_nest(element: &View<'_>) -> bool {
    element.has(value_slot::STRUCT) || element.has(value_slot::LIST)
}
