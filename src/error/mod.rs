//! What can go wrong in a call: whose fault it is, what the caller is told, and what only the log is.
//!
//! Two tables stand on this page: [`Error::code`] gives the gRPC code of every error, and
//! [`code_for_http`] that of every HTTP status. `answer` and `evidence` read what an API says in the body of an
//! error, `text` makes its sentences safe to show, and `status` puts code, message and `google.rpc` details into a
//! [`tonic::Status`].
//!
//! Each error has two texts. [`Error::public_message`] goes to the caller and never holds an internal address, an
//! upstream body or a stack trace; [`Error::log_detail`] holds what an operator needs.

mod answer;
mod evidence;
pub(crate) mod status;
mod text;

use std::{borrow::Cow, time::Duration};

use http::StatusCode;
use tonic::Code;

pub(crate) use self::answer::retry_after;
use self::evidence::Evidence;
pub use self::{answer::Answer, status::CallContext};

/// Why a call failed.
#[derive(Debug, Clone)]
pub enum Error {
    /// No such method is served.
    UnknownMethod,
    /// The method is in the contract, but has no HTTP rule.
    Unmapped,
    /// The method streams, which REST cannot.
    Streaming,
    /// The bytes of the request are not the request message.
    MalformedRequest {
        /// What is wrong with them.
        what: String,
    },
    /// A field of the request has a value that the REST request cannot carry.
    Unmappable {
        /// The path of the field.
        field: String,
        /// What is wrong with it.
        description: String,
    },
    /// The call breaks the gRPC protocol, or a limit of it.
    Protocol {
        /// The gRPC code.
        code: Code,
        /// What is wrong.
        what: String,
    },
    /// What the caller shows of itself does not let it in.
    NotAdmitted {
        /// UNAUTHENTICATED, or PERMISSION_DENIED for one who is known.
        code: Code,
        /// Why, for programs.
        reason: &'static str,
        /// Why, for people.
        what: String,
        /// Who it seems to be.
        detail: String,
    },
    /// The caller calls more often than it may.
    OverRate {
        /// Who it is.
        caller: String,
        /// The gateway that tells of it.
        gateway: Option<String>,
        /// How often it may.
        rate: String,
        /// When it may again.
        retry_after: Duration,
    },
    /// The bridge has as many calls as it takes at a time, and has not begun with this one.
    Overloaded {
        /// How many.
        limit: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// As many calls of this caller run as may, and the bridge has not begun with this one.
    OverShare {
        /// How many.
        limit: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The time for the call has run out.
    DeadlineExceeded {
        /// The time that there was.
        limit: Duration,
    },
    /// The API did not answer within the bridge's own limit.
    UpstreamTimeout {
        /// The limit.
        limit: Duration,
    },
    /// No connection to the API could be made.
    Unreachable {
        /// What the client said; names addresses.
        detail: String,
    },
    /// The connection broke before the API began to answer.
    ConnectionLost {
        /// What the client said; names addresses.
        detail: String,
    },
    /// The connection broke in the middle of the answer.
    AnswerCutOff {
        /// What the client said.
        detail: String,
    },
    /// The answer is larger than the bridge reads.
    AnswerTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer could not be decompressed.
    AnswerUndecodable {
        /// What the client said.
        detail: String,
    },
    /// A successful answer that is not JSON, or not the JSON of the contract.
    AnswerMismatch {
        /// The place and what was expected there.
        what: String,
        /// The value that was found.
        value: Option<String>,
    },
    /// The API does not believe the bridge's own credential, which is no fault of the caller.
    CredentialRefused,
    /// There is no credential to show to the API, or it has expired, and no new one could be had; nothing was sent.
    CredentialUnavailable {
        /// Why; names addresses.
        detail: String,
    },
    /// An answer that says the call failed.
    Answer(Box<Answer>),
    /// The bridge itself failed.
    Panicked {
        /// What it said.
        detail: String,
    },
    /// It would have had to wait too long for its turn; nothing was sent.
    ApiBusy {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The API has failed so often that it is not asked for a while; nothing was sent.
    BreakerShut {
        /// When it is asked again.
        retry_after: Duration,
    },
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller can mend it.
    Caller,
    /// The API, or the way to it.
    Upstream,
    /// The bridge, or how it is set up.
    Bridge,
}

/// The gRPC code for an HTTP status.
///
/// The inverse of the mapping in `google/rpc/code.proto` where that is one, with a judgement elsewhere.
/// Not the table of gRPC's `http-grpc-status-mapping.md`, which is for clients that got no answer at all
/// from a gRPC server and turns 404 into UNIMPLEMENTED.
pub fn code_for_http(status: StatusCode) -> Code {
    match status.as_u16() {
        200..=299 => Code::Ok,
        400 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 | 451 => Code::PermissionDenied,
        404 | 410 => Code::NotFound,
        405 | 501 => Code::Unimplemented,
        // The bridge asked in a way that the API cannot serve.
        406 | 415 | 431 => Code::Internal,
        408 | 504 => Code::DeadlineExceeded,
        409 => Code::Aborted,
        413 | 429 => Code::ResourceExhausted,
        416 => Code::OutOfRange,
        499 => Code::Cancelled,
        502 | 503 => Code::Unavailable,
        402..=499 => Code::FailedPrecondition,
        500..=599 => Code::Internal,
        _ => Code::Unknown,
    }
}

// === impl Error ===

impl Error {
    /// The same of a caller that came through a gateway, which only the log is told.
    pub fn through(self, by: &str) -> Self {
        match self {
            Self::NotAdmitted { code, reason, what, detail } => {
                Self::NotAdmitted { code, reason, what, detail: format!("{detail}, through {by}") }
            }
            Self::OverRate { caller, rate, retry_after, .. } => {
                Self::OverRate { caller, gateway: Some(by.to_owned()), rate, retry_after }
            }
            other => other,
        }
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownMethod | Self::Unmapped | Self::Streaming => Code::Unimplemented,
            Self::MalformedRequest { .. } | Self::Unmappable { .. } => Code::InvalidArgument,
            Self::DeadlineExceeded { .. } | Self::UpstreamTimeout { .. } => Code::DeadlineExceeded,
            Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::AnswerCutOff { .. }
            | Self::ApiBusy { .. }
            | Self::CredentialUnavailable { .. }
            | Self::BreakerShut { .. } => Code::Unavailable,
            Self::OverRate { .. }
            | Self::OverShare { .. }
            | Self::Overloaded { .. }
            | Self::AnswerTooLarge { .. } => Code::ResourceExhausted,
            Self::Protocol { code, .. } | Self::NotAdmitted { code, .. } => *code,
            Self::AnswerUndecodable { .. }
            | Self::AnswerMismatch { .. }
            | Self::CredentialRefused
            | Self::Panicked { .. } => Code::Internal,
            Self::Answer(answer) => answer.code(),
        }
    }

    /// Whose fault it is.
    pub fn side(&self) -> Side {
        match self {
            Self::UnknownMethod
            | Self::Unmapped
            | Self::Streaming
            | Self::MalformedRequest { .. }
            | Self::Unmappable { .. }
            | Self::Protocol { .. }
            | Self::OverRate { .. }
            | Self::OverShare { .. } => Side::Caller,
            // Who issues tokens cannot be asked.
            Self::NotAdmitted { code: Code::Unavailable, .. } => Side::Upstream,
            Self::NotAdmitted { .. } => Side::Caller,
            // Calls pile up before an API that is slow.
            Self::Overloaded { .. }
            | Self::DeadlineExceeded { .. }
            | Self::UpstreamTimeout { .. }
            | Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::AnswerCutOff { .. }
            | Self::AnswerTooLarge { .. }
            | Self::AnswerUndecodable { .. }
            | Self::AnswerMismatch { .. }
            | Self::ApiBusy { .. }
            // Who issues it cannot be asked.
            | Self::CredentialUnavailable { .. }
            | Self::BreakerShut { .. } => Side::Upstream,
            Self::CredentialRefused | Self::Panicked { .. } => Side::Bridge,
            Self::Answer(answer) => answer.side(),
        }
    }

    /// Why, for programs: the `reason` of `google.rpc.ErrorInfo`.
    pub fn reason(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::UnknownMethod => "METHOD_UNKNOWN",
            Self::Unmapped => "METHOD_NOT_MAPPED",
            Self::Streaming => "STREAMING_NOT_SUPPORTED",
            Self::MalformedRequest { .. } => "REQUEST_MALFORMED",
            Self::Unmappable { .. } => "REQUEST_NOT_MAPPABLE",
            Self::Protocol { code: Code::ResourceExhausted, .. } => "REQUEST_TOO_LARGE",
            Self::Protocol { code: Code::DeadlineExceeded, .. } => "REQUEST_TOO_SLOW",
            Self::Protocol { .. } => "REQUEST_REFUSED",
            Self::NotAdmitted { reason, .. } => reason,
            Self::OverRate { .. } => "RATE_LIMIT_EXCEEDED",
            Self::OverShare { .. } => "TOO_MANY_CONCURRENT_CALLS",
            Self::Overloaded { .. } => "BRIDGE_OVERLOADED",
            Self::DeadlineExceeded { .. } => "DEADLINE_EXCEEDED",
            Self::UpstreamTimeout { .. } => "UPSTREAM_TIMEOUT",
            Self::Unreachable { .. } => "UPSTREAM_UNREACHABLE",
            Self::ConnectionLost { .. } => "UPSTREAM_CONNECTION_LOST",
            Self::AnswerCutOff { .. } => "UPSTREAM_ANSWER_CUT_OFF",
            Self::AnswerTooLarge { .. } => "UPSTREAM_ANSWER_TOO_LARGE",
            Self::AnswerUndecodable { .. } => "UPSTREAM_ANSWER_UNDECODABLE",
            Self::AnswerMismatch { .. } => "UPSTREAM_ANSWER_MISMATCH",
            Self::CredentialRefused => "UPSTREAM_REFUSES_CREDENTIAL",
            Self::CredentialUnavailable { .. } => "UPSTREAM_CREDENTIAL_UNAVAILABLE",
            Self::ApiBusy { .. } => "UPSTREAM_BUSY",
            Self::BreakerShut { .. } => "UPSTREAM_FAILING",
            Self::Panicked { .. } => "BRIDGE_FAILED",
            Self::Answer(answer) => return answer.reason(),
        })
    }

