//! Every setting, one struct per concern, each with its unit, its default and what goes wrong beyond it.
//!
//! These are plain typed values: which flag or variable they come from is known to `cli/` alone.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Uri, uri::Authority};

use crate::{
    door::{Gateways, JwksSource, Policy, Rate, Requirement, ScopePolicy, TokenAlgorithm},
    transcode::Strictness,
};

/// Everything that serving needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to listen for operators; `None` is nowhere.
    pub admin: Option<SocketAddr>,
    /// The API behind.
    pub upstream: UpstreamConfig,
    /// TLS towards callers; `None` is plain HTTP/2, for a gateway or a mesh that does it.
    pub tls: Option<TlsConfig>,
    /// Who may call what.
    pub door: DoorConfig,
    /// How the connections of callers are kept.
    pub connections: ConnectionConfig,
    /// How often files that may change are read again: certificates and keys. Too long: the old ones live on.
    pub reload_interval: Duration,
    /// What a caller may ask.
    pub inbound: InboundConfig,
    /// How the health of the API is found out.
    pub probe: ProbeConfig,
    /// How to stop.
    pub shutdown: ShutdownConfig,
}

/// The API behind the bridge and how to talk to it.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamConfig {
    /// The base URL: `http` or `https`, a host, and perhaps a port and a path prefix.
    pub url: Uri,
    /// The `Host` header, for an API that does not know itself by the name in the URL.
    pub host: Option<HeaderValue>,
    /// The `X-Forwarded-Proto` header, for an API that redirects plain HTTP to https.
    pub forwarded_proto: Option<HeaderValue>,
    /// What the bridge proves itself by; `None` is nothing.
    pub credential: Option<CredentialConfig>,
    /// How long to wait for a connection. Too short: a busy network looks like a dead API.
    pub connect_timeout: Duration,
    /// How long one request may take, the body included; no caller's deadline is longer.
    pub timeout: Duration,
    /// How long an idle connection is kept. It must stay under the API's own keep-alive (Puma: 20 s up to
    /// version 6), or requests are sent into connections that the API is just closing.
    pub pool_idle_timeout: Duration,
    /// How old a connection may become before it takes no more requests, give or take a tenth. A balancer of
    /// connections can only spread new ones.
    pub max_connection_age: Duration,
    /// The HTTP that is spoken; HTTP/2 without TLS is spoken with prior knowledge.
    pub http_version: HttpVersion,
    /// The largest answer, in bytes after decompression; memory per call follows it.
    pub max_response_bytes: usize,
    /// How many requests are sent at once, and how long others wait.
    pub limit: LimitConfig,
    /// When to stop asking.
    pub breaker: BreakerConfig,
    /// When to ask again.
    pub retry: RetryConfig,
    /// What is stored.
    pub cache: CacheConfig,
    /// What is refused in an answer instead of being tolerated and counted.
    pub strict: Strictness,
}

/// What the bridge proves itself by to the API. Files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialConfig {
    /// The file of a bearer token.
    Bearer(PathBuf),
    /// The file of `NAME:PASSWORD`.
    Basic(PathBuf),
    /// The `Authorization` header itself. It has to be marked as sensitive, or this prints it.
    Header(HeaderValue),
    /// An ID token of Google's metadata server.
    GoogleIdToken(GoogleIdTokenConfig),
}

/// Who proves to the API which service account the bridge runs as, on Google Cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleIdTokenConfig {
    /// The `aud` of tokens: whom they are for. An API that expects another one answers 401.
    pub audience: String,
    /// Host and perhaps port of the metadata server.
    pub metadata_host: Authority,
}

/// The HTTP that is spoken with the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How many requests are sent at once, and how long others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitConfig {
    /// How many at once; `None` finds out how many the API can take.
    pub concurrency: Option<usize>,
    /// How many calls may wait; more are refused.
    pub queue: usize,
    /// How long a call may expect to wait in a queue that has stood for some seconds. In a burst it is half of its time.
    pub queue_wait: Duration,
}

