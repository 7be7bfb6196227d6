//! The bridge: a gRPC call in, one REST request out, and its answer back.
//!
//! The only file that sees both shores, and so the shortest important one: find the method, encode, send,
//! decode. Everything it hands over is a plain HTTP request or answer, or the bytes of a message.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{Kind, MessageDescriptor};
use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    server::{Grpc, UnaryService},
};
use tower::Service;

use crate::{
    call::{Call, X_REQUEST_ID, clip},
    codec::BytesCodec,
    config::{InboundConfig, UpstreamConfig},
    contract::{Body, Contract},
    deadline::Deadline,
    error::{Answer, Error},
    fault::Fault,
    transcode::{Decoded, Encoded, HttpAnswer, Mismatch, RequestError, Survey, Tolerated, Transcoder},
    upstream::{Memo, Reply, Served, Terms, Upstream},
};

/// A smaller message gains nothing from compression.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// A larger message or answer takes more than a slice of time (some hundred microseconds), which is the most that the
/// other calls on a worker should wait.
const MAX_INLINE_BYTES: usize = 256 * 1024;

/// A tower service that serves every method of a contract.
#[derive(Debug, Clone)]
pub struct Bridge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    contract: Contract,
    transcoder: Transcoder,
    /// gRPC path to index in the contract.
    methods: HashMap<String, usize>,
    /// How long the answers of each method are served without asking again, where that is configured.
    ttls: Vec<Option<Duration>>,
    upstream: Upstream,
    config: InboundConfig,
}

/// One call of one method, as tonic wants to see it.
struct BridgedCall {
    bridge: Arc<Inner>,
    method: usize,
    call: Arc<Call>,
    terms: Terms,
}

/// A message as it is kept beside the answer that it was made of.
struct Finished {
    method: usize,
    binding: usize,
    message: Bytes,
    tolerated: Tolerated,
}

/// What keeping a message can end in besides the message.
enum NotKept {
    /// There is no room for it.
    TooLarge(Decoded),
    Failed(Error),
}

/// The response header that tells how the API's answer was come by (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The request header in which a caller counts its own attempts (gRFC A6).
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

type ResponseFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

// === impl Bridge ===

impl Bridge {
    /// Compiles the contract.
    ///
    /// # Errors
    /// The configuration names a method that the contract has not.
    pub fn new(
        contract: Contract,
        upstream: Upstream,
        config: InboundConfig,
        upstream_config: &UpstreamConfig,
    ) -> Result<Self, Vec<Fault>> {
        let transcoder = Transcoder::compile(&contract, upstream_config.strict);
        let ttls = ttls(&contract, &upstream_config.cache.ttl)?;
        let methods = contract.methods().iter().enumerate();
        let methods = methods.map(|(index, method)| (method.path().to_owned(), index)).collect();
        Ok(Self { inner: Arc::new(Inner { contract, transcoder, methods, ttls, upstream, config }) })
    }

    /// Whether calls of a method are served at all.
    ///
    /// # Errors
    /// What every caller gets: it streams, or has no HTTP rule.
    pub fn serves(&self, method: usize) -> Result<(), Status> {
        let served = self.inner.method(self.contract().methods()[method].path());
        served.map(drop).map_err(|error| self.inner.call_of(method).fail(&error))
    }

    /// The REST request that a call of a method would send; nothing is sent.
    ///
    /// # Errors
    /// What the caller would get instead.
    pub fn request_of(&self, method: usize, message: &[u8]) -> Result<Encoded, Status> {
        let call = self.inner.call_of(method);
        self.inner.encode(method, message, &call).map_err(|error| call.fail(&error))
    }

    /// The response message that a call would get from this answer of the API.
    ///
    /// # Errors
    /// What the caller would get instead.
    pub fn message_of(
        &self,
        method: usize,
        encoded: &Encoded,
        answer: &Response<Bytes>,
    ) -> Result<Decoded, Status> {
        let call = self.inner.call_of(method);
        call.note(|record| record.request = request_line(&encoded.request));
        let decoded = if answer.status().is_success() {
            self.inner.decode(method, encoded.binding, answer)
        } else {
            Err(self.inner.refusal(method, encoded.binding, answer, &call))
        };
        decoded.map_err(|error| call.fail(&error))
    }

    /// Sends a request to the API, as a call would.
    ///
    /// # Errors
    /// What the caller would get instead of an answer, and the cause, which only the log of a call has.
    pub async fn send(
        &self,
        method: usize,
        request: Request<Bytes>,
    ) -> Result<Arc<Response<Bytes>>, (Status, Option<String>)> {
        let call = self.inner.call_of(method);
        let cause = |error: &Error| error.log_detail();
        let terms = self.inner.terms(method, &Request::new(()));
        let reply = self.inner.send(request, terms, &call).await;
        reply.map(|reply| reply.response).map_err(|error| (call.fail(&error), cause(&error)))
    }

    /// Everything in a successful answer of the API that is not as the contract has it.
    ///
    /// # Errors
    /// The answer is no JSON.
    pub fn survey_of(
        &self,
        method: usize,
        encoded: &Encoded,
        answer: &Response<Bytes>,
    ) -> Result<Survey, Mismatch> {
        self.inner.transcoder.survey(method, encoded.binding, &http_answer(answer))
    }

