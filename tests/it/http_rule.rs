//! HTTP rules by the cases that public projects test theirs with (`tests/cases/httprule.json`).

use std::{fs, sync::LazyLock};

use grpc_rest_bridge::{
    contract::{Contract, RestStyle, Source, template::Template},
    fault::Fault,
    transcode::{Encoded, HttpAnswer, RequestError, Strictness, Transcoder},
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

static CASES: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(&fs::read_to_string("tests/cases/httprule.json").unwrap()).unwrap()
});

/// A contract of one method with these bindings, on a message of `tests/protos/cases/v1/messages.proto`.
fn contract(bindings: &Value, message: &str, style: RestStyle) -> Result<Contract, Vec<Fault>> {
    let rule = |binding: &Value| {
        let verb = binding["method"].as_str().unwrap();
        let path = &binding["path"];
        let mut rule = match verb {
            "GET" | "PUT" | "POST" | "DELETE" | "PATCH" => format!("{}: {path}", verb.to_lowercase()),
            verb => format!("custom: {{kind: \"{verb}\", path: {path}}}"),
        };
        for key in ["body", "response_body"] {
            if let Some(value) = binding[key].as_str() {
                rule.push_str(&format!(", {key}: \"{value}\""));
            }
        }
        rule
    };
    let bindings = bindings.as_array().unwrap();
    let additional: Vec<_> =
        bindings[1..].iter().map(|binding| format!("additional_bindings: {{{}}}", rule(binding))).collect();
    let rules = [vec![rule(&bindings[0])], additional].concat().join(", ");
    // The one case that has a response body reads a message that has it.
    let answer =
        if rules.contains("response_body") { "cases.v1.UploadRequest" } else { "google.protobuf.Empty" };
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "syntax = \"proto3\"; package case.v1;\nimport \"google/api/annotations.proto\";\n\
         import \"cases/v1/messages.proto\"; import \"google/protobuf/empty.proto\";\n\
         service Case {{ rpc Call({message}) returns ({answer}) {{ option (google.api.http) = {{{rules}}}; }}\n\
         rpc Echo({message}) returns ({message}) {{ option (google.api.http) = {{post: \"/echo\", body: \"*\"}}; }} }}\n"
    );
    fs::write(folder.path().join("case.proto"), text).unwrap();
    let protos = vec![folder.path().join("case.proto")];
    let includes = vec![folder.path().to_owned(), "tests/protos".into()];
    Source { protos, includes, style, ..Source::default() }.read()
}

fn encode(contract: &Contract, request: &Value) -> Result<Encoded, RequestError> {
    // By ours, since the reference implementation does not read the largest float.
    let transcoder = Transcoder::compile(contract, Strictness::PROTO_JSON);
    let body = request.to_string();
    let answer = HttpAnswer { content_type: "", body: body.as_bytes() };
    let message = transcoder.decode(1, 0, &answer).unwrap().message;
    transcoder.encode(0, &message)
}

fn style(naming: &Value) -> RestStyle {
    match naming.as_str().unwrap() {
        "proto" => RestStyle::Rails,
        "json" => RestStyle::Google,
        other => panic!("no such naming: {other}"),
    }
}

/// Decoded pairs, sorted by key; equal keys stay in order.
fn query(encoded: &Encoded) -> Vec<[String; 2]> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let query = encoded.request.uri().query().unwrap_or_default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap();
        [decode(key), decode(value)]
    });
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(|a, b| a[0].cmp(&b[0]));
    pairs
}

/// The pairs of a case, with nested and repeated keys as the style writes them.
fn expected_query(pairs: &Value, style: RestStyle) -> Vec<[String; 2]> {
    let pairs: Vec<[String; 2]> = serde_json::from_value(pairs.clone()).unwrap();
    let repeated = |key: &str| pairs.iter().filter(|pair| pair[0] == key).count() > 1;
    let mut written: Vec<_> = pairs
        .iter()
        .map(|[key, value]| {
            let mut key = key.clone();
            if style == RestStyle::Rails {
                let list = if repeated(&key) { "[]" } else { "" };
                let mut names = key.split('.').map(str::to_owned);
                let first = names.next().unwrap();
                key = names.fold(first, |key, name| format!("{key}[{name}]")) + list;
            }
            [key, value.clone()]
        })
        .collect();
    written.sort_by(|a, b| a[0].cmp(&b[0]));
    written
}

/// Numbers may be spelled in several ways.
fn same_text(found: &str, expected: &str) -> bool {
    found == expected
        || matches!((found.parse::<f64>(), expected.parse::<f64>()), (Ok(found), Ok(expected)) if found == expected)
}

fn upper_escapes(path: &str) -> String {
    let mut text = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        text.push_str(&rest[at..at + 3].to_uppercase());
        rest = &rest[at + 3..];
    }
    text + rest
}

