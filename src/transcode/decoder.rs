//! JSON to protobuf in one pass: the parser reads, the plan decides, the wire format is appended.
//!
//! There is no document tree and no message struct in between, so this works for any contract at the
//! speed that a contract compiled into the program would have. What is not as ProtoJSON or the contract says is
//! tolerated by name and counted, or refused; a value of the wrong type is told with its place.

use bytes::Bytes;

use super::{
    json::{Next, Parser},
    mismatch::{Complaint, Step},
    number::Number,
    plain,
    plan::{FieldPlan, Kind, MessageId, MessagePlan, Scalar, Schema, Shape, WellKnown},
    response::ResponsePlan,
    survey::Survey,
    tolerance::{Strictness, Tolerance, Tolerated},
    wire::{self, Repeat, Type},
};

/// Boxed, so that the result of reading a value stays small.
pub(super) type Result<T> = std::result::Result<T, Box<Complaint>>;

/// Reads one answer. With `SURVEY` it goes on after what does not fit, and notes all of it.
pub(super) struct Decoder<'a, const SURVEY: bool> {
    pub(super) schema: &'a Schema,
    pub(super) parser: Parser<'a>,
    strict: Strictness,
    pub(super) tolerated: Tolerated,
    /// For each open object, a bit for each field and each `oneof` that was met in it.
    marks: Vec<u64>,
    /// For each open object, the fields that came twice.
    repeats: Vec<Repeat>,
    pub(super) survey: Survey,
}

/// Where what is known of an object begins while it is read.
#[derive(Clone, Copy)]
struct Open {
    marks: usize,
    repeats: usize,
}

// === impl Decoder ===

impl<'a, const SURVEY: bool> Decoder<'a, SURVEY> {
    pub(super) fn new(schema: &'a Schema, strict: Strictness, json: &'a [u8]) -> Result<Self> {
        Ok(Self {
            schema,
            parser: Parser::new(json)?,
            strict,
            tolerated: Tolerated::default(),
            marks: Vec::new(),
            repeats: Vec::new(),
            survey: Survey::default(),
        })
    }

    /// Turns the whole text into the message; `length` is that of the text.
    pub(super) fn answer(&mut self, plan: &ResponsePlan, length: usize) -> Result<Bytes> {
        // Protobuf is hardly ever longer than its JSON.
        let mut out = Vec::with_capacity(length);
        match plan {
            ResponsePlan::Message(Kind::Message(id)) => self.message(*id, &mut out)?,
            ResponsePlan::Message(Kind::WellKnown(known)) => self.well_known(*known, &mut out)?,
            ResponsePlan::Message(_) | ResponsePlan::HttpBody(_) => {
                unreachable!("a response is a message, and an HttpBody is not parsed")
            }
            ResponsePlan::Field(field) => {
                self.guarded("", &mut out, |decoder, out| decoder.field(field, out))?;
            }
        }
        self.parser.end()?;
        Ok(Bytes::from(out))
    }

    /// Appends the fields of an object.
    pub(super) fn message(&mut self, id: MessageId, out: &mut Vec<u8>) -> Result<()> {
        self.open_object()?;
        self.members(id, false, out)
    }

    /// Appends the fields of an object whose brace is read; `@type` is no field if `in_any`.
    pub(super) fn members(&mut self, id: MessageId, in_any: bool, out: &mut Vec<u8>) -> Result<()> {
        let plan = self.schema.message(id);
        let start = out.len();
        let open = Open { marks: self.marks.len(), repeats: self.repeats.len() };
        self.marks.resize(open.marks + plan.words, 0);
        let mut place = 0;
        let mut first = true;
        loop {
            if let Some((slot, name)) = self.plain_members(plan, open, &mut place, &mut first, out) {
                self.member(plan, slot, name, open, out)?;
                continue;
            }
            if !self.parser.next_member(&mut first)? {
                break;
            }
            if let Some((slot, name)) = self.expected_key(plan, place) {
                place = slot + 1;
                self.member(plan, slot, name, open, out)?;
                continue;
            }
            let key = self.parser.key()?;
            match plan.slot_named(&key) {
                Some(slot) => {
                    plan.came(place, slot);
                    place = slot + 1;
                    self.member(plan, slot, &key, open, out)?;
                }
                None if in_any && key == "@type" => self.parser.skip()?,
                None => self.unknown_field(&key, out)?,
            }
        }
        if SURVEY {
            self.note_missing(plan, open);
        }
        if self.repeats.len() > open.repeats {
            wire::keep_last(out, start, &self.repeats[open.repeats..]);
            self.repeats.truncate(open.repeats);
        }
        self.marks.truncate(open.marks);
        Ok(())
    }

