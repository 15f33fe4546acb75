//! One incarnation of a node, as the leader sees it.

use std::collections::BTreeMap;

use crate::id::{Partition, PlanVersion, ProducerName, Sequence, StreamId};
use crate::lease::Timing;
use crate::message::{Holding, NodeInfo, Report};
use crate::quota::Stage;
use crate::time::Time;

use super::StageLoad;

/// What the leader knows of the life of an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The plan names it, and it has not come to this leader yet. Its lease may last.
    Awaited,
    /// It reports.
    Live,
    /// It is late with its reports.
    Suspect,
    /// A later incarnation of its node is there; its own lease may last.
    Superseded,
    /// It has stopped, and said so, or the next one did.
    Ended,
    /// Its lease has certainly ended.
    Dead,
}

impl Standing {
    /// Whether it has certainly stopped, for ever.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Dead)
    }
}

/// One incarnation of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What is known of its life.
    pub standing: Standing,
    /// When its last report came, or since when it is awaited.
    pub heard: Time,
    /// Whether it has a session.
    pub connected: bool,
    /// What the node is; of one that is awaited, nothing is known.
    pub info: NodeInfo,
    /// The number of its last report.
    pub sequence: Sequence,
    /// The newest plan that it has accepted.
    pub seen: Option<PlanVersion>,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// What it had not let go of when it last reported.
    pub holds: BTreeMap<Partition, Holding>,
    /// What it has let go of since, with the plan that it knew then. Of other partitions that says nothing.
    pub released: BTreeMap<Partition, PlanVersion>,
    /// Its load by stage.
    pub stages: BTreeMap<Stage, StageLoad>,
    /// The replays that it has erased, with the version of the plan that asked for it.
    pub erased: BTreeMap<StreamId, PlanVersion>,
}

impl Member {
    /// One that the plan names.
    pub(super) fn awaited(now: Time) -> Self {
        let (info, sequence) = Default::default();
        let (holds, released, stages, erased) = Default::default();
        let (standing, heard, connected) = (Standing::Awaited, now, false);
        Self { standing, heard, connected, info, sequence, seen: None, leaving: false, holds, released, stages, erased }
    }

    /// Takes a report in, unless it is over or has said something later. Gives whether that may change the plan.
    pub(super) fn take(&mut self, report: &Report, now: Time) -> Option<bool> {
        if self.standing.is_over() || report.sequence <= self.sequence {
            return None;
        }
        let states = |holds: &BTreeMap<Partition, Holding>| holds.values().map(|held| held.state).collect::<Vec<_>>();
        let is_news = self.seen != report.seen
            || self.leaving != report.leaving
            || self.erased != report.erased
            || !self.holds.keys().eq(report.holds.keys())
            || states(&self.holds) != states(&report.holds);
        (self.heard, self.connected) = (now, true);
        self.sequence = report.sequence;
        self.seen = self.seen.max(report.seen);
        self.leaving |= report.leaving;
        self.holds.clone_from(&report.holds);
        self.stages.clone_from(&report.stages);
        self.erased.clone_from(&report.erased);
        self.released.retain(|_, known| Some(*known) > report.seen);
        Some(is_news)
    }

    /// What time makes of it, if that is something else than it was.
    pub(super) fn aged(&self, timing: &Timing, now: Time) -> Option<Standing> {
        if self.standing.is_over() {
            return None;
        }
        if now >= timing.dead_at(self.heard) {
            return Some(Standing::Dead);
        }
        (self.standing == Standing::Live && now >= timing.suspect_at(self.heard)).then_some(Standing::Suspect)
    }

    /// Whether it has let go of a partition that was taken from it in version `since`: it knew that version when it let go, or reports
    /// that it knows it and does not hold it, or does not hold it and will never start anything any more.
    pub fn has_released(&self, partition: &Partition, since: PlanVersion) -> bool {
        let will_not_start = self.leaving || self.seen >= Some(since);
        let is_not_held = self.standing != Standing::Awaited && will_not_start && !self.holds.contains_key(partition);
        is_not_held || self.released.get(partition).is_some_and(|known| *known >= since)
    }
}

impl ProducerName {
    /// Whether `other` is another life of the same node.
    pub(super) fn is_kin(&self, other: &Self) -> bool {
        self.node == other.node && self.incarnation != other.incarnation
    }
}
