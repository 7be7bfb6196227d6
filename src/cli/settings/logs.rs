//! The flags of the logs, which every command that serves has.

use tracing_subscriber::filter::Targets;

use crate::{
    cli::{
        input::Input,
        reader::{Faults, Reader},
    },
    telemetry::{self, LogFormat},
};

/// The settings of the logs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub(in crate::cli) struct LogSettings {
    /// Levels (error, warn, info, debug, trace), also by target: info,access=warn leaves the lines of calls that the API or the bridge failed
    #[arg(long, env = "BRIDGE_LOG_LEVEL", value_name = "LEVELS", default_value = "info")]
    log_level: String,
    /// auto is text on a terminal and JSON elsewhere (auto, text, json)
    #[arg(long, env = "BRIDGE_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    log_format: String,
}

/// How to log.
#[derive(Debug)]
pub(in crate::cli) struct Logs {
    levels: Targets,
    format: LogFormat,
}

// === impl LogSettings ===

impl LogSettings {
    /// The typed settings.
    pub(in crate::cli) fn resolve(&self, input: &Input<'_>) -> Result<Logs, Faults> {
        let mut read = Reader::new(input);
        let levels = "write a level (error, warn, info, debug, trace, off) or target=level, joined by commas";
        let levels = read.value("log_level", &self.log_level, levels, |text| text.parse().ok());
        let format =
            read.value("log_format", &self.log_format, "write auto, text or json", |text| match text {
                "auto" => Some(LogFormat::Auto),
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            });
        match (levels, format) {
            (Some(levels), Some(format)) => Ok(Logs { levels, format }),
            _ => Err(read.faults),
        }
    }
}

// === impl Logs ===

impl Logs {
    pub(in crate::cli) fn init(self) {
        telemetry::init(self.levels, self.format);
    }
}
