//! Ends a call whose time has run out with DEADLINE_EXCEEDED, and with it everything that is done for it.
//!
//! It stands outside every queue, so that waiting counts against the caller's time. Dropping the call
//! cancels its request to the API.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use tonic::Code;
use tower::{Layer, Service};

use super::ResponseFuture;
use crate::{
    call::Call,
    deadline::{self, time_limit, without_margin},
    error::Error,
};

/// Makes [`Deadline`].
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer {
    default: Duration,
}

/// Lets a call run until its deadline.
#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
    default: Duration,
}

// === impl DeadlineLayer ===

impl DeadlineLayer {
    /// `default` is the time for a caller that names none.
    pub fn new(default: Duration) -> Self {
        Self { default }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Deadline { inner, default: self.default }
    }
}

// === impl Deadline ===

impl<S> Service<Request<Body>> for Deadline<S>
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
        let Some(call) = Call::of(request.extensions()) else { return Box::pin(self.inner.call(request)) };
        match time_limit(request.headers()) {
            Ok(named) => {
                let limit = named.unwrap_or(self.default);
                // Who names a time waits no longer itself.
                let time = named.map_or(limit, without_margin);
                request.extensions_mut().insert(deadline::Deadline::after(time));
                Box::pin(within(limit, time, self.inner.call(request), call))
            }
            Err(malformed) => {
                let error = Error::Protocol { code: Code::InvalidArgument, what: malformed.to_string() };
                Box::pin(async move { Ok(call.fail(&error).into_http()) })
            }
        }
    }
}

/// `limit` is told, `time` is given.
async fn within(
    limit: Duration,
    time: Duration,
    answer: impl Future<Output = Result<Response<Body>, Infallible>>,
    call: Arc<Call>,
) -> Result<Response<Body>, Infallible> {
    match tokio::time::timeout(time, answer).await {
        Ok(answer) => answer,
        Err(_) => Ok(call.fail(&Error::DeadlineExceeded { limit }).into_http()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future;
    use tonic::Status;
    use tower::{ServiceExt, service_fn};

    fn request(timeout: &str) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let call = Call::begin("/a.B/C", request.headers(), "test".into());
        request.extensions_mut().insert(Arc::new(call));
        request
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_just_before_its_time_has_run_out() {
        let never = service_fn(|_| future::pending::<Result<Response<Body>, Infallible>>());
        let service = DeadlineLayer::new(Duration::from_secs(10)).layer(never);
        let started = tokio::time::Instant::now();
        let response = service.oneshot(request("1500m")).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(
            (status.code(), status.message()),
            (Code::DeadlineExceeded, "the call did not finish within 1.5s")
        );
        assert_eq!(started.elapsed().as_millis(), 1450);
    }

    #[tokio::test(start_paused = true)]
    async fn a_malformed_timeout_is_refused_at_once() {
        let never = service_fn(|_| future::pending::<Result<Response<Body>, Infallible>>());
        let service = DeadlineLayer::new(Duration::from_secs(10)).layer(never);
        let response = service.oneshot(request("soon")).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("grpc-timeout \"soon\" is malformed"), "{}", status.message());
    }
}
