//! The path template of an HTTP rule.
//!
//! The grammar, from `google/api/http.proto`:
//!
//! ```text
//! Template  = "/" Segments [ Verb ] ;
//! Segments  = Segment { "/" Segment } ;
//! Segment   = "*" | "**" | LITERAL | Variable ;
//! Variable  = "{" FieldPath [ "=" Segments ] "}" ;
//! FieldPath = IDENT { "." IDENT } ;
//! Verb      = ":" LITERAL ;
//! ```
//!
//! A literal is made of the characters that RFC 3986 allows in a path segment, without `:` and `*`; it
//! is sent as it is written. `**` stands last, or anywhere inside a variable.

use std::fmt;

/// A parsed path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The segments, in order.
    pub segments: Vec<Segment>,
    /// The custom verb after the colon.
    pub verb: Option<String>,
}

/// One part of a path between two slashes; a variable may cover several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Sent as it is.
    Literal(String),
    /// `*` outside a variable: matches, but captures nothing.
    Any,
    /// `**` outside a variable.
    AnyPath,
    /// Replaced by the value of a request field.
    Variable(Variable),
}

/// `{field.path=pattern}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The names along the way to the field.
    pub field_path: Vec<String>,
    /// What the value has to look like.
    pub pattern: Vec<Glob>,
}

/// One segment of a variable's pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glob {
    /// Exactly this text.
    Literal(String),
    /// One segment that is not empty.
    One,
    /// Zero or more segments.
    Many,
}

/// Why a text is no template: the place and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: expected {expected}, found {found}")]
pub struct TemplateError {
    /// The place, in characters, from 1.
    pub column: usize,
    /// What the grammar allows there.
    pub expected: &'static str,
    /// What stands there.
    pub found: String,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

// === impl Template ===

impl Template {
    /// Parses `text` by the grammar above.
    ///
    /// # Errors
    /// The first place where the text leaves the grammar.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser { text, at: 0 };
        parser.take('/', "\"/\"")?;
        let mut segments = Vec::new();
        loop {
            let start = parser.at;
            if segments.last() == Some(&Segment::AnyPath) {
                return Err(parser.error_at(start, "the end, since \"**\" must be the last segment"));
            }
            segments.push(parser.segment()?);
            if !parser.eat('/') {
                break;
            }
        }
        let verb = if parser.eat(':') { Some(parser.literal("a verb")?) } else { None };
        match parser.peek() {
            None => Ok(Self { segments, verb }),
            Some(_) => Err(parser.error("\"/\", \":\" or the end")),
        }
    }

    /// The variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(variable) => Some(variable),
            Segment::Literal(_) | Segment::Any | Segment::AnyPath => None,
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Any => f.write_str("/*")?,
                Segment::AnyPath => f.write_str("/**")?,
                Segment::Variable(variable) => write!(f, "/{variable}")?,
            }
        }
        self.verb.iter().try_for_each(|verb| write!(f, ":{verb}"))
    }
}

// === impl Segment ===

impl Segment {
    /// Whether there is something to send for it: a wildcard outside a variable has no value.
    pub fn has_value(&self) -> bool {
        matches!(self, Self::Literal(_) | Self::Variable(_))
    }
}

// === impl Variable ===

impl Variable {
    /// Whether the value is one path segment, in which a slash is data.
    pub fn is_single_segment(&self) -> bool {
        self.pattern == [Glob::One]
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}", self.field_path.join("."))?;
        if !self.is_single_segment() {
            let pattern: Vec<&str> = self.pattern.iter().map(Glob::as_str).collect();
            write!(f, "={}", pattern.join("/"))?;
        }
        f.write_str("}")
    }
}

// === impl Glob ===

impl Glob {
    /// The text that the pattern was written with.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Literal(text) => text,
            Self::One => "*",
            Self::Many => "**",
        }
    }
}

// === impl Parser ===

