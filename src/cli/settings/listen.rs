//! Where to listen, for callers and for operators.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::cli::{
    input::Input,
    reader::{Faults, Reader},
};

/// The port where nothing else is said.
const DEFAULT_PORT: u16 = 50051;
/// How to mend an address.
const ADDRESS: &str = "write ADDRESS:PORT, such as 127.0.0.1:50051 or [::]:50051";

/// The settings of sockets.
#[derive(Debug, clap::Args)]
pub(super) struct ListenSettings {
    /// Address and port to listen on; port 0 takes a free one [default: 0.0.0.0:$PORT, else 0.0.0.0:50051]
    #[arg(long, env = "BRIDGE_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port for operators, who read metrics there; such as 127.0.0.1:9090 [default: none]
    #[arg(long, env = "BRIDGE_ADMIN_LISTEN", value_name = "ADDR")]
    admin_listen: Option<String>,
    /// How often files that may change are read again: certificates and keys
    #[arg(long, env = "BRIDGE_RELOAD_INTERVAL", value_name = "TIME", default_value = "10s")]
    reload_interval: String,
    /// The port where --listen is not given, as Cloud Run sets it
    #[arg(long, env = "PORT", value_name = "PORT", hide = true)]
    port: Option<String>,
}

/// The settings of `demo`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DemoSettings {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "BRIDGE_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    listen: String,
}

// === impl ListenSettings ===

impl ListenSettings {
    /// The address for callers.
    pub(super) fn callers(&self, read: &mut Reader<'_>) -> Option<SocketAddr> {
        match (&self.listen, &self.port) {
            (Some(listen), _) => read.value("listen", listen, ADDRESS, address),
            (None, Some(port)) => {
                let port =
                    read.value("port", port, "write a number from 0 to 65535", |text| text.parse().ok())?;
                Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            }
            (None, None) => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DEFAULT_PORT)),
        }
    }

    /// The address for operators, if there is one.
    pub(super) fn operators(&self, read: &mut Reader<'_>) -> Option<SocketAddr> {
        read.optional("admin_listen", self.admin_listen.as_deref(), ADDRESS, address)
    }

    /// How often files are read again.
    pub(super) fn reload_interval(&self, read: &mut Reader<'_>) -> Option<Duration> {
        read.time("reload_interval", &self.reload_interval)
    }
}

// === impl DemoSettings ===

impl DemoSettings {
    /// Where to listen.
    pub(in crate::cli) fn listen(&self, input: &Input<'_>) -> Result<SocketAddr, Faults> {
        let mut read = Reader::new(input);
        read.value("listen", &self.listen, ADDRESS, address).ok_or(read.faults)
    }
}

/// `localhost` is taken for what it is on every machine.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(IpAddr::from(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}
