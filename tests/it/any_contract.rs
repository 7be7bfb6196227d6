//! Contracts beyond the shop's, over sockets: bytes as they are, styles, URLs to the last byte, and large answers.

use std::path::PathBuf;

use bytes::Bytes;
use grpc_rest_bridge::{
    contract::{RestStyle, Source},
    transcode::{HttpAnswer, ProtoJson, Strictness, Transcoder},
};
use http::Response;
use proptest::{prelude::*, test_runner::TestRunner};
use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

use crate::support::{Api, Bridge, Kitchen, Seen, json as json_answer};

const SERVICE: &str = "kitchen.v1.KitchenService";

async fn kitchen(api: &Api) -> Bridge {
    Bridge::to(&api.url()).contract(Kitchen::open().contract.clone()).start().await
}

/// The wire form of a request message of the kitchen.
fn request(method: &str, json: &Value) -> Vec<u8> {
    let kitchen = Kitchen::open();
    kitchen.message(kitchen.input(method).full_name(), &json.to_string()).unwrap().encode_to_vec()
}

/// A response message of the kitchen as ProtoJSON.
fn response(method: &str, message: Bytes) -> Value {
    let kitchen = Kitchen::open();
    let output = kitchen.contract.methods()[kitchen.index(method)].descriptor().output();
    serde_json::to_value(DynamicMessage::decode(output, message).unwrap()).unwrap()
}

/// An API that sends back what it is sent, with the type that it came with.
async fn mirror() -> Api {
    Api::answering(|seen: Seen| async move {
        let content_type = seen.headers.get("content-type").cloned();
        let mut answer = Response::new(axum::body::Body::from(seen.body));
        answer.headers_mut().extend(content_type.map(|value| (http::header::CONTENT_TYPE, value)));
        answer
    })
    .await
}

#[tokio::test]
async fn an_http_body_is_carried_as_it_is_in_both_directions() {
    let api = mirror().await;
    let bridge = kitchen(&api).await;
    let image = json!({"contentType": "image/png", "data": "iVBORwD/"});
    for (method, message, answer) in [
        ("PutImage", json!({"name": "a/b", "file": image}), image.clone()),
        ("PostRaw", image.clone(), json!({"file": image})),
        // Without a type it is bytes, and without a body there is nothing.
        (
            "PostRaw",
            json!({"data": "eA=="}),
            json!({"file": {"contentType": "application/octet-stream", "data": "eA=="}}),
        ),
        ("PutImage", json!({"name": "x"}), json!({})),
    ] {
        let called = bridge.call(&format!("{SERVICE}/{method}"), &request(method, &message)).await;
        assert_eq!(response(method, called.unwrap().into_inner()), answer, "{message}");
    }
    let calls = api.calls();
    let head =
        |seen: &Seen, name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(calls[0].uri, "/images/a%2Fb");
    assert_eq!(calls[0].body, &b"\x89PNG\0\xff"[..]);
    assert_eq!(head(&calls[0], "content-type").as_deref(), Some("image/png"));
    assert_eq!(head(&calls[0], "accept").as_deref(), Some("*/*"));
    assert_eq!((calls[3].body.len(), head(&calls[3], "content-type")), (0, None));
}

#[tokio::test]
async fn a_media_type_that_is_no_header_is_refused() {
    let api = mirror().await;
    let bridge = kitchen(&api).await;
    let message = request("PutImage", &json!({"name": "x", "file": {"contentType": "a\nb", "data": ""}}));
    let status = bridge.call(&format!("{SERVICE}/PutImage"), &message).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert_eq!(status.message(), "file.content_type must be a media type, such as text/plain");
    assert!(api.calls().is_empty());
}

#[tokio::test]
async fn free_json_goes_both_ways() {
    let api = mirror().await;
    let bridge = kitchen(&api).await;
    let free = json!({"a": [2.5, "x", null, {"b": true}], "": 1.5});
    let called = bridge.call(&format!("{SERVICE}/SetFree"), &request("SetFree", &free)).await.unwrap();
    assert_eq!(response("SetFree", called.into_inner()), free);
}

/// Any text in a path and in a query: what the API sees is what was planned, below a path prefix too.
#[test]
fn the_url_that_leaves_is_the_one_that_was_planned() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (api, bridge, grpc) = runtime.block_on(async {
        let api = Api::saying("{}").await;
        let url = format!("{}/base%20path/v1", api.url());
        let bridge = Bridge::to(&url).contract(Kitchen::open().contract.clone()).start().await;
        let grpc = tonic::client::Grpc::new(bridge.channel().await);
        (api, bridge, grpc)
    });
    let text = prop_oneof![
        "[ -~]{1,12}",
        "\\PC{1,8}",
        "[./%\\\\?#\\[\\]@!$&'()*+,;=:~^|`{}<>\"]{1,10}",
        any::<String>()
    ];
    let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
    let checked = runner.run(&(text.clone(), text), |(menu, id)| {
        prop_assume!(!menu.is_empty() && menu != "." && menu != "..");
        let message = request("CreateDish", &json!({"menu": menu, "requestId": id}));
        let kitchen = Kitchen::open();
        let planned = kitchen.transcoder.encode(kitchen.index("CreateDish"), &message).unwrap().request;
        let mut grpc = grpc.clone();
        runtime.block_on(async {
            grpc.ready().await.unwrap();
            let path = format!("/{SERVICE}/CreateDish").parse().unwrap();
            let codec = grpc_rest_bridge::codec::BytesCodec;
            grpc.unary(tonic::Request::new(Bytes::from(message)), path, codec).await.unwrap();
        });
        // Probes of the health come between.
        let seen = api.calls().into_iter().rfind(|seen| seen.uri.contains("/menus/")).unwrap();
        prop_assert_eq!(seen.uri, format!("/base%20path/v1{}", planned.uri()));
        Ok(())
    });
    drop(bridge);
    checked.unwrap();
}

