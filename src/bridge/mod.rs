//! The bridge: a gRPC call in, one REST request out, and its answer back.
//!
//! The only room that sees both shores, and so a small one. A call is of one of its `methods`; a `crossing` leads it over and
//! back with what `headers` let pass, and may find its message `finished` by another call; `unary` is the gRPC library's view of that. Everything it
//! hands over is a plain HTTP request or answer, or the bytes of a message.

mod crossing;
mod finished;
mod headers;
mod methods;
mod unary;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tonic::Status;
use tower::Service;

use self::{
    crossing::{Crossing, http_answer, request_line},
    headers::Headers,
    methods::Methods,
};
use crate::{
    call::Call,
    config::{InboundConfig, UpstreamConfig},
    contract::Contract,
    fault::Fault,
    transcode::{Decoded, Encoded, Mismatch, Survey, Transcoder},
    upstream::Upstream,
};

/// A tower service that serves every method of a contract.
#[derive(Debug, Clone)]
pub struct Bridge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    methods: Methods,
    transcoder: Transcoder,
    upstream: Upstream,
    config: InboundConfig,
    headers: Headers,
    /// Whether the bridge proves itself to the API.
    has_credential: bool,
}

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
        let methods = Methods::new(contract, &upstream_config.cache.ttl)?;
        let has_credential = upstream_config.credential.is_some();
        let headers = Headers::new(&config.headers);
        Ok(Self { inner: Arc::new(Inner { methods, transcoder, upstream, config, headers, has_credential }) })
    }

    /// Whether calls of a method are served at all.
    ///
    /// # Errors
    /// What every caller gets: it streams, or has no HTTP rule.
    pub fn serves(&self, method: usize) -> Result<(), Status> {
        let served = self.inner.methods.serves(method);
        served.map_err(|error| self.crossing(method).call.fail(&error))
    }

    /// The REST request that a call of a method would send; nothing is sent.
    ///
    /// # Errors
    /// What the caller would get instead.
    pub fn request_of(&self, method: usize, message: &[u8]) -> Result<Encoded, Status> {
        let crossing = self.crossing(method);
        crossing.encode(message).map_err(|error| crossing.call.fail(&error))
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
        let crossing = self.crossing(method);
        crossing.call.note(|record| record.request = request_line(&encoded.request));
        let decoded = if answer.status().is_success() {
            crossing.decode(encoded.binding, answer)
        } else {
            Err(crossing.refusal(encoded.binding, answer))
        };
        decoded.map_err(|error| crossing.call.fail(&error))
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
        let crossing = self.crossing(method);
        let terms = crossing.terms(&Request::new(()));
        let reply = crossing.send(request, terms).await;
        reply.map(|reply| reply.response).map_err(|error| (crossing.call.fail(&error), error.log_detail()))
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
        self.inner.methods.contract()
    }

    /// A call of a method that nobody makes.
    fn crossing(&self, method: usize) -> Crossing {
        let path = self.contract().methods()[method].path();
        let call = Arc::new(self.inner.begin(path, &HeaderMap::new()));
        Crossing { bridge: self.inner.clone(), method, call }
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
        let call = Call::of(request.extensions())
            .unwrap_or_else(|| Arc::new(self.begin(request.uri().path(), request.headers())));
        match self.methods.find(request.uri().path()) {
            Ok(method) => unary::serve(Crossing { bridge: self, method, call }, request).await,
            Err(error) => call.fail(&error).into_http(),
        }
    }

    fn begin(&self, path: &str, headers: &HeaderMap) -> Call {
        Call::begin(path, headers, self.config.error_domain.clone())
    }
}
