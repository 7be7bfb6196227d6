//! How a connection to the API is made: every address behind its name in turn, TLS where the URL says so, and a
//! note on each connection of when it is to be given up.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::connect::{
        Connected, Connection, HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::{net::TcpStream, time::Instant};
use tower::{BoxError, Service};

use crate::{
    config::{HttpVersion, UpstreamConfig},
    fault::Fault,
};

/// How much the age of a connection differs from what is configured, at most, so that not all end at once.
const AGE_JITTER: f64 = 0.1;
/// When the system begins to ask whether the other side of a silent connection is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

type Stream = hyper_rustls::MaybeHttpsStream<TokioIo<TcpStream>>;
type ConnectFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Makes connections to the API.
#[derive(Clone)]
pub(super) struct Connector {
    http: HttpsConnector<HttpConnector<InTurn>>,
    timeout: Duration,
    max_age: Duration,
}

/// A connection, and what is known of it.
pub(super) struct Dated {
    stream: Stream,
    record: ConnectionRecord,
}

/// What is known of the connection that an answer came on; it is in the answer's extensions.
#[derive(Debug, Clone)]
pub(super) struct ConnectionRecord {
    /// After this time it takes no more requests.
    pub(super) retires: Instant,
    /// How many answers came on it.
    answers: Arc<AtomicUsize>,
}

/// Resolves names anew for each connection, and begins with another address each time, so that every address behind
/// a name is used. While a name cannot be resolved, what it was last stays good.
#[derive(Clone)]
struct InTurn {
    inner: GaiResolver,
    turn: Arc<AtomicUsize>,
    last: Arc<Mutex<Vec<SocketAddr>>>,
}

// === impl Connector ===

impl Connector {
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, Fault> {
        Self::with(config, InTurn::new())
    }

    fn with(config: &UpstreamConfig, name: InTurn) -> Result<Self, Fault> {
        let mut tcp = HttpConnector::new_with_resolver(name);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls(config)?).https_or_http();
        let http = match config.http_version {
            HttpVersion::Http1 => builder.enable_http1().wrap_connector(tcp),
            HttpVersion::Http2 => builder.enable_http2().wrap_connector(tcp),
        };
        Ok(Self { http, timeout: config.connect_timeout, max_age: config.max_connection_age })
    }
}

impl Service<Uri> for Connector {
    type Response = Dated;
    type Error = BoxError;
    type Future = ConnectFuture<Dated, BoxError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout) = (self.http.call(uri), self.timeout);
        let record = ConnectionRecord::begin(self.max_age);
        Box::pin(async move {
            // The handshake of TLS included.
            let connected = tokio::time::timeout(timeout, connecting).await;
            let late =
                |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {timeout:?}"));
            Ok(Dated { stream: connected.map_err(late)??, record })
        })
    }
}

// === impl ConnectionRecord ===

impl ConnectionRecord {
    fn begin(max_age: Duration) -> Self {
        let jitter = 1.0 + AGE_JITTER * (fastrand::f64() * 2.0 - 1.0);
        Self { retires: Instant::now() + max_age.mul_f64(jitter), answers: Arc::default() }
    }

    /// Counts an answer, and tells whether one came on this connection before.
    pub(super) fn count_answer(&self) -> bool {
        self.answers.fetch_add(1, Ordering::Relaxed) > 0
    }
}

// === impl Dated ===

impl Connection for Dated {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.record.clone())
    }
}

impl Read for Dated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Dated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

// === impl InTurn ===

impl InTurn {
    fn new() -> Self {
        Self { inner: GaiResolver::new(), turn: Arc::default(), last: Arc::default() }
    }

    /// The addresses, or the last ones where there are none, from the one whose turn it is.
    fn take_turn(&self, found: io::Result<Vec<SocketAddr>>) -> io::Result<Vec<SocketAddr>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) if !found.is_empty() => {
                // Resolvers give them in an order of their own each time.
                *last = found;
                last.sort();
            }
            Err(error) if last.is_empty() => return Err(error),
            found => {
                tracing::warn!(?found, "the name of the API cannot be resolved; its last addresses stay")
            }
        }
        let mut addresses = last.clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1);
        addresses.rotate_left(turn);
        Ok(addresses)
    }
}

impl Service<Name> for InTurn {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = ConnectFuture<Self::Response, io::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, this) = (self.inner.call(name), self.clone());
        Box::pin(async move { Ok(this.take_turn(resolving.await.map(Iterator::collect))?.into_iter()) })
    }
}

/// What the machine trusts, for an `https` URL.
fn tls(config: &UpstreamConfig) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = if config.url.scheme_str() == Some("https") {
        builder.and_then(ConfigBuilderExt::try_with_platform_verifier)
    } else {
        // The roots of the machine are not read for plain HTTP: they cost memory and time at start.
        builder.map(|builder| builder.with_root_certificates(RootCertStore::empty()))
    };
    builder.map(|builder| builder.with_no_client_auth()).map_err(|error| {
        Fault::new(
            "--upstream or BRIDGE_UPSTREAM",
            format!("the HTTP client cannot be made: {error}"),
            "an https upstream needs the CA certificates of this machine (package ca-certificates)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
    }

    #[test]
    fn each_connection_begins_with_another_address() {
        let name = InTurn::new();
        // In whatever order the resolver gives them.
        let found = [[1, 2, 3], [3, 1, 2], [2, 3, 1], [1, 2, 3]];
        let first: Vec<_> =
            found.iter().map(|found| name.take_turn(Ok(addresses(found))).unwrap()[0].port()).collect();
        assert_eq!(first, [1, 2, 3, 1]);
    }

    #[test]
    fn a_name_that_is_gone_keeps_its_last_addresses() {
        let name = InTurn::new();
        let gone = || Err(io::Error::other("no such name"));
        assert_eq!(name.take_turn(gone()).unwrap_err().to_string(), "no such name");
        name.take_turn(Ok(addresses(&[1, 2]))).unwrap();
        assert_eq!(name.take_turn(gone()).unwrap(), addresses(&[2, 1]));
    }

    /// Two pods behind a name, which by now nobody can resolve any more.
    #[tokio::test]
    async fn every_address_behind_a_name_is_used_and_outlives_the_name() {
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = first.local_addr().unwrap().port();
        let second = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let name = InTurn::new();
        *name.last.lock().unwrap() =
            ["127.0.0.1:0", "127.0.0.2:0"].map(|address| address.parse().unwrap()).to_vec();
        // No label of a name may be so long.
        let url: Uri = format!("http://{}:{port}", "a".repeat(64)).parse().unwrap();
        let mut connector = Connector::with(&UpstreamConfig::new(url.clone()), name).unwrap();
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(connector.call(url.clone()).await.unwrap());
        }
        for pod in [first, second] {
            for _ in 0..2 {
                pod.accept().await.unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_connections_differs_by_a_tenth_at_most() {
        let now = Instant::now();
        let ages: Vec<_> =
            (0..1000).map(|_| ConnectionRecord::begin(Duration::from_secs(100)).retires - now).collect();
        assert!(ages.iter().all(|age| (90.0..=110.0).contains(&age.as_secs_f64())), "{ages:?}");
        assert!(ages.iter().any(|age| age.as_secs() < 95) && ages.iter().any(|age| age.as_secs() > 105));
    }
}