/// When to stop asking an API that fails.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerConfig {
    /// How many failures in a row shut it; 0 means that it never shuts.
    pub failures: u32,
    /// The part of the calls of the last ten seconds that has failed which shuts it, from 0 to 1.
    pub failure_rate: f32,
    /// How long it stays shut at first, and twice as long if the API goes on failing.
    pub pause: Duration,
}

/// When to send a request again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryConfig {
    /// How often a request is sent at most, its callers' own attempts included.
    pub attempts: u32,
    /// How many retries there may be as a part of the calls, from 0 to 1.
    pub budget: f32,
}

/// What is stored of the API's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// How much memory it takes at most, in bytes; 0 stores nothing.
    pub size: usize,
    /// How long an answer is served without asking.
    pub freshness: Freshness,
    /// The same for single methods (`package.Service/Method`), whatever the API says.
    pub ttl: Vec<(String, Duration)>,
    /// How much too old an answer may be that is served while it is asked for anew.
    pub stale_while_revalidate: Duration,
    /// How much too old an answer may be that is served because the API fails.
    pub stale_if_error: Duration,
}

/// How long an answer is served without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Not at all: the API is asked each time whether it is still good.
    Revalidate,
    /// For as long as the API says (`Cache-Control: max-age`, `Expires`).
    Api,
}

/// TLS towards callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, as PEM, with those of its issuers behind it.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// The certificates that issue those of callers, as PEM; `None` asks no caller for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a caller may come without one, where they are asked.
    pub client_auth: ClientAuth,
    /// Which alternative names a caller's certificate may have, with `*` for anything; empty allows all.
    pub client_names: Vec<String>,
}

/// Whether callers have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No connection without one.
    Required,
    /// They may, and methods may require it.
    Requested,
}

/// Who may call what.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DoorConfig {
    /// The file of API keys; `None` is none.
    pub keys: Option<PathBuf>,
    /// Whose tokens are believed.
    pub tokens: TokenConfig,
    /// The gateways that are believed what they say of their callers, by the names that they have as callers; empty is none.
    /// Too many: whoever has such a name can call as anybody.
    pub userinfo_from: Vec<Gateways>,
    /// What every method requires that no policy is for; `None` is everything that can be proved here: a key where
    /// there is a file of them, a token where there is an issuer, a certificate where there is a CA, user info where there is
    /// a gateway.
    pub require: Option<Requirement>,
    /// What some methods require; the first one that fits counts.
    pub policies: Vec<Policy>,
    /// How often each caller may call that has proved who it is, unless its key says otherwise; all of them count. Empty is
    /// as often as it likes.
    pub rates: Vec<Rate>,
    /// Where all replicas count together; `None` is each of them for itself.
    pub shared_rates: Option<SharedRatesConfig>,
    /// Who may ask which methods there are.
    pub reflection: Reflection,
}

/// Whose tokens are believed, and what they have to say.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenConfig {
    /// The issuers; empty is none.
    pub issuers: Vec<IssuerConfig>,
    /// The algorithms that a token may be signed by.
    pub algorithms: Vec<TokenAlgorithm>,
    /// How much the clock of an issuer may differ from ours, in whole seconds; it is for user info too.
    pub clock_skew: Duration,
    /// The scopes that methods need; all that fit count, of the user info where a method requires it, else of the token.
    pub scopes: Vec<ScopePolicy>,
}

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// The `iss` of its tokens.
    pub name: String,
    /// The `aud` of its tokens; one of these has to be in it. It keeps tokens for others from being good here.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub jwks: JwksSource,
}

