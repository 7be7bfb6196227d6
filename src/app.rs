//! The server: bind, the inbound stack as one list, serve, drain.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, response::IntoResponse};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::service::Routes;
use tower::{ServiceBuilder, util::BoxCloneSyncService};

use crate::{
    admin::Admin,
    bridge::Bridge,
    config::{Config, DoorConfig, ProbeConfig, Reflection, ShutdownConfig},
    connections::{Connections, Stack},
    contract::{Contract, Method},
    door::Door,
    fault::Fault,
    health::{HEALTH_SERVICE, Health},
    inbound::{
        AccessLogLayer, AdmitLayer, CatchPanicLayer, ContentTypeLayer, DeadlineLayer, InFlightLayer,
        ShareLayer,
    },
    metrics::Metrics,
    tls::Tls,
    upstream::{Stats, Upstream},
};

/// How long the start waits for the first credential, if that has to be asked for. Without one it goes on: the health says
/// NOT_SERVING, and who asks for the credential goes on asking.
const FIRST_CREDENTIAL: Duration = Duration::from_secs(1);

/// A server that is bound and ready to serve.
pub struct App {
    listener: TcpListener,
    address: SocketAddr,
    connections: Connections,
    upstream: Upstream,
    health: Health,
    probe: ProbeConfig,
    tls: Option<Tls>,
    door: Arc<Door>,
    reload_interval: Duration,
    shutdown: ShutdownConfig,
    admin: Option<Admin>,
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
        let upstream = Upstream::new(&config.upstream).map_err(StartError::Faults)?;
        let tls = config.tls.as_ref().map(|tls| Tls::new(tls, config.connections.handshake_timeout));
        let tls = tls.transpose().map_err(StartError::Faults)?;
        let has_ca = config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let methods: Vec<_> = contract.methods().iter().map(Method::name).collect();
        let door = Arc::new(Door::new(&config.door, has_ca, &methods).map_err(StartError::Faults)?);
        let health = Health::new(contract.services()).await;
        let bridge = Bridge::new(contract, upstream.clone(), config.inbound.clone(), &config.upstream)
            .map_err(StartError::Faults)?;
        let names = bridge.contract().methods().iter().map(|method| method.name().to_owned()).collect();
        let stack = stack(&config, bridge, &health, &door).map_err(StartError::Faults)?;
        let admin = match config.admin {
            Some(address) => {
                let metrics = Metrics::new(upstream.clone(), names, door.clone(), Handle::current());
                let bind = |error| StartError::Bind(address, error);
                Some(Admin::bind(address, metrics).await.map_err(bind)?)
            }
            None => None,
        };
        let bind = |error| StartError::Bind(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
        Ok(Self {
            address: listener.local_addr().map_err(bind)?,
            listener,
            connections: Connections::new(
                stack,
                config.connections,
                tls.clone(),
                config.inbound.max_metadata_bytes,
            ),
            upstream,
            health,
            probe: config.probe,
            tls,
            door,
            reload_interval: config.reload_interval,
            shutdown: config.shutdown,
            admin,
        })
    }

