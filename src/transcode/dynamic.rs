//! Types whose JSON says what is in them: `Struct`, `Value`, `ListValue` (any JSON) and `Any` (any message).
//!
//! Both directions stand here, since they are each other's mirror.

use super::{
    body::Writer,
    decoder::{Decoder, Result},
    json::Next,
    mismatch::Complaint,
    plan::{Kind, WellKnown},
    refusal::RequestError,
    tolerance::Tolerance,
    value::{self, Leaf},
    view::View,
    wire::{self, Type},
};

/// Members of `google.protobuf.Value`, by their slots.
pub(super) mod slot {
    pub(in super::super) const NULL: usize = 0;
    pub(in super::super) const STRUCT: usize = 4;
    pub(in super::super) const LIST: usize = 5;
}

const NULL_VALUE: u32 = 1;
const NUMBER_VALUE: u32 = 2;
const STRING_VALUE: u32 = 3;
const BOOL_VALUE: u32 = 4;
const STRUCT_VALUE: u32 = 5;
const LIST_VALUE: u32 = 6;

// --- JSON to protobuf

impl<const SURVEY: bool> Decoder<'_, SURVEY> {
    /// Appends any JSON value as the fields of a `google.protobuf.Value`.
    pub(super) fn any_value(&mut self, out: &mut Vec<u8>) -> Result<()> {
        use super::plan::Scalar;
        match self.parser.peek()? {
            Next::Null => {
                self.parser.null()?;
                wire::put_tag(NULL_VALUE, Type::Varint, out);
                out.push(0);
            }
            Next::Number => {
                wire::put_tag(NUMBER_VALUE, Type::Fixed64, out);
                self.scalar(Scalar::Double, out)?;
            }
            Next::String => {
                wire::put_tag(STRING_VALUE, Type::Bytes, out);
                self.scalar(Scalar::String, out)?;
            }
            Next::Bool => {
                wire::put_tag(BOOL_VALUE, Type::Varint, out);
                self.scalar(Scalar::Bool, out)?;
            }
            Next::Object => {
                wire::put_tag(STRUCT_VALUE, Type::Bytes, out);
                wire::put_delimited(out, |out| self.any_object(out))?;
            }
            Next::Array => {
                wire::put_tag(LIST_VALUE, Type::Bytes, out);
                wire::put_delimited(out, |out| self.any_array(out))?;
            }
        }
        Ok(())
    }

    /// Appends any JSON object as the fields of a `google.protobuf.Struct`.
    pub(super) fn any_object(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.open_object()?;
        // An entry and a value stand between a Struct and what is in it.
        self.parser.descend(2)?;
        let mut first = true;
        while self.parser.next_member(&mut first)? {
            let key = self.parser.key()?;
            self.guarded(&*key, out, |decoder, out| {
                wire::put_tag(1, Type::Bytes, out);
                wire::put_delimited(out, |out| {
                    wire::put_tag(1, Type::Bytes, out);
                    wire::put_bytes(key.as_bytes(), out);
                    wire::put_tag(2, Type::Bytes, out);
                    wire::put_delimited(out, |out| decoder.any_value(out))
                })
            })?;
        }
        self.parser.ascend(2);
        Ok(())
    }

    /// Appends any JSON array as the fields of a `google.protobuf.ListValue`.
    pub(super) fn any_array(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.open_array()?;
        // A value stands between a ListValue and what is in it.
        self.parser.descend(1)?;
        let mut first = true;
        let mut index = 0;
        while self.parser.next_element(&mut first)? {
            self.guarded(index, out, |decoder, out| {
                wire::put_tag(1, Type::Bytes, out);
                wire::put_delimited(out, |out| decoder.any_value(out))
            })?;
            index += 1;
        }
        self.parser.ascend(1);
        Ok(())
    }

    /// Appends the fields of a `google.protobuf.Any`: the type that `@type` names, wherever it stands, and the
    /// message; a message with a JSON form of its own stands under `value`.
    pub(super) fn any(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.open_object()?;
        let Some(url) = self.type_url()? else {
            return self.empty_any();
        };
        let name = url.rsplit_once('/').map(|(_, name)| name).filter(|name| !name.is_empty());
        let Some(kind) = name.and_then(|name| self.schema.in_any(name)) else {
            return Err(self.mismatch("the URL of a type that the contract has in @type", "another", &url));
        };
        wire::put_tag(1, Type::Bytes, out);
        wire::put_bytes(url.as_bytes(), out);
        wire::put_tag(2, Type::Bytes, out);
        let content = out.len();
        wire::put_delimited(out, |out| match kind {
            Kind::Message(id) => self.members(*id, true, out),
            Kind::WellKnown(known) => self.under_value(*known, out),
            _ => unreachable!("an Any holds a message"),
        })?;
        if out[content..] == [0] {
            // Empty content is none; the tag before it was one byte.
            out.truncate(content - 1);
        }
        Ok(())
    }

    /// Finds `@type` in the object that is open, and comes back to its start.
    fn type_url(&mut self) -> Result<Option<String>> {
        let start = self.parser.mark();
        let mut url = None;
        let mut first = true;
        while url.is_none() && self.parser.next_member(&mut first)? {
            if self.parser.key()? == "@type" {
                self.expect_as(Next::String, "the URL of a type in @type")?;
                url = Some(self.parser.string()?.into_owned());
            } else {
                self.parser.skip()?;
            }
        }
        self.parser.reset(start);
        Ok(url)
    }

    /// An `Any` without a type has nothing in it.
    fn empty_any(&mut self) -> Result<()> {
        if self.parser.next_member(&mut true)? {
            return Err(self.complaint("an Any must say its type as @type"));
        }
        Ok(())
    }

    fn under_value(&mut self, known: WellKnown, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        let (mut first, mut met) = (true, false);
        while self.parser.next_member(&mut first)? {
            let key = self.parser.key()?;
            match &*key {
                "@type" => self.parser.skip()?,
                "value" => self.guarded("value", out, |decoder, out| {
                    if std::mem::replace(&mut met, true) {
                        decoder.tolerate(Tolerance::DuplicateKey)?;
                        out.truncate(start);
                    }
                    decoder.well_known(known, out)
                })?,
                _ => {
                    self.tolerate(Tolerance::UnknownField)
                        .map_err(|complaint: Box<Complaint>| complaint.under((&*key).into()))?;
                    self.parser.skip()?;
                }
            }
        }
        Ok(())
    }
}

