//! Values of flags and variables, read one by one, and everything that is wrong with them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use clap::builder::{OsStringValueParser, TypedValueParser};
use http::Uri;

use super::{
    Exit,
    input::{Input, Origin, flag, name, variable},
};
use crate::fault::Fault;

/// How to mend a time.
pub(super) const TIME: &str = "write a number with its unit, such as 500ms, 10s or 2m, and at most 10y";

/// The longest time that can be set: `10y`, which is for ever. A clock can still add it.
const LONGEST_TIME: Duration = Duration::from_secs(10 * 8766 * 3600);

/// What is wrong with settings, and whether a flag is among them.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) faults: Vec<Fault>,
    pub(super) command_line: bool,
}

/// Reads settings and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    input: &'a Input<'a>,
    pub(super) faults: Faults,
}

/// A time that is not longer than ten years.
pub(super) fn time(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|time| *time <= LONGEST_TIME)
}

/// Both settings, or the faults of both.
pub(super) fn both<A, B>(one: Result<A, Faults>, other: Result<B, Faults>) -> Result<(A, B), Faults> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err(one.err().unwrap_or_default().and(other.err().unwrap_or_default())),
    }
}

/// Reads a path as it is. An empty one is told later, with all other faults and by the name of its variable.
pub(super) fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

// === impl Faults ===

impl Faults {
    /// Faults of what was read from files, not of flags.
    pub(super) fn of_files(faults: Vec<Fault>) -> Self {
        Self { faults, command_line: false }
    }

