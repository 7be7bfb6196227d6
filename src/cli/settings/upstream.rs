//! The API and the way to it.

use http::HeaderValue;

use super::{StrictSettings, credential::CredentialSettings};
use crate::{
    cli::{
        input::Input,
        reader::{Faults, Reader},
    },
    config::UpstreamConfig,
};

/// The settings of the way to the API.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Upstream")]
pub(in crate::cli) struct UpstreamSettings {
    /// The REST API: http or https, host, port, and a path prefix if it has one
    #[arg(long, env = "BRIDGE_UPSTREAM", value_name = "URL")]
    upstream: Option<String>,
    /// The Host header, for an API that does not know itself by the name in its URL
    #[arg(long, env = "BRIDGE_UPSTREAM_HOST", value_name = "HOST")]
    upstream_host: Option<String>,
    /// The X-Forwarded-Proto header (http, https), for an API that redirects plain HTTP (Rails: force_ssl)
    #[arg(long, env = "BRIDGE_UPSTREAM_FORWARDED_PROTO", value_name = "PROTO")]
    upstream_forwarded_proto: Option<String>,
    #[command(flatten)]
    credential: CredentialSettings,
    /// How long to wait for a connection
    #[arg(long, env = "BRIDGE_CONNECT_TIMEOUT", value_name = "TIME", default_value = "2s")]
    connect_timeout: String,
    /// How long one request may take, whatever deadline its caller names
    #[arg(long, env = "BRIDGE_UPSTREAM_TIMEOUT", value_name = "TIME", default_value = "30s")]
    upstream_timeout: String,
    /// How long an idle connection is kept; must be less than the API keeps it (Puma: 20s)
    #[arg(long, env = "BRIDGE_POOL_IDLE_TIMEOUT", value_name = "TIME", default_value = "15s")]
    pool_idle_timeout: String,
    /// The largest answer, decompressed
    #[arg(long, env = "BRIDGE_MAX_RESPONSE_BYTES", value_name = "SIZE", default_value = "64MiB")]
    max_response_bytes: String,
    #[command(flatten)]
    strict: StrictSettings,
}

// === impl UpstreamSettings ===

impl UpstreamSettings {
    /// The typed settings, or nothing where no API is named.
    pub(in crate::cli) fn config(&self, input: &Input<'_>) -> Result<Option<UpstreamConfig>, Faults> {
        if self.upstream.is_none() {
            return Ok(None);
        }
        let mut read = Reader::new(input);
        match self.resolve(&mut read) {
            Some(config) if read.faults.is_empty() => Ok(Some(config)),
            _ => Err(read.faults),
        }
    }

    /// The typed settings; it is a fault if no API is named.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<UpstreamConfig> {
        let url = match &self.upstream {
            Some(url) => read.url("upstream", url),
            None => {
                read.missing("upstream", "name the REST API, such as --upstream http://shop-api:3000");
                None
            }
        };
        let header = "write a header value of visible ASCII";
        let host = read.optional("upstream_host", self.upstream_host.as_deref(), header, header_value);
        let proto = self.upstream_forwarded_proto.as_deref();
        let proto = read.optional("upstream_forwarded_proto", proto, "write http or https", |text| {
            matches!(text, "http" | "https").then(|| header_value(text)).flatten()
        });
        let credential = self.credential.resolve(read);
        let connect_timeout = read.time("connect_timeout", &self.connect_timeout);
        let timeout = read.time("upstream_timeout", &self.upstream_timeout);
        let pool_idle_timeout = read.time("pool_idle_timeout", &self.pool_idle_timeout);
        let max_response_bytes = read.size("max_response_bytes", &self.max_response_bytes);
        let strict = self.strict.read(read);
        Some(UpstreamConfig {
            host,
            forwarded_proto: proto,
            credential,
            connect_timeout: connect_timeout?,
            timeout: timeout?,
            pool_idle_timeout: pool_idle_timeout?,
            max_response_bytes: max_response_bytes?,
            strict: strict?,
            ..UpstreamConfig::new(url?)
        })
    }
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|value| !value.is_empty())
}
