//! HTTP rules from a service configuration: the YAML of a `google.api.Service`, as API Gateway takes it.
//!
//! Only `http.rules` is read; everything else in the file is for others. A rule here overrides the annotation
//! of its method, and of several rules for one method the last one wins (`google/api/http.proto`).

use std::{collections::HashMap, ops::Range, sync::Arc};

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

use super::place::{Part, Site};
use crate::{
    fault::{Excerpt, Fault},
    google::api::{CustomHttpPattern, HttpRule, http_rule::Pattern},
};

/// The rules of a service configuration by the full names of their methods.
#[derive(Debug, Default)]
pub(super) struct ServiceConfig {
    rules: HashMap<String, (HttpRule, Site)>,
}

/// All fields of `google/api/service.proto`, so that a misspelt `http` is no file without rules.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(dead_code)]
struct Service {
    http: Option<Http>,
    /// `google.api.Service`, in files that tools merge.
    r#type: IgnoredAny,
    name: IgnoredAny,
    title: IgnoredAny,
    #[serde(alias = "producerProjectId")]
    producer_project_id: IgnoredAny,
    id: IgnoredAny,
    apis: IgnoredAny,
    types: IgnoredAny,
    enums: IgnoredAny,
    documentation: IgnoredAny,
    backend: IgnoredAny,
    quota: IgnoredAny,
    authentication: IgnoredAny,
    context: IgnoredAny,
    usage: IgnoredAny,
    endpoints: IgnoredAny,
    control: IgnoredAny,
    logs: IgnoredAny,
    metrics: IgnoredAny,
    #[serde(alias = "monitoredResources")]
    monitored_resources: IgnoredAny,
    billing: IgnoredAny,
    logging: IgnoredAny,
    monitoring: IgnoredAny,
    #[serde(alias = "systemParameters")]
    system_parameters: IgnoredAny,
    #[serde(alias = "sourceInfo")]
    source_info: IgnoredAny,
    publishing: IgnoredAny,
    #[serde(alias = "configVersion")]
    config_version: IgnoredAny,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Http {
    rules: Vec<Spanned<Rule>>,
    /// About requests in the other direction.
    #[serde(alias = "fullyDecodeReservedExpansion")]
    #[allow(dead_code)]
    fully_decode_reserved_expansion: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rule {
    selector: String,
    get: Option<String>,
    put: Option<String>,
    post: Option<String>,
    delete: Option<String>,
    patch: Option<String>,
    custom: Option<Custom>,
    body: String,
    #[serde(alias = "responseBody")]
    response_body: String,
    #[serde(alias = "additionalBindings")]
    additional_bindings: Vec<Rule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Custom {
    kind: String,
    path: String,
}

// === impl ServiceConfig ===

impl ServiceConfig {
    /// Reads the text of a file.
    pub(super) fn read(file: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let text: Arc<str> = text.into();
        let service: Service = match serde_saphyr::from_str(&text) {
            Ok(service) => service,
            Err(error) => return Err(vec![unreadable(file, &text, &error)]),
        };
        let rules = service.http.unwrap_or_default().rules;
        let starts: Vec<_> = rules.iter().map(|rule| offset(&text, rule)).collect();
        let mut config = Self::default();
        let mut faults = Vec::new();
        for (index, rule) in rules.into_iter().enumerate() {
            let next = starts.get(index + 1).copied().unwrap_or(text.len());
            let range = starts[index]..next.max(starts[index]);
            let (rule, selector) = (rule.value.clone(), rule.value.selector);
            let name = if selector.is_empty() { "http.rules" } else { &selector };
            let site = Site::in_text(file, text.clone(), trimmed(&text, range), name);
            match rule.resolve(&site) {
                Ok(rule) => drop(config.rules.insert(selector, (rule, site))),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// The rule for a method, which overrides its annotation.
    pub(super) fn rule(&self, method: &str) -> Option<&(HttpRule, Site)> {
        self.rules.get(method)
    }

    /// A fault for each rule whose method does not exist.
    pub(super) fn without_method(&self, exists: impl Fn(&str) -> bool) -> Vec<Fault> {
        let strays = self.rules.iter().filter(|(selector, _)| !exists(selector));
        let mut faults: Vec<_> = strays
            .map(|(selector, (_, site))| {
                site.fault_in(
                    &Part::whole("selector", selector),
                    format!("the contract has no method {selector:?}"),
                    "write the full name of a method, such as shop.v1.ProductService.GetProduct",
                )
            })
            .collect();
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        faults
    }
}

// === impl Rule ===

impl Rule {
    fn resolve(self, site: &Site) -> Result<HttpRule, Fault> {
        if self.selector.is_empty() {
            return Err(
                site.fault("the rule has no selector", "write selector: and the full name of a method")
            );
        }
        let additional = self.additional_bindings.into_iter();
        // They have no selector of their own.
        let selector = &self.selector;
        let additional = additional.map(|rule| Self { selector: selector.clone(), ..rule }.resolve(site));
        let additional_bindings = additional.collect::<Result<_, _>>()?;
        let custom = self.custom.map(|Custom { kind, path }| CustomHttpPattern { kind, path });
        let patterns: Vec<_> = [
            self.get.map(Pattern::Get),
            self.put.map(Pattern::Put),
            self.post.map(Pattern::Post),
            self.delete.map(Pattern::Delete),
            self.patch.map(Pattern::Patch),
            custom.map(Pattern::Custom),
        ]
        .into_iter()
        .flatten()
        .collect();
        if patterns.len() > 1 {
            return Err(site.fault(
                "the rule names more than one verb",
                "keep one, and give the others under additional_bindings",
            ));
        }
        Ok(HttpRule {
            selector: self.selector,
            pattern: patterns.into_iter().next(),
            body: self.body,
            response_body: self.response_body,
            additional_bindings,
        })
    }
}

fn unreadable(file: &str, text: &str, error: &serde_saphyr::Error) -> Fault {
    let mend = "write it as the YAML of a google.api.Service: http: {rules: [{selector: …, get: …}]}";
    // The first line is what is wrong; the lines below it repeat the text, which the fault does by itself.
    let what = error.without_snippet().to_string();
    let what = what.lines().next().unwrap_or_default();
    // The place is told before it, and how the fields of a whole service are called is of no help.
    let what = what.rsplit_once(" at line ").map_or(what, |(what, _)| what);
    let what = what.split_once(", expected one of http, ").map_or(what, |(what, _)| what);
    let what = format!("cannot be read: {what}");
    match error.location() {
        Some(location) => {
            let at = line_column_offset(text, location.line(), location.column());
            let excerpt = Excerpt::of(text, at..at + 1);
            let place = format!("{file}:{}:{}", excerpt.line, excerpt.column);
            Fault::new(place, what, mend).with_excerpt(excerpt)
        }
        None => Fault::new(file, what, mend),
    }
}

fn offset(text: &str, rule: &Spanned<Rule>) -> usize {
    line_column_offset(text, rule.referenced.line(), rule.referenced.column())
}

/// The offset in bytes of a line and a column in characters, both from 1. YAML ends a line at a lone carriage return too.
fn line_column_offset(text: &str, line: u64, column: u64) -> usize {
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let ends =
        text.char_indices().filter(|(at, c)| *c == '\n' || (*c == '\r' && !text[at + 1..].starts_with('\n')));
    let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1));
    let start = starts.take(index(line).saturating_add(1)).last().unwrap_or_default();
    text[start..].char_indices().nth(index(column)).map_or(text.len(), |(at, _)| start + at)
}

/// Without the white space at the end, so that what follows does not belong to it.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let start = range.start;
    start..start + text[range].trim_end().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_carriage_return_ends_a_line_as_it_does_in_yaml() {
        let text = "http:\r\n  rules:\r  - selector: a\r  - get: /b\n";
        let Err(faults) = ServiceConfig::read("s.yaml", text) else { panic!("a rule has no selector") };
        let [fault] = faults.as_slice() else { panic!("{faults:?}") };
        assert_eq!(fault.what, "the rule has no selector");
        assert!(fault.excerpt.as_ref().is_some_and(|excerpt| excerpt.text.contains("- get: /b")), "{fault}");
    }
}
