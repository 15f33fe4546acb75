//! The port of the directory: where each process of the cluster serves its metrics, so that any coordinator can tell Prometheus all of
//! them. Coordinators enrol themselves under leases of their own; the nodes are written by the leader, which alone knows them.

use std::future::Future;
use std::time::Duration;

use boom_plan::id::Term;
use serde::{Deserialize, Serialize};

use super::Error;

/// How long a coordinator stays in the directory that says nothing any more.
pub const LASTS: Duration = Duration::from_secs(30);

/// A process that serves metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// `coordinator` or `node`.
    pub component: String,
    /// Its name.
    pub name: String,
    /// Where, as HOST:PORT.
    pub address: String,
}

/// The port. The adapters are those of the store.
pub trait Directory: Send + Sync + 'static {
    /// Enrols a coordinator, or keeps it enrolled that has this lease. Gives the lease.
    fn enrol(&self, me: &Target, lease: Option<i64>) -> impl Future<Output = Result<i64, Error>> + Send;

    /// Takes a coordinator out.
    fn withdraw(&self, lease: i64) -> impl Future<Output = Result<(), Error>> + Send;

    /// Writes the nodes, if the leader's key has that term.
    ///
    /// # Errors
    /// Somebody else leads.
    fn publish(&self, term: Term, nodes: &[Target]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Everybody, by component and name.
    fn targets(&self) -> impl Future<Output = Result<Vec<Target>, Error>> + Send;
}