    /// The address that is listened on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address that operators are served on, with the real port.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::local_addr)
    }

    /// Whether anybody may call anything.
    pub fn is_open(&self) -> bool {
        self.door.is_open()
    }

    /// Whether anybody may call as anybody, by telling the user info of whom it likes.
    pub fn believes_anybody(&self) -> bool {
        self.door.believes_anybody()
    }

    /// What happens on the way to the API, counted.
    pub fn stats(&self) -> Arc<Stats> {
        self.upstream.stats().clone()
    }

    /// Serves until `stop` is done, then drains: NOT_SERVING, the drain delay, GOAWAY, and running calls
    /// finish within the grace period.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) -> Stopped {
        // Operators see the stop too, and certificates may change meanwhile.
        let mut beside = JoinSet::new();
        if let Some(admin) = self.admin.take() {
            beside.spawn(admin.serve());
        }
        if let Some(tls) = self.tls.take() {
            beside.spawn(async move { tls.follow(self.reload_interval).await });
        }
        let (door, upstream) = (self.door.clone(), self.upstream.clone());
        beside.spawn(async move { upstream.follow(self.reload_interval).await });
        beside.spawn(async move { door.follow(self.reload_interval).await });
        let accept = async {
            // So that no first call is counted here alone; it takes a second at most.
            self.door.ready().await;
            self.connections.accept(&self.listener).await;
        };
        let serve = async {
            // So that no first call fails for want of a token that is just being asked for, and no first probe.
            let _ = timeout(FIRST_CREDENTIAL, self.upstream.ready()).await;
            tokio::select! {
                () = accept => {}
                () = self.health.follow(&self.upstream, &self.probe) => {}
            }
        };
        tokio::select! {
            () = serve => {}
            () = stop => {}
        }
        let give_up = Instant::now() + self.shutdown.timeout;
        self.health.stop().await;
        tracing::info!(drain_delay = ?self.shutdown.drain_delay, "stopping: NOT_SERVING");
        tokio::select! {
            () = self.connections.accept(&self.listener) => {}
            () = sleep(self.shutdown.drain_delay.min(self.shutdown.timeout)) => {}
        }
        drop(self.listener);
        self.health.end_watches().await;
        match self.connections.drain(give_up).await {
            0 => Stopped::Drained,
            connections => Stopped::Forced { connections },
        }
    }
}

/// Everything that a request meets, in the order that it meets it.
fn stack(
    Config { inbound: config, door: DoorConfig { reflection, .. }, .. }: &Config,
    bridge: Bridge,
    health: &Health,
    door: &Arc<Door>,
) -> Result<Stack, Vec<Fault>> {
    let admit = AdmitLayer::new(door.clone());
    let beside = beside(bridge.contract(), health, *reflection, &admit)?;
    let stack = ServiceBuilder::new()
        // First, since everything behind it speaks gRPC only.
        .layer(ContentTypeLayer)
        // Next, so that whatever happens to a call from here on has its line and its request id.
        .layer(AccessLogLayer::new(config.error_domain.clone(), config.headers.forwarded_for))
        // Inside the log, so that a panic has its line; outside all that could panic.
        .layer(CatchPanicLayer)
        // Outside every queue to come: waiting counts against the caller's time.
        .layer(DeadlineLayer::new(config.default_deadline));
    let calls = ServiceBuilder::new()
        // Next, since the cheapest guard protects all behind it. Not before health and reflection: health has
        // to answer when there is too much to do, then most of all.
        .layer(InFlightLayer::new(config.max_in_flight))
        // Behind the ceiling, which protects it too; before a message is read. Where nothing is asked it is not there.
        .option_layer((!door.is_open()).then_some(admit))
        // Behind the door, where callers have names; before their messages are read.
        .layer(ShareLayer::new(config.max_in_flight_per_caller))
        .map_response(IntoResponse::into_response);
    Ok(BoxCloneSyncService::new(stack.service(beside.fallback_service(calls.service(bridge)))))
}

/// Health and reflection, by their names. Health is asked by those who cannot prove anything.
fn beside(
    contract: &Contract,
    health: &Health,
    access: Reflection,
    admit: &AdmitLayer,
) -> Result<Router, Vec<Fault>> {
    let health = Routes::new(health.service()).prepare().into_axum_router();
    if access == Reflection::Off {
        return Ok(health);
    }
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(contract.descriptor_set())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Clients read the details of errors by them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        let own = [HEALTH_SERVICE, "grpc.reflection.v1.ServerReflection"].map(str::to_owned);
        contract.services().iter().chain(&own).fold(builder, |builder, name| builder.with_service_name(name))
    };
    let fault = |error| {
        vec![Fault::new(
            "descriptor set",
            format!("reflection cannot serve it: {error}"),
            "mend the contract",
        )]
    };
    let routes = Routes::new(reflection().build_v1().map_err(fault)?)
        .add_service(reflection().build_v1alpha().map_err(fault)?);
    // Whatever is neither of the two goes to the bridge.
    let routes = routes.prepare().into_axum_router().reset_fallback();
    Ok(health.merge(if access == Reflection::Public { routes } else { routes.route_layer(admit.clone()) }))
}
