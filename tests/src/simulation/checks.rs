//! What must hold: after each step, at each commit of a plan, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use boom_plan::id::{NodeId, Partition, ProducerName};
use boom_plan::message::HoldState;
use boom_plan::plan::{Assignment, Ownership, Plan};
use boom_plan::quota::{QuotaReason, Stage};
use boom_plan::reason::Reason;

use super::world::{Event, FAULTS, World};

/// Within what time after the faults every live partition must be owned: a leader, a lease with its margin, and a commit
/// that was on its way for as long as the slowest.
const OWNED_WITHIN: u64 = 25_000;
/// From when on no plan may come any more: nothing happens that asks for one.
const AT_REST: u64 = FAULTS + 65_000;

/// Which nodes hold which partition, kept up to date so that a step looks only at what it touched.
#[derive(Debug)]
pub(super) struct Checks {
    holders: BTreeMap<Partition, BTreeSet<usize>>,
    held: Vec<BTreeSet<Partition>>,
}

impl Checks {
    pub(super) fn new(nodes: usize) -> Self {
        Self { holders: BTreeMap::new(), held: vec![BTreeSet::new(); nodes] }
    }

    fn update(&mut self, node: usize, holds: Option<&BTreeMap<Partition, HoldState>>) {
        let is_same = holds.map_or(self.held[node].is_empty(), |holds| holds.keys().eq(&self.held[node]));
        if is_same {
            return;
        }
        for partition in std::mem::take(&mut self.held[node]) {
            if let Some(holders) = self.holders.get_mut(&partition) {
                holders.remove(&node);
            }
        }
        for partition in holds.into_iter().flat_map(BTreeMap::keys) {
            self.holders.entry(partition.clone()).or_default().insert(node);
            self.held[node].insert(partition.clone());
        }
    }
}

impl World {
    /// At most one node believes that it may commit for a partition, among those that this node holds: what it was told changes no belief of
    /// another, and time only ends beliefs.
    pub(super) fn check_owners(&mut self, node: usize) -> Result<(), String> {
        self.checks.update(node, self.nodes.0[node].machine.as_ref().map(|machine| machine.holds()));
        for partition in &self.checks.held[node] {
            let holders = self.checks.holders.get(partition).into_iter().flatten();
            let mut believers = holders.filter_map(|&i| self.nodes.0[i].believes(partition, self.now));
            if let (Some(one), Some(other)) = (believers.next(), believers.next()) {
                return Err(format!("{one} and {other} both believe to own {partition}"));
            }
        }
        Ok(())
    }

    /// Nothing is granted that another one believes to own, nothing is moved without need, and the plan is sound.
    pub(super) fn check_commit(&self, before: Option<&Plan>, after: &Plan) -> Result<(), String> {
        if let Some(violation) = after.check().first() {
            return Err(format!("committed, although {violation}"));
        }
        check_placement(after)?;
        if self.now > AT_REST {
            return Err(format!("plan {} comes although nothing happens any more", after.version));
        }
        if let Some(before) = before {
            if before.version.next() != after.version || before.term > after.term {
                return Err(format!("plan {} of {} does not follow", after.version, after.term));
            }
            check_moves(before, after)?;
        }
        for (partition, who) in self.nodes.believers(self.now) {
            let Some(entry) = after.owners.get(partition) else {
                return Err(format!("{partition} is forgotten, and {who} believes to own it"));
            };
            if entry.state.owner() != Some(who) {
                return Err(format!("{partition}: {who} believes to own it, and the plan says {entry}"));
            }
        }
        Ok(())
    }

    pub(super) fn count_plan(&mut self, before: &Plan, after: &Plan) {
        self.counts.plans += 1;
        for (partition, entry) in &after.owners {
            let earlier = before.owners.get(partition);
            let is_new = |fenced: &&ProducerName| earlier.is_none_or(|earlier| !earlier.fence.contains(*fenced));
            self.counts.deaths += entry.fence.iter().filter(is_new).count() as u64;
            self.counts.moves += u64::from(is_revoked(earlier, entry));
        }
        for (node, quotas) in &after.quotas {
            for (stage, quota) in &quotas.stages {
                let is_new = before.quotas.get(node).and_then(|before| before.stages.get(stage)) != Some(quota);
                self.counts.grown += u64::from(is_new && matches!(quota.reason, QuotaReason::Late { .. }));
                self.counts.placed += u64::from(is_new && quota.reason.label().is_some());
                self.counts.shrunk += u64::from(is_new && matches!(quota.reason, QuotaReason::Idle { .. }));
            }
        }
    }

