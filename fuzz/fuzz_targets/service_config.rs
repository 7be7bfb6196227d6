//! Any text as a service configuration of the kitchen; after a zero byte, rules that are nearly right.
#![no_main]

use std::{iter, sync::LazyLock};

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use grpc_rest_bridge::{
    contract::Contract,
    transcode::{Strictness, Transcoder},
};
use grpc_rest_bridge_fuzz::{Kitchen, check_request};
use libfuzzer_sys::fuzz_target;
use prost_reflect::{Kind, MessageDescriptor, MethodDescriptor};

/// A rule for one of the methods, by its index.
#[derive(Arbitrary)]
struct Rule(u8, Binding, Vec<Binding>);

// Of each enum the first stands for what there were no more bytes for, so it is the one that is right.
#[derive(Arbitrary)]
struct Binding {
    verb: Verb,
    path: (Segment, Vec<Segment>),
    path_verb: Option<String>,
    body: Name,
    response_body: Name,
}

#[derive(Arbitrary)]
enum Verb {
    Get,
    Put,
    Post,
    Delete,
    Patch,
    Custom(String),
    None,
}

#[derive(Arbitrary)]
enum Segment {
    Word,
    Text(String),
    One,
    Many,
    Variable(Name, Vec<Segment>),
}

#[derive(Arbitrary)]
enum Name {
    None,
    Whole,
    /// A field, by its index.
    Field(u8),
    /// A field of a field.
    Below(u8, u8),
    Text(String),
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, seed)) => {
            let rules = Vec::<Rule>::arbitrary_take_rest(Unstructured::new(seed));
            check(&format!("http:\n  rules: {}", list(&rules.unwrap_or_default(), "  ", Rule::yaml)));
        }
        _ => check(&String::from_utf8_lossy(data)),
    }
});

/// It loads, or its faults can be told; and what loads can be used.
fn check(text: &str) {
    static SET: LazyLock<Bytes> = LazyLock::new(Kitchen::bare_set);
    match Contract::load_configured(SET.clone(), "fuzz.yaml", text) {
        Ok(contract) => {
            let transcoder = Transcoder::compile(&contract, Strictness::default());
            // A field 1 that is the text "a", and one that is the number 1: enough to fill most paths.
            for message in [&[][..], &[0x0a, 1, b'a'], &[8, 1]] {
                for method in 0..contract.methods().len() {
                    transcoder.encode(method, message).iter().for_each(check_request);
                }
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault:\n{text}");
            faults.iter().for_each(|fault| drop(fault.to_string()));
        }
    }
}

/// The items below each other, each after a dash; their further lines are theirs to indent.
fn list<T>(items: &[T], indent: &str, yaml: impl Fn(&T, &str) -> String) -> String {
    let item = |item| format!("\n{indent}- {}", yaml(item, &format!("{indent}  ")));
    if items.is_empty() { "[]".to_owned() } else { items.iter().map(item).collect() }
}

/// A text as JSON writes it, which is YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

// === impl Rule ===

impl Rule {
    fn yaml(&self, indent: &str) -> String {
        let Self(index, binding, additional) = self;
        let methods = Kitchen::open().contract.methods();
        let method = methods[usize::from(*index) % methods.len()].descriptor();
        let (selector, binding) = (method.full_name(), binding.yaml(method, indent));
        let additional = list(additional, indent, |binding, indent| binding.yaml(method, indent));
        format!("selector: {selector}\n{indent}{binding}\n{indent}additional_bindings: {additional}")
    }
}

// === impl Binding ===

impl Binding {
    fn yaml(&self, method: &MethodDescriptor, indent: &str) -> String {
        let (input, output) = (method.input(), method.output());
        let segments = iter::once(&self.path.0).chain(&self.path.1);
        let mut path: String = segments.map(|part| format!("/{}", part.text(&input))).collect();
        path.extend(self.path_verb.iter().flat_map(|verb| [":", verb]));
        let path = quoted(&path);
        let target = match &self.verb {
            Verb::Get => format!("get: {path}\n{indent}"),
            Verb::Put => format!("put: {path}\n{indent}"),
            Verb::Post => format!("post: {path}\n{indent}"),
            Verb::Delete => format!("delete: {path}\n{indent}"),
            Verb::Patch => format!("patch: {path}\n{indent}"),
            Verb::Custom(kind) => {
                format!("custom: {{kind: {}, path: {path}}}\n{indent}", quoted(kind))
            }
            Verb::None => String::new(),
        };
        let (body, response_body) = (self.body.text(&input), self.response_body.text(&output));
        format!("{target}body: {}\n{indent}response_body: {}", quoted(&body), quoted(&response_body))
    }
}

// === impl Segment ===

impl Segment {
    fn text(&self, message: &MessageDescriptor) -> String {
        match self {
            Self::Word => "dishes".to_owned(),
            Self::Text(text) => text.clone(),
            Self::One => "*".to_owned(),
            Self::Many => "**".to_owned(),
            Self::Variable(field, pattern) if pattern.is_empty() => format!("{{{}}}", field.text(message)),
            Self::Variable(field, pattern) => {
                let pattern: Vec<_> = pattern.iter().map(|segment| segment.text(message)).collect();
                format!("{{{}={}}}", field.text(message), pattern.join("/"))
            }
        }
    }
}

// === impl Name ===

impl Name {
    fn text(&self, message: &MessageDescriptor) -> String {
        let field = |message: &MessageDescriptor, index: u8| {
            message.fields().nth(usize::from(index) % message.fields().len().max(1))
        };
        match self {
            Self::None => String::new(),
            Self::Whole => "*".to_owned(),
            Self::Field(index) => {
                field(message, *index).map(|field| field.name().to_owned()).unwrap_or_default()
            }
            Self::Below(index, below) => {
                match field(message, *index).map(|f| (f.name().to_owned(), f.kind())) {
                    Some((name, Kind::Message(inner))) => {
                        let below = field(&inner, *below);
                        format!("{name}.{}", below.map(|field| field.name().to_owned()).unwrap_or_default())
                    }
                    other => other.map(|(name, _)| name).unwrap_or_default(),
                }
            }
            Self::Text(text) => text.clone(),
        }
    }
}