/// The Redis in which all replicas count the calls of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedRatesConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken with it.
    pub tls: bool,
    /// The number of the database. Bridges that do not count together take different ones.
    pub database: u32,
    /// As whom it is asked; `None` is as its default user.
    pub user: Option<String>,
    /// The file of the password, which is read again when it changes; `None` is no password.
    pub password: Option<PathBuf>,
    /// How long a call waits for it, before it is counted by this replica alone. Too short: counts are not shared whenever
    /// Redis or the network has a hiccup. Too long: that is how much longer calls take then.
    pub timeout: Duration,
}

/// Who may use the reflection service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reflection {
    /// Anybody.
    Public,
    /// Who may call what no policy is for.
    #[default]
    Protected,
    /// Nobody.
    Off,
}

/// How the connections of callers are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// How old a connection gets, give or take a tenth, before its caller is told to make a new one; `None` is
    /// any age. Too long: a new replica waits for its calls. Too short: callers are busy connecting.
    pub max_age: Option<Duration>,
    /// How long calls on an old connection may go on before they are cut. It has to outlast every call; what
    /// never ends by itself, such as a watch of the health, is cut.
    pub max_age_grace: Duration,
    /// After which silence a caller is asked whether it is there; `None` is never. Too long: balancers forget the
    /// connection. Too short: sleeping callers are kept awake.
    pub keepalive_interval: Option<Duration>,
    /// How long to wait for its answer, and for its system to take note of anything sent, before its connection is
    /// closed. Too short: a hiccup of the network breaks calls.
    pub keepalive_timeout: Duration,
    /// How long a connection may be without calls before its caller is told to make a new one; `None` is for ever.
    pub max_idle: Option<Duration>,
    /// How long a caller may take nothing of an answer before the call is given up. Too short: callers on bad networks lose
    /// large answers. Too long: who takes nothing holds places and memory.
    pub send_timeout: Duration,
    /// How many calls may run on one connection; gRPC clients hold back what is more.
    pub max_concurrent_streams: u32,
    /// How many calls a caller may take back on one connection before it is taken for an attack.
    pub max_stream_resets: Rate,
    /// How many frames may come on one connection that carry nothing, beyond those that calls and data need.
    pub max_overhead_frames: Rate,
    /// How many connections there may be; what is more is closed at once. Memory follows it.
    pub max_connections: usize,
    /// The same from one address, or one /64 of IPv6. Too low: callers behind one gateway take each other's places.
    pub max_connections_per_address: usize,
    /// How long a caller may take to begin: for the TLS handshake, and then for the first bytes of HTTP/2. Too short: callers
    /// far away cannot connect. Too long: who says nothing holds a connection.
    pub handshake_timeout: Duration,
}

/// What a caller may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundConfig {
    /// How many calls of the contract may run in this process, until their answers are handed over; what is more
    /// is refused at once. Too high: all of them are slow. Too low: calls are refused that could have been served.
    pub max_in_flight: usize,
    /// The same for one caller, by its name, or by its address (one /64 of IPv6) where it has proved none.
    pub max_in_flight_per_caller: usize,
    /// The deadline of a call whose caller names none. API Gateway gives up after 15 s.
    pub default_deadline: Duration,
    /// How long a caller may take to send its message, once it has called. Too short: large messages on bad networks are lost.
    /// Too long: who sends nothing holds a place.
    pub receive_timeout: Duration,
    /// The largest request message, in bytes after decompression.
    pub max_request_bytes: usize,
    /// The largest request metadata, in bytes. Gateways add long tokens.
    pub max_metadata_bytes: u32,
    /// Whether answers are compressed for callers that accept gzip.
    pub compress: bool,
    /// The `domain` of `google.rpc.ErrorInfo`.
    pub error_domain: Arc<str>,
    /// Which headers pass.
    pub headers: HeaderConfig,
}