    /// Appends members as long as they are plain, and goes to the end of the last one, or behind the key of the field
    /// that it returns.
    #[inline]
    fn plain_members<'p>(
        &mut self,
        plan: &'p MessagePlan,
        open: Open,
        place: &mut usize,
        first: &mut bool,
        out: &mut Vec<u8>,
    ) -> Option<(usize, &'p str)> {
        let (text, at) = (self.parser.bytes(), self.parser.offset());
        let marks = &mut self.marks[open.marks..];
        let stop = plain::members(plan, text, at, first, place, |slot| mark(marks, slot), out);
        self.parser.seek(stop.at);
        stop.before_value_of
    }

    /// Serializers write the fields of a type in one order, so the next key is mostly the one that came before.
    #[inline]
    fn expected_key<'p>(&mut self, plan: &'p MessagePlan, place: usize) -> Option<(usize, &'p str)> {
        let (slot, field) = plan.expected(place)?;
        if self.parser.eat_key(&field.keys[0]) {
            return Some((slot, &field.json_name));
        }
        self.parser.eat_key(&field.keys[1]).then_some((slot, &field.name))
    }

    fn unknown_field(&mut self, key: &str, out: &mut Vec<u8>) -> Result<()> {
        self.guarded(key, out, |decoder, _| {
            decoder.tolerate(Tolerance::UnknownField)?;
            Ok(decoder.parser.skip()?)
        })
    }

    /// Appends a field of an object.
    #[inline]
    fn member(
        &mut self,
        plan: &MessagePlan,
        slot: usize,
        name: &str,
        open: Open,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let field = &plan.fields[slot];
        self.guarded(name, out, |decoder, out| {
            if field.oneof.is_some() && decoder.parser.is_null() && !field.kind.takes_null() {
                // It does not count, neither as a member that is set nor as one that came before.
                return Ok(decoder.parser.null()?);
            }
            if decoder.mark(open, slot) {
                decoder.tolerate(Tolerance::DuplicateKey)?;
                decoder.repeat(open, Repeat { number: field.number, from: out.len() });
            } else if let Some(oneof) = field.oneof
                && decoder.mark(open, plan.fields.len() + oneof)
            {
                return Err(decoder.complaint("another member of its oneof is set already"));
            }
            decoder.field(field, out)
        })
    }

    #[inline]
    fn is_marked(&self, open: Open, index: usize) -> bool {
        self.marks[open.marks + index / 64] & 1 << (index % 64) != 0
    }

    /// Sets a mark, and tells whether it was set.
    #[inline]
    fn mark(&mut self, open: Open, index: usize) -> bool {
        mark(&mut self.marks[open.marks..], index)
    }

    fn repeat(&mut self, open: Open, repeat: Repeat) {
        let known = self.repeats[open.repeats..].iter_mut().find(|known| known.number == repeat.number);
        match known {
            Some(known) => *known = repeat,
            None => self.repeats.push(repeat),
        }
    }

    fn note_missing(&mut self, plan: &MessagePlan, open: Open) {
        for (slot, field) in plan.fields.iter().enumerate() {
            if !self.is_marked(open, slot) && field.oneof.is_none() {
                self.survey.missing(&field.name, self.parser.offset());
            }
        }
    }

    /// Appends all values of a field; `null` is none.
    #[inline]
    fn field(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        if self.parser.is_null() && !(field.kind.takes_null() && field.shape.is_single()) {
            return Ok(self.parser.null()?);
        }
        match field.shape {
            Shape::Single { explicit } => self.single(field, explicit, out),
            Shape::List { packed: true } => self.packed(field, out),
            Shape::List { packed: false } => {
                self.elements(field, false, |decoder, out| decoder.single(field, true, out), out)
            }
            Shape::Map => self.map(field, out),
        }
    }

    /// Appends one value with its tag. Where a default value is the same as none, it is left out.
    #[inline]
    fn single(&mut self, field: &FieldPlan, explicit: bool, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_tag(field.number, field.kind.wire_type(), out);
        let content = out.len();
        let written = self.value(&field.kind, out)?;
        let is_default = !explicit && out[content..].iter().all(|byte| *byte == 0);
        if !written || is_default {
            out.truncate(start);
        } else if let Kind::Group(_) = field.kind {
            wire::put_tag(field.number, Type::EndGroup, out);
        }
        Ok(())
    }

    fn packed(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        wire::put_tag(field.number, Type::Bytes, out);
        let content = out.len();
        wire::put_delimited(out, |out| {
            self.elements(field, true, |decoder, out| decoder.value(&field.kind, out).map(drop), out)
        })?;
        if out[content..] == [0] {
            out.truncate(start);
        }
        Ok(())
    }

    /// Reads an array, each element that is not plain by `element`.
    fn elements(
        &mut self,
        field: &FieldPlan,
        packed: bool,
        mut element: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<()>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.open_array()?;
        let mut index = 0;
        loop {
            let (text, at) = (self.parser.bytes(), self.parser.offset());
            self.parser.seek(plain::elements(field, packed, text, at, &mut index, out));
            if !self.parser.next_element(&mut (index == 0))? {
                return Ok(());
            }
            self.guarded(index, out, |decoder, out| {
                if decoder.parser.is_null() && !field.kind.takes_null() {
                    decoder.tolerate(Tolerance::NullElement)?;
                    return Ok(decoder.parser.null()?);
                }
                element(decoder, out)
            })?;
            index += 1;
        }
    }

    /// Appends one entry message per member: the key in slot 0, the value in slot 1.
    fn map(&mut self, field: &FieldPlan, out: &mut Vec<u8>) -> Result<()> {
        let Kind::Message(entry) = &field.kind else { unreachable!("a map's kind is its entry message") };
        let [key_plan, value_plan] = self.schema.message(*entry).fields.as_slice() else {
            unreachable!("an entry has a key and a value")
        };
        self.open_object()?;
        let mut first = true;
        while self.parser.next_member(&mut first)? {
            let key = self.parser.key()?;
            self.guarded(&*key, out, |decoder, out| {
                if decoder.parser.is_null() && !value_plan.kind.takes_null() {
                    decoder.tolerate(Tolerance::NullElement)?;
                    return Ok(decoder.parser.null()?);
                }
                let start = out.len();
                wire::put_tag(field.number, Type::Bytes, out);
                let mut written = true;
                wire::put_delimited(out, |out| {
                    decoder.map_key(key_plan, &key, out)?;
                    wire::put_tag(value_plan.number, value_plan.kind.wire_type(), out);
                    written = decoder.value(&value_plan.kind, out)?;
                    Ok::<_, Box<Complaint>>(())
                })?;
                if !written {
                    out.truncate(start);
                }
                Ok(())
            })?;
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
            (scalar, key) => match Number::spelled(key) {
                Some(number) => self.put_number(scalar, &number, "another key", out)?,
                None => return Err(self.mismatch(scalar.expected(), "another key", key)),
            },
        }
        Ok(())
    }

    /// Appends one value without a tag; `false` is a value to be ignored (an enum name that is not known).
    pub(super) fn value(&mut self, kind: &Kind, out: &mut Vec<u8>) -> Result<bool> {
        match kind {
            Kind::Scalar(scalar) => self.scalar(*scalar, out)?,
            Kind::Enum(plan) => return self.enum_value(plan, out),
            Kind::Null => self.null_value(out)?,
            Kind::Message(id) => wire::put_delimited(out, |out| self.message(*id, out))?,
            Kind::Group(id) => self.message(*id, out)?,
            Kind::WellKnown(known) => wire::put_delimited(out, |out| self.well_known(*known, out))?,
        }
        Ok(true)
    }

    /// Reads one value that `step` leads to. In a survey, one that does not fit is noted and skipped.
    #[inline]
    pub(super) fn guarded<'s>(
        &mut self,
        step: impl Into<Step<'s>>,
        out: &mut Vec<u8>,
        read: impl FnOnce(&mut Self, &mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let step = step.into();
        if !SURVEY {
            return read(self, out).map_err(|complaint| complaint.under(step));
        }
        let (before, length) = (self.parser.mark(), out.len());
        let (marks, repeats) = (self.marks.len(), self.repeats.len());
        self.survey.enter(step);
        let result = match read(self, out) {
            Err(complaint) if !complaint.is_syntax() => {
                self.survey.misfit(&complaint);
                self.parser.reset(before);
                out.truncate(length);
                self.marks.truncate(marks);
                self.repeats.truncate(repeats);
                self.parser.skip().map_err(Box::from)
            }
            result => result,
        };
        self.survey.leave();
        result.map_err(|complaint| complaint.under(step))
    }

    /// Counts something that is not as it should be, or refuses it.
    pub(super) fn tolerate(&mut self, tolerance: Tolerance) -> Result<()> {
        if self.strict.refuses(tolerance) {
            return Err(self.complaint(tolerance.complaint()));
        }
        self.tolerated.note(tolerance);
        if SURVEY {
            self.survey.tolerated(tolerance, self.parser.offset());
        }
        Ok(())
    }

    /// Enters an object, which must come.
    #[inline]
    pub(super) fn open_object(&mut self) -> Result<()> {
        if self.parser.open_object()? { Ok(()) } else { Err(self.not_a(Next::Object)) }
    }

    /// Enters an array, which must come.
    #[inline]
    pub(super) fn open_array(&mut self) -> Result<()> {
        if self.parser.open_array()? { Ok(()) } else { Err(self.not_a(Next::Array)) }
    }

    #[cold]
    fn not_a(&mut self, wanted: Next) -> Box<Complaint> {
        match self.parser.peek() {
            Ok(found) => self.wrong_kind(wanted.name(), found),
            Err(error) => error.into(),
        }
    }

    pub(super) fn expect_as(&mut self, wanted: Next, expected: &str) -> Result<()> {
        match self.parser.peek()? {
            found if found == wanted => Ok(()),
            found => Err(self.wrong_kind(expected, found)),
        }
    }

    #[cold]
    pub(super) fn wrong_kind(&self, expected: &str, found: Next) -> Box<Complaint> {
        self.complaint(format!("expected {expected}, found {}", found.name()))
    }

    /// A value of the right JSON kind that does not fit; what it is goes to the log only.
    #[cold]
    pub(super) fn mismatch(&self, expected: &str, found: &str, value: &str) -> Box<Complaint> {
        self.complaint(format!("expected {expected}, found {found}")).with_value(value)
    }

    #[cold]
    pub(super) fn complaint(&self, what: impl Into<String>) -> Box<Complaint> {
        Complaint::new(self.parser.offset(), what)
    }
}

/// Sets a mark, and tells whether it was set.
#[inline]
fn mark(marks: &mut [u64], index: usize) -> bool {
    let (word, bit) = (&mut marks[index / 64], 1 << (index % 64));
    let was = *word & bit != 0;
    *word |= bit;
    was
}

// === impl Kind ===

impl Kind {
    /// Whether `null` is a value of this type, and not the lack of one.
    #[inline]
    fn takes_null(&self) -> bool {
        matches!(self, Self::Null | Self::WellKnown(WellKnown::Value(_)))
    }
}

// === impl Shape ===

impl Shape {
    fn is_single(self) -> bool {
        matches!(self, Self::Single { .. })
    }
}
