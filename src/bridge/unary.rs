//! A call as the gRPC library wants to see it: one message in, one message out, and their compression.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::time::sleep;
use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    server::{Grpc, UnaryService},
};

use super::{ResponseFuture, crossing::Crossing};
use crate::{
    call::{Call, X_REQUEST_ID},
    codec::BytesCodec,
    error::Error,
    upstream::{Served, Terms},
};

/// A smaller message gains nothing from compression.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// The response header that tells how the API's answer was come by (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// One call, as tonic wants to see it.
struct BridgedCall {
    crossing: Crossing,
    terms: Terms,
    /// What the API hears of the caller.
    onward: HeaderMap,
    arrived: Arc<AtomicBool>,
}

/// Answers one call.
pub(super) async fn serve(
    crossing: Crossing,
    request: Request<axum::body::Body>,
) -> Response<tonic::body::Body> {
    let (call, config) = (crossing.call.clone(), &crossing.bridge.config);
    let mut grpc = Grpc::new(BytesCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(config.max_request_bytes);
    if config.compress {
        grpc = grpc.send_compressed(CompressionEncoding::Gzip);
    }
    let onward = match crossing.onward(&request) {
        Ok(onward) => onward,
        Err(error) => return call.fail(&error).into_http(),
    };
    let (terms, limit) = (crossing.terms(&request), config.receive_timeout);
    let arrived = Arc::new(AtomicBool::new(false));
    let bridged = BridgedCall { crossing, terms, onward, arrived: arrived.clone() };
    tokio::select! {
        biased;
        response = grpc.unary(bridged, request) => explained(response, &call),
        () = late(&arrived, limit) => {
            let what = format!("the request message did not come within {limit:?}");
            call.fail(&Error::Protocol { code: Code::DeadlineExceeded, what }).into_http()
        }
    }
}

/// Ends when the message has not come within the limit. Mostly it is there at once, and no clock is needed.
async fn late(arrived: &AtomicBool, limit: Duration) {
    if !arrived.load(Ordering::Relaxed) {
        sleep(limit).await;
        if !arrived.load(Ordering::Relaxed) {
            return;
        }
    }
    pending().await
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

/// The header for what did not go past the cache.
fn cache_status(served: Served) -> Option<(HeaderName, HeaderValue)> {
    let text = (served != Served::Bypassed).then(|| format!("grpc-rest-bridge; {served}"))?;
    Some((CACHE_STATUS, HeaderValue::try_from(text).ok()?))
}

// === impl BridgedCall ===

impl UnaryService<Bytes> for BridgedCall {
    type Response = Bytes;
    type Future = ResponseFuture<tonic::Response<Bytes>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        self.arrived.store(true, Ordering::Relaxed);
        let (crossing, terms) = (self.crossing.clone(), self.terms.clone());
        let onward = std::mem::take(&mut self.onward);
        Box::pin(async move {
            let call = &crossing.call;
            let (message, served) = crossing
                .cross(request.into_inner(), onward, terms)
                .await
                .map_err(|error| call.fail(&error))?;
            let mut metadata = HeaderMap::new();
            call.note(|record| {
                record.code = Some(Code::Ok);
                metadata = std::mem::take(&mut record.metadata);
            });
            let small = message.len() < MIN_COMPRESSED_BYTES;
            let mut response = tonic::Response::new(message);
            let headers = response.metadata_mut().as_mut();
            headers.extend(metadata);
            headers.insert(X_REQUEST_ID, call.request_id.clone());
            headers.extend(cache_status(served));
            if small {
                response.disable_compression();
            }
            Ok(response)
        })
    }
}
