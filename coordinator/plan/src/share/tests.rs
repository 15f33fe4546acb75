//! What a cluster-wide bound comes to on each node.

use proptest::prelude::*;

use super::*;
use crate::id::PlanVersion;
use crate::orders::Stream;
use crate::plan::Ownership;
use crate::reason::Reason;

fn limits(min: u32, max: Option<u32>) -> Limits {
    Limits { min, max }
}

fn bounds(weight: Option<u32>, enrich: Limits) -> Bounds {
    Bounds { weight, stages: [(Stage::Enrich, enrich)].into() }
}

fn orders(bounds: Bounds) -> Orders {
    let stream = Stream { bounds, ..Stream::new("ZTF", "ipac", "t".parse().unwrap()) };
    Orders { streams: [("s".parse().unwrap(), stream)].into(), ..Orders::default() }
}

/// Partitions of the stream `s`: so many for each node, the last one of which is being revoked.
fn owners(counts: &[u32]) -> BTreeMap<Partition, Assignment> {
    let mut owners = BTreeMap::new();
    for (node, &count) in counts.iter().enumerate() {
        for number in 0..count {
            let owner = format!("n{node:03}#1").parse().unwrap();
            let state = if number + 1 == count && count > 1 {
                Ownership::Revoking { owner, to: None }
            } else {
                Ownership::Owned { owner }
            };
            let partition = format!("s/t{node}/{number}").parse().unwrap();
            let (since, fence) = (PlanVersion(1), Default::default());
            owners.insert(partition, Assignment { state, since, fence, reason: Reason::LeastLoaded { of: 1 } });
        }
    }
    owners
}

fn said(bounds: Bounds, counts: &[u32]) -> Vec<String> {
    let (orders, owners) = (orders(bounds), owners(counts));
    let shares = shares(&orders, &owners);
    shares.iter().map(|(node, streams)| format!("{node}: {}", streams.values().next().unwrap())).collect()
}

#[test]
fn a_bound_of_a_stream_is_split_between_nodes_by_the_partitions_that_they_have() {
    let enrich = limits(4, Some(10));
    let expected = ["n000: weight 3, enrich 3 to 8", "n001: weight 3, enrich 1 to 2"];
    assert_eq!(said(bounds(Some(3), enrich), &[6, 2]), expected);
    assert_eq!(
        said(bounds(None, limits(0, Some(4))), &[9, 0, 1]),
        ["n000: enrich at most 3", "n002: enrich at most 1"]
    );
    assert_eq!(said(bounds(None, limits(1, None)), &[2, 2]), ["n000: enrich at least 1"]);
    assert_eq!(said(bounds(Some(2), Limits::default()), &[1]), ["n000: weight 2"]);
}

#[test]
fn a_stream_that_is_treated_as_usual_stands_nowhere() {
    assert_eq!(said(Bounds::default(), &[3, 3]), Vec::<String>::new());
    assert_eq!(said(bounds(Some(WEIGHT), Limits::default()), &[3, 3]), Vec::<String>::new());
}

#[test]
fn every_node_may_work_on_one_batch_even_if_the_maximum_is_below_the_number_of_nodes() {
    assert_eq!(split_max(2, &[8, 1, 1]), [1, 1, 1]);
    assert_eq!(split_max(10, &[99, 1]), [9, 1]);
    assert_eq!(split_min(2, &[8, 1, 1], Some(&[1, 1, 1])).iter().sum::<u32>(), 2);
}

#[test]
fn bounds_that_can_not_be_kept_are_named() {
    let why = |bounds: Bounds| bounds.check().unwrap_err().to_string();
    assert!(why(bounds(None, limits(4, Some(2)))).contains("the minimum 4 is above the maximum 2"));
    assert!(why(bounds(None, limits(0, Some(0)))).contains("a maximum of 0"));
    assert!(why(bounds(Some(0), Limits::default())).contains("a weight of 0"));
    bounds(Some(1), limits(2, Some(2))).check().unwrap();
}

proptest! {
    #[test]
    fn the_parts_of_a_bound_come_to_the_bound(
        (min, max) in (0u32..400, prop::option::of(1u32..400)),
        counts in prop::collection::vec(1u32..30, 1..60),
    ) {
        let (nodes, total) = (counts.len() as u32, counts.iter().sum::<u32>());
        let min = min.min(max.unwrap_or(u32::MAX));
        let (orders, owners) = (orders(bounds(None, limits(min, max))), owners(&counts));
        let shares = shares(&orders, &owners);
        let part = |node: usize| {
            let node: NodeId = format!("n{node:03}").parse().unwrap();
            let share = shares.get(&node).and_then(|streams| streams.values().next());
            share.and_then(|share| share.stages.get(&Stage::Enrich)).copied().unwrap_or_default()
        };
        let parts: Vec<Limits> = (0..counts.len()).map(part).collect();
        prop_assert_eq!(parts.iter().map(|part| part.min).sum::<u32>(), min);
        prop_assert!(parts.iter().all(|part| part.max.is_none_or(|max| (part.min.max(1)..).contains(&max))), "{:?}", parts);
        if let Some(max) = max {
            prop_assert_eq!(parts.iter().filter_map(|part| part.max).sum::<u32>(), max.max(nodes));
        }
        for (part, count) in parts.iter().zip(&counts).filter(|_| max.is_none()) {
            let (down, up) = (min * count / total, (min * count).div_ceil(total));
            prop_assert!((down..=up).contains(&part.min), "{} of {}: {:?}", count, total, parts);
        }
    }

    #[test]
    fn whatever_is_asked_a_split_is_total(min: u32, max in prop::option::of(any::<u32>()), counts in prop::collection::vec(1u64..10_000, 1..9)) {
        let whole = StreamShare { weight: 1, stages: [(Stage::Filter, limits(min, max))].into() };
        let names: Vec<NodeId> = (0..counts.len()).map(|node| format!("n{node}").parse().unwrap()).collect();
        prop_assert_eq!(parts(&whole, &names.iter().zip(counts).collect()).len(), names.len());
    }
}
