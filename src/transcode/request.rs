//! A request message to the REST request that says it.
//!
//! `google/api/http.proto` decides where each field goes: into the path if the template binds it, into
//! the body if the rule says so, and otherwise into the query.

use bytes::Bytes;
use http::{HeaderValue, Method as Verb, Request, header, uri::PathAndQuery};

use super::{
    body, path,
    plan::{MessageId, Schema},
    query::query,
    refusal::RequestError,
    view::View,
};
use crate::contract::{
    self, Binding,
    template::{Segment, Variable},
};

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

type Result<T> = std::result::Result<T, RequestError>;

// === impl RequestPlan ===

impl RequestPlan {
    pub(super) fn compile(schema: &Schema, message: MessageId, binding: &Binding) -> Self {
        let mut path = Vec::new();
        let mut bound = Vec::new();
        for segment in &binding.template.segments {
            match segment {
                Segment::Literal(text) => path.push(PathPart::Literal(text.clone())),
                Segment::Variable(variable) => {
                    let slots = path::slots(schema, message, variable);
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
            uri.push_str(&query(schema, view, &bound, skip)?);
        }
        self.request(uri, body)
    }

    fn request(&self, uri: String, body: Option<Vec<u8>>) -> Result<Request<Bytes>> {
        let length = uri.len();
        let uri = PathAndQuery::from_maybe_shared(Bytes::from(uri)).map_err(|_| {
            // Literals are checked at start and values percent-encoded, so only the length can be wrong.
            RequestError::unmappable(format!(
                "makes a URL of {length} bytes, which is longer than HTTP carries"
            ))
            .under("the request")
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
        let mut text = String::new();
        for part in &self.path {
            match part {
                PathPart::Literal(verb) if verb.starts_with(':') => text.push_str(verb),
                PathPart::Literal(literal) => text.extend(["/", literal]),
                PathPart::Variable { slots, variable } => {
                    let value = path::leaf_text(schema, view, slots).map_err(RequestError::from);
                    let value = value.map_err(|error| error.under(&variable.field_path.join(".")))?;
                    text.push('/');
                    path::expand(variable, &value, &mut text).map_err(|description| {
                        RequestError::unmappable(description).under(&variable.field_path.join("."))
                    })?;
                }
            }
        }
        Ok(text)
    }
}
