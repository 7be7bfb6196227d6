//! Refuses what is no gRPC with HTTP 415, as gRPC's `PROTOCOL-HTTP2.md` asks.
//!
//! The gRPC library would answer 200 with an empty body, which a JSON client takes for a success.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tower::{Layer, Service};

use super::ResponseFuture;

/// Makes [`ContentType`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ContentTypeLayer;

/// Passes on what is a gRPC call, and tells everybody else what this server speaks.
#[derive(Debug, Clone)]
pub struct ContentType<S> {
    inner: S,
}

// === impl ContentTypeLayer ===

impl<S> Layer<S> for ContentTypeLayer {
    type Service = ContentType<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ContentType { inner }
    }
}

// === impl ContentType ===

impl<S> Service<Request<Body>> for ContentType<S>
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
        match refusal(&request) {
            Some((status, hint)) => {
                tracing::debug!(path = request.uri().path(), status = status.as_u16(), "not a gRPC call");
                Box::pin(async move { Ok(refuse(status, hint)) })
            }
            None => Box::pin(self.inner.call(request)),
        }
    }
}

fn refusal(request: &Request<Body>) -> Option<(StatusCode, &'static str)> {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !content_type.is_some_and(is_grpc) {
        let hint =
            "this server speaks gRPC: use content-type application/grpc, e.g. with grpcurl -plaintext\n";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, hint));
    }
    if request.version() != Version::HTTP_2 {
        return Some((StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2\n"));
    }
    if request.method() != Method::POST {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "a gRPC call is a POST\n"));
    }
    None
}

/// `application/grpc`, alone or with `+proto`, which is the only message format served.
fn is_grpc(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/grpc")
        || essence.eq_ignore_ascii_case(b"application/grpc+proto")
}

fn refuse(status: StatusCode, hint: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(hint));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_proto_form_of_grpc_is_grpc() {
        for content_type in ["application/grpc", "application/grpc+proto", "Application/gRPC; charset=utf-8"]
        {
            assert!(is_grpc(content_type.as_bytes()), "{content_type}");
        }
        for content_type in [
            "",
            "application/json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc+json",
        ] {
            assert!(!is_grpc(content_type.as_bytes()), "{content_type}");
        }
    }
}
