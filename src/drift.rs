//! How the answers of a real API differ from the contract: one call a method, and everything that was found.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method as Verb, Request, Response};
use serde::Serialize;
use tonic::Status;

use crate::{
    bridge::Bridge,
    contract::Method,
    error::status::code_name,
    transcode::{Encoded, Finding, Found, Mismatch},
};

/// How much is told of one method: the keys of a map make a path each, and an answer may have thousands.
const MAX_FINDINGS: usize = 50;
/// The kind of what makes a call fail.
const MISFIT: &str = "misfit";

/// What came of one method.
#[derive(Debug, Clone, Serialize)]
pub struct Checked {
    /// `service/method`.
    pub method: String,
    /// The REST request, such as `GET /products`; nothing if none was sent.
    pub request: Option<String>,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// How it went.
    pub outcome: Outcome,
    /// Why it was skipped or failed.
    pub why: Option<String>,
    /// Each way in which the answer differs from the contract, as far as it is told.
    pub findings: Vec<Drift>,
    /// How many more ways there are.
    pub more_findings: usize,
}

/// How the check of a method went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer is as the contract has it.
    Fits,
    /// The answer is understood, but differs.
    Drifts,
    /// A call would fail.
    Fails,
    /// Nothing was sent.
    Skipped,
}

/// One way in which the answers differ from the contract at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The JSON path; `[]` is every element of a list.
    pub path: String,
    /// `misfit`, `missing-fields`, or the name of the tolerance that it takes.
    pub kind: String,
    /// What was expected and what was found, of a misfit.
    pub what: Option<String>,
    /// How often.
    pub count: usize,
    /// The line of the first, from 1.
    pub line: usize,
    /// The column of the first, in characters, from 1.
    pub column: usize,
}

/// Calls a method by the example message that there is for it, or by the empty one if its request is a GET
/// that needs nothing.
pub async fn check(bridge: &Bridge, method: usize, example: Option<&Bytes>) -> Checked {
    let described = &bridge.contract().methods()[method];
    let mut checked = Checked {
        method: described.name().to_owned(),
        request: None,
        status: None,
        outcome: Outcome::Skipped,
        why: skipped(described, example.is_some()),
        findings: Vec::new(),
        more_findings: 0,
    };
    if checked.why.is_none()
        && let Err(why) = call(bridge, method, example.cloned().unwrap_or_default(), &mut checked).await
    {
        checked.outcome = Outcome::Fails;
        checked.why = Some(why);
    }
    checked
}

/// Why a method can never be called, if so.
pub(crate) fn never(method: &Method) -> Option<&'static str> {
    match method {
        method if method.is_streaming() => Some("it streams, which a REST API cannot"),
        method if method.bindings().is_empty() => Some("it has no HTTP rule"),
        _ => None,
    }
}

/// Why nothing can be sent.
fn skipped(method: &Method, example: bool) -> Option<String> {
    if let Some(why) = never(method) {
        return Some(why.to_owned());
    }
    let binding = method.bindings().first()?;
    let harmless = binding.verb == Verb::GET && binding.template.variables().next().is_none();
    let name = method.descriptor().name();
    (!example && !harmless).then(|| format!("it takes an example: --example '{name}={{…}}'"))
}

async fn call(bridge: &Bridge, method: usize, message: Bytes, checked: &mut Checked) -> Result<(), String> {
    let encoded = bridge.request_of(method, &message).map_err(|status| told(&status))?;
    checked.request = Some(format!("{} {}", encoded.request.method(), encoded.request.uri()));
    let answer = send(bridge, method, copy(&encoded.request)).await?;
    checked.status = Some(answer.status().as_u16());
    let told_of_answer = bridge.message_of(method, &encoded, &answer).map_err(|status| told(&status));
    if answer.status().is_success() {
        (checked.findings, checked.more_findings) = findings(bridge, method, &encoded, &answer);
    }
    told_of_answer?;
    checked.outcome = if checked.findings.is_empty() { Outcome::Fits } else { Outcome::Drifts };
    Ok(())
}

/// Sends a request as a call would. Who checks runs the bridge, so the cause is told that callers do not read.
async fn send(
    bridge: &Bridge,
    method: usize,
    request: Request<Bytes>,
) -> Result<Arc<Response<Bytes>>, String> {
    bridge.send(method, request).await.map_err(|(status, cause)| {
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{}{cause}", told(&status))
    })
}

fn told(status: &Status) -> String {
    format!("{}: {}", code_name(status.code()), status.message())
}

fn copy(request: &Request<Bytes>) -> Request<Bytes> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Everything that differs, what a call fails by first if there is more than can be told, and how much is not told.
fn findings(
    bridge: &Bridge,
    method: usize,
    encoded: &Encoded,
    answer: &Response<Bytes>,
) -> (Vec<Drift>, usize) {
    let survey = match bridge.survey_of(method, encoded, answer) {
        Ok(survey) => survey,
        // It is no JSON, or does not fit as a whole: there is one thing to tell.
        Err(mismatch) => return (vec![misfit(mismatch)], 0),
    };
    let mut found: Vec<_> = survey.findings().collect();
    let more = found.len().saturating_sub(MAX_FINDINGS);
    if more > 0 {
        found.sort_by_key(|(_, finding, _)| !matches!(finding, Finding::Misfit(_)));
        found.truncate(MAX_FINDINGS);
    }
    let told = found.into_iter().map(|(path, finding, found)| drift(path, finding, found, answer.body()));
    (told.collect(), more)
}

fn misfit(mismatch: Mismatch) -> Drift {
    Drift {
        path: mismatch.path,
        kind: MISFIT.to_owned(),
        what: Some(mismatch.what),
        count: 1,
        line: mismatch.line,
        column: mismatch.column,
    }
}

fn drift(path: &str, finding: &Finding, found: Found, json: &[u8]) -> Drift {
    let before = String::from_utf8_lossy(&json[..found.offset.min(json.len())]).into_owned();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let (kind, what) = match finding {
        Finding::Misfit(what) => (MISFIT.to_owned(), Some(what.clone())),
        Finding::Tolerated(tolerance) => (tolerance.name().to_owned(), None),
        Finding::Missing => ("missing-fields".to_owned(), None),
    };
    Drift {
        path: path.to_owned(),
        kind,
        what,
        count: found.count,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}
