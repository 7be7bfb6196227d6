//! A descriptor set, turned into methods.

use bytes::Bytes;
use prost_reflect::{DescriptorPool, ExtensionDescriptor, MethodDescriptor, ServiceDescriptor, Value};

use super::{
    Contract, Method, RestStyle, editions, http_rule,
    place::{Site, Texts, method_place},
    service_config::ServiceConfig,
};
use crate::{fault::Fault, google::api::HttpRule};

/// The extension that carries the HTTP rule of a method.
const HTTP_EXTENSION: &str = "google.api.http";
const HTTP_OPTION: i32 = 72_295_728;
/// The extension that carries what a contract tells this bridge alone.
const REST_EXTENSION: &str = "grpc_rest_bridge.v1.rest";

/// Everything that a contract is made from.
pub(super) struct Input<'a> {
    pub(super) descriptor_set: Bytes,
    pub(super) texts: Texts,
    pub(super) config: ServiceConfig,
    pub(super) services: &'a [String],
    /// Whether files are missing in it, so that what is not found may well be there.
    pub(super) partial: bool,
}

struct Loader<'a> {
    input: &'a Input<'a>,
    http: Option<ExtensionDescriptor>,
    rest: Option<ExtensionDescriptor>,
    faults: Vec<Fault>,
}

/// Checks every rule of every service that is served.
pub(super) fn load(input: &Input<'_>) -> Result<Contract, Vec<Fault>> {
    let unreadable = |error: String| {
        let mend = "write it with all its imports, e.g. buf build --as-file-descriptor-set";
        vec![Fault::new("descriptor set", format!("cannot be read: {error}"), mend)]
    };
    let lowered = editions::lower(&input.descriptor_set).map_err(unreadable)?;
    let pool =
        DescriptorPool::decode(lowered.descriptor_set).map_err(|error| unreadable(error.to_string()))?;
    let mut loader = Loader {
        input,
        http: pool.get_extension_by_name(HTTP_EXTENSION),
        rest: pool.get_extension_by_name(REST_EXTENSION),
        faults: Vec::new(),
    };
    if !input.partial {
        loader.faults = input.config.without_method(|name| method_named(&pool, name));
    }
    let services = loader.services(&pool);
    let methods: Vec<_> =
        services.iter().flat_map(ServiceDescriptor::methods).map(|method| loader.method(method)).collect();
    if methods.is_empty() && loader.faults.is_empty() && !input.partial {
        loader.faults.push(Fault::new(
            "contract",
            "no method has an HTTP rule, so there is nothing to serve",
            "annotate a method, such as option (google.api.http) = {get: \"/products\"}, or give --service-config",
        ));
    }
    if !loader.faults.is_empty() {
        return Err(loader.faults);
    }
    Ok(Contract {
        descriptor_set: input.descriptor_set.clone(),
        services: services.iter().map(|service| service.full_name().to_owned()).collect(),
        methods,
        implicit: lowered.implicit,
        pool,
        style: RestStyle::default(),
    })
}

fn method_named(pool: &DescriptorPool, name: &str) -> bool {
    let Some((service, method)) = name.rsplit_once('.') else { return false };
    let service = pool.get_service_by_name(service);
    service.is_some_and(|service| service.methods().any(|known| known.name() == method))
}

// === impl Loader ===

impl Loader<'_> {
    /// The services that were asked for, or all that have a rule: one without is not the bridge's to serve
    /// (health and reflection may stand in the set).
    fn services(&mut self, pool: &DescriptorPool) -> Vec<ServiceDescriptor> {
        if self.input.services.is_empty() {
            return pool.services().filter(|service| service.methods().any(|m| self.has_rule(&m))).collect();
        }
        let mut services = Vec::new();
        for name in self.input.services {
            match pool.get_service_by_name(name) {
                Some(service) => services.push(service),
                None if self.input.partial => {}
                None => {
                    let known: Vec<_> = pool.services().map(|s| s.full_name().to_owned()).collect();
                    let mend = format!("the contract has: {}", known.join(", "));
                    self.faults.push(Fault::new(
                        "--service",
                        format!("the contract has no service {name:?}"),
                        mend,
                    ));
                }
            }
        }
        services
    }

    fn has_rule(&self, method: &MethodDescriptor) -> bool {
        let annotated = self.http.as_ref().is_some_and(|http| method.options().has_extension(http));
        annotated || self.input.config.rule(method.full_name()).is_some()
    }

    fn method(&mut self, method: MethodDescriptor) -> Method {
        let bindings = match self.rule(&method) {
            Ok(Some((rule, site))) => http_rule::resolve(&rule, &method, &site, &mut self.faults),
            Ok(None) => Vec::new(),
            Err(fault) => {
                self.faults.push(fault);
                Vec::new()
            }
        };
        Method {
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            place: method_place(&method),
            bindings,
            style: self.style(&method),
            descriptor: method,
        }
    }

    /// The rule that counts: that of the service configuration, else the annotation.
    fn rule(&self, method: &MethodDescriptor) -> Result<Option<(HttpRule, Site)>, Fault> {
        if let Some(rule) = self.input.config.rule(method.full_name()) {
            return Ok(Some(rule.clone()));
        }
        let options = method.options();
        let Some(http) = self.http.as_ref().filter(|http| options.has_extension(http)) else {
            return Ok(None);
        };
        let site = Site::of_option(method, HTTP_OPTION, &self.input.texts);
        let rule = options.get_extension(http).as_message().and_then(|rule| rule.transcode_to().ok());
        match rule {
            Some(rule) => Ok(Some((rule, site))),
            None => Err(site.fault(
                "its google.api.http is no google.api.HttpRule",
                "import google/api/annotations.proto as Google publishes it, not one with other fields",
            )),
        }
    }

    fn style(&self, method: &MethodDescriptor) -> Option<RestStyle> {
        let options = method.options();
        let rest = self.rest.as_ref().filter(|rest| options.has_extension(rest))?;
        let style = options.get_extension(rest).as_message()?.get_field_by_name("style")?.into_owned();
        match style {
            Value::EnumNumber(1) => Some(RestStyle::Rails),
            Value::EnumNumber(2) => Some(RestStyle::Google),
            _ => None,
        }
    }
}
