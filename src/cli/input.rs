//! What the process was started with: words, variables, and where each value came from.

use std::{collections::HashMap, ffi::OsString, os::unix::ffi::OsStrExt};

use clap::{ArgMatches, parser::ValueSource};

use super::settings::SECRETS;

/// The variables of the process.
pub(super) type Variables = HashMap<OsString, OsString>;

/// What a command was started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    /// The words of the command line, with variables and defaults where it says nothing.
    pub(super) matches: &'a ArgMatches,
    /// All variables, of which secrets are read.
    pub(super) variables: &'a Variables,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The command line.
    Flag,
    /// A variable.
    Variable,
    /// Nobody has said anything else.
    Default,
}

/// The flag of a setting.
pub(super) fn flag(id: &str) -> String {
    format!("--{}", id.replace('_', "-"))
}

/// The variable of a setting.
pub(super) fn variable(id: &str) -> String {
    if id == "port" { "PORT".to_owned() } else { format!("BRIDGE_{}", id.to_ascii_uppercase()) }
}

// === impl Input ===

impl Input<'_> {
    /// A secret that a variable holds, which has no flag.
    pub(super) fn secret(&self, id: &str) -> Option<&[u8]> {
        self.variables.get(&OsString::from(variable(id))).map(|secret| secret.as_bytes())
    }

    /// Where the value of a setting came from; nothing where it has none.
    pub(super) fn origin(&self, id: &str) -> Option<Origin> {
        if SECRETS.contains(&id) {
            return self.secret(id).map(|_| Origin::Variable);
        }
        match self.matches.value_source(id)? {
            ValueSource::CommandLine => Some(Origin::Flag),
            ValueSource::EnvVariable => Some(Origin::Variable),
            _ => Some(Origin::Default),
        }
    }

    /// Whether somebody has set it.
    pub(super) fn is_set(&self, id: &str) -> bool {
        self.origin(id).is_some_and(|origin| origin != Origin::Default)
    }
}
