//! A `google.api.HttpRule` resolved against the messages of its method.

use http::Method as Verb;
use percent_encoding::percent_decode_str;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use super::template::{Segment, Template, Variable};
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

/// Resolves `rule` and its additional bindings, and adds what is wrong with them to `faults`.
pub(super) fn resolve(
    rule: &HttpRule,
    method: &MethodDescriptor,
    place: &str,
    faults: &mut Vec<Fault>,
) -> Vec<Binding> {
    let mut bindings = Vec::new();
    let extra = rule.additional_bindings.iter();
    if extra.clone().any(|extra| !extra.additional_bindings.is_empty()) {
        faults.push(Fault::new(
            place,
            "additional_bindings stand inside additional_bindings",
            "move them up: they may not nest",
        ));
    }
    for rule in std::iter::once(rule).chain(extra) {
        match (Resolver { method, place, rule }).binding() {
            Ok(binding) => bindings.push(binding),
            Err(found) => faults.extend(found),
        }
    }
    bindings
}

struct Resolver<'a> {
    method: &'a MethodDescriptor,
    place: &'a str,
    rule: &'a HttpRule,
}

// === impl Resolver ===

impl Resolver<'_> {
    fn binding(&self) -> Result<Binding, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut keep = |fault| faults.push(fault);
        let target = self.target().map_err(&mut keep).ok();
        let body = self.body().map_err(&mut keep).ok();
        let response_body = self.response_body().map_err(&mut keep).ok();
        match (target, body, response_body) {
            (Some((verb, template)), Some(body), Some(response_body)) => {
                Ok(Binding { verb, template, body, response_body })
            }
            _ => Err(faults),
        }
    }

    fn target(&self) -> Result<(Verb, Template), Fault> {
        let (verb, path) = match &self.rule.pattern {
            Some(Pattern::Get(path)) => (Verb::GET, path),
            Some(Pattern::Put(path)) => (Verb::PUT, path),
            Some(Pattern::Post(path)) => (Verb::POST, path),
            Some(Pattern::Delete(path)) => (Verb::DELETE, path),
            Some(Pattern::Patch(path)) => (Verb::PATCH, path),
            Some(Pattern::Custom(custom)) => (self.custom_verb(&custom.kind)?, &custom.path),
            None => {
                return Err(
                    self.fault("the HTTP rule names no verb and path", "write get: \"/…\" or another verb")
                );
            }
        };
        let template = Template::parse(path)
            .map_err(|error| self.fault(format!("path {path:?}, {error}"), "mend the path template"))?;
        self.check_segments(&template)?;
        self.check_variables(&template)?;
        Ok((verb, template))
    }

    fn custom_verb(&self, kind: &str) -> Result<Verb, Fault> {
        let verb = Verb::from_bytes(kind.as_bytes()).ok().filter(|_| kind != "*");
        verb.ok_or_else(|| {
            self.fault(format!("the custom verb {kind:?} cannot be sent"), "name one HTTP verb, such as HEAD")
        })
    }

    fn check_segments(&self, template: &Template) -> Result<(), Fault> {
        let dots =
            |literal: &str| percent_decode_str(literal).eq(*b".") || percent_decode_str(literal).eq(*b"..");
        if template.segments.iter().any(|s| matches!(s, Segment::Literal(literal) if dots(literal))) {
            return Err(self.fault(
                format!("path {template}: \".\" and \"..\" are resolved to another path on the way"),
                "write the path that is meant",
            ));
        }
        if template.segments.iter().any(|s| matches!(s, Segment::Any | Segment::AnyPath)) {
            return Err(self.fault(
                format!("path {template}: a wildcard outside a variable has no value to send"),
                "bind it to a request field, such as {name=*}",
            ));
        }
        Ok(())
    }

    fn check_variables(&self, template: &Template) -> Result<(), Fault> {
        let mut seen = Vec::new();
        for variable in template.variables() {
            if seen.contains(&&variable.field_path) {
                return Err(
                    self.fault(format!("path {template} binds {variable} twice"), "bind each field once")
                );
            }
            seen.push(&variable.field_path);
            self.check_variable(variable)?;
        }
        Ok(())
    }

    /// A path field is a single value that prints as text: no list, no map, no message.
    fn check_variable(&self, variable: &Variable) -> Result<(), Fault> {
        let mut message = self.method.input();
        let mut names = variable.field_path.iter().peekable();
        while let Some(name) = names.next() {
            let field = message.get_field_by_name(name).ok_or_else(|| self.no_field(name, &message))?;
            if field.is_list() || field.is_map() {
                return Err(self.fault(
                    format!("{variable}: {} is repeated and cannot stand in a path", field.full_name()),
                    "bind a single value, or leave the field to the query",
                ));
            }
            match (field.kind(), names.peek()) {
                (Kind::Message(inner), Some(_)) => message = inner,
                (Kind::Message(_), None) => {
                    return Err(self.fault(
                        format!("{variable}: {} is a message and cannot stand in a path", field.full_name()),
                        "bind one of its fields",
                    ));
                }
                (_, Some(below)) => {
                    return Err(self.fault(
                        format!("{variable}: {} has no field {below}", field.full_name()),
                        "name a field of a message",
                    ));
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
            name => self.field(name, &self.method.input()).map(Body::Field),
        }
    }

    fn response_body(&self) -> Result<Option<FieldDescriptor>, Fault> {
        match self.rule.response_body.as_str() {
            "" => Ok(None),
            name => self.field(name, &self.method.output()).map(Some),
        }
    }

    fn field(&self, name: &str, message: &MessageDescriptor) -> Result<FieldDescriptor, Fault> {
        message.get_field_by_name(name).ok_or_else(|| self.no_field(name, message))
    }

    fn no_field(&self, name: &str, message: &MessageDescriptor) -> Fault {
        let known: Vec<_> = message.fields().map(|field| field.name().to_owned()).collect();
        let mend = match known.as_slice() {
            [] => "the message has no fields".to_owned(),
            known => format!("it has: {}", known.join(", ")),
        };
        self.fault(format!("{} has no field {name:?}", message.full_name()), mend)
    }

    fn fault(&self, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        Fault::new(self.place, what, mend)
    }
}
