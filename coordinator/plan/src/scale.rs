//! Quotas that follow the load: how many workers each stage of a node should have, from what the nodes report. Pure; why is part of the
//! answer.
//!
//! Quick to grow, slow to shrink. A stage for which an alert has waited longer than the target, and whose workers have no time left, gets
//! workers at once, in proportion to how late it is. It gives one back only after it could have done with fewer for a long while without a
//! break, longer than the time between two visits of LSST, so that bursts that repeat move nothing. A stage that was never late gives
//! what it has too much to one that is short within seconds. A worker that is given back leaves its stage with so much room that it does
//! not ask for it again.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, Member, Standing};
use crate::id::{NodeId, ProducerName};
use crate::message::StageLoad;
use crate::plan::Plan;
use crate::quota::{NodeQuotas, Quota, QuotaReason, Shares, Stage, share_out};
use crate::time::{Span, Time};

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
    /// How long every node must have been short before the fleet is called saturated.
    pub patience: Span,
    /// Within what time a fleet should be through with what waits.
    pub drain: Span,
    /// How the cores are split at first, between stages that nobody has ordered otherwise.
    pub shares: Shares,
}

impl Default for Policy {
    fn default() -> Self {
        let (target, rest, step, yields) = (Span(250), Span(90_000), Span(10_000), Span(5_000));
        let (patience, drain) = (Span(10_000), Span(60_000));
        Self { follows: true, target, rest, step, yields, patience, drain, shares: Shares::default() }
    }
}

/// The busy share, in thousandths, from which on the workers of a stage have no time left: more of them would help.
const FULL: u16 = 800;
/// A stage has room when the workers that it would have left were busy for less than this, in thousandths.
const ROOM: u64 = 600;
/// A stage gets at most so many times the workers that it has, at once.
const GROWTH: u64 = 4;

/// What is known of a node.
#[derive(Debug, Clone)]
pub struct NodeLoad<'a> {
    /// Its cores.
    pub cores: u32,
    /// What operators have ordered for it, if anything.
    pub ordered: Option<&'a BTreeMap<Stage, u32>>,
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
    /// Since when every node has been short of workers.
    pub short: Option<Time>,
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
    /// What a fleet carries under a plan. A node that is awaited is left out: nothing is known of it.
    pub fn of(fleet: &'a Fleet, plan: &'a Plan, memory: &'a Memory) -> Self {
        let is_there =
            |(_, member): &(&ProducerName, &Member)| matches!(member.standing, Standing::Live | Standing::Suspect);
        let node = |(who, member): (&'a ProducerName, &'a Member)| {
            let is_fresh = member.standing == Standing::Live && member.seen >= Some(plan.version);
            // A replay may wait.
            let held = member.holds.iter().filter(|(partition, _)| !fleet.is_replay(&partition.stream));
            let behind = held.filter_map(|(_, held)| held.behind);
            let load = NodeLoad {
                cores: member.info.cores,
                ordered: fleet.orders().quotas.get(&who.node),
                current: plan.quotas.get(&who.node),
                stages: is_fresh.then_some(&member.stages),
                behind: behind.max().unwrap_or_default(),
            };
            (who.node.clone(), load)
        };
        let nodes = fleet.members().iter().filter(is_there).map(node).collect();
        Self { nodes, arriving: fleet.arriving(), waiting: fleet.lag(None).alerts, memory }
    }
}

/// No node has a worker to spare for a stage that is late, and has not had for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saturated {
    /// How many such nodes would do, as far as can be told: what comes, and within the time of the policy what waits.
    pub wants_nodes: u64,
    /// How many there are.
    pub has_nodes: u64,
}

impl fmt::Display for Saturated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wants_nodes, has_nodes } = self;
        write!(f, "all {has_nodes} nodes are short of workers; {wants_nodes} would do")
    }
}

/// What should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The quotas of each node.
    pub quotas: BTreeMap<NodeId, NodeQuotas>,
    /// Whether the whole fleet has too little.
    pub saturated: Option<Saturated>,
    /// For the next decision.
    pub memory: Memory,
}

/// Decides the quotas of all nodes.
pub fn scale(load: &Load<'_>, policy: &Policy, now: Time) -> Decision {
    let mut decision = Decision::default();
    let mut short = 0;
    for (name, node) in &load.nodes {
        let mut pools = Pools::of(node, policy);
        let rests = |stage| load.memory.rests.get(&(name.clone(), stage)).copied();
        match node.stages.filter(|_| policy.follows) {
            Some(loads) => {
                pools.look(&late(loads, node.behind), rests, policy, now);
                let is_short = pools.grow(policy);
                pools.shrink(is_short, policy, now);
                short += u64::from(is_short);
            }
            // What was known of it stands until it says more.
            None => pools.free.iter_mut().for_each(|pool| pool.rests = rests(pool.stage)),
        }
        let rests = pools.free.iter().filter_map(|pool| Some(((name.clone(), pool.stage), pool.rests?)));
        decision.memory.rests.extend(rests);
        decision.quotas.insert(name.clone(), pools.quotas());
    }
    if short > 0 && short == load.nodes.len() as u64 {
        let since = load.memory.short.unwrap_or(now);
        decision.memory.short = Some(since);
        decision.saturated = (now.since(since) >= policy.patience).then(|| saturated(load, policy));
    }
    decision
}

