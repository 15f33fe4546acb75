//! The planner's promises, on fleets that obey, on fleets that die, and on any fleet at all.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::assign;
use crate::facts::Facts;
use crate::fleet::{Fleet, LiveTopic, Observation, Release};
use crate::id::{Incarnation, NodeId, Offset, Partition, PlanVersion, ProducerName, Sequence, Term};
use crate::lease::Timing;
use crate::message::{HoldState, Holding, NodeInfo, Refusal, Register, Report};
use crate::orders::{Bounds, Limits, Mode, Orders, Stream};
use crate::plan::{Ownership, Plan};
use crate::quota::Stage;
use crate::scale::{Load, Memory, Policy, scale};
use crate::time::{Span, Time};

/// A fleet of nodes that do what they are told, when they are asked to.
struct World {
    fleet: Fleet,
    plan: Plan,
    orders: Orders,
    now: Time,
    /// What moved in later versions has not rested.
    rested: PlanVersion,
    sequence: u64,
    holds: BTreeMap<ProducerName, BTreeMap<Partition, Holding>>,
    ends: BTreeMap<u32, u64>,
}

fn stream(topics: &str) -> Stream {
    Stream::new("ZTF", "ipac", topics.parse().unwrap())
}

fn producer(node: u32, incarnation: u64) -> ProducerName {
    ProducerName { node: format!("n{node}").parse().unwrap(), incarnation: Incarnation(incarnation) }
}

impl World {
    fn new(partitions: u32) -> Self {
        let mut orders = Orders::default();
        orders.streams.insert("ztf".parse().unwrap(), stream("night"));
        let mut world = Self {
            fleet: Fleet::new(Timing::default(), Span(10_000)),
            plan: Plan::empty(Term(1)),
            orders,
            now: Time(0),
            rested: PlanVersion(u64::MAX),
            sequence: 0,
            holds: BTreeMap::new(),
            ends: (0..partitions).map(|number| (number, 0)).collect(),
        };
        world.order();
        world.list();
        world
    }

    fn order(&mut self) {
        self.fleet.apply(Observation::Ordered(self.orders.clone()), self.now);
    }

    fn list(&mut self) {
        let ends = self.ends.iter().map(|(&number, &end)| (number, Some(Offset(end)))).collect();
        let topics = vec![LiveTopic { topic: "night".parse().unwrap(), ends }];
        self.fleet.apply(Observation::TopicsListed { cluster: "ipac".into(), topics }, self.now);
    }

    fn report_of(&mut self, who: &ProducerName, leaving: bool) -> Report {
        self.sequence += 1;
        let (sequence, seen) = (Sequence(self.sequence), Some(self.plan.version));
        Report {
            who: who.clone(),
            sequence,
            seen,
            leaving,
            holds: self.holds[who].clone(),
            stages: BTreeMap::new(),
            erased: BTreeMap::new(),
        }
    }

    fn join(&mut self, who: ProducerName, cores: u32) {
        self.holds.insert(who.clone(), BTreeMap::new());
        let report = self.report_of(&who, false);
        let info = NodeInfo { cores, ..NodeInfo::default() };
        self.fleet.apply(Observation::Registered(Register { info, ended: None, report }), self.now);
    }

    /// It is heard of no more, and the others are.
    fn kill(&mut self, who: &ProducerName) {
        self.holds.remove(who);
        for _ in 0..4 {
            self.now = self.now + Span(2000);
            self.report();
        }
        self.fleet.apply(Observation::Tick, self.now);
    }

    /// All nodes say what they hold.
    fn report(&mut self) {
        for who in self.holds.keys().cloned().collect::<Vec<_>>() {
            let report = self.report_of(&who, false);
            self.fleet.apply(Observation::Reported(report), self.now);
        }
    }

    /// All nodes do what the plan says, and say so.
    fn obey(&mut self) {
        for (who, holds) in &mut self.holds {
            let owned =
                self.plan.owners.iter().filter(|(_, entry)| entry.state == Ownership::Owned { owner: who.clone() });
            let held = Holding { state: HoldState::Running, next: Some(Offset(0)), behind: None, until: None };
            *holds = owned.map(|(partition, _)| (partition.clone(), held)).collect();
        }
        self.report();
    }

