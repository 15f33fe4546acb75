//! The pools of one node: how they grow and shrink with its load, within what operators and the labels leave them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{NodeLoad, Policy};
use crate::message::StageLoad;
use crate::quota::{NodeQuotas, Quota, QuotaReason, Stage, share_out};
use crate::share::Limits;
use crate::time::{Span, Time};

/// The busy share, in thousandths, from which on the workers of a stage have no time left: more of them would help.
const FULL: u16 = 800;
/// A stage has room when the workers that it would have left were busy for less than this, in thousandths.
const ROOM: u64 = 600;
/// A stage gets at most so many times the workers that it has, at once.
const GROWTH: u64 = 4;

/// The pools of a node.
pub(super) struct Pools {
    capacity: u32,
    /// What operators have ordered, and what the labels say.
    fixed: BTreeMap<Stage, Quota>,
    /// Stages that follow the load.
    free: Vec<Pool>,
}

struct Pool {
    stage: Stage,
    quota: Quota,
    limits: Limits,
    /// What it wants, if its queue is too old.
    wants: Option<(u32, Span)>,
    /// How many workers it needs for what it does.
    needs: u32,
    /// Since when it has more.
    rests: Option<Time>,
}

impl Pool {
    fn most(&self) -> u32 {
        self.limits.max.unwrap_or(u32::MAX).max(1)
    }

    /// Of what it has, another stage may take the rest.
    fn least(&self) -> u32 {
        self.limits.min.max(1)
    }

    /// Whether it wants more than it has.
    fn is_short(&self) -> bool {
        self.wants.is_some_and(|(wants, _)| self.quota.workers < wants)
    }
}

fn is_late(load: StageLoad, policy: &Policy) -> bool {
    load.age > policy.target && load.busy >= FULL
}

impl Pools {
    /// What there is: the shares, if nothing else was decided before or what was decided does not fit any more. `without` are the stages
    /// for which the node is to have no workers; an order goes before that.
    pub(super) fn of(node: &NodeLoad<'_>, without: BTreeMap<Stage, QuotaReason>, policy: &Policy) -> Self {
        let mut set: BTreeMap<Stage, u32> = without.keys().map(|&stage| (stage, 0)).collect();
        set.extend(node.ordered.into_iter().flatten());
        let shared = share_out(node.cores, &policy.shares, &set);
        let (mut fixed, free): (BTreeMap<_, _>, BTreeMap<_, _>) =
            shared.stages.into_iter().partition(|(stage, _)| set.contains_key(stage));
        for (stage, reason) in without {
            if node.ordered.is_none_or(|ordered| !ordered.contains_key(&stage)) {
                fixed.insert(stage, Quota { workers: 0, reason });
            }
        }
        let left = shared.capacity - fixed.values().map(|quota| quota.workers).sum::<u32>();
        let free = if policy.follows { kept(node, free, left) } else { free };
        let limits = |stage| node.limits.and_then(|limits| limits.get(&stage)).copied().unwrap_or_default();
        let pool = |(stage, quota)| Pool { stage, quota, limits: limits(stage), wants: None, needs: 1, rests: None };
        let mut pools = Self { capacity: shared.capacity, fixed, free: free.into_iter().map(pool).collect() };
        pools.obey();
        pools
    }

    fn spare(&self) -> u32 {
        let used = self.fixed.values().chain(self.free.iter().map(|pool| &pool.quota)).map(|quota| quota.workers);
        self.capacity - used.sum::<u32>()
    }

    /// Brings the pools within their limits, as far as the node has workers.
    fn obey(&mut self) {
        for pool in &mut self.free {
            let Limits { min, max } = pool.limits;
            let is_stale = match pool.quota.reason {
                QuotaReason::AtMost { max: was } => max != Some(was),
                QuotaReason::AtLeast { min: was } => min != was,
                _ => false,
            };
            if is_stale {
                pool.quota.reason = QuotaReason::Share;
            }
            if pool.quota.workers > pool.most() {
                pool.quota = Quota { workers: pool.most(), reason: QuotaReason::AtMost { max: pool.most() } };
            }
        }
        for i in 0..self.free.len() {
            let min = self.free[i].limits.min.min(self.free[i].most());
            while self.free[i].quota.workers < min && (self.spare() > 0 || self.take_one(i)) {
                let workers = self.free[i].quota.workers + 1;
                self.free[i].quota = Quota { workers, reason: QuotaReason::AtLeast { min: self.free[i].limits.min } };
            }
        }
    }

    /// Takes a worker from whoever can spare most, for another one; whether somebody could.
    fn take_one(&mut self, to: usize) -> bool {
        let room = |pool: &Pool| pool.quota.workers.saturating_sub(pool.least());
        let others = self.free.iter_mut().enumerate().filter(|(i, pool)| *i != to && room(pool) > 0);
        let Some((_, richest)) = others.max_by_key(|(i, pool)| (room(pool), Reverse(*i))) else { return false };
        richest.quota = Quota { workers: richest.quota.workers - 1, reason: QuotaReason::Share };
        true
    }

