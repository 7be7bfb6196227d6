//! The file of API keys: who has one, until when, and for which methods. No key stands in it, only digests.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use serde::Deserialize;
use toml::{Spanned, value::Datetime};
use wildmatch::WildMatch;

use super::{
    key::{KeyDigest, id_of, is_id},
    rates::{Rate, in_order},
    requirement::Proof,
};
use crate::{
    fault::{Excerpt, Fault},
    reload::Text,
};

/// All keys.
#[derive(Debug, Default)]
pub struct Keys {
    by_id: HashMap<String, KeyEntry>,
}

/// One key, as the file tells it.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// Whose it is. Several keys of one caller have one name, so that they can take turns.
    pub name: Arc<str>,
    /// The same as the name of a caller.
    pub(super) caller: Arc<str>,
    /// What names the key.
    pub id: String,
    /// When it ends.
    pub expires: Option<SystemTime>,
    /// Which methods it is for (`service/method`); empty is all.
    pub methods: Vec<WildMatch>,
    /// How often its caller may call, in place of what is common; empty is what is common.
    pub rates: Arc<[Rate]>,
    /// Whether it was taken back.
    pub revoked: bool,
    digest: KeyDigest,
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    id: Spanned<String>,
    sha256: Spanned<String>,
    expires: Option<Spanned<Datetime>>,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    rates: Vec<Spanned<String>>,
    #[serde(default)]
    revoked: bool,
}

// === impl Keys ===

impl Keys {
    /// Reads the files; each may have any number of `[[key]]`.
    ///
    /// # Errors
    /// Everything in them that is no key.
    pub fn parse(texts: &[Text]) -> Result<Self, Vec<Fault>> {
        let (mut keys, mut faults) = (Self::default(), Vec::new());
        for text in texts {
            match entries(text) {
                Ok(entries) => entries.into_iter().for_each(|entry| keys.add(entry, text, &mut faults)),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(keys) } else { Err(faults) }
    }

    /// All keys, by name and id.
    pub fn entries(&self) -> Vec<&KeyEntry> {
        let mut entries: Vec<_> = self.by_id.values().collect();
        entries.sort_by_key(|entry| (&entry.name, &entry.id));
        entries
    }

    /// The entry of this key, if it is one.
    pub(super) fn find(&self, key: &str) -> Option<&KeyEntry> {
        let digest = KeyDigest::of(key);
        self.by_id.get(id_of(key)?).filter(|entry| entry.digest.is(&digest))
    }

    fn add(&mut self, entry: Entry, text: &Text, faults: &mut Vec<Fault>) {
        let before = faults.len();
        let mut fault = |at: std::ops::Range<usize>, what: String, mend: &str| {
            faults.push(located(text, at, &what, mend));
        };
        if entry.name.get_ref().is_empty() || entry.name.get_ref().chars().any(char::is_control) {
            fault(entry.name.span(), "is no name".to_owned(), "name the caller whose key it is");
        }
        if !is_id(entry.id.get_ref()) {
            fault(entry.id.span(), "is no id of a key".to_owned(), "write what `keys new` has printed");
        }
        let digest = KeyDigest::parse(entry.sha256.get_ref());
        if digest.is_none() {
            let what = "is no SHA-256 in hexadecimal".to_owned();
            fault(
                entry.sha256.span(),
                what,
                "write what `keys new` has printed; the key itself does not belong here",
            );
        }
        let expires = entry.expires.as_ref().map(|expires| time(expires.get_ref()));
        if let (Some(None), Some(expires)) = (expires, &entry.expires) {
            let what = "is no time in UTC".to_owned();
            fault(
                expires.span(),
                what,
                "write it like 2027-01-31T12:00:00Z, or 2027-01-31 for the beginning of that day",
            );
        }
        let mut rates = Vec::new();
        for rate in &entry.rates {
            match rate.get_ref().parse::<Rate>() {
                Ok(rate) => rates.push(rate),
                Err(_) => fault(
                    rate.span(),
                    "is no rate".to_owned(),
                    "write it like 50/s, 3000/min, 10000/h or 100000/day",
                ),
            }
        }
        if self.by_id.contains_key(entry.id.get_ref()) {
            fault(entry.id.span(), "is the id of another key too".to_owned(), "keep one of the two entries");
        }
        if let Some(digest) = digest.filter(|_| faults.len() == before) {
            let entry = KeyEntry {
                caller: format!("{}:{}", Proof::Key, entry.name.get_ref()).into(),
                name: entry.name.into_inner().into(),
                id: entry.id.into_inner(),
                expires: expires.flatten(),
                methods: entry.methods.iter().map(|methods| WildMatch::new(methods)).collect(),
                rates: in_order(&rates),
                revoked: entry.revoked,
                digest,
            };
            self.by_id.insert(entry.id.clone(), entry);
        }
    }
}

// === impl KeyEntry ===

impl KeyEntry {
    /// Whether it has ended by then.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it is for this method.
    pub fn is_for(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|methods| methods.matches(method))
    }
}

