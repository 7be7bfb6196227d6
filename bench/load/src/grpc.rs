//! gRPC over one HTTP/2 connection, as <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> has it: messages
//! as bytes, unary, not compressed.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    Fault,
    call::Call,
    client::{Failure, broken},
};

/// The names of the codes, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A flag for compression and four bytes of length stand before each message.
const PREFIX: usize = 5;

/// A connection that carries many calls at once, and is opened anew when it is lost.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    sender: Mutex<SendRequest<Full<Bytes>>>,
}

// === impl Connection ===

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self, Fault> {
        Ok(Self { address: address.to_owned(), sender: Mutex::new(connect(address).await?) })
    }

    /// The message of an answer with status OK.
    pub(crate) async fn call(&self, call: Call, deadline: Duration) -> Result<Bytes, Failure> {
        let request = Request::post(format!("http://{}/bench.v1.Shop/{}", self.address, call.name()))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header("grpc-timeout", format!("{}m", deadline.as_millis()))
            .body(Full::new(framed(&call.message())))
            .map_err(|_| "not a request")?;
        let mut sender = self.sender().await?;
        sender.ready().await.map_err(broken)?;
        read(sender.send_request(request).await.map_err(broken)?).await
    }

    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let mut sender = self.sender.lock().await;
        if sender.is_closed() {
            *sender = connect(&self.address).await.map_err(broken)?;
        }
        Ok(sender.clone())
    }
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, Fault> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    // How it ends is seen by the calls that it carries.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    if answer.status() != StatusCode::OK {
        return Err(format!("HTTP {}", answer.status().as_u16()).into());
    }
    // An answer without a message has its status among its headers.
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(broken)?;
    let code = body.trailers().and_then(code).or_else(|| code(&head.headers)).ok_or("no status")?;
    match code.parse() {
        Ok(0) => message(body.to_bytes()),
        Ok(number) => Err(CODES.get::<usize>(number).copied().map_or_else(|| code.into(), Failure::from)),
        Err(_) => Err(code.into()),
    }
}

fn code(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().ok()?.to_owned())
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The one message of a body, which no right answer has empty.
fn message(mut body: Bytes) -> Result<Bytes, Failure> {
    if body.len() < PREFIX || body.get_u8() != 0 || body.get_u32() as usize != body.len() {
        return Err("not one message".into());
    }
    if body.is_empty() { Err("empty message".into()) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_framed() {
        assert_eq!(message(framed(b"tea")).as_deref(), Ok(&b"tea"[..]));
    }

    #[test]
    fn what_is_not_one_message_is_a_failure() {
        let framed_twice = [framed(b"tea"), framed(b"tea")].concat().into();
        for body in [Bytes::new(), framed(b""), framed(b"tea").slice(..7), framed_twice] {
            assert!(message(body.clone()).is_err(), "{body:?}");
        }
    }
}
