//! A bridge in this process, on a free port.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use grpc_rest_bridge::{
    app::{App, Stopped},
    codec::BytesCodec,
    config::{
        Config, ConnectionConfig, DoorConfig, InboundConfig, ProbeConfig, ShutdownConfig, TlsConfig,
        UpstreamConfig,
    },
    contract::Contract,
    shop::v1::{ListProductsRequest, product_service_client::ProductServiceClient},
    upstream::Stats,
};
use http::response::Parts;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::{ErrorDetails, StatusExt};

const GET_PRODUCT: &str = "/shop.v1.ProductService/GetProduct";

/// A running bridge.
pub(crate) struct Bridge {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) stats: Arc<Stats>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Stopped>,
}

/// A bridge to be started.
pub(crate) struct Builder {
    config: Config,
    contract: Contract,
}

impl Bridge {
    /// The shop's bridge before the API at `url`.
    pub(crate) async fn before(url: &str) -> Self {
        Self::to(url).start().await
    }

    /// A bridge before the API at `url`, to be set up further.
    pub(crate) fn to(url: &str) -> Builder {
        let config = Config {
            admin: Some("127.0.0.1:0".parse().unwrap()),
            reload_interval: Duration::from_millis(20),
            probe: ProbeConfig { interval: Duration::from_millis(20), ..ProbeConfig::default() },
            shutdown: ShutdownConfig { drain_delay: Duration::ZERO, ..ShutdownConfig::default() },
            ..Config::new("127.0.0.1:0".parse().unwrap(), url.parse().unwrap())
        };
        Builder { config, contract: Contract::embedded() }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    /// The typed client of the shop.
    pub(crate) async fn shop(&self) -> ProductServiceClient<Channel> {
        ProductServiceClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }

    /// Lists the products with metadata of one's own; a failure is its code, reason and message.
    pub(crate) async fn list(&self, metadata: &[(&'static str, &str)]) -> Result<(), (Code, String, String)> {
        list(&self.endpoint(), metadata).await
    }

    /// Any unary call by its bytes; `method` is `service/method`.
    pub(crate) async fn call(&self, method: &str, message: &[u8]) -> Result<Response<Bytes>, Status> {
        self.call_with(method, Request::new(Bytes::copy_from_slice(message))).await
    }

    /// Any unary call with metadata.
    pub(crate) async fn call_with(
        &self,
        method: &str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel().await);
        grpc.ready().await.unwrap();
        grpc.unary(request, format!("/{method}").parse().unwrap(), BytesCodec).await
    }

    /// Sends a request for GetProduct as it is, past a gRPC client that would have its own opinion of it, and gives the head
    /// of the answer and its body.
    pub(crate) async fn raw(&self, method: &str, headers: &[(&str, &str)], body: Bytes) -> (Parts, Bytes) {
        raw(self.address, method, headers, body).await
    }

    /// Calls GetProduct with this frame and headers of one's own.
    pub(crate) async fn raw_call(&self, headers: &[(&str, &str)], frame: impl Into<Bytes>) -> Status {
        raw_call(self.address, headers, frame).await
    }

    /// Tells the bridge to stop, and gives how it did.
    pub(crate) fn stop(&mut self) -> &mut JoinHandle<Stopped> {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap();
        }
        &mut self.served
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Builder {
    pub(crate) fn contract(mut self, contract: Contract) -> Self {
        self.contract = contract;
        self
    }

    pub(crate) fn door(mut self, set: impl FnOnce(&mut DoorConfig)) -> Self {
        set(&mut self.config.door);
        self
    }

    pub(crate) fn tls(mut self, tls: TlsConfig) -> Self {
        self.config.tls = Some(tls);
        self
    }

    pub(crate) fn upstream(mut self, set: impl FnOnce(&mut UpstreamConfig)) -> Self {
        set(&mut self.config.upstream);
        self
    }

    pub(crate) fn connections(mut self, set: impl FnOnce(&mut ConnectionConfig)) -> Self {
        set(&mut self.config.connections);
        self
    }

    pub(crate) fn inbound(mut self, set: impl FnOnce(&mut InboundConfig)) -> Self {
        set(&mut self.config.inbound);
        self
    }

    pub(crate) fn probe(mut self, set: impl FnOnce(&mut ProbeConfig)) -> Self {
        set(&mut self.config.probe);
        self
    }

    pub(crate) fn shutdown(mut self, set: impl FnOnce(&mut ShutdownConfig)) -> Self {
        set(&mut self.config.shutdown);
        self
    }

    pub(crate) async fn start(self) -> Bridge {
        let app = App::bind(self.config, self.contract).await.unwrap();
        let (address, admin, stats) = (app.local_addr(), app.admin_addr().unwrap(), app.stats());
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(app.serve(async {
            // A bridge that is dropped without a word is stopped by its handle.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Bridge { address, admin, stats, stop: Some(stop), served }
    }
}

async fn raw(address: SocketAddr, method: &str, headers: &[(&str, &str)], body: Bytes) -> (Parts, Bytes) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(format!("http://{address}{GET_PRODUCT}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) =
        sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap().into_parts();
    (head, body.collect().await.unwrap().to_bytes())
}

/// Lists the products of the bridge at this place with metadata of one's own; a failure is its code, reason and message.
pub(crate) async fn list(
    bridge: &Endpoint,
    metadata: &[(&'static str, &str)],
) -> Result<(), (Code, String, String)> {
    let mut request = Request::new(ListProductsRequest {});
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    let listed = ProductServiceClient::new(bridge.connect().await.unwrap()).list_products(request).await;
    listed.map(drop).map_err(|status| (status.code(), reason(&status), status.message().to_owned()))
}

/// Calls GetProduct of the bridge at this address with this frame and headers of one's own.
pub(crate) async fn raw_call(
    address: SocketAddr,
    headers: &[(&str, &str)],
    frame: impl Into<Bytes>,
) -> Status {
    let mut all = vec![("content-type", "application/grpc")];
    all.extend_from_slice(headers);
    let (head, _) = raw(address, "POST", &all, frame.into()).await;
    Status::from_header_map(&head.headers).unwrap()
}

/// The `google.rpc` details of a status.
pub(crate) fn details(status: &Status) -> ErrorDetails {
    status.get_error_details()
}

/// The reason in a status's ErrorInfo.
pub(crate) fn reason(status: &Status) -> String {
    details(status).error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
