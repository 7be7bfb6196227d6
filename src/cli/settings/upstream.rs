//! The API and the way to it.

use std::path::PathBuf;

use clap::ArgMatches;
use http::HeaderValue;

use super::StrictSettings;
use crate::{
    cli::reader::{Faults, Reader, any_path},
    config::{CredentialConfig, UpstreamConfig},
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
    /// The file of the bearer token that the bridge proves itself by to the API [default: nothing]
    #[arg(long, env = "BRIDGE_UPSTREAM_BEARER_FILE", value_parser = any_path(), value_name = "FILE")]
    upstream_bearer_file: Option<PathBuf>,
    /// The file of NAME:PASSWORD that it proves itself by
    #[arg(long, env = "BRIDGE_UPSTREAM_BASIC_FILE", value_parser = any_path(), value_name = "FILE")]
    upstream_basic_file: Option<PathBuf>,
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
    pub(in crate::cli) fn config(&self, matches: &ArgMatches) -> Result<Option<UpstreamConfig>, Faults> {
        if self.upstream.is_none() {
            return Ok(None);
        }
        let mut read = Reader { matches, faults: Faults::default() };
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
        let credential = self.credential(read);
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

    fn credential(&self, read: &mut Reader<'_>) -> Option<CredentialConfig> {
        let bearer = self.upstream_bearer_file.as_deref();
        let bearer = read.path("upstream_bearer_file", bearer, "name the file of a token");
        let basic = self.upstream_basic_file.as_deref();
        let basic = read.path("upstream_basic_file", basic, "name the file of NAME:PASSWORD");
        if bearer.is_some() && basic.is_some() {
            let what = "stands beside --upstream-bearer-file".to_owned();
            read.fault("upstream_basic_file", what, "give one of the two");
        }
        let basic = basic.map(|file| CredentialConfig::Basic(file.to_owned()));
        bearer.map(|file| CredentialConfig::Bearer(file.to_owned())).or(basic)
    }
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|value| !value.is_empty())
}
