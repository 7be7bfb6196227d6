//! Sentences of an API, made safe to show.

use std::net::{IpAddr, SocketAddr};

/// A longer sentence is cut.
const MAX_TEXT_CHARS: usize = 256;

/// A sentence that may be shown to strangers: one line without markup, addresses and URLs, and not long.
pub(super) fn safe_text(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let markup = |(at, _)| line[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || "!/?".contains(c));
    if line.match_indices('<').any(markup) {
        return None;
    }
    let words = line.split_whitespace().map(hide_address);
    let safe = words.collect::<Vec<_>>().join(" ");
    let safe: String = safe.chars().filter(|c| !c.is_control()).collect();
    match safe.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => Some(format!("{}…", &safe[..end])),
        None => Some(safe),
    }
}

fn hide_address(word: &str) -> &str {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_address = bare.parse::<IpAddr>().is_ok() || bare.parse::<SocketAddr>().is_ok();
    if word.contains("://") || is_address { "[address]" } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_internal_stands_in_a_text_that_is_shown() {
        for (text, shown) in [
            ("Title can't be blank", Some("Title can't be blank")),
            ("is < 5 and > 3", Some("is < 5 and > 3")),
            ("see http://10.0.0.3:3000/admin now", Some("see [address] now")),
            ("could not connect to 10.0.0.3:5432, retrying", Some("could not connect to [address] retrying")),
            ("  \n first\n/app/models/product.rs:3", Some("first")),
            ("<html><body>Oops</body></html>", None),
            ("", None),
            (" \n ", None),
        ] {
            assert_eq!(safe_text(text).as_deref(), shown, "{text}");
        }
        assert_eq!(safe_text(&"é".repeat(600)).unwrap().chars().count(), MAX_TEXT_CHARS + 1);
    }
}
