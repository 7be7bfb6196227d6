//! How to stop.

use crate::{cli::reader::Reader, config::ShutdownConfig};

/// The settings of stopping.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Stopping")]
pub(super) struct ShutdownSettings {
    /// How long to go on serving as NOT_SERVING after the stop signal
    #[arg(long, env = "BRIDGE_DRAIN_DELAY", value_name = "TIME", default_value = "1s")]
    drain_delay: String,
    /// When to give up on running calls after the stop signal
    #[arg(long, env = "BRIDGE_SHUTDOWN_TIMEOUT", value_name = "TIME", default_value = "8s")]
    shutdown_timeout: String,
}

// === impl ShutdownSettings ===

impl ShutdownSettings {
    /// The typed settings.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<ShutdownConfig> {
        let drain_delay = read.time_or_zero("drain_delay", &self.drain_delay);
        let timeout = read.time("shutdown_timeout", &self.shutdown_timeout);
        Some(ShutdownConfig { drain_delay: drain_delay?, timeout: timeout? })
    }
}
