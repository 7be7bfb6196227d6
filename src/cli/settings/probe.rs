//! How the health of the API is found out.

use std::str::FromStr;

use http::uri::PathAndQuery;

use crate::{cli::reader::Reader, config::ProbeConfig};

/// The settings of health.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Health")]
pub(super) struct ProbeSettings {
    /// The path below the upstream URL that tells whether the API lives; any answer below 500 is yes
    #[arg(
        long,
        env = "BRIDGE_PROBE_PATH",
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    probe_path: String,
    /// The pause between two probes; a second at most after one that failed
    #[arg(long, env = "BRIDGE_PROBE_INTERVAL", value_name = "TIME", default_value = "5s")]
    probe_interval: String,
    /// How long to wait for the answer of a probe
    #[arg(long, env = "BRIDGE_PROBE_TIMEOUT", value_name = "TIME", default_value = "2s")]
    probe_timeout: String,
    /// How many probes in a row must fail for NOT_SERVING
    #[arg(long, env = "BRIDGE_PROBE_FAILURES", value_name = "COUNT", default_value = "2")]
    probe_failures: String,
}

// === impl ProbeSettings ===

impl ProbeSettings {
    /// The typed settings.
    pub(super) fn resolve(&self, read: &mut Reader<'_>) -> Option<ProbeConfig> {
        let path = read.value(
            "probe_path",
            &self.probe_path,
            "write a path that begins with /, such as /up",
            |text| {
                let path = PathAndQuery::from_str(text).is_ok() && text.starts_with('/');
                (text.is_empty() || path).then(|| text.to_owned())
            },
        );
        let interval = read.time("probe_interval", &self.probe_interval);
        let timeout = read.time("probe_timeout", &self.probe_timeout);
        let failures = read.count("probe_failures", &self.probe_failures);
        Some(ProbeConfig { path: path?, interval: interval?, timeout: timeout?, failures: failures? })
    }
}
