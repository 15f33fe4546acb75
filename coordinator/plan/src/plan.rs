//! The plan: who owns what, how many workers each node gives each stage, and what operators want. Immutable once committed.
//!
//! Here are its form, how it is stored, what must hold in it and how two of them differ. How it comes about is in `assign`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::id::{NodeId, Partition, PlanVersion, ProducerName, StreamId, Term};
use crate::orders::{Orders, Stream};
use crate::quota::NodeQuotas;
use crate::reason::Reason;
use crate::replay::Erasure;

/// The format in which plans are stored. Another one is refused, never guessed.
pub const FORMAT: u32 = 1;

/// Who has a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ownership {
    /// Nobody.
    Unplaced,
    /// One incarnation of a node, which may read it, emit its results and move its progress.
    Owned {
        /// It.
        owner: ProducerName,
    },
    /// The owner must let go of it; nobody else gets it before it has, or is dead.
    Revoking {
        /// Who must let go.
        owner: ProducerName,
        /// Who is to get it then.
        to: Option<NodeId>,
    },
}

impl Ownership {
    /// Who owns it or has still to let go of it.
    pub fn owner(&self) -> Option<&ProducerName> {
        match self {
            Self::Unplaced => None,
            Self::Owned { owner } | Self::Revoking { owner, .. } => Some(owner),
        }
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unplaced => write!(f, "unplaced"),
            Self::Owned { owner } => write!(f, "{owner}"),
            Self::Revoking { owner, to: Some(to) } => write!(f, "revoked from {owner} for {to}"),
            Self::Revoking { owner, to: None } => write!(f, "revoked from {owner}"),
        }
    }
}

/// What the plan says of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Who has it.
    pub state: Ownership,
    /// The version that first said so.
    pub since: PlanVersion,
    /// Producers that may still have an open transaction over it: whoever takes it over fences them before it reads the progress.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fence: BTreeSet<ProducerName>,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, because {}", self.state, self.reason)?;
        if !self.fence.is_empty() {
            let names: Vec<String> = self.fence.iter().map(ToString::to_string).collect();
            write!(f, "; fences {}", names.join(", "))?;
        }
        Ok(())
    }
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The format in which it is stored.
    pub format: u32,
    /// The term of the leader that committed it.
    pub term: Term,
    /// One more than the plan before it.
    pub version: PlanVersion,
    /// Every known partition.
    pub owners: BTreeMap<Partition, Assignment>,
    /// Every node that is not dead.
    pub quotas: BTreeMap<NodeId, NodeQuotas>,
    /// What operators want.
    pub orders: Orders,
    /// Who erases which replay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub erasures: BTreeMap<StreamId, Erasure>,
}

/// Something that must not be in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// An entry is of a later version than the plan.
    FromTheFuture(Partition),
    /// The owner would fence itself.
    FencesItself(Partition),
    /// Two incarnations of one node own partitions.
    TwoIncarnations(NodeId),
    /// A partition is owned whose stream is paused or not there.
    NotToBeRead(Partition, StreamId),
    /// The quotas of a node are more than it can carry.
    OverCapacity(NodeId),
    /// A stream is erased that nobody has removed, or of which somebody still has a partition.
    ErasedTooSoon(StreamId),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTheFuture(partition) => write!(f, "{partition}: decided in a later version than the plan's"),
            Self::FencesItself(partition) => write!(f, "{partition}: its owner would fence itself"),
            Self::TwoIncarnations(node) => write!(f, "{node}: two incarnations own partitions"),
            Self::NotToBeRead(partition, stream) => write!(f, "{partition}: owned, but {stream} is not to be read"),
            Self::ErasedTooSoon(stream) => write!(f, "{stream}: erased, but it is not given up"),
            Self::OverCapacity(node) => write!(f, "{node}: its quotas are more than it can carry"),
        }
    }
}

/// One difference between two plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A partition.
    Owner {
        /// Which.
        partition: Partition,
        /// What was said of it.
        before: Option<Ownership>,
        /// What is said of it, and why; nothing if it is not known any more.
        after: Option<Assignment>,
    },
    /// The quotas of a node.
    Quotas {
        /// Which.
        node: NodeId,
        /// What they are; nothing if the node is gone.
        after: Option<NodeQuotas>,
    },
    /// What operators want.
    Orders,
    /// Who erases a replay.
    Erasure {
        /// Which.
        stream: StreamId,
        /// Who does; nobody any more when nothing of it is left.
        after: Option<Erasure>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner { partition, before, after } => {
                let before = before.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
                match after {
                    Some(after) => write!(f, "{partition}: {before} -> {after}"),
                    None => write!(f, "{partition}: {before} -> forgotten"),
                }
            }
            Self::Quotas { node, after: Some(after) } => write!(f, "{node}: {after}"),
            Self::Quotas { node, after: None } => write!(f, "{node}: no quotas, it is gone"),
            Self::Erasure { stream, after: Some(after) } => write!(f, "{stream}: {after}"),
            Self::Erasure { stream, after: None } => write!(f, "{stream}: nothing of it is left"),
            Self::Orders => write!(f, "the orders have changed"),
        }
    }
}

