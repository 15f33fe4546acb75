//! The plan, with the reason of each decision.

use boom_plan::id::{NodeId, Offset, Partition, PlanVersion, StreamId, Term};
use boom_plan::plan::{Assignment, FORMAT, Ownership, Plan};
use boom_plan::quota::{NodeQuotas, Quota, QuotaReason, Stage};
use boom_plan::reason::Reason;
use boom_plan::replay::Erasure;
use boom_plan::share::StreamShare;
use boom_plan::time::Span;

use crate::error::{map, required, set};
use crate::names::stage;
use crate::orders::{limits_of_wire, limits_to_wire};
use crate::v1::{assignment, quota, reason};
use crate::{Error, v1};

impl From<&Plan> for v1::Plan {
    fn from(plan: &Plan) -> Self {
        Self {
            format: plan.format,
            term: plan.term.0,
            version: plan.version.0,
            owners: plan.owners.iter().map(assignment_to_wire).collect(),
            quotas: plan.quotas.iter().map(|(node, quotas)| quotas_to_wire(node, quotas)).collect(),
            orders: Some((&plan.orders).into()),
            erasures: plan.erasures.iter().map(erasure_to_wire).collect(),
        }
    }
}

impl TryFrom<v1::Plan> for Plan {
    type Error = Error;
    fn try_from(plan: v1::Plan) -> Result<Self, Error> {
        if plan.format != FORMAT {
            return Err(boom_plan::Error::Format { found: plan.format, known: FORMAT }.into());
        }
        Ok(Self {
            format: plan.format,
            term: Term(plan.term),
            version: PlanVersion(plan.version),
            owners: map(plan.owners.into_iter().map(assignment_of_wire), "Plan.owners")?,
            quotas: map(plan.quotas.into_iter().map(quotas_of_wire), "Plan.quotas")?,
            orders: required(plan.orders, "Plan.orders")?.try_into()?,
            erasures: map(plan.erasures.into_iter().map(erasure_of_wire), "Plan.erasures")?,
        })
    }
}

fn erasure_to_wire((stream, erasure): (&StreamId, &Erasure)) -> v1::Erasure {
    let (stream, by, since) = (stream.to_string(), Some((&erasure.by).into()), erasure.since.0);
    v1::Erasure { stream, by, since, fence: erasure.fence.iter().map(Into::into).collect() }
}

fn erasure_of_wire(erasure: v1::Erasure) -> Result<(StreamId, Erasure), Error> {
    let by = required(erasure.by, "Erasure.by")?.try_into()?;
    let fence = set(erasure.fence.into_iter().map(TryInto::try_into), "Erasure.fence")?;
    Ok((erasure.stream.parse()?, Erasure { by, since: PlanVersion(erasure.since), fence }))
}

fn assignment_to_wire((partition, entry): (&Partition, &Assignment)) -> v1::Assignment {
    v1::Assignment {
        partition: Some(partition.into()),
        state: Some((&entry.state).into()),
        since: entry.since.0,
        fence: entry.fence.iter().map(Into::into).collect(),
        reason: Some((&entry.reason).into()),
    }
}

fn assignment_of_wire(entry: v1::Assignment) -> Result<(Partition, Assignment), Error> {
    let partition = required(entry.partition, "Assignment.partition")?.try_into()?;
    let assignment = Assignment {
        state: required(entry.state, "Assignment.state")?.try_into()?,
        since: PlanVersion(entry.since),
        fence: set(entry.fence.into_iter().map(TryInto::try_into), "Assignment.fence")?,
        reason: required(entry.reason, "Assignment.reason")?.try_into()?,
    };
    Ok((partition, assignment))
}

impl From<&Ownership> for assignment::State {
    fn from(state: &Ownership) -> Self {
        match state {
            Ownership::Unplaced => Self::Unplaced(assignment::Unplaced {}),
            Ownership::Owned { owner } => Self::Owned(owner.into()),
            Ownership::Revoking { owner, to } => {
                let (owner, to) = (Some(owner.into()), to.as_ref().map(ToString::to_string));
                Self::Revoking(assignment::Revoking { owner, to })
            }
        }
    }
}

impl TryFrom<assignment::State> for Ownership {
    type Error = Error;
    fn try_from(state: assignment::State) -> Result<Self, Error> {
        Ok(match state {
            assignment::State::Unplaced(_) => Self::Unplaced,
            assignment::State::Owned(owner) => Self::Owned { owner: owner.try_into()? },
            assignment::State::Revoking(revoking) => {
                let owner = required(revoking.owner, "Assignment.Revoking.owner")?.try_into()?;
                let to = revoking.to.map(|to| to.parse()).transpose()?;
                Self::Revoking { owner, to }
            }
        })
    }
}

impl From<&Reason> for v1::Reason {
    fn from(why: &Reason) -> Self {
        use reason::{Balance, LeastLoaded, StreamPaused, StreamRemoved, TopicGone, Why};
        let why = match why {
            Reason::LeastLoaded { of } => Why::LeastLoaded(LeastLoaded { of: *of }),
            Reason::OwnerDied { owner } => Why::OwnerDied(owner.into()),
            Reason::OwnerLeft { owner } => Why::OwnerLeft(owner.into()),
            Reason::OwnerLeaves { owner } => Why::OwnerLeaves(owner.into()),
            Reason::OwnerSuperseded { owner } => Why::OwnerSuperseded(owner.into()),
            Reason::OwnerDrained { node } => Why::OwnerDrained(node.to_string()),
            Reason::Balance { from, to } => Why::Balance(Balance { from: from.to_string(), to: to.to_string() }),
            Reason::StreamPaused => Why::StreamPaused(StreamPaused {}),
            Reason::StreamRemoved => Why::StreamRemoved(StreamRemoved {}),
            Reason::TopicGone => Why::TopicGone(TopicGone {}),
            Reason::NightOver { at } => Why::NightOverAt(at.0),
            Reason::ReplayOver { at } => Why::ReplayOverAt(at.0),
            Reason::NoneTakes { others } => Why::NoneTakesOf(*others),
        };
        Self { why: Some(why) }
    }
}

