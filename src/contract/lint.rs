//! What a contract says that will not work when it is called: no reason not to serve, but worth a word.

use std::collections::{HashMap, HashSet};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{Body, Contract, Method, RestStyle};
use crate::fault::Fault;

/// The messages that lead to one that contains itself.
#[derive(Default)]
struct Cycles {
    cyclic: HashSet<String>,
    /// The full names of the messages that were come by, and whether all below them is known too.
    known: HashMap<String, bool>,
}

/// One warning for each method and each thing in it that no call can use.
pub(super) fn warnings(contract: &Contract) -> Vec<Fault> {
    let methods = || contract.methods().iter();
    let mut cycles = Cycles::default();
    let in_query = methods().flat_map(|method| query(method, contract.style_of(method), &mut cycles));
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
fn query(method: &Method, style: RestStyle, cycles: &mut Cycles) -> Vec<Fault> {
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
    let (mut seen, mut told) = (HashSet::new(), HashSet::new());
    for field in method.descriptor().input().fields().filter(in_query) {
        if inner(&field).is_some_and(|message| cycles.below(&message)) {
            let mend =
                "it works as deep as a caller nests it; make it the body, or give the query a flat type";
            warnings.push(warn(&field, "whose type contains itself", mend));
        }
        for below in reached(&field, &mut seen) {
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
            // Several fields may lead to one.
            if told.insert(below.full_name().to_owned()) {
                warnings.push(warn(&below, &what, "make it the body"));
            }
        }
    }
    warnings
}

/// The field and all that stand below it, but for those in messages that have been `seen`.
fn reached(field: &FieldDescriptor, seen: &mut HashSet<String>) -> Vec<FieldDescriptor> {
    let mut fields = vec![field.clone()];
    let mut next = 0;
    while next < fields.len() {
        let below = inner(&fields[next]).filter(|_| !fields[next].is_map());
        if let Some(message) = below.filter(|message| seen.insert(message.full_name().to_owned())) {
            fields.extend(message.fields());
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

// === impl Cycles ===

impl Cycles {
    /// Whether `message`, or one below it, contains itself: whether a walk through what stands below it comes by a
    /// message that it has not left yet. It keeps a list of its own, since messages may nest deeper than calls.
    fn below(&mut self, message: &MessageDescriptor) -> bool {
        let mut open = Vec::new();
        self.open(message, &mut open);
        while let Some((name, below)) = open.last_mut() {
            let Some(next) = below.pop() else {
                let found = self.cyclic.contains(name.as_str());
                self.known.insert(std::mem::take(name), true);
                open.pop();
                if let Some((above, _)) = open.last().filter(|_| found) {
                    self.cyclic.insert(above.clone());
                }
                continue;
            };
            match self.known.get(next.full_name()) {
                None => self.open(&next, &mut open),
                Some(is_left) if !is_left || self.cyclic.contains(next.full_name()) => {
                    self.cyclic.insert(name.clone());
                }
                Some(_) => {}
            }
        }
        self.cyclic.contains(message.full_name())
    }

    /// Enters a message, unless it is known.
    fn open(&mut self, message: &MessageDescriptor, open: &mut Vec<(String, Vec<MessageDescriptor>)>) {
        let name = message.full_name();
        if !self.known.contains_key(name) {
            self.known.insert(name.to_owned(), false);
            open.push((name.to_owned(), message.fields().filter_map(|field| inner(&field)).collect()));
        }
    }
}

/// The type of a field that is a message; `Struct` and its like contain themselves too, but have a form of their own.
fn inner(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if message.package_name() != "google.protobuf" => Some(message),
        _ => None,
    }
}
