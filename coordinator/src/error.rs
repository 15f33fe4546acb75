//! Why a coordinator does not start, or can not go on.

use std::net::SocketAddr;
use std::path::PathBuf;

use boom_client::secret::Unreadable;

use crate::store;

/// Why a coordinator does not start, or can not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A password or token.
    #[error(transparent)]
    Secret(#[from] Unreadable),
    /// A file that the configuration names.
    #[error("{what}: {} can not be read: {why}", .path.display())]
    File {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// An address that it should listen on.
    #[error("listening for {what} on {address}: {why} (is another process there?)")]
    Listen {
        /// What is served there.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// A part of the process has ended.
    #[error("{what}: {why}")]
    Task {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
}

impl Error {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Secret(_) | Self::File { .. } | Self::Listen { .. } | Self::Task { .. } => false,
        }
    }
}
