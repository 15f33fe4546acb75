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
        quotas: quotas(facts, &owners),
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

/// The quotas that the load asks for, with the nodes' parts of the streams.
fn quotas(facts: &Facts<'_>, owners: &BTreeMap<Partition, Assignment>) -> BTreeMap<NodeId, NodeQuotas> {
    let mut shares = shares(facts.orders, owners);
    let with_streams = |(node, quotas): (&NodeId, &NodeQuotas)| {
        let streams = shares.remove(node).unwrap_or_default();
        (node.clone(), NodeQuotas { streams, ..quotas.clone() })
    };
    facts.quotas.iter().map(with_streams).collect()
}

#[cfg(test)]
mod tests;
