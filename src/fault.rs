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

/// How many faults are told; the rest is counted.
pub const MAX_TOLD: usize = 100;
/// How many characters of a line are shown.
const MAX_SHOWN: usize = 120;
/// How many of them stand before what is meant, where the line is longer.
const LEAD: usize = 40;

/// A line of a text, and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The number of the line, from 1.
    pub line: usize,
    /// The first character that is meant, from 1.
    pub column: usize,
    /// How many of the characters that are shown are meant.
    pub width: usize,
    /// The line, or what is about the meant part if it is long.
    pub text: Box<str>,
    /// How many characters of `text` stand before those that are meant.
    pub indent: usize,
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
        let meant = text[start..end.clamp(start, line_end)].chars().count();
        let before = text[line_start..start].chars().count();
        let (shown, indent) = window(&text[line_start..line_end], before);
        let room = shown.chars().count().saturating_sub(indent);
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: before + 1,
            width: meant.min(room).max(1),
            text: shown.into(),
            indent,
        }
    }
}

/// What is shown of `line`, and how many characters of that stand before the one that has `before` before it.
fn window(line: &str, before: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= MAX_SHOWN {
        return (line.trim_end().to_owned(), before);
    }
    let from = before.saturating_sub(LEAD).min(length - MAX_SHOWN);
    let shown: String = line.chars().skip(from).take(MAX_SHOWN).collect();
    let cut = |is_cut: bool| if is_cut { "…" } else { "" };
    let (head, tail) = (cut(from > 0), cut(from + MAX_SHOWN < length));
    (format!("{head}{shown}{tail}").trim_end().to_owned(), before - from + head.chars().count())
}

/// The first [`MAX_TOLD`] faults, with a word on how many more there are.
pub(crate) fn told(faults: &[Fault]) -> Vec<Fault> {
    let (told, more) = faults.split_at(faults.len().min(MAX_TOLD));
    let mut told = told.to_vec();
    if !more.is_empty() {
        let what = format!("and {} more", in_thousands(more.len()));
        told.push(Fault::new("contract", what, "mend those above first"));
    }
    told
}

/// A number with a comma after each three digits.
fn in_thousands(number: usize) -> String {
    let digits = number.to_string();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits
        .char_indices()
        .flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit]))
        .collect()
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = format!("{:>6}", self.line);
        // A tab is as wide as the reader likes it; one column keeps the caret where it belongs.
        let text = self.text.replace('\t', " ");
        let (gap, indent) = (" ".repeat(number.len()), " ".repeat(self.indent));
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

    #[test]
    fn an_excerpt_of_a_long_line_shows_what_is_about_the_meant_part() {
        let line = format!("{}{}{}", "a".repeat(500), "bcd", "e".repeat(500));
        let excerpt = Excerpt::of(&line, 500..503);
        assert_eq!(&*excerpt.text, format!("…{}bcd{}…", "a".repeat(40), "e".repeat(77)));
        assert_eq!((excerpt.line, excerpt.column, excerpt.width, excerpt.indent), (1, 501, 3, 41));
        let excerpt = Excerpt::of(&line, 2..1000);
        assert_eq!(&*excerpt.text, format!("{}…", "a".repeat(120)));
        assert_eq!((excerpt.column, excerpt.width, excerpt.indent), (3, 119, 2));
        let excerpt = Excerpt::of(&line, 1002..1003);
        assert_eq!(&*excerpt.text, format!("…{}", "e".repeat(120)));
        assert_eq!((excerpt.column, excerpt.width, excerpt.indent), (1003, 1, 120));
    }

    #[test]
    fn of_too_many_faults_the_last_are_counted() {
        let faults = |count: usize| vec![Fault::new("a", "b", "c"); count];
        assert_eq!(told(&faults(100)), faults(100));
        let many = told(&faults(1_234_667));
        assert_eq!((many.len(), many[100].what.as_str()), (101, "and 1,234,567 more"));
    }
}