    fn planned(&self) -> Plan {
        let memory = Memory::default();
        let load = Load::of(&self.fleet, &self.plan, &memory);
        assign(&Facts::of(&self.fleet, &scale(&load, &Policy::default(), self.now).quotas, self.rested), &self.plan)
    }

    /// One step of the planner, with all that must hold of it.
    fn step(&mut self) -> bool {
        let next = self.planned();
        assert_eq!(next.check(), [], "{next}");
        self.check_shares(&next);
        self.check_step(&next);
        let is_new = next != self.plan;
        self.plan = next;
        assert_eq!(self.planned(), self.plan, "its own answer gives the same answer");
        is_new
    }

    /// What streams may take is said to those that have partitions of them, and comes to what is wanted where everybody is there.
    fn check_shares(&self, next: &Plan) {
        for (stream, bounds) in &self.orders.bounds {
            let has = |node: &NodeId| {
                let mut mine = next.owners.iter().filter(|(partition, _)| partition.stream == *stream);
                mine.any(|(_, entry)| entry.state.owner().is_some_and(|owner| owner.node == *node))
            };
            let mut sums = Limits { min: 0, max: Some(0) };
            for (node, quotas) in &next.quotas {
                let Some(share) = quotas.streams.get(stream) else { continue };
                assert!(has(node), "{node} has no partition of {stream}: {next}");
                let part = share.stages.get(&Stage::Enrich).copied().unwrap_or_default();
                sums = Limits { min: sums.min + part.min, max: sums.max.zip(part.max).map(|(a, b)| a + b) };
            }
            let owners: BTreeSet<&NodeId> =
                next.owners.values().filter_map(|entry| Some(&entry.state.owner()?.node)).collect();
            if let Some(wanted) = bounds.stages.get(&Stage::Enrich).filter(|_| !owners.is_empty()) {
                let most = wanted.max.map(|max| max.max(owners.len() as u32));
                assert_eq!((sums.min, sums.max), (wanted.min, most), "{next}");
            }
        }
    }

    /// Nobody is given what another one, who may live, has not let go of.
    fn check_step(&self, next: &Plan) {
        for (partition, entry) in &next.owners {
            let Some(before) = self.plan.owners.get(partition).and_then(|before| before.state.owner()) else {
                continue;
            };
            let holder = self.holds.get(before).is_some_and(|holds| holds.contains_key(partition));
            if holder {
                assert_eq!(entry.state.owner(), Some(before), "{partition} is granted before it is released: {entry}");
            } else if entry.state.owner() != Some(before) && !self.holds.contains_key(before) {
                assert!(entry.fence.contains(before), "{partition}: {before} died and is not fenced: {entry}");
            }
        }
    }

    /// Plans and obeys until nothing changes; gives how many partitions changed their owner.
    fn settle(&mut self) -> usize {
        let before = self.owners();
        for _ in 0..200 {
            let is_new = self.step();
            self.obey();
            if !is_new && self.planned() == self.plan {
                let after = self.owners();
                return before.iter().filter(|(partition, owner)| after.get(*partition) != Some(owner)).count();
            }
        }
        panic!("it does not come to rest: {}", self.plan);
    }

    fn owners(&self) -> BTreeMap<Partition, ProducerName> {
        let owned = |(partition, entry): (&Partition, &crate::plan::Assignment)| match &entry.state {
            Ownership::Owned { owner } => Some((partition.clone(), owner.clone())),
            _ => None,
        };
        self.plan.owners.iter().filter_map(owned).collect()
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for owner in self.owners().values() {
            *counts.entry(owner.to_string()).or_default() += 1;
        }
        counts
    }
}

fn cluster(nodes: u32, partitions: u32) -> World {
    let mut world = World::new(partitions);
    for node in 0..nodes {
        world.join(producer(node, 1), 4);
    }
    world.settle();
    world
}

#[test]
fn partitions_are_spread_by_capacity() {
    let mut world = World::new(24);
    for (node, cores) in [(0, 2), (1, 4), (2, 6)] {
        world.join(producer(node, 1), cores);
    }
    world.settle();
    assert_eq!(world.counts(), [("n0#1".into(), 4), ("n1#1".into(), 8), ("n2#1".into(), 12)].into());
}

