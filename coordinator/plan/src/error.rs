//! What can be wrong with what is handed to this crate. Decisions have no errors: they are total.

/// A name, a pattern, a plan or a setting that can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// Bounds that no number of workers keeps.
    #[error("bounds can not be used: {0}")]
    Bounds(String),
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
    Json(String),
    /// An order about a node that nobody has seen.
    #[error("no node is called `{node}` (there are: {known})")]
    UnknownNode {
        /// What was given.
        node: String,
        /// Those that there are.
        known: String,
    },
    /// An order about a stream that is not there.
    #[error("no stream is called `{stream}` (there are: {known})")]
    UnknownStream {
        /// What was given.
        stream: String,
        /// Those that there are.
        known: String,
    },
    /// A second stream of one name.
    #[error("there is a stream `{0}` already, with other settings (remove it first, or take another name)")]
    StreamExists(String),
    /// A replay that can not be.
    #[error("replay `{name}` can not be: {why}")]
    Replay {
        /// Its name.
        name: String,
        /// What speaks against it.
        why: String,
    },
    /// An order that reached a coordinator that can not carry it out (any more).
    #[error("this coordinator does not lead (ask the leader; whether the order was carried out is to be seen there)")]
    NotLeading,
}

impl Error {
    /// Whether the same call may succeed elsewhere or later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotLeading)
    }
}
