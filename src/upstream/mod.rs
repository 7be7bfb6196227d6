//! The HTTP shore: one plain request to the API goes in, its plain answer comes out.
//!
//! It knows sockets, time limits and sizes and never heard of protobuf. Every way in which the network can
//! fail is an [`Error`] of its own here; an answer with an error status is still an answer.

mod client;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use self::client::Client;
use crate::{config::UpstreamConfig, error::Error, fault::Fault};

/// The API behind the bridge.
#[derive(Debug, Clone)]
pub struct Upstream {
    client: Client,
}

// === impl Upstream ===

impl Upstream {
    /// Prepares the client; nothing is connected yet.
    ///
    /// # Errors
    /// The TLS roots of this machine cannot be read, for an `https` URL.
    pub fn new(config: &UpstreamConfig) -> Result<Self, Fault> {
        Client::new(config).map(|client| Self { client })
    }

    /// Sends one request, whose URI is path and query below the base URL. Dropping the future cancels it.
    ///
    /// # Errors
    /// No complete answer has come.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.client.send(request).await
    }

    /// Asks for `path` and gives the status; the body is not read.
    ///
    /// # Errors
    /// No answer has come within `timeout`.
    pub async fn probe(&self, path: &str, timeout: Duration) -> Result<StatusCode, Error> {
        self.client.probe(path, timeout).await
    }
}
