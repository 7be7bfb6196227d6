//! A request message to the REST request that says it.
//!
//! `google/api/http.proto` decides where each field goes: into the path if the template binds it, into
//! the body if the rule says so, and otherwise into the query. Names are proto names; lists and nested
//! fields in the query are written as Rack reads them (`tags[]=a`, `filter[brand]=x`), because its plain
//! form (`tags=a&tags=b`, `filter.brand=x`) loses data there.

use bytes::Bytes;
use http::{HeaderValue, Method as Verb, Request, header, uri::PathAndQuery};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    body,
    plan::{FieldPlan, Kind, MessageId, Schema, Shape},
    value::{Leaf, LeafError},
    wire::{self, Value, View, WireError},
};
use crate::contract::{
    self, Binding,
    template::{Glob, Segment, Variable},
};

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How to say a message as a request, by one binding.
#[derive(Debug, Clone)]
pub(super) struct RequestPlan {
    verb: Verb,
    path: Vec<PathPart>,
    body: BodyPlan,
    /// The fields that the path binds, each as the slots on the way to it.
    bound: Vec<Vec<usize>>,
}

#[derive(Debug, Clone)]
enum PathPart {
    Literal(String),
    Variable { slots: Vec<usize>, variable: Variable },
}

#[derive(Debug, Clone, Copy)]
enum BodyPlan {
    None,
    Whole,
    Field(usize),
}

/// Why a request message cannot be sent. Nothing has been sent then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The bytes are not the request message.
    #[error("the request message cannot be read: {0}")]
    Malformed(#[from] WireError),
    /// A field has a value that the URL cannot carry.
    #[error("{field} {description}")]
    Unmappable {
        /// The path of the field in the request message.
        field: String,
        /// What is wrong with it.
        description: String,
    },
}

type Result<T> = std::result::Result<T, RequestError>;

struct Query<'a> {
    schema: &'a Schema,
    text: String,
}

// === impl RequestPlan ===

impl RequestPlan {
    pub(super) fn compile(schema: &Schema, message: MessageId, binding: &Binding) -> Self {
        let mut path = Vec::new();
        let mut bound = Vec::new();
        for segment in &binding.template.segments {
            match segment {
                Segment::Literal(text) => path.push(PathPart::Literal(text.clone())),
                Segment::Variable(variable) => {
                    let slots = slots(schema, message, variable);
                    bound.push(slots.clone());
                    path.push(PathPart::Variable { slots, variable: variable.clone() });
                }
                Segment::Any | Segment::AnyPath => unreachable!("the contract refuses unbound wildcards"),
            }
        }
        if let (Some(verb), Some(last)) = (&binding.template.verb, path.last_mut()) {
            match last {
                PathPart::Literal(text) => text.extend([":", verb]),
                PathPart::Variable { .. } => path.push(PathPart::Literal(format!(":{verb}"))),
            }
        }
        let body = match &binding.body {
            contract::Body::None => BodyPlan::None,
            contract::Body::Whole => BodyPlan::Whole,
            contract::Body::Field(field) => {
                BodyPlan::Field(schema.message(message).slot_numbered(field.number()).unwrap_or_default())
            }
        };
        Self { verb: binding.verb.clone(), path, body, bound }
    }

    /// Says the message as a request whose URI is the path and query alone.
    pub(super) fn encode(&self, schema: &Schema, view: &View<'_>) -> Result<Request<Bytes>> {
        let mut uri = self.path(schema, view)?;
        let bound: Vec<_> = self.bound.iter().map(Vec::as_slice).collect();
        let body = match self.body {
            BodyPlan::None => None,
            BodyPlan::Whole => Some(body::message(schema, view, &bound)?),
            BodyPlan::Field(slot) => body::field(schema, view, slot)?,
        };
        if !matches!(self.body, BodyPlan::Whole) {
            let skip = if let BodyPlan::Field(slot) = self.body { Some(slot) } else { None };
            let mut query = Query { schema, text: String::new() };
            query.message("", view, &bound, skip)?;
            uri.push_str(&query.text);
        }
        self.request(uri, body)
    }