    /// Finds who wants more, and who has room: from the loads as they are reported, and with what waits before the node.
    pub(super) fn look(
        &mut self,
        (own, loads): (&BTreeMap<Stage, StageLoad>, &BTreeMap<Stage, StageLoad>),
        rests: impl Fn(Stage) -> Option<Time>,
        policy: &Policy,
        now: Time,
    ) {
        for pool in &mut self.free {
            let of = |loads: &BTreeMap<Stage, StageLoad>| loads.get(&pool.stage).copied().unwrap_or_default();
            let load = of(loads);
            let workers = u64::from(pool.quota.workers);
            if is_late(load, policy) {
                let late = workers * load.age.0 / policy.target.0.max(1);
                let wants = late.clamp(workers + 1, (workers * GROWTH).max(workers + 1));
                pool.wants = Some((u32::try_from(wants).unwrap_or(u32::MAX), load.age));
            }
            // What they all were busy with, split between so many.
            let needs = u64::from(load.busy) * workers / ROOM + 1;
            pool.needs = u32::try_from(needs).unwrap_or(u32::MAX);
            // An alert is some time on its way to the node and to its commit however little there is to do: that is not the stage's.
            let has_room = pool.needs < pool.quota.workers && of(own).age.0 <= policy.target.0 / 2;
            pool.rests = has_room.then(|| rests(pool.stage).unwrap_or(now));
        }
    }

    /// Goes on with what was known.
    pub(super) fn go_on(&mut self, rests: impl Fn(Stage) -> Option<Time>) {
        self.free.iter_mut().for_each(|pool| pool.rests = rests(pool.stage));
    }

    /// Gives what is spare to those who want more, the latest first. Gives whether somebody still wants more, and may have it.
    pub(super) fn grow(&mut self, policy: &Policy) -> bool {
        let mut order: Vec<usize> = (0..self.free.len()).filter(|&i| self.free[i].wants.is_some()).collect();
        order.sort_by_key(|&i| Reverse(self.free[i].wants.map(|(_, age)| age)));
        let mut is_short = false;
        for i in order {
            let Some((wants, age)) = self.free[i].wants else { continue };
            let most = self.free[i].most();
            let more = wants.min(most).saturating_sub(self.free[i].quota.workers).min(self.spare());
            let pool = &mut self.free[i];
            if more > 0 {
                let workers = pool.quota.workers + more;
                pool.quota = Quota { workers, reason: QuotaReason::Late { age, target: policy.target } };
            }
            if wants > most && pool.quota.workers == most {
                pool.quota.reason = QuotaReason::AtMost { max: most };
            }
            is_short |= pool.quota.workers < wants.min(most);
        }
        is_short
    }

    /// The stages that want more than they have, whatever keeps it from them. One with an order has what was ordered.
    pub(super) fn short(&self, loads: &BTreeMap<Stage, StageLoad>, policy: &Policy) -> BTreeSet<Stage> {
        let ordered = self.fixed.iter().filter(|(_, quota)| quota.workers > 0).map(|(stage, _)| *stage);
        let ordered = ordered.filter(|stage| loads.get(stage).is_some_and(|&load| is_late(load, policy)));
        ordered.chain(self.free.iter().filter(|pool| pool.is_short()).map(|pool| pool.stage)).collect()
    }

    /// Takes a worker from those who have had room for long enough; when another is short, all that they do not need, and sooner from those
    /// who never wanted more.
    pub(super) fn shrink(&mut self, is_short: bool, policy: &Policy, now: Time) {
        for pool in &mut self.free {
            let was_late = matches!(pool.quota.reason, QuotaReason::Late { .. } | QuotaReason::AtMost { .. });
            let patience = if is_short && !was_late { policy.yields } else { policy.rest };
            let Some(since) = pool.rests.filter(|&since| now.since(since) >= patience) else { continue };
            let fewer = if is_short { pool.needs } else { pool.quota.workers - 1 };
            let workers = fewer.max(pool.limits.min.min(pool.quota.workers));
            if workers < pool.quota.workers {
                pool.quota = Quota { workers, reason: QuotaReason::Idle { rested: now.since(since) } };
                pool.rests = (workers > pool.needs).then(|| Time(now.0.saturating_sub((policy.rest - policy.step).0)));
            } else if pool.limits.max != Some(workers) {
                // Where both ends are the same, one of them is reason enough.
                pool.quota.reason = QuotaReason::AtLeast { min: pool.limits.min };
            }
        }
    }

    /// The quotas, and since when stages have had more than they need.
    pub(super) fn finish(self) -> (NodeQuotas, Vec<(Stage, Time)>) {
        let rests = self.free.iter().filter_map(|pool| Some((pool.stage, pool.rests?))).collect();
        let free = self.free.into_iter().map(|pool| (pool.stage, pool.quota));
        let stages = self.fixed.into_iter().chain(free).collect();
        (NodeQuotas { capacity: self.capacity, stages, streams: BTreeMap::new() }, rests)
    }
}

/// What the stages that follow the load had before. One that had nothing of its own gets its share, or what is left of it; if nothing is, all
/// have their shares.
fn kept(node: &NodeLoad<'_>, shares: BTreeMap<Stage, Quota>, left: u32) -> BTreeMap<Stage, Quota> {
    let before = |stage| {
        let quota = node.current.and_then(|quotas| quotas.stages.get(&stage));
        quota.filter(|quota| quota.reason.follows_load() && quota.workers > 0)
    };
    let used: u32 = shares.keys().filter_map(|&stage| before(stage)).map(|quota| quota.workers).sum();
    let (mut spare, mut kept) = (left.saturating_sub(used), BTreeMap::new());
    for (&stage, share) in &shares {
        let quota = before(stage).cloned().unwrap_or_else(|| {
            let workers = share.workers.min(spare).max(1);
            spare = spare.saturating_sub(workers);
            Quota { workers, reason: QuotaReason::Share }
        });
        kept.insert(stage, quota);
    }
    let all: u32 = kept.values().map(|quota: &Quota| quota.workers).sum();
    if all <= left { kept } else { shares }
}
