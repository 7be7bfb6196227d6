//! Values that would mean something else to whoever reads the REST request.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use tonic::{Code, Request};

use crate::support::{Api, Bridge, Kitchen, Seen, reason};

/// A value that means nothing.
const PLAIN: &str = "plain";

/// What has meant something to somebody: paths, queries, lines, requests, templates, shells, databases.
const NASTY: [&str; 26] = [
    "..",
    ".",
    "../../admin",
    "..%2f..%2fadmin",
    "%2e%2e",
    "%252e%252e%252f",
    "..\\..\\admin",
    "..;/admin",
    "a/../b",
    "/etc/passwd",
    "//evil.example/",
    "http://evil.example/",
    "@evil.example",
    "a?admin=1",
    "a&admin=1",
    "a;admin=1",
    "a#b",
    "a=b[]",
    "a\r\nX-Admin: 1",
    "a HTTP/1.1\r\nHost: evil\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
    "a\nb",
    "a\0b",
    "\u{2028}\u{2029}\u{85}\u{0a0d}",
    "\u{ff0e}\u{ff0e}\u{ff0f}",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "\"}],\"admin\":true,\"x\":[{\"",
];

/// All there is to a request but what the value itself is.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    method: String,
    segments: usize,
    query_names: Vec<String>,
    headers: BTreeSet<String>,
    body_names: Vec<String>,
}

/// The message in which every string is this one.
fn filled(descriptor: &MessageDescriptor, text: &str, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields().filter(|field| field.containing_oneof().is_none()) {
        if let Some(value) = value(&field, text, depth) {
            message.set_field(
                &field,
                if field.is_list() { Value::List(vec![value.clone(), value]) } else { value },
            );
        }
    }
    message
}

fn value(field: &FieldDescriptor, text: &str, depth: usize) -> Option<Value> {
    match field.kind() {
        _ if field.is_map() => None,
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Int64 => Some(Value::I64(7)),
        Kind::Message(inner) if depth > 0 && !inner.full_name().starts_with("google.") => {
            Some(Value::Message(filled(&inner, text, depth - 1)))
        }
        _ => None,
    }
}

fn shape(seen: &Seen) -> Shape {
    let (path, query) = seen.uri.split_once('?').unwrap_or((&seen.uri, ""));
    let name = |pair: &str| pair.split('=').next().unwrap().to_owned();
    Shape {
        method: seen.method.to_string(),
        segments: path.split('/').count(),
        query_names: query.split('&').map(name).collect(),
        headers: seen
            .headers
            .keys()
            .map(ToString::to_string)
            .filter(|name| name != "content-length")
            .collect(),
        body_names: serde_json::from_slice(&seen.body).map(|body| names(&body)).unwrap_or_default(),
    }
}

/// The names of all members of a document.
fn names(body: &serde_json::Value) -> Vec<String> {
    match body {
        serde_json::Value::Object(members) => {
            members.iter().flat_map(|(name, value)| [name.clone()].into_iter().chain(names(value))).collect()
        }
        serde_json::Value::Array(elements) => elements.iter().flat_map(names).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn no_value_of_a_field_means_more_than_a_value_of_that_field() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::to(&api.url()).contract(Kitchen::open().contract.clone()).start().await;
    let (mut sent, mut refused) = (0, 0);
    for method in Kitchen::open().contract.methods() {
        let input = method.descriptor().input();
        let call = async |text: &str| {
            let message = filled(&input, text, 3).encode_to_vec();
            bridge.call_with(method.name(), Request::new(Bytes::from(message))).await
        };
        // Multi-segment variables have to fit their templates.
        if call(PLAIN).await.is_err_and(|status| status.code() != Code::InvalidArgument) {
            continue;
        }
        let plain = api.calls().last().map(shape);
        for text in NASTY {
            let before = api.calls().len();
            match call(text).await {
                Err(status) if status.code() == Code::InvalidArgument => {
                    assert_eq!(
                        (api.calls().len(), &*reason(&status)),
                        (before, "REQUEST_NOT_MAPPABLE"),
                        "{text:?}"
                    );
                    refused += 1;
                }
                _ => {
                    let calls = api.calls();
                    assert_eq!(calls.len(), before + 1, "{} {text:?}", method.name());
                    let (seen, plain) = (calls.last().unwrap(), plain.as_ref().unwrap());
                    let mut found = shape(seen);
                    // A variable of several segments takes them, but none that leads elsewhere.
                    if method.name().ends_with("/GetFile") {
                        assert!(
                            seen.uri.starts_with("/files/") && seen.uri.ends_with("/raw"),
                            "{}",
                            seen.uri
                        );
                        found.segments = plain.segments;
                    }
                    let dots = |segment: &str| {
                        matches!(segment.to_lowercase().replace("%2e", ".").as_str(), "." | "..")
                    };
                    assert!(!seen.uri.split('/').any(dots), "{}", seen.uri);
                    assert_eq!(&found, plain, "{} {text:?}: {seen:?}", method.name());
                    sent += 1;
                }
            }
        }
    }
    assert!(sent > 200 && refused > 20, "{sent} sent, {refused} refused");
}

/// What a caller says in metadata of who it is, where it comes from, and what it may, is not the API's to hear.
#[tokio::test]
async fn no_metadata_of_a_caller_reaches_the_api_but_a_good_request_id() {
    let api = Api::saying("{}").await;
    let bridge = Bridge::before(&api.url()).await;
    let call = async |name: &str, value: &str| {
        let headers = [("content-type", "application/grpc"), (name, value)];
        bridge.raw("POST", &headers, Bytes::from_static(&[0, 0, 0, 0, 2, 8, 7])).await;
        api.calls().last().unwrap().clone()
    };
    let plain = shape(&call("x-request-id", "good").await);
    let names = [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "forwarded",
        "x-real-ip",
        "client-ip",
        "true-client-ip",
        "x-client-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "authorization",
        "cookie",
        "x-api-key",
        "x-admin",
        "x-user-id",
        "via",
        "expect",
        "range",
        "if-match",
        "x-forwarded-client-cert",
        "x-amzn-trace-id",
        "accept-encoding",
        "x-apigateway-api-userinfo",
    ];
    for name in names {
        let seen = call(name, "evil").await;
        assert_eq!(shape(&seen), plain, "{name}");
        assert!(!format!("{seen:?}").contains("evil"), "{name}: {seen:?}");
    }
    for id in ["a b", "../../x", "a%0d%0ax: y", "é", &"x".repeat(300), "'; drop table products; --"] {
        let seen = call("x-request-id", id).await;
        let uuid = seen.headers["x-request-id"].to_str().unwrap();
        assert_eq!((uuid.len(), uuid == id), (36, false), "{id}");
    }
}
