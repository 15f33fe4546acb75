//! The node's side of a plan: which plans it takes, and what it has to do so that what runs is what the plan says.
//!
//! The whole plan comes each time and is compared with what runs, so plans that are lost, repeated or late do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::id::{Partition, PlanVersion, ProducerName, StreamId, Term};
use crate::message::HoldState;
use crate::orders::Stream;
use crate::plan::{Ownership, Plan};
use crate::quota::{Quota, Stage};
use crate::reason::Reason;
use crate::replay::Erasure;
use crate::share::StreamShare;

/// Why a plan, or a leader, is not listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// A later leader was heard of.
    Term {
        /// Its term.
        known: Term,
        /// The term that came.
        came: Term,
    },
    /// A later plan was taken.
    Version {
        /// Its version.
        known: PlanVersion,
        /// The version that came.
        came: PlanVersion,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Term { known, came } => write!(f, "term {came} came after term {known}"),
            Self::Version { known, came } => write!(f, "plan {came} came after plan {known}"),
        }
    }
}

/// What has been listened to: nothing older than that is listened to again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gate {
    term: Term,
    version: Option<PlanVersion>,
}

impl Gate {
    /// The newest term that was heard of.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The newest plan that was taken.
    pub fn version(&self) -> Option<PlanVersion> {
        self.version
    }

    /// Hears of a leader.
    ///
    /// # Errors
    /// A later one was heard of.
    pub fn hear(&mut self, term: Term) -> Result<(), Stale> {
        if term < self.term {
            return Err(Stale::Term { known: self.term, came: term });
        }
        self.term = term;
        Ok(())
    }

    /// Takes a plan.
    ///
    /// # Errors
    /// A later one was taken, or a later leader was heard of.
    pub fn admit(&mut self, plan: &Plan) -> Result<(), Stale> {
        self.hear(plan.term)?;
        if let Some(known) = self.version.filter(|&known| plan.version < known) {
            return Err(Stale::Version { known, came: plan.version });
        }
        self.version = Some(plan.version);
        Ok(())
    }
}

/// Why a node lets go of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseReason {
    /// The plan takes it away.
    Revoked(Reason),
    /// The plan does not give it, and says who has it.
    NotGiven(Option<ProducerName>),
    /// The node is on its way out.
    Leaving,
}

impl fmt::Display for ReleaseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(reason) => write!(f, "{reason}"),
            Self::NotGiven(Some(owner)) => write!(f, "the plan gives it to {owner}"),
            Self::NotGiven(None) => write!(f, "the plan gives it to nobody"),
            Self::Leaving => write!(f, "this node is leaving"),
        }
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Fence the producers, read the progress, then read the partition from there.
    Start {
        /// Which.
        partition: Partition,
        /// The stream that it is read for.
        stream: Stream,
        /// Producers to fence before the progress is read.
        fence: BTreeSet<ProducerName>,
        /// Why this node has it.
        reason: Reason,
    },
    /// Finish what has begun, commit, and let go.
    Release {
        /// Which.
        partition: Partition,
        /// Why.
        reason: ReleaseReason,
    },
    /// Erase all that belongs to a replay.
    Erase {
        /// Which.
        stream: StreamId,
        /// The version of the plan that asked for it.
        since: PlanVersion,
        /// Producers to fence before.
        fence: BTreeSet<ProducerName>,
    },
    /// Change the number of workers.
    Resize {
        /// Of which stage.
        stage: Stage,
        /// To how many, and why.
        quota: Quota,
    },
    /// Change what the streams may take of the node.
    Share {
        /// Of those that are not treated as usual.
        streams: BTreeMap<StreamId, StreamShare>,
    },
}

/// How a node splits what it has: as it was told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// The workers of the stages.
    pub workers: BTreeMap<Stage, u32>,
    /// What streams may take, of those that are not treated as usual.
    pub shares: BTreeMap<StreamId, StreamShare>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { partition, fence, reason, .. } => {
                write!(f, "start {partition}, because {reason}")?;
                let names: Vec<String> = fence.iter().map(ToString::to_string).collect();
                if names.is_empty() { Ok(()) } else { write!(f, "; fence {}", names.join(", ")) }
            }
            Self::Release { partition, reason } => write!(f, "release {partition}, because {reason}"),
            Self::Erase { stream, .. } => write!(f, "erase {stream}, which was removed"),
            Self::Resize { stage, quota } => write!(f, "{stage} to {quota} workers"),
            Self::Share { streams } if streams.is_empty() => write!(f, "all streams are treated alike"),
            Self::Share { streams } => {
                let shares: Vec<_> = streams.iter().map(|(stream, share)| format!("{stream}: {share}")).collect();
                write!(f, "streams may take of the node: {}", shares.join("; "))
            }
        }
    }
}

