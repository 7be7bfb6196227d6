//! HTTP servers that stand for the API: a real one that answers as told and notes what it saw, and a raw
//! one for what no real server can be made to do.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// An HTTP server on a free port.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A TCP server that hands over each connection once a request head has come. Its connections end with it.
pub(crate) struct RawApi {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

/// An answer of JSON.
pub(crate) fn json(status: u16, body: impl Into<Body>) -> Response {
    let builder =
        Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    // As a Rails application does.
    builder.header("x-request-id", "from-the-api").body(body.into()).unwrap()
}

impl Api {
    /// A server that answers every request with what `answer` makes of it.
    pub(crate) async fn answering<F>(answer: impl Fn(Seen) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), answer).await
    }

    /// The same on a port that is known beforehand.
    pub(crate) async fn at<F>(
        address: SocketAddr,
        answer: impl Fn(Seen) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let notes = seen.clone();
        let handler = move |request: Request| {
            let (notes, answer) = (notes.clone(), answer.clone());
            async move {
                let request = Seen::read(request).await;
                notes.lock().unwrap().push(request.clone());
                answer(request).await
            }
        };
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(handler);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, task }
    }

    /// A server that tells when it was asked, and answers all at once when it is told to.
    pub(crate) async fn patient() -> (Self, mpsc::UnboundedReceiver<()>, watch::Sender<bool>) {
        let (asked, was_asked) = mpsc::unbounded_channel();
        let (answer, may_answer) = watch::channel(false);
        let api = Self::answering(move |seen| {
            let (asked, mut may_answer) = (asked.clone(), may_answer.clone());
            async move {
                if seen.uri != "/" {
                    asked.send(()).unwrap();
                    may_answer.wait_for(|may| *may).await.unwrap();
                }
                json(200, "{}")
            }
        })
        .await;
        (api, was_asked, answer)
    }

    /// A server that never answers but to probes. For each call it gives what ends when the call is given up.
    pub(crate) async fn silent() -> (Self, mpsc::UnboundedReceiver<oneshot::Receiver<()>>) {
        let (asked, was_asked) = mpsc::unbounded_channel();
        let api = Self::answering(move |seen| {
            let asked = asked.clone();
            async move {
                let (_waits, given_up) = oneshot::channel();
                if seen.uri != "/" {
                    asked.send(given_up).unwrap();
                    std::future::pending::<()>().await;
                }
                json(200, "{}")
            }
        })
        .await;
        (api, was_asked)
    }

    /// A server that answers 200 with this JSON.
    pub(crate) async fn saying(body: impl Into<String>) -> Self {
        let body = body.into();
        Self::answering(move |_| {
            let body = body.clone();
            async move { json(200, body) }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What arrived, without the probes of the health check.
    pub(crate) fn calls(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.uri != "/").cloned().collect()
    }

    /// The one call that arrived.
    pub(crate) fn call(&self) -> Seen {
        let calls = self.calls();
        let [call] = calls.as_slice() else { panic!("expected one call, saw {calls:?}") };
        call.clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { method: parts.method, uri: parts.uri.to_string(), headers: parts.headers, body }
    }
}

impl RawApi {
    /// A server that lets `act` do what it likes with each connection, after a request head has come.
    pub(crate) async fn acting<F>(act: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::hearing(move |stream, _| act(stream)).await
    }

    /// The same, with the first head that has come.
    pub(crate) async fn hearing<F>(act: impl Fn(TcpStream, String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listening(TcpListener::bind("127.0.0.1:0").await.unwrap(), act)
    }

    /// The same on a listener that is there already.
    pub(crate) fn listening<F>(
        listener: TcpListener,
        act: impl Fn(TcpStream, String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (act, mut connections) = (Arc::new(act), JoinSet::new());
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let act = act.clone();
                connections.spawn(async move {
                    if let Some(head) = read_head(&mut stream).await {
                        act(stream, head).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, task }
    }

    /// A server that sends these bytes and closes.
    pub(crate) async fn sending(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = Arc::new(bytes.into());
        Self::acting(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                // The bridge may have heard enough before everything is sent.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    /// Stops listening; connections break.
    pub(crate) async fn dies(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for RawApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A TLS server for `localhost` that answers every request with this JSON, and the certificate to trust it by.
pub(crate) async fn tls_api(body: &'static str) -> (SocketAddr, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config =
        config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            if read_head(&mut stream).await.is_some() {
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    (address, certified.cert.pem())
}

/// An HTTP/2 server without TLS that answers every request with this JSON.
pub(crate) async fn http2_api(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = hyper::service::service_fn(move |_| async move {
                Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Full::new(Bytes::from(body))))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

/// A whole request head, if it comes.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}
