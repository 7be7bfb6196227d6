//! The flags and variables of what protects the API: limit, retries, breaker, cache.

use crate::{
    cli::reader::{self, Reader},
    config::{BreakerConfig, CacheConfig, Freshness, HttpVersion, LimitConfig, RetryConfig, UpstreamConfig},
};

/// The settings of what stands between callers and the API.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Protection")]
pub(super) struct ProtectionSettings {
    /// How many requests are sent at once: auto finds out how many the API can take
    #[arg(long, env = "BRIDGE_UPSTREAM_CONCURRENCY", value_name = "COUNT", default_value = "auto")]
    upstream_concurrency: String,
    /// How many calls may wait to be sent; more are refused
    #[arg(long, env = "BRIDGE_UPSTREAM_QUEUE", value_name = "COUNT", default_value = "1000")]
    upstream_queue: String,
    /// How long a call may expect to wait in an overload; in a burst, for half of its time
    #[arg(long, env = "BRIDGE_UPSTREAM_QUEUE_WAIT", value_name = "TIME", default_value = "1s")]
    upstream_queue_wait: String,
    /// How often a request without side effects is sent at most, its callers' own attempts included
    #[arg(long, env = "BRIDGE_UPSTREAM_ATTEMPTS", value_name = "COUNT", default_value = "2")]
    upstream_attempts: String,
    /// How many retries there may be, as a part of the calls
    #[arg(long, env = "BRIDGE_RETRY_BUDGET", value_name = "PERCENT", default_value = "20%")]
    retry_budget: String,
    /// How many failures in a row shut the breaker; 0 keeps it open
    #[arg(long, env = "BRIDGE_BREAKER_FAILURES", value_name = "COUNT", default_value = "10")]
    breaker_failures: String,
    /// Which part of the calls of the last ten seconds has to fail to shut the breaker
    #[arg(long, env = "BRIDGE_BREAKER_FAILURE_RATE", value_name = "PERCENT", default_value = "50%")]
    breaker_failure_rate: String,
    /// How long a breaker stays shut at first; twice as long while the API goes on failing
    #[arg(long, env = "BRIDGE_BREAKER_PAUSE", value_name = "TIME", default_value = "1s")]
    breaker_pause: String,
    /// How old a connection to the API may become, give or take a tenth
    #[arg(long, env = "BRIDGE_UPSTREAM_CONNECTION_AGE", value_name = "TIME", default_value = "5m")]
    upstream_connection_age: String,
    /// The HTTP that the API speaks (1.1, 2); without TLS, 2 is spoken with prior knowledge
    #[arg(long, env = "BRIDGE_UPSTREAM_HTTP", value_name = "VERSION", default_value = "1.1")]
    upstream_http: String,
    /// How much memory the cache takes at most; none stores nothing
    #[arg(long, env = "BRIDGE_CACHE_SIZE", value_name = "SIZE", default_value = "64MiB")]
    cache_size: String,
    /// How long stored answers are served unasked: not at all, or as long as the API says (revalidate, api)
    #[arg(long, env = "BRIDGE_CACHE_FRESHNESS", value_name = "HOW", default_value = "revalidate")]
    cache_freshness: String,
    /// How long the answers of a method are served unasked, whatever the API says (GetProduct=5s)
    #[arg(long, env = "BRIDGE_CACHE_TTL", value_name = "METHOD=TIME", value_delimiter = ',')]
    cache_ttl: Vec<String>,
    /// How much too old an answer may be that is served while it is asked for anew
    #[arg(long, env = "BRIDGE_CACHE_STALE_WHILE_REVALIDATE", value_name = "TIME", default_value = "0s")]
    cache_stale_while_revalidate: String,
    /// How much too old an answer may be that is served because the API fails
    #[arg(long, env = "BRIDGE_CACHE_STALE_IF_ERROR", value_name = "TIME", default_value = "0s")]
    cache_stale_if_error: String,
}

/// How to mend a part of something.
const PERCENT: &str = "write a percentage from 0% to 100%, such as 20%";
/// How to mend a count that may be nothing.
const COUNT: &str = "write a whole number, such as 10";
/// How to mend a count of at least one.
const SOME: &str = "write a whole number from 1";

