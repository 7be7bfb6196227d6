//! What happens at the door and on the way to the API, and what it keeps alive, as Prometheus reads it.
//!
//! The counts are kept where things happen ([`crate::upstream::Stats`], the door, the runtime); this only gives them their names.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::runtime::Handle;

use crate::{
    door::Door,
    upstream::{BreakerState, Event, Snapshot, Upstream},
};

/// Counters: the name, what it counts, and the events that are its series, by one label.
type Family = (&'static str, &'static str, &'static [(Event, Label)]);
type Label = (&'static str, &'static str);
/// A gauge: the name, what it shows, and its value.
type Gauge = (&'static str, &'static str, fn(&Snapshot) -> usize);

const COUNTERS: &[Family] = &[
    (
        "bridge_upstream_requests",
        "Requests that were sent to the API, by what they were.",
        &[(Event::Attempt, ("kind", "all")), (Event::Retry, ("kind", "retry"))],
    ),
    (
        "bridge_upstream_retries_over_budget",
        "Failures that would have been repeated, had the budget allowed it.",
        &[(Event::RetryOverBudget, ("reason", "budget"))],
    ),
    (
        "bridge_upstream_refused",
        "Calls that were not sent to the API, by why.",
        &[(Event::Refused, ("reason", "queue")), (Event::Shut, ("reason", "breaker"))],
    ),
    (
        "bridge_upstream_breaker_trips",
        "How often a breaker was shut.",
        &[(Event::Tripped, ("reason", "failures"))],
    ),
    (
        "bridge_upstream_collapsed",
        "Calls that shared the request of another.",
        &[(Event::Collapsed, ("by", "caller"))],
    ),
    (
        "bridge_cache_answers",
        "Answers by what the cache did with them.",
        &[
            (Event::CacheHit, ("result", "hit")),
            (Event::CacheStale, ("result", "stale")),
            (Event::CacheRevalidated, ("result", "revalidated")),
            (Event::CacheStored, ("result", "stored")),
        ],
    ),
];

/// Gauges of the limit.
const GAUGES: &[Gauge] = &[
    ("bridge_upstream_concurrency_limit", "How many requests may be sent at once.", |now| now.limit),
    ("bridge_upstream_in_flight", "Requests that have been sent and not been answered.", |now| now.in_flight),
    ("bridge_upstream_waiting", "Calls that wait to be sent.", |now| now.waiting),
];

/// Gives names to what is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

#[derive(Debug)]
struct OfUpstream {
    upstream: Upstream,
    methods: Vec<String>,
}

#[derive(Debug)]
struct OfDoor(Arc<Door>);

#[derive(Debug)]
struct OfRuntime(Handle);

// === impl Metrics ===

impl Metrics {
    /// The metrics of the way to an API, of which `methods` are the endpoints, by their index, of the door, and of the runtime.
    pub fn new(upstream: Upstream, methods: Vec<String>, door: Arc<Door>, runtime: Handle) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(OfUpstream { upstream, methods }));
        registry.register_collector(Box::new(OfDoor(door)));
        registry.register_collector(Box::new(OfRuntime(runtime)));
        Self { registry }
    }

    /// All of them, in the text format of OpenMetrics.
    pub fn text(&self) -> String {
        let mut told = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut told, &self.registry);
        told
    }
}

// === impl OfUpstream ===

impl Collector for OfUpstream {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.upstream.stats().snapshot();
        for (name, help, series) in COUNTERS {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (event, label) in *series {
                ConstCounter::new(now.of(*event)).encode(family.encode_family(&[*label])?)?;
            }
        }
        for (name, help, value) in GAUGES {
            encode_gauge(&mut encoder, name, help, value(&now))?;
        }
        if let Some(left) = self.upstream.credential_left() {
            let help =
                "For how long the bridge's own ID token is still good, in seconds; 0 is that there is none.";
            let left = usize::try_from(left.as_secs()).unwrap_or(usize::MAX);
            encode_gauge(&mut encoder, "bridge_upstream_id_token_seconds", help, left)?;
        }
        self.encode_breakers(&mut encoder)
    }
}

impl OfUpstream {
    fn encode_breakers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let breakers = self.upstream.breakers();
        let help = "Whether a breaker is in a state (1) or not (0); without a method it is that of the host.";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("bridge_upstream_breaker", help, None, kind)?;
        let known = self.methods.iter().enumerate();
        let endpoints = known.map(|(index, method)| (method.as_str(), breakers.endpoint(index)));
        for (method, state) in std::iter::once(("", breakers.host)).chain(endpoints) {
            for one in BreakerState::ALL {
                let labels = [("method", method), ("state", one.name())];
                ConstGauge::new(i64::from(one == state)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

// === impl OfDoor ===

impl Collector for OfDoor {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(counts) = self.0.shared_counts() else { return Ok(()) };
        let help = "Calls that were counted by the rates of their callers, by who has counted them.";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor("bridge_rates_counted", help, None, kind)?;
        for (by, count) in [("redis", counts.by_redis), ("replica", counts.here)] {
            ConstCounter::new(count).encode(family.encode_family(&[("by", by)])?)?;
        }
        let help = "Whether Redis counts for all replicas (1) or this one for itself (0).";
        encode_gauge(&mut encoder, "bridge_rates_shared", help, usize::from(counts.shared))
    }
}

// === impl OfRuntime ===

impl Collector for OfRuntime {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let alive = self.0.metrics().num_alive_tasks();
        let help = "Tasks that have not ended: those of connections and of calls.";
        encode_gauge(&mut encoder, "bridge_runtime_alive_tasks", help, alive)
    }
}

fn encode_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: usize,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
