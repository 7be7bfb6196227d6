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
    path: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

// === impl Mismatch ===

impl Mismatch {
    fn place(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) }
    }
}

// === impl Complaint ===

impl Complaint {
    pub(super) fn new(offset: usize, what: impl Into<String>) -> Box<Self> {
        Box::new(Self { offset, what: what.into(), value: None, path: Vec::new() })
    }

    /// Adds the value that was found, which is for the log only.
    pub(super) fn with_value(mut self: Box<Self>, value: &str) -> Box<Self> {
        self.value = Some(excerpt(value).into_owned());
        self
    }

    /// Adds the step that leads to the place.
    pub(super) fn under(mut self: Box<Self>, step: Step) -> Box<Self> {
        self.path.push(step);
        self
    }

    pub(super) fn into_mismatch(self, json: &[u8]) -> Mismatch {
        let before = &json[..self.offset.min(json.len())];
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let mut path = String::new();
        for step in self.path.iter().rev() {
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Key(key) if path.is_empty() => write!(path, "{key}"),
                Step::Key(key) => write!(path, ".{key}"),
                Step::Index(index) => write!(path, "[{index}]"),
            };
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

impl From<SyntaxError> for Box<Complaint> {
    fn from(error: SyntaxError) -> Self {
        Complaint::new(error.offset, error.what)
    }
}

fn excerpt(value: &str) -> Cow<'_, str> {
    const LONGEST: usize = 80;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &value[..end])),
        None => Cow::Borrowed(value),
    }
}