#[test]
fn the_partitions_of_a_dead_node_are_granted_with_its_producer_to_fence_and_others_stay() {
    let mut world = cluster(3, 9);
    let before = world.owners();
    let dead = producer(1, 1);
    world.kill(&dead);
    assert_eq!(world.fleet.admits(&dead), Err(Refusal::Over));
    assert!(world.step());
    for (partition, entry) in &world.plan.owners {
        let was_his = before[partition] == dead;
        assert_eq!(entry.fence.contains(&dead), was_his);
        assert_eq!(
            entry.to_string().contains("because the lease of n1#1 ended without a release; fences n1#1"),
            was_his
        );
        assert!(was_his || entry.state.owner() == Some(&before[partition]));
    }
    world.settle();
    assert!(world.plan.owners.values().all(|entry| entry.fence.is_empty()), "who runs it has fenced");
}

#[test]
fn a_partition_that_moves_is_revoked_first_and_granted_after_its_release() {
    let mut world = cluster(1, 2);
    world.join(producer(1, 1), 4);
    world.step();
    let moving: Vec<_> = world.plan.owners.values().filter(|entry| entry.to_string().starts_with("revoked")).collect();
    assert_eq!(moving.len(), 1);
    assert_eq!(moving[0].to_string(), "revoked from n0#1 for n1, because n1 carries less than n0");
    assert!(!world.step(), "nothing happens until it is released");
    world.report();
    assert!(!world.step(), "it knows, and still holds it");
    world.obey();
    assert!(world.step());
    assert_eq!(world.counts(), [("n0#1".into(), 1), ("n1#1".into(), 1)].into());
    assert!(world.plan.owners.values().all(|entry| entry.fence.is_empty()), "what was released needs no fence");
}

#[test]
fn a_release_that_was_said_before_the_revocation_was_known_does_not_count() {
    let mut world = cluster(1, 2);
    let old = world.plan.version;
    world.join(producer(1, 1), 4);
    world.step();
    world.holds.get_mut(&producer(0, 1)).unwrap().clear();
    let mut report = world.report_of(&producer(0, 1), false);
    report.seen = Some(old);
    world.fleet.apply(Observation::Reported(report), world.now);
    assert_eq!(world.planned(), world.plan, "it might be about to start it");
}

#[test]
fn the_release_of_one_partition_says_nothing_of_another() {
    let mut world = cluster(1, 4);
    let late = world.report_of(&producer(0, 1), false);
    world.join(producer(1, 1), 4);
    world.step();
    let revoked = world.plan.owners.iter().filter(|(_, entry)| matches!(entry.state, Ownership::Revoking { .. }));
    let partition = revoked.map(|(partition, _)| partition.clone()).next().unwrap();
    world.fleet.apply(Observation::Reported(Report { holds: BTreeMap::new(), ..late }), world.now);
    let release = Release { who: producer(0, 1), seen: world.plan.version, partition: partition.clone() };
    world.holds.get_mut(&producer(0, 1)).unwrap().remove(&partition);
    world.fleet.apply(Observation::Released(release), world.now);
    assert!(world.step());
    assert_eq!(world.counts(), [("n0#1".into(), 2), ("n1#1".into(), 1)].into(), "the other one is still held");
}

#[test]
fn a_late_report_never_undoes_a_newer_one() {
    let mut world = cluster(2, 4);
    let late = world.report_of(&producer(0, 1), false);
    world.report();
    let seen = world.fleet.members()[&producer(0, 1)].clone();
    world.fleet.apply(Observation::Reported(late), world.now);
    assert_eq!(world.fleet.members()[&producer(0, 1)], seen);
}

#[test]
fn a_drained_node_gives_all_it_has_and_a_cordoned_one_keeps_it() {
    let mut world = cluster(3, 9);
    world.orders.modes.insert("n0".parse().unwrap(), Mode::Drained);
    world.orders.modes.insert("n1".parse().unwrap(), Mode::Cordoned);
    world.order();
    world.settle();
    assert_eq!(world.counts(), [("n1#1".into(), 3), ("n2#1".into(), 6)].into());
}

