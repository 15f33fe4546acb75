//! Quotas that follow the load: how many workers each stage of a node should have, from what the nodes report. Pure; why is part of the
//! answer.
//!
//! Quick to grow, slow to shrink. A stage for which an alert has waited longer than the target, and whose workers have no time left, gets
//! workers at once, in proportion to how late it is. It gives one back only after it could have done with fewer for a long while without a
//! break, longer than the time between two visits of LSST, so that bursts that repeat move nothing. A stage that was never late gives
//! what it has too much to one that is short within seconds. A worker that is given back leaves its stage with so much room that it does
//! not ask for it again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, Member, Standing};
use crate::id::{NodeId, ProducerName};
use crate::message::StageLoad;
use crate::orders::Mode;
use crate::plan::Plan;
use crate::quota::{NodeQuotas, QuotaReason, Shares, Stage};
use crate::share::Limits;
use crate::time::{Span, Time};

mod placement;
mod pools;

use placement::Places;
pub use placement::{Placement, Wishes};
use pools::Pools;

/// How quotas follow the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether they follow it. If not, each stage has its share.
    pub follows: bool,
    /// The age of a queue above which its stage gets more workers.
    pub target: Span,
    /// How long a stage must have had more workers than it needs before it gives one back.
    pub rest: Span,
    /// How much later it gives the next one back.
    pub step: Span,
    /// How long it must have had them when another stage of its node is short, and it was never late itself.
    pub yields: Span,
    /// How long every node that works on a stage must have been short before the fleet is called saturated.
    pub patience: Span,
    /// Within what time a fleet should be through with what waits.
    pub drain: Span,
    /// How the cores are split at first, between stages that nobody has ordered otherwise.
    pub shares: Shares,
    /// Which nodes work on which stage, by their labels.
    pub placement: Placement,
}

impl Default for Policy {
    fn default() -> Self {
        let (target, rest, step, yields) = (Span(250), Span(90_000), Span(10_000), Span(5_000));
        let (patience, drain) = (Span(10_000), Span(60_000));
        let (shares, placement) = Default::default();
        Self { follows: true, target, rest, step, yields, patience, drain, shares, placement }
    }
}

/// What is known of a node.
#[derive(Debug, Clone)]
pub struct NodeLoad<'a> {
    /// Its cores.
    pub cores: u32,
    /// What it can; nothing while a new leader has not heard of it.
    pub labels: Option<&'a BTreeSet<String>>,
    /// Whether others may hand work over to it: it lives, and is not on its way out.
    pub takes: bool,
    /// What operators have ordered for it, if anything.
    pub ordered: Option<&'a BTreeMap<Stage, u32>>,
    /// Within what operators want the policy to stay there, if anything.
    pub limits: Option<&'a BTreeMap<Stage, Limits>>,
    /// What it has now.
    pub current: Option<&'a NodeQuotas>,
    /// What it reports, if that is about what it has now.
    pub stages: Option<&'a BTreeMap<Stage, StageLoad>>,
    /// How long the oldest alert of its partitions has waited, in Kafka or in the node; those of replays do not count.
    pub behind: Span,
}

/// What is remembered from one decision to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Since when each stage could have done with fewer workers.
    pub rests: BTreeMap<(NodeId, Stage), Time>,
    /// Since when every node that works on some stage has been short of workers.
    pub short: Option<Time>,
    /// Since when some node that has the labels that a stage prefers has not been short of workers for it.
    pub eased: BTreeMap<Stage, Time>,
}

/// What the policy looks at.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// The nodes that take part.
    pub nodes: BTreeMap<NodeId, NodeLoad<'a>>,
    /// Alerts a second that come into all streams.
    pub arriving: u64,
    /// Alerts that wait in Kafka, without those of replays.
    pub waiting: u64,
    /// From the decision before.
    pub memory: &'a Memory,
}

