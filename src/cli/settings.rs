//! Flags and variables, and how they become typed settings.
//!
//! Each setting is a flag and a variable `BRIDGE_…`; the flag wins. Values are parsed here, not by clap, so
//! that all faults of a start are told at once, each with the flag or the variable that it came from.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use clap::ArgMatches;
use http::{HeaderValue, uri::PathAndQuery};

use super::{
    protection::ProtectionSettings,
    reader::{Faults, Reader, TIME},
};
use crate::{
    config::{Config, ConnectionConfig, InboundConfig, ProbeConfig, ShutdownConfig, UpstreamConfig},
    transcode::{Strictness, Tolerance},
};

/// The port where nothing else is said.
const DEFAULT_PORT: u16 = 50051;

/// The settings of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct ServeSettings {
    #[command(flatten)]
    upstream: UpstreamSettings,
    #[command(flatten)]
    protection: ProtectionSettings,
    /// Address and port to listen on; port 0 takes a free one [default: 0.0.0.0:$PORT, else 0.0.0.0:50051]
    #[arg(long, env = "BRIDGE_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port for operators, who read metrics there; such as 127.0.0.1:9090 [default: none]
    #[arg(long, env = "BRIDGE_ADMIN_LISTEN", value_name = "ADDR")]
    admin_listen: Option<String>,
    /// The port where --listen is not given, as Cloud Run sets it
    #[arg(long, env = "PORT", value_name = "PORT", hide = true)]
    port: Option<String>,

    /// How many calls may run at a time; what is more is refused at once
    #[arg(
        long,
        env = "BRIDGE_MAX_IN_FLIGHT",
        value_name = "COUNT",
        default_value = "1000",
        help_heading = "Callers"
    )]
    max_in_flight: String,
    /// The deadline of a call whose caller names none
    #[arg(
        long,
        env = "BRIDGE_DEFAULT_DEADLINE",
        value_name = "TIME",
        default_value = "10s",
        help_heading = "Callers"
    )]
    default_deadline: String,
    /// The largest request message, decompressed
    #[arg(
        long,
        env = "BRIDGE_MAX_REQUEST_BYTES",
        value_name = "SIZE",
        default_value = "4MiB",
        help_heading = "Callers"
    )]
    max_request_bytes: String,
    /// The largest request metadata
    #[arg(
        long,
        env = "BRIDGE_MAX_METADATA_BYTES",
        value_name = "SIZE",
        default_value = "64KiB",
        help_heading = "Callers"
    )]
    max_metadata_bytes: String,
    /// Compress answers for callers that accept gzip (gzip, none)
    #[arg(
        long,
        env = "BRIDGE_RESPONSE_COMPRESSION",
        value_name = "HOW",
        default_value = "gzip",
        help_heading = "Callers"
    )]
    response_compression: String,
    /// The domain of google.rpc.ErrorInfo in errors
    #[arg(
        long,
        env = "BRIDGE_ERROR_DOMAIN",
        value_name = "NAME",
        default_value = "grpc-rest-bridge",
        help_heading = "Callers"
    )]
    error_domain: String,

    #[command(flatten)]
    connections: ConnectionSettings,

    /// The path below the upstream URL that tells whether the API lives; any answer below 500 is yes
    #[arg(
        long,
        env = "BRIDGE_PROBE_PATH",
        value_name = "PATH",
        default_value = "",
        help_heading = "Health",
        hide_default_value = true
    )]
    probe_path: String,
    /// The pause between two probes; a second at most after one that failed
    #[arg(
        long,
        env = "BRIDGE_PROBE_INTERVAL",
        value_name = "TIME",
        default_value = "5s",
        help_heading = "Health"
    )]
    probe_interval: String,
    /// How long to wait for the answer of a probe
    #[arg(
        long,
        env = "BRIDGE_PROBE_TIMEOUT",
        value_name = "TIME",
        default_value = "2s",
        help_heading = "Health"
    )]
    probe_timeout: String,
    /// How many probes in a row must fail for NOT_SERVING
    #[arg(
        long,
        env = "BRIDGE_PROBE_FAILURES",
        value_name = "COUNT",
        default_value = "2",
        help_heading = "Health"
    )]
    probe_failures: String,

    /// How long to go on serving as NOT_SERVING after the stop signal
    #[arg(
        long,
        env = "BRIDGE_DRAIN_DELAY",
        value_name = "TIME",
        default_value = "1s",
        help_heading = "Stopping"
    )]
    drain_delay: String,
    /// When to give up on running calls after the stop signal
    #[arg(
        long,
        env = "BRIDGE_SHUTDOWN_TIMEOUT",
        value_name = "TIME",
        default_value = "8s",
        help_heading = "Stopping"
    )]
    shutdown_timeout: String,
}