    fn request(&self, uri: String, body: Option<Vec<u8>>) -> Result<Request<Bytes>> {
        let length = uri.len();
        let uri = PathAndQuery::from_maybe_shared(Bytes::from(uri)).map_err(|_| {
            // Literals are checked at start and values percent-encoded, so only the length can be wrong.
            unmappable(
                "the request",
                format!("makes a URL of {length} bytes, which is longer than HTTP carries"),
            )
        })?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = self.verb.clone();
        *request.uri_mut() = uri.into();
        if let Some(body) = body {
            *request.body_mut() = Bytes::from(body);
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }

    fn path(&self, schema: &Schema, view: &View<'_>) -> Result<String> {
        let mut path = String::new();
        for part in &self.path {
            match part {
                PathPart::Literal(text) if text.starts_with(':') => path.push_str(text),
                PathPart::Literal(text) => path.extend(["/", text]),
                PathPart::Variable { slots, variable } => {
                    let value = leaf_text(schema, view, slots).map_err(|error| error.at(variable))?;
                    path.push('/');
                    expand(variable, &value, &mut path)
                        .map_err(|description| unmappable(variable.field_path.join("."), description))?;
                }
            }
        }
        Ok(path)
    }
}

/// The slots on the way to a variable's field; the contract has checked that they exist.
fn slots(schema: &Schema, message: MessageId, variable: &Variable) -> Vec<usize> {
    let mut slots = Vec::new();
    let mut message = Some(message);
    for name in &variable.field_path {
        let plan = message.map(|id| schema.message(id));
        let Some((plan, slot)) = plan.and_then(|plan| Some((plan, plan.slot_named(name)?))) else { break };
        slots.push(slot);
        message = match plan.fields[slot].kind {
            Kind::Message(id) => Some(id),
            _ => None,
        };
    }
    slots
}

/// The text of the value at the end of `slots`; what was not sent reads as its default.
fn leaf_text(schema: &Schema, view: &View<'_>, slots: &[usize]) -> std::result::Result<String, LeafError> {
    let Some((slot, rest)) = slots.split_first() else { return Ok(String::new()) };
    let field = &view.plan.fields[*slot];
    match &field.kind {
        Kind::Message(id) => leaf_text(schema, &view.message(schema, *slot, *id)?, rest),
        kind => {
            let sent = match view.last(*slot) {
                Some(value) => Leaf::read(kind, value)?,
                None => None,
            };
            let Shape::Single { explicit } = field.shape else { return Ok(String::new()) };
            // An unset optional field has no value to put into a path; empty text is refused there.
            let value = if explicit { sent } else { sent.or_else(|| Leaf::default(kind)) };
            Ok(value.map(|leaf| leaf.text()).unwrap_or_default())
        }
    }
}

/// Appends the value, percent-encoded, if it fits the variable's pattern.
///
/// Dot segments are refused: clients and servers resolve them, in every encoding, to another path.
fn expand(variable: &Variable, value: &str, path: &mut String) -> std::result::Result<(), String> {
    let single = variable.is_single_segment();
    let segments: Vec<_> = if single { vec![value] } else { value.split('/').collect() };
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err("must not have \".\" or \"..\" as a path segment".to_owned());
    }
    if value.is_empty() {
        return Err("must be set, since the path needs it".to_owned());
    }
    if segments.iter().any(|segment| segment.is_empty()) || !fits(&variable.pattern, &segments) {
        let pattern: Vec<_> = variable.pattern.iter().map(Glob::as_str).collect();
        return Err(format!("must look like \"{}\"", pattern.join("/")));
    }
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            path.push('/');
        }
        path.extend(utf8_percent_encode(segment, RESERVED));
    }
    Ok(())
}

