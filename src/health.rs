//! `grpc.health.v1.Health`, which follows the API behind the bridge.
//!
//! Readiness (`""`, each service, and the health service itself, which Cloud Run's probe asks for) follows
//! the API; `liveness` says only that the process runs, so that a dead API does not get its bridges killed.

use std::time::Duration;

use tokio::sync::watch;
use tonic_health::{
    ServingStatus,
    pb::{self, health_server::HealthServer},
    server::{HealthReporter, HealthService},
};

use crate::{config::ProbeConfig, upstream::Upstream};

/// The name to ask a liveness probe for.
pub const LIVENESS: &str = "liveness";
/// The name of the health service itself.
pub const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

/// The longest pause after a probe that failed: callers wait for the API to come back.
const PAUSE_WHILE_DOWN: Duration = Duration::from_secs(1);

/// What the process says of its own health.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    readiness: Vec<String>,
}

// === impl Health ===

impl Health {
    /// NOT_SERVING until a probe has succeeded.
    pub async fn new(services: &[String]) -> Self {
        let mut readiness = vec![String::new(), HEALTH_SERVICE.to_owned()];
        readiness.extend_from_slice(services);
        let health = Self { reporter: HealthReporter::new(), readiness };
        health.set(false).await;
        health.reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        health
    }

    /// The gRPC service.
    pub fn service(&self) -> HealthServer<impl pb::health_server::Health + use<>> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Asks the API again and again, and never returns.
    pub async fn follow(&self, upstream: &Upstream, config: &ProbeConfig) {
        let mut failed = 0_u32;
        let mut serving = None;
        let mut shut = upstream.host_shut();
        loop {
            let found = probe(upstream, config).await;
            // A probe that is answered opens it.
            let is_shut = *shut.borrow_and_update();
            failed = if found.is_ok() { 0 } else { failed.saturating_add(1) };
            let now = match (&found, serving) {
                (Ok(()), _) => true,
                (Err(_), Some(true)) => !is_shut && failed < config.failures,
                (Err(_), _) => false,
            };
            if serving != Some(now) {
                report(&found);
                self.set(now).await;
                serving = Some(now);
            }
            let longest = if failed == 0 { config.interval } else { config.interval.min(PAUSE_WHILE_DOWN) };
            pause(longest, &mut shut).await;
        }
    }

    /// Says NOT_SERVING to everyone, for good.
    pub async fn stop(&self) {
        self.set(false).await;
        self.reporter.set_service_status(LIVENESS, ServingStatus::NotServing).await;
    }

    /// Ends the watches that callers hold open all the time, which a stop would wait for in vain.
    pub async fn end_watches(&self) {
        let mut reporter = self.reporter.clone();
        for name in &self.readiness {
            reporter.clear_service_status(name).await;
        }
        reporter.clear_service_status(LIVENESS).await;
    }

    async fn set(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in &self.readiness {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// Any answer below 500 is a living API: a 404 at its root is as good as any.
async fn probe(upstream: &Upstream, config: &ProbeConfig) -> Result<(), String> {
    match upstream.probe(&config.path, config.timeout).await {
        Ok(status) if status.is_server_error() => {
            Err(format!("the probe was answered with HTTP {}", status.as_u16()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.log_detail().unwrap_or_else(|| no_answer(config.timeout))),
    }
}

/// Until the next probe, or until the breaker of the API shuts or admits calls again.
async fn pause(longest: Duration, shut: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep(longest) => {}
        Ok(()) = shut.changed() => {}
    }
}

fn no_answer(timeout: Duration) -> String {
    format!("the probe had no answer within {timeout:?}")
}

fn report(found: &Result<(), String>) {
    match found {
        Ok(()) => tracing::info!("SERVING: the API answers"),
        Err(reason) => tracing::warn!(reason, "NOT_SERVING: the API does not answer"),
    }
}
