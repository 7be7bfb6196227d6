//! Turns a panic into INTERNAL, so that a caller never sees a stream reset without a word.
//!
//! A panic is a fault of the bridge. It ends one call and no other; the log has what it said.

use std::{
    any::Any,
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use futures_util::FutureExt;
use http::{Request, Response};
use tower::{Layer, Service};

use super::ResponseFuture;
use crate::{call::Call, error::Error};

/// Makes [`CatchPanic`].
#[derive(Debug, Clone, Copy, Default)]
pub struct CatchPanicLayer;

/// Answers for a call that panicked.
#[derive(Debug, Clone)]
pub struct CatchPanic<S> {
    inner: S,
}

// === impl CatchPanicLayer ===

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic { inner }
    }
}

// === impl CatchPanic ===

impl<S> Service<Request<Body>> for CatchPanic<S>
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(call) = Call::of(request.extensions()) else { return Box::pin(self.inner.call(request)) };
        // What the call was about to change is dropped with it; what calls share is behind locks that are
        // taken whether poisoned or not.
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move { answer.await.unwrap_or_else(|panic| Ok(explain(panic.as_ref(), &call))) })
    }
}

fn explain(panic: &(dyn Any + Send), call: &Arc<Call>) -> Response<Body> {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let detail = text.unwrap_or("a panic without a text").to_owned();
    call.fail(&Error::Panicked { detail }).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::{Code, Status};
    use tower::{ServiceExt, service_fn};

    #[tokio::test]
    async fn a_panic_is_an_internal_error_and_its_text_is_for_the_log() {
        let clumsy = service_fn(|_| async { panic!("dropped a {}", "plate") });
        let service = CatchPanicLayer.layer(clumsy);
        let mut request = Request::new(Body::empty());
        let call = Arc::new(Call::begin("/a.B/C", request.headers(), "test".into()));
        request.extensions_mut().insert(call.clone());
        let response: Response<Body> = service.oneshot(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!((status.code(), status.message()), (Code::Internal, "the bridge failed on this call"));
        assert_eq!(call.record().failure.unwrap().detail.as_deref(), Some("dropped a plate"));
    }
}
