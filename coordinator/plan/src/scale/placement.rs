//! Which nodes work on a stage, by what they can: the labels that a stage requires or prefers, and the nodes that have them.
//!
//! Somebody always works on a stage: where nobody who could has the labels, everybody does.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Load, NodeLoad, Policy};
use crate::id::NodeId;
use crate::quota::{QuotaReason, Stage, share_out};
use crate::time::{Span, Time};

/// Which nodes work on which stage. A stage that is not named is worked on by all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placement(pub BTreeMap<Stage, Wishes>);

/// What a stage wants of the nodes that work on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wishes {
    /// A node without one of these labels has no workers for it, as long as a live node has them all.
    pub requires: BTreeSet<String>,
    /// Nor has one without one of these, as long as a live node has them all and is not short of workers for it.
    pub prefers: BTreeSet<String>,
}

/// Where the stages that want something are worked on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places<'a> {
    stages: BTreeMap<Stage, Place<'a>>,
    eased: &'a BTreeMap<Stage, Time>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place<'a> {
    wishes: &'a Wishes,
    /// Whether a node that takes work has all that is required.
    is_met: bool,
    /// The nodes that take work and have all that is required or preferred.
    best: BTreeSet<&'a NodeId>,
    /// Whether somebody may still come who has what nobody has yet.
    may_come: bool,
    /// Whether nodes that lack what is preferred work on it too.
    is_spilled: bool,
}

/// The first label that a node lacks. Of one that has not been heard, that is what the plan says of it.
fn lacks<'a>(node: &'a NodeLoad<'_>, stage: Stage, wanted: &'a BTreeSet<String>) -> Option<&'a String> {
    match node.labels {
        Some(labels) => wanted.difference(labels).next(),
        None => wanted.get(reason_before(node, stage)?.label()?),
    }
}

fn reason_before<'a>(node: &'a NodeLoad<'_>, stage: Stage) -> Option<&'a QuotaReason> {
    node.current.and_then(|quotas| quotas.stages.get(&stage)).map(|quota| &quota.reason)
}

/// Whether a node has workers for a stage in any case, so that others can hand that work over to it.
fn takes(node: &NodeLoad<'_>, stage: Stage, policy: &Policy) -> bool {
    let ordered = node.ordered.filter(|ordered| ordered.contains_key(&stage));
    node.takes && ordered.is_none_or(|ordered| share_out(node.cores, &policy.shares, ordered).workers(stage) > 0)
}

impl<'a> Place<'a> {
    fn of(stage: Stage, wishes: &'a Wishes, load: &'a Load<'a>, policy: &Policy) -> Self {
        let able = |node: &NodeLoad<'_>| takes(node, stage, policy) && lacks(node, stage, &wishes.requires).is_none();
        let is_met = load.nodes.values().any(able);
        let best = load.nodes.iter().filter(|(_, node)| able(node) && lacks(node, stage, &wishes.prefers).is_none());
        let works = |node: &NodeLoad<'_>| {
            let quota = node.current.and_then(|quotas| quotas.stages.get(&stage));
            quota.is_some_and(|quota| quota.workers > 0 && quota.reason.follows_load())
        };
        let counts = |node: &NodeLoad<'_>| !is_met || lacks(node, stage, &wishes.requires).is_none();
        let second = load.nodes.values().filter(|node| counts(node) && lacks(node, stage, &wishes.prefers).is_some());
        let is_spilled = second.into_iter().any(works);
        let is_awaited =
            |node: &NodeLoad<'_>| node.labels.is_none() && node.current.is_some_and(|quotas| quotas.workers(stage) > 0);
        let may_come = load.nodes.is_empty() || load.nodes.values().any(is_awaited);
        Self { wishes, is_met, best: best.map(|(name, _)| name).collect(), may_come, is_spilled }
    }

    /// Why a node has no workers for it, if it is to have none.
    fn refusal(&self, stage: Stage, node: &NodeLoad<'_>) -> Option<QuotaReason> {
        let before = reason_before(node, stage);
        // Who has the labels may just not have come to a new leader yet.
        let stands = |is_same: bool| self.may_come && is_same;
        if let Some(label) = lacks(node, stage, &self.wishes.requires)
            && (self.is_met || stands(matches!(before, Some(QuotaReason::Lacks { .. }))))
        {
            return Some(QuotaReason::Lacks { label: label.clone() });
        }
        let label = lacks(node, stage, &self.wishes.prefers)?;
        let is_done = if self.best.is_empty() {
            stands(matches!(before, Some(QuotaReason::Elsewhere { .. })))
        } else {
            !self.is_spilled
        };
        is_done.then(|| QuotaReason::Elsewhere { label: label.clone() })
    }
}

impl<'a> Places<'a> {
    /// As the plan has them: nothing has spilled over that did not before.
    pub(super) fn of(load: &'a Load<'a>, policy: &'a Policy) -> Self {
        let wishes = policy.placement.0.iter();
        let stages = wishes.map(|(&stage, wishes)| (stage, Place::of(stage, wishes, load, policy))).collect();
        Self { stages, eased: &load.memory.eased }
    }

    /// As they are to be now that it is known who is short of workers for what, as far as it is; and since when stages that have spilled
    /// over have not needed it. They need it no more when that has been so for long enough, without a break.
    pub(super) fn after(
        &self,
        is_short: impl Fn(&NodeId, Stage) -> Option<bool>,
        rest: Span,
        now: Time,
    ) -> (Self, BTreeMap<Stage, Time>) {
        let (mut stages, mut eased) = (self.stages.clone(), BTreeMap::new());
        for (&stage, place) in stages.iter_mut().filter(|(_, place)| !place.best.is_empty()) {
            let known: Vec<_> = place.best.iter().map(|node| is_short(node, stage)).collect();
            let has_room = known.contains(&Some(false));
            if place.is_spilled {
                let since = self.eased.get(&stage).copied();
                let is_known = !known.contains(&None);
                let since = if has_room { Some(since.unwrap_or(now)) } else { since.filter(|_| !is_known) };
                place.is_spilled = since.is_none_or(|since| now.since(since) < rest);
                eased.extend(since.filter(|_| place.is_spilled).map(|since| (stage, since)));
            } else {
                place.is_spilled = known.iter().all(|short| *short == Some(true));
            }
        }
        (Self { stages, eased: self.eased }, eased)
    }

    /// The stages for which a node is to have no workers.
    pub(super) fn without(&self, node: &NodeLoad<'_>) -> BTreeMap<Stage, QuotaReason> {
        let places = self.stages.iter();
        places.filter_map(|(&stage, place)| Some((stage, place.refusal(stage, node)?))).collect()
    }

    /// The stages that require what no node that takes work has.
    pub(super) fn homeless(&self) -> BTreeMap<Stage, BTreeSet<String>> {
        let unmet = self
            .stages
            .iter()
            .filter(|(_, place)| !place.is_met && !place.wishes.requires.is_empty() && !place.may_come);
        unmet.map(|(&stage, place)| (stage, place.wishes.requires.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