#[test]
fn a_node_that_leaves_gives_back_without_a_fence_whether_or_not_it_was_asked() {
    let mut world = cluster(2, 4);
    let leaves = producer(0, 1);
    world.holds.get_mut(&leaves).unwrap().clear();
    let report = world.report_of(&leaves, true);
    world.fleet.apply(Observation::Left(report), world.now);
    world.step();
    assert_eq!(world.counts(), [("n1#1".into(), 4)].into());
    let reasons: Vec<_> = world.plan.owners.values().map(|entry| entry.reason.to_string()).collect();
    assert_eq!(reasons.iter().filter(|reason| *reason == "n0#1 has left and given it back").count(), 2);
    assert!(world.plan.owners.values().all(|entry| entry.fence.is_empty()));
}

#[test]
fn without_a_node_that_takes_partitions_they_are_unplaced_and_say_why() {
    let mut world = World::new(1);
    world.settle();
    assert_eq!(world.plan.owners.values().next().unwrap().to_string(), "unplaced, because there is no node");
    world.join(producer(0, 1), 4);
    world.orders.modes.insert("n0".parse().unwrap(), Mode::Cordoned);
    world.order();
    world.settle();
    let expected = "unplaced, because none of the 1 nodes takes partitions";
    assert_eq!(world.plan.owners.values().next().unwrap().to_string(), expected);
}

#[test]
fn a_paused_stream_is_released_and_a_resumed_one_read_again() {
    let mut world = cluster(2, 4);
    let pause = |world: &mut World, paused| {
        world.orders.streams.values_mut().for_each(|stream| stream.paused = paused);
        world.order();
        world.settle();
    };
    pause(&mut world, true);
    assert!(world.plan.owners.values().all(|entry| entry.to_string() == "unplaced, because its stream is paused"));
    pause(&mut world, false);
    assert_eq!(world.counts(), [("n0#1".into(), 2), ("n1#1".into(), 2)].into());
}

#[test]
fn a_stream_that_is_removed_is_forgotten_once_it_is_released() {
    let mut world = cluster(2, 4);
    world.orders.streams.clear();
    world.order();
    world.step();
    let entry = world.plan.owners.values().next().unwrap().to_string();
    assert_eq!(entry.split_once(", ").unwrap().1, "because its stream was removed");
    world.settle();
    world.now = world.now + Span(10_000);
    world.report();
    world.list();
    world.settle();
    assert_eq!(world.plan.owners.len(), 0);
}

#[test]
fn lagging_partitions_are_spread_over_the_nodes() {
    let mut world = cluster(2, 8);
    let owners = world.owners();
    let of_first: Vec<u32> =
        owners.iter().filter(|(_, who)| who.node.as_str() == "n0").map(|(p, _)| p.number).collect();
    for number in of_first {
        world.ends.insert(number, 6_000);
    }
    world.list();
    let moved = world.settle();
    assert_eq!(moved, 1, "one lagging partition moves, which evens the weights out: {}", world.plan);
}

#[test]
fn what_moved_lately_is_moved_no_further_for_its_lag_alone() {
    let mut world = cluster(2, 8);
    world.rested = PlanVersion(0);
    let of_first: Vec<u32> =
        world.owners().iter().filter(|(_, who)| who.node.as_str() == "n0").map(|(p, _)| p.number).collect();
    for number in of_first {
        world.ends.insert(number, 6_000);
    }
    world.list();
    assert_eq!(world.settle(), 0, "each node has four of them: {}", world.plan);
    world.rested = world.plan.version;
    assert_eq!(world.settle(), 1, "then it evens the weights out: {}", world.plan);
    world.rested = PlanVersion(0);
    world.join(producer(2, 1), 4);
    assert!(world.settle() > 0, "a node that comes gets some at once: {}", world.plan);
}

#[test]
fn two_lagging_partitions_of_one_node_end_on_different_nodes_whatever_is_idle_beside_them() {
    let mut world = cluster(2, 12);
    let of_first: Vec<u32> =
        world.owners().iter().filter(|(_, who)| who.node.as_str() == "n0").map(|(p, _)| p.number).take(2).collect();
    for &number in &of_first {
        world.ends.insert(number, 60_000);
    }
    world.list();
    world.settle();
    let owners = world.owners();
    let late: BTreeSet<&ProducerName> =
        owners.iter().filter(|(partition, _)| of_first.contains(&partition.number)).map(|(_, who)| who).collect();
    assert_eq!(late.len(), 2, "{}", world.plan);
}

