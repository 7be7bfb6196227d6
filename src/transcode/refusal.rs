//! Why a request message cannot be sent.

use super::{value::LeafError, wire::WireError};

/// Why a request message cannot be sent. Nothing has been sent then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The bytes are not the request message.
    #[error("the request message cannot be read: {0}")]
    Malformed(#[from] WireError),
    /// A field has a value that the URL cannot carry.
    #[error("{field} {description}")]
    Unmappable {
        /// The path of the field in the request message.
        field: String,
        /// What is wrong with it.
        description: String,
    },
}

// === impl RequestError ===

impl RequestError {
    /// A value that the request cannot carry; the fields around it add their names.
    pub(super) fn unmappable(description: impl Into<String>) -> Self {
        Self::Unmappable { field: String::new(), description: description.into() }
    }

    /// Adds the name of the field, or the index, that leads to the value.
    pub(super) fn under(self, step: &str) -> Self {
        match self {
            Self::Unmappable { field, description } => {
                let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
                Self::Unmappable { field: format!("{step}{dot}{field}"), description }
            }
            Self::Malformed(error) => Self::Malformed(error),
        }
    }
}

impl From<LeafError> for RequestError {
    fn from(error: LeafError) -> Self {
        match error {
            LeafError::Wire(error) => Self::Malformed(error),
            LeafError::Range(description) => Self::unmappable(description),
        }
    }
}
