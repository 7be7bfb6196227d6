//! Refuses calls of a caller that has as many running as one caller may, so that nobody takes the places of all others.
//!
//! It stands behind the door, since a caller is known by the name that it has proved there. One that has proved none, where
//! methods are public, is known by its address.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use futures_util::future::Either;
use http::{Request, Response};
use tower::{Layer, Service};

use super::in_flight::RETRY_AFTER;
use crate::{
    call::Call,
    error::Error,
    held::Held,
    places::{Places, network},
    tls::Peer,
};

/// Makes [`Share`]; all that one layer makes share its counts.
#[derive(Debug, Clone)]
pub struct ShareLayer {
    places: Places<Whose>,
    limit: usize,
}

/// Passes on as many calls of each caller at a time as it may have.
#[derive(Debug, Clone)]
pub struct Share<S> {
    inner: S,
    places: Places<Whose>,
    limit: usize,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    Caller(Arc<str>),
    Network(IpAddr),
}

// === impl ShareLayer ===

impl ShareLayer {
    /// `limit` is the number of calls of one caller that may run at a time.
    pub fn new(limit: usize) -> Self {
        Self { places: Places::new(usize::MAX, limit), limit }
    }
}

impl<S> Layer<S> for ShareLayer {
    type Service = Share<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Share { inner, places: self.places.clone(), limit: self.limit }
    }
}

// === impl Share ===

impl<S> Service<Request<Body>> for Share<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let extensions = request.extensions();
        let (Some(call), Some(held)) = (Call::of(extensions), extensions.get::<Held>()) else {
            return Either::Left(self.inner.call(request));
        };
        let address = call.client.or_else(|| extensions.get::<Peer>().map(|peer| peer.address.ip()));
        let address = address.map(|address| Whose::Network(network(address)));
        match call.caller().map(Whose::Caller).or(address).map(|whose| self.places.take(whose)).transpose() {
            Ok(place) => {
                held.keep(place);
                Either::Left(self.inner.call(request))
            }
            Err(_) => {
                let error = Error::OverShare { limit: self.limit, retry_after: RETRY_AFTER };
                Either::Right(ready(Ok(call.fail(&error).into_http())))
            }
        }
    }
}