    /// What it serves.
    pub fn contract(&self) -> &Contract {
        &self.inner.contract
    }
}

impl Service<Request<axum::body::Body>> for Bridge {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = ResponseFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<axum::body::Body>) -> Self::Future {
        let bridge = self.inner.clone();
        Box::pin(async move { Ok(bridge.serve(request).await) })
    }
}

// === impl Inner ===

impl Inner {
    async fn serve(self: Arc<Self>, request: Request<axum::body::Body>) -> Response<tonic::body::Body> {
        let call = Call::of(request.extensions()).unwrap_or_else(|| {
            let domain = self.config.error_domain.clone();
            Arc::new(Call::begin(request.uri().path(), request.headers(), domain))
        });
        let method = match self.method(request.uri().path()) {
            Ok(method) => method,
            Err(error) => return call.fail(&error).into_http(),
        };
        let terms = self.terms(method, &request);
        let mut grpc = Grpc::new(BytesCodec)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(self.config.max_request_bytes);
        if self.config.compress {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        let bridged = BridgedCall { bridge: self, method, call: call.clone(), terms };
        let response = grpc.unary(bridged, request).await;
        explained(response, &call)
    }

    fn call_of(&self, method: usize) -> Call {
        let path = self.contract.methods()[method].path();
        Call::begin(path, &HeaderMap::new(), self.config.error_domain.clone())
    }

    fn method(&self, path: &str) -> Result<usize, Error> {
        let index = *self.methods.get(path).ok_or(Error::UnknownMethod)?;
        match &self.contract.methods()[index] {
            method if method.is_streaming() => Err(Error::Streaming),
            method if method.bindings().is_empty() => Err(Error::Unmapped),
            _ => Ok(index),
        }
    }

    /// What the way to the API has to know of a call.
    fn terms<B>(&self, method: usize, request: &Request<B>) -> Terms {
        let deadline = request.extensions().get::<Deadline>().cloned();
        let deadline = deadline.unwrap_or_else(|| Deadline::after(self.config.default_deadline));
        let previous =
            request.headers().get(PREVIOUS_ATTEMPTS).and_then(|count| count.to_str().ok()?.parse().ok());
        let mut terms = Terms::new(method, deadline);
        let idempotency = self.contract.methods()[method].idempotency();
        terms.repeatable = idempotency != IdempotencyLevel::IdempotencyUnknown;
        terms.safe = idempotency == IdempotencyLevel::NoSideEffects;
        terms.previous_attempts = previous.unwrap_or_default();
        terms.ttl = self.ttls[method];
        terms
    }

    async fn bridge(
        self: &Arc<Self>,
        method: usize,
        message: Bytes,
        terms: Terms,
        call: &Arc<Call>,
    ) -> Result<(Bytes, Served), Error> {
        let encoded = if message.len() > MAX_INLINE_BYTES {
            let call = call.clone();
            self.aside(move |bridge| bridge.encode(method, &message, &call)).await?
        } else {
            self.encode(method, &message, call)?
        };
        let binding = encoded.binding;
        let reply = self.send(encoded.request, terms, call).await?;
        if !reply.response.status().is_success() {
            return Err(self.refusal(method, binding, &reply.response, call));
        }
        let started = Instant::now();
        let finished = self.finish(method, binding, &reply).await;
        call.note(|record| {
            record.transcode = Some(started.elapsed());
            record.tolerated = finished.as_ref().map(|(_, tolerated)| *tolerated).unwrap_or_default();
        });
        finished.map(|(message, _)| (message, reply.served))
    }

    /// The message of an answer: the one that is kept beside it, or a new one, which is then kept.
    async fn finish(
        self: &Arc<Self>,
        method: usize,
        binding: usize,
        reply: &Reply,
    ) -> Result<(Bytes, Tolerated), Error> {
        let answer = &reply.response;
        let make = || async {
            let decoded = self.decode_in_time(method, binding, answer).await.map_err(NotKept::Failed)?;
            if !Memo::has_room(decoded.message.len(), answer.body().len()) {
                return Err(NotKept::TooLarge(decoded));
            }
            let Decoded { message, tolerated } = decoded;
            Ok(Finished { method, binding, message, tolerated })
        };
        let decoded = match reply.memo.get_or_try_make(make).await {
            Ok(Some(kept)) if (kept.method, kept.binding) == (method, binding) => {
                return Ok((kept.message.clone(), kept.tolerated));
            }
            // The same URL, asked for by way of another method.
            Ok(_) => self.decode_in_time(method, binding, answer).await?,
            Err(NotKept::TooLarge(decoded)) => decoded,
            Err(NotKept::Failed(error)) => return Err(error),
        };
        Ok((decoded.message, decoded.tolerated))
    }

    /// Decodes small answers here and large ones aside.
    async fn decode_in_time(
        self: &Arc<Self>,
        method: usize,
        binding: usize,
        answer: &Arc<Response<Bytes>>,
    ) -> Result<Decoded, Error> {
        if answer.body().len() <= MAX_INLINE_BYTES {
            return self.decode(method, binding, answer);
        }
        let answer = answer.clone();
        self.aside(move |bridge| bridge.decode(method, binding, &answer)).await
    }

    fn encode(&self, method: usize, message: &[u8], call: &Call) -> Result<Encoded, Error> {
        let started = Instant::now();
        let mut encoded = self.transcoder.encode(method, message)?;
        encoded.request.headers_mut().insert(X_REQUEST_ID, call.request_id.clone());
        call.note(|record| {
            record.request = request_line(&encoded.request);
            record.map = Some(started.elapsed());
        });
        Ok(encoded)
    }

    async fn send(&self, request: Request<Bytes>, mut terms: Terms, call: &Call) -> Result<Reply, Error> {
        let started = Instant::now();
        terms.safe |= request.method().is_safe();
        terms.repeatable |= terms.safe;
        let reply = self.upstream.send(request, &terms).await;
        call.note(|record| {
            record.wait = Some(started.elapsed());
            record.upstream_status = reply.as_ref().ok().map(|reply| reply.response.status());
        });
        reply
    }

    fn decode(&self, method: usize, binding: usize, answer: &Response<Bytes>) -> Result<Decoded, Error> {
        self.transcoder.decode(method, binding, &http_answer(answer)).map_err(|mismatch| {
            let html = answer.body().trim_ascii_start().starts_with(b"<");
            let what = if html { "it is HTML, not JSON".to_owned() } else { mismatch.to_string() };
            Error::AnswerMismatch { what, value: mismatch.value }
        })
    }

    /// Works on a thread of its own, so that the calls that share this worker go on meanwhile.
    async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let bridge = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&bridge)).await;
        done.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Panicked { detail: error.to_string() }),
        })
    }

    /// What the API says with an error status, in the words of the contract.
    fn refusal(&self, method: usize, binding: usize, answer: &Response<Bytes>, call: &Call) -> Error {
        let method = &self.contract.methods()[method];
        let output = method.descriptor().output();
        call.note(|record| record.resource_type = resource_type(&output));
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
}

