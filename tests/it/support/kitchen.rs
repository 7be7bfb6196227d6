//! The kitchen: a contract that uses what HTTP rules can say, and calls to it by JSON.

use std::sync::LazyLock;

use bytes::Bytes;
use grpc_rest_bridge::{
    contract::{Contract, Source},
    fault::Fault,
    transcode::{Decoded, Encoded, HttpAnswer, Mismatch, RequestError, Strictness, Transcoder},
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::de::DeserializeSeed;

/// The contract and its transcoder.
pub(crate) struct Kitchen {
    pub(crate) contract: Contract,
    pub(crate) transcoder: Transcoder,
    pool: DescriptorPool,
}

impl Kitchen {
    /// The kitchen; it is compiled once.
    pub(crate) fn open() -> &'static Self {
        static KITCHEN: LazyLock<Kitchen> = LazyLock::new(Kitchen::compile);
        &KITCHEN
    }

    fn compile() -> Self {
        let set = compile(&["proto", "tests/protos"], "kitchen/v1/kitchen.proto");
        let contract = Contract::load(set.clone()).unwrap();
        let transcoder = Transcoder::compile(&contract, Strictness::default());
        Self { contract, transcoder, pool: DescriptorPool::decode(set).unwrap() }
    }

    /// The contract that this text is, or what is wrong with it. `body` stands after the usual imports.
    pub(crate) fn load(body: &str) -> Result<Contract, Vec<Fault>> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "syntax = \"proto3\"; package t.v1; import \"google/api/annotations.proto\";\n\
             import \"google/protobuf/struct.proto\"; import \"google/protobuf/any.proto\";\n{body}"
        );
        std::fs::write(folder.path().join("t.proto"), text).unwrap();
        Source { protos: vec![folder.path().join("t.proto")], ..Source::default() }.read()
    }

    pub(crate) fn index(&self, method: &str) -> usize {
        self.contract.methods().iter().position(|m| m.descriptor().name() == method).unwrap()
    }

    pub(crate) fn input(&self, method: &str) -> MessageDescriptor {
        self.contract.methods()[self.index(method)].descriptor().input()
    }

    /// A message from its ProtoJSON, by the reference implementation.
    pub(crate) fn message(&self, name: &str, json: &str) -> Result<DynamicMessage, serde_json::Error> {
        let descriptor = self.pool.get_message_by_name(name).unwrap();
        let mut reader = serde_json::Deserializer::from_str(json);
        let message = descriptor.deserialize(&mut reader)?;
        reader.end()?;
        Ok(message)
    }

    /// The REST request that the request message in `json` becomes.
    pub(crate) fn encode(&self, method: &str, json: &str) -> Result<Encoded, RequestError> {
        let message = self.message(self.input(method).full_name(), json).unwrap();
        self.transcoder.encode(self.index(method), &message.encode_to_vec())
    }

    /// What an answer becomes.
    pub(crate) fn decode(&self, method: &str, json: &str) -> Result<DynamicMessage, Mismatch> {
        let decoded = self.decode_strictly(method, json, Strictness::default())?;
        let output = self.contract.methods()[self.index(method)].descriptor().output();
        let output = self.pool.get_message_by_name(output.full_name()).unwrap();
        Ok(DynamicMessage::decode(output, decoded.message).unwrap())
    }

    /// What an answer becomes where some of it is refused, and what of it was tolerated.
    pub(crate) fn decode_strictly(
        &self,
        method: &str,
        json: &str,
        strict: Strictness,
    ) -> Result<Decoded, Mismatch> {
        let answer = HttpAnswer { content_type: "application/json", body: json.as_bytes() };
        Transcoder::compile(&self.contract, strict).decode(self.index(method), 0, &answer)
    }
}

fn compile(includes: &[&str], file: &str) -> Bytes {
    let mut compiler = protox::Compiler::new(includes).unwrap();
    compiler.include_source_info(true).include_imports(true).open_file(file).unwrap();
    compiler.encode_file_descriptor_set().into()
}
