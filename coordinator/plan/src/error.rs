//! What can be wrong with what is handed to this crate. Decisions have no errors: they are total.

/// A name, a pattern, a plan or a setting that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name of a node, stream or topic, or not an identifier made of them.
    #[error("{what} `{text}` can not be used: {why}")]
    Name {
        /// What it should name.
        what: &'static str,
        /// What was given.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not a pattern of topics.
    #[error("topic pattern `{text}` can not be used: {why}")]
    Pattern {
        /// What was given.
        text: String,
        /// What is wrong, and what is possible.
        why: String,
    },
    /// Times that do not fit each other.
    #[error("lease settings can not be used: {0}")]
    Timing(&'static str),
    /// A stored plan of a format that this version does not know.
    #[error("reading a plan of format {found}: this version knows format {known} (upgrade this coordinator)")]
    Format {
        /// The format of the stored plan.
        found: u32,
        /// The one that is known here.
        known: u32,
    },
    /// A stored plan that is not one.
    #[error("reading a plan: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether the same call may succeed later: never, since nothing here depends on the outside.
    pub fn is_retryable(&self) -> bool {
        false
    }
}