/// How long answers are served unasked, by the index of the method.
fn ttls(contract: &Contract, configured: &[(String, Duration)]) -> Result<Vec<Option<Duration>>, Vec<Fault>> {
    let mut ttls = vec![None; contract.methods().len()];
    let mut faults = Vec::new();
    for (name, ttl) in configured {
        match contract.method_named(name) {
            Ok(method) => ttls[method] = Some(*ttl),
            Err(others) => faults.push(Fault::new(
                "--cache-ttl or BRIDGE_CACHE_TTL",
                format!("the contract has no one method {name:?}"),
                format!("it has: {}", others.join(", ")),
            )),
        }
    }
    if faults.is_empty() { Ok(ttls) } else { Err(faults) }
}

/// The header for what did not go past the cache.
fn cache_status(served: Served) -> Option<(HeaderName, HeaderValue)> {
    let text = (served != Served::Bypassed).then(|| format!("grpc-rest-bridge; {served}"))?;
    Some((CACHE_STATUS, HeaderValue::try_from(text).ok()?))
}

fn http_answer(answer: &Response<Bytes>) -> HttpAnswer<'_> {
    let content_type = answer.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    HttpAnswer { content_type, body: answer.body() }
}

/// The request without its query, which may hold what is nobody's business.
fn request_line(request: &Request<Bytes>) -> String {
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

/// Gives a refusal by the gRPC library itself the details and the request id that all others have.
fn explained(mut response: Response<tonic::body::Body>, call: &Call) -> Response<tonic::body::Body> {
    let refused = Status::from_header_map(response.headers()).filter(|status| status.details().is_empty());
    if let Some(refused) = refused.filter(|status| status.code() != Code::Ok) {
        // The library says OUT_OF_RANGE for a message over the limit; other servers agree on this code.
        let code = if refused.code() == Code::OutOfRange { Code::ResourceExhausted } else { refused.code() };
        let status = call.fail(&Error::Protocol { code, what: refused.message().to_owned() });
        // The status was made by us from legal parts; should it not fit, the first one stands.
        let _ = status.add_header(response.headers_mut());
    }
    response
}

// === impl BridgedCall ===

impl UnaryService<Bytes> for BridgedCall {
    type Response = Bytes;
    type Future = ResponseFuture<tonic::Response<Bytes>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (bridge, method, call, terms) =
            (self.bridge.clone(), self.method, self.call.clone(), self.terms.clone());
        Box::pin(async move {
            let (message, served) = bridge
                .bridge(method, request.into_inner(), terms, &call)
                .await
                .map_err(|error| call.fail(&error))?;
            call.note(|record| record.code = Some(Code::Ok));
            let small = message.len() < MIN_COMPRESSED_BYTES;
            let mut response = tonic::Response::new(message);
            let headers = response.metadata_mut().as_mut();
            headers.insert(X_REQUEST_ID, call.request_id.clone());
            headers.extend(cache_status(served));
            if small {
                response.disable_compression();
            }
            Ok(response)
        })
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