/// The settings of callers' connections.
#[derive(Debug, clap::Args)]
struct ConnectionSettings {
    /// How old a connection gets, give or take a tenth, before its caller is told to make a new one (or none)
    #[arg(
        long,
        env = "BRIDGE_MAX_CONNECTION_AGE",
        value_name = "TIME",
        default_value = "5m",
        help_heading = "Callers' connections"
    )]
    max_connection_age: String,
    /// How long calls on an old connection may go on before they are cut
    #[arg(
        long,
        env = "BRIDGE_MAX_CONNECTION_AGE_GRACE",
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Callers' connections"
    )]
    max_connection_age_grace: String,
    /// After which silence a caller is asked by a PING whether it is there (or none)
    #[arg(
        long,
        env = "BRIDGE_KEEPALIVE_INTERVAL",
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Callers' connections"
    )]
    keepalive_interval: String,
    /// How long to wait for the answer to a PING before the connection is closed
    #[arg(
        long,
        env = "BRIDGE_KEEPALIVE_TIMEOUT",
        value_name = "TIME",
        default_value = "20s",
        help_heading = "Callers' connections"
    )]
    keepalive_timeout: String,
    /// How many calls may run at a time on one connection
    #[arg(
        long,
        env = "BRIDGE_MAX_CONCURRENT_STREAMS",
        value_name = "COUNT",
        default_value = "200",
        help_heading = "Callers' connections"
    )]
    max_concurrent_streams: String,
}

/// The settings of the way to the API.
#[derive(Debug, clap::Args)]
pub(super) struct UpstreamSettings {
    /// The REST API: http or https, host, port, and a path prefix if it has one
    #[arg(long, env = "BRIDGE_UPSTREAM", value_name = "URL", help_heading = "Upstream")]
    upstream: Option<String>,
    /// The Host header, for an API that does not know itself by the name in its URL
    #[arg(long, env = "BRIDGE_UPSTREAM_HOST", value_name = "HOST", help_heading = "Upstream")]
    upstream_host: Option<String>,
    /// The X-Forwarded-Proto header (http, https), for an API that redirects plain HTTP (Rails: force_ssl)
    #[arg(long, env = "BRIDGE_UPSTREAM_FORWARDED_PROTO", value_name = "PROTO", help_heading = "Upstream")]
    upstream_forwarded_proto: Option<String>,
    /// How long to wait for a connection
    #[arg(
        long,
        env = "BRIDGE_CONNECT_TIMEOUT",
        value_name = "TIME",
        default_value = "2s",
        help_heading = "Upstream"
    )]
    connect_timeout: String,
    /// How long one request may take, whatever deadline its caller names
    #[arg(
        long,
        env = "BRIDGE_UPSTREAM_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Upstream"
    )]
    upstream_timeout: String,
    /// How long an idle connection is kept; must be less than the API keeps it (Puma: 20s)
    #[arg(
        long,
        env = "BRIDGE_POOL_IDLE_TIMEOUT",
        value_name = "TIME",
        default_value = "15s",
        help_heading = "Upstream"
    )]
    pool_idle_timeout: String,
    /// The largest answer, decompressed
    #[arg(
        long,
        env = "BRIDGE_MAX_RESPONSE_BYTES",
        value_name = "SIZE",
        default_value = "64MiB",
        help_heading = "Upstream"
    )]
    max_response_bytes: String,
    #[command(flatten)]
    strict: StrictSettings,
}

/// The setting of what is not tolerated.
#[derive(Debug, clap::Args)]
pub(super) struct StrictSettings {
    /// What to refuse in an answer instead of tolerating and counting it (names, proto-json, all)
    #[arg(
        long,
        env = "BRIDGE_STRICT_JSON",
        value_name = "NAMES",
        value_delimiter = ',',
        help_heading = "Upstream"
    )]
    strict_json: Vec<String>,
}

/// The settings of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct DemoSettings {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "BRIDGE_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    listen: String,
}

// === impl ServeSettings ===