    /// Looks whether all is owned again after the faults, until it is; how long it took. Later moves are those of a fleet at work.
    pub(super) fn look(&mut self) -> Result<(), String> {
        let took = self.now - FAULTS;
        match self.owned() {
            Ok(()) => self.counts.recovery = took,
            Err(amiss) if took >= OWNED_WITHIN => return Err(format!("{took} ms after the faults, {amiss}")),
            Err(_) => self.after(100, Event::Look),
        }
        Ok(())
    }

    fn owned(&self) -> Result<(), String> {
        let believers: BTreeMap<&Partition, &ProducerName> = self.nodes.believers(self.now).collect();
        let plan = self.etcd.plan().ok_or("there is no plan")?;
        for partition in self.kafka.ends.keys() {
            let entry = plan.owners.get(partition).ok_or_else(|| format!("{partition} is not in the plan"))?;
            let is_live = partition.topic.as_str() == "lsst" || partition.topic.as_str() == self.night;
            if is_live && !believers.contains_key(partition) {
                return Err(format!("{partition}: owned by nobody, and the plan says {entry}"));
            }
        }
        Ok(())
    }

    /// Everything is owned, read to its end, and at rest.
    pub(super) fn check_end(&self) -> Result<(), String> {
        self.owned()?;
        let plan = self.etcd.plan().ok_or("there is no plan")?;
        for (partition, end) in &self.kafka.ends {
            let entry = &plan.owners[partition];
            let progress = self.kafka.progress.get(partition).copied().unwrap_or_default();
            if progress != *end {
                return Err(format!("{partition}: {progress} of {end} alerts are done; {entry}"));
            }
            let is_over = partition.topic.as_str() != "lsst" && partition.topic.as_str() != self.night;
            if is_over && entry.state != Ownership::Unplaced {
                return Err(format!("{partition}: its night is over, and the plan says {entry}"));
            }
        }
        for (node, stage) in left_to_others(&plan) {
            if !self.nodes.works_on(stage) {
                return Err(format!("{node} has no workers for {stage}, and nobody else has"));
            }
        }
        let is_running = |state: &HoldState| *state == HoldState::Running;
        let holds = self.nodes.machines().flat_map(|node| node.holds().values());
        if holds.into_iter().all(is_running) { Ok(()) } else { Err("something has not come to rest".to_owned()) }
    }
}

fn is_revoked(before: Option<&Assignment>, after: &Assignment) -> bool {
    matches!(after.state, Ownership::Revoking { .. }) && before.map(|before| &before.state) != Some(&after.state)
}

/// Where the labels of a node leave a stage to others.
fn left_to_others(plan: &Plan) -> impl Iterator<Item = (&NodeId, Stage)> {
    let all = plan.quotas.iter().flat_map(|(node, quotas)| quotas.stages.iter().map(move |quota| (node, quota)));
    all.filter(|(_, (_, quota))| quota.reason.label().is_some()).map(|(node, (&stage, _))| (node, stage))
}

/// A node without workers for a stage has somebody to hand it over to.
fn check_placement(plan: &Plan) -> Result<(), String> {
    for (node, stage) in left_to_others(plan) {
        if plan.quotas[node].workers(stage) > 0 || plan.quotas.values().all(|quotas| quotas.workers(stage) == 0) {
            return Err(format!("{node}: nobody works on {stage}: {}\n{plan}", plan.quotas[node]));
        }
    }
    Ok(())
}

/// What moves has a reason that asks for it, and a new leader moves nothing.
fn check_moves(before: &Plan, after: &Plan) -> Result<(), String> {
    for (partition, entry) in &after.owners {
        let Some(earlier) = before.owners.get(partition) else { continue };
        let Some(owner) = earlier.state.owner() else { continue };
        if matches!(earlier.state, Ownership::Revoking { .. }) || earlier.state == entry.state {
            continue;
        }
        if before.term != after.term {
            return Err(format!("{partition}: a new leader moves it at once: {entry}"));
        }
        if matches!(entry.reason, Reason::LeastLoaded { .. }) {
            return Err(format!("{partition} moves away from {owner} without need: {entry}"));
        }
    }
    Ok(())
}
