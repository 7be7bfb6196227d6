//! What keeps the program from starting, told so that it can be mended.

use std::{fmt, ops::Range};

/// One fault of a command line, a variable or a contract: what, where, and how to mend it.
///
/// Unlike [`crate::error::Error`], which belongs to one call, a fault is found before anything is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands: a flag, a variable, `file:line:column` or a method.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
    /// The line that it stands in, where it was read from a text.
    pub excerpt: Option<Excerpt>,
}

/// A line of a text, and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The number of the line, from 1.
    pub line: usize,
    /// The first character that is meant, from 1.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
    /// The line.
    pub text: String,
}

// === impl Fault ===

impl Fault {
    /// A fault at `place`.
    pub fn new(place: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), mend: mend.into(), excerpt: None }
    }

    /// The same fault, with the line that it stands in.
    pub fn with_excerpt(self, excerpt: Excerpt) -> Self {
        Self { excerpt: Some(excerpt), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        if self.mend.is_empty() { Ok(()) } else { write!(f, "\n    {}", self.mend) }
    }
}

// === impl Excerpt ===

impl Excerpt {
    /// The line of `text` in which `range` (in bytes) begins.
    pub fn of(text: &str, range: Range<usize>) -> Self {
        let boundary = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (boundary(range.start), boundary(range.end));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let meant = &text[start..end.clamp(start, line_end)];
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: meant.chars().count().max(1),
            text: text[line_start..line_end].trim_end().to_owned(),
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = format!("{:>6}", self.line);
        // A tab is as wide as the reader likes it; one column keeps the caret where it belongs.
        let text = self.text.replace('\t', " ");
        let (gap, indent) = (" ".repeat(number.len()), " ".repeat(self.column - 1));
        write!(f, "{number} | {text}\n{gap} | {indent}{}", "^".repeat(self.width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_points_at_what_is_meant() {
        let text = "a\n\tget: \"/é/{ix}\" // x\nb";
        let start = text.find("ix").unwrap();
        let fault =
            Fault::new("t.proto:2:12", "no ix", "mend it").with_excerpt(Excerpt::of(text, start..start + 2));
        let shown =
            "t.proto:2:12: no ix\n     2 |  get: \"/é/{ix}\" // x\n       |            ^^\n    mend it";
        assert_eq!(fault.to_string(), shown);
    }

    #[test]
    fn an_excerpt_of_no_place_is_the_end() {
        for range in [2..9, 9..9, 2..2] {
            let excerpt = Excerpt::of("aé", range);
            assert_eq!((excerpt.line, excerpt.width), (1, 1));
        }
    }
}