#[test]
fn every_case_of_the_table_becomes_the_request_that_is_recommended() {
    for case in CASES["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let expected = if case["recommended"] == "same" { &case["expect"] } else { &case["recommended"] };
        // A list of messages has a form in the style of Rails, of which the table does not know.
        let repeated = id == "envoy/repeated_message_query";
        let style = if repeated { RestStyle::Google } else { style(&case["naming"]) };
        let contract = contract(&case["bindings"], case["message"].as_str().unwrap(), style);
        if expected["result"] == "invalid_rule" {
            assert!(contract.is_err(), "{id}");
            continue;
        }
        let encoded = encode(&contract.unwrap_or_else(|faults| panic!("{id}: {faults:?}")), &case["request"]);
        if expected["result"] == "nonmatching" {
            let error = encoded.map(|encoded| encoded.request).unwrap_err();
            assert!(matches!(error, RequestError::Unmappable { .. }), "{id}: {error}");
            continue;
        }
        assert_eq!(expected["result"], "ok", "{id}");
        check(id, &encoded.unwrap_or_else(|error| panic!("{id}: {error}")), expected, style);
    }
}

fn check(id: &str, encoded: &Encoded, expected: &Value, style: RestStyle) {
    let request = &encoded.request;
    assert_eq!(json!(request.method().as_str()), expected["method"], "{id}");
    assert_eq!(json!(encoded.binding), expected["binding"], "{id}");
    let path = expected["path"].as_str().unwrap();
    assert_eq!(upper_escapes(request.uri().path()), upper_escapes(path), "{id}");
    let (found, wanted) = (query(encoded), expected_query(&expected["query"], style));
    let same = found.len() == wanted.len()
        && found.iter().zip(&wanted).all(|(a, b)| a[0] == b[0] && same_text(&a[1], &b[1]));
    assert!(same, "{id}: {found:?}, not {wanted:?}");
    let body = std::str::from_utf8(request.body()).unwrap();
    let content_type = request.headers().get("content-type").map(|value| value.to_str().unwrap());
    match expected.get("body_raw") {
        Some(raw) => {
            assert_eq!(Some(body), raw.as_str(), "{id}");
            assert_eq!(content_type, expected["content_type"].as_str(), "{id}");
        }
        None if expected["body"].is_null() => assert_eq!((body, content_type), ("", None), "{id}"),
        None => {
            assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected["body"], "{id}");
            assert_eq!(content_type, Some("application/json"), "{id}");
        }
    }
}

#[test]
fn every_value_of_the_table_is_spelled_as_it_is_recommended() {
    for case in CASES["param_format"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let (field, text) = (case["field"].as_str().unwrap(), case["text"].as_str().unwrap());
        let message = case["message"].as_str().unwrap();
        for position in case["positions"].as_array().unwrap() {
            let path = if position == "path" { format!("/v/{{{field}}}") } else { "/v".to_owned() };
            let bindings = json!([{"method": "GET", "path": path}]);
            let encoded =
                encode(&contract(&bindings, message, RestStyle::Google).unwrap(), &case["request"]).unwrap();
            let found = if position == "path" {
                let value = encoded.request.uri().path().strip_prefix("/v/").unwrap();
                percent_decode_str(value).decode_utf8().unwrap().into_owned()
            } else {
                let [[_, value]] = query(&encoded).try_into().unwrap();
                value
            };
            assert!(same_text(&found, text), "{id} in the {position}: {found}, not {text}");
        }
    }
}

#[test]
fn every_template_of_the_table_is_taken_or_refused_as_it_is_recommended() {
    for case in CASES["templates"].as_array().unwrap() {
        let text = case["template"].as_str().unwrap();
        let valid = case.get("recommended_valid").unwrap_or(&case["valid"]).as_bool().unwrap();
        let template = Template::parse(text);
        assert_eq!(template.is_ok(), valid, "{text}");
        let Ok(template) = template else { continue };
        let fields: Vec<_> = template.variables().map(|variable| variable.field_path.join(".")).collect();
        let expected = case["variables"].as_array().unwrap();
        let expected: Vec<_> = expected.iter().map(|variable| variable["field"].as_str().unwrap()).collect();
        assert_eq!(fields, expected, "{text}");
        let segments: Vec<_> = template.segments.iter().flat_map(segments).collect();
        let expected: Vec<String> = serde_json::from_value(case["segments"].clone()).unwrap();
        assert_eq!(segments, expected.iter().map(|text| upper_escapes(text)).collect::<Vec<_>>(), "{text}");
        assert_eq!(upper_escapes(template.verb.as_deref().unwrap_or_default()), case["verb"], "{text}");
        // A wildcard outside a variable is grammar, but there is nothing to send for it.
        let bare = template.segments.iter().any(|segment| !segment.has_value());
        assert_eq!(!bare, case.get("expandable").is_none_or(|expandable| expandable == true), "{text}");
    }
}

fn segments(segment: &grpc_rest_bridge::contract::template::Segment) -> Vec<String> {
    use grpc_rest_bridge::contract::template::Segment;
    match segment {
        Segment::Literal(text) => vec![upper_escapes(text)],
        Segment::Any => vec!["*".to_owned()],
        Segment::AnyPath => vec!["**".to_owned()],
        Segment::Variable(variable) => {
            variable.pattern.iter().map(|glob| upper_escapes(glob.as_str())).collect()
        }
    }
}
