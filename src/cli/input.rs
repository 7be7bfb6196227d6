//! What the process was started with: words, variables, and where each value came from.

use std::{collections::HashMap, ffi::OsString, os::unix::ffi::OsStrExt};

use clap::{ArgMatches, parser::ValueSource};

use super::{
    file::{Entry, SettingsFile},
    settings::SECRETS,
};
use crate::fault::Fault;

/// The variables of the process.
pub(super) type Variables = HashMap<OsString, OsString>;

/// What a command was started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    /// The words of the command line, with variables, the file and defaults where it says nothing.
    pub(super) matches: &'a ArgMatches,
    /// All variables, of which secrets are read.
    pub(super) variables: &'a Variables,
    /// The file of settings.
    pub(super) file: &'a SettingsFile,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// The command line.
    Flag,
    /// A variable.
    Variable,
    /// The file of settings.
    File(&'a Entry),
    /// Nobody has said anything else.
    Default,
}

/// The name of a setting: that of its flag without dashes before it, and of its line in a file.
pub(super) fn name(id: &str) -> String {
    id.replace('_', "-")
}

/// The flag of a setting.
pub(super) fn flag(id: &str) -> String {
    format!("--{}", name(id))
}

/// The variable of a setting.
pub(super) fn variable(id: &str) -> String {
    if id == "port" { "PORT".to_owned() } else { format!("BRIDGE_{}", id.to_ascii_uppercase()) }
}

// === impl Input ===

impl<'a> Input<'a> {
    /// A secret that a variable holds, which has no flag.
    pub(super) fn secret(&self, id: &str) -> Option<&'a [u8]> {
        self.variables.get(&OsString::from(variable(id))).map(|secret| secret.as_bytes())
    }

    /// A variable that is not one of ours, but has one meaning for many programs.
    pub(super) fn foreign(&self, name: &str) -> Option<&'a OsString> {
        self.variables.get(&OsString::from(name))
    }

    /// A fault that was found when settings were put to use, where they are known by their flags: where it stands in the file,
    /// if that has the setting.
    pub(super) fn located(&self, fault: Fault) -> Fault {
        let Some(place) = fault.place.strip_prefix("--") else { return fault };
        let (name, value) = place.split_once(' ').unwrap_or((place, ""));
        let id = name.replace('-', "_");
        let is_setting = self.matches.try_contains_id(&id).is_ok();
        match is_setting.then(|| self.origin(&id)).flatten() {
            Some(Origin::File(entry)) => Fault {
                place: self.file.place_of(entry, Some(value)),
                what: format!("{name}: {}", fault.what),
                ..fault
            },
            _ => fault,
        }
    }

    /// Where the value of a setting came from; nothing where it has none.
    pub(super) fn origin(&self, id: &str) -> Option<Origin<'a>> {
        if SECRETS.contains(&id) {
            return self.secret(id).map(|_| Origin::Variable);
        }
        match self.matches.value_source(id)? {
            ValueSource::CommandLine => Some(Origin::Flag),
            ValueSource::EnvVariable => Some(Origin::Variable),
            // What the file says stands where defaults do.
            _ => Some(self.file.entry(id).map_or(Origin::Default, Origin::File)),
        }
    }

    /// Whether somebody has set it. A file that says what would be without it has not, so that a setting that means nothing
    /// without another one may stand there as `config show` prints it.
    pub(super) fn is_set(&self, id: &str) -> bool {
        match self.origin(id) {
            Some(Origin::Flag | Origin::Variable) => true,
            Some(Origin::File(entry)) => !entry.is_default(),
            Some(Origin::Default) | None => false,
        }
    }
}
