//! A `google.api.HttpRule` resolved against the messages of its method.

use std::{collections::HashSet, ops::Range};

use http::Method as Verb;
use percent_encoding::percent_decode_str;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use super::{
    place::{Part, Site},
    template::{Glob, Segment, Template, Variable},
};
use crate::{
    fault::Fault,
    google::api::{HttpRule, http_rule::Pattern},
};

/// One way to say a method as an HTTP request.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The HTTP verb.
    pub verb: Verb,
    /// The path.
    pub template: Template,
    /// What of the request message is the HTTP body.
    pub body: Body,
    /// The response field that the HTTP body is; `None` is the whole message.
    pub response_body: Option<FieldDescriptor>,
    input: MessageDescriptor,
    output: MessageDescriptor,
}

/// What of the request message is the HTTP body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing: every field stands in the URL.
    None,
    /// Every field that the path does not bind.
    Whole,
    /// One top-level field; the others that the path does not bind are the query.
    Field(FieldDescriptor),
}

const HTTP_BODY: &str = "google.api.HttpBody";
const DOTS: &str = "\".\" and \"..\" are resolved to another path on the way";
const DOTS_MEND: &str = "write the path that is meant";

// === impl Binding ===

impl Binding {
    /// Whether the request message, or the field of it that is the body, is a `google.api.HttpBody`.
    pub fn is_http_body(&self, field: Option<&FieldDescriptor>) -> bool {
        is_http_body(&self.input, field)
    }

    /// Whether the HTTP body of the answer is a `google.api.HttpBody`.
    pub fn answers_http_body(&self) -> bool {
        is_http_body(&self.output, self.response_body.as_ref())
    }
}

fn is_http_body(message: &MessageDescriptor, field: Option<&FieldDescriptor>) -> bool {
    match field {
        None => message.full_name() == HTTP_BODY,
        Some(field) => {
            !field.is_list() && matches!(field.kind(), Kind::Message(inner) if inner.full_name() == HTTP_BODY)
        }
    }
}

/// Resolves `rule` and its additional bindings, and adds what is wrong with them to `faults`.
pub(super) fn resolve(
    rule: &HttpRule,
    method: &MethodDescriptor,
    site: &Site,
    faults: &mut Vec<Fault>,
) -> Vec<Binding> {
    let mut bindings = Vec::new();
    let extra = rule.additional_bindings.iter();
    if extra.clone().any(|extra| !extra.additional_bindings.is_empty()) {
        faults.push(site.fault(
            "additional_bindings stand inside additional_bindings",
            "move them up: they may not nest",
        ));
    }
    for rule in std::iter::once(rule).chain(extra) {
        match (Resolver { method, site, rule }).binding() {
            Ok(binding) => bindings.push(binding),
            Err(found) => faults.extend(found),
        }
    }
    bindings
}

struct Resolver<'a> {
    method: &'a MethodDescriptor,
    site: &'a Site,
    rule: &'a HttpRule,
}

// === impl Resolver ===

