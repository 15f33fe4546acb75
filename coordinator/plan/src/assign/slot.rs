//! One partition while it is planned: what is known of it before, who is to have it, and the entry that comes of both.

use std::collections::BTreeSet;

use super::balance::Loads;
use crate::facts::{Demand, Disposition, Facts};
use crate::fleet::Standing;
use crate::id::{Partition, PlanVersion, ProducerName};
use crate::plan::{Assignment, Ownership, Plan};
use crate::reason::Reason;

/// Whether somebody has the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold<'a> {
    /// Nobody: it can be granted at once.
    Free,
    /// An owner that stays.
    Kept(&'a ProducerName),
    /// An owner that must let go, or was told to.
    Giving(&'a ProducerName),
}

/// One partition while it is planned.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pub(super) partition: &'a Partition,
    /// How much it counts; nothing if it is not wanted.
    pub(super) weight: Option<u64>,
    pub(super) hold: Hold<'a>,
    /// Who is to have it, by number among those that take partitions.
    pub(super) target: Option<usize>,
    /// Whether it has been where it is for so long that it may be moved for its lag alone.
    pub(super) is_rested: bool,
    /// Whether its owner stays although it takes no more: nobody else is looked for.
    pub(super) is_fixed: bool,
    /// Why, if something changes.
    pub(super) reason: Option<Reason>,
    fence: BTreeSet<ProducerName>,
    before: Option<&'a Assignment>,
}

impl<'a> Slot<'a> {
    /// What is known of a partition: is it wanted, does somebody have it, and who should get it if nothing speaks against it.
    pub(super) fn resolve(partition: &'a Partition, facts: &Facts<'a>, current: &'a Plan, loads: &Loads<'a>) -> Self {
        let before = current.owners.get(partition);
        let (weight, refusal) = match facts.partitions.get(partition) {
            Some(Demand::Wanted { weight }) => (Some(*weight), None),
            Some(Demand::Unwanted(reason)) => (None, Some(reason.clone())),
            None if facts.orders.streams.contains_key(&partition.stream) => (None, Some(Reason::TopicGone)),
            None => (None, Some(Reason::StreamRemoved)),
        };
        let fence = before.map(|entry| entry.fence.clone()).unwrap_or_default();
        let is_rested = before.is_none_or(|entry| entry.since <= facts.rested);
        let (hold, target, is_fixed, reason) = (Hold::Free, None, false, refusal);
        let mut slot = Self { partition, weight, hold, target, is_rested, is_fixed, reason, fence, before };
        if let Some((entry, owner)) = before.and_then(|entry| Some((entry, entry.state.owner()?))) {
            slot.resolve_owner(entry, owner, facts);
            if slot.weight.is_some() && !slot.is_fixed {
                slot.target = slot.wish(entry, owner, loads);
            }
        }
        slot
    }

    fn resolve_owner(&mut self, entry: &'a Assignment, owner: &'a ProducerName, facts: &Facts<'a>) {
        let is_owned = matches!(entry.state, Ownership::Owned { .. });
        let Some(node) = facts.nodes.get(owner) else {
            // Nobody knows whether it lives, so it stays.
            self.hold = if is_owned { Hold::Kept(owner) } else { Hold::Giving(owner) };
            self.is_fixed = is_owned;
            return;
        };
        let may_have_left = !is_owned || node.member.leaving;
        if may_have_left && node.member.has_released(self.partition, entry.since) {
            let left = Reason::OwnerLeft { owner: owner.clone() };
            self.give_reason(if is_owned { left } else { entry.reason.clone() });
            return;
        }
        let own_name = owner.clone();
        match &node.disposition {
            Disposition::Gone => {
                self.fence.insert(own_name.clone());
                let ended = node.member.standing == Standing::Ended && node.member.leaving;
                let (left, died) =
                    (Reason::OwnerLeft { owner: own_name.clone() }, Reason::OwnerDied { owner: own_name });
                self.give_reason(if ended { left } else { died });
            }
            Disposition::Gives(reason) => {
                self.hold = Hold::Giving(owner);
                self.give_reason(if is_owned { reason.clone() } else { entry.reason.clone() });
            }
            Disposition::Takes | Disposition::Keeps if is_owned => {
                self.hold = Hold::Kept(owner);
                self.is_fixed = node.disposition == Disposition::Keeps;
                if node.runs(self.partition, entry.since) {
                    self.fence.clear();
                }
            }
            Disposition::Takes | Disposition::Keeps => {
                self.hold = Hold::Giving(owner);
                self.give_reason(entry.reason.clone());
            }
        }
    }

    /// The reason why it moves, unless there is one why it is not wanted.
    fn give_reason(&mut self, reason: Reason) {
        self.reason.get_or_insert(reason);
    }

