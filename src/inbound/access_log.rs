//! Begins the [`Call`] of every request, and writes one line when it ends.
//!
//! A call whose caller goes away ends too: its future is dropped, and the line says CANCELLED.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use http::{HeaderMap, Request, Response, header};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Level;

use super::ResponseFuture;
use crate::{
    call::{Call, Record, clip},
    error::{Side, status::code_name},
    forwarded,
    tls::Peer,
};

/// The target of the lines, to be turned up or down by itself.
const TARGET: &str = "access";
/// Calls that probes and tools make; their lines are for debugging only.
const QUIET: [&str; 2] = ["grpc.health.v1.", "grpc.reflection.v1"];

/// Makes [`AccessLog`].
#[derive(Debug, Clone)]
pub struct AccessLogLayer {
    domain: Arc<str>,
    hops: Option<usize>,
}

/// Gives each request its [`Call`].
#[derive(Debug, Clone)]
pub struct AccessLog<S> {
    inner: S,
    domain: Arc<str>,
    hops: Option<usize>,
}

/// Writes the line when it is dropped, however the call ended.
struct Line {
    call: Arc<Call>,
    user_agent: String,
}

// === impl AccessLogLayer ===

impl AccessLogLayer {
    /// `domain` is the domain of the errors that calls end with, `hops` how many proxies are trusted to tell where callers
    /// are, if any.
    pub fn new(domain: Arc<str>, hops: Option<usize>) -> Self {
        Self { domain, hops }
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AccessLog { inner, domain: self.domain.clone(), hops: self.hops }
    }
}

// === impl AccessLog ===

impl<S> Service<Request<Body>> for AccessLog<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let call = Call::begin(request.uri().path(), request.headers(), self.domain.clone());
        let call = Arc::new(call.from(self.client(&request)));
        request.extensions_mut().insert(call.clone());
        let line = Line { call, user_agent: user_agent(request.headers()) };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            line.call.note(|record| {
                record.code.get_or_insert_with(|| code(&response));
            });
            Ok(response)
        })
    }
}

impl<S> AccessLog<S> {
    /// Where the caller is, if that is to be believed.
    fn client<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let (hops, peer) = (self.hops?, request.extensions().get::<Peer>()?);
        forwarded::way(request.headers(), peer.address.ip(), hops).first().copied()
    }
}

/// The code of an answer that is not the bridge's: errors stand in its head, all else is a success.
fn code(response: &Response<Body>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    clip(agent.unwrap_or_default())
}

// === impl Line ===

impl Drop for Line {
    fn drop(&mut self) {
        let record = self.call.record();
        match level(&self.call.method, &record) {
            Level::ERROR => self.write_error(&record),
            Level::WARN => self.write_warn(&record),
            Level::INFO => self.write_info(&record),
            _ => self.write_debug(&record),
        }
    }
}

/// The level of a line: an error is something that an operator has to mend.
fn level(method: &str, record: &Record) -> Level {
    match record.failure.as_ref().map(|failure| failure.side) {
        _ if QUIET.iter().any(|quiet| method.starts_with(quiet)) => Level::DEBUG,
        Some(Side::Bridge) => Level::ERROR,
        Some(Side::Upstream) => Level::WARN,
        Some(Side::Caller) | None => Level::INFO,
    }
}

/// `tracing` wants the level of an event at compile time, so there is one function a level.
macro_rules! write_at {
    ($name:ident, $level:expr) => {
        fn $name(&self, record: &Record) {
            let code = code_name(record.code.unwrap_or(Code::Cancelled));
            let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
            let latency = self.call.started.elapsed();
            tracing::event!(
                target: TARGET,
                $level,
                method = self.call.method,
                code,
                caller = record.caller.as_deref(),
                gateway = record.gateway.as_deref(),
                client = self.call.client.map(|client| client.to_string()),
                upstream_status = record.upstream_status.map(|status| status.as_u16()),
                request_id = self.call.request_id.to_str().unwrap_or_default(),
                latency_us = micros(latency),
                map_us = record.map.map(micros),
                wait_us = record.wait.map(micros),
                transcode_us = record.transcode.map(micros),
                tolerated = (!record.tolerated.is_empty()).then(|| record.tolerated.to_string()),
                user_agent = self.user_agent,
                error = record.failure.as_ref().map(|failure| failure.message.as_str()),
                detail = record.failure.as_ref().and_then(|failure| failure.detail.as_deref()),
                "{} {code}",
                self.call.method,
            );
        }
    };
}

impl Line {
    write_at!(write_error, Level::ERROR);
    write_at!(write_warn, Level::WARN);
    write_at!(write_info, Level::INFO);
    write_at!(write_debug, Level::DEBUG);
}