/// What `me` has to do so that what runs is what the plan says. A partition that is still being released is not started again before it
/// has been.
pub fn reconcile(me: &ProducerName, plan: &Plan, running: &BTreeMap<Partition, HoldState>, split: &Split) -> Vec<Step> {
    let mut steps = Vec::new();
    for (partition, _) in running.iter().filter(|(_, state)| **state != HoldState::Releasing) {
        if let Some(reason) = why_not(me, plan, partition) {
            steps.push(Step::Release { partition: partition.clone(), reason });
        }
    }
    for (partition, entry) in &plan.owners {
        let is_mine = matches!(&entry.state, Ownership::Owned { owner } if owner == me);
        let Some(stream) = plan.orders.streams.get(&partition.stream) else { continue };
        if is_mine && !running.contains_key(partition) {
            let (partition, stream) = (partition.clone(), stream.clone());
            steps.push(Step::Start { partition, stream, fence: entry.fence.clone(), reason: entry.reason.clone() });
        }
    }
    let Some(quotas) = plan.quotas.get(&me.node) else { return steps };
    for (&stage, quota) in &quotas.stages {
        if split.workers.get(&stage) != Some(&quota.workers) {
            steps.push(Step::Resize { stage, quota: quota.clone() });
        }
    }
    if split.shares != quotas.streams {
        steps.push(Step::Share { streams: quotas.streams.clone() });
    }
    steps
}

/// The replays that `me` has to erase and has not begun to; `begun` with the version of the plan that asked for each.
pub fn erasures(me: &ProducerName, plan: &Plan, begun: impl Fn(&StreamId) -> Option<PlanVersion>) -> Vec<Step> {
    let mine = plan.erasures.iter().filter(|(_, erasure)| erasure.by == *me);
    let new = mine.filter(|(stream, erasure)| begun(stream) != Some(erasure.since));
    let step = |(stream, erasure): (&StreamId, &Erasure)| Step::Erase {
        stream: stream.clone(),
        since: erasure.since,
        fence: erasure.fence.clone(),
    };
    new.map(step).collect()
}

