//! Between protobuf and JSON: request messages become REST requests, answers become messages.
//!
//! The protobuf shore. Everything that can be decided from the contract is decided once, when a
//! [`Transcoder`] is compiled; while a call runs, plans drive two single passes over bytes. Nothing here
//! knows of a network.

mod body;
mod compile;
mod decoder;
mod dynamic;
mod json;
mod key;
mod mismatch;
mod number;
mod path;
mod plain;
mod plan;
mod proto_json;
mod query;
mod refusal;
mod request;
mod response;
mod scalar;
mod survey;
mod tolerance;
mod value;
mod view;
mod well_known;
mod wire;

use bytes::Bytes;
use http::{HeaderValue, Request};

use self::{
    compile::Compiler,
    plan::{MessageId, Schema},
    request::RequestPlan,
    response::ResponsePlan,
    view::View,
};
pub use self::{
    mismatch::Mismatch,
    proto_json::ProtoJson,
    refusal::RequestError,
    survey::{Finding, Found, Survey},
    tolerance::{Strictness, Tolerance, Tolerated},
    wire::WireError,
};
use crate::contract::{Binding, Contract, Method, RestStyle};

/// Both directions of every method of a contract.
#[derive(Debug)]
pub struct Transcoder {
    schema: Schema,
    methods: Vec<MethodPlan>,
    strict: Strictness,
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

/// What a successful answer of the API says.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpAnswer<'a> {
    /// The `Content-Type` header; only `google.api.HttpBody` has a use for it.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// The response message of a call.
#[derive(Debug)]
pub struct Decoded {
    /// The message.
    pub message: Bytes,
    /// What in the answer was not as it should be.
    pub tolerated: Tolerated,
}

// === impl Transcoder ===

impl Transcoder {
    /// Compiles every method of `contract`; methods are known by their index there. `strict` is what is refused
    /// in an answer instead of being tolerated.
    pub fn compile(contract: &Contract, strict: Strictness) -> Self {
        let mut compiler = Compiler::new(contract);
        let methods = contract.methods().iter();
        let methods = methods
            .map(|method| MethodPlan::compile(&mut compiler, method, contract.style_of(method)))
            .collect();
        Self { schema: compiler.finish(), methods, strict }
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
            match request.encode(&self.schema, &view, message) {
                Ok(request) => return Ok(Encoded { request, binding: index }),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| RequestError::unmappable("has no HTTP rule").under("the method")))
    }

    /// Turns a successful answer into the response message.
    ///
    /// # Errors
    /// The first place where the JSON is broken or leaves the contract.
    pub fn decode(
        &self,
        method: usize,
        binding: usize,
        answer: &HttpAnswer<'_>,
    ) -> Result<Decoded, Mismatch> {
        let (_, response) = &self.methods[method].bindings[binding];
        response.decode(&self.schema, self.strict, answer)
    }

    /// Everything in a successful answer that is not as the contract has it, whether or not a call would fail.
    ///
    /// # Errors
    /// The place where the JSON is broken.
    pub fn survey(&self, method: usize, binding: usize, answer: &HttpAnswer<'_>) -> Result<Survey, Mismatch> {
        let (_, response) = &self.methods[method].bindings[binding];
        response.survey(&self.schema, answer)
    }
}

// === impl MethodPlan ===

impl MethodPlan {
    fn compile(compiler: &mut Compiler<'_>, method: &Method, style: RestStyle) -> Self {
        let (input, output) = (method.descriptor().input(), method.descriptor().output());
        let fields = compiler.fields_of(&input);
        let (input, output_kind) = (compiler.kind_of(&input), compiler.kind_of(&output));
        let output_fields = compiler.fields_of(&output);
        let schema = compiler.schema();
        let plans = |binding: &Binding| {
            let field = binding.response_body.as_ref();
            let response = match field {
                field if binding.answers_http_body() => ResponsePlan::HttpBody(field.map(|f| f.number())),
                None => ResponsePlan::Message(output_kind.clone()),
                Some(field) => {
                    let plan = schema.message(output_fields);
                    let slot = plan.slot_numbered(field.number()).unwrap_or_default();
                    ResponsePlan::Field(plan.fields[slot].clone().into())
                }
            };
            // Exactly this: with anything more Rails takes the bridge for a browser and answers errors in HTML.
            let accept = if binding.answers_http_body() { "*/*" } else { "application/json" };
            let accept = HeaderValue::from_static(accept);
            (RequestPlan::compile(schema, &input, fields, binding, style, accept), response)
        };
        Self { input: fields, bindings: method.bindings().iter().map(plans).collect() }
    }
}
