//! The words of a rule as it is written, told apart from its strings and comments.

/// What the next character belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    /// A string, and the quote that ends it.
    Quotes(char),
    LineComment,
    BlockComment,
}

/// The text with blanks in place of its comments, and of its strings too unless they are kept; each byte keeps its
/// place.
pub(super) fn code(text: &str, keeps_strings: bool) -> String {
    let mut code = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        let before = inside;
        inside = after(inside, escaped, c, &text[at..], &text[..at]);
        escaped = matches!(inside, Inside::Quotes(_)) && c == '\\' && !escaped;
        let kept = match (before, inside) {
            (Inside::Code, Inside::Code) => true,
            (Inside::Quotes(_), _) | (_, Inside::Quotes(_)) => keeps_strings,
            _ => c == '\n',
        };
        if kept { code.push(c) } else { code.extend(std::iter::repeat_n(' ', c.len_utf8())) }
    }
    code
}

/// Where the text goes on behind `c`, with which `rest` begins.
fn after(inside: Inside, escaped: bool, c: char, rest: &str, before: &str) -> Inside {
    match (inside, c) {
        (Inside::Code, '"' | '\'') => Inside::Quotes(c),
        (Inside::Code, '#') => Inside::LineComment,
        (Inside::Code, '/') if rest.starts_with("//") => Inside::LineComment,
        (Inside::Code, '/') if rest.starts_with("/*") => Inside::BlockComment,
        // No string and no such comment goes on behind the end of its line.
        (Inside::Quotes(_) | Inside::LineComment, '\n') => Inside::Code,
        (Inside::Quotes(quote), _) if quote == c && !escaped => Inside::Code,
        (Inside::BlockComment, '/') if before.ends_with('*') && !before.ends_with("/*") => Inside::Code,
        _ => inside,
    }
}

/// The offset of each `word` that is no part of a longer one.
pub(super) fn places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !(text[..*at].ends_with(is_word) || text[at + word.len()..].starts_with(is_word)))
}

/// The word that the text begins with.
pub(super) fn first(text: &str) -> &str {
    &text[..text.find(|c| !is_word(c)).unwrap_or(text.len())]
}

/// The last word, and what stands before it.
pub(super) fn last(text: &str) -> (&str, &str) {
    let text = text.trim_end_matches(|c| !is_word(c));
    text.split_at(text.trim_end_matches(is_word).len())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blank_in_code() {
        let text = "a: \"b\\\"é\" // c 'd\n'e' /* f \" */ g # h";
        assert_eq!(code(text, false), "a:                \n              g    ");
        assert_eq!(code(text, true), "a: \"b\\\"é\"        \n'e'           g    ");
    }

    #[test]
    fn a_word_is_found_where_it_stands_alone() {
        let found: Vec<_> = places("body_x body xbody body", "body").collect();
        assert_eq!(found, [7, 18]);
        assert_eq!((first("body: x"), first(": x")), ("body", ""));
        assert_eq!((last("get body: "), last(": ")), (("get ", "body"), ("", "")));
    }
}
