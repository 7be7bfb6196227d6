//! A request message to the REST request that says it.
//!
//! `google/api/http.proto` decides where each field goes: into the path if the template binds it, into
//! the body if the rule says so, and otherwise into the query.

use bytes::Bytes;
use http::{HeaderValue, Method as Verb, Request, header, uri::PathAndQuery};

use super::{
    body, path,
    plan::{Kind, MessageId, Schema, WellKnown},
    query::query,
    refusal::RequestError,
    value::Leaf,
    view::View,
    wire::Value,
};
use crate::contract::{
    self, Binding, RestStyle,
    template::{Segment, Variable},
};

/// How to say a message as a request, by one binding.
#[derive(Debug, Clone)]
pub(super) struct RequestPlan {
    verb: Verb,
    path: Vec<PathPart>,
    body: BodyPlan,
    style: RestStyle,
    /// What the API is asked for.
    accept: HeaderValue,
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
    /// The message without the fields in the path.
    Whole,
    /// The message, which JSON writes in a way of its own.
    WellKnown(WellKnown),
    Field(usize),
    /// The bytes of the `google.api.HttpBody` that the message is, or that is the field in this slot.
    HttpBody(Option<usize>),
}

/// A body with its `Content-Type`; none is unset.
type Content = Option<(Vec<u8>, HeaderValue)>;

/// The slots of `google.api.HttpBody`.
const CONTENT_TYPE: usize = 0;
const DATA: usize = 1;

type Result<T> = std::result::Result<T, RequestError>;

/// The longest URL that the HTTP library carries.
pub(super) const MAX_URL_BYTES: usize = u16::MAX as usize - 1;

// === impl RequestPlan ===

impl RequestPlan {
    /// `input` is how JSON writes the request message, and `message` its fields.
    pub(super) fn compile(
        schema: &Schema,
        input: &Kind,
        message: MessageId,
        binding: &Binding,
        style: RestStyle,
        accept: HeaderValue,
    ) -> Self {
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
        let body = match (&binding.body, input) {
            (contract::Body::None, _) => BodyPlan::None,
            (contract::Body::Whole, _) if binding.is_http_body(None) => BodyPlan::HttpBody(None),
            (contract::Body::Whole, Kind::WellKnown(known)) => BodyPlan::WellKnown(*known),
            (contract::Body::Whole, _) => BodyPlan::Whole,
            (contract::Body::Field(field), _) => {
                let slot = schema.message(message).slot_numbered(field.number()).unwrap_or_default();
                if binding.is_http_body(Some(field)) {
                    BodyPlan::HttpBody(Some(slot))
                } else {
                    BodyPlan::Field(slot)
                }
            }
        };
        Self { verb: binding.verb.clone(), path, body, style, accept, bound }
    }

    /// Says the message as a request whose URI is the path and query alone.
    pub(super) fn encode(&self, schema: &Schema, view: &View<'_>, message: &[u8]) -> Result<Request<Bytes>> {
        let mut uri = self.path(schema, view)?;
        let bound: Vec<_> = self.bound.iter().map(Vec::as_slice).collect();
        let content = self.content(schema, view, &bound, message)?;
        let query_skips = match self.body {
            BodyPlan::None => Some(None),
            BodyPlan::Field(slot) | BodyPlan::HttpBody(Some(slot)) => Some(Some(slot)),
            BodyPlan::Whole | BodyPlan::WellKnown(_) | BodyPlan::HttpBody(None) => None,
        };
        if let Some(skip) = query_skips {
            uri.push_str(&query(schema, self.style, view, &bound, skip)?);
        }
        self.request(uri, content)
    }

    fn content(
        &self,
        schema: &Schema,
        view: &View<'_>,
        bound: &[&[usize]],
        message: &[u8],
    ) -> Result<Content> {
        let body = match self.body {
            BodyPlan::None => None,
            BodyPlan::Whole => Some(body::message(schema, self.style, view, bound)?),
            BodyPlan::WellKnown(known) => Some(body::well_known(schema, self.style, known, message)?),
            BodyPlan::Field(slot) => body::field(schema, self.style, view, slot)?,
            BodyPlan::HttpBody(None) => return http_body(view),
            BodyPlan::HttpBody(Some(slot)) if view.has(slot) => {
                let field = &view.plan.fields[slot].name;
                return http_body(&view.inner(schema, slot)?).map_err(|error| error.under(field));
            }
            BodyPlan::HttpBody(Some(_)) => None,
        };
        Ok(body.map(|body| (body, HeaderValue::from_static("application/json"))))
    }

    fn request(&self, uri: String, content: Content) -> Result<Request<Bytes>> {
        // Literals are checked at start and values percent-encoded, so only the length can be wrong.
        let uri = PathAndQuery::from_maybe_shared(Bytes::from(uri))
            .map_err(|_| too_long_a_url().under("the request"))?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = self.verb.clone();
        *request.uri_mut() = uri.into();
        request.headers_mut().insert(header::ACCEPT, self.accept.clone());
        if let Some((body, content_type)) = content {
            *request.body_mut() = Bytes::from(body);
            request.headers_mut().insert(header::CONTENT_TYPE, content_type);
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

/// What is said of a request whose URL would be longer than [`MAX_URL_BYTES`].
pub(super) fn too_long_a_url() -> RequestError {
    RequestError::unmappable(format!(
        "makes a URL of more than {MAX_URL_BYTES} bytes, which is longer than HTTP carries"
    ))
}

/// The bytes of a `google.api.HttpBody` as they are, with the type that it says.
fn http_body(view: &View<'_>) -> Result<Content> {
    let fields = &view.plan.fields;
    let Leaf::Text(content_type) = Leaf::or_default(view, CONTENT_TYPE, &fields[CONTENT_TYPE].kind)? else {
        return Ok(None);
    };
    let data = view.last(DATA).and_then(Value::bytes).unwrap_or_default();
    let content_type = if content_type.is_empty() { "application/octet-stream" } else { content_type };
    let content_type = HeaderValue::from_str(content_type).map_err(|_| {
        RequestError::unmappable("must be a media type, such as text/plain").under("content_type")
    })?;
    Ok(Some((data.to_vec(), content_type)))
}
