//! Why a transaction changed nothing, in the words of RFC 7047.

use serde_json::{Value, json};
use std::fmt;

/// Why nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Refusal {
    /// Index of the operation, from 0, if it is the fault of one.
    pub operation: Option<usize>,
    /// What the operation is, for people.
    pub what: String,
    /// The kind of error, in the words of RFC 7047.
    pub error: &'static str,
    /// What was expected and what was found.
    pub details: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.operation {
            write!(f, "operation {operation} ({}): ", self.what)?;
        }
        write!(f, "{}: {}; nothing was changed", self.error, self.details)
    }
}

impl Refusal {
    /// A refusal of the transaction as a whole.
    pub fn whole(error: &'static str, details: impl Into<String>) -> Self {
        Self { operation: None, what: String::new(), error, details: details.into() }
    }

    /// As an `<error>` of RFC 7047, with the place.
    pub fn to_json(&self) -> Value {
        json!({ "error": self.error, "details": self.details, "operation": self.operation })
    }
}

/// A kind of error that RFC 7047 knows.
pub mod kind {
    /// A column, table or operation is not as it must be.
    pub const SYNTAX: &str = "syntax error";
    /// A value, a name or a key that cannot be.
    pub const CONSTRAINT: &str = "constraint violation";
    /// A row that is referred to is not there.
    pub const REFERENCE: &str = "referential integrity violation";
    /// A `wait` did not hold.
    pub const TIMED_OUT: &str = "timed out";
    /// An `abort`.
    pub const ABORTED: &str = "aborted";
    /// What is too much.
    pub const RESOURCES: &str = "resources exhausted";
}
