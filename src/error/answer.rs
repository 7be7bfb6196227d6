//! What an API says in an answer that is no success.
//!
//! Evidence counts in this order: a gRPC code in the body (AIP-193's envelope or a bare
//! `google.rpc.Status`), then the HTTP status. The message is the API's own sentence where it has one that
//! is safe to show; field errors are read from the shapes that Rails, JSON:API and RFC 9457 write.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Map, Value};
use tonic::Code;
use tonic_types::{ErrorDetails, PreconditionViolation, QuotaViolation};

use super::{CallContext, Side, code_for_http};

/// A longer error body is not read for evidence.
const MAX_EVIDENCE_BYTES: usize = 64 * 1024;
/// A longer sentence is cut.
const MAX_TEXT_CHARS: usize = 256;
/// How much of a body the log keeps.
const MAX_LOGGED_CHARS: usize = 1024;
/// The longest pause a `Retry-After` may ask for; more is surely a mistake.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An answer whose status is not 2xx.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    misconfiguration: Option<Misconfiguration>,
    pub(super) retry_after: Option<Duration>,
    pub(super) evidence: Evidence,
    log_detail: String,
}

/// An answer that speaks of how the bridge is set up, not of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misconfiguration {
    /// A redirect to the same place under `https`: what `config.force_ssl` does.
    ForceSsl,
    /// Any other redirect.
    Redirect,
    /// A 403 from before the application: what `config.hosts` does.
    HostRefused,
}

/// What the body of an error says.
#[derive(Debug, Default)]
pub struct Evidence {
    /// A gRPC code, if the API speaks of one.
    pub code: Option<Code>,
    /// The API's own sentence, made safe to show.
    pub message: Option<String>,
    /// A reason for programs.
    pub reason: Option<String>,
    /// Fields and what is wrong with each.
    pub violations: Vec<(String, String)>,
    /// `google.rpc` details that the API sent itself.
    pub details: ErrorDetails,
}

// === impl Answer ===

impl Answer {
    /// Reads an answer whose status is not 2xx. `now` is what a `Retry-After` date is compared with.
    pub fn read(response: &Response<Bytes>, now: SystemTime) -> Self {
        let (status, headers) = (response.status(), response.headers());
        let mut evidence = Evidence::read(status, response.body());
        // Of a server's failure only a deliberate error envelope is for others to read; and the mere name
        // of the status, which is all that Rails says by itself, is better said with the request.
        let phrase =
            evidence.message.as_deref().is_some_and(|message| status.canonical_reason() == Some(message));
        if phrase || (status.is_server_error() && evidence.code.is_none()) {
            evidence.message = None;
        }
        let body = String::from_utf8_lossy(response.body());
        let excerpt: String = body.chars().take(MAX_LOGGED_CHARS).collect();
        let location =
            headers.get(header::LOCATION).map(|to| format!(", location {to:?}")).unwrap_or_default();
        Self {
            status,
            misconfiguration: Misconfiguration::of(status, headers),
            retry_after: retry_after(headers, now),
            evidence,
            log_detail: format!("HTTP {}{location}, body {excerpt:?}", status.as_u16()),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The field errors, to be given the names that they have in the request message.
    pub fn violations_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.evidence.violations.iter_mut().map(|(field, _)| field)
    }

    pub(super) fn code(&self) -> Code {
        match (self.misconfiguration, self.evidence.code) {
            (Some(Misconfiguration::HostRefused), _) => Code::Internal,
            (_, Some(code)) => code,
            (_, None) => code_for_http(self.status),
        }
    }

    pub(super) fn side(&self) -> Side {
        match self.status.as_u16() {
            _ if self.misconfiguration.is_some() => Side::Bridge,
            406 | 415 | 431 => Side::Bridge,
            400..=499 => Side::Caller,
            _ => Side::Upstream,
        }
    }

    pub(super) fn reason(&self) -> Cow<'_, str> {
        match self.misconfiguration {
            Some(Misconfiguration::ForceSsl) => Cow::Borrowed("UPSTREAM_WANTS_HTTPS"),
            Some(Misconfiguration::Redirect) => Cow::Borrowed("UPSTREAM_REDIRECTS"),
            Some(Misconfiguration::HostRefused) => Cow::Borrowed("UPSTREAM_REFUSES_HOST"),
            None => match &self.evidence.reason {
                Some(reason) => Cow::Borrowed(reason),
                None => Cow::Owned(http_reason(self.status)),
            },
        }
    }

