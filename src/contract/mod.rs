//! The contract: which methods there are, and which HTTP request each one is.
//!
//! The protobuf shore begins here. A descriptor set goes in; out comes a list of [`Method`]s whose HTTP
//! rules have been parsed and checked against their messages, or every [`Fault`] that stands in the way.

mod complaint;
mod editions;
mod http_rule;
mod lint;
mod load;
mod place;
mod protos;
mod service_config;
mod source;
pub mod template;
mod words;

use std::collections::HashSet;

use bytes::Bytes;
use prost_reflect::{
    DescriptorPool, FieldDescriptor, MethodDescriptor,
    prost_types::{MethodOptions, method_options::IdempotencyLevel},
};

pub use self::{
    http_rule::{Binding, Body},
    source::Source,
};
use self::{load::Input, place::Texts, service_config::ServiceConfig};
use crate::fault::Fault;

/// The shop's contract, compiled into the program by `build.rs`.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shop.v1.binpb"));

/// Every method that is served, and the descriptors that reflection shows.
#[derive(Debug, Clone)]
pub struct Contract {
    descriptor_set: Bytes,
    services: Vec<String>,
    methods: Vec<Method>,
    pool: DescriptorPool,
    style: RestStyle,
    /// The full names of singular fields of editions whose default value is the same as none.
    implicit: HashSet<String>,
}

/// One RPC method and the HTTP requests that it can be.
#[derive(Debug, Clone)]
pub struct Method {
    path: String,
    place: String,
    bindings: Vec<Binding>,
    style: Option<RestStyle>,
    descriptor: MethodDescriptor,
}

/// How names, lists and nesting are written in a query and in a JSON body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestStyle {
    /// Names as in the `.proto`, `tags[]=a&tags[]=b`, `filter[brand]=x`: what Rails, Rack and PHP read.
    #[default]
    Rails,
    /// Names in lowerCamelCase, `tags=a&tags=b`, `filter.brand=x`: what `google/api/http.proto` says.
    Google,
}

// === impl Contract ===

impl Contract {
    /// `shop.v1`, which is served when no other contract is named.
    pub fn embedded() -> Self {
        Self::load(Self::embedded_set()).expect("build.rs compiled this contract and a test loads it")
    }

    /// Reads an encoded `google.protobuf.FileDescriptorSet` with all its imports.
    ///
    /// # Errors
    /// Every fault of every HTTP rule at once.
    pub fn load(descriptor_set: Bytes) -> Result<Self, Vec<Fault>> {
        let (texts, config) = (Texts::default(), ServiceConfig::default());
        Self::check(&Input { descriptor_set, texts, config, services: &[], partial: false })
    }

    /// The same, with the rules of a service configuration; `file` is what faults call it.
    ///
    /// # Errors
    /// Every fault of the configuration, or of the HTTP rules.
    pub fn load_configured(
        descriptor_set: Bytes,
        file: &str,
        service_config: &str,
    ) -> Result<Self, Vec<Fault>> {
        let config = ServiceConfig::read(file, service_config)?;
        Self::check(&Input { descriptor_set, texts: Texts::default(), config, services: &[], partial: false })
    }

    fn check(input: &Input<'_>) -> Result<Self, Vec<Fault>> {
        load::load(input)
    }

    fn embedded_set() -> Bytes {
        Bytes::from_static(EMBEDDED)
    }

    /// The encoded descriptor set, annotations and comments included.
    pub fn descriptor_set(&self) -> &Bytes {
        &self.descriptor_set
    }

    /// The full names of the services.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// The methods, in the order of the contract.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The index of the method that is called `name`: `service/method`, `service.method`, or the method alone where
    /// that is enough.
    ///
    /// # Errors
    /// The names that it could be; all of them where it is none.
    pub fn method_named(&self, name: &str) -> Result<usize, Vec<&str>> {
        let wanted = name.trim_start_matches('/').replacen('/', ".", 1);
        let full = |method: &Method| method.descriptor.full_name().to_owned();
        if let Some(index) = self.methods.iter().position(|method| full(method) == wanted) {
            return Ok(index);
        }
        let suffix = format!(".{wanted}");
        let alike: Vec<_> =
            (0..self.methods.len()).filter(|i| full(&self.methods[*i]).ends_with(&suffix)).collect();
        match alike.as_slice() {
            [index] => Ok(*index),
            [] => Err(self.methods.iter().map(Method::name).collect()),
            several => Err(several.iter().map(|index| self.methods[*index].name()).collect()),
        }
    }

    /// What will not work when it is called, though it keeps nothing from being served.
    pub fn warnings(&self) -> Vec<Fault> {
        lint::warnings(self)
    }

    /// The same contract with this style for each method that does not name its own.
    pub fn with_style(self, style: RestStyle) -> Self {
        Self { style, ..self }
    }

    /// How the API behind `method` wants to be asked.
    pub fn style_of(&self, method: &Method) -> RestStyle {
        method.style.unwrap_or(self.style)
    }

    /// Every descriptor of the contract.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// Whether a value of `field` that equals the default differs from none.
    pub(crate) fn has_presence(&self, field: &FieldDescriptor) -> bool {
        field.supports_presence() && !self.implicit.contains(field.full_name())
    }
}

// === impl Method ===

impl Method {
    /// The gRPC path, such as `/shop.v1.ProductService/GetProduct`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The full name as `service/method`, which is what logs and errors call it.
    pub fn name(&self) -> &str {
        &self.path[1..]
    }

    /// Where it is declared: `file:line:column` if known.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The HTTP requests that it can be, to be tried in order; none means that it is not mapped.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// Whether it streams in either direction, which REST cannot.
    pub fn is_streaming(&self) -> bool {
        self.descriptor.is_client_streaming() || self.descriptor.is_server_streaming()
    }

    /// What calling it twice does, as it is declared.
    pub fn idempotency(&self) -> IdempotencyLevel {
        let options = self.descriptor.method_descriptor_proto().options.as_ref();
        options.map_or(IdempotencyLevel::IdempotencyUnknown, MethodOptions::idempotency_level)
    }

    /// The descriptor.
    pub fn descriptor(&self) -> &MethodDescriptor {
        &self.descriptor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_contract_is_the_shop() {
        let contract = Contract::embedded();
        assert_eq!(contract.services(), ["shop.v1.ProductService"]);
        let routes: Vec<_> = contract
            .methods()
            .iter()
            .map(|m| (m.path(), m.bindings()[0].verb.as_str(), m.bindings()[0].template.to_string()))
            .collect();
        assert_eq!(
            routes,
            [
                ("/shop.v1.ProductService/ListProducts", "GET", "/products".to_owned()),
                ("/shop.v1.ProductService/GetProduct", "GET", "/products/{id}".to_owned()),
            ]
        );
    }
}
