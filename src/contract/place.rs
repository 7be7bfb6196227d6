//! Where a rule is written, so that a fault can point at the part of it that is meant.

use std::{collections::HashMap, ops::Range, sync::Arc};

use prost_reflect::{FileDescriptor, MethodDescriptor};

use super::words;
use crate::fault::{Excerpt, Fault};

/// What a string begins and ends with.
const QUOTES: [char; 2] = ['"', '\''];

/// The texts that a contract was read from, by the names of their files.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts(HashMap<String, Arc<str>>);

/// The stretch of a file in which a rule stands.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// `file:line:column`, or nothing where that is not known.
    start: String,
    file: String,
    /// Whose rule it is.
    method: String,
    text: Option<Arc<str>>,
    range: Range<usize>,
}

/// A part of a rule: the value of a key, and how much of it is meant.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    /// The key before the value; empty if any place will do.
    pub(super) key: &'a str,
    /// The value, as it is written.
    pub(super) value: &'a str,
    /// The bytes of the value that are meant.
    pub(super) meant: Range<usize>,
}

// === impl Texts ===

impl Texts {
    pub(super) fn insert(&mut self, file: impl Into<String>, text: impl Into<Arc<str>>) {
        self.0.insert(file.into(), text.into());
    }

    fn get(&self, file: &str) -> Option<Arc<str>> {
        self.0.get(file).cloned()
    }
}

// === impl Part ===

impl<'a> Part<'a> {
    /// The whole value of a key.
    pub(super) fn whole(key: &'a str, value: &'a str) -> Self {
        Self { key, value, meant: 0..value.len() }
    }
}

// === impl Site ===

impl Site {
    /// The option of `method` with this number, or the method itself where it is not told apart.
    pub(super) fn of_option(method: &MethodDescriptor, option: i32, texts: &Texts) -> Self {
        let file = method.parent_file();
        let mut path = method.path().to_vec();
        path.extend([4, option]);
        let span = span(&file, &path).or_else(|| span(&file, method.path()));
        let text = texts.get(file.name());
        let range = match (&text, &span) {
            (Some(text), Some(span)) => offset(text, span[0], span[1])..offset(text, span[2], span[3]),
            _ => 0..0,
        };
        Self {
            start: span.map(|span| start(file.name(), &span)).unwrap_or_default(),
            file: file.name().to_owned(),
            method: method.full_name().to_owned(),
            text,
            range,
        }
    }

    /// A stretch of a text in bytes.
    pub(super) fn in_text(file: &str, text: Arc<str>, range: Range<usize>, method: &str) -> Self {
        let excerpt = Excerpt::of(&text, range.clone());
        Self {
            start: format!("{file}:{}:{}", excerpt.line, excerpt.column),
            file: file.to_owned(),
            method: method.to_owned(),
            text: Some(text),
            range,
        }
    }

    /// A fault of the whole rule.
    pub(super) fn fault(&self, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        match &self.text {
            Some(text) => {
                let first_line = text[self.range.clone()].lines().next().map_or(0, str::len);
                self.pointing(text, self.range.start..self.range.start + first_line, what, mend)
            }
            None => self.without_text(what, mend),
        }
    }

    /// A fault of one part of the rule.
    pub(super) fn fault_in(
        &self,
        part: &Part<'_>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Fault {
        match (&self.text, self.find(part)) {
            (Some(text), Some(range)) => self.pointing(text, range, what, mend),
            _ => self.fault(what, mend),
        }
    }

    fn find(&self, part: &Part<'_>) -> Option<Range<usize>> {
        let rule = self.text.as_ref()?.get(self.range.clone())?;
        let start = self.range.start + value_at(rule, part.key, part.value)?;
        Some(start + part.meant.start..start + part.meant.end)
    }

    fn pointing(
        &self,
        text: &str,
        range: Range<usize>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Fault {
        let excerpt = Excerpt::of(text, range);
        let place = format!("{}:{}:{}: {}", self.file, excerpt.line, excerpt.column, self.method);
        Fault::new(place, what, mend).with_excerpt(excerpt)
    }

    fn without_text(&self, what: impl Into<String>, mend: impl Into<String>) -> Fault {
        Fault::new(joined(&self.start, &self.method), what, mend)
    }
}

/// `file:line:column: method` where the descriptors tell where it stands, else the method.
pub(super) fn method_place(method: &MethodDescriptor) -> String {
    let file = method.parent_file();
    let span = span(&file, method.path());
    let start = span.map(|span| start(file.name(), &span)).unwrap_or_default();
    joined(&start, method.full_name())
}

fn joined(start: &str, method: &str) -> String {
    if start.is_empty() { method.to_owned() } else { format!("{start}: {method}") }
}

fn start(file: &str, span: &[usize; 4]) -> String {
    format!("{file}:{}:{}", span[0] + 1, span[1] + 1)
}

/// First line, first column, last line, last column, all from 0.
fn span(file: &FileDescriptor, path: &[i32]) -> Option<[usize; 4]> {
    let proto = file.file_descriptor_proto();
    let mut locations = proto.source_code_info.iter().flat_map(|info| &info.location);
    let location = locations.find(|location| location.path.starts_with(path))?;
    let number = |index: usize| usize::try_from(location.span[index]).ok();
    match location.span.len() {
        3 => Some([number(0)?, number(1)?, number(0)?, number(2)?]),
        4 => Some([number(0)?, number(1)?, number(2)?, number(3)?]),
        _ => None,
    }
}

/// The offset in bytes of a line and a column in characters.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    text[start..].char_indices().nth(column).map_or(text.len(), |(at, _)| start + at)
}

/// The offset of `value` behind a `key`, or anywhere where there is none, but not in a comment.
fn value_at(rule: &str, key: &str, value: &str) -> Option<usize> {
    let text = words::code(rule, true);
    if key.is_empty() {
        let quoted =
            |at: &usize| text[..*at].ends_with(QUOTES) && text[at + value.len()..].starts_with(QUOTES);
        let whole = text.match_indices(value).map(|(at, _)| at).find(quoted);
        // YAML needs no quotes, and a rule in it may have what looks like a comment.
        return whole.or_else(|| text.find(value)).or_else(|| rule.find(value));
    }
    let behind = |at: usize| {
        let end = at + key.len();
        let rest = &text[end..];
        let start = rest.strip_prefix(QUOTES).unwrap_or(rest);
        let start = start.trim_start_matches(|c: char| c.is_whitespace() || c == ':');
        let start = start.strip_prefix(QUOTES).unwrap_or(start);
        start.starts_with(value).then(|| text.len() - start.len())
    };
    let code = words::code(rule, false);
    // A key of YAML may stand in quotes.
    words::places(&code, key).chain(words::places(&text, key)).find_map(behind)
}