impl TryFrom<v1::Reason> for Reason {
    type Error = Error;
    fn try_from(why: v1::Reason) -> Result<Self, Error> {
        use reason::Why;
        Ok(match required(why.why, "Reason.why")? {
            Why::LeastLoaded(least) => Self::LeastLoaded { of: least.of },
            Why::OwnerDied(owner) => Self::OwnerDied { owner: owner.try_into()? },
            Why::OwnerLeft(owner) => Self::OwnerLeft { owner: owner.try_into()? },
            Why::OwnerLeaves(owner) => Self::OwnerLeaves { owner: owner.try_into()? },
            Why::OwnerSuperseded(owner) => Self::OwnerSuperseded { owner: owner.try_into()? },
            Why::OwnerDrained(node) => Self::OwnerDrained { node: node.parse()? },
            Why::Balance(balance) => Self::Balance { from: balance.from.parse()?, to: balance.to.parse()? },
            Why::StreamPaused(_) => Self::StreamPaused,
            Why::StreamRemoved(_) => Self::StreamRemoved,
            Why::TopicGone(_) => Self::TopicGone,
            Why::NightOverAt(at) => Self::NightOver { at: Offset(at) },
            Why::ReplayOverAt(at) => Self::ReplayOver { at: Offset(at) },
            Why::NoneTakesOf(others) => Self::NoneTakes { others },
        })
    }
}

/// The workers of a node, as they go over the wire.
fn quotas_to_wire(node: &NodeId, quotas: &NodeQuotas) -> v1::NodeQuotas {
    let stages = quotas.stages.iter().map(|(&stage, quota)| quota_to_wire(stage, quota)).collect();
    let streams = quotas.streams.iter().map(share_to_wire).collect();
    v1::NodeQuotas { node: node.to_string(), capacity: quotas.capacity, stages, streams }
}

pub(crate) fn quotas_of_wire(quotas: v1::NodeQuotas) -> Result<(NodeId, NodeQuotas), Error> {
    let stages = map(quotas.stages.into_iter().map(quota_of_wire), "NodeQuotas.stages")?;
    let streams = map(quotas.streams.into_iter().map(share_of_wire), "NodeQuotas.streams")?;
    Ok((quotas.node.parse()?, NodeQuotas { capacity: quotas.capacity, stages, streams }))
}

fn share_to_wire((stream, share): (&StreamId, &StreamShare)) -> v1::StreamShare {
    v1::StreamShare { stream: stream.to_string(), weight: share.weight, stages: limits_to_wire(&share.stages) }
}

/// A share whose weight is not said would give nothing.
fn share_of_wire(share: v1::StreamShare) -> Result<(StreamId, StreamShare), Error> {
    let stages = limits_of_wire(share.stages, "StreamShare.stages")?;
    let weight = required(Some(share.weight).filter(|&weight| weight > 0), "StreamShare.weight")?;
    Ok((share.stream.parse()?, StreamShare { weight, stages }))
}

fn quota_to_wire(stage: Stage, quota: &Quota) -> v1::Quota {
    let reason = match &quota.reason {
        QuotaReason::Share => quota::Reason::Share(quota::Share {}),
        QuotaReason::Override => quota::Reason::Ordered(quota::Ordered {}),
        QuotaReason::Clipped { asked } => quota::Reason::ClippedFrom(*asked),
        QuotaReason::Late { age, target } => quota::Reason::Late(quota::Late { age_ms: age.0, target_ms: target.0 }),
        QuotaReason::Idle { rested } => quota::Reason::IdleMs(rested.0),
        QuotaReason::Lacks { label } => quota::Reason::Lacks(label.clone()),
        QuotaReason::Elsewhere { label } => quota::Reason::Elsewhere(label.clone()),
        QuotaReason::AtMost { max } => quota::Reason::AtMost(*max),
        QuotaReason::AtLeast { min } => quota::Reason::AtLeast(*min),
    };
    v1::Quota { stage: v1::Stage::from(stage).into(), workers: quota.workers, reason: Some(reason) }
}

fn quota_of_wire(quota: v1::Quota) -> Result<(Stage, Quota), Error> {
    let reason = match required(quota.reason, "Quota.reason")? {
        quota::Reason::Share(_) => QuotaReason::Share,
        quota::Reason::Ordered(_) => QuotaReason::Override,
        quota::Reason::ClippedFrom(asked) => QuotaReason::Clipped { asked },
        quota::Reason::Late(late) => QuotaReason::Late { age: Span(late.age_ms), target: Span(late.target_ms) },
        quota::Reason::IdleMs(rested) => QuotaReason::Idle { rested: Span(rested) },
        quota::Reason::Lacks(label) => QuotaReason::Lacks { label },
        quota::Reason::Elsewhere(label) => QuotaReason::Elsewhere { label },
        quota::Reason::AtMost(max) => QuotaReason::AtMost { max },
        quota::Reason::AtLeast(min) => QuotaReason::AtLeast { min },
    };
    Ok((stage(quota.stage, "Quota.stage")?, Quota { workers: quota.workers, reason }))
}