/// A contract from this text, in this style.
fn source(text: &str, style: RestStyle) -> Kitchenette {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "syntax = \"proto3\"; package t.v1; import \"google/api/annotations.proto\";\n\
         import \"google/api/field_behavior.proto\"; import \"grpc_rest_bridge/v1/options.proto\";\n{text}"
    );
    std::fs::write(folder.path().join("t.proto"), text).unwrap();
    let protos: Vec<PathBuf> = vec![folder.path().join("t.proto")];
    let contract = Source { protos, style, ..Source::default() }.read().unwrap();
    Kitchenette { transcoder: Transcoder::compile(&contract, Strictness::default()), contract }
}

/// A small contract of one's own.
struct Kitchenette {
    contract: grpc_rest_bridge::contract::Contract,
    /// One for all calls, since it learns in which order fields come.
    transcoder: Transcoder,
}

impl Kitchenette {
    /// The URI and the body that a call becomes.
    fn encode(&self, method: usize, message: &Value) -> (String, String) {
        let request = self.transcoder.encode(method, &self.message(method, message)).unwrap().request;
        (request.uri().to_string(), String::from_utf8(request.body().to_vec()).unwrap())
    }

    /// What is said of a message that is no request.
    fn refusal(&self, method: usize, message: &Value) -> String {
        self.transcoder.encode(method, &self.message(method, message)).unwrap_err().to_string()
    }

    fn message(&self, method: usize, message: &Value) -> Bytes {
        let input = self.contract.methods()[method].descriptor().input();
        ProtoJson::of(&self.contract).read(&input, message.to_string().as_bytes()).unwrap()
    }

    /// What an answer becomes, as the ProtoJSON of the message, or what is said of it.
    fn decode(&self, method: usize, json: &str) -> Result<Value, String> {
        let output = self.contract.methods()[method].descriptor().output();
        let answer = HttpAnswer { content_type: "application/json", body: json.as_bytes() };
        let decoded = self.transcoder.decode(method, 0, &answer).map_err(|mismatch| mismatch.to_string())?;
        let json = ProtoJson::of(&self.contract).write(&output, &decoded.message).unwrap();
        Ok(serde_json::from_slice(json.as_ref()).unwrap())
    }
}