    pub(super) fn message(&self, call: &CallContext<'_>) -> String {
        let status = self.status.as_u16();
        match self.misconfiguration {
            Some(Misconfiguration::ForceSsl) => format!(
                "the bridge is misconfigured: the API answered {status}, a redirect to https \
                 (set --upstream-forwarded-proto https or an https upstream)"
            ),
            Some(Misconfiguration::Redirect) => format!(
                "the bridge is misconfigured: the API answered {status}, a redirect, which is never followed \
                 (the upstream URL or the path of the contract is not the final one)"
            ),
            Some(Misconfiguration::HostRefused) => format!(
                "the bridge is misconfigured: the API answered {status} before its application was asked, most \
                 likely because it does not know the host name (set --upstream-host)"
            ),
            None => self.evidence.message.clone().unwrap_or_else(|| {
                let phrase = self.status.canonical_reason().unwrap_or("an error without a name");
                format!("{phrase} (the API answered {status} to {})", call.request)
            }),
        }
    }

    pub(super) fn log_detail(&self) -> String {
        self.log_detail.clone()
    }
}

// === impl Misconfiguration ===

impl Misconfiguration {
    fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match status.as_u16() {
            301 | 302 | 303 | 307 | 308 => {
                let https = text(header::LOCATION).starts_with("https://");
                Some(if https { Self::ForceSsl } else { Self::Redirect })
            }
            // Rails checks the host before it notes the request id, so an application's 403 has one.
            403 if !headers.contains_key("x-request-id") && !text(header::CONTENT_TYPE).contains("json") => {
                Some(Self::HostRefused)
            }
            _ => None,
        }
    }
}

/// `NOT_FOUND` for 404, `HTTP_599` for a status without a name.
fn http_reason(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some("I'm a teapot") | None => format!("HTTP_{}", status.as_u16()),
        Some(phrase) => phrase.to_ascii_uppercase().replace([' ', '-'], "_"),
    }
}

/// Seconds or an HTTP date (RFC 9110, section 10.2.3); a date in the past is no wait at all.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

// === impl Evidence ===

impl Evidence {
    /// Reads the body of an error; a body that says nothing gives no evidence.
    pub fn read(status: StatusCode, body: &[u8]) -> Self {
        let body = if body.len() <= MAX_EVIDENCE_BYTES { body } else { &[] };
        let mut evidence = Self::default();
        if let Ok(Value::Object(body)) = serde_json::from_slice(body) {
            match (body.get("error"), rpc_code(&body)) {
                (Some(Value::Object(envelope)), _) => evidence.read_envelope(envelope),
                (_, Some(code)) => evidence.read_status(&body, Some(code)),
                _ => evidence.read_free_form(status, &body),
            }
        }
        evidence
    }

    /// AIP-193: `{"error": {"code": 404, "status": "NOT_FOUND", "message": …, "details": […]}}`.
    fn read_envelope(&mut self, envelope: &Map<String, Value>) {
        let code = envelope.get("status").and_then(Value::as_str).and_then(code_named);
        self.read_status(envelope, code);
    }

    /// A `google.rpc.Status` in JSON.
    fn read_status(&mut self, body: &Map<String, Value>, code: Option<Code>) {
        self.code = code;
        self.message = text(body, "message");
        for detail in body.get("details").and_then(Value::as_array).into_iter().flatten() {
            self.read_detail(detail);
        }
    }

    fn read_free_form(&mut self, status: StatusCode, body: &Map<String, Value>) {
        match body.get("errors") {
            Some(Value::Object(errors)) => self.read_hash(errors),
            Some(Value::Array(errors)) => self.read_list(errors),
            _ if status == StatusCode::UNPROCESSABLE_ENTITY && is_error_hash(body) => self.read_hash(body),
            _ => {}
        }
        for invalid in body.get("invalid-params").and_then(Value::as_array).into_iter().flatten() {
            self.violation(text_at(invalid, "name"), text_at(invalid, "reason"));
        }
        self.reason = body.get("type").and_then(Value::as_str).and_then(problem_reason);
        let sentence = ["detail", "message", "error_description", "error", "title"];
        let sentence = sentence.iter().find_map(|name| text(body, name));
        self.message = self.message.take().or(sentence).or_else(|| self.violation_sentence());
    }

    /// Rails: `{"title": ["can't be blank"], "base": ["…"]}`.
    fn read_hash(&mut self, errors: &Map<String, Value>) {
        for (field, descriptions) in errors {
            let field = if field == "base" { "" } else { field };
            let one = std::slice::from_ref(descriptions);
            for description in descriptions.as_array().map_or(one, Vec::as_slice) {
                self.violation(Some(field.to_owned()), description.as_str().and_then(safe_text));
            }
        }
    }

