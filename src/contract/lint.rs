//! What a contract says that will not work when it is called: no reason not to serve, but worth a word.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{Body, Method};
use crate::fault::Fault;

/// One warning for each method and each thing in it that no call can use.
pub(super) fn warnings(methods: &[Method]) -> Vec<Fault> {
    methods
        .iter()
        .filter_map(streaming)
        .chain(methods.iter().filter_map(unmapped))
        .chain(methods.iter().flat_map(query))
        .collect()
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

/// A message that contains itself has no end in a query.
fn query(method: &Method) -> Vec<Fault> {
    let input = method.descriptor().input();
    let in_query = |field: &FieldDescriptor| {
        method.bindings().iter().any(|binding| match &binding.body {
            Body::None => true,
            Body::Whole => false,
            Body::Field(body) => body != field,
        })
    };
    let recursive = input.fields().filter(|field| in_query(field) && contains_itself(field));
    recursive
        .map(|field| {
            let what = format!("the query carries {}, whose type contains itself", field.full_name());
            let mend =
                "it works as deep as a caller nests it; make it the body, or give the query a flat type";
            Fault::new(method.place(), what, mend)
        })
        .collect()
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
