//! A public API of 35 methods, served from its `.proto` by the program itself: every method is called.

use std::{collections::HashSet, fs, sync::LazyLock};

use bytes::Bytes;
use grpc_rest_bridge::codec::BytesCodec;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{Api, Program, Seen, json as json_answer};

static CASES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&fs::read_to_string("tests/cases/pubsub.json").unwrap()).unwrap());

fn calls() -> &'static [Value] {
    CASES["calls"].as_array().unwrap()
}

fn pool() -> DescriptorPool {
    let mut compiler = protox::Compiler::new(["proto", "tests/protos"]).unwrap();
    compiler.open_files(["google/pubsub/v1/pubsub.proto", "google/pubsub/v1/schema.proto"]).unwrap();
    compiler.descriptor_pool()
}

fn methods(pool: &DescriptorPool) -> Vec<(String, MethodDescriptor)> {
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods
        .map(|method| (format!("{}/{}", method.parent_service().full_name(), method.name()), method))
        .collect()
}

/// An API that answers each request of the table as the table says, and 404 to all others.
async fn api() -> Api {
    Api::answering(|seen: Seen| async move {
        let call = calls().iter().find(|call| {
            let rest = &call["rest"];
            rest["verb"] == seen.method.as_str() && rest["uri"] == seen.uri && rest["body"] == body(&seen)
        });
        match call.map(|call| &call["answer"]) {
            Some(Value::Null) => json_answer(200, ""),
            Some(answer) => json_answer(200, answer.to_string()),
            None => json_answer(404, "{}"),
        }
    })
    .await
}

fn body(seen: &Seen) -> Value {
    if seen.body.is_empty() { Value::Null } else { serde_json::from_slice(&seen.body).unwrap() }
}

/// The program before the API, with the contract from its files, and a way to call it.
struct Served {
    _program: Program,
    channel: Channel,
    grpc: tonic::client::Grpc<Channel>,
}

impl Served {
    async fn before(api: &Api) -> Self {
        let mut program = Program::start(
            &[
                "serve",
                "--proto",
                "tests/protos/google/pubsub",
                "--rest-style",
                "google",
                "--listen",
                "127.0.0.1:0",
            ],
            &[("BRIDGE_UPSTREAM", &api.url()), ("BRIDGE_LOG_FORMAT", "json")],
        );
        let address = program.address().await;
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { _program: program, grpc: tonic::client::Grpc::new(channel.clone()), channel }
    }

    /// What reflection lists.
    async fn services(&self) -> Vec<String> {
        match self.reflect(MessageRequest::ListServices(String::new())).await {
            MessageResponse::ListServicesResponse(list) => {
                list.service.into_iter().map(|service| service.name).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn reflect(&self, what: MessageRequest) -> MessageResponse {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(what) };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    }

    async fn call(&mut self, method: &str, message: Vec<u8>) -> Result<Bytes, Status> {
        self.grpc.ready().await.unwrap();
        let path = format!("/{method}").parse().unwrap();
        let response = self.grpc.unary(Request::new(Bytes::from(message)), path, BytesCodec).await?;
        Ok(response.into_inner())
    }
}

#[tokio::test]
async fn every_method_of_a_public_api_is_served_from_its_proto() {
    let pool = pool();
    let methods = methods(&pool);
    let api = api().await;
    let mut served = Served::before(&api).await;
    for call in calls() {
        let name = call["method"].as_str().unwrap();
        let (_, method) = methods.iter().find(|(known, _)| known == name).unwrap();
        let request = DynamicMessage::deserialize(method.input(), &call["request"]).unwrap();
        let answer = served.call(name, request.encode_to_vec()).await;
        let seen = api.calls().pop().unwrap();
        let found = json!({"verb": seen.method.as_str(), "uri": seen.uri, "body": body(&seen)});
        assert_eq!(found, call["rest"], "{name} {}", call["request"]);
        let response = DynamicMessage::decode(method.output(), answer.unwrap()).unwrap();
        let expected = DynamicMessage::deserialize(method.output(), &call["response"]).unwrap();
        let [response_json, expected_json] =
            [&response, &expected].map(|message| serde_json::to_value(message).unwrap());
        assert_eq!(response_json, expected_json, "{name}");
        assert_eq!(response.encoded_len(), expected.encoded_len(), "{name}");
    }
}

#[tokio::test]
async fn reflection_and_health_follow_the_contract_that_is_served() {
    let api = api().await;
    let served = Served::before(&api).await;
    let services =
        ["google.pubsub.v1.Publisher", "google.pubsub.v1.SchemaService", "google.pubsub.v1.Subscriber"];
    let mut listed = served.services().await;
    listed.retain(|name| !name.starts_with("grpc."));
    listed.sort();
    assert_eq!(listed, services);
    let mut health = HealthClient::new(served.channel.clone());
    for service in services {
        let request = HealthCheckRequest { service: service.to_owned() };
        // The first probe may be under way.
        let mut updates = health.watch(request).await.unwrap().into_inner();
        while updates.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    }
}

/// Without it `grpcurl` prints the details of errors as bytes.
#[tokio::test]
async fn reflection_has_the_details_of_errors_whatever_the_contract() {
    let served = Served::before(&api().await).await;
    let symbol = MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned());
    let MessageResponse::FileDescriptorResponse(files) = served.reflect(symbol).await else {
        panic!("it is not known")
    };
    let file = prost_types::FileDescriptorProto::decode(files.file_descriptor_proto[0].as_slice()).unwrap();
    assert_eq!(file.package(), "google.rpc");
    assert!(file.message_type.iter().any(|message| message.name() == "ErrorInfo"));
}

#[tokio::test]
async fn a_streaming_method_of_it_is_unimplemented() {
    let api = api().await;
    let mut served = Served::before(&api).await;
    for method in CASES["streaming"].as_array().unwrap() {
        let method = method.as_str().unwrap();
        let status = served.call(method, Vec::new()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{method}");
        assert_eq!(status.message(), format!("{method} streams, which a REST API cannot"));
    }
    assert!(api.calls().is_empty());
}

#[test]
fn the_table_has_every_method() {
    let pool = pool();
    let called = calls().iter().chain(CASES["streaming"].as_array().unwrap());
    let called: HashSet<_> =
        called.map(|call| call.as_str().or(call["method"].as_str()).unwrap().to_owned()).collect();
    let known: HashSet<_> = methods(&pool).into_iter().map(|(name, _)| name).collect();
    assert_eq!(called, known);
    assert!(known.len() >= 30, "{}", known.len());
}
