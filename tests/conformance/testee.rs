//! The side of the suite that is tested: messages in, what the transcoder makes of them out.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    path::Path,
};

use grpc_rest_bridge::{
    contract::{Contract, RestStyle, Source},
    transcode::{HttpAnswer, RequestError, Strictness, Tolerance, Transcoder},
};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

/// `conformance.ConformanceRequest`, as far as it is of use here.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(bytes, optional, tag = "1")]
    protobuf: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    json: Option<String>,
    #[prost(int32, tag = "3")]
    output: i32,
    #[prost(string, tag = "4")]
    message_type: String,
    #[prost(int32, tag = "5")]
    category: i32,
}

const OUTPUT_PROTOBUF: i32 = 1;
const OUTPUT_JSON: i32 = 2;
const CATEGORY_IGNORE_UNKNOWN: i32 = 3;

/// `conformance.ConformanceResponse`.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(oneof = "Outcome", tags = "1, 2, 3, 4, 5, 6")]
    outcome: Option<Outcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Outcome {
    #[prost(string, tag = "1")]
    ParseError(String),
    #[prost(string, tag = "2")]
    RuntimeError(String),
    #[prost(bytes, tag = "3")]
    Protobuf(Vec<u8>),
    #[prost(string, tag = "4")]
    Json(String),
    #[prost(string, tag = "5")]
    Skipped(String),
    #[prost(string, tag = "6")]
    SerializeError(String),
}

/// A contract with a method for each test message, whose request and response are that message and whose body is
/// the whole of it.
struct Testee {
    methods: HashMap<String, usize>,
    strict: Transcoder,
    ignoring_unknown: Transcoder,
}

/// Answers the requests on standard input until there are no more.
pub(crate) fn run(messages: &Path) {
    let testee = Testee::over(messages);
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(request) = read(&mut input) {
        let outcome = testee.outcome(&Request::decode(request.as_slice()).unwrap());
        let response = Response { outcome: Some(outcome) }.encode_to_vec();
        output.write_all(&u32::try_from(response.len()).unwrap().to_le_bytes()).unwrap();
        output.write_all(&response).unwrap();
        output.flush().unwrap();
    }
}

fn read(input: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length).ok()?;
    let mut request = vec![0; u32::from_le_bytes(length) as usize];
    input.read_exact(&mut request).ok()?;
    Some(request)
}

impl Testee {
    fn over(messages: &Path) -> Self {
        let contract = contract(fs::read(messages).unwrap());
        let methods = contract.methods().iter().enumerate();
        let methods =
            methods.map(|(index, method)| (method.descriptor().input().full_name().to_owned(), index));
        let strict = Strictness::PROTO_JSON;
        let ignoring = strict.without(Tolerance::UnknownField).without(Tolerance::UnknownEnumValue);
        Self {
            methods: methods.collect(),
            strict: Transcoder::compile(&contract, strict),
            ignoring_unknown: Transcoder::compile(&contract, ignoring),
        }
    }

    fn outcome(&self, request: &Request) -> Outcome {
        let Some(method) = self.methods.get(&request.message_type) else {
            return Outcome::RuntimeError(format!("there is no message {}", request.message_type));
        };
        let transcoder = match request.category {
            CATEGORY_IGNORE_UNKNOWN => &self.ignoring_unknown,
            _ => &self.strict,
        };
        match (&request.protobuf, &request.json, request.output) {
            (Some(message), _, OUTPUT_JSON) => to_json(transcoder, *method, message),
            (_, Some(json), OUTPUT_PROTOBUF | OUTPUT_JSON) => {
                let answer = HttpAnswer { content_type: "application/json", body: json.as_bytes() };
                match transcoder.decode(*method, 0, &answer) {
                    Err(mismatch) => Outcome::ParseError(mismatch.to_string()),
                    Ok(decoded) if request.output == OUTPUT_JSON => {
                        to_json(transcoder, *method, &decoded.message)
                    }
                    Ok(decoded) => Outcome::Protobuf(decoded.message.to_vec()),
                }
            }
            _ => Outcome::Skipped("the bridge has JSON on one side".to_owned()),
        }
    }
}

fn to_json(transcoder: &Transcoder, method: usize, message: &[u8]) -> Outcome {
    match transcoder.encode(method, message) {
        Ok(encoded) => Outcome::Json(String::from_utf8(encoded.request.body().to_vec()).unwrap()),
        Err(error @ RequestError::Malformed(_)) => Outcome::ParseError(error.to_string()),
        Err(error @ RequestError::Unmappable { .. }) => Outcome::SerializeError(error.to_string()),
    }
}

fn contract(messages: Vec<u8>) -> Contract {
    let set = FileDescriptorSet::decode(messages.as_slice()).unwrap();
    let mut dependency = Vec::new();
    let mut method = Vec::new();
    let mut rules = "http:\n  rules:\n".to_owned();
    for file in &set.file {
        for message in file.message_type.iter().filter(|message| message.name().starts_with("TestAllTypes")) {
            let name = format!("M{}", method.len());
            rules.push_str(&format!("  - {{selector: suite.v1.Suite.{name}, post: /m, body: \"*\"}}\n"));
            let message = Some(format!(".{}.{}", file.package(), message.name()));
            dependency.push(file.name().to_owned());
            method.push(MethodDescriptorProto {
                name: Some(name),
                input_type: message.clone(),
                output_type: message,
                ..MethodDescriptorProto::default()
            });
        }
    }
    let service = ServiceDescriptorProto {
        name: Some("Suite".to_owned()),
        method,
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("suite.proto".to_owned()),
        package: Some("suite.v1".to_owned()),
        syntax: Some("proto3".to_owned()),
        dependency,
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    // Two sets one after the other are one set with the files of both.
    let service = FileDescriptorSet { file: vec![file] }.encode_to_vec();
    let folder = tempfile::tempdir().unwrap();
    let (descriptor_set, service_config) =
        (folder.path().join("set.binpb"), folder.path().join("rules.yaml"));
    fs::write(&descriptor_set, [messages, service].concat()).unwrap();
    fs::write(&service_config, rules).unwrap();
    let source = Source {
        descriptor_set: Some(descriptor_set),
        service_config: Some(service_config),
        style: RestStyle::Google,
        ..Source::default()
    };
    source.read().unwrap_or_else(|faults| panic!("{faults:?}"))
}
