//! What the leader knows, as operators see it. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use boom_plan::fleet::{Lag, Member, Standing};
use boom_plan::id::{Partition, ProducerName, StreamId};
use boom_plan::message::{HandOver, Report};
use boom_plan::orders::{OperatorCommand, Stream};
use boom_plan::plan::{Assignment, Ownership};
use boom_plan::reason::Reason;
use boom_proto::control::Order;
use boom_proto::v1;

use crate::control::View;

/// How far behind the furthest partition of a stream is, as its owner said last; nothing when none says so.
pub(crate) fn behind(view: &View, of: &StreamId) -> Option<Duration> {
    let said = view.fleet.members().values().flat_map(|member| &member.holds);
    let mine = said.filter(|(partition, _)| partition.stream == *of);
    mine.filter_map(|(_, held)| held.behind).max().map(|behind| Duration::from_millis(behind.0))
}

/// How many partitions are in which state: owned, revoking, unplaced.
pub(crate) fn partitions(view: &View) -> [u32; 3] {
    let mut count = [0; 3];
    for entry in view.plan.owners.values() {
        count[match entry.state {
            Ownership::Owned { .. } => 0,
            Ownership::Revoking { .. } => 1,
            Ownership::Unplaced => 2,
        }] += 1;
    }
    count
}

/// How many nodes are seen in which way.
pub(crate) fn standing(view: &View, of: &[Standing]) -> u32 {
    let count = view.fleet.members().values().filter(|member| of.contains(&member.standing)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn status(view: &View, leader: v1::Leader) -> v1::GetStatusResponse {
    let [partitions_owned, partitions_revoking, partitions_unplaced] = partitions(view);
    let Lag { alerts: lag, unknown: lag_unknown } = view.fleet.lag(None);
    v1::GetStatusResponse {
        leader: Some(leader),
        plan_version: view.plan.version.0,
        nodes_live: standing(view, &[Standing::Live]),
        nodes_late: standing(view, &[Standing::Suspect, Standing::Awaited]),
        partitions_owned,
        partitions_revoking,
        partitions_unplaced,
        lag,
        lag_unknown,
        saturated: view.saturated.map(Into::into),
        handed_over: handed_over(view),
    }
}

/// The stages of live nodes that hand work over, do it for others, or would hand over.
fn handed_over(view: &View) -> Vec<v1::HandedOver> {
    let live = view.fleet.members().iter().filter(|(_, member)| member.standing == Standing::Live);
    let stages =
        live.flat_map(|(who, member)| member.stages.iter().map(move |(stage, load)| (who, *stage, load.hand_over)));
    let told = stages.filter(|(_, _, how)| *how != HandOver::default());
    told.map(|(who, stage, how)| v1::HandedOver {
        node: who.node.to_string(),
        stage: v1::Stage::from(stage).into(),
        how: Some(how.into()),
    })
    .collect()
}

pub(super) fn nodes(view: &View) -> Vec<v1::NodeStatus> {
    view.fleet.members().iter().map(|(who, member)| node(view, who, member)).collect()
}

fn node(view: &View, who: &ProducerName, member: &Member) -> v1::NodeStatus {
    let host = view.hosts.get(who);
    let plan = v1::Plan::from(&view.plan.part_of(who));
    let mode = view.fleet.orders().modes.get(&who.node).map_or(v1::Mode::Unspecified, |&mode| mode.into());
    let is_awaited = member.standing == Standing::Awaited;
    let report = host.map(|host| host.report.clone()).or_else(|| (!is_awaited).then(|| report(who, member)));
    v1::NodeStatus {
        who: Some(who.into()),
        standing: v1::Standing::from(member.standing).into(),
        connected: member.connected,
        heard_ms: view.now.since(member.heard).0,
        info: (!is_awaited).then(|| (&member.info).into()),
        mode: mode.into(),
        report,
        quotas: plan.quotas.into_iter().next(),
        software: host.map(|host| host.software.clone()).unwrap_or_default(),
    }
}

/// The report as the fleet keeps it.
fn report(who: &ProducerName, member: &Member) -> v1::LoadReport {
    let (who, sequence, seen, leaving) = (who.clone(), member.sequence, member.seen, member.leaving);
    let (holds, stages, erased) = (member.holds.clone(), member.stages.clone(), member.erased.clone());
    (&Report { who, sequence, seen, leaving, holds, stages, erased }).into()
}

pub(super) fn streams(view: &View) -> Vec<v1::StreamStatus> {
    view.fleet.orders().streams.keys().filter_map(|id| stream(view, id)).collect()
}

fn stream(view: &View, id: &StreamId) -> Option<v1::StreamStatus> {
    let orders = view.fleet.orders();
    let settings = Stream { bounds: orders.bounds_of(id), ..orders.streams.get(id)?.clone() };
    // The conversion of a stream is that of the order that adds it.
    let Order::AddStream(added) = Order::from(&OperatorCommand::AddStream(id.clone(), settings)) else { return None };
    let mine = |partition: &&Partition| partition.stream == *id;
    let is_through = |entry: &(&Partition, &Assignment)| matches!(entry.1.reason, Reason::ReplayOver { .. });
    let is_owned = |partition: &&Partition| matches!(view.plan.owners[*partition].state, Ownership::Owned { .. });
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let topics: BTreeSet<_> = view.fleet.topics().keys().filter(|(stream, _)| stream == id).collect();
    let partitions = topics.iter().map(|key| view.fleet.topics()[key].partitions.len()).sum();
    let Lag { alerts: lag, unknown: lag_unknown } = view.fleet.lag(Some(id));
    Some(v1::StreamStatus {
        stream: added.stream,
        topics: topics.iter().map(|(_, topic)| topic.to_string()).collect(),
        partitions_owned: count(view.plan.owners.keys().filter(mine).filter(is_owned).count()),
        partitions: count(partitions),
        lag,
        lag_unknown,
        partitions_through: count(
            view.plan.owners.iter().filter(|(partition, _)| mine(partition)).filter(is_through).count(),
        ),
    })
}
