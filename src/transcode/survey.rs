//! How an answer differs from the contract, place by place: what `check` reports.

use std::collections::BTreeMap;

use super::{
    mismatch::{Complaint, Step, write_path},
    tolerance::Tolerance,
};

/// What was found in one answer.
#[derive(Debug, Default)]
pub struct Survey {
    path: Vec<OwnedStep>,
    found: BTreeMap<(String, Finding), Found>,
}

/// One way in which a place differs from the contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The value does not fit its type, so a call would fail: what was expected and what was found.
    Misfit(String),
    /// It is understood, but not as it should be.
    Tolerated(Tolerance),
    /// The contract has the field, and the answer has not.
    Missing,
}

/// How often something was found, and where first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// How often.
    pub count: usize,
    /// The offset in bytes of the first.
    pub offset: usize,
}

#[derive(Debug)]
enum OwnedStep {
    Key(String),
    Element,
}

// === impl Survey ===

impl Survey {
    /// Everything that was found, by its path; `[]` stands for every element of a list.
    pub fn findings(&self) -> impl Iterator<Item = (&str, &Finding, Found)> {
        self.found.iter().map(|((path, finding), found)| (path.as_str(), finding, *found))
    }

    pub(super) fn enter(&mut self, step: Step<'_>) {
        self.path.push(match step {
            Step::Key(key) => OwnedStep::Key(key.to_owned()),
            Step::Index(_) => OwnedStep::Element,
        });
    }

    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    pub(super) fn missing(&mut self, field: &str, offset: usize) {
        self.enter(Step::Key(field));
        self.note(Finding::Missing, offset);
        self.leave();
    }

    pub(super) fn misfit(&mut self, complaint: &Complaint) {
        self.note(Finding::Misfit(complaint.what().to_owned()), complaint.offset());
    }

    pub(super) fn tolerated(&mut self, tolerance: Tolerance, offset: usize) {
        self.note(Finding::Tolerated(tolerance), offset);
    }

    fn note(&mut self, finding: Finding, offset: usize) {
        let steps = self.path.iter().map(|step| match step {
            OwnedStep::Key(key) => Some(key.as_str()),
            OwnedStep::Element => None,
        });
        let mut path = String::new();
        for step in steps {
            match step {
                Some(key) => write_path(&mut path, Step::Key(key)),
                None => path.push_str("[]"),
            }
        }
        let found = self.found.entry((path, finding)).or_insert(Found { count: 0, offset });
        found.count += 1;
    }
}
