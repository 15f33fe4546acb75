//! The store in MongoDB, which several nodes share. What a batch wrote is there before the call returns: acknowledged by the majority, journaled.
//!
//! An alert's candid is claimed by one insert, so that of two nodes one is first; a light curve grows by one update of its object's document.
//! Every write can be done again. MongoDB being away, slow or in an election is waited for, and is no error. The driver is named in this
//! folder alone.

mod alias;
mod cache;
mod call;
mod claim;
mod command;
mod complete;
mod cutouts;
mod filters;
mod ingest;
mod names;
mod object;
mod open;
mod read;
mod replay;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use boom_client::secret::{Secret, Unreadable};
use boom_sky::survey::Survey;
use boom_store::documents::{Complete, Ingested, Sequence};

use super::{Error as StoreError, Order, Store};
use crate::stage::Received;
use cache::Cache;
use call::Connection;
use cutouts::Shelf;

/// How MongoDB is reached and what is kept where.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the connection string is: `mongodb://USER:PASSWORD@HOST:PORT,…/?replicaSet=NAME`.
    pub uri: Secret,
    /// The database.
    pub database: String,
    /// TLS, beside what the connection string says of it.
    pub tls: Option<Tls>,
    /// Connections at most.
    pub pool: u32,
    /// How long a command may take until it is tried again; after attempts that took too long, longer.
    pub patience: Duration,
    /// Memory for objects that this node has stored lately, bytes.
    pub cache: usize,
    /// Where cutouts are kept.
    pub cutouts: CutoutsAt,
}

impl Config {
    /// What is usual, for a connection string and a database.
    pub fn new(uri: Secret, database: &str) -> Self {
        Self {
            uri,
            database: database.to_owned(),
            tls: None,
            pool: 16,
            patience: Duration::from_secs(10),
            cache: 64 << 20,
            cutouts: CutoutsAt::MongoDb,
        }
    }
}

/// TLS files; without them the certificates of the system are trusted, and none is shown.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Certificates to trust, PEM.
    pub authority: Option<PathBuf>,
    /// Our certificate and its key in one file, PEM.
    pub certificate: Option<PathBuf>,
}

/// Where cutouts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CutoutsAt {
    /// In the collection `{S}_alerts_cutouts`.
    MongoDb,
    /// In files below that directory, which all nodes share: `{S}_alerts_cutouts/…/CANDID.bson`.
    Directory(PathBuf),
}

/// What waiting does not cure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string can not be had.
    #[error(transparent)]
    Secret(#[from] Unreadable),
    /// It is wrong. What it says is not shown: it may hold a password.
    #[error(
        "what is given as the MongoDB connection string is none: it reads mongodb://USER:PASSWORD@HOST:PORT,HOST:PORT/?replicaSet=NAME, with @ : / % in user and password as %40 %3A %2F %25"
    )]
    Uri,
    /// The user.
    #[error(
        "MongoDB lets this user not do it: {reason}: check user, password and authSource of the connection string, and give the user the role readWrite on the database"
    )]
    Forbidden {
        /// What it says.
        reason: String,
    },
    /// The server or the driver does not take a command, which trying again would not change.
    #[error(
        "MongoDB refuses {doing}: {reason}: MongoDB 5.0 or newer is needed, with nothing else's data in this database"
    )]
    Refused {
        /// What was being done.
        doing: String,
        /// What it says.
        reason: String,
    },
    /// The directory of the cutouts.
    #[error("cutouts can not be kept in {directory}: {reason}: name a directory that this program may write")]
    Cutouts {
        /// The directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was told to stop while it waited.
    #[error("the store was told to stop")]
    Stopped,
}

impl Error {
    /// Whether trying again may help. What may be tried again never becomes an error here.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// The store.
#[derive(Debug, Clone)]
pub struct MongoDb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    connection: Connection,
    shelf: Shelf,
    cache: Mutex<Cache>,
    /// Documents that were too large to be stored.
    refused: AtomicU64,
}

impl MongoDb {
    /// Documents that MongoDB did not take because they are too large; each was logged, and all else of its alert is stored.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Whether MongoDB does not answer just now and is waited for.
    pub fn waits(&self) -> bool {
        self.0.connection.waiting.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().expect("nobody panics with the cache")
    }

    /// A document is too large, which is its own fault and nobody else's.
    fn refuse(&self, collection: &str, id: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            "{collection}: the document {id} is larger than the 16 MiB that MongoDB takes, and is not stored"
        );
    }
}

impl Store for MongoDb {
    // Other nodes store beside it in any case; each object keeps its order.
    const ORDER: Order = Order::Object;

    async fn ingest(&self, _: Sequence, batch: Arc<Vec<Received>>) -> Result<Vec<Ingested>, StoreError> {
        Ok(self.0.ingest(&batch).await?)
    }

    async fn complete(&self, _: Sequence, batch: Vec<(&'static Survey, Complete)>) -> Result<(), StoreError> {
        Ok(self.0.complete(batch).await?)
    }
}