    /// Who should have it, if that one takes partitions: who was chosen when it was revoked, else who has or had it.
    fn wish(&self, entry: &Assignment, owner: &ProducerName, loads: &Loads<'a>) -> Option<usize> {
        let chosen = match &entry.state {
            Ownership::Revoking { to: Some(to), .. } => loads.number(to),
            _ => None,
        };
        chosen.or_else(|| loads.number(&owner.node))
    }

    /// Whether it may be given to another node for the sake of balance, and whether that revokes it from somebody.
    pub(super) fn movable(&self, loads: &Loads<'a>) -> Option<bool> {
        match (self.hold, self.target) {
            (Hold::Free, Some(_)) => Some(false),
            (Hold::Kept(owner), Some(target)) if loads.who(target) == owner => Some(true),
            (Hold::Giving(owner), Some(target)) if loads.who(target) == owner => Some(true),
            _ => None,
        }
    }

    /// Whether it is on its way for the sake of balance.
    pub(super) fn is_balancing(&self, loads: &Loads<'a>) -> bool {
        let is_moving = match (self.hold, self.target) {
            (Hold::Kept(owner) | Hold::Giving(owner), Some(target)) => loads.who(target) != owner,
            _ => false,
        };
        is_moving && matches!(self.reason, Some(Reason::Balance { .. }))
    }

    /// The entry that comes of it; nothing, if nobody needs to know the partition any more.
    pub(super) fn entry(self, loads: &Loads<'a>, next: PlanVersion, nobody: &Reason) -> Option<Assignment> {
        let is_gone = matches!(self.reason, Some(Reason::TopicGone | Reason::StreamRemoved));
        if self.weight.is_none() && is_gone && self.hold == Hold::Free && self.fence.is_empty() {
            return None;
        }
        let state = self.state(loads);
        let reason = self.final_reason(&state, loads, nobody);
        let since = match self.before {
            Some(before) if before.state == state || is_revoked_already(&before.state, &state) => before.since,
            _ => next,
        };
        Some(Assignment { state, since, fence: self.fence, reason })
    }

    fn state(&self, loads: &Loads<'a>) -> Ownership {
        let target = self.target.map(|target| loads.who(target));
        match (self.hold, target) {
            (Hold::Free, Some(target)) => Ownership::Owned { owner: target.clone() },
            (Hold::Free, None) => Ownership::Unplaced,
            (Hold::Kept(owner), _) if self.is_fixed && self.weight.is_some() => {
                Ownership::Owned { owner: owner.clone() }
            }
            (Hold::Kept(owner) | Hold::Giving(owner), Some(target)) if target == owner => {
                Ownership::Owned { owner: owner.clone() }
            }
            (Hold::Kept(owner) | Hold::Giving(owner), target) => {
                Ownership::Revoking { owner: owner.clone(), to: target.map(|target| target.node.clone()) }
            }
        }
    }

    /// The reason of what is new, or the one that stands.
    fn final_reason(&self, state: &Ownership, loads: &Loads<'a>, nobody: &Reason) -> Reason {
        let least = Reason::LeastLoaded { of: loads.len() as u32 };
        if let Some(before) = self.before.filter(|before| before.state == *state && *state != Ownership::Unplaced) {
            let is_stale = self.weight.is_none() && self.reason.is_some();
            return self.reason.clone().filter(|_| is_stale).unwrap_or_else(|| before.reason.clone());
        }
        match (&self.reason, state) {
            (Some(reason), _) if self.weight.is_none() => reason.clone(),
            (_, Ownership::Unplaced) => nobody.clone(),
            (Some(Reason::Balance { from, .. }), Ownership::Revoking { to: Some(to), .. }) => {
                Reason::Balance { from: from.clone(), to: to.clone() }
            }
            (Some(Reason::Balance { to, .. }), Ownership::Owned { owner }) if owner.node != *to => least,
            (Some(reason), _) if !is_about_demand(reason) => reason.clone(),
            _ => least,
        }
    }
}

/// A revocation that gets another aim is the same revocation: the owner that knew of it still does.
fn is_revoked_already(before: &Ownership, after: &Ownership) -> bool {
    matches!((before, after), (Ownership::Revoking { owner, .. }, Ownership::Revoking { owner: same, .. }) if owner == same)
}

fn is_about_demand(reason: &Reason) -> bool {
    use Reason::{NightOver, NoneTakes, ReplayOver, StreamPaused, StreamRemoved, TopicGone};
    let is_through = matches!(reason, NightOver { .. } | ReplayOver { .. });
    is_through || matches!(reason, StreamPaused | StreamRemoved | TopicGone | NoneTakes { .. })
}