impl Resolver<'_> {
    fn binding(&self) -> Result<Binding, Vec<Fault>> {
        let mut faults = Vec::new();
        let target = self.target().map_err(|found| faults.extend(found)).ok();
        let mut keep = |fault| faults.push(fault);
        let body = self.body().map_err(&mut keep).ok();
        let response_body = self.response_body().map_err(&mut keep).ok();
        match (target, body, response_body) {
            (Some((verb, template)), Some(body), Some(response_body)) => {
                let (input, output) = (self.method.input(), self.method.output());
                Ok(Binding { verb, template, body, response_body, input, output })
            }
            _ => Err(faults),
        }
    }

    /// The verb, the path and the template of it; with all that is wrong with any of them.
    fn target(&self) -> Result<(Verb, Template), Vec<Fault>> {
        let (verb, path) = match &self.rule.pattern {
            Some(Pattern::Get(path)) => (Ok(Verb::GET), path),
            Some(Pattern::Put(path)) => (Ok(Verb::PUT), path),
            Some(Pattern::Post(path)) => (Ok(Verb::POST), path),
            Some(Pattern::Delete(path)) => (Ok(Verb::DELETE), path),
            Some(Pattern::Patch(path)) => (Ok(Verb::PATCH), path),
            Some(Pattern::Custom(custom)) => (self.custom_verb(&custom.kind), &custom.path),
            None => {
                let mend = "write get: \"/…\" or another verb";
                return Err(vec![self.site.fault("the HTTP rule names no verb and path", mend)]);
            }
        };
        match (verb, self.template(path)) {
            (Ok(verb), Ok(template)) => Ok((verb, template)),
            (verb, template) => {
                Err(verb.err().into_iter().chain(template.err().unwrap_or_default()).collect())
            }
        }
    }

    fn template(&self, path: &str) -> Result<Template, Vec<Fault>> {
        let template = Template::parse(path).map_err(|error| {
            let at = path.char_indices().nth(error.column - 1).map_or(path.len(), |(at, _)| at);
            let part = Part { key: "", value: path, meant: at..at + 1 };
            vec![self.site.fault_in(&part, format!("path {path:?}, {error}"), "mend the path template")]
        })?;
        let faults = self.check(path, &template);
        if faults.is_empty() { Ok(template) } else { Err(faults) }
    }

    fn custom_verb(&self, kind: &str) -> Result<Verb, Fault> {
        // A CONNECT has no path: clients send the authority in its place.
        let is_verb = kind != "*" && !kind.eq_ignore_ascii_case("CONNECT");
        Verb::from_bytes(kind.as_bytes()).ok().filter(|_| is_verb).ok_or_else(|| {
            let part = Part::whole("kind", kind);
            let what = format!("the custom verb {kind:?} cannot be sent");
            self.site.fault_in(&part, what, "name one HTTP verb, such as HEAD")
        })
    }

    /// What is wrong with the segments of a path, in their order.
    fn check(&self, path: &str, template: &Template) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut bound = HashSet::new();
        let mut complain = |meant: Range<usize>, (what, mend): (String, String)| {
            let part = Part { key: "", value: path, meant };
            faults.push(self.site.fault_in(&part, what, mend));
        };
        let in_path = |what: &str| format!("path {template}: {what}");
        for (segment, at) in template.segments.iter().zip(segments(path)) {
            match segment {
                Segment::Literal(literal) if is_dots(literal) => {
                    complain(at..at + literal.len(), (in_path(DOTS), DOTS_MEND.to_owned()));
                }
                Segment::Any | Segment::AnyPath => {
                    let what = in_path("a wildcard outside a variable has no value to send");
                    let mend = "bind it to a request field, such as {name=*}";
                    complain(at..at + 1, (what, mend.to_owned()));
                }
                Segment::Literal(_) => {}
                Segment::Variable(variable) => {
                    let name = at + 1..at + 1 + variable.field_path.join(".").len();
                    if !bound.insert(&variable.field_path) {
                        let what = format!("path {template} binds {variable} twice");
                        complain(name, (what, "bind each field once".to_owned()));
                    } else if let Err(found) = self.check_variable(variable) {
                        complain(name, found);
                    }
                    for (meant, what, mend) in check_pattern(variable, at) {
                        complain(meant, (in_path(what), mend.to_owned()));
                    }
                }
            }
        }
        faults
    }

    /// A path field is a single value that prints as text: no list, no map, no message.
    fn check_variable(&self, variable: &Variable) -> Result<(), (String, String)> {
        let complain = |what: String, mend: &str| Err((format!("{variable}: {what}"), mend.to_owned()));
        let mut message = self.method.input();
        let mut names = variable.field_path.iter().peekable();
        while let Some(name) = names.next() {
            let field = message.get_field_by_name(name).ok_or_else(|| no_field(name, &message))?;
            let known_as = field.full_name();
            if field.is_list() || field.is_map() {
                return complain(
                    format!("{known_as} is repeated and cannot stand in a path"),
                    "bind a single value, or leave the field to the query",
                );
            }
            match (field.kind(), names.peek()) {
                (Kind::Message(inner), Some(_)) => message = inner,
                (Kind::Message(_), None) => {
                    return complain(
                        format!("{known_as} is a message and cannot stand in a path"),
                        "bind one of its fields",
                    );
                }
                (_, Some(below)) => {
                    return complain(format!("{known_as} has no field {below}"), "name a field of a message");
                }
                (_, None) => {}
            }
        }
        Ok(())
    }

    fn body(&self) -> Result<Body, Fault> {
        match self.rule.body.as_str() {
            "" => Ok(Body::None),
            "*" => Ok(Body::Whole),
            name => self.field("body", name, &self.method.input()).map(Body::Field),
        }
    }

    fn response_body(&self) -> Result<Option<FieldDescriptor>, Fault> {
        match self.rule.response_body.as_str() {
            "" => Ok(None),
            name => self.field("response_body", name, &self.method.output()).map(Some),
        }
    }

    fn field(&self, key: &str, name: &str, message: &MessageDescriptor) -> Result<FieldDescriptor, Fault> {
        message.get_field_by_name(name).ok_or_else(|| {
            let (what, mend) = no_field(name, message);
            self.site.fault_in(&Part::whole(key, name), what, mend)
        })
    }
}

/// Whether a literal is resolved to another path by servers and clients.
fn is_dots(literal: &str) -> bool {
    percent_decode_str(literal).eq(*b".") || percent_decode_str(literal).eq(*b"..")
}

/// Where each segment of a path begins that keeps to the grammar.
fn segments(path: &str) -> impl Iterator<Item = usize> {
    let mut in_variable = false;
    path.char_indices().filter_map(move |(at, c)| {
        in_variable = (in_variable || c == '{') && c != '}';
        (c == '/' && !in_variable).then_some(at + 1)
    })
}

/// The literals in the pattern of a variable that no value can match, with their place in the path; the variable begins
/// at `start`.
fn check_pattern(variable: &Variable, start: usize) -> Vec<(Range<usize>, &'static str, &'static str)> {
    // Behind the bracket, the name and the equals sign.
    let mut at = start + 1 + variable.field_path.join(".").len() + 1;
    let mut faults = Vec::new();
    for glob in &variable.pattern {
        let meant = at..at + glob.as_str().len();
        at = meant.end + 1;
        match glob {
            Glob::Literal(literal) if is_dots(literal) => faults.push((meant, DOTS, DOTS_MEND)),
            Glob::Literal(literal) if literal.contains('%') => {
                let what = "an escape in the pattern of a variable would be escaped once more";
                let mend = "write what the value has there, move it out of the variable, or use *";
                faults.push((meant, what, mend));
            }
            Glob::Literal(_) | Glob::One | Glob::Many => {}
        }
    }
    faults
}

fn no_field(name: &str, message: &MessageDescriptor) -> (String, String) {
    let known: Vec<_> = message.fields().map(|field| field.name().to_owned()).collect();
    let mend = match known.as_slice() {
        [] => "the message has no fields".to_owned(),
        known => format!("it has: {}", known.join(", ")),
    };
    (format!("{} has no field {name:?}", message.full_name()), mend)
}
