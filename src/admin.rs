//! The port for operators: metrics.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, http::header, routing::get};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// How the format is called.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A server for operators that is bound.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Arc<Metrics>,
}

// === impl Admin ===

impl Admin {
    /// Binds the socket; nothing is served yet.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn bind(address: SocketAddr, metrics: Metrics) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { address: listener.local_addr()?, listener, metrics: Arc::new(metrics) })
    }

    /// The address that is listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves `GET /metrics` until it is dropped.
    pub async fn serve(self) {
        let metrics = self.metrics;
        let told = move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()) };
        let router = Router::new().route("/metrics", get(told));
        if let Err(error) = axum::serve(self.listener, router).await {
            tracing::error!(%error, "the admin port has stopped");
        }
    }
}