    /// Faults of what stands on the command line.
    pub(super) fn of_arguments(faults: Vec<Fault>) -> Self {
        Self { faults, command_line: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    fn and(mut self, other: Self) -> Self {
        self.faults.extend(other.faults);
        Self { command_line: self.command_line || other.command_line, ..self }
    }
}

impl From<Faults> for Exit {
    fn from(Faults { faults, command_line }: Faults) -> Self {
        Self::Faults { faults, command_line }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// One that has found nothing wrong yet.
    pub(super) fn new(input: &'a Input<'a>) -> Self {
        Self { input, faults: Faults::default() }
    }

    /// The value that `parse` reads, or a fault with `mend`.
    pub(super) fn value<T>(
        &mut self,
        id: &str,
        text: &str,
        mend: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = parse(text);
        if value.is_none() {
            self.fault_of(id, Some(text), format!("{text:?} is not valid"), mend);
        }
        value
    }

    pub(super) fn optional<T>(
        &mut self,
        id: &str,
        text: Option<&str>,
        mend: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.value(id, text?, mend, parse)
    }

    /// A path that is not empty.
    pub(super) fn path<'t>(&mut self, id: &str, path: Option<&'t Path>, mend: &str) -> Option<&'t Path> {
        path.filter(|path| self.is_given(id, path, mend))
    }

    /// The values of a list. A variable that is empty is one that is not set, as compose and Helm write it.
    pub(super) fn list<'t, T: AsRef<OsStr>>(&mut self, id: &str, values: &'t [T], mend: &str) -> &'t [T] {
        match values {
            [value] if value.as_ref().is_empty() && self.is_variable(id) => &[],
            values if values.iter().all(|value| self.is_given(id, value, mend)) => values,
            _ => &[],
        }
    }

    fn is_given(&mut self, id: &str, value: impl AsRef<OsStr>, mend: &str) -> bool {
        let given = !value.as_ref().is_empty();
        if !given {
            self.fault_of(id, Some(""), "\"\" is not valid".to_owned(), mend);
        }
        given
    }

    /// Whether somebody has set it.
    pub(super) fn is_set(&self, id: &str) -> bool {
        self.input.is_set(id)
    }

    fn is_variable(&self, id: &str) -> bool {
        matches!(self.input.origin(id), Some(Origin::Variable))
    }

    /// A time of more than nothing.
    pub(super) fn time(&mut self, id: &str, text: &str) -> Option<Duration> {
        self.value(id, text, TIME, |text| time(text).filter(|time| !time.is_zero()))
    }

    /// A time, or nothing: `0s`.
    pub(super) fn time_or_zero(&mut self, id: &str, text: &str) -> Option<Duration> {
        self.value(id, text, TIME, time)
    }

    /// A time of more than nothing, or `none`.
    pub(super) fn time_or_none(&mut self, id: &str, text: &str) -> Option<Option<Duration>> {
        self.value(
            id,
            text,
            "write a number with its unit, such as 30s or 5m and at most 10y, or none",
            |text| {
                let time = time(text).filter(|time| !time.is_zero());
                if text == "none" { Some(None) } else { time.map(Some) }
            },
        )
    }

    /// How many, at least one.
    pub(super) fn count<T: FromStr + PartialOrd + From<u8>>(&mut self, id: &str, text: &str) -> Option<T> {
        self.value(id, text, "write a number from 1", |text| {
            text.parse().ok().filter(|count| *count >= T::from(1))
        })
    }

    /// At least one byte, and no more than the type can count.
    pub(super) fn size<T: TryFrom<u64>>(&mut self, id: &str, text: &str) -> Option<T> {
        self.value(id, text, "write a size of at least 1 byte, such as 65536, 64KiB or 4MiB", |text| {
            let size = text.parse::<ByteSize>().ok()?.as_u64();
            T::try_from(size).ok().filter(|_| size > 0)
        })
    }

    /// A base URL; what cannot be kept secret or has no meaning in one is refused.
    pub(super) fn url(&mut self, id: &str, text: &str) -> Option<Uri> {
        let mend = "write http://HOST[:PORT][/PREFIX], such as http://shop-api:3000";
        let url: Uri = self.value(id, text, mend, |text| text.parse().ok())?;
        let complaint = match (url.scheme_str(), url.authority()) {
            (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => {
                if url.query().is_some() || text.contains('#') {
                    "has a query or a fragment"
                } else {
                    return Some(url);
                }
            }
            (Some("http" | "https"), Some(_)) => "has a user name or password in it",
            (Some("http" | "https"), None) | (None, _) => "is no absolute URL",
            (Some(_), _) => "is neither http nor https",
        };
        // A URL with a password in it is not printed again.
        let shown = if text.contains('@') { "the URL".to_owned() } else { format!("{text:?}") };
        self.fault(id, format!("{shown} {complaint}"), mend);
        None
    }

    pub(super) fn missing(&mut self, id: &str, mend: &str) {
        let place = format!("{} or {}", flag(id), variable(id));
        self.faults.faults.push(Fault::new(place, "is missing", mend));
        self.faults.command_line = true;
    }

    pub(super) fn fault(&mut self, id: &str, what: String, mend: &str) {
        self.fault_of(id, None, what, mend);
    }

    /// A fault of one value of a setting, or of the setting.
    pub(super) fn fault_of(&mut self, id: &str, value: Option<&str>, what: String, mend: &str) {
        let (place, what) = match self.input.origin(id) {
            Some(Origin::Variable) => (variable(id), what),
            Some(Origin::File(entry)) => {
                (self.input.file.place_of(entry, value), format!("{}: {what}", name(id)))
            }
            Some(Origin::Flag | Origin::Default) | None => {
                self.faults.command_line = true;
                (flag(id), what)
            }
        };
        self.faults.faults.push(Fault::new(place, what, mend));
    }

    /// What a setting is called where it was set.
    pub(super) fn called(&self, id: &str) -> String {
        match self.input.origin(id) {
            Some(Origin::Variable) => variable(id),
            Some(Origin::File(_)) => name(id),
            Some(Origin::Flag | Origin::Default) | None => flag(id),
        }
    }

    /// The value that `parse` reads from a variable that is not one of ours. An empty one is one that is not set.
    pub(super) fn foreign<T>(
        &mut self,
        name: &str,
        mend: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.input.foreign(name).filter(|text| !text.is_empty())?;
        let value = text.to_str().and_then(parse);
        if value.is_none() {
            self.faults.faults.push(Fault::new(name, format!("{text:?} is not valid"), mend));
        }
        value
    }

    /// What is made of the secret that a variable holds; no fault shows anything of it.
    pub(super) fn secret<T>(
        &mut self,
        id: &str,
        what: &str,
        mend: &str,
        make: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let made = make(self.input.secret(id)?);
        if made.is_none() {
            self.fault(id, what.to_owned(), mend);
        }
        made
    }
}
