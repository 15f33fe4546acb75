//! Where documents are kept: the port, and its adapters.
//!
//! A batch is stored in the order of its sequence number, then completed, and counts only once a sink has committed past it.

mod embedded;
pub mod mongo;

use std::future::Future;
use std::sync::Arc;

use boom_sky::survey::Survey;
use boom_store::documents::{Complete, Ingested, Sequence, StoreError};

pub use embedded::Embedded;
pub use mongo::MongoDb;

use crate::compute::Panicked;
use crate::stage::Received;

/// What went wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store itself.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// MongoDB, for a reason that waiting does not cure.
    #[error(transparent)]
    MongoDb(#[from] mongo::Error),
    /// The code.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// The order in which batches have to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    Input,
    /// Those with alerts of one object one after the other, all others at once.
    Object,
}

/// A store beside which replays can have their documents, each apart from all else.
pub trait Replaying: Store + Sized {
    /// The store of a replay, empty unless the replay has begun before.
    fn replay(&self, replay: &str) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Erases all documents of a replay. What is gone already is as good.
    fn erase(&self, replay: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The port.
pub trait Store: Send + Sync + 'static {
    /// The order in which batches are given to `ingest`.
    const ORDER: Order;

    /// Claims the candids of a batch and merges its light curves, in the batch's order.
    fn ingest(
        &self,
        sequence: Sequence,
        batch: Arc<Vec<Received>>,
    ) -> impl Future<Output = Result<Vec<Ingested>, Error>> + Send;

    /// Adds the documents that enrichment made of a stored batch, each with the survey that it is of.
    fn complete(
        &self,
        sequence: Sequence,
        documents: Vec<(&'static Survey, Complete)>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
