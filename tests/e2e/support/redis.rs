//! A real Redis that keeps nothing on disk.

use std::{net::TcpListener, process::Command};

use redis::{Client, aio::MultiplexedConnection};

use super::process::Process;

pub(crate) struct Redis {
    process: Process,
    address: String,
}

// === impl Redis ===

impl Redis {
    /// On a port that was free.
    pub(crate) async fn start() -> Self {
        Self::at(&free_address(), &[]).await
    }

    /// At this address, with more of what stands in redis.conf.
    pub(crate) async fn at(address: &str, settings: &[&str]) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--bind", host, "--save", "", "--appendonly", "no"]);
        if !settings.contains(&"--port") {
            command.args(["--port", port]);
        }
        command.args(settings).current_dir(env!("CARGO_TARGET_TMPDIR"));
        let process = Process::start("Redis (package redis-server)", &mut command);
        process.line("that it is ready", |line| line.contains("Ready to accept").then_some(())).await;
        Self { process, address: address.to_owned() }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A URL of it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Somebody else who asks it.
    pub(crate) async fn client(&self) -> MultiplexedConnection {
        Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }
}

/// Redis takes no port 0.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
