//! Why a request message cannot be sent.

use super::{value::LeafError, wire::WireError};
use crate::contract::template::Variable;

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

/// A field that the request cannot carry.
pub(super) fn unmappable(field: impl Into<String>, description: impl Into<String>) -> RequestError {
    RequestError::Unmappable { field: field.into(), description: description.into() }
}

// === impl LeafError ===

impl LeafError {
    pub(super) fn at(self, variable: &Variable) -> RequestError {
        self.at_name(&variable.field_path.join("."))
    }

    pub(super) fn at_name(self, name: &str) -> RequestError {
        match self {
            Self::Wire(error) => RequestError::Malformed(error),
            Self::Range(description) => unmappable(name, description),
        }
    }
}
