//! A JSON pull parser (RFC 8259) over one complete text.
//!
//! It builds nothing: the caller asks for what its plan expects next, and gets slices of the input. That
//! is why there is no `serde` here: a plan known only at run time drives it, numbers keep their spelling
//! (`2` and `2.0`, thirty digits), and each complaint has the place where it arose.

use std::borrow::Cow;

use wide::u8x32;

use super::{
    key::Key,
    number::{Number, digits},
};

/// Arrays and objects may nest this deep; protobuf's own parsers stop here too.
pub(super) const MAX_DEPTH: usize = 100;

/// A position in a JSON text and what comes after it.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// A place in a text to come back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    at: usize,
    depth: usize,
}

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or `-`.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`
    Null,
}

/// Where and why a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The offset in bytes.
    pub(super) offset: usize,
    /// What is wrong there.
    pub(super) what: String,
}

/// Boxed, so that the result of reading stays small.
type Result<T> = std::result::Result<T, Box<SyntaxError>>;

// === impl Next ===

impl Next {
    /// The kind with its article, for a complaint.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Null => "null",
        }
    }
}

// === impl SyntaxError ===

impl SyntaxError {
    #[cold]
    fn at(offset: usize, what: impl Into<String>) -> Box<Self> {
        Box::new(Self { offset, what: what.into() })
    }
}

// === impl Parser ===

impl<'a> Parser<'a> {
    /// Starts before the first byte. A byte order mark is skipped, as RFC 8259 section 8.1 allows.
    ///
    /// # Errors
    /// The text is not UTF-8.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self> {
        let text = simdutf8::compat::from_utf8(bytes)
            .map_err(|error| SyntaxError::at(error.valid_up_to(), "the text is not UTF-8"))?;
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Ok(Self { text, at, depth: 0 })
    }

    /// Starts at the first byte of `text`.
    pub(super) fn over(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The offset in bytes of what comes next.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The whole text.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Goes on at `offset`, where the same objects and arrays are open.
    pub(super) fn seek(&mut self, offset: usize) {
        self.at = offset;
    }

    /// This place, to come back to.
    pub(super) fn mark(&self) -> Mark {
        Mark { at: self.at, depth: self.depth }
    }

    /// Comes back to a place.
    pub(super) fn reset(&mut self, mark: Mark) {
        (self.at, self.depth) = (mark.at, mark.depth);
    }

    /// The kind of the next value, which stays unread.
    ///
    /// # Errors
    /// No value can begin here.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Next> {
        self.skip_space();
        match self.byte() {
            Some(b'"') => Ok(Next::String),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            Some(b't' | b'f') => Ok(Next::Bool),
            Some(b'n') => Ok(Next::Null),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Goes so many levels deeper, as if arrays or objects were open: what is read becomes messages that nest deeper.
    pub(super) fn descend(&mut self, levels: usize) -> Result<()> {
        if self.depth + levels > MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += levels;
        Ok(())
    }

    /// Comes back from so many levels.
    pub(super) fn ascend(&mut self, levels: usize) {
        self.depth -= levels;
    }

    /// Whether the next value is `null`, by its first letter; it stays unread.
    #[inline]
    pub(super) fn is_null(&mut self) -> bool {
        self.skip_space();
        self.byte() == Some(b'n')
    }

    /// Enters an object, if one comes. Ask [`Self::next_member`] until there is none.
    #[inline]
    pub(super) fn open_object(&mut self) -> Result<bool> {
        self.open(b'{')
    }

    /// Whether a member follows, whose key and value must then be read; `false` leaves the object.
    #[inline]
    pub(super) fn next_member(&mut self, first: &mut bool) -> Result<bool> {
        self.next_item(first, b'}', "\",\" or \"}\"")
    }

    /// Whether the key that comes is written exactly like `key`; it is then read, with its colon.
    #[inline]
    pub(super) fn eat_key(&mut self, key: &Key) -> bool {
        let end = key.end(self.text.as_bytes(), self.at);
        if let Some(end) = end {
            self.at = end;
            self.skip_space();
        }
        end.is_some()
    }

    /// Reads a key and its colon.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>> {
        if self.byte() != Some(b'"') {
            return Err(self.unexpected("a key in quotes"));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    /// Enters an array, if one comes. Ask [`Self::next_element`] until there is none.
    #[inline]
    pub(super) fn open_array(&mut self) -> Result<bool> {
        self.open(b'[')
    }

    /// Whether an element follows, which must then be read; `false` leaves the array.
    #[inline]
    pub(super) fn next_element(&mut self, first: &mut bool) -> Result<bool> {
        self.next_item(first, b']', "\",\" or \"]\"")
    }

    /// Reads a string; one without escapes is a slice of the text.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>> {
        let plain = self.begin_string()?;
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.as_bytes().to_vec();
        self.rest_of_string(&mut text)?;
        // What an escape stands for is checked while it is read.
        String::from_utf8(text).map(Cow::Owned).map_err(|_| self.error("half of a surrogate pair"))
    }

    /// Reads the opening quote and the text up to the first escape; if [`Self::eat_quote`] says that there is
    /// none, this is the whole string, and else [`Self::rest_of_string`] reads on.
    #[inline]
    pub(super) fn begin_string(&mut self) -> Result<&'a str> {
        self.skip_space();
        self.take(b'"', "a string")?;
        self.run()
    }

    /// Whether the string ends here; the quote is then read.
    #[inline]
    pub(super) fn eat_quote(&mut self) -> bool {
        self.eat(b'"')
    }

    /// Appends what is left of a string, unescaped, and reads its closing quote.
    pub(super) fn rest_of_string(&mut self, text: &mut Vec<u8>) -> Result<()> {
        while !self.eat(b'"') {
            self.take(b'\\', "an escape")?;
            let escaped = self.escape()?;
            text.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
            text.extend_from_slice(self.run()?.as_bytes());
        }
        Ok(())
    }

    /// Reads a number.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number<'a>> {
        self.skip_space();
        let bytes = self.text.as_bytes();
        let (start, mut at) = (self.at, self.at);
        let is = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
        let negative = is(at, b'-');
        at += usize::from(negative);
        let whole = at;
        let mut mantissa = 0_u64;
        at = digits(bytes, at, &mut mantissa);
        let mut count = at - whole;
        if count == 0 || (count > 1 && is(whole, b'0')) {
            return Err(self.bad_integer(whole, count));
        }
        let mut decimals = 0;
        if is(at, b'.') {
            let point = at;
            at = digits(bytes, at + 1, &mut mantissa);
            decimals = at - point - 1;
            count += decimals;
            if decimals == 0 {
                return Err(self.no_digit(at));
            }
        }
        let has_exponent = is(at, b'e') || is(at, b'E');
        if has_exponent {
            at = self.exponent(at + 1)?;
        }
        self.at = at;
        let exact = !has_exponent && count <= Number::MAX_EXACT_DIGITS;
        Ok(Number { text: &self.text[start..at], negative, mantissa, decimals, exact })
    }

    /// Where an exponent ends that begins after its `e`.
    fn exponent(&mut self, at: usize) -> Result<usize> {
        let bytes = self.text.as_bytes();
        let sign = matches!(bytes.get(at), Some(b'+' | b'-'));
        let start = at + usize::from(sign);
        match digits(bytes, start, &mut 0) {
            end if end > start => Ok(end),
            _ => Err(self.no_digit(start)),
        }
    }

    #[cold]
    fn bad_integer(&mut self, at: usize, count: usize) -> Box<SyntaxError> {
        if count == 0 {
            return self.no_digit(at);
        }
        self.at = at + 1;
        self.error("a number must not begin with 0")
    }

    #[cold]
    fn no_digit(&mut self, at: usize) -> Box<SyntaxError> {
        self.at = at;
        self.unexpected("a digit")
    }

    /// Reads `true` or `false`.
    pub(super) fn bool(&mut self) -> Result<bool> {
        self.skip_space();
        if self.byte() == Some(b't') {
            return self.word("true").map(|()| true);
        }
        self.word("false").map(|()| false)
    }

    /// Reads `null`.
    pub(super) fn null(&mut self) -> Result<()> {
        self.skip_space();
        self.word("null")
    }

    /// Reads any value and forgets it; what is skipped must be JSON too.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut first = true;
        match self.peek()? {
            Next::Object => {
                self.open_object()?;
                while self.next_member(&mut first)? {
                    self.skip_key()?;
                    self.skip()?;
                }
            }
            Next::Array => {
                self.open_array()?;
                while self.next_element(&mut first)? {
                    self.skip()?;
                }
            }
            Next::String => self.skip_string()?,
            Next::Number => drop(self.number()?),
            Next::Bool => drop(self.bool()?),
            Next::Null => self.null()?,
        }
        Ok(())
    }

    /// Checks that only white space is left.
    pub(super) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    #[inline]
    fn open(&mut self, bracket: u8) -> Result<bool> {
        self.skip_space();
        if self.byte() != Some(bracket) {
            return Ok(false);
        }
        if self.depth == MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.at += 1;
        self.depth += 1;
        Ok(true)
    }

    #[inline]
    fn next_item(&mut self, first: &mut bool, close: u8, expected: &str) -> Result<bool> {
        self.skip_space();
        match self.byte() {
            Some(b',') if !*first => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ if std::mem::take(first) => Ok(true),
            _ => Err(self.unexpected(expected)),
        }
    }

    #[inline]
    fn colon(&mut self) -> Result<()> {
        self.skip_space();
        self.take(b':', "\":\"")?;
        self.skip_space();
        Ok(())
    }

    fn skip_key(&mut self) -> Result<()> {
        if self.byte() != Some(b'"') {
            return Err(self.unexpected("a key in quotes"));
        }
        self.skip_string()?;
        self.colon()
    }

    fn skip_string(&mut self) -> Result<()> {
        self.begin_string()?;
        while !self.eat(b'"') {
            self.take(b'\\', "an escape")?;
            self.escape()?;
            self.run()?;
        }
        Ok(())
    }

    /// Reads up to the next quote or backslash.
    #[inline]
    fn run(&mut self) -> Result<&'a str> {
        let start = self.at;
        self.at = end_of_run(self.text.as_bytes(), start);
        match self.byte() {
            Some(b'"' | b'\\') => Ok(&self.text[start..self.at]),
            Some(_) => Err(self.error("a control character in a string must be escaped")),
            None => Err(self.error("the text ends inside a string")),
        }
    }

    fn escape(&mut self) -> Result<char> {
        let Some(byte) = self.byte() else {
            return Err(self.error("the text ends inside a string"));
        };
        self.at += 1;
        match escaped(byte) {
            Some(byte) => Ok(char::from(byte)),
            None if byte == b'u' => self.unicode_escape(),
            None => Err(SyntaxError::at(self.at - 1, "there is no such escape")),
        }
    }

    fn unicode_escape(&mut self) -> Result<char> {
        const LONE: &str = "half of a surrogate pair";
        let start = self.at - 2;
        let high = self.hex4()?;
        let code = match high {
            0xd800..=0xdbff if self.eat(b'\\') && self.eat(b'u') => {
                let low = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(SyntaxError::at(start, LONE));
                }
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| SyntaxError::at(start, LONE))
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.error("expected four hexadecimal digits"));
        };
        let value =
            digits.iter().fold(0, |value, digit| value * 16 + char::from(*digit).to_digit(16).unwrap_or(0));
        self.at += 4;
        Ok(value)
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected(word));
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        // Answers for programs have none, so that one look is mostly enough.
        if matches!(self.byte(), Some(0..=b' ')) {
            self.skip_more_space();
        }
    }

    fn skip_more_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.byte() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn take(&mut self, wanted: u8, expected: &str) -> Result<()> {
        if self.eat(wanted) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    #[cold]
    fn unexpected(&self, expected: &str) -> Box<SyntaxError> {
        let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        match found {
            Some(found) => self.error(format!("expected {expected}, found {:?}", found.to_string())),
            None => self.error(format!("expected {expected}, but the text ends")),
        }
    }

    #[cold]
    fn too_deep(&self) -> Box<SyntaxError> {
        self.error(format!("nested deeper than {MAX_DEPTH} levels"))
    }

    #[cold]
    fn error(&self, what: impl Into<String>) -> Box<SyntaxError> {
        SyntaxError::at(self.at, what)
    }
}

/// How many bytes of a string are looked at in one step.
const CHUNK: usize = 32;

/// Appends what comes before the first quote, backslash or control character from `at` on, and tells where that is, or
/// the end. It is copied while it is looked for: most runs are short, and a call to copy costs more than the bytes.
#[inline]
pub(super) fn copy_run(text: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    const SHORT: usize = 4 * CHUNK;
    let (start, mut next) = (out.len(), at);
    while let Some(chunk) = text.get(next..).and_then(<[u8]>::first_chunk)
        && next - at < SHORT
    {
        out.extend_from_slice(chunk);
        if let Some(end) = end_in(chunk) {
            out.truncate(start + (next - at) + end);
            return next + end;
        }
        next += CHUNK;
    }
    let end = end_of_run(text, next);
    out.extend_from_slice(&text[next..end]);
    end
}

/// What a backslash and this byte stand for, if that is a byte.
#[inline]
pub(super) fn escaped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// The first quote, backslash or control character from `at` on, else the end.
#[inline]
fn end_of_run(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk) {
        if let Some(end) = end_in(chunk) {
            return at + end;
        }
        at += CHUNK;
    }
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    at + end.unwrap_or(rest.len())
}

/// The first quote, backslash or control character of a chunk.
#[inline]
fn end_in(chunk: &[u8; CHUNK]) -> Option<usize> {
    let bytes = u8x32::new(*chunk);
    let quote = bytes.simd_eq(u8x32::splat(b'"'));
    let backslash = bytes.simd_eq(u8x32::splat(b'\\'));
    let control = bytes.min(u8x32::splat(0x1f)).simd_eq(bytes);
    let found = (quote | backslash | control).to_bitmask();
    (found != 0).then(|| found.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &[u8]) -> Result<()> {
        let mut parser = Parser::new(text)?;
        parser.skip()?;
        parser.end()
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for (text, offset, what) in [
            ("", 0, "expected a value, but the text ends"),
            ("{\"a\":1", 6, "expected \",\" or \"}\", but the text ends"),
            ("{\"a\" 1}", 5, "expected \":\", found \"1\""),
            ("{a:1}", 1, "expected a key in quotes, found \"a\""),
            ("[1,]", 3, "expected a value, found \"]\""),
            ("[1 2]", 3, "expected \",\" or \"]\", found \"2\""),
            ("[01]", 2, "a number must not begin with 0"),
            ("-", 1, "expected a digit, but the text ends"),
            ("1.", 2, "expected a digit, but the text ends"),
            ("1e+", 3, "expected a digit, but the text ends"),
            ("\"a", 2, "the text ends inside a string"),
            ("\"a\\", 3, "the text ends inside a string"),
            ("\"a\n\"", 2, "a control character in a string must be escaped"),
            ("\"\\x\"", 2, "there is no such escape"),
            ("\"\\u12g4\"", 3, "expected four hexadecimal digits"),
            ("\"\\ud800\"", 1, "half of a surrogate pair"),
            ("\"\\udc00\"", 1, "half of a surrogate pair"),
            ("\"\\ud800\\u0041\"", 1, "half of a surrogate pair"),
            ("nul", 0, "expected null, found \"n\""),
            ("<html>", 0, "expected a value, found \"<\""),
            ("1 x", 2, "expected the end, found \"x\""),
        ] {
            assert_eq!(check(text.as_bytes()), Err(SyntaxError::at(offset, what)), "{text}");
        }
        assert_eq!(check(b"\"\xff\""), Err(SyntaxError::at(1, "the text is not UTF-8")));
    }

    #[test]
    fn nesting_ends_at_its_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
        let error = check(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
        assert_eq!((error.offset, error.what.as_str()), (100, "nested deeper than 100 levels"));
    }

    #[test]
    fn a_string_is_unescaped() {
        let mut parser = Parser::new(br#" "a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 \u0000z" "#).unwrap();
        assert_eq!(parser.string().unwrap(), "a\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600} \0z");
        assert_eq!(parser.end(), Ok(()));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(check("\u{feff}{}".as_bytes()), Ok(()));
    }

    /// Text that is JSON, nearly JSON, or neither.
    fn near_json() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", "\\u", "d83d", "0", "1", "-", ".", "e", "+",
            "true", "false", "null", " ", "\n", "\u{e9}",
        ]);
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn it_accepts_exactly_what_serde_json_accepts(text in near_json()) {
            let theirs: std::result::Result<&serde_json::value::RawValue, _> = serde_json::from_str(&text);
            prop_assert_eq!(check(text.as_bytes()).is_ok(), theirs.is_ok(), "{}", text);
        }

        #[test]
        fn it_reads_every_string_that_serde_json_writes(value in any::<String>()) {
            let text = serde_json::to_string(&value).unwrap();
            let mut parser = Parser::new(text.as_bytes()).unwrap();
            prop_assert_eq!(parser.string().unwrap(), value);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = check(&bytes);
        }
    }
}
