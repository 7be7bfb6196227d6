//! What the fuzz targets share: the kitchen's contract, and what must hold of every request.

use std::sync::LazyLock;

use bytes::Bytes;
use grpc_rest_bridge::{
    contract::{Contract, RestStyle, Source},
    transcode::{Decoded, Encoded, HttpAnswer, Mismatch, Strictness, Survey, Transcoder},
};
use percent_encoding::percent_decode_str;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value, prost::Message,
};

/// The contract of the tests, compiled once for each way to use it.
pub struct Kitchen {
    /// The contract, in the style of Rails.
    pub contract: Contract,
    /// Tolerates everything, and asks in the style of Rails.
    pub tolerant: Transcoder,
    /// Refuses what ProtoJSON refuses, and asks in the style of Google.
    pub proto_json: Transcoder,
    /// Refuses all that can be refused.
    pub strict: Transcoder,
}

// === impl Kitchen ===

impl Kitchen {
    /// The kitchen, compiled at the first call.
    pub fn open() -> &'static Self {
        static KITCHEN: LazyLock<Kitchen> = LazyLock::new(Kitchen::compile);
        &KITCHEN
    }

    fn compile() -> Self {
        let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/protos");
        let source = Source {
            protos: vec![format!("{protos}/kitchen/v1/kitchen.proto").into()],
            includes: vec![protos.into()],
            ..Source::default()
        };
        let contract = source.read().expect("the kitchen is a contract");
        let google = contract.clone().with_style(RestStyle::Google);
        Self {
            tolerant: Transcoder::compile(&contract, Strictness::default()),
            proto_json: Transcoder::compile(&google, Strictness::PROTO_JSON),
            strict: Transcoder::compile(&contract, Strictness::ALL),
            contract,
        }
    }

    /// Its descriptor set without comments and places, which take most of the time to read.
    pub fn bare_set() -> Bytes {
        let descriptor = DescriptorPool::global().get_message_by_name("google.protobuf.FileDescriptorSet");
        let descriptor = descriptor.expect("descriptors have a descriptor");
        let mut set = message(descriptor, Self::open().contract.descriptor_set());
        let files = set.get_field_by_name_mut("file").and_then(Value::as_list_mut);
        for file in files.into_iter().flatten().filter_map(Value::as_message_mut) {
            file.clear_field_by_name("source_code_info");
        }
        set.encode_to_vec().into()
    }

    /// The index of a method.
    pub fn index(&self, method: &str) -> usize {
        let place = self.contract.methods().iter().position(|m| m.descriptor().name() == method);
        place.expect("the kitchen has the method")
    }

    /// The type of what a method answers.
    pub fn output(&self, method: usize) -> MessageDescriptor {
        self.contract.methods()[method].descriptor().output()
    }
}

/// What a body that is JSON becomes.
pub fn decode(transcoder: &Transcoder, method: usize, json: &[u8]) -> Result<Decoded, Mismatch> {
    transcoder.decode(method, 0, &answer(json))
}

/// How a body that is JSON differs from the contract.
pub fn survey(transcoder: &Transcoder, method: usize, json: &[u8]) -> Result<Survey, Mismatch> {
    transcoder.survey(method, 0, &answer(json))
}

fn answer(body: &[u8]) -> HttpAnswer<'_> {
    HttpAnswer { content_type: "application/json", body }
}

/// Panics if a request is none that may be sent: its path must mean the same to whoever resolves it.
pub fn check_request(encoded: &Encoded) {
    let request = &encoded.request;
    let path = request.uri().path();
    assert!(path.starts_with('/'), "the path {path:?} does not begin at the root");
    for segment in path.split('/') {
        let segment: Vec<u8> = percent_decode_str(segment).collect();
        assert!(!matches!(segment.as_slice(), b"." | b".."), "the path {path:?} has a dot segment");
    }
    let json = request.headers().get("content-type").is_some_and(|kind| kind == "application/json");
    // Of an HttpBody the caller says what it is.
    if json && !request.headers().contains_key("accept") {
        let read: Result<serde_json::Value, _> = serde_json::from_slice(request.body());
        assert!(read.is_ok(), "the body is no JSON, {read:?}: {}", request.body().escape_ascii());
    }
}

/// The message that these bytes are, by the reference implementation.
pub fn message(descriptor: MessageDescriptor, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(descriptor, bytes).expect("what was decoded is a message")
}

/// Whether two messages say the same: NaN is NaN, maps have no order, and an `Any` is what it holds.
pub fn same(a: &DynamicMessage, b: &DynamicMessage) -> bool {
    match (held(a), held(b)) {
        (Some((url, Some(a))), Some((other, Some(b)))) => url == other && same(&a, &b),
        // The reference refuses a known field of another wire type, which is an unknown one to everyone else.
        (Some((url, None)), Some((other, _))) => url == other,
        _ => {
            let (a, b) = (fields(a), fields(b));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && same_value(&a.1, &b.1))
        }
    }
}

/// Every field that is set, by its number; `NullValue` has one value only, whatever its number.
fn fields(message: &DynamicMessage) -> Vec<(u32, Value)> {
    let null = |kind: &Kind| matches!(kind, Kind::Enum(e) if e.full_name() == "google.protobuf.NullValue");
    let fields = message.fields().filter_map(|(field, value)| match field.kind() {
        kind if null(&kind) => field.supports_presence().then(|| (field.number(), Value::EnumNumber(0))),
        _ => Some((field.number(), value.clone())),
    });
    let extensions = message.extensions().map(|(field, value)| (field.number(), value.clone()));
    fields.chain(extensions).collect()
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Value::Message(a), Value::Message(b)) => same(a, b),
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
        }
        (a, b) => a == b,
    }
}

/// The type and the content of an `Any` whose type is known, if the reference can read that.
fn held(any: &DynamicMessage) -> Option<(String, Option<DynamicMessage>)> {
    let descriptor = any.descriptor();
    if descriptor.full_name() != "google.protobuf.Any" {
        return None;
    }
    let url = any.get_field_by_name("type_url")?.as_str()?.to_owned();
    let held = descriptor.parent_pool().get_message_by_name(url.rsplit_once('/')?.1)?;
    let content = any.get_field_by_name("value")?.as_bytes()?.clone();
    Some((url, DynamicMessage::decode(held, content).ok()))
}