/// Why `me` must not have a partition; nothing if it may.
fn why_not(me: &ProducerName, plan: &Plan, partition: &Partition) -> Option<ReleaseReason> {
    let Some(entry) = plan.owners.get(partition) else { return Some(ReleaseReason::NotGiven(None)) };
    match &entry.state {
        Ownership::Owned { owner } if owner == me => None,
        Ownership::Revoking { owner, .. } if owner == me => Some(ReleaseReason::Revoked(entry.reason.clone())),
        other => Some(ReleaseReason::NotGiven(other.owner().cloned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::plan::Assignment;
    use crate::quota::{Shares, share_out};

    fn plan(entries: &[(&str, Ownership)]) -> Plan {
        let mut plan = Plan { version: PlanVersion(3), ..Plan::empty(Term(2)) };
        let stream = Stream::new("ZTF", "ipac", "t".parse().unwrap());
        plan.orders.streams.insert("s".parse().unwrap(), stream);
        for (partition, state) in entries {
            let (fence, reason) = ([producer("dead#1")].into(), Reason::OwnerDied { owner: producer("dead#1") });
            let entry = Assignment { state: state.clone(), since: PlanVersion(1), fence, reason };
            plan.owners.insert(partition.parse().unwrap(), entry);
        }
        plan.quotas.insert("me".parse().unwrap(), share_out(2, &Shares::default(), &BTreeMap::new()));
        plan
    }

    fn producer(text: &str) -> ProducerName {
        text.parse().unwrap()
    }

    fn owned(owner: &str) -> Ownership {
        Ownership::Owned { owner: producer(owner) }
    }

    fn steps(plan: &Plan, running: &[(&str, HoldState)], pools: &[(Stage, u32)]) -> Vec<String> {
        let running = running.iter().map(|(partition, state)| (partition.parse().unwrap(), *state)).collect();
        let split = Split { workers: pools.iter().copied().collect(), shares: BTreeMap::new() };
        let steps = reconcile(&producer("me#5"), plan, &running, &split);
        steps.iter().map(ToString::to_string).collect()
    }

    const POOLS: [(Stage, u32); 3] = [(Stage::Ingest, 1), (Stage::Enrich, 2), (Stage::Filter, 1)];

    #[test]
    fn what_is_given_is_started_what_is_taken_released_and_pools_are_resized() {
        let revoked = Ownership::Revoking { owner: producer("me#5"), to: None };
        let plan = plan(&[
            ("s/t/0", owned("me#5")),
            ("s/t/1", revoked),
            ("s/t/2", owned("other#1")),
            ("s/t/3", owned("me#4")),
        ]);
        let running = ["s/t/1", "s/t/2", "s/t/3", "s/t/4"].map(|partition| (partition, HoldState::Running));
        let expected = [
            "release s/t/1, because the lease of dead#1 ended without a release",
            "release s/t/2, because the plan gives it to other#1",
            "release s/t/3, because the plan gives it to me#4",
            "release s/t/4, because the plan gives it to nobody",
            "start s/t/0, because the lease of dead#1 ended without a release; fence dead#1",
            "ingest to 1 workers",
            "filter to 1 workers",
        ];
        assert_eq!(steps(&plan, &running, &[(Stage::Enrich, 2), (Stage::Filter, 9)]), expected);
    }

    #[test]
    fn the_part_of_a_plan_that_names_a_node_makes_it_do_the_same() {
        let revoked = Ownership::Revoking { owner: producer("me#5"), to: None };
        let entries =
            [("s/t/0", owned("me#5")), ("s/t/1", revoked), ("s/t/2", owned("other#1")), ("s/t/3", owned("me#4"))];
        let (whole, running) = (plan(&entries), ["s/t/1", "s/t/2"].map(|partition| (partition, HoldState::Running)));
        let part = whole.part_of(&producer("me#5"));
        assert_eq!((part.term, part.version, part.owners.len()), (whole.term, whole.version, 2));
        let by_part = steps(&part, &running, &[]);
        let by_whole = steps(&whole, &running, &[]).join("\n").replace("to other#1", "to nobody");
        assert_eq!(by_part.join("\n"), by_whole);
    }

    #[test]
    fn what_runs_as_the_plan_says_needs_nothing() {
        let plan = plan(&[("s/t/0", owned("me#5")), ("s/t/1", owned("me#5"))]);
        let running = [("s/t/0", HoldState::Running), ("s/t/1", HoldState::Starting)];
        assert_eq!(steps(&plan, &running, &POOLS), Vec::<String>::new());
    }

    #[test]
    fn what_streams_may_take_is_told_when_it_changes() {
        let mut plan = plan(&[("s/t/0", owned("me#5"))]);
        let quotas = plan.quotas.get_mut(&"me".parse().unwrap()).unwrap();
        quotas.streams.insert("s".parse().unwrap(), StreamShare { weight: 3, stages: BTreeMap::new() });
        let streams = quotas.streams.clone();
        let running = [("s/t/0".parse().unwrap(), HoldState::Running)].into();
        let mut split = Split { workers: POOLS.into(), shares: BTreeMap::new() };
        let steps = reconcile(&producer("me#5"), &plan, &running, &split);
        assert_eq!(steps, [Step::Share { streams: streams.clone() }]);
        split.shares = streams;
        assert_eq!(reconcile(&producer("me#5"), &plan, &running, &split), []);
    }

    #[test]
    fn what_is_being_released_is_neither_released_again_nor_started_over_it() {
        let plan = plan(&[("s/t/0", owned("me#5")), ("s/t/1", owned("other#1"))]);
        let running = [("s/t/0", HoldState::Releasing), ("s/t/1", HoldState::Releasing)];
        assert_eq!(steps(&plan, &running, &POOLS), Vec::<String>::new());
    }

    #[test]
    fn an_older_term_or_version_is_refused_whatever_else_it_says() {
        let at = |term, version| Plan { version: PlanVersion(version), ..Plan::empty(Term(term)) };
        let mut gate = Gate::default();
        gate.admit(&at(2, 5)).unwrap();
        gate.admit(&at(2, 5)).unwrap();
        let stale = gate.admit(&at(2, 4)).unwrap_err();
        assert_eq!(stale.to_string(), "plan v4 came after plan v5");
        gate.hear(Term(3)).unwrap();
        let stale = gate.admit(&at(2, 6)).unwrap_err();
        assert_eq!(stale.to_string(), "term t2 came after term t3");
        assert_eq!((gate.term(), gate.version()), (Term(3), Some(PlanVersion(5))));
        gate.admit(&at(3, 6)).unwrap();
    }
}