fn fits(pattern: &[Glob], segments: &[&str]) -> bool {
    match (pattern, segments) {
        ([], rest) => rest.is_empty(),
        ([Glob::Many, below @ ..], rest) => (0..=rest.len()).any(|taken| fits(below, &rest[taken..])),
        ([Glob::One, below @ ..], [_, rest @ ..]) => fits(below, rest),
        ([Glob::Literal(text), below @ ..], [first, rest @ ..]) => text == first && fits(below, rest),
        ([_, ..], []) => false,
    }
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
            self.field(&name, view, slot, field, &below(bound, slot))?;
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
        let at_name = |error: LeafError| error.at_name(name);
        match (&field.kind, field.shape) {
            (Kind::Message(id), Shape::Single { .. }) => {
                self.message(name, &view.message(self.schema, slot, *id)?, bound, None)
            }
            (Kind::Message(id), Shape::Map) => self.map(name, view, slot, *id),
            (Kind::Message(_), Shape::List { .. }) => {
                Err(unmappable(name, "is a list of messages, which a query cannot carry"))
            }
            (kind, Shape::Single { explicit }) => {
                let leaf = single(view, slot, kind).map_err(at_name)?;
                if let Some(leaf) = leaf.filter(|leaf| explicit || !leaf.is_default(kind)) {
                    self.pair(name, &leaf.text());
                }
                Ok(())
            }
            (kind, Shape::List { .. } | Shape::Map) => {
                for leaf in list(view, slot, kind).map_err(at_name)? {
                    self.pair(&format!("{name}[]"), &leaf.text());
                }
                Ok(())
            }
        }
    }

    fn map(&mut self, name: &str, view: &View<'a>, slot: usize, entry: MessageId) -> Result<()> {
        for bytes in view.all(slot).filter_map(Value::bytes) {
            let entry = view.element(self.schema, entry, bytes)?;
            let key = leaf_text(self.schema, &entry, &[0]).map_err(|error| error.at_name(name))?;
            let name = format!("{name}[{key}]");
            match &entry.plan.fields[1].kind {
                Kind::Message(id) => {
                    self.message(&name, &entry.message(self.schema, 1, *id)?, &[], None)?;
                }
                kind => {
                    let value = single(&entry, 1, kind).map_err(|error| error.at_name(&name))?;
                    let value = value.or_else(|| Leaf::default(kind));
                    self.pair(&name, &value.map(|leaf| leaf.text()).unwrap_or_default());
                }
            }
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

/// The bound paths that go through `slot`, without it.
pub(super) fn below<'b>(bound: &[&'b [usize]], slot: usize) -> Vec<&'b [usize]> {
    bound.iter().filter_map(|path| path.strip_prefix(&[slot])).collect()
}

/// The value of a single field that is no message, if it was sent.
pub(super) fn single<'a>(
    view: &View<'a>,
    slot: usize,
    kind: &Kind,
) -> std::result::Result<Option<Leaf<'a>>, LeafError> {
    match (kind, view.last(slot)) {
        (Kind::WellKnown(known), Some(_)) => {
            Leaf::well_known(*known, view.all(slot).filter_map(Value::bytes)).map(Some)
        }
        (kind, Some(value)) => Leaf::read(kind, value),
        (_, None) => Ok(None),
    }
}

/// The values of a list that holds no messages, packed or not.
pub(super) fn list<'a>(
    view: &View<'a>,
    slot: usize,
    kind: &Kind,
) -> std::result::Result<Vec<Leaf<'a>>, LeafError> {
    let mut leaves = Vec::new();
    for value in view.all(slot) {
        match value {
            Value::Bytes(packed) if kind.wire_type() != wire::Type::Bytes => {
                for value in wire::unpack(packed, kind.wire_type()) {
                    leaves.extend(Leaf::read(kind, value?)?);
                }
            }
            value => leaves.extend(Leaf::read(kind, value)?),
        }
    }
    Ok(leaves)
}

pub(super) fn unmappable(field: impl Into<String>, description: impl Into<String>) -> RequestError {
    RequestError::Unmappable { field: field.into(), description: description.into() }
}

// === impl LeafError ===

impl LeafError {
    fn at(self, variable: &Variable) -> RequestError {
        self.at_name(&variable.field_path.join("."))
    }

    pub(super) fn at_name(self, name: &str) -> RequestError {
        match self {
            Self::Wire(error) => RequestError::Malformed(error),
            Self::Range(description) => unmappable(name, description),
        }
    }
}
