//! The HTTP client: a keep-alive pool to one base URL.

use std::{error::Error as StdError, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use reqwest::{Url, redirect::Policy};

use crate::{config::UpstreamConfig, error::Error, fault::Fault};

const USER_AGENT: &str = concat!("grpc-rest-bridge/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    /// The base URL without a slash at its end.
    base: String,
    /// The path prefix of the base URL without a slash at its end.
    prefix: String,
    timeout: Duration,
    max_response_bytes: usize,
}

// === impl Client ===

impl Client {
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, Fault> {
        let base = config.url.to_string().trim_end_matches('/').to_owned();
        let prefix = config.url.path().trim_end_matches('/').to_owned();
        check_prefix(&base, &prefix)?;
        let http = builder(config).build().map_err(|error| {
            Fault::new(
                "--upstream or BRIDGE_UPSTREAM",
                format!("the HTTP client cannot be made: {}", with_causes(&error)),
                "an https upstream needs the CA certificates of this machine (package ca-certificates)",
            )
        })?;
        Ok(Self {
            http,
            base,
            prefix,
            timeout: config.timeout,
            max_response_bytes: config.max_response_bytes,
        })
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let request = self.request(request)?;
        let answer = self.http.execute(request).await.map_err(|error| self.before_answer(&error))?;
        self.collect(answer).await
    }

    pub(super) async fn probe(&self, path: &str, timeout: Duration) -> Result<StatusCode, Error> {
        let request = self.http.get(format!("{}{path}", self.base)).timeout(timeout);
        // The body is not read, so the connection is not used again: each probe also shows that the API
        // takes new ones.
        let answer = request.send().await.map_err(|error| self.before_answer(&error))?;
        Ok(answer.status())
    }

    /// Puts the base URL before the path, and makes sure that URL parsing leaves both as they are.
    fn request(&self, request: Request<Bytes>) -> Result<reqwest::Request, Error> {
        let (parts, body) = request.into_parts();
        let planned = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = Url::parse(&format!("{}{planned}", self.base)).ok();
        let url = url.filter(|url| is_unchanged(url, &self.prefix, &parts.uri));
        let url = url.ok_or_else(|| Error::UrlChanged { planned: planned.to_owned() })?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    /// Reads the body up to the limit, which counts what is read, not what the header promises.
    async fn collect(&self, mut answer: reqwest::Response) -> Result<Response<Bytes>, Error> {
        let too_large = || Error::AnswerTooLarge { limit: self.max_response_bytes };
        let promised = usize::try_from(answer.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
        if promised > self.max_response_bytes {
            return Err(too_large());
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.within_answer(&error))? {
            if body.len() + chunk.len() > self.max_response_bytes {
                return Err(too_large());
            }
            if body.is_empty() && chunk.len() == promised {
                // The usual small answer comes in one piece and needs no copy.
                *response.body_mut() = chunk;
                return Ok(response);
            }
            body.reserve(promised.saturating_sub(body.len()).max(chunk.len()));
            body.extend_from_slice(&chunk);
        }
        *response.body_mut() = body.freeze();
        Ok(response)
    }

    fn before_answer(&self, error: &reqwest::Error) -> Error {
        let detail = with_causes(error);
        if error.is_connect() {
            Error::Unreachable { detail }
        } else if error.is_timeout() {
            Error::UpstreamTimeout { limit: self.timeout }
        } else {
            Error::ConnectionLost { detail }
        }
    }

    fn within_answer(&self, error: &reqwest::Error) -> Error {
        let detail = with_causes(error);
        if error.is_timeout() {
            Error::UpstreamTimeout { limit: self.timeout }
        } else if error.is_decode() && !is_cut_off(error) {
            Error::AnswerUndecodable { detail }
        } else {
            Error::AnswerCutOff { detail }
        }
    }
}

/// The path prefix must come through URL parsing as it is, or every request would go elsewhere.
fn check_prefix(base: &str, prefix: &str) -> Result<(), Fault> {
    let url = Url::parse(base);
    let path = url.as_ref().map_or("nothing", Url::path);
    if path.trim_end_matches('/') == prefix {
        return Ok(());
    }
    Err(Fault::new(
        "--upstream or BRIDGE_UPSTREAM",
        format!("its path {prefix:?} is read as {path:?}"),
        "write the path that is meant, percent-encoded and without dot segments",
    ))
}

fn builder(config: &UpstreamConfig) -> reqwest::ClientBuilder {
    // A second call finds the provider installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .default_headers(headers(config))
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        // The API is internal: a proxy for the way out is never the way to it.
        .no_proxy()
        .gzip(true)
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .pool_idle_timeout(config.pool_idle_timeout);
    if config.url.scheme_str() == Some("https") {
        builder
    } else {
        // The roots of the machine are not read for plain HTTP: they cost memory and time at start.
        builder.tls_certs_only([])
    }
}

fn headers(config: &UpstreamConfig) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // For probes; a call says for itself what it wants.
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.extend(config.host.clone().map(|host| (header::HOST, host)));
    let proto = config.forwarded_proto.clone();
    headers.extend(proto.map(|proto| (header::HeaderName::from_static("x-forwarded-proto"), proto)));
    headers
}

fn is_unchanged(url: &Url, prefix: &str, planned: &Uri) -> bool {
    url.path().strip_prefix(prefix) == Some(planned.path())
        && url.query() == planned.query()
        && url.fragment().is_none()
}

/// Whether the connection ended early, which the decompressor reports as an error of its own.
fn is_cut_off(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
