//! What the bridge says of its health, from the moment when all is well.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// The test's own patience.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct HealthLog {
    said: Arc<Mutex<Vec<&'static str>>>,
    watch: JoinHandle<()>,
}

// === impl HealthLog ===

impl HealthLog {
    /// Begins when the bridge says SERVING.
    pub(crate) async fn of(mut client: HealthClient<Channel>) -> Self {
        let mut told = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        let said = Arc::<Mutex<Vec<_>>>::default();
        let notes = said.clone();
        let watch = tokio::spawn(async move {
            while let Some(Ok(told)) = told.next().await {
                let mut notes = notes.lock().unwrap();
                if !notes.is_empty() || told.status() == ServingStatus::Serving {
                    notes.push(told.status().as_str_name());
                }
            }
        });
        let log = Self { said, watch };
        log.becomes("SERVING").await;
        log
    }

    /// All of it.
    pub(crate) fn said(&self) -> Vec<&'static str> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until this is the last that it said.
    pub(crate) async fn becomes(&self, wanted: &str) {
        let said = async {
            while self.said().last() != Some(&wanted) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("no {wanted}, but {:?}", self.said()));
    }
}

impl Drop for HealthLog {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
