//! Refuses calls beyond a ceiling at once, before their message is read.
//!
//! Unlike tower's limits it lets no call wait: behind as many others as that, it would have no time left when its
//! turn comes. What a refused call costs is its headers and its status.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::ResponseFuture;
use crate::{call::Call, error::Error};

/// The pause that refused callers are asked for: long enough that asking again is not the load, and short for one
/// who waits. It is the same for all, since they were refused one after the other and so come back like that.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// The body of an answer, which keeps the place of its call.
struct Answer {
    body: Body,
    place: Option<Place>,
}

/// Some of an answer, which keeps the place too: it may wait long for a caller that is slow to take it.
struct Data {
    bytes: Bytes,
    _place: Option<Place>,
}

/// A place, which is free again when all that share it are gone.
type Place = Arc<OwnedSemaphorePermit>;

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
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(answer.await?.map(|body| Answer::keep(Arc::new(place), body))) })
            }
            Err(_) => {
                let error = Error::Overloaded { limit: self.limit, retry_after: RETRY_AFTER };
                Box::pin(async move { Ok(call.fail(&error).into_http()) })
            }
        }
    }
}

// === impl Answer ===

impl Answer {
    fn keep(place: Place, body: Body) -> Body {
        // An error has no body to wait for.
        if body.is_end_stream() { body } else { Body::new(Self { body, place: Some(place) }) }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        // Before the caller sees its end, so that it finds the place free for its next call.
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            self.place = None;
        }
        let keep = |bytes| Bytes::from_owner(Data { bytes, _place: self.place.clone() });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(keep))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Data ===

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tonic::{Code, Status};
    use tower::{ServiceExt, service_fn};

    fn request() -> Request<Body> {
        let mut request = Request::new(Body::empty());
        let call = Call::begin("/a.B/C", request.headers(), "test".into());
        request.extensions_mut().insert(Arc::new(call));
        request
    }

    fn is_refused(response: &Response<Body>) -> bool {
        let status = Status::from_header_map(response.headers());
        status.is_some_and(|status| status.code() == Code::ResourceExhausted)
    }

    #[tokio::test]
    async fn a_place_is_taken_until_the_last_of_the_answer_is_gone() {
        let answer = service_fn(async |_| Ok(Response::new(Body::from("answer"))));
        let service = InFlightLayer::new(1).layer(answer);
        let mut body = service.clone().oneshot(request()).await.unwrap().into_body();
        assert!(is_refused(&service.clone().oneshot(request()).await.unwrap()));
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(body.frame().await.is_none());
        assert!(is_refused(&service.clone().oneshot(request()).await.unwrap()));
        assert_eq!(data, "answer");
        drop(data);
        assert!(!is_refused(&service.oneshot(request()).await.unwrap()));
    }

    #[tokio::test]
    async fn an_answer_without_a_body_takes_no_place() {
        let service = InFlightLayer::new(1).layer(service_fn(async |_| Ok(Response::new(Body::empty()))));
        let _kept = service.clone().oneshot(request()).await.unwrap();
        assert!(!is_refused(&service.oneshot(request()).await.unwrap()));
    }

    #[tokio::test]
    async fn there_can_be_more_places_than_there_will_ever_be_calls() {
        let service =
            InFlightLayer::new(usize::MAX).layer(service_fn(async |_| Ok(Response::new(Body::empty()))));
        assert!(!is_refused(&service.oneshot(request()).await.unwrap()));
    }
}