impl Plan {
    /// The plan before the first one.
    pub fn empty(term: Term) -> Self {
        let (owners, quotas, erasures) = Default::default();
        Self { format: FORMAT, term, version: PlanVersion(0), owners, quotas, orders: Orders::default(), erasures }
    }

    /// The same plan as the next version of a new leader: it says nothing new, but whoever commits it leads.
    #[must_use]
    pub fn adopted(&self, term: Term) -> Self {
        Self { term, version: self.version.next(), ..self.clone() }
    }

    /// Whether they say the same, whatever their term and version.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.owners == other.owners
            && self.quotas == other.quotas
            && self.orders == other.orders
            && self.erasures == other.erasures
    }

    /// What of it concerns one incarnation of a node: all that it needs to be sent, and a small part of a great plan.
    #[must_use]
    pub fn part_of(&self, who: &ProducerName) -> Self {
        let is_his = |(_, entry): &(&Partition, &Assignment)| entry.state.owner() == Some(who);
        let owners = self.owners.iter().filter(is_his).map(|(partition, entry)| (partition.clone(), entry.clone()));
        let quotas = self.quotas.iter().filter(|(node, _)| **node == who.node);
        let quotas = quotas.map(|(node, quotas)| (node.clone(), quotas.clone())).collect();
        let orders = Orders { streams: self.orders.streams.clone(), ..Orders::default() };
        let erasures = self.erasures.iter().filter(|(_, erasure)| erasure.by == *who);
        let erasures = erasures.map(|(stream, erasure)| (stream.clone(), erasure.clone())).collect();
        Self { owners: owners.collect(), quotas, orders, erasures, version: self.version, ..Self::empty(self.term) }
    }

    /// Everything that must not be in it.
    pub fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut lives: BTreeMap<&NodeId, &ProducerName> = BTreeMap::new();
        for (partition, entry) in &self.owners {
            if entry.since > self.version {
                found.push(Violation::FromTheFuture(partition.clone()));
            }
            if entry.state.owner().is_some_and(|owner| entry.fence.contains(owner)) {
                found.push(Violation::FencesItself(partition.clone()));
            }
            let Ownership::Owned { owner } = &entry.state else { continue };
            if lives.insert(&owner.node, owner).is_some_and(|other| other != owner) {
                found.push(Violation::TwoIncarnations(owner.node.clone()));
            }
            let is_read = |stream: &Stream| !stream.paused && !stream.is_removed();
            if !self.orders.streams.get(&partition.stream).is_some_and(is_read) {
                found.push(Violation::NotToBeRead(partition.clone(), partition.stream.clone()));
            }
        }
        let is_given_up = |id: &StreamId| {
            let is_held =
                |(part, entry): (&Partition, &Assignment)| part.stream == *id && entry.state.owner().is_some();
            self.orders.streams.get(id).is_some_and(Stream::is_removed) && !self.owners.iter().any(is_held)
        };
        let too_soon = self.erasures.keys().filter(|id| !is_given_up(id));
        found.extend(too_soon.map(|id| Violation::ErasedTooSoon(id.clone())));
        let over = self.quotas.iter().filter(|(_, quotas)| !quotas.within_capacity());
        found.extend(over.map(|(node, _)| Violation::OverCapacity(node.clone())));
        found
    }

    /// What is different in `newer`, partitions first.
    pub fn diff(&self, newer: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let partitions: BTreeSet<_> = self.owners.keys().chain(newer.owners.keys()).collect();
        for partition in partitions {
            let (before, after) = (self.owners.get(partition), newer.owners.get(partition));
            if before != after {
                let (before, after) = (before.map(|entry| entry.state.clone()), after.cloned());
                changes.push(Change::Owner { partition: partition.clone(), before, after });
            }
        }
        let nodes: BTreeSet<_> = self.quotas.keys().chain(newer.quotas.keys()).collect();
        for node in nodes.into_iter().filter(|&node| self.quotas.get(node) != newer.quotas.get(node)) {
            changes.push(Change::Quotas { node: node.clone(), after: newer.quotas.get(node).cloned() });
        }
        let erased: BTreeSet<_> = self.erasures.keys().chain(newer.erasures.keys()).collect();
        for stream in erased.into_iter().filter(|&stream| self.erasures.get(stream) != newer.erasures.get(stream)) {
            changes.push(Change::Erasure { stream: stream.clone(), after: newer.erasures.get(stream).cloned() });
        }
        changes.extend((self.orders != newer.orders).then_some(Change::Orders));
        changes
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a plan is made of maps with text as keys, numbers and text")
    }

    /// What was stored.
    ///
    /// # Errors
    /// It is not a plan, or one of another format.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let json = |error: serde_json::Error| Error::Json(error.to_string());
        let Head { format: found } = serde_json::from_str(text).map_err(json)?;
        if found != FORMAT {
            return Err(Error::Format { found, known: FORMAT });
        }
        serde_json::from_str(text).map_err(json)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {} of term {}", self.version, self.term)?;
        for (partition, entry) in &self.owners {
            writeln!(f, "  {partition}: {entry}")?;
        }
        for (node, quotas) in &self.quotas {
            writeln!(f, "  {node}: {quotas}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::Start;
    use crate::quota::{Shares, share_out};

    fn plan() -> Plan {
        let mut plan = Plan { version: PlanVersion(7), ..Plan::empty(Term(3)) };
        let stream = Stream { start: Start::At(5), ..Stream::new("ZTF", "ipac", "t".parse().unwrap()) };
        plan.orders.streams.insert("ztf".parse().unwrap(), stream);
        let entry = |state, fence: &[&str], reason| Assignment {
            state,
            since: PlanVersion(5),
            fence: fence.iter().map(|name| name.parse().unwrap()).collect(),
            reason,
        };
        let owner: ProducerName = "b#2".parse().unwrap();
        let (dead, to) = ("a#1".parse().unwrap(), "c".parse().unwrap());
        let died = entry(Ownership::Owned { owner: owner.clone() }, &["a#1"], Reason::OwnerDied { owner: dead });
        let drained = Reason::OwnerDrained { node: owner.node.clone() };
        let entries = [
            died,
            entry(Ownership::Revoking { owner, to: Some(to) }, &[], drained),
            entry(Ownership::Unplaced, &[], Reason::TopicGone),
        ];
        plan.owners = (0..).map(|i| format!("ztf/t/{i}").parse().unwrap()).zip(entries).collect();
        plan.quotas.insert("b".parse().unwrap(), share_out(2, &Shares::default(), &BTreeMap::new()));
        plan
    }

    #[test]
    fn a_plan_reads_as_sentences() {
        let expected = "\
plan v7 of term t3
  ztf/t/0: b#2, because the lease of a#1 ended without a release; fences a#1
  ztf/t/1: revoked from b#2 for c, because b is being drained
  ztf/t/2: unplaced, because its topic is gone
  b: ingest 1, enrich 2, filter 1 of 4 workers
";
        assert_eq!(plan().to_string(), expected);
        assert_eq!(plan().check(), []);
    }

    #[test]
    fn a_plan_is_stored_and_read_back_and_another_format_is_refused() {
        let text = plan().to_json();
        assert_eq!(Plan::from_json(&text).unwrap(), plan());
        let other = text.replace(r#""format":1"#, r#""format":2"#);
        assert_eq!(Plan::from_json(&other), Err(Error::Format { found: 2, known: 1 }));
        assert!(matches!(Plan::from_json("{}"), Err(Error::Json(_))));
    }

    #[test]
    fn each_violation_is_found() {
        let break_one = |broken: &dyn Fn(&mut Plan)| {
            let mut plan = plan();
            broken(&mut plan);
            plan.check().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let first =
            |plan: &mut Plan, change: &dyn Fn(&mut Assignment)| change(plan.owners.values_mut().next().unwrap());
        let future = break_one(&|plan| first(plan, &|entry| entry.since = PlanVersion(8)));
        assert_eq!(future, "ztf/t/0: decided in a later version than the plan's");
        let itself = break_one(&|plan| first(plan, &|entry| entry.fence.extend(["b#2".parse().unwrap()])));
        assert_eq!(itself, "ztf/t/0: its owner would fence itself");
        let two = break_one(&|plan| {
            let state = Ownership::Owned { owner: "b#1".parse().unwrap() };
            plan.owners.values_mut().last().unwrap().state = state;
        });
        assert_eq!(two, "b: two incarnations own partitions");
        let unread = break_one(&|plan| plan.orders.streams.clear());
        assert_eq!(unread, "ztf/t/0: owned, but ztf is not to be read");
        let erased = break_one(&|plan| {
            let erasure = Erasure { by: "b#2".parse().unwrap(), since: PlanVersion(7), fence: BTreeSet::new() };
            plan.erasures.insert("ztf".parse().unwrap(), erasure);
        });
        assert_eq!(erased, "ztf: erased, but it is not given up");
        let over = break_one(&|plan| plan.quotas.values_mut().for_each(|quotas| quotas.capacity = 3));
        assert_eq!(over, "b: its quotas are more than it can carry");
    }

    #[test]
    fn a_difference_says_what_was_and_what_is() {
        let (before, mut after) = (plan(), plan().adopted(Term(4)));
        assert_eq!(before.diff(&after), [], "a new leader changes nothing");
        assert!(before.says_the_same(&after) && after.version == PlanVersion(8));
        let partition: Partition = "ztf/t/2".parse().unwrap();
        let state = Ownership::Owned { owner: "c#1".parse().unwrap() };
        after.owners.get_mut(&partition).unwrap().state = state;
        after.owners.get_mut(&partition).unwrap().reason = Reason::LeastLoaded { of: 2 };
        after.quotas.clear();
        let lines: Vec<_> = before.diff(&after).iter().map(ToString::to_string).collect();
        let moved = "ztf/t/2: unplaced -> c#1, because nobody had it, and of the 2 nodes this one carries least";
        assert_eq!(lines, [moved, "b: no quotas, it is gone"]);
    }
}
