//! What the planner looks at: the fleet, seen with the eyes of the plan. Which node may take, keeps or gives, which partition is wanted.

use std::collections::BTreeMap;

use crate::fleet::{Fleet, Member, Standing, TopicFacts};
use crate::id::{NodeId, Partition, PlanVersion, ProducerName, StreamId};
use crate::message::HoldState;
use crate::orders::{Mode, Orders};
use crate::quota::NodeQuotas;
use crate::reason::Reason;
use crate::topics::{Night, is_over};

/// What an incarnation does with partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It keeps what it has and may get more.
    Takes,
    /// It keeps what it has.
    Keeps,
    /// It has to give what it has, for a reason.
    Gives(Reason),
    /// It has certainly stopped.
    Gone,
}

/// An incarnation of a node.
#[derive(Debug, Clone)]
pub struct NodeFacts<'a> {
    /// What it does with partitions.
    pub disposition: Disposition,
    /// What is known of it.
    pub member: &'a Member,
}

impl NodeFacts<'_> {
    /// How much of the load it should carry, beside others.
    pub fn capacity(&self) -> u64 {
        u64::from(self.member.info.cores.max(1))
    }

    /// Whether it runs a partition that it was given in version `since`, or in a later one.
    pub fn runs(&self, partition: &Partition, since: PlanVersion) -> bool {
        let holding = self.member.holds.get(partition);
        self.member.seen >= Some(since) && holding.is_some_and(|held| held.state != HoldState::Starting)
    }
}

/// Whether a partition is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// It is, and counts so much beside others.
    Wanted {
        /// From its lag; 1 with none.
        weight: u64,
    },
    /// It is not, for a reason.
    Unwanted(Reason),
}

/// What the planner looks at.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The incarnations of nodes.
    pub nodes: BTreeMap<&'a ProducerName, NodeFacts<'a>>,
    /// The live partitions.
    pub partitions: BTreeMap<Partition, Demand>,
    /// What operators want.
    pub orders: &'a Orders,
    /// What the load asks for, by node.
    pub quotas: &'a BTreeMap<NodeId, NodeQuotas>,
    /// A partition whose place is not newer than this version of the plan may be moved for its lag alone.
    pub rested: PlanVersion,
    /// Whether everybody whom the plan names has come or is gone, and everything that it names was listed: before, nothing is balanced,
    /// and so a change of leader moves nothing.
    pub is_settled: bool,
}

impl<'a> Facts<'a> {
    /// What there is to be looked at in a fleet, with the quotas that its load asks for (`scale`), and since which version of the plan a
    /// partition must be where it is to be moved for its lag alone.
    pub fn of(fleet: &'a Fleet, quotas: &'a BTreeMap<NodeId, NodeQuotas>, rested: PlanVersion) -> Self {
        let orders = fleet.orders();
        let nodes = fleet.members().iter().map(|(who, member)| {
            let disposition = disposition(who, member, orders);
            (who, NodeFacts { disposition, member })
        });
        let is_listed = fleet.topics().values().all(|topic| topic.is_confirmed);
        let (nodes, partitions) = (nodes.collect(), demands(fleet));
        Self { nodes, partitions, orders, quotas, rested, is_settled: is_listed && !fleet.is_awaiting() }
    }
}

fn disposition(who: &ProducerName, member: &Member, orders: &Orders) -> Disposition {
    let owner = || who.clone();
    match (member.standing, orders.modes.get(&who.node)) {
        (Standing::Ended | Standing::Dead, _) => Disposition::Gone,
        (Standing::Superseded, _) => Disposition::Gives(Reason::OwnerSuperseded { owner: owner() }),
        _ if member.leaving => Disposition::Gives(Reason::OwnerLeaves { owner: owner() }),
        (_, Some(Mode::Drained)) => Disposition::Gives(Reason::OwnerDrained { node: who.node.clone() }),
        (Standing::Awaited | Standing::Suspect, _) | (_, Some(Mode::Cordoned)) => Disposition::Keeps,
        (Standing::Live, None) => Disposition::Takes,
    }
}

fn demands(fleet: &Fleet) -> BTreeMap<Partition, Demand> {
    let mut newest: BTreeMap<(&StreamId, &str), Night> = BTreeMap::new();
    for ((stream, _), facts) in fleet.topics() {
        let Some(night) = facts.matched.night else { continue };
        let family = newest.entry((stream, facts.matched.family.as_str())).or_insert(night);
        *family = night.max(*family);
    }
    let mut demands = BTreeMap::new();
    for ((stream, topic), facts) in fleet.topics() {
        let refused = match fleet.orders().streams.get(stream) {
            None => Some(Reason::StreamRemoved),
            Some(stream) if stream.is_removed() => Some(Reason::StreamRemoved),
            Some(stream) if stream.paused => Some(Reason::StreamPaused),
            Some(_) => None,
        };
        let is_replay = fleet.is_replay(stream);
        let latest = newest.get(&(stream, facts.matched.family.as_str())).copied();
        let is_done = is_over(facts.matched.night, latest, facts.partitions.values().map(|facts| facts.lag()));
        for &number in facts.partitions.keys() {
            let partition = Partition { stream: stream.clone(), topic: topic.clone(), number };
            let wanted = || if is_replay { replayed(facts, number) } else { demand(facts, number, is_done) };
            let demand = refused.clone().map_or_else(wanted, Demand::Unwanted);
            demands.insert(partition, demand);
        }
    }
    demands
}

fn demand(topic: &TopicFacts, number: u32, is_done: bool) -> Demand {
    let facts = topic.partitions.get(&number).copied().unwrap_or_default();
    match facts.next {
        Some(at) if is_done => Demand::Unwanted(Reason::NightOver { at }),
        _ => Demand::Wanted { weight: facts.weight() },
    }
}

/// A partition of a replay is read until its window is through. However much is left of it, it counts like one that nothing waits in.
fn replayed(topic: &TopicFacts, number: u32) -> Demand {
    let facts = topic.partitions.get(&number).copied().unwrap_or_default();
    match facts.next.filter(|next| facts.until.is_some_and(|until| *next >= until)) {
        Some(at) => Demand::Unwanted(Reason::ReplayOver { at }),
        None => Demand::Wanted { weight: 1 },
    }
}
