//! The bridge's own binary.

use std::process::{Command, ExitStatus};

use grpc_rest_bridge::shop::v1::{
    GetProductRequest, GetProductResponse, ListProductsRequest, ListProductsResponse,
    product_service_client::ProductServiceClient,
};
use serde_json::Value;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::health_client::HealthClient;

use super::process::Process;

const BINARY: &str = env!("CARGO_BIN_EXE_grpc-rest-bridge");

pub(crate) struct Bridge {
    process: Process,
    address: String,
    channel: Channel,
}

pub(crate) struct Builder {
    command: Command,
}

// === impl Bridge ===

impl Bridge {
    /// A bridge before the API at `upstream`, yet to be started.
    pub(crate) fn before(upstream: impl Into<String>) -> Builder {
        let mut command = Command::new(BINARY);
        // Settings come from here alone, not from the environment that the tests happen to run in.
        command.env_clear().args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--upstream"]);
        // A flag beats the variable, so a test can still have its own.
        command.arg(upstream.into()).env("BRIDGE_DRAIN_DELAY", "0s");
        Builder { command }
    }

    /// Writes the contract to `file` (`descriptor --out`).
    pub(crate) fn write_descriptor(file: &std::path::Path) {
        let status = Command::new(BINARY).args(["descriptor", "--out"]).arg(file).status().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The typed client.
    pub(crate) fn client(&self) -> ProductServiceClient<Channel> {
        ProductServiceClient::new(self.channel.clone())
    }

    /// The client of its health.
    pub(crate) fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }

    pub(crate) async fn get(&self, id: i64) -> Result<GetProductResponse, Status> {
        Ok(self.client().get_product(GetProductRequest { id }).await?.into_inner())
    }

    pub(crate) async fn list(&self) -> Result<ListProductsResponse, Status> {
        Ok(self.client().list_products(ListProductsRequest {}).await?.into_inner())
    }

    /// Waits for a line of its log that `is` it.
    pub(crate) async fn logged(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let find = |line: &str| serde_json::from_str(line).ok().filter(|line| is(line));
        self.process.line(what, find).await
    }

    /// All of its log so far.
    pub(crate) fn log(&self) -> String {
        self.process.lines().join("\n")
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until it has ended.
    pub(crate) async fn exit(&self) -> ExitStatus {
        self.process.exit().await
    }

    /// The end of its log, for failures.
    pub(crate) fn last_lines(&self) -> String {
        self.process.last_lines()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Not asked to stop: it would wait for its clients, which live on this very thread and cannot hang up.
        self.process.kill();
    }
}

// === impl Builder ===

impl Builder {
    /// A setting as a flag.
    pub(crate) fn set(mut self, flag: &str, value: &str) -> Self {
        self.command.args([flag, value]);
        self
    }

    /// Something else in its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it, and waits until it listens.
    pub(crate) async fn start(mut self) -> Bridge {
        let process = Process::start("bridge", &mut self.command);
        let find = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["message"].as_str()?.strip_prefix("listening on ").map(str::to_owned)
        };
        let address = process.line("the address", find).await;
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Bridge { process, address, channel }
    }
}
