//! What the benchmarks measure: one JSON answer, turned into the bytes of its message in three ways.

pub mod answers;

use std::path::PathBuf;

use bytes::Bytes;
use grpc_rest_bridge::{
    contract::{Contract, Source},
    transcode::{HttpAnswer, Strictness, Transcoder},
};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde::de::{DeserializeOwned, DeserializeSeed};

/// Generated messages with pbjson's serde code.
#[allow(missing_docs, clippy::all)]
pub mod generated {
    pub mod shop {
        include!(concat!(env!("OUT_DIR"), "/shop.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/shop.v1.serde.rs"));
    }
    pub mod wide {
        include!(concat!(env!("OUT_DIR"), "/wide.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/wide.v1.serde.rs"));
    }
}

/// One method of a contract, whose answers are transcoded.
pub struct Subject {
    transcoder: Transcoder,
    method: usize,
    output: MessageDescriptor,
}

impl Subject {
    /// A method of the shop or of `wide.proto`, by its name.
    pub fn named(method: &str) -> Self {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let protos =
            vec![here.join("../proto/shop/v1/product_service.proto"), here.join("protos/wide/v1/wide.proto")];
        let contract: Contract =
            Source { protos, ..Source::default() }.read().expect("both contracts are sound");
        let method =
            contract.methods().iter().position(|m| m.descriptor().name() == method).expect("it is there");
        let output = contract.methods()[method].descriptor().output();
        Self { transcoder: Transcoder::compile(&contract, Strictness::default()), method, output }
    }

    /// As the bridge does it.
    pub fn bridge(&self, json: &[u8]) -> Bytes {
        let answer = HttpAnswer { content_type: "application/json", body: json };
        self.transcoder.decode(self.method, 0, &answer).expect("the answer is sound").message
    }

    /// By `prost-reflect`: a dynamic message, encoded.
    pub fn dynamic(&self, json: &[u8]) -> Vec<u8> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let message: DynamicMessage =
            self.output.clone().deserialize(&mut reader).expect("the answer is sound");
        reader.end().expect("nothing follows");
        message.encode_to_vec()
    }
}

/// By generated code: pbjson's serde implementation, read by `serde_json` and encoded by `prost`.
pub fn generated<M: Message + DeserializeOwned>(json: &[u8]) -> Vec<u8> {
    let message: M = serde_json::from_slice(json).expect("the answer is sound");
    message.encode_to_vec()
}
