//! The HTTP client: a keep-alive pool to one base URL.

use std::{error::Error as StdError, fmt, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout};

use super::{
    Exchange, Terms,
    body::collect,
    connect::{ConnectionRecord, Connector},
    credential::Credential,
};
use crate::{
    config::{HttpVersion, UpstreamConfig},
    error::Error,
    fault::Fault,
};

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("grpc-rest-bridge/", env!("CARGO_PKG_VERSION")));
/// How many HTTP/2 connections there are, so that more than one address behind a name is used.
const HTTP2_CONNECTIONS: usize = 4;

type Pool = legacy::Client<Connector, Full<Bytes>>;

/// Sends requests to the API.
#[derive(Clone)]
pub(super) struct Client {
    /// One pool, or one for each connection of HTTP/2, which shares a connection as soon as it has one.
    pools: Vec<Pool>,
    /// Makes a new connection each time.
    probes: Pool,
    scheme: Scheme,
    authority: Authority,
    /// The path prefix of the base URL without a slash at its end.
    prefix: String,
    headers: HeaderMap,
    credential: Option<Credential>,
    timeout: Duration,
    max_response_bytes: usize,
}

/// Whether the connection that an answer came on had brought one before; it is in the answer's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OnReusedConnection(pub(super) bool);

// === impl Client ===

impl Client {
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, Vec<Fault>> {
        let base = config.url.clone().into_parts();
        let absolute = base.scheme.zip(base.authority);
        let (scheme, authority) = absolute.ok_or_else(|| vec![no_base(&config.url, "is no absolute URL")])?;
        let prefix = config.url.path().trim_end_matches('/').to_owned();
        if prefix.split('/').any(is_dot_segment) {
            return Err(vec![no_base(&config.url, "has a dot segment in its path, which servers resolve")]);
        }
        let connector = Connector::new(config).map_err(|fault| vec![fault])?;
        let pools = match config.http_version {
            HttpVersion::Http1 => 1,
            HttpVersion::Http2 => HTTP2_CONNECTIONS,
        };
        Ok(Self {
            pools: (0..pools).map(|_| pool(config).build(connector.clone())).collect(),
            probes: pool(config).pool_max_idle_per_host(0).build(connector),
            scheme,
            authority,
            prefix,
            headers: headers(config),
            credential: config.credential.as_ref().map(Credential::read).transpose()?,
            timeout: config.timeout,
            max_response_bytes: config.max_response_bytes,
        })
    }

    /// Keeps the credential fresh, for ever.
    pub(super) async fn follow(&self, every: Duration) {
        match &self.credential {
            Some(credential) => credential.follow(every).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until it is known whether there is a credential.
    pub(super) async fn ready(&self) {
        if let Some(credential) = &self.credential {
            credential.ready().await;
        }
    }

    /// How long the credential is still good, where that is known.
    pub(super) fn credential_left(&self) -> Option<Duration> {
        self.credential.as_ref().and_then(Credential::left)
    }

    /// Asks for `path` on a connection of its own, which shows that the API takes new ones, and gives the status.
    pub(super) async fn probe(&self, path: &str, limit: Duration) -> Result<StatusCode, Error> {
        let mut request = Request::new(Bytes::new());
        let path = if path.is_empty() { "/" } else { path };
        *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| too_long(&error))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let head = timeout(limit, self.begin(request, &self.probes)).await;
        Ok(head.map_err(|_| Error::UpstreamTimeout { limit })??.status())
    }

    /// Sends a request and waits for the head of its answer.
    async fn begin(&self, request: Request<Bytes>, pool: &Pool) -> Result<Response<Incoming>, Error> {
        let shown = self.credential.as_ref().map(Credential::header).transpose()?;
        let mut request = self.absolute(request, shown.as_ref())?;
        let connection = capture_connection(&mut request);
        let mut answer = pool.request(request).await.map_err(|error| self.before_answer(&error))?;
        if let (Some(credential), Some(shown), StatusCode::UNAUTHORIZED) =
            (&self.credential, &shown, answer.status())
        {
            credential.was_refused(shown);
        }
        if let Some(record) = answer.extensions_mut().remove::<ConnectionRecord>() {
            answer.extensions_mut().insert(OnReusedConnection(record.count_answer()));
            if record.retires <= Instant::now()
                && let Some(connected) = connection.connection_metadata().as_ref()
            {
                connected.poison();
            }
        }
        Ok(answer)
    }

    /// Puts the base URL before the path, and adds the headers that every request has.
    fn absolute(
        &self,
        request: Request<Bytes>,
        credential: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let (mut parts, body) = request.into_parts();
        let planned = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(self.authority.clone());
        let below = if self.prefix.is_empty() {
            Ok(planned)
        } else {
            PathAndQuery::from_maybe_shared(Bytes::from(format!("{}{planned}", self.prefix)))
        };
        uri.path_and_query = Some(below.map_err(|error| too_long(&error))?);
        parts.uri = Uri::from_parts(uri).map_err(|error| too_long(&error))?;
        parts.extensions = http::Extensions::new();
        for (name, value) in &self.headers {
            parts.headers.insert(name, value.clone());
        }
        if let Some(credential) = credential {
            parts.headers.insert(header::AUTHORIZATION, credential.clone());
        }
        Ok(Request::from_parts(parts, Full::new(body)))
    }

    fn before_answer(&self, error: &legacy::Error) -> Error {
        let detail = format!("{}: {}", self.authority, with_causes(error));
        if error.is_connect() { Error::Unreachable { detail } } else { Error::ConnectionLost { detail } }
    }
}

impl Exchange for Client {
    async fn exchange(&self, request: Request<Bytes>, terms: &Terms) -> Result<Response<Bytes>, Error> {
        let attempt = async {
            let pool =
                &self.pools[if self.pools.len() == 1 { 0 } else { fastrand::usize(..self.pools.len()) }];
            let answer = self.begin(request, pool).await?;
            terms.answer_begins();
            collect(answer, self.max_response_bytes).await
        };
        let late = |_| Error::UpstreamTimeout { limit: self.timeout };
        timeout(self.timeout, attempt).await.map_err(late)?
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("authority", &self.authority)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn pool(config: &UpstreamConfig) -> legacy::Builder {
    let mut pool = legacy::Client::builder(TokioExecutor::new());
    pool.timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle_timeout)
        .http2_only(config.http_version == HttpVersion::Http2);
    pool
}

fn headers(config: &UpstreamConfig) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.extend(config.host.clone().map(|host| (header::HOST, host)));
    let proto = config.forwarded_proto.clone();
    headers.extend(proto.map(|proto| (HeaderName::from_static("x-forwarded-proto"), proto)));
    headers
}

/// Servers and proxies resolve such a segment, in each of its spellings.
fn is_dot_segment(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

fn no_base(url: &Uri, what: &str) -> Fault {
    Fault::new(
        "--upstream or BRIDGE_UPSTREAM",
        format!("{url} {what}"),
        "write the URL that is meant, such as http://shop-api:3000/api, percent-encoded and without dot segments",
    )
}

/// What was planned is legal, so that it can only be too long with the prefix before it.
fn too_long(error: &dyn StdError) -> Error {
    Error::Unmappable { field: "the URL".to_owned(), description: format!("cannot be sent: {error}") }
}

/// An error and what it came from, on one line.
pub(super) fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
