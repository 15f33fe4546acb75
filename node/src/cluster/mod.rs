//! A node of a cluster: the shell around boom-plan's `Node`, which decides. Here is only what carries its decisions out.
//!
//! `session.rs` owns the state machine and speaks with the leader; `life.rs` is one incarnation: its producer, its pipeline, the partitions
//! that it reads; `load.rs` measures; `identity.rs` says who the node is; `http.rs` shows how it is.

mod erase;
mod fences;
mod http;
mod identity;
mod life;
mod link;
mod load;
mod metrics;
mod run;
mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use boom_client::kafka::Connection;
use boom_plan::id::{Partition, ProducerName};
use boom_plan::node::{Event, Node};
use boom_plan::time::Time;
use tokio::sync::{mpsc, oneshot};

pub use self::run::run;
use crate::pipeline::{Gate, Pipeline};
use crate::positions::Positions;
use crate::sink::kafka::Config as Output;
use crate::stage::record::Provenance;

/// What lives as long as the process, and each incarnation uses.
#[derive(Debug)]
struct Parts<S> {
    /// The pipeline as each incarnation runs it, but for the gate.
    pipeline: Pipeline<S>,
    provenance: Arc<Provenance>,
    /// Where results go; the name of the producer is the incarnation's.
    output: Output,
    /// Kafka clusters that streams are read from, by name.
    clusters: BTreeMap<String, Connection>,
    /// The consumers' group in which offsets are committed, for other people's monitors.
    group: String,
    /// Bytes of packets that may wait between Kafka and the pipeline, for each cluster.
    queue_bytes: usize,
}

/// The time of the node's state machine.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Time {
        Time(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// The state machine, which the session drives and the pipeline asks.
#[derive(Debug, Clone)]
struct Shared {
    node: Arc<Mutex<Node>>,
    clock: Clock,
    /// Of the incarnation that lives: what an old one may still say is said of its own.
    positions: Arc<Mutex<Arc<Positions>>>,
}

impl Shared {
    fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().expect("nobody panics with the state machine")
    }

    /// How far the partitions are.
    fn positions(&self) -> Arc<Positions> {
        Arc::clone(&self.positions.lock().expect("nobody panics with the positions"))
    }

    /// Another incarnation begins.
    fn renew_positions(&self) -> Arc<Positions> {
        let positions = Arc::default();
        *self.positions.lock().expect("nobody panics with the positions") = Arc::clone(&positions);
        positions
    }

    /// Asks the state machine right before each commit. What an incarnation left open that is over is withheld.
    fn gate(&self, who: ProducerName) -> Gate {
        let shared = self.clone();
        Gate::new(move |source| {
            let Ok(partition) = source.parse::<Partition>() else { return false };
            let node = shared.node();
            *node.me() == who && node.may_commit(&partition, shared.clock.now())
        })
    }
}

/// Tells the session what happened.
#[derive(Debug, Clone)]
struct Teller(mpsc::Sender<Told>);

/// Something that happened, and whom to tell that it was taken in.
#[derive(Debug)]
struct Told {
    event: Event,
    heard: Option<oneshot::Sender<()>>,
}

impl Teller {
    /// Tells it, and comes back when the state machine has taken it in.
    async fn tell(&self, event: Event) {
        let (heard, taken) = oneshot::channel();
        // A session that has ended needs to hear nothing.
        if self.0.send(Told { event, heard: Some(heard) }).await.is_ok() {
            let _ = taken.await;
        }
    }
}
