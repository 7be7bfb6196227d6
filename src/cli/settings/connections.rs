//! How the connections of callers are kept.

use crate::{cli::reader::Reader, config::ConnectionConfig};

/// The settings of callers' connections.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Callers' connections")]
pub(super) struct ConnectionSettings {
    /// How old a connection gets, give or take a tenth, before its caller is told to make a new one (or none)
    #[arg(long, env = "BRIDGE_MAX_CONNECTION_AGE", value_name = "TIME", default_value = "5m")]
    max_connection_age: String,
    /// How long calls on an old connection may go on before they are cut
    #[arg(long, env = "BRIDGE_MAX_CONNECTION_AGE_GRACE", value_name = "TIME", default_value = "30s")]
    max_connection_age_grace: String,
    /// After which silence a caller is asked by a PING whether it is there (or none)
    #[arg(long, env = "BRIDGE_KEEPALIVE_INTERVAL", value_name = "TIME", default_value = "30s")]
    keepalive_interval: String,
    /// How long to wait for the answer to a PING before the connection is closed
    #[arg(long, env = "BRIDGE_KEEPALIVE_TIMEOUT", value_name = "TIME", default_value = "20s")]
    keepalive_timeout: String,
    /// How long a connection may be without calls before its caller is told to make a new one (or none)
    #[arg(long, env = "BRIDGE_MAX_CONNECTION_IDLE", value_name = "TIME", default_value = "2m")]
    max_connection_idle: String,
    /// How long a caller may take nothing of an answer before the call is given up
    #[arg(long, env = "BRIDGE_SEND_TIMEOUT", value_name = "TIME", default_value = "20s")]
    send_timeout: String,
    /// How many calls may run at a time on one connection
    #[arg(long, env = "BRIDGE_MAX_CONCURRENT_STREAMS", value_name = "COUNT", default_value = "200")]
    max_concurrent_streams: String,
    /// How many calls may be taken back on one connection, which ends with more
    #[arg(long, env = "BRIDGE_MAX_STREAM_RESETS", value_name = "COUNT/TIME", default_value = "8000/min")]
    max_stream_resets: String,
    /// How many frames may come on one connection that carry nothing (PING, SETTINGS, …), beyond what calls and data need
    #[arg(long, env = "BRIDGE_MAX_OVERHEAD_FRAMES", value_name = "COUNT/TIME", default_value = "8000/min")]
    max_overhead_frames: String,
    /// How many connections there may be; what is more is closed at once
    #[arg(long, env = "BRIDGE_MAX_CONNECTIONS", value_name = "COUNT", default_value = "10000")]
    max_connections: String,
    /// How many of them from one address
    #[arg(long, env = "BRIDGE_MAX_CONNECTIONS_PER_ADDRESS", value_name = "COUNT", default_value = "1000")]
    max_connections_per_address: String,
    /// How long a caller may take for the TLS handshake, and then to begin to speak HTTP/2
    #[arg(long, env = "BRIDGE_HANDSHAKE_TIMEOUT", value_name = "TIME", default_value = "10s")]
    handshake_timeout: String,
}

// === impl ConnectionSettings ===

impl ConnectionSettings {
    /// The typed settings.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<ConnectionConfig> {
        let max_age = read.time_or_none("max_connection_age", &self.max_connection_age);
        let max_age_grace = read.time("max_connection_age_grace", &self.max_connection_age_grace);
        let keepalive_interval = read.time_or_none("keepalive_interval", &self.keepalive_interval);
        let keepalive_timeout = read.time("keepalive_timeout", &self.keepalive_timeout);
        let max_idle = read.time_or_none("max_connection_idle", &self.max_connection_idle);
        let send_timeout = read.time("send_timeout", &self.send_timeout);
        let rate = "write a number and a time, such as 100/s or 8000/min";
        let resets = read.value("max_stream_resets", &self.max_stream_resets, rate, |text| text.parse().ok());
        let overhead =
            read.value("max_overhead_frames", &self.max_overhead_frames, rate, |text| text.parse().ok());
        let max_concurrent_streams = read.count("max_concurrent_streams", &self.max_concurrent_streams);
        let max_connections = read.count("max_connections", &self.max_connections);
        let each = read.count("max_connections_per_address", &self.max_connections_per_address);
        let handshake_timeout = read.time("handshake_timeout", &self.handshake_timeout);
        Some(ConnectionConfig {
            max_age: max_age?,
            max_age_grace: max_age_grace?,
            keepalive_interval: keepalive_interval?,
            keepalive_timeout: keepalive_timeout?,
            max_idle: max_idle?,
            send_timeout: send_timeout?,
            max_concurrent_streams: max_concurrent_streams?,
            max_stream_resets: resets?,
            max_overhead_frames: overhead?,
            max_connections: max_connections?,
            max_connections_per_address: each?,
            handshake_timeout: handshake_timeout?,
        })
    }
}
