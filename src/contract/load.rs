//! A descriptor set, turned into methods.

use bytes::Bytes;
use prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor, ServiceDescriptor};

use super::{Contract, Method, http_rule};
use crate::{fault::Fault, google::api::HttpRule};

/// The extension that carries the HTTP rule of a method.
const HTTP_EXTENSION: &str = "google.api.http";

/// Reads every service of the encoded `google.protobuf.FileDescriptorSet`.
pub(super) fn load(descriptor_set: Bytes) -> Result<Contract, Vec<Fault>> {
    let pool = DescriptorPool::decode(descriptor_set.clone()).map_err(|error| {
        vec![Fault::new(
            "descriptor set",
            format!("cannot be read: {error}"),
            "write it with all its imports, e.g. buf build --as-file-descriptor-set",
        )]
    })?;
    let extension = pool.get_extension_by_name(HTTP_EXTENSION);
    let mut faults = Vec::new();
    let mut methods = Vec::new();
    let services: Vec<_> = pool.services().filter(has_rules(extension.as_ref())).collect();
    for method in services.iter().flat_map(ServiceDescriptor::methods) {
        methods.push(compile(method, extension.as_ref(), &mut faults));
    }
    if methods.is_empty() {
        faults.push(Fault::new(
            "contract",
            "no method carries google.api.http, so there is nothing to serve",
            "annotate a method, such as option (google.api.http) = {get: \"/products\"}",
        ));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let services = services.iter().map(|service| service.full_name().to_owned()).collect();
    Ok(Contract { descriptor_set, services, methods })
}

/// A service without a single rule is not the bridge's to serve (health and reflection may stand in the set).
fn has_rules(extension: Option<&ExtensionDescriptor>) -> impl Fn(&ServiceDescriptor) -> bool {
    move |service| service.methods().any(|method| rule(&method, extension).is_some())
}

fn compile(
    method: MethodDescriptor,
    extension: Option<&ExtensionDescriptor>,
    faults: &mut Vec<Fault>,
) -> Method {
    let place = place(&method);
    let bindings = match rule(&method, extension) {
        Some(rule) => http_rule::resolve(&rule, &method, &place, faults),
        None => Vec::new(),
    };
    Method {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        place,
        bindings,
        descriptor: method,
    }
}

fn rule(method: &MethodDescriptor, extension: Option<&ExtensionDescriptor>) -> Option<HttpRule> {
    let options = method.options();
    let extension = extension.filter(|extension| options.has_extension(extension))?;
    options.get_extension(extension).as_message()?.transcode_to().ok()
}

/// `file:line:column` of the method where the set has source info, else its name.
fn place(method: &MethodDescriptor) -> String {
    let file = method.parent_file();
    let proto = file.file_descriptor_proto();
    let location =
        proto.source_code_info.iter().flat_map(|info| &info.location).find(|l| l.path == method.path());
    match location.map(|location| location.span.as_slice()) {
        Some([line, column, ..]) => {
            format!("{}:{}:{}: {}", proto.name(), line + 1, column + 1, method.full_name())
        }
        _ => method.full_name().to_owned(),
    }
}
