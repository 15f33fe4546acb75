//! What only a node of a cluster is told: who it is, where coordinators, Kafka and MongoDB are.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use boom_client::channel::{Config as Coordinators, Tls};
use boom_client::secret::Secret;
use boom_plan::handover::Policy;
use boom_plan::lease::Timing;
use boom_plan::time::Span;
use serde::{Deserialize, Deserializer};

/// The node itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Its name; empty: the host's.
    pub name: String,
    /// Directory of what it keeps: its incarnation.
    pub state: String,
    /// Where it answers HTTP.
    pub http: SocketAddr,
    /// Where others reach that; empty: as it stands.
    pub advertise: String,
    /// Threads that compute; 0: one for each core.
    pub cores: u16,
    /// What it can.
    pub labels: Vec<String>,
    /// The consumers' group in which offsets are committed for monitors.
    pub group: String,
    /// Bytes of packets that may wait between Kafka and the stages, for each Kafka cluster.
    pub queue_bytes: usize,
    /// Directory of filters; none: the collection of the store.
    #[serde(deserialize_with = "path")]
    pub filters: Option<PathBuf>,
    /// Directory of catalogs.
    #[serde(deserialize_with = "path")]
    pub catalogs: Option<PathBuf>,
    /// Directories of models.
    pub models: Vec<PathBuf>,
    /// Directory of writer schemas of Confluent ids.
    #[serde(deserialize_with = "path")]
    pub schemas: Option<PathBuf>,
}

/// The schema registry that has the writer schemas of Confluent ids.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Schemas {
    /// Its address, `http://` or `https://`; empty: there is none.
    pub registry: String,
    /// The user, if it asks for one; empty: none.
    pub user: String,
    /// The user's password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Certificates to trust, PEM; none: those of the public authorities.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    /// How long a batch waits for a schema, seconds.
    pub patience_s: u64,
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Output {
    /// The Kafka cluster.
    pub cluster: String,
    /// Topic of results.
    pub results: String,
    /// Topic of dead letters.
    pub dead_letters: String,
    /// Topic of progress and books.
    pub progress: String,
    /// Partitions of results and dead letters, when they are made.
    pub partitions: i32,
    /// Copies of each partition, when topics are made; -1: as the brokers have it.
    pub replication: i32,
}

/// Where documents are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MongoDb {
    /// The connection string, which may hold a password.
    pub uri: Secret,
    /// The database.
    pub database: String,
    /// Connections at most.
    pub pool: u32,
    /// Memory for objects that were stored lately, bytes.
    pub cache_bytes: usize,
    /// Directory of cutouts, which all nodes share; none: MongoDB.
    #[serde(deserialize_with = "path")]
    pub cutouts: Option<PathBuf>,
    /// Certificates to trust, PEM.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    /// Our certificate and its key, PEM.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
}

/// How work is handed over to other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HandOver {
    /// The address of Valkey, which may hold a password; without one nothing is handed over.
    #[serde(default)]
    pub valkey: Option<Secret>,
    /// How the names of its keys begin.
    pub prefix: String,
    /// How long a batch waits for a worker of its own node first, milliseconds.
    pub patience_ms: u64,
    /// How long an answer is waited for, milliseconds.
    pub deadline_ms: u64,
}

impl HandOver {
    /// As it is decided by.
    pub fn policy(&self) -> Policy {
        Policy { patience: Span(self.patience_ms), deadline: Span(self.deadline_ms), ..Policy::default() }
    }
}

/// The coordinators, as they stand in the file.
#[derive(Debug, Deserialize)]
pub(super) struct RawCoordinators {
    addresses: Vec<String>,
    #[serde(default)]
    tls: Option<Tls>,
    #[serde(default)]
    token: Option<Secret>,
}

impl From<RawCoordinators> for Coordinators {
    fn from(raw: RawCoordinators) -> Self {
        Self { coordinators: raw.addresses, tls: raw.tls, token: raw.token, deadline: Duration::from_secs(10) }
    }
}

/// The leases, as they stand in the file.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct RawLeases {
    report_ms: u64,
    suspect_ms: u64,
    lease_ms: u64,
    stop_early_ms: u64,
    margin_ms: u64,
}

impl From<RawLeases> for Timing {
    fn from(raw: RawLeases) -> Self {
        Self {
            report: Span(raw.report_ms),
            suspect: Span(raw.suspect_ms),
            lease: Span(raw.lease_ms),
            stop_early: Span(raw.stop_early_ms),
            margin: Span(raw.margin_ms),
        }
    }
}

/// A path; an empty text is none.
fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}
