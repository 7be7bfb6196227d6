//! One call from its first byte to its log line: who it is, and what is learned of it on the way.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use tonic::{Code, Status};

use crate::{
    error::{CallContext, Error, Side},
    transcode::Tolerated,
};

/// A longer name is cut in logs and errors.
const MAX_NAME_CHARS: usize = 256;

/// The header that carries the id of a call through every party.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Rails cuts a longer one.
const MAX_REQUEST_ID_BYTES: usize = 255;

/// One call; it is in the extensions of the request.
#[derive(Debug)]
pub struct Call {
    /// `service/method`, as the caller wrote it.
    pub method: String,
    /// The id.
    pub request_id: HeaderValue,
    /// When it began.
    pub started: Instant,
    /// Where its caller is, if proxies are trusted to tell that.
    pub client: Option<IpAddr>,
    domain: Arc<str>,
    record: Mutex<Record>,
}

/// What is learned of a call.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Who makes it, if that had to be proved.
    pub caller: Option<Arc<str>>,
    /// The gateway that tells of it, if one had to prove itself.
    pub gateway: Option<Arc<str>>,
    /// How it ended; `None` while it runs, or if its caller went away.
    pub code: Option<Code>,
    /// The REST request without its query, such as `GET /products/7`.
    pub request: String,
    /// The type of what is asked for.
    pub resource_type: String,
    /// What the API answered.
    pub upstream_status: Option<StatusCode>,
    /// The time to make the REST request.
    pub map: Option<Duration>,
    /// The time until its answer was complete.
    pub wait: Option<Duration>,
    /// The time to turn the answer into the message.
    pub transcode: Option<Duration>,
    /// What in the answer was not as it should be.
    pub tolerated: Tolerated,
    /// What the caller gets of the head of the API's answer.
    pub metadata: HeaderMap,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// Why a call failed, for the log.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Whose fault it is.
    pub side: Side,
    /// What the caller was told.
    pub message: String,
    /// What only the log is told.
    pub detail: Option<String>,
}

// === impl Call ===

impl Call {
    /// A call that begins now. Its id is the caller's if that is a good one, else a new one.
    pub fn begin(path: &str, headers: &HeaderMap, domain: Arc<str>) -> Self {
        Self {
            method: clip(path.trim_start_matches('/')),
            request_id: request_id(headers),
            started: Instant::now(),
            client: None,
            domain,
            record: Mutex::default(),
        }
    }

    /// The call that a request belongs to.
    pub fn of(extensions: &Extensions) -> Option<Arc<Self>> {
        extensions.get::<Arc<Self>>().cloned()
    }

    /// The same call of a caller who is there.
    pub fn from(self, client: Option<IpAddr>) -> Self {
        Self { client, ..self }
    }

    /// Notes what was learned.
    pub fn note(&self, learn: impl FnOnce(&mut Record)) {
        learn(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Who makes it, if that was proved.
    pub fn caller(&self) -> Option<Arc<str>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).caller.clone()
    }

    /// What is known so far.
    pub fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the call failed, and gives the status for its caller.
    pub fn fail(&self, error: &Error) -> Status {
        let record = self.record();
        let context = CallContext {
            domain: &self.domain,
            method: &self.method,
            request_id: self.request_id.to_str().unwrap_or_default(),
            request: &record.request,
            resource_type: &record.resource_type,
        };
        let mut status = error.to_status(&context);
        let metadata = status.metadata_mut().as_mut();
        metadata.extend(record.metadata);
        metadata.insert(X_REQUEST_ID, self.request_id.clone());
        self.note(|record| {
            record.code = Some(status.code());
            record.failure = Some(Failure {
                side: error.side(),
                message: status.message().to_owned(),
                detail: error.log_detail(),
            });
        });
        status
    }
}

/// A text as long as names usually are: what a caller sends is repeated in logs and errors.
pub fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Rails keeps letters, digits, `_`, `-` and `@` of an id; one made of anything else is replaced, so that
/// the caller, the bridge and the API log the same one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(X_REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-@".contains(byte);
        (1..=MAX_REQUEST_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(good)
    });
    sent.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).expect("a UUID is a legal header")
    })
}