impl ServeSettings {
    /// The typed settings.
    pub(super) fn config(&self, matches: &ArgMatches) -> Result<Config, Faults> {
        let mut read = Reader { matches, faults: Faults::default() };
        let upstream = self.upstream.resolve(&mut read);
        let upstream = self.protection.apply(&mut read, upstream);
        let admin = read.optional("admin_listen", self.admin_listen.as_deref(), ADDRESS, address);
        let config = (
            self.listen(&mut read),
            self.inbound(&mut read),
            self.connections.resolve(&mut read),
            self.probe(&mut read),
            self.shutdown(&mut read),
        );
        match (upstream, config) {
            (
                Some(upstream),
                (Some(listen), Some(inbound), Some(connections), Some(probe), Some(shutdown)),
            ) if read.faults.faults.is_empty() => {
                Ok(Config { listen, admin, upstream, connections, inbound, probe, shutdown })
            }
            _ => Err(read.faults),
        }
    }

    fn listen(&self, read: &mut Reader<'_>) -> Option<SocketAddr> {
        match (&self.listen, &self.port) {
            (Some(listen), _) => read.value("listen", listen, ADDRESS, address),
            (None, Some(port)) => {
                let port =
                    read.value("port", port, "write a number from 0 to 65535", |text| text.parse().ok())?;
                Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            }
            (None, None) => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DEFAULT_PORT)),
        }
    }

    fn inbound(&self, read: &mut Reader<'_>) -> Option<InboundConfig> {
        let max_in_flight = read.count("max_in_flight", &self.max_in_flight);
        let default_deadline = read.time("default_deadline", &self.default_deadline);
        let max_request_bytes = read.size("max_request_bytes", &self.max_request_bytes);
        let max_metadata_bytes = read.size("max_metadata_bytes", &self.max_metadata_bytes);
        let compress =
            read.value("response_compression", &self.response_compression, "write gzip or none", |text| {
                match text {
                    "gzip" => Some(true),
                    "none" => Some(false),
                    _ => None,
                }
            });
        let domain = "write a name of visible ASCII, such as shop.example.com";
        let error_domain = read.value("error_domain", &self.error_domain, domain, |text| {
            (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Arc::from(text))
        });
        Some(InboundConfig {
            max_in_flight: max_in_flight?,
            default_deadline: default_deadline?,
            max_request_bytes: max_request_bytes?,
            max_metadata_bytes: u32::try_from(max_metadata_bytes?).unwrap_or(u32::MAX),
            compress: compress?,
            error_domain: error_domain?,
        })
    }

    fn probe(&self, read: &mut Reader<'_>) -> Option<ProbeConfig> {
        let path = read.value(
            "probe_path",
            &self.probe_path,
            "write a path that begins with /, such as /up",
            |text| {
                let path = PathAndQuery::from_str(text).is_ok() && text.starts_with('/');
                (text.is_empty() || path).then(|| text.to_owned())
            },
        );
        let interval = read.time("probe_interval", &self.probe_interval);
        let timeout = read.time("probe_timeout", &self.probe_timeout);
        let failures = read.count("probe_failures", &self.probe_failures);
        Some(ProbeConfig { path: path?, interval: interval?, timeout: timeout?, failures: failures? })
    }

    fn shutdown(&self, read: &mut Reader<'_>) -> Option<ShutdownConfig> {
        let drain_delay =
            read.value("drain_delay", &self.drain_delay, TIME, |text| humantime::parse_duration(text).ok());
        let timeout = read.time("shutdown_timeout", &self.shutdown_timeout);
        Some(ShutdownConfig { drain_delay: drain_delay?, timeout: timeout? })
    }
}

// === impl ConnectionSettings ===

impl ConnectionSettings {
    fn resolve(&self, read: &mut Reader<'_>) -> Option<ConnectionConfig> {
        let max_age = read.time_or_none("max_connection_age", &self.max_connection_age);
        let max_age_grace = read.time("max_connection_age_grace", &self.max_connection_age_grace);
        let keepalive_interval = read.time_or_none("keepalive_interval", &self.keepalive_interval);
        let keepalive_timeout = read.time("keepalive_timeout", &self.keepalive_timeout);
        let max_concurrent_streams = read.count("max_concurrent_streams", &self.max_concurrent_streams);
        Some(ConnectionConfig {
            max_age: max_age?,
            max_age_grace: max_age_grace?,
            keepalive_interval: keepalive_interval?,
            keepalive_timeout: keepalive_timeout?,
            max_concurrent_streams: max_concurrent_streams?,
        })
    }
}

// === impl UpstreamSettings ===