#[test]
fn a_method_can_name_its_own_style() {
    let text = "service S {\n\
        rpc Plain(In) returns (In) { option (google.api.http) = {get: \"/a\"}; }\n\
        rpc Rails(In) returns (In) { option (google.api.http) = {get: \"/a\"}; option (grpc_rest_bridge.v1.rest).style = STYLE_RAILS; }\n\
        rpc Google(In) returns (In) { option (google.api.http) = {post: \"/a\" body: \"inner\"}; option (grpc_rest_bridge.v1.rest) = {style: STYLE_GOOGLE}; }\n\
        }\nmessage In { repeated string two_words = 1; In inner = 2; string call_it = 3 [json_name = \"called\"]; }";
    let message = json!({"twoWords": ["a", "b"], "inner": {"called": "x"}});
    let rails = ("/a?two_words%5B%5D=a&two_words%5B%5D=b&inner%5Bcall_it%5D=x".to_owned(), String::new());
    let google = ("/a?twoWords=a&twoWords=b&inner.called=x".to_owned(), String::new());
    for (style, plain) in [(RestStyle::Rails, &rails), (RestStyle::Google, &google)] {
        let contract = source(text, style);
        assert_eq!(contract.encode(0, &message), *plain);
        assert_eq!(contract.encode(1, &message), rails);
        let body = ("/a?twoWords=a&twoWords=b".to_owned(), r#"{"called":"x"}"#.to_owned());
        assert_eq!(contract.encode(2, &message), body);
    }
}

#[test]
fn a_name_in_a_path_is_that_of_the_proto_and_a_key_is_the_json_name_first() {
    let contract = source(
        "service S { rpc Get(In) returns (In) { option (google.api.http) = {get: \"/a/{id}\"}; } }\n\
         message In { string id = 1 [json_name = \"uuid\"]; string old = 2 [json_name = \"id\"]; int32 n = 3; }",
        RestStyle::Rails,
    );
    let message = json!({"uuid": "U", "id": "old"});
    assert_eq!(contract.encode(0, &message), ("/a/U?old=old".to_owned(), String::new()));
    // Each answer by keys that the one before did not have.
    for answer in [
        json!({"n": 5, "id": "L", "padding": ""}),
        json!({"n": 5, "uuid": "U", "padding": ""}),
        json!({"n": 5, "id": "L", "uuid": "U", "padding": ""}),
        json!({"n": 5, "id": "L", "padding": ""}),
    ] {
        let mut expected = answer.clone();
        expected.as_object_mut().unwrap().remove("padding");
        assert_eq!(contract.decode(0, &answer.to_string()).unwrap(), expected);
    }
}

#[test]
fn a_key_that_needs_escapes_is_one_only_when_it_has_them() {
    let contract = source(
        "service S { rpc Get(In) returns (In) { option (google.api.http) = {get: \"/a\"}; } }\n\
         message In { string a = 1; string b = 2 [json_name = \"x\\\"y\"]; }",
        RestStyle::Rails,
    );
    assert_eq!(contract.decode(0, r#"{"a":"1","x\"y":"2"}"#), Ok(json!({"a": "1", "x\"y": "2"})));
    let said = contract.decode(0, r#"{"a":"1","x"y":"2","padding":"0123456789"}"#).unwrap_err();
    assert_eq!(said, "expected \":\", found \"y\" (line 1, column 13)");
}

#[test]
fn lists_of_free_objects_and_of_lists_are_no_query() {
    let contract = source(
        "import \"google/protobuf/struct.proto\";\n\
         service S { rpc Get(In) returns (In) { option (google.api.http) = {get: \"/a\"}; } }\n\
         message In { repeated google.protobuf.Struct st = 1; repeated google.protobuf.ListValue lv = 2;\n\
         repeated Tags items = 3; }\nmessage Tags { repeated string tags = 1; }",
        RestStyle::Rails,
    );
    for (message, field) in [(json!({"st": [{"a": 1}]}), "st[0]"), (json!({"lv": [[1]]}), "lv[0]")] {
        let said = "is a list or an object in a list, which a query cannot carry";
        assert_eq!(contract.refusal(0, &message), format!("{field} {said}"));
    }
    let one = json!({"items": [{"tags": ["x"]}]});
    assert_eq!(contract.encode(0, &one).0, "/a?items%5B%5D%5Btags%5D%5B%5D=x");
}

#[test]
fn a_required_field_of_the_request_is_sent_at_its_default() {
    let contract = source(
        "service S {\n\
         rpc Get(In) returns (In) { option (google.api.http) = {get: \"/a/{id}\"}; }\n\
         rpc Patch(In) returns (In) { option (google.api.http) = {patch: \"/a/{id}\" body: \"*\"}; }\n\
         rpc Put(In) returns (In) { option (google.api.http) = {put: \"/a/{id}\" body: \"name\"}; }\n\
         }\nmessage In {\n\
         int64 id = 1 [(google.api.field_behavior) = REQUIRED];\n\
         string name = 2 [(google.api.field_behavior) = REQUIRED];\n\
         bool deep = 3 [(google.api.field_behavior) = OPTIONAL, (google.api.field_behavior) = REQUIRED];\n\
         optional int32 maybe = 4 [(google.api.field_behavior) = REQUIRED];\n\
         In inner = 5 [(google.api.field_behavior) = REQUIRED];\n\
         string note = 6; repeated string tags = 7 [(google.api.field_behavior) = REQUIRED]; }",
        RestStyle::Rails,
    );
    for (method, message, uri, body) in [
        (0, json!({}), "/a/0?name=&deep=false", ""),
        (0, json!({"id": 7, "name": "x", "inner": {}}), "/a/7?name=x&deep=false", ""),
        (1, json!({"inner": {}}), "/a/0", r#"{"name":"","deep":false,"inner":{}}"#),
        (2, json!({}), "/a/0?deep=false", r#""""#),
    ] {
        assert_eq!(contract.encode(method, &message), (uri.to_owned(), body.to_owned()), "{message}");
    }
}

/// The one thread for work that takes long is kept busy, so that a large answer has to wait for it; the worker is free.
#[test]
fn a_large_answer_does_not_hold_up_the_calls_beside_it() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let large = format!(r#"{{"stringValue": "{}"}}"#, "a".repeat(1024 * 1024));
        let api = Api::answering(move |seen| {
            let large = large.clone();
            async move { if seen.uri == "/weigh" { json_answer(200, large) } else { json_answer(200, "{}") } }
        })
        .await;
        let bridge = kitchen(&api).await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || held.recv());
        let (weigh, get) = (format!("{SERVICE}/Weigh"), format!("{SERVICE}/GetDish"));
        let mut large = Box::pin(bridge.call(&weigh, &[]));
        let small = request("GetDish", &json!({"name": "id/7"}));
        for _ in 0..20 {
            tokio::select! {
                biased;
                _ = &mut large => panic!("it did not wait"),
                small = bridge.call(&get, &small) => drop(small.unwrap()),
            }
        }
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(large.await.unwrap().into_inner().len(), 1024 * 1024 + 4);
    });
}
