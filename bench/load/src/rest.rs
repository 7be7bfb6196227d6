//! REST over one HTTP/1.1 connection that is kept.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Mutex};

use crate::{
    Fault,
    call::Call,
    client::{Failure, broken},
};

/// A connection that carries one call at a time, and is opened anew when it is lost.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    sender: Mutex<SendRequest<Empty<Bytes>>>,
}

// === impl Connection ===

impl Connection {
    pub(crate) async fn open(address: &str) -> Result<Self, Fault> {
        Ok(Self { address: address.to_owned(), sender: Mutex::new(connect(address).await?) })
    }

    /// The body of an answer 200.
    pub(crate) async fn call(&self, call: Call) -> Result<Bytes, Failure> {
        let mut sender = self.sender.lock().await;
        if sender.ready().await.is_err() {
            *sender = connect(&self.address).await.map_err(broken)?;
        }
        let request = Request::get(call.rest_path())
            .header(header::HOST, &self.address)
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|_| "not a request")?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        if status == StatusCode::OK { Ok(body) } else { Err(format!("HTTP {}", status.as_u16()).into()) }
    }
}

async fn connect(address: &str) -> Result<SendRequest<Empty<Bytes>>, Fault> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // How it ends is seen by the calls that it carries.
    tokio::spawn(connection);
    Ok(sender)
}
