//! Refuses calls beyond a ceiling at once, before their message is read.
//!
//! Unlike tower's limits it lets no call wait: behind as many others as that, it would have no time left when its
//! turn comes. What a refused call costs is its headers and its status.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::ResponseFuture;
use crate::{call::Call, error::Error, held::Held};

/// The pause that refused callers are asked for: long enough that asking again is not the load, and short for one
/// who waits. It is the same for all, since they were refused one after the other and so come back like that.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Makes [`InFlight`]; all that one layer makes share its ceiling.
#[derive(Debug, Clone)]
pub struct InFlightLayer {
    places: Arc<Semaphore>,
    limit: usize,
}

/// Passes on as many calls at a time as there are places.
#[derive(Debug, Clone)]
pub struct InFlight<S> {
    inner: S,
    places: Arc<Semaphore>,
    limit: usize,
}

// === impl InFlightLayer ===

impl InFlightLayer {
    /// `limit` is the number of calls that may run at a time.
    pub fn new(limit: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))), limit }
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InFlight { inner, places: self.places.clone(), limit: self.limit }
    }
}

// === impl InFlight ===

impl<S> Service<Request<Body>> for InFlight<S>
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
        match self.places.clone().try_acquire_owned() {
            Ok(place) => {
                // Beyond the work on the call: its answer is memory until its caller has taken it.
                if let Some(held) = request.extensions().get::<Held>() {
                    held.keep(place);
                }
                Box::pin(self.inner.call(request))
            }
            Err(_) => {
                let error = Error::Overloaded { limit: self.limit, retry_after: RETRY_AFTER };
                Box::pin(async move { Ok(call.fail(&error).into_http()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::{Code, Status};
    use tower::{ServiceExt, service_fn};

    fn request() -> Request<Body> {
        let mut request = Request::new(Body::empty());
        let call = Call::begin("/a.B/C", request.headers(), "test".into());
        request.extensions_mut().insert(Arc::new(call));
        request.extensions_mut().insert(Held::default());
        request
    }

    fn is_refused(response: &Response<Body>) -> bool {
        let status = Status::from_header_map(response.headers());
        status.is_some_and(|status| status.code() == Code::ResourceExhausted)
    }

    #[tokio::test]
    async fn a_place_is_taken_until_what_the_call_holds_is_given_back() {
        let answer = service_fn(async |_| Ok(Response::new(Body::from("answer"))));
        let service = InFlightLayer::new(1).layer(answer);
        let first = request();
        let held = first.extensions().get::<Held>().unwrap().clone();
        let _answer = service.clone().oneshot(first).await.unwrap();
        assert!(is_refused(&service.clone().oneshot(request()).await.unwrap()));
        held.free();
        assert!(!is_refused(&service.oneshot(request()).await.unwrap()));
    }

    #[tokio::test]
    async fn there_can_be_more_places_than_there_will_ever_be_calls() {
        let service =
            InFlightLayer::new(usize::MAX).layer(service_fn(async |_| Ok(Response::new(Body::empty()))));
        assert!(!is_refused(&service.oneshot(request()).await.unwrap()));
    }
}