impl Parser<'_> {
    fn segment(&mut self) -> Result<Segment, TemplateError> {
        match self.peek() {
            Some('{') => self.variable().map(Segment::Variable),
            _ => Ok(match self.glob()? {
                Glob::Literal(text) => Segment::Literal(text),
                Glob::One => Segment::Any,
                Glob::Many => Segment::AnyPath,
            }),
        }
    }

    fn variable(&mut self) -> Result<Variable, TemplateError> {
        self.take('{', "\"{\"")?;
        let mut field_path = vec![self.ident()?];
        while self.eat('.') {
            field_path.push(self.ident()?);
        }
        let mut pattern = vec![Glob::One];
        if self.eat('=') {
            pattern = vec![self.glob()?];
            while self.eat('/') {
                pattern.push(self.glob()?);
            }
        }
        self.take('}', "\"}\" (a variable must not contain another)")?;
        Ok(Variable { field_path, pattern })
    }

    fn glob(&mut self) -> Result<Glob, TemplateError> {
        if !self.eat('*') {
            return self.literal("a segment").map(Glob::Literal);
        }
        Ok(if self.eat('*') { Glob::Many } else { Glob::One })
    }

    fn ident(&mut self) -> Result<String, TemplateError> {
        match self.peek() {
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                Ok(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned())
            }
            _ => Err(self.error("a field name")),
        }
    }

    fn literal(&mut self, expected: &'static str) -> Result<String, TemplateError> {
        let start = self.at;
        let literal = self.take_while(is_literal).to_owned();
        if literal.is_empty() {
            return Err(self.error(expected));
        }
        match bad_escape(&literal) {
            Some(offset) => Err(self.error_at(start + offset, "\"%\" and two hexadecimal digits")),
            None => Ok(literal),
        }
    }

    fn take_while(&mut self, allowed: impl Fn(char) -> bool) -> &str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn take(&mut self, wanted: char, expected: &'static str) -> Result<(), TemplateError> {
        if self.eat(wanted) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn error(&self, expected: &'static str) -> TemplateError {
        self.error_at(self.at, expected)
    }

    fn error_at(&self, at: usize, expected: &'static str) -> TemplateError {
        let found = match self.text[at..].chars().next() {
            Some(c) => format!("{:?}", c.to_string()),
            None => "the end".to_owned(),
        };
        TemplateError { column: self.text[..at].chars().count() + 1, expected, found }
    }
}

fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()+,;=@".contains(c)
}

/// The offset of a `%` that no two hexadecimal digits follow.
fn bad_escape(literal: &str) -> Option<usize> {
    let bytes = literal.as_bytes();
    literal
        .match_indices('%')
        .map(|(at, _)| at)
        .find(|at| !matches!(bytes.get(at + 1..at + 3), Some(hex) if hex.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_template_is_taken_apart() {
        let template = Template::parse("/v1/{parent=shelves/*}/books/{book.id}:move").unwrap();
        assert_eq!(
            template.segments,
            [
                Segment::Literal("v1".into()),
                Segment::Variable(Variable {
                    field_path: vec!["parent".into()],
                    pattern: vec![Glob::Literal("shelves".into()), Glob::One],
                }),
                Segment::Literal("books".into()),
                Segment::Variable(Variable {
                    field_path: vec!["book".into(), "id".into()],
                    pattern: vec![Glob::One],
                }),
            ]
        );
        assert_eq!(template.verb.as_deref(), Some("move"));
    }

    #[test]
    fn a_template_that_leaves_the_grammar_is_refused_with_its_place() {
        for (text, complaint) in [
            ("", "column 1: expected \"/\", found the end"),
            ("products", "column 1: expected \"/\", found \"p\""),
            ("/", "column 2: expected a segment, found the end"),
            ("/a//b", "column 4: expected a segment, found \"/\""),
            ("/a/", "column 4: expected a segment, found the end"),
            ("/a b", "column 3: expected \"/\", \":\" or the end, found \" \""),
            ("/a?b=1", "column 3: expected \"/\", \":\" or the end, found \"?\""),
            ("/{1}", "column 3: expected a field name, found \"1\""),
            ("/{a.}", "column 5: expected a field name, found \"}\""),
            ("/{a=b/{c}}", "column 7: expected a segment, found \"{\""),
            ("/{a=b{c}}", "column 6: expected \"}\" (a variable must not contain another), found \"{\""),
            ("/{a}b", "column 5: expected \"/\", \":\" or the end, found \"b\""),
            ("/a*", "column 3: expected \"/\", \":\" or the end, found \"*\""),
            ("/***", "column 4: expected \"/\", \":\" or the end, found \"*\""),
            ("/**/a", "column 5: expected the end, since \"**\" must be the last segment, found \"a\""),
            ("/a:", "column 4: expected a verb, found the end"),
            ("/a:b/c", "column 5: expected \"/\", \":\" or the end, found \"/\""),
            ("/a%5", "column 3: expected \"%\" and two hexadecimal digits, found \"%\""),
            ("/caf\u{e9}/x", "column 5: expected \"/\", \":\" or the end, found \"\u{e9}\""),
        ] {
            assert_eq!(Template::parse(text).unwrap_err().to_string(), complaint, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_what_was_parsed_gives_the_text_again(
            segments in prop::collection::vec("[a-z0-9._~-]{1,5}|\\*|\\{[a-z]{1,4}(\\.[a-z]{1,3})?(=[a-z]{1,3}/\\*\\*?)?\\}", 1..5),
            verb in prop::option::of("[a-zA-Z]{1,6}"),
        ) {
            let verb = verb.map(|verb| format!(":{verb}")).unwrap_or_default();
            let text = format!("/{}{verb}", segments.join("/"));
            prop_assert_eq!(Template::parse(&text).unwrap().to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[/{}*:=.%a-z\u{e9} ]{0,24}") {
            let _ = Template::parse(&text);
        }
    }
}
