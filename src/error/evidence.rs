//! What the body of an error says, in the shapes that APIs write.
//!
//! AIP-193's envelope and a bare `google.rpc.Status` carry a gRPC code; Rails, JSON:API and RFC 9457 carry
//! sentences and field errors.

use std::{collections::HashMap, time::Duration};

use http::StatusCode;
use serde_json::{Map, Value};
use tonic::Code;
use tonic_types::{ErrorDetails, PreconditionViolation, QuotaViolation};

use super::{answer::MAX_RETRY_AFTER, status::code_name, text::safe_text};

/// A longer error body is not read for evidence.
const MAX_EVIDENCE_BYTES: usize = 64 * 1024;

/// What the body of an error says.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// A gRPC code, if the API speaks of one.
    pub(super) code: Option<Code>,
    /// The API's own sentence, made safe to show.
    pub(super) message: Option<String>,
    /// A reason for programs.
    pub(super) reason: Option<String>,
    /// Fields and what is wrong with each.
    pub(super) violations: Vec<(String, String)>,
    /// `google.rpc` details that the API sent itself.
    pub(super) details: ErrorDetails,
}

// === impl Evidence ===

impl Evidence {
    /// Reads the body of an error; a body that says nothing gives no evidence.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
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
                let metadata: HashMap<_, _> = metadata.collect();
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
    (1..=16).map(Code::from_i32).find(|code| code_name(*code) == name)
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
}
