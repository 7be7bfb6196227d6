//! What a contract says that will not work when it is called: no reason not to serve, but worth a word.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{Body, Contract, Method, RestStyle};
use crate::fault::Fault;

/// One warning for each method and each thing in it that no call can use.
pub(super) fn warnings(contract: &Contract) -> Vec<Fault> {
    let methods = || contract.methods().iter();
    let in_query = methods().flat_map(|method| query(method, contract.style_of(method)));
    methods().filter_map(streaming).chain(methods().filter_map(unmapped)).chain(in_query).collect()
}

fn streaming(method: &Method) -> Option<Fault> {
    let what = "streams, which a REST API cannot: calls are answered UNIMPLEMENTED";
    method.is_streaming().then(|| Fault::new(method.place(), what, "make it unary to serve it"))
}

fn unmapped(method: &Method) -> Option<Fault> {
    let what = "has no HTTP rule: calls are answered UNIMPLEMENTED";
    (method.bindings().is_empty() && !method.is_streaming())
        .then(|| Fault::new(method.place(), what, "annotate it with google.api.http to serve it"))
}

/// What a query cannot carry, or has no end in one.
fn query(method: &Method, style: RestStyle) -> Vec<Fault> {
    let in_query = |field: &FieldDescriptor| {
        method.bindings().iter().any(|binding| match &binding.body {
            Body::None => true,
            Body::Whole => false,
            Body::Field(body) => body != field,
        })
    };
    let warn = |field: &FieldDescriptor, what: &str, mend: &str| {
        let what = format!("the query carries {}, {what}", field.full_name());
        Fault::new(method.place(), what, mend)
    };
    let mut warnings = Vec::new();
    for field in method.descriptor().input().fields().filter(in_query) {
        if contains_itself(&field) {
            let mend =
                "it works as deep as a caller nests it; make it the body, or give the query a flat type";
            warnings.push(warn(&field, "whose type contains itself", mend));
        }
        for below in reached(&field) {
            let what = match style {
                RestStyle::Google if below.is_map() => "a map",
                RestStyle::Google if below.is_list() && inner(&below).is_some() => "a list of messages",
                RestStyle::Google if is_free(&below, &["Struct", "Value", "ListValue", "Any"]) => {
                    "which is free in form"
                }
                RestStyle::Rails if is_free(&below, &["Any"]) => "which is of any type",
                _ => continue,
            };
            let what = format!("{what}: a call that sets it is answered INVALID_ARGUMENT");
            let warning = warn(&below, &what, "make it the body");
            // Several fields may lead to one.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}

/// The field and all that stand below it.
fn reached(field: &FieldDescriptor) -> Vec<FieldDescriptor> {
    let mut fields = vec![field.clone()];
    let mut seen = Vec::new();
    let mut next = 0;
    while next < fields.len() {
        let below = inner(&fields[next]).filter(|_| !fields[next].is_map());
        if let Some(message) = below.filter(|message| !seen.contains(message)) {
            fields.extend(message.fields());
            seen.push(message);
        }
        next += 1;
    }
    fields
}

fn is_free(field: &FieldDescriptor, names: &[&str]) -> bool {
    match field.kind() {
        Kind::Message(message) => {
            let name = message.full_name().strip_prefix("google.protobuf.");
            name.is_some_and(|name| names.contains(&name))
        }
        _ => false,
    }
}

/// Whether a message below `field` contains itself.
fn contains_itself(field: &FieldDescriptor) -> bool {
    let Some(start) = inner(field) else { return false };
    let mut seen = vec![start];
    let mut next = 0;
    while next < seen.len() {
        for below in seen[next].fields().filter_map(|field| inner(&field)).collect::<Vec<_>>() {
            if !seen.contains(&below) {
                seen.push(below);
            }
        }
        next += 1;
    }
    seen.iter().any(|message| reaches(message, message))
}

fn reaches(from: &MessageDescriptor, wanted: &MessageDescriptor) -> bool {
    let mut seen = Vec::new();
    let mut open = vec![from.clone()];
    while let Some(message) = open.pop() {
        for below in message.fields().filter_map(|field| inner(&field)) {
            if below == *wanted {
                return true;
            }
            if !seen.contains(&below) {
                seen.push(below.clone());
                open.push(below);
            }
        }
    }
    false
}

/// The type of a field that is a message; `Struct` and its like contain themselves too, but have a form of their own.
fn inner(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if message.package_name() != "google.protobuf" => Some(message),
        _ => None,
    }
}
