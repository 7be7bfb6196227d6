//! Where and why an answer does not fit the contract.

use std::{borrow::Cow, fmt::Write};

use super::json::SyntaxError;

/// Where and why an answer does not fit the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what} (line {line}, column {column})", self.place())]
pub struct Mismatch {
    /// The JSON path, such as `products[3].rate`; empty at the top.
    pub path: String,
    /// What was expected and what kind of thing was found.
    pub what: String,
    /// The value that was found, where there is one. It is of the API's making: for the log only.
    pub value: Option<String>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// A complaint on its way up, which gathers its path from the inside out.
#[derive(Debug)]
pub(super) struct Complaint {
    offset: usize,
    what: String,
    value: Option<String>,
    path: Vec<Result<String, usize>>,
    syntax: bool,
}

/// What leads from a value to one in it: a key, or an index.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

// === impl Mismatch ===

impl Mismatch {
    fn place(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) }
    }
}

// === impl Step ===

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Appends a step to a path such as `products[3].rate`.
pub(super) fn write_path(path: &mut String, step: Step<'_>) {
    // Writing to a string cannot fail.
    let _ = match step {
        Step::Key("") => Ok(()),
        Step::Key(key) if path.is_empty() => write!(path, "{key}"),
        Step::Key(key) => write!(path, ".{key}"),
        Step::Index(index) => write!(path, "[{index}]"),
    };
}

// === impl Complaint ===

impl Complaint {
    pub(super) fn new(offset: usize, what: impl Into<String>) -> Box<Self> {
        Box::new(Self { offset, what: what.into(), value: None, path: Vec::new(), syntax: false })
    }

    /// Adds the value that was found, which is for the log only.
    pub(super) fn with_value(mut self: Box<Self>, value: &str) -> Box<Self> {
        self.value = Some(excerpt(value).into_owned());
        self
    }

    /// Adds the step that leads to the place.
    #[cold]
    pub(super) fn under(mut self: Box<Self>, step: Step<'_>) -> Box<Self> {
        self.path.push(match step {
            Step::Key(key) => Ok(key.to_owned()),
            Step::Index(index) => Err(index),
        });
        self
    }

    /// Whether the text is no JSON, so that there is no going on after it.
    pub(super) fn is_syntax(&self) -> bool {
        self.syntax
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn into_mismatch(self, json: &[u8]) -> Mismatch {
        let before = &json[..self.offset.min(json.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let mut path = String::new();
        for step in self.path.iter().rev() {
            write_path(
                &mut path,
                step.as_ref().map_or_else(|index| Step::Index(*index), |key| Step::Key(key)),
            );
        }
        Mismatch {
            path,
            what: self.what,
            value: self.value,
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        }
    }
}

impl From<Box<SyntaxError>> for Box<Complaint> {
    #[cold]
    fn from(error: Box<SyntaxError>) -> Self {
        Box::new(Complaint { syntax: true, ..*Complaint::new(error.offset, error.what) })
    }
}

fn excerpt(value: &str) -> Cow<'_, str> {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &value[..end])),
        None => Cow::Borrowed(value),
    }
}