/// Which metadata of callers the API gets as headers, and which of its headers callers get as metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderConfig {
    /// The metadata of a caller that is sent on.
    pub to_api: Vec<HeaderName>,
    /// The headers of an answer that are given to the caller.
    pub to_caller: Vec<HeaderName>,
    /// How many trusted proxies before the bridge have each added an address to `X-Forwarded-For`, which the API is told then;
    /// `None` tells it nothing. Too many: callers say themselves where they come from.
    pub forwarded_for: Option<usize>,
    /// The header that tells the API the name which the caller has proved; `None` is none.
    pub caller: Option<HeaderName>,
}

/// How the health of the API is found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// The path below the base URL; empty is the base URL itself.
    pub path: String,
    /// The pause between two probes.
    pub interval: Duration,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// How many probes in a row must fail before the health changes to NOT_SERVING.
    pub failures: u32,
}

/// How to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// How long to go on serving as NOT_SERVING, so that balancers take notice.
    pub drain_delay: Duration,
    /// When to give up on calls that still run, counted from the signal.
    pub timeout: Duration,
}

/// A new replica has its share of the calls after this time, and a caller connects twelve times an hour.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(5 * 60);
/// As long as one request to the API may take, so that no call is cut unless it takes longer than that.
pub const MAX_CONNECTION_AGE_GRACE: Duration = UPSTREAM_TIMEOUT;
/// Several times in the shortest silence after which a balancer forgets a connection: Azure's 4 minutes, before
/// AWS's 350 s and Google Cloud's 10 minutes. The 2 hours of gRPC are longer than all of them.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// What gRPC servers commonly wait.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// A fifth of all calls, so that no single connection takes every place; twice what HTTP/2 asks for at least.
pub const MAX_CONCURRENT_STREAMS: u32 = 200;
/// Callers that come once in a while connect anew; others never notice.
pub const MAX_CONNECTION_IDLE: Duration = Duration::from_secs(2 * 60);
/// As long as the answer to a PING may take.
pub const SEND_TIMEOUT: Duration = KEEPALIVE_TIMEOUT;
/// Twice in three seconds all calls that may run on a connection, for half a minute at once and then for ever. An attack
/// takes back thousands in a second.
pub const MAX_STREAM_RESETS: Rate = Rate::per_minute(NonZeroU32::new(8000).expect("it is not zero"));
/// As many again. Beyond what calls and data need, clients send a PING now and then.
pub const MAX_OVERHEAD_FRAMES: Rate = MAX_STREAM_RESETS;
/// Longer than a handshake takes around the world on a bad day.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Some 25 KB each make 250 MB.
pub const MAX_CONNECTIONS: usize = 10_000;
/// A gateway makes some hundred; nobody alone takes more than a tenth of all.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 1000;
/// Soon enough for a key that was revoked.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// Clocks that are kept right differ by less.
pub const TOKEN_CLOCK_SKEW: Duration = Duration::from_secs(30);
/// A hundred times what a Redis nearby takes, and little beside what a call takes.
pub const RATES_REDIS_TIMEOUT: Duration = Duration::from_millis(100);
/// Far more than an API serves at a time: at 50 ms a call this is 20,000 calls a second.
pub const MAX_IN_FLIGHT: usize = 1000;
/// Half of all, so that others have the other half.
pub const MAX_IN_FLIGHT_PER_CALLER: usize = MAX_IN_FLIGHT / 2;
/// Under the 15 s after which API Gateway gives up.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// Enough for the largest message at 200 KB/s.
pub const RECEIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Twice what API Gateway waits, for callers that ask for more time than the default deadline.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(30);
/// Under the 20 s after which Puma closes an idle connection.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Often enough that a new pod of the API soon gets its part.
pub const UPSTREAM_CONNECTION_AGE: Duration = Duration::from_secs(300);
/// Some thousand answers, beside their messages.
pub const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Under the 10 s after which Cloud Run kills the process.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(8);
/// What gRPC servers commonly take.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Lists of a hundred thousand products, and no more.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;
/// API Gateway forwards up to 60 KB.
pub const MAX_METADATA_BYTES: u32 = 64 * 1024;
/// The `domain` of errors where none is configured.
pub const ERROR_DOMAIN: &str = "grpc-rest-bridge";

