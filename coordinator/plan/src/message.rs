//! What a node tells the leader, as domain types: the shells turn them into and out of what goes over the wire. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::handover::{Hindrance, Why};
use crate::id::{Incarnation, Offset, Partition, PlanVersion, ProducerName, Sequence, StreamId};
use crate::quota::Stage;
use crate::time::Span;

/// What a node is, as long as it lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Threads that it computes with.
    pub cores: u32,
    /// What it can, such as `gpu`.
    pub labels: BTreeSet<String>,
    /// Where it serves what, such as `metrics` at `10.0.0.7:9100`.
    pub addresses: BTreeMap<String, String>,
}

/// How far the node has come with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Fencing those before it, reading the progress.
    Starting,
    /// Reading and committing.
    Running,
    /// Finishing what it has begun.
    Releasing,
}

/// A partition that a node has not let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// How far it has come with it.
    pub state: HoldState,
    /// The first offset that its progress has not passed, once it is known.
    pub next: Option<Offset>,
    /// How long ago Kafka took the oldest alert that is not decided, once it is known.
    pub behind: Option<Span>,
    /// Of a replay the end of its window, once it is known.
    pub until: Option<Offset>,
}

/// How far a node has come with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The first offset that its progress has not passed.
    pub next: Offset,
    /// How long ago Kafka took the oldest alert that is not decided, once it is known.
    pub behind: Option<Span>,
    /// Of a replay the end of its window.
    pub until: Option<Offset>,
}

/// The load of one stage of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageLoad {
    /// Alerts that wait.
    pub queue: u32,
    /// How long the oldest of them has waited.
    pub age: Span,
    /// Alerts a second that leave it.
    pub rate: u32,
    /// Share of its workers' time that was work, in thousandths.
    pub busy: u16,
    /// Time that an alert spends in it.
    pub latency: Span,
    /// What of it other nodes do, and what it does for them.
    #[serde(default)]
    pub hand_over: HandOver,
}

/// How a stage of a node hands work over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Alerts a second that other nodes did for it.
    pub given: u32,
    /// Alerts a second that it did for other nodes.
    pub taken: u32,
    /// Why it hands over, if it does.
    pub why: Option<Why>,
    /// Why it does not although it would.
    pub hindrance: Option<Hindrance>,
}

/// What a node says about itself about once a second, and whenever something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who says it.
    pub who: ProducerName,
    /// Its place among all that this incarnation says.
    pub sequence: Sequence,
    /// The newest plan that it has accepted: all of it that names the node is done or being done.
    pub seen: Option<PlanVersion>,
    /// Whether it is on its way out: it starts nothing any more, and this is never taken back.
    pub leaving: bool,
    /// All partitions that it has not let go of.
    pub holds: BTreeMap<Partition, Holding>,
    /// Its load, stage by stage.
    pub stages: BTreeMap<Stage, StageLoad>,
    /// The replays of which it has erased all that belonged to them, with the version of the plan that asked for it.
    pub erased: BTreeMap<StreamId, PlanVersion>,
}

/// How a session begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// What the node is.
    pub info: NodeInfo,
    /// All incarnations of this node up to this one have ended: the node vouches for it.
    pub ended: Option<Incarnation>,
    /// The first report.
    pub report: Report,
}

/// Why a coordinator does not take what a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Another one leads, or none yet.
    NotLeading,
    /// This leader does not know the node: it should register.
    NotRegistered,
    /// The incarnation was given up: the node should stop what it owns and come back as a new one.
    Over,
    /// A later incarnation of the same node is there: a restarted process, or a second one of the same name.
    Superseded,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLeading => "this coordinator does not lead",
            Self::NotRegistered => "the leader does not know the node yet",
            Self::Over => "the lease of this incarnation has ended",
            Self::Superseded => "a later incarnation of this node is there (do two processes have one name?)",
        })
    }
}
