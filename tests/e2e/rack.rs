//! Queries in the style of Rails, read by Rack itself.

use std::process::Command;

use grpc_rest_bridge::{
    contract::Source,
    transcode::{ProtoJson, Strictness, Transcoder},
};
use serde_json::{Value, json};

const CONTRACT: &str = r#"
syntax = "proto3";
package rack.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
service Rack { rpc Search(Query) returns (Query) { option (google.api.http) = {get: "/search"}; } }
message Query {
  string text = 1;
  repeated string tags = 2;
  Filter filter = 3;
  map<string, string> labels = 4;
  repeated Item items = 5;
  google.protobuf.Struct free = 6;
  optional int32 page = 7;
}
message Filter { string brand = 1; Filter inner = 2; repeated int32 sizes = 3; }
message Item { string a = 1; string b = 2; Filter filter = 3; repeated string list = 4; }
"#;

/// Each line of standard input is a query; each line of the output is what Rack makes of it.
const READER: &str = r#"
require "rack"
require "json"
STDIN.each_line(chomp: true) { |query| puts JSON.generate(Rack::Utils.parse_nested_query(query)) }
"#;

/// A request message as ProtoJSON, and what Rack has to make of its query.
fn cases() -> Vec<(Value, Value)> {
    vec![
        (json!({"text": "fish & chips+é=[]%"}), json!({"text": "fish & chips+é=[]%"})),
        (json!({"tags": ["a", "", "b c"]}), json!({"tags": ["a", "", "b c"]})),
        (
            json!({"filter": {"brand": "x", "inner": {"brand": "y", "sizes": [1, 2]}}}),
            json!({"filter": {"brand": "x", "inner": {"brand": "y", "sizes": ["1", "2"]}}}),
        ),
        (json!({"labels": {"a b": "1", "ü": ""}}), json!({"labels": {"a b": "1", "ü": ""}})),
        (
            json!({"items": [{"a": "1", "b": "2"}, {"a": "3"}, {"b": "4", "a": "5"}]}),
            json!({"items": [{"a": "1", "b": "2"}, {"a": "3"}, {"a": "5", "b": "4"}]}),
        ),
        // The second begins with what the first has, although it is not its first field.
        (
            json!({"items": [{"b": "2"}, {"a": "1", "b": "3", "list": ["x", "y"]}, {"b": "4"}]}),
            json!({"items": [{"b": "2"}, {"a": "1", "b": "3", "list": ["x", "y"]}, {"b": "4"}]}),
        ),
        (
            json!({"items": [{"filter": {"brand": "x"}}, {"a": "1", "filter": {"brand": "y", "sizes": [3]}}]}),
            json!({"items": [{"filter": {"brand": "x"}}, {"a": "1", "filter": {"brand": "y", "sizes": ["3"]}}]}),
        ),
        (
            json!({"free": {"a": null, "b": [1, "x", true], "c": {"d": 1.5}}}),
            json!({"free": {"a": null, "b": ["1", "x", "true"], "c": {"d": "1.5"}}}),
        ),
        (json!({"page": 0}), json!({"page": "0"})),
        (json!({}), json!({})),
    ]
}

#[test]
fn rack_reads_from_a_query_what_the_caller_said() {
    let folder = tempfile::tempdir().unwrap();
    let proto = folder.path().join("rack.proto");
    std::fs::write(&proto, CONTRACT).unwrap();
    let contract = Source { protos: vec![proto], ..Source::default() }.read().unwrap();
    let transcoder = Transcoder::compile(&contract, Strictness::default());
    let (text, input) = (ProtoJson::of(&contract), contract.methods()[0].descriptor().input());
    let queries = cases().into_iter().map(|(message, _)| {
        let message = text.read(&input, message.to_string().as_bytes()).unwrap();
        transcoder.encode(0, &message).unwrap().request.uri().query().unwrap_or_default().to_owned()
    });
    let file = folder.path().join("queries");
    std::fs::write(&file, queries.map(|query| format!("{query}\n")).collect::<String>()).unwrap();
    let output = Command::new("ruby")
        .args(["-e", READER])
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = String::from_utf8(output.stdout).unwrap();
    let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.len(), cases().len());
    for ((message, expected), read) in cases().iter().zip(&read) {
        assert_eq!(read, expected, "{message}");
    }
}
