//! One call on its way over the bridge and back: encode, send, decode, and what was learned at each step.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use prost_reflect::{Kind, MessageDescriptor, prost_types::method_options::IdempotencyLevel};

use super::{Inner, finished};
use crate::{
    call::{Call, X_REQUEST_ID, clip},
    contract::Body,
    deadline::Deadline,
    error::{Answer, Error},
    tls::Peer,
    transcode::{Decoded, Encoded, HttpAnswer, RequestError},
    upstream::{Reply, Served, Terms},
};

/// A larger message or answer takes more than a slice of time (some hundred microseconds), which is the most that the
/// other calls on a worker should wait.
const MAX_INLINE_BYTES: usize = 256 * 1024;
/// The request header in which a caller counts its own attempts (gRFC A6).
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// One call of one method.
#[derive(Clone)]
pub(super) struct Crossing {
    pub(super) bridge: Arc<Inner>,
    pub(super) method: usize,
    pub(super) call: Arc<Call>,
}

// === impl Crossing ===

impl Crossing {
    /// What the way to the API has to know of the call.
    pub(super) fn terms<B>(&self, request: &Request<B>) -> Terms {
        let Inner { methods, config, .. } = &*self.bridge;
        let deadline = request.extensions().get::<Deadline>().cloned();
        let deadline = deadline.unwrap_or_else(|| Deadline::after(config.default_deadline));
        let previous =
            request.headers().get(PREVIOUS_ATTEMPTS).and_then(|count| count.to_str().ok()?.parse().ok());
        let mut terms = Terms::new(self.method, deadline);
        let idempotency = methods.described(self.method).idempotency();
        terms.repeatable = idempotency != IdempotencyLevel::IdempotencyUnknown;
        terms.safe = idempotency == IdempotencyLevel::NoSideEffects;
        terms.previous_attempts = previous.unwrap_or_default();
        terms.ttl = methods.ttl(self.method);
        terms
    }

    /// What the API hears of the caller.
    pub(super) fn onward<B>(&self, request: &Request<B>) -> Result<HeaderMap, Error> {
        let peer = request.extensions().get::<Peer>();
        self.bridge.headers.onward(request.headers(), peer, &self.call)
    }

    /// Over and back: from the request message to the response message.
    pub(super) async fn cross(
        &self,
        message: Bytes,
        onward: HeaderMap,
        terms: Terms,
    ) -> Result<(Bytes, Served), Error> {
        let mut encoded = self.in_time(message.len(), move |crossing| crossing.encode(&message)).await?;
        let binding = encoded.binding;
        encoded.request.headers_mut().extend(onward);
        let reply = self.send(encoded.request, terms).await?;
        if !reply.response.status().is_success() {
            return Err(self.refusal(binding, &reply.response));
        }
        let started = Instant::now();
        let finished = finished::message(self, binding, &reply).await;
        self.call.note(|record| {
            record.transcode = Some(started.elapsed());
            record.tolerated = finished.as_ref().map(|(_, tolerated)| *tolerated).unwrap_or_default();
        });
        finished.map(|(message, _)| (message, reply.served))
    }

    pub(super) fn encode(&self, message: &[u8]) -> Result<Encoded, Error> {
        let started = Instant::now();
        let mut encoded = self.bridge.transcoder.encode(self.method, message)?;
        encoded.request.headers_mut().insert(X_REQUEST_ID, self.call.request_id.clone());
        self.call.note(|record| {
            record.request = request_line(&encoded.request);
            record.map = Some(started.elapsed());
        });
        Ok(encoded)
    }

    pub(super) async fn send(&self, request: Request<Bytes>, mut terms: Terms) -> Result<Reply, Error> {
        let started = Instant::now();
        terms.repeatable |= request.method().is_safe();
        let reply = self.bridge.upstream.send(request, &terms).await;
        self.call.note(|record| {
            record.wait = Some(started.elapsed());
            if let Ok(reply) = &reply {
                record.upstream_status = Some(reply.response.status());
                record.metadata = self.bridge.headers.back(reply.response.headers());
            }
        });
        reply
    }

    pub(super) fn decode(&self, binding: usize, answer: &Response<Bytes>) -> Result<Decoded, Error> {
        let decoded = self.bridge.transcoder.decode(self.method, binding, &http_answer(answer));
        decoded.map_err(|mismatch| {
            let html = answer.body().trim_ascii_start().starts_with(b"<");
            let what = if html { "it is HTML, not JSON".to_owned() } else { mismatch.to_string() };
            Error::AnswerMismatch { what, value: mismatch.value }
        })
    }

    /// Decodes small answers here and large ones aside.
    pub(super) async fn decode_in_time(
        &self,
        binding: usize,
        answer: &Arc<Response<Bytes>>,
    ) -> Result<Decoded, Error> {
        let answer = answer.clone();
        self.in_time(answer.body().len(), move |crossing| crossing.decode(binding, &answer)).await
    }

    /// What the API says with an error status, in the words of the contract.
    pub(super) fn refusal(&self, binding: usize, answer: &Response<Bytes>) -> Error {
        if answer.status() == StatusCode::UNAUTHORIZED && self.bridge.has_credential {
            return Error::CredentialRefused;
        }
        let method = self.bridge.methods.described(self.method);
        let output = method.descriptor().output();
        self.call.note(|record| record.resource_type = resource_type(&output));
        let mut answer = Answer::read(answer, SystemTime::now());
        if let Body::Field(field) = &method.bindings()[binding].body
            && let Kind::Message(body) = field.kind()
        {
            // The API names fields of the body; the caller knows them below the field that is the body.
            for name in answer.violations_mut().filter(|name| body.get_field_by_name(name).is_some()) {
                *name = format!("{}.{name}", field.name());
            }
        }
        Error::Answer(Box::new(answer))
    }

    /// Does what is small at once, and what is large on a thread of its own, so that the calls that share this worker
    /// go on meanwhile.
    async fn in_time<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if bytes <= MAX_INLINE_BYTES {
            return work(self);
        }
        let crossing = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&crossing)).await;
        done.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Panicked { detail: error.to_string() }),
        })
    }
}

pub(super) fn http_answer(answer: &Response<Bytes>) -> HttpAnswer<'_> {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    HttpAnswer { content_type, body: answer.body() }
}

/// The request without its query, which may hold what is nobody's business.
pub(super) fn request_line(request: &Request<Bytes>) -> String {
    format!("{} {}", request.method(), clip(request.uri().path()))
}

/// The message that the answer wraps, such as `shop.v1.Product` in `GetProductResponse`, else the answer.
fn resource_type(output: &MessageDescriptor) -> String {
    let mut fields = output.fields();
    match (fields.next().map(|field| field.kind()), fields.next()) {
        (Some(Kind::Message(inner)), None) => inner.full_name().to_owned(),
        _ => output.full_name().to_owned(),
    }
}

// === impl RequestError ===

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Malformed(_) => Self::MalformedRequest { what: error.to_string() },
            RequestError::Unmappable { field, description } => Self::Unmappable { field, description },
        }
    }
}