impl<'a> Load<'a> {
    /// What a fleet carries under a plan. A node from which a new leader has not heard may be there still, with what the plan gives it.
    pub fn of(fleet: &'a Fleet, plan: &'a Plan, memory: &'a Memory) -> Self {
        let orders = fleet.orders();
        let unheard = |node: &'a NodeId| {
            let current = plan.quotas.get(node);
            let (ordered, limits) = (orders.quotas.get(node), orders.limits.get(node));
            let cores = current.map_or(0, NodeQuotas::cores);
            NodeLoad { cores, labels: None, takes: false, ordered, limits, current, stages: None, behind: Span(0) }
        };
        let heard = |(who, member): (&'a ProducerName, &'a Member)| {
            let is_fresh = member.standing == Standing::Live && member.seen >= Some(plan.version);
            let is_drained = orders.modes.get(&who.node) == Some(&Mode::Drained);
            // A replay may wait.
            let held = member.holds.iter().filter(|(partition, _)| !fleet.is_replay(&partition.stream));
            let behind = held.filter_map(|(_, held)| held.behind);
            let load = NodeLoad {
                cores: member.info.cores,
                labels: Some(&member.info.labels),
                takes: member.standing == Standing::Live && !member.leaving && !is_drained,
                stages: is_fresh.then_some(&member.stages),
                behind: behind.max().unwrap_or_default(),
                ..unheard(&who.node)
            };
            (who.node.clone(), load)
        };
        let planned = may_live(fleet, plan).into_iter().filter(|node| plan.quotas.contains_key(node));
        let mut nodes: BTreeMap<_, _> = planned.map(|node| (node.clone(), unheard(node))).collect();
        nodes.extend(fleet.members().iter().filter(|(_, member)| is_heard(member)).map(heard));
        Self { nodes, arriving: fleet.arriving(), waiting: fleet.lag(None).alerts, memory }
    }
}

fn is_heard(member: &Member) -> bool {
    matches!(member.standing, Standing::Live | Standing::Suspect)
}

/// The nodes that are not known to be gone: those with a life that is not over, and as long as some are awaited, also those of which only
/// the quotas of the plan are known.
fn may_live<'a>(fleet: &'a Fleet, plan: &'a Plan) -> BTreeSet<&'a NodeId> {
    let nodes = |is: fn(&Member) -> bool| -> BTreeSet<&NodeId> {
        fleet.members().iter().filter(|(_, member)| is(member)).map(|(who, _)| &who.node).collect()
    };
    let (mut alive, known) = (nodes(|member| !member.standing.is_over()), nodes(|_| true));
    if fleet.is_awaiting() {
        alive.extend(plan.quotas.keys().filter(|node| !known.contains(node)));
    }
    alive
}

/// No node that works on a stage has a worker to spare for it while it is late, and none has had one for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saturated {
    /// The stage.
    pub stage: Stage,
    /// How many such nodes would do, as far as can be told: what comes, and within the time of the policy what waits.
    pub wants_nodes: u64,
    /// How many work on it.
    pub has_nodes: u64,
}

impl fmt::Display for Saturated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, wants_nodes, has_nodes } = self;
        write!(
            f,
            "{stage} is short of workers on every node that works on it: there are {has_nodes}, {wants_nodes} would do"
        )
    }
}

/// What should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The quotas of each node; what streams may take of it follows from who owns what.
    pub quotas: BTreeMap<NodeId, NodeQuotas>,
    /// Whether a stage has too little, wherever it is worked on.
    pub saturated: Option<Saturated>,
    /// Stages that require labels, which, and no node that could work on them has them all: all nodes do.
    pub homeless: BTreeMap<Stage, BTreeSet<String>>,
    /// For the next decision.
    pub memory: Memory,
}

/// Decides the quotas of all nodes.
pub fn scale(load: &Load<'_>, policy: &Policy, now: Time) -> Decision {
    let before = Places::of(load, policy);
    let size_all = |places: &Places<'_>| -> BTreeMap<&NodeId, Sized> {
        load.nodes.iter().map(|(name, node)| (name, size(load, name, places.without(node), policy, now))).collect()
    };
    let mut sized = size_all(&before);
    let is_short = |node: &NodeId, stage| sized[node].short.is_some().then(|| sized[node].wants(stage));
    let (after, eased) = before.after(is_short, policy.rest, now);
    if after != before {
        sized = size_all(&after);
    }
    let mut decision = Decision { homeless: after.homeless(), ..Decision::default() };
    decision.memory.eased = eased;
    if let Some(stage) = saturated_stage(&sized) {
        let since = load.memory.short.unwrap_or(now);
        decision.memory.short = Some(since);
        let saturated = || saturated(load, stage, &sized, policy);
        decision.saturated = (now.since(since) >= policy.patience).then(saturated);
    }
    for (name, Sized { quotas, rests, .. }) in sized {
        decision.memory.rests.extend(rests.into_iter().map(|(stage, since)| ((name.clone(), stage), since)));
        decision.quotas.insert(name.clone(), quotas);
    }
    decision
}