fn entries(text: &Text) -> Result<Vec<Entry>, Fault> {
    let mend = "write the entries that `keys new` prints";
    let source = std::str::from_utf8(&text.bytes).map_err(|_| text.fault("is not UTF-8", mend))?;
    let file: Result<File, _> = toml::from_str(source);
    let file = file.map_err(|error| match error.span() {
        Some(span) => located(text, span, error.message(), mend),
        None => text.fault(error.message(), mend),
    })?;
    Ok(file.key)
}

/// A fault that points at its place in the file. A line of it holds no secret, unless somebody has put one there.
fn located(text: &Text, span: std::ops::Range<usize>, what: &str, mend: &str) -> Fault {
    let source = String::from_utf8_lossy(&text.bytes);
    let excerpt = Excerpt::of(&source, span);
    let place = format!("{}:{}:{}", text.path.display(), excerpt.line, excerpt.column);
    Fault::new(place, what, mend)
}

/// A time in UTC, or a day, which ends when it begins.
fn time(written: &Datetime) -> Option<SystemTime> {
    let text = written.to_string();
    let text = if written.time.is_none() { format!("{text}T00:00:00Z") } else { text };
    humantime::parse_rfc3339(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};
    use zeroize::Zeroizing;

    fn text(source: &str) -> Text {
        Text { path: "keys.toml".into(), bytes: Zeroizing::new(source.as_bytes().to_vec()) }
    }

    fn told(source: &str) -> Vec<String> {
        Keys::parse(&[text(source)]).unwrap_err().iter().map(|fault| fault.to_string()).collect()
    }

    #[test]
    fn an_entry_is_read_with_all_that_it_says() {
        let source = format!(
            "[[key]]\nname = 'acme'\nid = 'abcdefgh'\nsha256 = '{}'\nexpires = 1970-01-02\nmethods = ['a.B/*']\n",
            "00".repeat(32)
        );
        let keys = Keys::parse(&[text(&source)]).unwrap();
        let [entry] = keys.entries()[..] else { panic!("{keys:?}") };
        assert_eq!((&*entry.name, &*entry.id, entry.revoked), ("acme", "abcdefgh", false));
        let day = UNIX_EPOCH + Duration::from_secs(24 * 3600);
        assert_eq!(
            (entry.expires, entry.has_expired(day), entry.has_expired(UNIX_EPOCH)),
            (Some(day), true, false)
        );
        assert!(entry.is_for("a.B/C") && !entry.is_for("a.C/C"));
        assert!(keys.find("brk_abcdefgh_x").is_none() && keys.find("").is_none());
    }

    #[test]
    fn a_file_without_keys_has_none() {
        assert!(Keys::parse(&[text("")]).unwrap().entries().is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let good = "00".repeat(32);
        let source = format!(
            "[[key]]\nname = ''\nid = 'ABCDEFGH'\nsha256 = 'brk_secret'\nexpires = 2027-01-01T00:00:00+01:00\n\
             [[key]]\nname = 'a'\nid = 'abcdefgh'\nsha256 = '{good}'\n[[key]]\nname = 'b'\nid = 'abcdefgh'\nsha256 = '{good}'\n"
        );
        let printed = "    write what `keys new` has printed";
        assert_eq!(
            told(&source),
            [
                "keys.toml:2:8: is no name\n    name the caller whose key it is".to_owned(),
                format!("keys.toml:3:6: is no id of a key\n{printed}"),
                format!(
                    "keys.toml:4:10: is no SHA-256 in hexadecimal\n{printed}; the key itself does not belong here"
                ),
                "keys.toml:5:11: is no time in UTC\n    write it like 2027-01-31T12:00:00Z, or 2027-01-31 for the \
                 beginning of that day"
                    .to_owned(),
                "keys.toml:12:6: is the id of another key too\n    keep one of the two entries".to_owned(),
            ]
        );
    }

    #[test]
    fn a_secret_that_stands_in_the_file_by_mistake_is_not_told() {
        let told =
            told("[[key]]\nname = 'a'\nid = 'abcdefgh'\nsha256 = 'brk_secret'\nsecret = 'brk_secret'\n");
        assert!(!told.is_empty() && !told.concat().contains("brk_secret"), "{told:?}");
    }
}
