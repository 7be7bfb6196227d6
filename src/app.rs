//! The server: bind, the inbound stack as one list, serve, drain.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tonic::service::Routes;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

use crate::{
    bridge::Bridge,
    config::{Config, InboundConfig, ProbeConfig, ShutdownConfig},
    contract::Contract,
    fault::Fault,
    health::{HEALTH_SERVICE, Health},
    inbound::{AccessLogLayer, CatchPanicLayer, ContentTypeLayer, DeadlineLayer},
    upstream::{Stats, Upstream},
};

/// How long an HTTP/1.1 connection may take to send its request, which is then refused.
const HTTP1_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, which is mostly a lack of file descriptors that has to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Stack = BoxCloneSyncService<Request<Body>, http::Response<Body>, std::convert::Infallible>;

/// A server that is bound and ready to serve.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    stack: Stack,
    builder: Builder<TokioExecutor>,
    upstream: Upstream,
    health: Health,
    probe: ProbeConfig,
    shutdown: ShutdownConfig,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The contract or the upstream is not usable.
    #[error("{} fault(s) in the configuration", .0.len())]
    Faults(Vec<Fault>),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, io::Error),
}

/// How the server stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every running call has finished.
    Drained,
    /// The grace period ended first.
    Forced {
        /// How many connections were cut.
        connections: usize,
    },
}

// === impl App ===

impl App {
    /// Compiles the contract and binds the socket; nothing is served yet.
    ///
    /// # Errors
    /// The faults of the contract, or why the address cannot be listened on.
    pub async fn bind(config: Config, contract: Contract) -> Result<Self, StartError> {
        let upstream = Upstream::new(&config.upstream).map_err(|fault| StartError::Faults(vec![fault]))?;
        let health = Health::new(contract.services()).await;
        let bridge = Bridge::new(contract, upstream.clone(), config.inbound.clone(), &config.upstream)
            .map_err(StartError::Faults)?;
        let stack = stack(&config.inbound, bridge, &health).map_err(StartError::Faults)?;
        let bind = |error| StartError::Bind(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
        Ok(Self {
            address: listener.local_addr().map_err(bind)?,
            listener,
            stack,
            builder: builder(&config.inbound),
            upstream,
            health,
            probe: config.probe,
            shutdown: config.shutdown,
        })
    }

    /// The address that is listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What happens on the way to the API, counted.
    pub fn stats(&self) -> Arc<Stats> {
        self.upstream.stats().clone()
    }

    /// Serves until `stop` is done, then drains: NOT_SERVING, the drain delay, GOAWAY, and running calls
    /// finish within the grace period.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Stopped {
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        tokio::select! {
            () = self.accept(&graceful, &mut connections) => {}
            () = self.health.follow(&self.upstream, &self.probe) => {}
            () = stop => {}
        }
        let give_up = Instant::now() + self.shutdown.timeout;
        self.health.stop().await;
        tracing::info!(drain_delay = ?self.shutdown.drain_delay, "stopping: NOT_SERVING");
        tokio::select! {
            () = self.accept(&graceful, &mut connections) => {}
            () = sleep(self.shutdown.drain_delay.min(self.shutdown.timeout)) => {}
        }
        drop(self.listener);
        self.health.end_watches().await;
        if timeout_at(give_up, graceful.shutdown()).await.is_ok() {
            return Stopped::Drained;
        }
        while connections.try_join_next().is_some() {}
        let running = connections.len();
        connections.shutdown().await;
        Stopped::Forced { connections: running }
    }

    /// Takes connections until it is dropped.
    async fn accept(&self, graceful: &GracefulShutdown, connections: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(self.builder.clone(), stream, self.stack.clone(), graceful.watcher()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Everything that a request meets, in the order that it meets it.
fn stack(config: &InboundConfig, bridge: Bridge, health: &Health) -> Result<Stack, Vec<Fault>> {
    let routes = routes(bridge, health)?;
    let stack = ServiceBuilder::new()
        // First, since everything behind it speaks gRPC only.
        .layer(ContentTypeLayer)
        // Next, so that whatever happens to a call from here on has its line and its request id.
        .layer(AccessLogLayer::new(config.error_domain.clone()))
        // Inside the log, so that a panic has its line; outside all that could panic.
        .layer(CatchPanicLayer)
        // Outside every queue to come: waiting counts against the caller's time.
        .layer(DeadlineLayer::new(config.default_deadline))
        .service(routes);
    Ok(BoxCloneSyncService::new(stack))
}

/// Health and reflection by their names, and the bridge for everything else.
fn routes(bridge: Bridge, health: &Health) -> Result<Router, Vec<Fault>> {
    let descriptor_set = bridge.contract().descriptor_set().clone();
    let services = bridge.contract().services().to_vec();
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(&descriptor_set)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Clients read the details of errors by them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        let own = [HEALTH_SERVICE, "grpc.reflection.v1.ServerReflection"].map(str::to_owned);
        services.iter().chain(&own).fold(builder, |builder, name| builder.with_service_name(name))
    };
    let fault = |error| {
        vec![Fault::new(
            "descriptor set",
            format!("reflection cannot serve it: {error}"),
            "mend the contract",
        )]
    };
    let routes = Routes::new(health.service())
        .add_service(reflection().build_v1().map_err(fault)?)
        .add_service(reflection().build_v1alpha().map_err(fault)?);
    Ok(routes.prepare().into_axum_router().fallback_service(bridge))
}

/// HTTP/2 for gRPC; HTTP/1.1 is spoken only to say so in words.
fn builder(config: &InboundConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP1_REQUEST_TIMEOUT)
        .keep_alive(false)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(config.max_metadata_bytes);
    builder
}

async fn serve_connection(
    builder: Builder<TokioExecutor>,
    stream: TcpStream,
    stack: Stack,
    watcher: Watcher,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let stack = stack.map_request(|request: Request<Incoming>| request.map(Body::new));
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(stack)).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // Callers break off as they like; it is their business.
        tracing::debug!(error, "a connection ended with an error");
    }
}