    /// Rails' full messages, or JSON:API error objects.
    fn read_list(&mut self, errors: &[Value]) {
        let mut sentences = Vec::new();
        for error in errors {
            match error {
                Value::String(sentence) => sentences.extend(safe_text(sentence)),
                error => {
                    let description = text_at(error, "detail").or_else(|| text_at(error, "title"));
                    let description = description.or_else(|| text_at(error, "message"));
                    sentences.extend(description.clone());
                    self.violation(json_api_field(error).or_else(|| text_at(error, "field")), description);
                }
            }
        }
        if !sentences.is_empty() {
            self.message = safe_text(&sentences.join("; "));
        }
    }

    fn violation(&mut self, field: Option<String>, description: Option<String>) {
        if let (Some(field), Some(description)) = (field, description) {
            self.violations.push((field, description));
        }
    }

    fn violation_sentence(&self) -> Option<String> {
        let sentences = self.violations.iter().map(|(field, description)| format!("{field} {description}"));
        let sentences: Vec<_> = sentences.map(|sentence| sentence.trim_start().to_owned()).collect();
        safe_text(&sentences.join("; "))
    }

    /// One of `google.rpc`'s details; DebugInfo is never passed on, nor a type that is not known.
    fn read_detail(&mut self, detail: &Value) {
        let kind = detail.get("@type").and_then(Value::as_str).and_then(|kind| kind.rsplit('/').next());
        let violations = |name| detail.get(name).and_then(Value::as_array).into_iter().flatten();
        let at = |value, name| text_at(value, name).unwrap_or_default();
        match kind.unwrap_or_default() {
            "google.rpc.ErrorInfo" => {
                let metadata = detail.get("metadata").and_then(Value::as_object).into_iter().flatten();
                let metadata =
                    metadata.filter_map(|(key, value)| Some((key.clone(), safe_text(value.as_str()?)?)));
                let metadata: std::collections::HashMap<_, _> = metadata.collect();
                self.details.set_error_info(at(detail, "reason"), at(detail, "domain"), metadata);
            }
            "google.rpc.BadRequest" => {
                for violation in violations("fieldViolations") {
                    self.violation(Some(at(violation, "field")), text_at(violation, "description"));
                }
            }
            "google.rpc.RetryInfo" => {
                let delay =
                    detail.get("retryDelay").and_then(Value::as_str).and_then(|text| text.strip_suffix('s'));
                let delay = delay.and_then(|seconds| seconds.parse().ok());
                let delay = delay.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.details.set_retry_info(delay.map(|delay| delay.min(MAX_RETRY_AFTER)));
            }
            "google.rpc.PreconditionFailure" => {
                let read =
                    |v| PreconditionViolation::new(at(v, "type"), at(v, "subject"), at(v, "description"));
                self.details.set_precondition_failure(violations("violations").map(read).collect::<Vec<_>>());
            }
            "google.rpc.QuotaFailure" => {
                let read = |v| QuotaViolation::new(at(v, "subject"), at(v, "description"));
                self.details.set_quota_failure(violations("violations").map(read).collect::<Vec<_>>());
            }
            "google.rpc.LocalizedMessage" => {
                self.details.set_localized_message(at(detail, "locale"), at(detail, "message"));
            }
            _ => {}
        }
    }
}

/// The code of a bare `google.rpc.Status`; a number that is no gRPC code is the API's own affair.
fn rpc_code(body: &Map<String, Value>) -> Option<Code> {
    let code = body.get("code")?.as_i64().filter(|code| (1..=16).contains(code))?;
    body.get("message")?.as_str()?;
    Some(Code::from_i32(i32::try_from(code).ok()?))
}

fn code_named(name: &str) -> Option<Code> {
    (1..=16).map(Code::from_i32).find(|code| super::status::code_name(*code) == name)
}

/// Whether every value is a text or a list of texts, which is how Rails renders `model.errors`.
fn is_error_hash(body: &Map<String, Value>) -> bool {
    let texts = |value: &Value| match value {
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_string),
        _ => false,
    };
    !body.is_empty() && body.values().all(texts)
}

/// `/data/attributes/title` or `filter[brand]` of a JSON:API error's source.
fn json_api_field(error: &Value) -> Option<String> {
    let source = error.get("source")?;
    if let Some(pointer) = source.get("pointer").and_then(Value::as_str) {
        let field = pointer.trim_start_matches('/');
        let field = field.strip_prefix("data/attributes/").or(field.strip_prefix("data/")).unwrap_or(field);
        return safe_text(&field.replace('/', "."));
    }
    text_at(source, "parameter")
}