    /// What the caller is told.
    pub fn public_message(&self, call: &CallContext<'_>) -> String {
        match self {
            Self::UnknownMethod => format!("there is no method {}", call.method),
            Self::Unmapped => {
                format!("{} has no google.api.http rule, so there is no REST request for it", call.method)
            }
            Self::Streaming => format!("{} streams, which a REST API cannot", call.method),
            Self::MalformedRequest { what }
            | Self::Protocol { what, .. }
            | Self::NotAdmitted { what, .. } => what.clone(),
            Self::Unmappable { field, description } => format!("{field} {description}"),
            Self::OverRate { rate, .. } => format!("more calls than {rate}"),
            Self::OverShare { limit, .. } => {
                format!("as many calls of this caller run as may: {limit} (--max-in-flight-per-caller)")
            }
            Self::Overloaded { limit, .. } => {
                format!("the bridge has its hands full with {limit} calls (--max-in-flight)")
            }
            Self::DeadlineExceeded { limit } => format!("the call did not finish within {limit:?}"),
            Self::UpstreamTimeout { limit } => format!("the API did not answer within {limit:?}"),
            Self::Unreachable { .. } => "the API cannot be reached".to_owned(),
            Self::ConnectionLost { .. } => "the connection to the API broke before it answered".to_owned(),
            Self::AnswerCutOff { .. } => {
                "the connection to the API broke in the middle of its answer".to_owned()
            }
            Self::AnswerTooLarge { limit } => {
                format!("the API's answer is larger than the limit of {limit} bytes (--max-response-bytes)")
            }
            Self::AnswerUndecodable { .. } => "the API's answer cannot be decompressed".to_owned(),
            Self::AnswerMismatch { what, .. } => {
                format!("the API's answer does not fit the contract: {what}")
            }
            Self::CredentialRefused => "the API does not let the bridge in".to_owned(),
            Self::CredentialUnavailable { .. } => {
                "the bridge has nothing to prove itself by to the API at the moment".to_owned()
            }
            Self::ApiBusy { .. } => "the API is busy: this call would wait too long for its turn".to_owned(),
            Self::BreakerShut { .. } => "the API fails, and is not asked for a moment".to_owned(),
            Self::Panicked { .. } => "the bridge failed on this call".to_owned(),
            Self::Answer(answer) => answer.message(call),
        }
    }

