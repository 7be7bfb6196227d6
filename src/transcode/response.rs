//! JSON to protobuf in one pass: the parser reads, the plan decides, the wire format is appended.
//!
//! There is no document tree and no message struct in between, so this works for any contract at the
//! speed that a contract compiled into the program would have. Unknown fields are skipped, `null` is
//! unset, both spellings of a name are understood; a value of the wrong type is told with its place.

use bytes::Bytes;

use super::{
    json::{Next, Parser},
    mismatch::{Complaint, Mismatch, Step},
    number,
    plan::{FieldPlan, Kind, MessageId, Scalar, Schema, Shape},
    wire::{self, Type},
};

/// How to read the HTTP body of one binding.
#[derive(Debug, Clone)]
pub(super) struct ResponsePlan {
    /// The response message.
    pub(super) message: MessageId,
    /// The slot of the field that the body is, if it is not the whole message.
    pub(super) field: Option<usize>,
}

/// Boxed, so that the result of reading a value stays small.
pub(super) type Result<T> = std::result::Result<T, Box<Complaint>>;

pub(super) struct Decoder<'a> {
    schema: &'a Schema,
    pub(super) parser: Parser<'a>,
}

// === impl ResponsePlan ===

impl ResponsePlan {
    /// Turns the body of a successful answer into the message; no body is the empty message.
    pub(super) fn decode(&self, schema: &Schema, json: &[u8]) -> std::result::Result<Bytes, Mismatch> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Bytes::new());
        }
        self.decode_value(schema, json).map_err(|complaint| complaint.into_mismatch(json))
    }

    fn decode_value(&self, schema: &Schema, json: &[u8]) -> Result<Bytes> {
        let mut decoder = Decoder { schema, parser: Parser::new(json)? };
        // Protobuf is hardly ever longer than its JSON.
        let mut out = Vec::with_capacity(json.len());
        match self.field {
            None => decoder.message(self.message, &mut out)?,
            Some(slot) => decoder.field(&schema.message(self.message).fields[slot], &mut out)?,
        }
        decoder.parser.end()?;
        Ok(Bytes::from(out))
    }
}

// === impl Decoder ===