#[test]
fn the_parts_of_a_bounded_stream_follow_its_partitions() {
    let mut world = World::new(9);
    let bounds = Bounds { weight: Some(2), stages: [(Stage::Enrich, Limits { min: 3, max: Some(12) })].into() };
    world.orders.bounds.insert("ztf".parse().unwrap(), bounds);
    world.order();
    world.join(producer(0, 1), 4);
    world.settle();
    let parts = |world: &World| {
        world.plan.quotas.iter().map(|(n, q)| format!("{n} {}", q.streams.values().next().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(parts(&world), ["n0 weight 2, enrich 3 to 12"]);
    world.join(producer(1, 1), 8);
    world.settle();
    assert_eq!(parts(&world), ["n0 weight 2, enrich 1 to 4", "n1 weight 2, enrich 2 to 8"]);
    world.orders.bounds.clear();
    world.order();
    world.settle();
    assert!(world.plan.quotas.values().all(|quotas| quotas.streams.is_empty()), "{}", world.plan);
}

#[test]
fn the_successor_of_a_node_takes_over_what_its_former_life_had() {
    let mut world = cluster(3, 9);
    let before = world.counts();
    world.holds.remove(&producer(0, 1));
    world.join(producer(0, 2), 4);
    world.step();
    let waits =
        world.plan.owners.values().filter(|entry| entry.to_string().starts_with("revoked from n0#1 for n0")).count();
    assert_eq!(waits, 3, "its lease may last: {}", world.plan);
    world.kill(&producer(0, 1));
    world.step();
    assert_eq!(world.counts()["n0#2"], before["n0#1"]);
    world.settle();
}

#[test]
fn ten_thousand_partitions_on_a_thousand_nodes_are_planned() {
    let mut world = World::new(10_000);
    for node in 0..1_000 {
        world.join(producer(node, 1), 4 + node % 3 * 4);
    }
    world.settle();
    let counts = world.counts();
    assert_eq!(counts.values().sum::<usize>(), 10_000);
    assert!(counts.values().all(|count| (5..=16).contains(count)), "{counts:?}");
}

/// Something that happens to a fleet.
#[derive(Debug, Clone)]
enum Happening {
    Join(u32, u32),
    Restart(u32),
    Kill(u32),
    Treat(u32, Option<Mode>),
    Lag(u32, u64),
    Pause(bool),
    Bound(u32, u32),
    Obey,
    Plan,
}

fn happening() -> impl Strategy<Value = Happening> {
    let mode = prop::sample::select(vec![None, Some(Mode::Cordoned), Some(Mode::Drained)]);
    prop_oneof![
        (0u32..5, 1u32..9).prop_map(|(node, cores)| Happening::Join(node, cores)),
        (0u32..5).prop_map(Happening::Restart),
        (0u32..5).prop_map(Happening::Kill),
        (0u32..5, mode).prop_map(|(node, mode)| Happening::Treat(node, mode)),
        (0u32..12, 0u64..2_000_000).prop_map(|(number, end)| Happening::Lag(number, end)),
        any::<bool>().prop_map(Happening::Pause),
        (0u32..9, 1u32..9).prop_map(|(min, more)| Happening::Bound(min, more)),
        Just(Happening::Obey),
        Just(Happening::Plan),
    ]
}

impl World {
    fn alive(&self, node: u32) -> Option<ProducerName> {
        self.holds.keys().find(|who| who.node == producer(node, 0).node).cloned()
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Join(node, cores) if self.alive(node).is_none() => {
                let incarnation = self.sequence + 1;
                self.join(producer(node, incarnation), cores);
            }
            Happening::Restart(node) => {
                if let Some(who) = self.alive(node) {
                    self.holds.remove(&who);
                    self.happen(&Happening::Join(node, 4));
                }
            }
            Happening::Kill(node) => {
                if let Some(who) = self.alive(node) {
                    self.kill(&who);
                }
            }
            Happening::Treat(node, mode) => {
                let node = producer(node, 0).node;
                self.orders.modes.remove(&node);
                self.orders.modes.extend(mode.map(|mode| (node, mode)));
                self.order();
            }
            Happening::Lag(number, end) if self.ends.contains_key(&number) => {
                self.ends.insert(number, end);
                self.list();
            }
            Happening::Pause(paused) => {
                self.orders.streams.values_mut().for_each(|stream| stream.paused = paused);
                self.order();
            }
            Happening::Bound(min, more) => {
                let limits = Limits { min, max: Some(min + more) };
                let bounds = Bounds { weight: Some(more), stages: [(Stage::Enrich, limits)].into() };
                self.orders.bounds.insert("ztf".parse().unwrap(), bounds);
                self.order();
            }
            Happening::Obey => self.obey(),
            _ => {}
        }
        self.step();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// After each step: no violation, a fixed point, nothing granted that another holds, the dead fenced. In the end: all is owned.
    #[test]
    fn whatever_happens_the_plan_keeps_its_promises(partitions in 0u32..12, happenings in prop::collection::vec(happening(), 0..40)) {
        let mut world = World::new(partitions);
        for happening in &happenings {
            world.happen(happening);
        }
        world.orders.modes.clear();
        world.happen(&Happening::Pause(false));
        if world.holds.is_empty() {
            world.happen(&Happening::Join(0, 4));
        }
        world.kill(&producer(99, 1));
        world.settle();
        prop_assert_eq!(world.owners().len(), partitions as usize, "{}", world.plan);
    }

    #[test]
    fn a_join_moves_no_more_than_its_share_and_one(nodes in 1u32..9, partitions in 0u32..60) {
        let mut world = cluster(nodes, partitions);
        world.join(producer(nodes, 1), 4);
        let moved = world.settle();
        prop_assert!(moved <= (partitions as usize).div_ceil(nodes as usize + 1) + 1, "{} moved", moved);
        let counts = world.counts();
        let (least, most) = (counts.values().min(), counts.values().max());
        prop_assert!(partitions < nodes + 1 || most.unwrap() - least.unwrap() <= 1, "{:?}", counts);
    }

    #[test]
    fn whatever_the_sizes_no_more_than_the_share_and_one_is_on_its_way(
        cores in prop::collection::vec(1u32..17, 1..8),
        partitions in 0u32..60,
    ) {
        let mut world = World::new(partitions);
        for (node, cores) in (0..).zip(cores) {
            world.join(producer(node, 1), cores);
            let nodes = node as usize + 1;
            while world.step() {
                let moving = world.plan.owners.values().filter(|e| matches!(e.state, Ownership::Revoking { .. })).count();
                prop_assert!(moving <= (partitions as usize).div_ceil(nodes) + 1, "{}", world.plan);
                world.obey();
            }
        }
    }

    #[test]
    fn the_order_in_which_nodes_came_does_not_matter(order in Just((0u32..6).collect::<Vec<_>>()).prop_shuffle()) {
        let plan = |order: &[u32]| {
            let mut world = World::new(20);
            order.iter().for_each(|&node| world.join(producer(node, 1), 2 + node));
            world.settle();
            world.owners()
        };
        prop_assert_eq!(plan(&order), plan(&[0, 1, 2, 3, 4, 5]));
    }
}

#[test]
fn versions_count_up_by_one_and_only_when_something_changes() {
    let mut world = World::new(3);
    assert!(world.step());
    assert_eq!(world.plan.version, PlanVersion(1));
    assert!(!world.step());
    assert_eq!(world.plan.version, PlanVersion(1));
}

/// What is planned of the partitions of the replay.
fn replayed(world: &World) -> Vec<String> {
    let entries = world.plan.owners.iter().filter(|(partition, _)| partition.stream.as_str() == "again");
    entries.map(|(partition, entry)| format!("{partition}: {entry}")).collect()
}

/// A replay of two partitions, whose windows end at 20, on two nodes that run everything.
fn replaying() -> World {
    let mut world = World::new(2);
    let ordered = crate::orders::OperatorCommand::ReplayStream {
        name: "again".parse().unwrap(),
        of: "ztf".parse().unwrap(),
        from: 1,
        to: 2,
    };
    world.ends = [(0, 200_000), (1, 200_000)].into();
    world.orders.take(ordered, &Default::default()).unwrap();
    world.order();
    world.list();
    (0..2).for_each(|node| world.join(producer(node, 1), 1));
    while world.step() {
        world.obey();
    }
    world
}

/// The nodes say how far the replay is: for both partitions.
fn replay_is_at(world: &mut World, next: u64) {
    for (partition, held) in world.holds.values_mut().flatten() {
        if partition.stream.as_str() == "again" {
            (held.next, held.until) = (Some(Offset(next)), Some(Offset(20)));
        }
    }
    world.report();
}

#[test]
fn a_replay_is_read_until_its_window_is_through_and_a_new_leader_knows_that_it_is() {
    let mut world = replaying();
    replay_is_at(&mut world, 19);
    assert!(!world.step(), "there is one alert left: {:?}", replayed(&world));
    replay_is_at(&mut world, 20);
    while world.step() {
        world.obey();
    }
    let through = ["again/night/0", "again/night/1"]
        .map(|partition| format!("{partition}: unplaced, because its window is through at 20"));
    assert_eq!(replayed(&world), through);
    let mut fleet = Fleet::new(Timing::default(), Span(10_000));
    fleet.apply(Observation::Loaded(world.plan.clone()), world.now);
    assert_eq!(assign(&Facts::of(&fleet, &BTreeMap::new(), world.plan.version), &world.plan).owners, world.plan.owners);
}

#[test]
fn what_waits_in_a_replay_counts_neither_as_lag_nor_as_load() {
    let mut world = replaying();
    let behind = Some(Span(9_000_000));
    for (partition, held) in world.holds.values_mut().flatten() {
        match partition.stream.as_str() {
            "again" => (held.until, held.behind) = (Some(Offset(90_000)), behind),
            _ => held.next = Some(Offset(199_990)),
        }
    }
    world.report();
    let memory = Memory::default();
    let load = Load::of(&world.fleet, &world.plan, &memory);
    assert_eq!((load.waiting, load.nodes.values().map(|node| node.behind).max()), (20, Some(Span(0))));
    assert_eq!(world.fleet.lag(Some(&"again".parse().unwrap())).alerts, 180_000);
    world.ends = [(0, 300_000), (1, 300_000)].into();
    world.now = world.now + Span(1000);
    world.list();
    assert_eq!(world.fleet.arriving(), 200_000, "what comes is counted once");
    assert!(!world.step(), "and moves nothing");
}

#[test]
fn a_replay_that_is_removed_is_erased_by_one_node_when_nobody_has_a_partition_of_it_any_more() {
    let mut world = replaying();
    let dead = world.plan.owners[&"again/night/0".parse::<Partition>().unwrap()].state.owner().unwrap().clone();
    world.kill(&dead);
    let again = "again".parse().unwrap();
    world
        .orders
        .take(crate::orders::OperatorCommand::RemoveStream("again".parse().unwrap()), &Default::default())
        .unwrap();
    world.order();
    assert!(world.step());
    assert!(world.plan.erasures.is_empty(), "one node still has a partition: {:?}", replayed(&world));
    world.obey();
    assert!(world.step());
    let by = world.holds.keys().next().unwrap().clone();
    let erasure = world.plan.erasures[&again].clone();
    assert_eq!(erasure.to_string(), format!("erased by {by}; fences {dead}"));
    assert_eq!(world.plan.part_of(&by).erasures.len(), 1);
    // That one dies over it, and another one does it again.
    world.join(producer(7, 1), 1);
    world.kill(&by);
    while world.step() {
        world.obey();
    }
    let next = &world.plan.erasures[&again];
    assert!(next.since > erasure.since && next.by == producer(7, 1));
    assert_eq!(next.fence, [dead, by].into());
    let mut report = world.report_of(&producer(7, 1), false);
    report.erased.insert("again".parse().unwrap(), erasure.since);
    world.fleet.apply(Observation::Reported(report), world.now);
    assert!(world.fleet.erased(&world.plan).is_empty(), "it was told to do it later than that");
    let mut report = world.report_of(&producer(7, 1), false);
    report.erased.insert("again".parse().unwrap(), world.plan.erasures[&again].since);
    world.fleet.apply(Observation::Reported(report), world.now);
    assert_eq!(world.fleet.erased(&world.plan), ["again".parse().unwrap()]);
    world.orders.erased(&"again".parse().unwrap());
    world.fleet.forget_stream(&"again".parse().unwrap());
    world.order();
    assert!(world.step());
    assert!(world.plan.erasures.is_empty() && replayed(&world).is_empty(), "{}", world.plan);
}
