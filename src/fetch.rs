//! One small document of a web server that is not the API, such as the keys of an issuer of tokens.
//!
//! Unlike `upstream`, which protects an API that is slow, it is asked now and then and by nobody who waits for long.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use tokio::time::timeout;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest document that is asked for by its URL alone.
const MAX_BYTES: usize = 1024 * 1024;

/// Asks one server, on a connection that is made for it.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetcher {
    /// Asks the server of this URL.
    ///
    /// # Errors
    /// It is https, and the certificates that this machine trusts cannot be read.
    pub fn new(url: &Uri) -> Result<Self, String> {
        let tls = tls(url.scheme_str() == Some("https"))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) })
    }

    /// The document at this URL. Redirects are not followed: whoever is trusted was named.
    ///
    /// # Errors
    /// There is none, in words for the log.
    pub async fn get(&self, url: &Uri) -> Result<Bytes, String> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url.clone();
        request.headers_mut().insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
        let answer = self.send(request, MAX_BYTES).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{url} was answered {}", answer.status()));
        }
        Ok(answer.into_body())
    }

    /// The whole answer to a request, whatever its status, if its body has no more than so many bytes.
    ///
    /// # Errors
    /// There is none, in words for the log, which have nothing of it.
    pub(crate) async fn send(
        &self,
        request: Request<Empty<Bytes>>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, String> {
        let url = request.uri().clone();
        let whole = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| format!("{url}: {}", with_cause(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, max_bytes).collect().await;
            let body = body.map_err(|error| format!("{url}: {error}"))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answer = timeout(TIMEOUT, whole).await;
        answer.unwrap_or_else(|_| Err(format!("{url} was not answered within {TIMEOUT:?}")))
    }
}

/// TLS 1.2 and 1.3 with servers that have a certificate which this machine trusts.
///
/// # Errors
/// The certificates that it trusts cannot be read; where none is `needed` they are not.
pub(crate) fn tls(needed: bool) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = if needed {
        builder.and_then(ConfigBuilderExt::try_with_platform_verifier)
    } else {
        builder.map(|builder| builder.with_root_certificates(RootCertStore::empty()))
    };
    builder.map(|builder| builder.with_no_client_auth()).map_err(|error| error.to_string())
}

fn with_cause(error: &dyn StdError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_cause(cause)),
        None => error.to_string(),
    }
}