    /// What only the log is told.
    pub fn log_detail(&self) -> Option<String> {
        match self {
            Self::Unreachable { detail }
            | Self::ConnectionLost { detail }
            | Self::AnswerCutOff { detail }
            | Self::AnswerUndecodable { detail }
            | Self::NotAdmitted { detail, .. }
            | Self::CredentialUnavailable { detail }
            | Self::Panicked { detail } => Some(detail.clone()),
            Self::OverRate { caller, gateway: Some(gateway), .. } => {
                Some(format!("{caller}, through {gateway}"))
            }
            Self::OverRate { caller, .. } => Some(caller.clone()),
            Self::AnswerMismatch { value, .. } => value.as_ref().map(|value| format!("found {value:?}")),
            Self::CredentialRefused => {
                Some("the API answered 401 to the bridge's own credential (--upstream-…)".to_owned())
            }
            Self::Answer(answer) => Some(answer.log_detail()),
            Self::UnknownMethod
            | Self::Unmapped
            | Self::Streaming
            | Self::MalformedRequest { .. }
            | Self::Unmappable { .. }
            | Self::Protocol { .. }
            | Self::OverShare { .. }
            | Self::Overloaded { .. }
            | Self::DeadlineExceeded { .. }
            | Self::UpstreamTimeout { .. }
            | Self::AnswerTooLarge { .. }
            | Self::ApiBusy { .. }
            | Self::BreakerShut { .. } => None,
        }
    }

    /// When it is worth trying again, where the error itself tells.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ApiBusy { retry_after }
            | Self::BreakerShut { retry_after }
            | Self::OverRate { retry_after, .. }
            | Self::OverShare { retry_after, .. }
            | Self::Overloaded { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// What an API says is wrong with single fields.
    fn violations(&self) -> Vec<(String, String)> {
        match self {
            Self::Unmappable { field, description } => vec![(field.clone(), description.clone())],
            Self::Answer(answer) => answer.evidence.violations.clone(),
            _ => Vec::new(),
        }
    }
}
