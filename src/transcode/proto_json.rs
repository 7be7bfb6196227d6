//! Messages as ProtoJSON and back, by their names: for people who look at a call, not for calls.

use bytes::Bytes;
use prost_reflect::MessageDescriptor;

use super::{
    HttpAnswer, Mismatch, RequestError, Strictness, body,
    compile::Compiler,
    plan::{Kind, Schema},
    response::ResponsePlan,
    view::View,
};
use crate::contract::{Contract, RestStyle};

/// Every message of a contract.
#[derive(Debug)]
pub struct ProtoJson {
    schema: Schema,
}

// === impl ProtoJson ===

impl ProtoJson {
    /// Compiles every message of `contract`, also those that no method reaches.
    pub fn of(contract: &Contract) -> Self {
        Self { schema: Compiler::new(contract).everything() }
    }

    /// The message that a text spells, by the letter of ProtoJSON.
    ///
    /// # Errors
    /// The first place where the text is no JSON or no such message.
    pub fn read(&self, message: &MessageDescriptor, json: &[u8]) -> Result<Bytes, Mismatch> {
        let plan = ResponsePlan::Message(self.kind(message).clone());
        let answer = HttpAnswer { content_type: "", body: json };
        plan.decode(&self.schema, Strictness::PROTO_JSON, &answer).map(|decoded| decoded.message)
    }

    /// The text that spells a message, with the names of ProtoJSON.
    ///
    /// # Errors
    /// The bytes are no such message, or hold what JSON cannot say.
    pub fn write(&self, message: &MessageDescriptor, bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
        match self.kind(message) {
            Kind::WellKnown(known) => body::well_known(&self.schema, RestStyle::Google, *known, bytes),
            Kind::Message(id) => {
                body::bare(&self.schema, RestStyle::Google, &View::read(&self.schema, *id, bytes)?)
            }
            _ => unreachable!("a message is one of these"),
        }
    }

    fn kind(&self, message: &MessageDescriptor) -> &Kind {
        self.schema.in_any(message.full_name()).expect("every message of the contract was compiled")
    }
}
