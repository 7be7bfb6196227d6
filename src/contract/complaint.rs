//! What the compiler complains about, told as faults.

use std::{collections::HashSet, path::Path};

use miette::{Diagnostic, SourceCode, SourceSpan};

use super::words;
use crate::fault::{Excerpt, Fault, MAX_TOLD};

/// The complaints about all files, each told once.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    faults: Vec<Fault>,
    /// File, offset and text of each; two files that import the same broken one complain alike.
    seen: HashSet<(String, usize, String)>,
}

/// One complaint, and the file that it is about.
struct Complaint<'a> {
    diagnostic: &'a dyn Diagnostic,
    source: Option<&'a dyn SourceCode>,
    file: &'a str,
    is_file_not_found: bool,
}

/// What the option of a method is written as, and what its keys are.
const HTTP_RULE: &str = "google.api.HttpRule";
const HTTP_KEYS: &str =
    "name a verb (get, put, post, delete, patch or custom), body, response_body or additional_bindings";
const ONE_VERB: &str = "keep one verb, and give the others under additional_bindings";

// === impl Complaints ===

impl Complaints {
    /// Adds a fault that the compiler knows nothing about.
    pub(super) fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Adds everything that the compiler complains about.
    pub(super) fn extend(&mut self, error: &protox::Error, file: &Path) {
        let file = error.file().map_or_else(|| file.display().to_string(), str::to_owned);
        let first: &dyn Diagnostic = error;
        for diagnostic in std::iter::once(first).chain(error.related().into_iter().flatten()) {
            let source = diagnostic.source_code().or_else(|| error.source_code());
            let is_file_not_found = error.is_file_not_found();
            self.add(&Complaint { diagnostic, source, file: &file, is_file_not_found });
        }
    }

    fn add(&mut self, complaint: &Complaint<'_>) {
        let (start, _) = complaint.span().unwrap_or_default();
        let what = complaint.diagnostic.to_string();
        if !self.seen.insert((complaint.file.to_owned(), start, what.clone())) {
            return;
        }
        // What will not be told is only counted: an excerpt costs a walk through the file.
        let is_told = self.faults.len() < MAX_TOLD;
        self.faults.push(if is_told { complaint.fault() } else { Fault::new(complaint.file, what, "") });
    }

    /// The faults, in the order in which they were found.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }
}

// === impl Complaint ===

impl Complaint<'_> {
    /// First byte and length; of several places, such as two definitions of one number, the last is the one to mend.
    fn span(&self) -> Option<(usize, usize)> {
        let label = self.diagnostic.labels().and_then(Iterator::last)?;
        Some((label.offset(), label.len()))
    }

    fn fault(&self) -> Fault {
        let reason = self.diagnostic.diagnostic_source();
        let what = reason.map_or_else(|| self.diagnostic.to_string(), ToString::to_string);
        let (what, mend) = self.mended(what);
        match self.excerpt(reason) {
            Some(excerpt) => {
                let place = format!("{}:{}:{}", self.file, excerpt.line, excerpt.column);
                Fault::new(place, what, mend).with_excerpt(excerpt)
            }
            None => Fault::new(self.file, what, mend),
        }
    }

    fn mended(&self, what: String) -> (String, String) {
        // The compiler stops at the first word of a file with an edition.
        if what.ends_with("but found 'edition'") {
            return (
                "editions are read from descriptor sets, not from .proto files".to_owned(),
                "run buf build --as-file-descriptor-set -o FILE, and give --descriptor-set FILE".to_owned(),
            );
        }
        let mend = match self.diagnostic.help() {
            Some(help) => help.to_string(),
            None if self.is_file_not_found => {
                "name the folder that the import is counted from with --include".to_owned()
            }
            None if self.diagnostic.to_string().contains(HTTP_RULE) => rule_mend(&what).to_owned(),
            None => String::new(),
        };
        (what, mend)
    }

    /// The line, and in it what the reason means where that can be found, else all that is complained about.
    fn excerpt(&self, reason: Option<&dyn Diagnostic>) -> Option<Excerpt> {
        let (start, length) = self.span()?;
        let text = text_to(self.source?, start + length)?;
        let meant = text.get(start..start + length).zip(reason).and_then(|(option, reason)| {
            let (at, length) = word_in(option, reason)?;
            Some(start + at..start + at + length)
        });
        Some(Excerpt::of(text, meant.unwrap_or(start..start + length)))
    }
}

/// How to mend an annotation that is no HTTP rule.
fn rule_mend(what: &str) -> &'static str {
    if what.ends_with(&format!("not found for message '{HTTP_RULE}'")) {
        HTTP_KEYS
    } else if what.ends_with("for message 'google.api.CustomHttpPattern'") {
        "name the verb with kind, and the path with path"
    } else if what.ends_with("for oneof 'pattern'") {
        ONE_VERB
    } else if let Some(key) = what.strip_suffix(" is already set") {
        let is_verb = ["'get'", "'put'", "'post'", "'delete'", "'patch'", "'custom'"].contains(&key);
        if is_verb { ONE_VERB } else { "keep one" }
    } else {
        "write it like {get: \"/books/{id}\"}"
    }
}

/// The source as far as the end of the line in which byte `end` stands.
fn text_to(source: &dyn SourceCode, end: usize) -> Option<&str> {
    // From the first byte, and with a line more than is meant: whole lines are wanted.
    let contents = source.read_span(&SourceSpan::new(0.into(), end), 0, 1).ok()?;
    std::str::from_utf8(contents.data()).ok()
}

/// The word in `option` that `reason` means. The reason has a text of its own, with the same words but other spaces.
fn word_in(option: &str, reason: &dyn Diagnostic) -> Option<(usize, usize)> {
    let label = reason.labels().and_then(Iterator::last)?;
    let text = text_to(reason.source_code()?, label.offset() + label.len())?;
    let (before, meant) = text.split_at_checked(label.offset())?;
    let before = words::code(before, false);
    let (before, word) = match words::first(meant) {
        // It means a string or a message: the key before it is the word.
        "" => words::last(&before),
        word => (before.as_str(), word),
    };
    let nth = words::places(before, word).count();
    let option = words::code(option, false);
    // The name of the option is none of its words.
    let value = option.find('{').filter(|_| !word.is_empty())?;
    let at = words::places(&option[value..], word).nth(nth)?;
    Some((value + at, word.len()))
}
