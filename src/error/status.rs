//! An [`Error`] as a [`Status`]: code, message, and `google.rpc` details (AIP-193).

use std::collections::HashMap;

use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, FieldViolation, QuotaViolation, StatusExt};

use super::{Answer, Error};

/// What message and details may take in the trailers; clients refuse more than about 8 KiB in all.
const MAX_STATUS_BYTES: usize = 6 * 1024;
/// More field errors than this help nobody.
const MAX_VIOLATIONS: usize = 32;

/// The pause that gRPC clients with a retry policy keep, in place of their own (gRFC A6).
const RETRY_PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A shorter message is not cut any more.
const MIN_MESSAGE_CHARS: usize = 64;

/// What an error says of the call that it ended.
#[derive(Debug, Clone, Copy)]
pub struct CallContext<'a> {
    /// Whose reasons these are: the `domain` of `google.rpc.ErrorInfo`.
    pub domain: &'a str,
    /// `service/method`.
    pub method: &'a str,
    /// The id that the logs of all parties have.
    pub request_id: &'a str,
    /// The REST request as the contract tells it, such as `GET /products/7`; empty if there was none.
    pub request: &'a str,
    /// The type of what was asked for.
    pub resource_type: &'a str,
}

// === impl Error ===

impl Error {
    /// The status that the caller gets, cut down until it fits into the trailers.
    pub fn to_status(&self, call: &CallContext<'_>) -> Status {
        let (code, mut message) = (self.code(), self.public_message(call));
        let mut violations = self.violations();
        violations.truncate(MAX_VIOLATIONS);
        let mut api_details = true;
        loop {
            let details = self.details(call, &violations, api_details);
            let metadata = pushback(&details);
            let status = Status::with_error_details_and_metadata(code, message.clone(), details, metadata);
            if encoded_length(&status) <= MAX_STATUS_BYTES {
                return status;
            }
            match (violations.len(), message.chars().count()) {
                (2.., _) => violations.truncate(violations.len() / 2),
                (_, MIN_MESSAGE_CHARS..) => message = shorter(&message),
                (1, _) => violations.clear(),
                // What is left is of bounded length, but for what the API sent.
                _ if api_details => api_details = false,
                _ => return status,
            }
        }
    }

    fn details(
        &self,
        call: &CallContext<'_>,
        violations: &[(String, String)],
        api_details: bool,
    ) -> ErrorDetails {
        let mut details = match self {
            Self::Answer(answer) if api_details => answer.evidence.details.clone(),
            _ => ErrorDetails::new(),
        };
        if details.error_info().is_none() {
            details.set_error_info(self.reason(), call.domain, self.metadata(call));
        }
        if !violations.is_empty() {
            let violations =
                violations.iter().map(|(field, description)| FieldViolation::new(field, description));
            details.set_bad_request(violations.collect::<Vec<_>>());
        }
        if let Self::Answer(answer) = self {
            answer.add_details(call, &mut details);
        }
        if let Self::OverRate { caller, rate, .. } = self {
            let description = format!("more calls than {rate}");
            details.set_quota_failure(vec![QuotaViolation::new(caller, description)]);
        }
        if let Some(delay) = self.retry_after() {
            details.set_retry_info(Some(delay));
        }
        details.set_request_info(call.request_id, "");
        details
    }

    fn metadata(&self, call: &CallContext<'_>) -> HashMap<String, String> {
        let mut metadata = HashMap::from([("method".to_owned(), call.method.to_owned())]);
        match self {
            Self::Answer(answer) => {
                metadata.insert("http_status".to_owned(), answer.status().as_u16().to_string());
            }
            Self::Overloaded { limit, .. } | Self::OverShare { limit, .. } => {
                metadata.insert("limit_calls".to_owned(), limit.to_string());
            }
            Self::AnswerTooLarge { limit } => {
                metadata.insert("limit_bytes".to_owned(), limit.to_string());
            }
            Self::DeadlineExceeded { limit } | Self::UpstreamTimeout { limit } => {
                metadata.insert("limit_ms".to_owned(), limit.as_millis().to_string());
            }
            _ => {}
        }
        metadata
    }
}

// === impl Answer ===

impl Answer {
    fn add_details(&self, call: &CallContext<'_>, details: &mut ErrorDetails) {
        if self.code() == Code::NotFound {
            let name = call.request.split_once(" /").map_or(call.request, |(_, path)| path);
            details.set_resource_info(call.resource_type, name, "", "does not exist");
        }
        // The statuses for which RFC 9110 and RFC 6585 define it.
        if let (Some(delay), 429 | 503) = (self.retry_after, self.status().as_u16()) {
            details.set_retry_info(Some(delay));
        }
    }
}

/// The pause of `RetryInfo` for clients that do not read details: whole milliseconds, and not one too few.
fn pushback(details: &ErrorDetails) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let millis = i32::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        metadata.insert(RETRY_PUSHBACK, MetadataValue::from(millis));
    }
    metadata
}

/// What the status takes in the trailers: the message percent-encoded, the details in base64.
fn encoded_length(status: &Status) -> usize {
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'%';
    let message: usize = status.message().as_bytes().iter().map(|byte| if plain(byte) { 1 } else { 3 }).sum();
    message + status.details().len().div_ceil(3) * 4
}

fn shorter(message: &str) -> String {
    message.chars().take(message.chars().count() / 2).collect()
}

/// The code as `google/rpc/code.proto` names it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
