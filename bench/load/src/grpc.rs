//! gRPC over one HTTP/2 connection, as <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> has it: messages
//! as bytes, unary, not compressed.

use std::{
    net::{Shutdown, TcpStream as Line},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    Fault,
    call::Call,
    client::{Failure, broken},
    metadata::Metadata,
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

/// A connection that carries many calls at once, and is opened anew when it is lost. Dropped, it is hung up.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    metadata: Metadata,
    link: Mutex<Link>,
}

/// One connection of TCP.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// The same socket once more.
    line: Line,
    /// How many there were before it.
    number: u32,
}

// === impl Connection ===

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self, Fault> {
        let link = Mutex::new(Link::open(address, 0).await?);
        Ok(Self { address: address.to_owned(), metadata: Metadata::default(), link })
    }

    /// The same, with this in each call.
    pub(crate) fn with(mut self, metadata: &Metadata) -> Self {
        self.metadata = metadata.clone();
        self
    }

    /// The message of an answer with status OK.
    pub(crate) async fn call(&self, call: Call, deadline: Duration) -> Result<Bytes, Failure> {
        let mut request = Request::post(format!("http://{}/bench.v1.Shop/{}", self.address, call.name()))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header("grpc-timeout", format!("{}m", deadline.as_millis()))
            .body(Full::new(framed(&call.message())))
            .map_err(|_| "not a request")?;
        request.headers_mut().extend(self.metadata.next());
        let mut lost = None;
        loop {
            let (mut sender, number) = self.sender(lost).await?;
            match sender.try_send_request(request).await {
                Ok(answer) => return read(answer).await,
                Err(mut error) => match error.take_message() {
                    // It has not been sent: the server had told the connection to go.
                    Some(unsent) => (request, lost) = (unsent, Some(number)),
                    None => return Err(broken(error.into_error())),
                },
            }
        }
    }

    /// How often it was opened anew.
    pub(crate) async fn renewals(&self) -> u32 {
        self.link.lock().await.number
    }

    /// What sends on the present link, and its number, which is not that of a lost one.
    async fn sender(&self, lost: Option<u32>) -> Result<(SendRequest<Full<Bytes>>, u32), Failure> {
        let mut link = self.link.lock().await;
        if link.sender.is_closed() || lost == Some(link.number) {
            // What still runs on the old one may end there.
            *link = Link::open(&self.address, link.number + 1).await.map_err(broken)?;
        }
        Ok((link.sender.clone(), link.number))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Otherwise it would first wait for its calls. It fails if the server has hung up already.
        let _ = self.link.get_mut().line.shutdown(Shutdown::Both);
    }
}

// === impl Link ===

impl Link {
    async fn open(address: &str, number: u32) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let line = stream.try_clone()?;
        let stream = TokioIo::new(TcpStream::from_std(stream)?);
        let (sender, connection) = handshake(TokioExecutor::new(), stream).await?;
        // How it ends is seen by the calls that it carries.
        tokio::spawn(connection);
        Ok(Self { sender, line, number })
    }
}

async fn read(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    if answer.status() != StatusCode::OK {
        return Err(format!("HTTP {}", answer.status().as_u16()).into());
    }
    // An answer without a message has its status among its headers.
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(broken)?;
    let status =
        |name| [body.trailers(), Some(&head.headers)].into_iter().flatten().find_map(|of| text(of, name));
    let code = status("grpc-status").ok_or("no status")?;
    if code == "0" {
        return message(body.to_bytes());
    }
    let name =
        code.parse().ok().and_then(|number: usize| CODES.get(number)).map_or(code, |name| (*name).to_owned());
    let reason = status("grpc-status-details-bin").and_then(|details| reason(&details));
    // Where they say the same, once is enough.
    let reason = reason.filter(|reason| *reason != name);
    Err(reason.map_or(name.clone(), |reason| format!("{name} {reason}")).into())
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The reason of the `google.rpc.ErrorInfo` among the details of a `google.rpc.Status`.
fn reason(details: &str) -> Option<String> {
    let status = Status::decode(&*BASE64_STANDARD_NO_PAD.decode(details.trim_end_matches('=')).ok()?).ok()?;
    let info = status.details.into_iter().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    Some(ErrorInfo::decode(&*info.value).ok()?.reason).filter(|reason| !reason.is_empty())
}

#[derive(Message)]
struct Status {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
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
    fn the_reason_of_a_failure_is_found_among_its_details() {
        let info = ErrorInfo { reason: "UPSTREAM_BUSY".to_owned() }.encode_to_vec().into();
        let any = |name: &str, value| Any { type_url: format!("type.googleapis.com/{name}"), value };
        let details = vec![any("google.rpc.RetryInfo", Bytes::new()), any("google.rpc.ErrorInfo", info)];
        let details = BASE64_STANDARD_NO_PAD.encode(Status { details }.encode_to_vec());
        assert_eq!(reason(&details).as_deref(), Some("UPSTREAM_BUSY"));
        assert_eq!([reason(""), reason("?"), reason("AAAA")], [None, None, None]);
    }

    #[test]
    fn what_is_not_one_message_is_a_failure() {
        let framed_twice = [framed(b"tea"), framed(b"tea")].concat().into();
        for body in [Bytes::new(), framed(b""), framed(b"tea").slice(..7), framed_twice] {
            assert!(message(body.clone()).is_err(), "{body:?}");
        }
    }
}