// === impl Config ===

impl Config {
    /// The defaults for serving at `listen` before the API at `upstream`.
    pub fn new(listen: SocketAddr, upstream: Uri) -> Self {
        Self {
            listen,
            admin: None,
            upstream: UpstreamConfig::new(upstream),
            tls: None,
            door: DoorConfig::default(),
            connections: ConnectionConfig::default(),
            reload_interval: RELOAD_INTERVAL,
            inbound: InboundConfig::default(),
            probe: ProbeConfig::default(),
            shutdown: ShutdownConfig::default(),
        }
    }
}

// === impl UpstreamConfig ===

impl UpstreamConfig {
    /// The defaults for the API at `url`.
    pub fn new(url: Uri) -> Self {
        Self {
            url,
            host: None,
            forwarded_proto: None,
            credential: None,
            connect_timeout: Duration::from_secs(2),
            timeout: UPSTREAM_TIMEOUT,
            pool_idle_timeout: POOL_IDLE_TIMEOUT,
            max_connection_age: UPSTREAM_CONNECTION_AGE,
            http_version: HttpVersion::Http1,
            max_response_bytes: MAX_RESPONSE_BYTES,
            limit: LimitConfig::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
            cache: CacheConfig::default(),
            strict: Strictness::default(),
        }
    }
}

// === impl LimitConfig ===

impl Default for LimitConfig {
    fn default() -> Self {
        Self { concurrency: None, queue: 1000, queue_wait: Duration::from_secs(1) }
    }
}

// === impl BreakerConfig ===

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 10, failure_rate: 0.5, pause: Duration::from_secs(1) }
    }
}

// === impl RetryConfig ===

impl Default for RetryConfig {
    fn default() -> Self {
        Self { attempts: 2, budget: 0.2 }
    }
}

// === impl CacheConfig ===

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            size: CACHE_BYTES,
            freshness: Freshness::Revalidate,
            ttl: Vec::new(),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        }
    }
}

// === impl TokenConfig ===

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            algorithms: TokenAlgorithm::ALL.to_vec(),
            clock_skew: TOKEN_CLOCK_SKEW,
            scopes: Vec::new(),
        }
    }
}

// === impl ConnectionConfig ===

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            max_age: Some(MAX_CONNECTION_AGE),
            max_age_grace: MAX_CONNECTION_AGE_GRACE,
            keepalive_interval: Some(KEEPALIVE_INTERVAL),
            keepalive_timeout: KEEPALIVE_TIMEOUT,
            max_idle: Some(MAX_CONNECTION_IDLE),
            send_timeout: SEND_TIMEOUT,
            max_concurrent_streams: MAX_CONCURRENT_STREAMS,
            max_stream_resets: MAX_STREAM_RESETS,
            max_overhead_frames: MAX_OVERHEAD_FRAMES,
            max_connections: MAX_CONNECTIONS,
            max_connections_per_address: MAX_CONNECTIONS_PER_ADDRESS,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

// === impl InboundConfig ===

impl Default for InboundConfig {
    fn default() -> Self {
        Self {
            max_in_flight: MAX_IN_FLIGHT,
            max_in_flight_per_caller: MAX_IN_FLIGHT_PER_CALLER,
            default_deadline: DEFAULT_DEADLINE,
            receive_timeout: RECEIVE_TIMEOUT,
            max_request_bytes: MAX_REQUEST_BYTES,
            max_metadata_bytes: MAX_METADATA_BYTES,
            compress: true,
            error_domain: ERROR_DOMAIN.into(),
            headers: HeaderConfig::default(),
        }
    }
}

// === impl ProbeConfig ===

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failures: 2,
        }
    }
}

// === impl ShutdownConfig ===

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain_delay: Duration::from_secs(1), timeout: SHUTDOWN_TIMEOUT }
    }
}