impl Decoder<'_> {
    /// Appends the fields of an object.
    fn message(&mut self, id: MessageId, out: &mut Vec<u8>) -> Result<()> {
        self.expect(Next::Object)?;
        self.parser.begin_object()?;
        let plan = self.schema.message(id);
        let mut oneofs = Vec::new();
        let mut first = true;
        while let Some(key) = self.parser.next_key(&mut first)? {
            match plan.slot_named(&key) {
                Some(slot) => {
                    let field = &plan.fields[slot];
                    self.member(field, &mut oneofs, out)
                        .map_err(|error| error.under(Step::Key(key.into_owned())))?;
                }
                None => self
                    .parser
                    .skip()
                    .map_err(Box::from)
                    .map_err(|error: Box<Complaint>| error.under(Step::Key(key.into_owned())))?,
            }
        }
        Ok(())
    }

    /// Appends a field of an object, unless another member of its `oneof` stands before it.
    fn member(&mut self, field: &FieldPlan, oneofs: &mut Vec<usize>, out: &mut Vec<u8>) -> Result<()> {
        if let Some(oneof) = field.oneof
            && self.parser.peek()? != Next::Null
        {
            if oneofs.contains(&oneof) {
                return Err(self.complaint("another member of its oneof is set already"));
            }
            oneofs.push(oneof);
        }
        self.field(field, out)
    }

    /// Appends all values of a field; `null` is none.
    fn field(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        if self.parser.peek()? == Next::Null {
            return Ok(self.parser.null()?);
        }
        match field.shape {
            Shape::Single { explicit } => self.single(field, explicit, out),
            Shape::List { packed: true } => self.packed(field, out),
            Shape::List { packed: false } => {
                self.elements(|decoder, out| decoder.single(field, true, out), out)
            }
            Shape::Map => self.map(field, out),
        }
    }

    /// Appends one value with its tag. Where a default value is the same as none, it is left out.
    pub(super) fn single(&mut self, field: &FieldPlan, explicit: bool, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_tag(field.number, field.kind.wire_type(), out);
        let content = out.len();
        let written = self.value(&field.kind, out)?;
        let is_default = !explicit && out[content..].iter().all(|byte| *byte == 0);
        if !written || is_default {
            out.truncate(start);
        }
        Ok(())
    }

    fn packed(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_tag(field.number, Type::Bytes, out);
        let content = out.len();
        wire::put_delimited(out, |out| {
            self.elements(|decoder, out| decoder.value(&field.kind, out).map(drop), out)
        })?;
        if out[content..] == [0] {
            out.truncate(start);
        }
        Ok(())
    }

    fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<()>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.expect(Next::Array)?;
        self.parser.begin_array()?;
        let mut first = true;
        let mut index = 0;
        while self.parser.next_element(&mut first)? {
            element(self, out).map_err(|error| error.under(Step::Index(index)))?;
            index += 1;
        }
        Ok(())
    }

    /// Appends one entry message per member: the key in slot 0, the value in slot 1.
    fn map(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        let Kind::Message(entry) = &field.kind else { unreachable!("a map's kind is its entry message") };
        let [key_plan, value_plan] = self.schema.message(*entry).fields.as_slice() else {
            unreachable!("an entry has a key and a value")
        };
        self.expect(Next::Object)?;
        self.parser.begin_object()?;
        let mut first = true;
        while let Some(key) = self.parser.next_key(&mut first)? {
            let start = out.len();
            wire::put_tag(field.number, Type::Bytes, out);
            let mut written = true;
            let entry = wire::put_delimited(out, |out| {
                self.map_key(key_plan, &key, out)?;
                wire::put_tag(value_plan.number, value_plan.kind.wire_type(), out);
                written = self.value(&value_plan.kind, out)?;
                Ok(())
            });
            entry.map_err(|error: Box<Complaint>| error.under(Step::Key(key.into_owned())))?;
            if !written {
                out.truncate(start);
            }
        }
        Ok(())
    }

    fn map_key(&self, plan: &FieldPlan, key: &str, out: &mut Vec<u8>) -> Result<()> {
        let Kind::Scalar(scalar) = plan.kind else { unreachable!("a map key is a scalar") };
        wire::put_tag(plan.number, scalar.wire_type(), out);
        match (scalar, key) {
            (Scalar::String, key) => wire::put_bytes(key.as_bytes(), out),
            (Scalar::Bool, "true") => out.push(1),
            (Scalar::Bool, "false") => out.push(0),
            (Scalar::Bool, key) => return Err(self.mismatch("true or false as key", "another key", key)),
            (scalar, key) if number::is_json_number(key) => self.number(scalar, key, "another key", out)?,
            (scalar, key) => return Err(self.mismatch(scalar.expected(), "another key", key)),
        }
        Ok(())
    }

    /// Appends one value without a tag; `false` is a value to be ignored (an enum name that is not known).
    fn value(&mut self, kind: &Kind, out: &mut Vec<u8>) -> Result<bool> {
        match kind {
            Kind::Scalar(scalar) => self.scalar(*scalar, out)?,
            Kind::Enum(plan) => return self.enum_value(plan, out),
            Kind::Message(id) => wire::put_delimited(out, |out| self.message(*id, out))?,
            Kind::WellKnown(known) => wire::put_delimited(out, |out| self.well_known(*known, out))?,
        }
        Ok(true)
    }

    pub(super) fn text<T>(&mut self, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.expect_as(Next::String, expected)?;
        let text = self.parser.string()?;
        parse(&text).ok_or_else(|| self.mismatch(expected, "another string", &text))
    }

    pub(super) fn expect(&mut self, wanted: Next) -> Result<()> {
        self.expect_as(wanted, wanted.name())
    }

    pub(super) fn expect_as(&mut self, wanted: Next, expected: &str) -> Result<()> {
        match self.parser.peek()? {
            found if found == wanted => Ok(()),
            found => Err(self.wrong_kind(expected, found)),
        }
    }

    pub(super) fn wrong_kind(&self, expected: &str, found: Next) -> Box<Complaint> {
        self.complaint(format!("expected {expected}, found {}", found.name()))
    }

    /// A value of the right JSON kind that does not fit; what it is goes to the log only.
    pub(super) fn mismatch(&self, expected: &str, found: &str, value: &str) -> Box<Complaint> {
        self.complaint(format!("expected {expected}, found {found}")).with_value(value)
    }

    pub(super) fn complaint(&self, what: impl Into<String>) -> Box<Complaint> {
        Complaint::new(self.parser.offset(), what)
    }
}
