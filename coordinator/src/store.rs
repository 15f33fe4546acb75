//! The port of the election and of the plan's store: one leader's key with a lease, and one plan that only its holder can replace.
//!
//! An adapter answers each call within bounded time, or says that it can not. How these calls make an election stands in `election`.

pub mod directory;
pub mod etcd;
pub mod memory;

use std::future::Future;
use std::time::Duration;

use boom_plan::id::{PlanVersion, Term};
use boom_plan::plan::Plan;
use serde::{Deserialize, Serialize};

/// A coordinator that stands for election.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Where it serves gRPC, such as `http://10.0.0.3:7700`.
    pub address: String,
}

/// A coordinator that leads, as far as the store knows. It may have stopped to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Who.
    pub candidate: Candidate,
    /// Since when: the create-revision of its key.
    pub term: Term,
}

/// The leader's key, held under a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The create-revision of the key.
    pub term: Term,
    /// The lease that it hangs on.
    pub lease: i64,
    /// How long the lease lasts after it was granted or kept.
    pub ttl: Duration,
}

/// What came of an attempt to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The key is held.
    Won(Hold),
    /// Somebody else has it.
    Taken(Leader),
}

/// Why the store has not done what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan is not stored and never will be: the leader of that term does not lead any more.
    #[error("committing plan {version}: term {term} is over")]
    Deposed {
        /// The version of the plan.
        version: PlanVersion,
        /// Its term.
        term: Term,
    },
    /// The plan is not stored and never will be: another one is stored than it follows.
    #[error("committing plan {version}: it follows {}, but {} is stored", or_none(.expected), or_none(.stored))]
    Conflict {
        /// The version of the plan.
        version: PlanVersion,
        /// The version that was to be stored.
        expected: Option<PlanVersion>,
        /// The version that is stored.
        stored: Option<PlanVersion>,
    },
    /// The plan is not stored and never will be: it is too long. What is stored stays.
    #[error(
        "committing plan {version}: with {bytes} bytes it is longer than the {limit} that etcd takes, so the plan before it stays (remove \
         streams, or topics that nobody reads any more)"
    )]
    TooLarge {
        /// The version of the plan.
        version: PlanVersion,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// There was no answer in time, or one that says to try again. A commit may have been carried out, or may still be.
    #[error("{doing}: {why}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        why: String,
    },
    /// What is stored can not be understood.
    #[error("{doing}: {why} (was it written by a later version?)")]
    Malformed {
        /// What was being done.
        doing: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The settings can not be used.
    #[error("connecting to etcd at {endpoints}: {why}")]
    Settings {
        /// Where it should be.
        endpoints: String,
        /// What is wrong.
        why: String,
    },
}

fn or_none(version: &Option<PlanVersion>) -> String {
    version.map_or_else(|| "no plan".to_owned(), |version| version.to_string())
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether a commit was refused, so that it is known not to have happened. Otherwise its end is not known.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Deposed { .. } | Self::Conflict { .. })
    }
}

/// The port. `etcd` is for the cluster, `memory` for one process.
pub trait Store: Send + Sync + 'static {
    /// Takes the leader's key under a new lease, unless it is taken.
    fn take(&self, me: &Candidate) -> impl Future<Output = Result<Attempt, Error>> + Send;

    /// Keeps the lease alive. False: it has ended, and with it the leadership.
    fn keep(&self, hold: &Hold) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Ends the lease, and with it the leadership: the next one can lead at once. What has ended already is no error.
    fn release(&self, hold: &Hold) -> impl Future<Output = Result<(), Error>> + Send;

    /// Comes back when the leader of that term does not lead any more; the one call that may take long. An error: nobody knows.
    fn ended(&self, term: Term) -> impl Future<Output = Result<(), Error>> + Send;

    /// Who leads, if somebody does.
    fn leader(&self) -> impl Future<Output = Result<Option<Leader>, Error>> + Send;

    /// The plan that is stored, if there is one.
    fn load(&self) -> impl Future<Output = Result<Option<Plan>, Error>> + Send;

    /// Stores a plan, in one transaction, if the leader's key has the plan's term as its create-revision, and the stored plan has the
    /// expected version; with none, if there is no plan.
    fn commit(&self, plan: &Plan, expected: Option<PlanVersion>) -> impl Future<Output = Result<(), Error>> + Send;
}
