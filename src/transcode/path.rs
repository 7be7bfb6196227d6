//! Values in a path: found by the variable's field path, checked against its pattern, percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    plan::{Kind, MessageId, Schema, Shape},
    value::{Leaf, LeafError},
    view::View,
};
use crate::contract::template::{Glob, Variable};

/// Everything but the unreserved characters of RFC 3986.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The slots on the way to a variable's field; the contract has checked that they exist.
pub(super) fn slots(schema: &Schema, message: MessageId, variable: &Variable) -> Vec<usize> {
    let mut slots = Vec::new();
    let mut message = Some(message);
    for name in &variable.field_path {
        let plan = message.map(|id| schema.message(id));
        let Some((plan, slot)) = plan.and_then(|plan| Some((plan, plan.slot_declared(name)?))) else { break };
        slots.push(slot);
        message = match plan.fields[slot].kind {
            Kind::Message(id) | Kind::Group(id) => Some(id),
            _ => None,
        };
    }
    slots
}

/// The text of the value at the end of `slots`; what was not sent reads as its default.
pub(super) fn leaf_text(schema: &Schema, view: &View<'_>, slots: &[usize]) -> Result<String, LeafError> {
    let Some((slot, rest)) = slots.split_first() else { return Ok(String::new()) };
    let field = &view.plan.fields[*slot];
    match &field.kind {
        Kind::Message(_) | Kind::Group(_) => leaf_text(schema, &view.inner(schema, *slot)?, rest),
        kind => {
            // An unset optional field has no value to put into a path; empty text is refused there.
            let value = if field.shape == (Shape::Single { explicit: true }) {
                Leaf::single(view, *slot, kind)?
            } else {
                Some(Leaf::or_default(view, *slot, kind)?)
            };
            Ok(value.map(|leaf| leaf.text()).unwrap_or_default())
        }
    }
}

/// Appends the value, percent-encoded, if it fits the variable's pattern.
///
/// Dot segments are refused: clients and servers resolve them, in every encoding, to another path.
pub(super) fn expand(variable: &Variable, value: &str, path: &mut String) -> Result<(), String> {
    let single = variable.is_single_segment();
    let segments: Vec<_> = if single { vec![value] } else { value.split('/').collect() };
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err("must not have \".\" or \"..\" as a path segment".to_owned());
    }
    if value.is_empty() {
        return Err("must be set, since the path needs it".to_owned());
    }
    if segments.iter().any(|segment| segment.is_empty()) || !fits(&variable.pattern, &segments) {
        let pattern: Vec<_> = variable.pattern.iter().map(Glob::as_str).collect();
        return Err(format!("must look like \"{}\"", pattern.join("/")));
    }
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            path.push('/');
        }
        path.extend(utf8_percent_encode(segment, RESERVED));
    }
    Ok(())
}

/// Whether the segments match. A `**` takes as few as it can and is given one more at each mismatch after it,
/// so the work is bounded by pattern times segments.
fn fits(pattern: &[Glob], segments: &[&str]) -> bool {
    let (mut p, mut s) = (0, 0);
    let mut retry = None;
    while s < segments.len() {
        match pattern.get(p) {
            Some(Glob::Many) => {
                p += 1;
                retry = Some((p, s));
            }
            Some(glob) if glob.takes(segments[s]) => {
                p += 1;
                s += 1;
            }
            _ => {
                let Some((after, taken)) = retry else { return false };
                retry = Some((after, taken + 1));
                (p, s) = (after, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|glob| *glob == Glob::Many)
}

impl Glob {
    fn takes(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::One => true,
            Self::Many => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::template::Template;

    #[test]
    fn a_value_fits_the_pattern_that_it_looks_like() {
        for (pattern, value, does) in [
            ("*", "a", true),
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("a/*", "a/b/c", false),
            ("**", "a/b/c", true),
            ("a/**", "a", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/b/b/x/b", true),
            ("a/**/b", "a/b/x", false),
            ("a/**/b/*", "a/b/b/c", true),
            ("**/a/**/b/**", "a/b", true),
            ("**/a/**/b/**", "x/a/b/a/x", true),
            ("**/a/**/b/**", "b/a", false),
        ] {
            let template = Template::parse(&format!("/{{v={pattern}}}")).unwrap();
            let variable = template.variables().next().unwrap().clone();
            let segments: Vec<_> = value.split('/').collect();
            assert_eq!(fits(&variable.pattern, &segments), does, "{pattern} {value}");
        }
    }
}
