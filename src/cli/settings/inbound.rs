//! What a caller may ask.

use std::sync::Arc;

use super::headers::HeaderSettings;
use crate::{cli::reader::Reader, config::InboundConfig};

/// The settings of callers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Callers")]
pub(super) struct InboundSettings {
    /// How many calls may run at a time; what is more is refused at once
    #[arg(long, env = "BRIDGE_MAX_IN_FLIGHT", value_name = "COUNT", default_value = "1000")]
    max_in_flight: String,
    /// The same for one caller, by its name, or by its address where it has proved none
    #[arg(long, env = "BRIDGE_MAX_IN_FLIGHT_PER_CALLER", value_name = "COUNT", default_value = "500")]
    max_in_flight_per_caller: String,
    /// The deadline of a call whose caller names none
    #[arg(long, env = "BRIDGE_DEFAULT_DEADLINE", value_name = "TIME", default_value = "10s")]
    default_deadline: String,
    /// How long a caller may take to send its message
    #[arg(long, env = "BRIDGE_RECEIVE_TIMEOUT", value_name = "TIME", default_value = "20s")]
    receive_timeout: String,
    /// The largest request message, decompressed
    #[arg(long, env = "BRIDGE_MAX_REQUEST_BYTES", value_name = "SIZE", default_value = "4MiB")]
    max_request_bytes: String,
    /// The largest request metadata
    #[arg(long, env = "BRIDGE_MAX_METADATA_BYTES", value_name = "SIZE", default_value = "64KiB")]
    max_metadata_bytes: String,
    /// Compress answers for callers that accept gzip (gzip, none)
    #[arg(long, env = "BRIDGE_RESPONSE_COMPRESSION", value_name = "HOW", default_value = "gzip")]
    response_compression: String,
    /// The domain of google.rpc.ErrorInfo in errors
    #[arg(long, env = "BRIDGE_ERROR_DOMAIN", value_name = "NAME", default_value = "grpc-rest-bridge")]
    error_domain: String,
    #[command(flatten)]
    headers: HeaderSettings,
}

// === impl InboundSettings ===

impl InboundSettings {
    /// The typed settings. `has_credential` says that the bridge proves itself to the API.
    pub(super) fn resolve(&self, read: &mut Reader<'_>, has_credential: bool) -> Option<InboundConfig> {
        let max_in_flight = read.count("max_in_flight", &self.max_in_flight);
        let each = read.count("max_in_flight_per_caller", &self.max_in_flight_per_caller);
        let receive_timeout = read.time("receive_timeout", &self.receive_timeout);
        let default_deadline = read.time("default_deadline", &self.default_deadline);
        let max_request_bytes = read.size("max_request_bytes", &self.max_request_bytes);
        let max_metadata_bytes = read.size("max_metadata_bytes", &self.max_metadata_bytes);
        let compress =
            read.value("response_compression", &self.response_compression, "write gzip or none", |text| {
                match text {
                    "gzip" => Some(true),
                    "none" => Some(false),
                    _ => None,
                }
            });
        let domain = "write a name of visible ASCII, such as shop.example.com";
        let error_domain = read.value("error_domain", &self.error_domain, domain, |text| {
            (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Arc::from(text))
        });
        let headers = self.headers.resolve(read, has_credential);
        Some(InboundConfig {
            max_in_flight: max_in_flight?,
            max_in_flight_per_caller: each?,
            receive_timeout: receive_timeout?,
            default_deadline: default_deadline?,
            max_request_bytes: max_request_bytes?,
            max_metadata_bytes: max_metadata_bytes?,
            compress: compress?,
            error_domain: error_domain?,
            headers: headers?,
        })
    }
}