// === impl ProtectionSettings ===

impl ProtectionSettings {
    /// The upstream with these settings. Everything is read, so that all faults are told.
    pub(super) fn apply(
        &self,
        read: &mut Reader<'_>,
        upstream: Option<UpstreamConfig>,
    ) -> Option<UpstreamConfig> {
        let (limit, retry) = (self.limit(read), self.retry(read));
        let (breaker, cache) = (self.breaker(read), self.cache(read));
        let max_connection_age = read.time("upstream_connection_age", &self.upstream_connection_age);
        let http_version =
            read.value("upstream_http", &self.upstream_http, "write 1.1 or 2", |text| match text {
                "1.1" => Some(HttpVersion::Http1),
                "2" => Some(HttpVersion::Http2),
                _ => None,
            });
        Some(UpstreamConfig {
            limit: limit?,
            retry: retry?,
            breaker: breaker?,
            cache: cache?,
            max_connection_age: max_connection_age?,
            http_version: http_version?,
            ..upstream?
        })
    }

    fn limit(&self, read: &mut Reader<'_>) -> Option<LimitConfig> {
        let auto = "write auto, or a whole number from 1";
        let concurrency =
            read.value("upstream_concurrency", &self.upstream_concurrency, auto, |text| match text {
                "auto" => Some(None),
                count => some(count).map(Some),
            });
        let queue = read.value("upstream_queue", &self.upstream_queue, COUNT, |text| text.parse().ok());
        let queue_wait = read.time("upstream_queue_wait", &self.upstream_queue_wait);
        Some(LimitConfig { concurrency: concurrency?, queue: queue?, queue_wait: queue_wait? })
    }

    fn retry(&self, read: &mut Reader<'_>) -> Option<RetryConfig> {
        let attempts = read.value("upstream_attempts", &self.upstream_attempts, SOME, |text| {
            text.parse().ok().filter(|attempts| *attempts > 0)
        });
        let budget = read.value("retry_budget", &self.retry_budget, PERCENT, part);
        Some(RetryConfig { attempts: attempts?, budget: budget? })
    }

    fn breaker(&self, read: &mut Reader<'_>) -> Option<BreakerConfig> {
        let failures =
            read.value("breaker_failures", &self.breaker_failures, COUNT, |text| text.parse().ok());
        let failure_rate = read.value("breaker_failure_rate", &self.breaker_failure_rate, PERCENT, part);
        let pause = read.time("breaker_pause", &self.breaker_pause);
        Some(BreakerConfig { failures: failures?, failure_rate: failure_rate?, pause: pause? })
    }

    fn cache(&self, read: &mut Reader<'_>) -> Option<CacheConfig> {
        let size =
            if self.cache_size == "none" { Some(0) } else { read.size("cache_size", &self.cache_size) };
        let how = "write revalidate or api";
        let freshness = read.value("cache_freshness", &self.cache_freshness, how, |text| match text {
            "revalidate" => Some(Freshness::Revalidate),
            "api" => Some(Freshness::Api),
            _ => None,
        });
        let mend = "write METHOD=TIME, such as GetProduct=5s";
        let mut ttl = Some(Vec::new());
        for text in read.list("cache_ttl", &self.cache_ttl, mend) {
            let named = read.value("cache_ttl", text, mend, |text| {
                let (method, time) = text.split_once('=')?;
                Some((method.to_owned(), reader::time(time)?))
            });
            ttl = ttl.zip(named).map(|(mut ttl, named)| {
                ttl.push(named);
                ttl
            });
        }
        let stale_while_revalidate =
            read.time_or_zero("cache_stale_while_revalidate", &self.cache_stale_while_revalidate);
        let stale_if_error = read.time_or_zero("cache_stale_if_error", &self.cache_stale_if_error);
        Some(CacheConfig {
            size: size?,
            freshness: freshness?,
            ttl: ttl?,
            stale_while_revalidate: stale_while_revalidate?,
            stale_if_error: stale_if_error?,
        })
    }
}

fn some(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| *count > 0)
}

/// A percentage as a part of one.
fn part(text: &str) -> Option<f32> {
    let percent: f32 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}
