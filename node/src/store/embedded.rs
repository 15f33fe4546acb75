//! The store without a server: `boom_store` on the compute threads.

use std::sync::Arc;

use boom_sky::survey::Survey;
use boom_store::documents::{Complete, Ingested, Sequence, Store as Documents};

use super::{Error, Order, Store};
use crate::compute::Compute;
use crate::stage::Received;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct Embedded {
    documents: Arc<Documents>,
    compute: Compute,
}

impl Embedded {
    /// The adapter of an open store.
    pub fn new(documents: Arc<Documents>, compute: Compute) -> Self {
        Self { documents, compute }
    }
}

impl Store for Embedded {
    // It gives the candids of two inputs to the same one each time that it runs.
    const ORDER: Order = Order::Input;

    async fn ingest(&self, sequence: Sequence, batch: Arc<Vec<Received>>) -> Result<Vec<Ingested>, Error> {
        let documents = Arc::clone(&self.documents);
        let work = move || {
            let alerts: Vec<_> = batch.iter().map(|received| (&received.alert, &received.origin)).collect();
            documents.ingest(sequence, &alerts)
        };
        Ok(self.compute.run(work).await??)
    }

    async fn complete(&self, sequence: Sequence, batch: Vec<(&'static Survey, Complete)>) -> Result<(), Error> {
        for (survey, document) in batch {
            self.documents.complete(sequence, survey, vec![document]);
        }
        Ok(())
    }
}
