//! The planner: who should own what, given the facts and the plan that stands.
//!
//! Total, deterministic and a fixed point: the same facts and its own answer give the same answer. What is owned stays where it is unless
//! it must move; a partition that moves from an owner that may live is first revoked, and granted when it was released or its owner
//! is dead; then the grant names the producers to fence. At most `ceil(P/N) + 1` partitions are on their way for the sake of balance.

mod balance;
mod slot;

use std::collections::{BTreeMap, BTreeSet};

use balance::Loads;
use slot::Slot;

use crate::facts::{Disposition, Facts};
use crate::id::{NodeId, Partition};
use crate::plan::{Assignment, Plan};
use crate::quota::NodeQuotas;
use crate::reason::Reason;
use crate::replay::erasures;
use crate::share::shares;

/// The plan for the facts: `current` itself, if it needs no change, else the next version.
pub fn assign(facts: &Facts<'_>, current: &Plan) -> Plan {
    let owners = owners(facts, current);
    let next = Plan {
        version: current.version.next(),
        quotas: quotas(facts, current, &owners),
        erasures: erasures(facts, current, &owners),
        owners,
        orders: facts.orders.clone(),
        ..Plan::empty(current.term)
    };
    if next.says_the_same(current) { current.clone() } else { next }
}

fn owners(facts: &Facts<'_>, current: &Plan) -> BTreeMap<Partition, Assignment> {
    let mut loads = Loads::of(facts);
    // Of a replay that is erased every producer is fenced, and nobody needs to know its partitions any more.
    let is_erased = |id| current.erasures.contains_key(id) && !facts.orders.streams.contains_key(id);
    let known = current.owners.keys().filter(|partition| !is_erased(&partition.stream));
    let partitions: BTreeSet<&Partition> = known.chain(facts.partitions.keys()).collect();
    let mut slots: Vec<Slot<'_>> =
        partitions.into_iter().map(|partition| Slot::resolve(partition, facts, current, &loads)).collect();
    loads.place(&mut slots);
    if facts.is_settled {
        loads.balance(&mut slots);
    }
    let others = facts.nodes.values().filter(|node| node.disposition != Disposition::Gone).count() as u32;
    let nobody = Reason::NoneTakes { others };
    let entry = |slot: Slot<'_>| Some((slot.partition.clone(), slot.entry(&loads, current.version.next(), &nobody)?));
    slots.into_iter().filter_map(entry).collect()
}

/// The quotas of all nodes that are not gone, with their parts of the streams. One of which nothing is known keeps what it had, and as long as
/// some are awaited, so does one that owned nothing: others may leave stages to it.
fn quotas(facts: &Facts<'_>, current: &Plan, owners: &BTreeMap<Partition, Assignment>) -> BTreeMap<NodeId, NodeQuotas> {
    let shares = shares(facts.orders, owners);
    let there = facts.nodes.iter().filter(|(_, node)| node.disposition != Disposition::Gone);
    let nodes = there.map(|(who, _)| &who.node);
    let quotas = |node: &NodeId| facts.quotas.get(node).or_else(|| current.quotas.get(node)).cloned();
    let with_streams =
        |node: &NodeId| Some(NodeQuotas { streams: shares.get(node).cloned().unwrap_or_default(), ..quotas(node)? });
    let known: BTreeSet<&NodeId> = facts.nodes.keys().map(|who| &who.node).collect();
    let unheard = current.quotas.keys().filter(|node| facts.is_awaiting && !known.contains(node));
    nodes.chain(unheard).filter_map(|node| Some((node.clone(), with_streams(node)?))).collect()
}

#[cfg(test)]
mod tests;
