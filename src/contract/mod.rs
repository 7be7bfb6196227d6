//! The contract: which methods there are, and which HTTP request each one is.
//!
//! The protobuf shore begins here. A descriptor set goes in; out comes a list of [`Method`]s whose HTTP
//! rules have been parsed and checked against their messages, or every [`Fault`] that stands in the way.

mod http_rule;
mod load;
pub mod template;

use bytes::Bytes;
use prost_reflect::MethodDescriptor;

pub use self::http_rule::{Binding, Body};
use crate::fault::Fault;

/// The shop's contract, compiled into the program by `build.rs`.
const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shop.v1.binpb"));

/// Every method that is served, and the descriptors that reflection shows.
#[derive(Debug, Clone)]
pub struct Contract {
    descriptor_set: Bytes,
    services: Vec<String>,
    methods: Vec<Method>,
}

/// One RPC method and the HTTP requests that it can be.
#[derive(Debug, Clone)]
pub struct Method {
    path: String,
    place: String,
    bindings: Vec<Binding>,
    descriptor: MethodDescriptor,
}

// === impl Contract ===

impl Contract {
    /// `shop.v1`, which is served when no other contract is named.
    pub fn embedded() -> Self {
        Self::load(Bytes::from_static(EMBEDDED)).expect("build.rs compiled this contract and a test loads it")
    }

    /// Reads an encoded `google.protobuf.FileDescriptorSet` with all its imports.
    ///
    /// # Errors
    /// Every fault of every HTTP rule at once.
    pub fn load(descriptor_set: Bytes) -> Result<Self, Vec<Fault>> {
        load::load(descriptor_set)
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
