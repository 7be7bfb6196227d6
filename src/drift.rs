//! How the answers of a real API differ from the contract: one call a method, and everything that was found.

use bytes::Bytes;
use http::{Method as Verb, Request, Response};
use serde::Serialize;

use crate::{
    bridge::Bridge,
    contract::Method,
    error::status::code_name,
    transcode::{Encoded, Finding, Found, Survey},
};

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
    /// Each way in which the answer differs from the contract.
    pub findings: Vec<Drift>,
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
        why: skipped(described, example),
        findings: Vec::new(),
    };
    if checked.why.is_none()
        && let Err(why) = call(bridge, method, example.cloned().unwrap_or_default(), &mut checked).await
    {
        checked.outcome = Outcome::Fails;
        checked.why = Some(why);
    }
    checked
}

/// Why nothing can be sent.
fn skipped(method: &Method, example: Option<&Bytes>) -> Option<String> {
    if method.is_streaming() {
        return Some("it streams, which a REST API cannot".to_owned());
    }
    let Some(binding) = method.bindings().first() else { return Some("it has no HTTP rule".to_owned()) };
    let harmless = binding.verb == Verb::GET && binding.template.variables().next().is_none();
    let name = method.descriptor().name();
    (example.is_none() && !harmless).then(|| format!("it takes an example: --example '{name}={{…}}'"))
}

async fn call(bridge: &Bridge, method: usize, message: Bytes, checked: &mut Checked) -> Result<(), String> {
    let told = |status: tonic::Status| format!("{}: {}", code_name(status.code()), status.message());
    let encoded = bridge.request_of(method, &message).map_err(told)?;
    checked.request = Some(format!("{} {}", encoded.request.method(), encoded.request.uri()));
    let answer = bridge.send(method, copy(&encoded.request)).await.map_err(told)?;
    checked.status = Some(answer.status().as_u16());
    let told_of_answer = bridge.message_of(method, &encoded, &answer).map_err(told);
    if answer.status().is_success() {
        checked.findings = findings(bridge, method, &encoded, &answer)?;
    }
    told_of_answer?;
    checked.outcome = if checked.findings.is_empty() { Outcome::Fits } else { Outcome::Drifts };
    Ok(())
}

fn copy(request: &Request<Bytes>) -> Request<Bytes> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn findings(
    bridge: &Bridge,
    method: usize,
    encoded: &Encoded,
    answer: &Response<Bytes>,
) -> Result<Vec<Drift>, String> {
    let survey: Survey =
        bridge.survey_of(method, encoded, answer).map_err(|mismatch| mismatch.to_string())?;
    Ok(survey.findings().map(|(path, finding, found)| drift(path, finding, found, answer.body())).collect())
}

fn drift(path: &str, finding: &Finding, found: Found, json: &[u8]) -> Drift {
    let before = String::from_utf8_lossy(&json[..found.offset.min(json.len())]).into_owned();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let (kind, what) = match finding {
        Finding::Misfit(what) => ("misfit".to_owned(), Some(what.clone())),
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