// --- protobuf to JSON

impl<'a> Writer<'a> {
    /// Writes a `google.protobuf.Value`.
    pub(super) fn any_value(&mut self, view: &View<'a>) -> std::result::Result<(), RequestError> {
        let set = (0..view.plan.fields.len()).find(|slot| view.has(*slot));
        match set {
            Some(slot::NULL) => self.raw("null"),
            Some(slot::STRUCT) => self.member_of_value(view, slot::STRUCT, Self::any_object)?,
            Some(slot::LIST) => self.member_of_value(view, slot::LIST, Self::any_array)?,
            Some(slot) => {
                let leaf = Leaf::or_default(view, slot, &view.plan.fields[slot].kind)?;
                if matches!(leaf, Leaf::Double(number) if !number.is_finite()) {
                    return Err(RequestError::unmappable("must be a finite number, since JSON has no other"));
                }
                self.leaf(&leaf);
            }
            None => return Err(RequestError::unmappable("must have a kind of value set")),
        }
        Ok(())
    }

    fn member_of_value(
        &mut self,
        view: &View<'a>,
        slot: usize,
        write: impl FnOnce(&mut Self, &View<'a>) -> std::result::Result<(), RequestError>,
    ) -> std::result::Result<(), RequestError> {
        let inner = view.inner(self.schema, slot)?;
        write(self, &inner)
    }

    /// Writes a `google.protobuf.Struct`.
    pub(super) fn any_object(&mut self, view: &View<'a>) -> std::result::Result<(), RequestError> {
        self.raw("{");
        let mut first = true;
        let Kind::Message(entry) = view.plan.fields[0].kind else { unreachable!("the fields are a map") };
        for (key, entry) in value::entries(self.schema, view, 0, entry)? {
            self.key(&key, &mut first);
            let value = entry.inner(self.schema, 1)?;
            self.any_value(&value).map_err(|error| error.under(&key))?;
        }
        self.raw("}");
        Ok(())
    }

    /// Writes a `google.protobuf.ListValue`.
    pub(super) fn any_array(&mut self, view: &View<'a>) -> std::result::Result<(), RequestError> {
        let elements: Vec<_> = view.elements(self.schema, 0).collect();
        self.array(elements, |writer, element| writer.any_value(&element?))
    }

    /// Writes a `google.protobuf.Any`.
    pub(super) fn any(&mut self, view: &View<'a>) -> std::result::Result<(), RequestError> {
        let Leaf::Text(url) = Leaf::or_default(view, 0, &view.plan.fields[0].kind)? else {
            unreachable!("a type URL is a string")
        };
        let content = view.last(1).and_then(wire::Value::bytes).unwrap_or_default();
        if url.is_empty() && content.is_empty() {
            self.raw("{}");
            return Ok(());
        }
        let name = url.rsplit_once('/').map_or("", |(_, name)| name);
        let Some(kind) = self.schema.in_any(name) else {
            let what = format!("holds a message of type {url:?}, which the contract does not have");
            return Err(RequestError::unmappable(what));
        };
        self.raw("{");
        let mut first = true;
        self.key("@type", &mut first);
        self.string(url);
        match kind {
            Kind::Message(id) => {
                let message = view.element(self.schema, *id, content)?;
                self.fields(&message, &[], &mut first)?;
            }
            Kind::WellKnown(known) => {
                self.key("value", &mut first);
                match kind.message_id() {
                    Some(id) => {
                        let inner = view.element(self.schema, id, content)?;
                        self.made(*known, &inner).unwrap_or(Ok(()))?;
                    }
                    None => self.leaf(&Leaf::well_known(*known, [content])?),
                }
            }
            _ => unreachable!("an Any holds a message"),
        }
        self.raw("}");
        Ok(())
    }
}
