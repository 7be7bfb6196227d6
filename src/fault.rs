//! What keeps the program from starting, told so that it can be mended.

use std::fmt;

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
}

impl Fault {
    /// A fault at `place`.
    pub fn new(place: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), mend: mend.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    {}", self.place, self.what, self.mend)
    }
}
