//! Between protobuf and JSON: request messages become REST requests, answers become messages.
//!
//! The protobuf shore. Everything that can be decided from the contract is decided once, when a
//! [`Transcoder`] is compiled; while a call runs, plans drive two single passes over bytes. Nothing here
//! knows of a network.

mod body;
mod json;
mod mismatch;
mod number;
mod path;
mod plan;
mod query;
mod refusal;
mod request;
mod response;
mod scalar;
mod value;
mod view;
mod well_known;
mod wire;

use bytes::Bytes;
use http::Request;

pub use self::{mismatch::Mismatch, refusal::RequestError, wire::WireError};
use self::{
    plan::{MessageId, Schema},
    request::RequestPlan,
    response::ResponsePlan,
    view::View,
};
use crate::{
    contract::{Binding, Contract, Method},
    fault::Fault,
};

/// Both directions of every method of a contract.
#[derive(Debug)]
pub struct Transcoder {
    schema: Schema,
    methods: Vec<MethodPlan>,
}

#[derive(Debug)]
struct MethodPlan {
    input: MessageId,
    bindings: Vec<(RequestPlan, ResponsePlan)>,
}

/// The REST request of a call, and by which binding it was made.
#[derive(Debug)]
pub struct Encoded {
    /// The request; its URI is path and query alone.
    pub request: Request<Bytes>,
    /// The index of the binding, which [`Transcoder::decode`] wants back.
    pub binding: usize,
}

// === impl Transcoder ===

impl Transcoder {
    /// Compiles every method of `contract`; methods are known by their index there.
    ///
    /// # Errors
    /// A fault for every field that cannot be transcoded.
    pub fn compile(contract: &Contract) -> Result<Self, Vec<Fault>> {
        let mut schema = Schema::default();
        let mut faults = Vec::new();
        let methods = contract.methods().iter().map(|method| {
            let plan = MethodPlan::compile(&mut schema, method);
            faults.extend(schema.take_unsupported().into_iter().map(|field| {
                Fault::new(
                    method.place(),
                    format!("{} is of type {}, which cannot be transcoded yet", field.field, field.kind),
                    "leave the field out of the contract, or give it a message type of its own",
                )
            }));
            plan
        });
        let methods = methods.collect();
        if faults.is_empty() { Ok(Self { schema, methods }) } else { Err(faults) }
    }

    /// Says a request message as a REST request, by the first binding that can carry it.
    ///
    /// # Errors
    /// The complaint of the first binding, when none can.
    pub fn encode(&self, method: usize, message: &[u8]) -> Result<Encoded, RequestError> {
        let plan = &self.methods[method];
        let view = View::read(&self.schema, plan.input, message)?;
        let mut first_error = None;
        for (index, (request, _)) in plan.bindings.iter().enumerate() {
            match request.encode(&self.schema, &view) {
                Ok(request) => return Ok(Encoded { request, binding: index }),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| RequestError::unmappable("has no HTTP rule").under("the method")))
    }

    /// Turns the JSON of a successful answer into the response message.
    ///
    /// # Errors
    /// The first place where the JSON is broken or leaves the contract.
    pub fn decode(&self, method: usize, binding: usize, json: &[u8]) -> Result<Bytes, Mismatch> {
        let (_, response) = &self.methods[method].bindings[binding];
        response.decode(&self.schema, json)
    }
}

// === impl MethodPlan ===

impl MethodPlan {
    fn compile(schema: &mut Schema, method: &Method) -> Self {
        let input = schema.compile(&method.descriptor().input());
        let output = schema.compile(&method.descriptor().output());
        let plans = |binding: &Binding| {
            let field = binding.response_body.as_ref();
            let field = field.and_then(|field| schema.message(output).slot_numbered(field.number()));
            (RequestPlan::compile(schema, input, binding), ResponsePlan { message: output, field })
        };
        Self { input, bindings: method.bindings().iter().map(plans).collect() }
    }
}