/// In proportion to what the fleet does now; at least one more than there are.
fn saturated(load: &Load<'_>, policy: &Policy) -> Saturated {
    let has_nodes = load.nodes.len() as u64;
    let rate =
        |node: &NodeLoad<'_>| node.stages.and_then(|stages| stages.get(&Stage::Filter)).map_or(0, |load| load.rate);
    let done: u64 = load.nodes.values().map(|node| u64::from(rate(node))).sum();
    let wanted = load.arriving + load.waiting * 1000 / policy.drain.0.max(1);
    Saturated { wants_nodes: (has_nodes * wanted).div_ceil(done.max(1)).max(has_nodes + 1), has_nodes }
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

/// The pools of a node.
struct Pools {
    capacity: u32,
    /// What operators have ordered.
    fixed: BTreeMap<Stage, Quota>,
    /// Stages that follow the load.
    free: Vec<Pool>,
}

struct Pool {
    stage: Stage,
    quota: Quota,
    /// What it wants, if its queue is too old.
    wants: Option<(u32, Span)>,
    /// How many workers it needs for what it does.
    needs: u32,
    /// Since when it has more.
    rests: Option<Time>,
}

impl Pools {
    /// What there is: the shares, if nothing else was decided before or what was decided does not fit any more.
    fn of(node: &NodeLoad<'_>, policy: &Policy) -> Self {
        let nothing = BTreeMap::new();
        let ordered = node.ordered.unwrap_or(&nothing);
        let shared = share_out(node.cores, &policy.shares, ordered);
        let (fixed, free): (BTreeMap<_, _>, BTreeMap<_, _>) =
            shared.stages.iter().partition(|(stage, _)| ordered.contains_key(stage));
        let left = shared.capacity - fixed.values().map(|quota: &Quota| quota.workers).sum::<u32>();
        let before = |stage| node.current.and_then(|quotas| quotas.stages.get(&stage)).filter(|quota| follows(quota));
        let kept: Option<Vec<Quota>> = free.keys().map(|&stage| before(stage).copied()).collect();
        let fits = |kept: &Vec<Quota>| kept.iter().map(|quota| quota.workers).sum::<u32>() <= left;
        let quotas =
            kept.filter(|kept| policy.follows && fits(kept)).unwrap_or_else(|| free.values().copied().collect());
        let pool = |(&stage, quota)| Pool { stage, quota, wants: None, needs: 1, rests: None };
        let free = free.keys().zip(quotas).map(pool).collect();
        Self { capacity: shared.capacity, fixed, free }
    }

    fn spare(&self) -> u32 {
        let used = self.fixed.values().chain(self.free.iter().map(|pool| &pool.quota)).map(|quota| quota.workers);
        self.capacity - used.sum::<u32>()
    }

    /// Finds who wants more, and who has room.
    fn look(
        &mut self,
        loads: &BTreeMap<Stage, StageLoad>,
        rests: impl Fn(Stage) -> Option<Time>,
        policy: &Policy,
        now: Time,
    ) {
        for pool in &mut self.free {
            let load = loads.get(&pool.stage).copied().unwrap_or_default();
            let workers = u64::from(pool.quota.workers);
            if load.age > policy.target && load.busy >= FULL {
                let late = workers * load.age.0 / policy.target.0.max(1);
                let wants = late.clamp(workers + 1, (workers * GROWTH).max(workers + 1));
                pool.wants = Some((u32::try_from(wants).unwrap_or(u32::MAX), load.age));
            }
            // What they all were busy with, split between so many.
            let needs = u64::from(load.busy) * workers / ROOM + 1;
            pool.needs = u32::try_from(needs).unwrap_or(u32::MAX);
            let has_room = pool.needs < pool.quota.workers && load.age.0 <= policy.target.0 / 2;
            pool.rests = has_room.then(|| rests(pool.stage).unwrap_or(now));
        }
    }

    /// Gives what is spare to those who want more, the latest first. Gives whether somebody still wants more.
    fn grow(&mut self, policy: &Policy) -> bool {
        let mut order: Vec<usize> = (0..self.free.len()).filter(|&i| self.free[i].wants.is_some()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(self.free[i].wants.map(|(_, age)| age)));
        let mut is_short = false;
        for i in order {
            let Some((wants, age)) = self.free[i].wants else { continue };
            let more = wants.saturating_sub(self.free[i].quota.workers).min(self.spare());
            if more > 0 {
                let workers = self.free[i].quota.workers + more;
                self.free[i].quota = Quota { workers, reason: QuotaReason::Late { age, target: policy.target } };
            }
            is_short |= self.free[i].quota.workers < wants;
        }
        is_short
    }

    /// Takes a worker from those who have had room for long enough; when another is short, all that they do not need, and sooner from those
    /// who never wanted more.
    fn shrink(&mut self, is_short: bool, policy: &Policy, now: Time) {
        for pool in &mut self.free {
            let was_late = matches!(pool.quota.reason, QuotaReason::Late { .. });
            let patience = if is_short && !was_late { policy.yields } else { policy.rest };
            let Some(since) = pool.rests.filter(|&since| now.since(since) >= patience) else { continue };
            let workers = if is_short { pool.needs } else { pool.quota.workers - 1 };
            pool.quota = Quota { workers, reason: QuotaReason::Idle { rested: now.since(since) } };
            pool.rests = (workers > pool.needs).then(|| Time(now.0.saturating_sub((policy.rest - policy.step).0)));
        }
    }

    fn quotas(self) -> NodeQuotas {
        let free = self.free.into_iter().map(|pool| (pool.stage, pool.quota));
        NodeQuotas { capacity: self.capacity, stages: self.fixed.into_iter().chain(free).collect() }
    }
}

/// Whether a quota came from the policy.
fn follows(quota: &Quota) -> bool {
    match quota.reason {
        QuotaReason::Share | QuotaReason::Late { .. } | QuotaReason::Idle { .. } => true,
        QuotaReason::Override | QuotaReason::Clipped { .. } => false,
    }
}

#[cfg(test)]
mod tests;
