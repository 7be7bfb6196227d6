//! The body of a successful answer to the response message.

use bytes::Bytes;

use super::{
    Decoded, HttpAnswer,
    decoder::Decoder,
    mismatch::Mismatch,
    plan::{FieldPlan, Kind, Schema},
    survey::Survey,
    tolerance::{Strictness, Tolerated},
    wire::{self, Type},
};

/// How to read the HTTP body of one binding.
#[derive(Debug, Clone)]
pub(super) enum ResponsePlan {
    /// JSON of the whole message.
    Message(Kind),
    /// JSON of one field.
    Field(Box<FieldPlan>),
    /// Any bytes, as the `google.api.HttpBody` that the response is, or that is its field of this number.
    HttpBody(Option<u32>),
}

// === impl ResponsePlan ===

impl ResponsePlan {
    /// Turns a successful answer into the message; no body is the empty message.
    pub(super) fn decode(
        &self,
        schema: &Schema,
        strict: Strictness,
        answer: &HttpAnswer<'_>,
    ) -> Result<Decoded, Mismatch> {
        if let Self::HttpBody(field) = self {
            let message = http_body(*field, answer);
            return Ok(Decoded { message, tolerated: Tolerated::default() });
        }
        let json = answer.body;
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Decoded { message: Bytes::new(), tolerated: Tolerated::default() });
        }
        let decoded = Decoder::<false>::new(schema, strict, json).and_then(|mut decoder| {
            let message = decoder.answer(self, json.len())?;
            Ok(Decoded { message, tolerated: decoder.tolerated })
        });
        decoded.map_err(|complaint| complaint.into_mismatch(json))
    }

    /// Everything in the answer that is not as the contract has it.
    pub(super) fn survey(&self, schema: &Schema, answer: &HttpAnswer<'_>) -> Result<Survey, Mismatch> {
        let json = answer.body;
        if matches!(self, Self::HttpBody(_)) || json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Survey::default());
        }
        let surveyed = Decoder::<true>::new(schema, Strictness::default(), json).and_then(|mut decoder| {
            decoder.answer(self, json.len())?;
            Ok(std::mem::take(&mut decoder.survey))
        });
        surveyed.map_err(|complaint| complaint.into_mismatch(json))
    }
}

fn http_body(field: Option<u32>, answer: &HttpAnswer<'_>) -> Bytes {
    let mut content = Vec::with_capacity(answer.body.len() + answer.content_type.len() + 16);
    for (number, part) in [(1, answer.content_type.as_bytes()), (2, answer.body)] {
        if !part.is_empty() {
            wire::put_tag(number, Type::Bytes, &mut content);
            wire::put_bytes(part, &mut content);
        }
    }
    let Some(number) = field else { return content.into() };
    let mut message = Vec::with_capacity(content.len() + 16);
    wire::put_tag(number, Type::Bytes, &mut message);
    wire::put_bytes(&content, &mut message);
    message.into()
}