/// The last part of an RFC 9457 problem type, as a reason: `…/out-of-credit` is `OUT_OF_CREDIT`.
fn problem_reason(kind: &str) -> Option<String> {
    let name = kind.rsplit(['/', ':', '#']).next()?.to_ascii_uppercase().replace('-', "_");
    let valid = (3..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !name.ends_with('_');
    (valid && kind != "about:blank").then_some(name)
}

fn text(body: &Map<String, Value>, name: &str) -> Option<String> {
    safe_text(body.get(name)?.as_str()?)
}

fn text_at(value: &Value, name: &str) -> Option<String> {
    safe_text(value.get(name)?.as_str()?)
}

/// A sentence that may be shown to strangers: one line without markup, addresses and URLs, and not long.
fn safe_text(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let markup = |(at, _)| line[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || "!/?".contains(c));
    if line.match_indices('<').any(markup) {
        return None;
    }
    let words = line.split_whitespace().map(hide_address);
    let safe = words.collect::<Vec<_>>().join(" ");
    let safe: String = safe.chars().filter(|c| !c.is_control()).collect();
    match safe.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => Some(format!("{}…", &safe[..end])),
        None => Some(safe),
    }
}

fn hide_address(word: &str) -> &str {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_address = bare.parse::<IpAddr>().is_ok() || bare.parse::<SocketAddr>().is_ok();
    if word.contains("://") || is_address { "[address]" } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(status: u16, body: &str) -> Evidence {
        Evidence::read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn field_errors_are_read_from_every_shape() {
        let list = r#"{"errors":[{"detail":"is odd","source":{"parameter":"filter[brand]"}}]}"#;
        let problem = r#"{"type":"https://x.test/bad-price","title":"Bad","detail":"No.",
            "invalid-params":[{"name":"price","reason":"is odd"}]}"#;
        for (body, violations, message) in [
            (
                r#"{"title":["can't be blank"],"base":["Shop is closed"]}"#,
                vec![("", "Shop is closed"), ("title", "can't be blank")],
                "Shop is closed; title can't be blank",
            ),
            (r#"{"errors":{"title":"is short"}}"#, vec![("title", "is short")], "title is short"),
            (r#"{"errors":["Title is short","Price is odd"]}"#, vec![], "Title is short; Price is odd"),
            (list, vec![("filter[brand]", "is odd")], "is odd"),
            (problem, vec![("price", "is odd")], "No."),
        ] {
            let evidence = evidence(422, body);
            let read: Vec<_> = evidence.violations.iter().map(|(f, d)| (f.as_str(), d.as_str())).collect();
            assert_eq!((read, evidence.message.as_deref()), (violations, Some(message)), "{body}");
        }
    }

    #[test]
    fn a_problem_type_becomes_a_reason() {
        assert_eq!(problem_reason("https://x.test/problems/out-of-credit").as_deref(), Some("OUT_OF_CREDIT"));
        assert_eq!(problem_reason("urn:problem:late").as_deref(), Some("LATE"));
        for kind in ["about:blank", "", "https://x.test/", "https://x.test/a?b=c", "https://x.test/1st"] {
            assert_eq!(problem_reason(kind), None, "{kind}");
        }
    }

    #[test]
    fn nothing_internal_stands_in_a_text_that_is_shown() {
        for (text, shown) in [
            ("Title can't be blank", Some("Title can't be blank")),
            ("is < 5 and > 3", Some("is < 5 and > 3")),
            ("see http://10.0.0.3:3000/admin now", Some("see [address] now")),
            ("could not connect to 10.0.0.3:5432, retrying", Some("could not connect to [address] retrying")),
            ("  \n first\n/app/models/product.rs:3", Some("first")),
            ("<html><body>Oops</body></html>", None),
            ("", None),
            (" \n ", None),
        ] {
            assert_eq!(safe_text(text).as_deref(), shown, "{text}");
        }
        assert_eq!(safe_text(&"é".repeat(600)).unwrap().chars().count(), MAX_TEXT_CHARS + 1);
    }

    #[test]
    fn a_pause_is_read_in_seconds_or_as_a_date() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 05:30:00 GMT").unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Mon, 23 Nov 2026 05:31:00 GMT", Some(60)),
            ("Mon, 23 Nov 2026 05:29:00 GMT", Some(0)),
            ("999999999", Some(24 * 3600)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