impl UpstreamSettings {
    /// The typed settings, or nothing where no API is named.
    pub(super) fn config(&self, matches: &ArgMatches) -> Result<Option<UpstreamConfig>, Faults> {
        let mut read = Reader { matches, faults: Faults::default() };
        if self.upstream.is_none() {
            return Ok(None);
        }
        self.resolve(&mut read).map(Some).ok_or(read.faults)
    }

    fn resolve(&self, read: &mut Reader<'_>) -> Option<UpstreamConfig> {
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
        let connect_timeout = read.time("connect_timeout", &self.connect_timeout);
        let timeout = read.time("upstream_timeout", &self.upstream_timeout);
        let pool_idle_timeout = read.time("pool_idle_timeout", &self.pool_idle_timeout);
        let max_response_bytes = read.size("max_response_bytes", &self.max_response_bytes);
        let strict = self.strict.read(read);
        Some(UpstreamConfig {
            host,
            forwarded_proto: proto,
            connect_timeout: connect_timeout?,
            timeout: timeout?,
            pool_idle_timeout: pool_idle_timeout?,
            max_response_bytes: max_response_bytes?,
            strict: strict?,
            ..UpstreamConfig::new(url?)
        })
    }
}

// === impl StrictSettings ===

impl StrictSettings {
    /// What is refused in an answer.
    pub(super) fn read(&self, read: &mut Reader<'_>) -> Option<Strictness> {
        let names = Tolerance::ALL.map(Tolerance::name).join(", ");
        let mend = format!("write proto-json, all, or some of {names}");
        let mut strict = Some(Strictness::default());
        for name in read.list("strict_json", &self.strict_json, &mend) {
            let more = read.value("strict_json", name, &mend, |name| match name {
                "proto-json" => Some(Strictness::PROTO_JSON),
                "all" => Some(Strictness::ALL),
                name => Tolerance::named(name).map(|tolerance| Strictness::default().with(tolerance)),
            });
            strict = strict.zip(more).map(|(strict, more)| strict.and(more));
        }
        strict
    }
}

// === impl DemoSettings ===

impl DemoSettings {
    /// Where to listen.
    pub(super) fn listen(&self, matches: &ArgMatches) -> Result<SocketAddr, Faults> {
        let mut read = Reader { matches, faults: Faults::default() };
        read.value("listen", &self.listen, ADDRESS, address).ok_or(read.faults)
    }
}

/// How to mend an address.
const ADDRESS: &str = "write ADDRESS:PORT, such as 127.0.0.1:50051 or [::]:50051";

/// `localhost` is taken for what it is on every machine.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(IpAddr::from(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use std::time::Duration;

    fn config(words: &[&str]) -> Config {
        let command = ServeSettings::augment_args(Command::new("serve"));
        let matches =
            command.get_matches_from([&["serve", "--upstream", "http://shop:3000"], words].concat());
        ServeSettings::from_arg_matches(&matches).unwrap().config(&matches).unwrap()
    }

    #[test]
    fn what_is_not_set_is_as_the_library_has_it() {
        let expected = Config {
            listen: "0.0.0.0:50051".parse().unwrap(),
            admin: None,
            upstream: UpstreamConfig::new("http://shop:3000".parse().unwrap()),
            connections: ConnectionConfig::default(),
            inbound: InboundConfig::default(),
            probe: ProbeConfig::default(),
            shutdown: ShutdownConfig::default(),
        };
        assert_eq!(config(&[]), expected);
    }

    #[test]
    fn what_is_set_of_connections_is_as_it_says() {
        let words = "--max-connection-age 1h --max-connection-age-grace 2m --keepalive-interval 3m \
                     --keepalive-timeout 4s --max-concurrent-streams 5 --max-in-flight 6";
        let found = config(&words.split_whitespace().collect::<Vec<_>>());
        let expected = ConnectionConfig {
            max_age: Some(Duration::from_secs(3600)),
            max_age_grace: Duration::from_secs(120),
            keepalive_interval: Some(Duration::from_secs(180)),
            keepalive_timeout: Duration::from_secs(4),
            max_concurrent_streams: 5,
        };
        assert_eq!((found.connections, found.inbound.max_in_flight), (expected, 6));
    }

    #[test]
    fn age_and_keepalive_can_be_switched_off() {
        let found = config(&["--max-connection-age", "none", "--keepalive-interval", "none"]).connections;
        assert_eq!((found.max_age, found.keepalive_interval), (None, None));
    }
}
