//! Lets in who may call the method, and answers the others before their message is read.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use axum::body::Body;
use http::{Request, Response};
use tower::{Layer, Service};

use super::ResponseFuture;
use crate::{
    call::Call,
    door::{Audit, Door, Refused, Shown},
    error::Error,
    tls::Peer,
};

/// Makes [`Admit`].
#[derive(Debug, Clone)]
pub struct AdmitLayer {
    door: Arc<Door>,
    audit: Arc<Audit>,
}

/// Passes on the calls of those who are let in.
#[derive(Debug, Clone)]
pub struct Admit<S> {
    inner: S,
    door: Arc<Door>,
    audit: Arc<Audit>,
}

// === impl AdmitLayer ===

impl AdmitLayer {
    /// Asks at this door.
    pub fn new(door: Arc<Door>) -> Self {
        Self { door, audit: Arc::default() }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Admit { inner, door: self.door.clone(), audit: self.audit.clone() }
    }
}

// === impl Admit ===

impl<S> Admit<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    async fn serve(mut self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        if let Some(call) = Call::of(&parts.extensions) {
            let peer = parts.extensions.get::<Peer>();
            let (path, headers, now) = (parts.uri.path(), &parts.headers, SystemTime::now());
            match self.door.admit(&Shown { path, headers, peer, now }).await {
                Ok(Some(caller)) => call.note(|record| {
                    record.caller = Some(caller.name);
                    record.gateway = caller.gateway;
                }),
                Ok(None) => {}
                Err(error) => return Ok(self.refuse(&call, peer, &error)),
            }
        }
        self.inner.call(Request::from_parts(parts, body)).await
    }

    fn refuse(&self, call: &Call, peer: Option<&Peer>, error: &Error) -> Response<Body> {
        self.audit.refused(&Refused {
            peer: peer.map(|peer| peer.address),
            client: call.client,
            method: &call.method,
            request_id: call.request_id.to_str().unwrap_or_default(),
            reason: &error.reason(),
            who: &error.log_detail().unwrap_or_default(),
        });
        call.fail(error).into_http()
    }
}

impl<S> Service<Request<Body>> for Admit<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let admit = self.clone();
        Box::pin(async move { admit.serve(request).await })
    }
}