/// What comes out for one node.
struct Sized {
    quotas: NodeQuotas,
    /// Since when stages have had more than they need.
    rests: Vec<(Stage, Time)>,
    /// Whether a stage wants more than the node has.
    is_short: bool,
    /// The stages that want more than they have; nothing if that is not known.
    short: Option<BTreeSet<Stage>>,
}

impl Sized {
    fn wants(&self, stage: Stage) -> bool {
        self.short.as_ref().is_some_and(|short| short.contains(&stage))
    }
}

/// The stage that is late on most nodes, of those for which no node that works on them has a worker to spare.
fn saturated_stage(sized: &BTreeMap<&NodeId, Sized>) -> Option<Stage> {
    let at = |stage| sized.values().filter(move |sized| sized.quotas.workers(stage) > 0);
    let late = |stage| at(stage).filter(|sized| sized.wants(stage)).count();
    let full = Stage::ALL.into_iter().filter(|&stage| late(stage) > 0 && at(stage).all(|sized| sized.is_short));
    full.max_by_key(|&stage| (late(stage), Reverse(stage)))
}

/// The quotas of a node that has no workers for some stages, for a reason.
fn size(load: &Load<'_>, name: &NodeId, without: BTreeMap<Stage, QuotaReason>, policy: &Policy, now: Time) -> Sized {
    let node = &load.nodes[name];
    let rests = |stage| load.memory.rests.get(&(name.clone(), stage)).copied();
    let mut pools = Pools::of(node, without, policy);
    let (mut is_short, mut short) = (false, (!policy.follows).then(BTreeSet::new));
    match node.stages.filter(|_| policy.follows) {
        Some(own) => {
            let loads = late(own, node.behind);
            pools.look((own, &loads), rests, policy, now);
            is_short = pools.grow(policy);
            short = Some(pools.short(&loads, policy));
            pools.shrink(is_short, policy, now);
        }
        // What was known of it stands until it says more.
        None => pools.go_on(rests),
    }
    let (quotas, rests) = pools.finish();
    Sized { quotas, rests, is_short, short }
}

/// In proportion to what the nodes that work on the stage do of it now; at least one more than there are.
fn saturated(load: &Load<'_>, stage: Stage, sized: &BTreeMap<&NodeId, Sized>, policy: &Policy) -> Saturated {
    let works = |name: &NodeId| sized[name].quotas.workers(stage) > 0;
    let nodes: Vec<_> = load.nodes.iter().filter(|(name, _)| works(name)).map(|(_, node)| node).collect();
    let rate = |node: &&NodeLoad<'_>| node.stages.and_then(|stages| stages.get(&stage)).map_or(0, |load| load.rate);
    let (has_nodes, done) = (nodes.len() as u64, nodes.iter().map(|node| u64::from(rate(node))).sum::<u64>());
    let wanted = load.arriving + load.waiting * 1000 / policy.drain.0.max(1);
    Saturated { stage, wants_nodes: (has_nodes * wanted).div_ceil(done.max(1)).max(has_nodes + 1), has_nodes }
}

/// The loads, with the age of what waits before the node given to the stage that it waits for: a node reads no further when its queues are
/// full, so that the queue of its slowest stage stays short however late it is.
fn late(loads: &BTreeMap<Stage, StageLoad>, behind: Span) -> BTreeMap<Stage, StageLoad> {
    let mut loads = loads.clone();
    if let Some(slowest) = loads.values_mut().max_by_key(|load| load.busy) {
        slowest.age = slowest.age.max(behind);
    }
    loads
}

#[cfg(test)]
mod tests;
