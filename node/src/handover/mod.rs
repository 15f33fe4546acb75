//! Work handed over to other nodes: the port, and its adapters.
//!
//! An owner puts a task into a queue; a worker of that queue takes it, and its answer goes into the owner's own stream. Each kind of work has
//! a queue of its own for each set of versions (`job::queue`), so that whoever reads it can do what is in it. A task that its worker does
//! not answer is taken by another one. A worker has no side effect but its answer: everything may happen twice, or not at all, since the
//! owner keeps the batch and does itself what nobody answers.
//!
//! Whether a batch is handed over is decided in `boom_plan::handover`; `owner.rs` and `worker.rs` are the two ends, `wire.rs` is what goes over
//! the wire.

pub mod job;
pub mod memory;
pub mod owner;
pub mod valkey;
pub mod wire;
pub mod worker;

use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::memory::Memory;
pub use self::owner::Owner;
pub use self::valkey::Valkey;

/// So many tasks may wait in a queue or be worked on: more are not taken in.
pub const TASKS: usize = 64;

/// A task, or an answer, has so many bytes at most; the owner does itself what is larger.
pub const MAX_BYTES: usize = 32 << 20;

/// A task whose worker is silent for so long is taken by another one.
pub const ABANDONED: Duration = Duration::from_secs(3);

/// A task that so many workers have taken and not answered is given back to its owner.
pub const TAKEN_AT_MOST: u32 = 3;

/// A worker that has not asked for work for so long does not wait for it.
pub const WAITS: Duration = Duration::from_millis(600);

/// The place of a task in its queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskId(pub String);

/// A task that a worker has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its place.
    pub id: TaskId,
    /// The task.
    pub task: Vec<u8>,
    /// How many workers have taken it, this one included.
    pub times: u32,
}

/// The others can not be reached; what was asked may have been done or not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("handing work over: {0}")]
pub struct Away(pub String);

/// What a call gives.
pub type Called<'a, T> = BoxFuture<'a, Result<T, Away>>;

/// The port.
pub trait HandOver: std::fmt::Debug + Send + Sync + 'static {
    /// Puts a task into a queue; none where [`TASKS`] are there already.
    fn offer<'a>(&'a self, queue: &'a str, task: &'a [u8]) -> Called<'a, Option<TaskId>>;

    /// Takes a task back, if no worker has taken it; gives whether it could.
    fn withdraw<'a>(&'a self, queue: &'a str, id: &'a TaskId) -> Called<'a, bool>;

    /// The next task for a worker: one that was taken and not answered within [`ABANDONED`], else the oldest that nobody has taken. Waits for one
    /// for so long.
    fn take<'a>(&'a self, queue: &'a str, worker: &'a str, patience: Duration) -> Called<'a, Option<Taken>>;

    /// Answers a task, which is gone with that.
    fn answer<'a>(&'a self, queue: &'a str, id: &'a TaskId, owner: &'a str, answer: &'a [u8]) -> Called<'a, ()>;

    /// The answers for an owner that it has not had yet, waited for for so long.
    fn answers<'a>(&'a self, owner: &'a str, patience: Duration) -> Called<'a, Vec<Vec<u8>>>;

    /// How many workers of a queue wait for work now, without `me`.
    fn waiting<'a>(&'a self, queue: &'a str, me: &'a str) -> Called<'a, u32>;
}
