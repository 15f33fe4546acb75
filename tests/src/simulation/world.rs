//! The world of a seed: its clock, and what is to happen next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use boom_plan::coordinator;
use boom_plan::id::{Partition, ProducerName};
use boom_plan::node;
use boom_plan::quota::Stage;
use boom_plan::scale::{Placement, Wishes};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::checks::Checks;
use super::coordinators::Coordinators;
use super::etcd::{self, Etcd};
use super::kafka::{self, Kafka};
use super::nodes::Nodes;
use super::{Counts, Keep, Size};

/// Until when faults happen, and until when everything must be well again, milliseconds.
pub(super) const FAULTS: u64 = 40_000;
const WELL: u64 = FAULTS + 70_000;
/// The lines of a history whose end is kept.
const LINES: usize = 400;
/// What some nodes have.
pub(super) const LABEL: &str = "gpu";

/// Something that is to happen.
#[derive(Debug, Clone)]
pub(super) enum Event {
    CoordinatorTick(usize, u32),
    NodeTick(usize, u32),
    ToCoordinator(usize, coordinator::Event),
    ToNode(usize, node::Event),
    Connected { node: usize, life: u32, coordinator: usize },
    ToEtcd { from: usize, life: u32, request: etcd::Request, is_answered: bool },
    FromEtcd { to: usize, life: u32, response: etcd::Response },
    ToKafka { from: usize, life: u32, who: ProducerName, partition: Partition, request: kafka::Request },
    FromKafka { to: usize, life: u32, who: ProducerName, partition: Partition, response: kafka::Response },
    StartNode(usize),
    StartCoordinator(usize),
    NodeFault,
    CoordinatorFault,
    Write,
    Calm,
    Look,
}

/// Numbers from the seed.
#[derive(Debug)]
pub(super) struct Chance(Pcg64);

impl Chance {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end.max(1))
    }

    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0.random_range(from..to)
    }

    /// True in so many of a thousand cases.
    pub(super) fn is_met(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}

/// Half of all worlds want a label for a stage, or would like it.
fn placement(chance: &mut Chance) -> Placement {
    let (label, mut wishes) = (BTreeSet::from([LABEL.to_owned()]), Wishes::default());
    match chance.below(4) {
        0 => wishes.requires = label,
        1 => wishes.prefers = label,
        _ => return Placement::default(),
    }
    Placement([(Stage::Enrich, wishes)].into())
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) size: Size,
    pub(super) chance: Chance,
    pub(super) now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    pub(super) coordinators: Coordinators,
    pub(super) nodes: Nodes,
    pub(super) etcd: Etcd,
    pub(super) kafka: Kafka,
    pub(super) night: &'static str,
    /// Which nodes are to work on which stage.
    pub(super) placement: Placement,
    pub(super) checks: Checks,
    pub(super) counts: Counts,
    keep: Keep,
    past: VecDeque<String>,
}

impl World {
    pub(super) fn new(seed: u64, size: Size, keep: Keep) -> Self {
        let mut chance = Chance(Pcg64::seed_from_u64(seed));
        let placement = placement(&mut chance);
        let mut world = Self {
            size,
            coordinators: Coordinators::new(size.coordinators, &mut chance),
            nodes: Nodes::new(size.nodes, &mut chance),
            chance,
            now: 1000,
            queue: BTreeMap::new(),
            order: 0,
            etcd: Etcd::default(),
            kafka: Kafka::default(),
            night: "ztf_20261124",
            placement,
            checks: Checks::new(size.nodes),
            counts: Counts::default(),
            keep,
            past: VecDeque::new(),
        };
        world.kafka.create("lsst", size.partitions - world.per_night());
        world.kafka.create(world.night, world.per_night());
        (0..size.coordinators).for_each(|i| world.after(0, Event::StartCoordinator(i)));
        (0..size.nodes).for_each(|i| world.after(0, Event::StartNode(i)));
        world.after(3000, Event::NodeFault);
        world.after(3000, Event::CoordinatorFault);
        world.after(500, Event::Write);
        world.after(FAULTS - world.now, Event::Calm);
        world
    }

    /// Partitions of a night's topic.
    pub(super) fn per_night(&self) -> u32 {
        self.size.partitions * 2 / 5
    }

    pub(super) fn is_calm(&self) -> bool {
        self.now >= FAULTS
    }

    /// Lets something happen so much later.
    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), event);
    }

    /// Whether a process runs now; what comes to one that is paused comes when it goes on.
    pub(super) fn is_awake(&mut self, runs: bool, paused: u64, event: Event) -> bool {
        if runs && paused > self.now {
            self.after(paused - self.now, event);
        }
        runs && paused <= self.now
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.keep == Keep::End && self.past.len() == LINES {
            self.past.pop_front();
        }
        let line = format!("{:>6} {}", self.now, text());
        self.past.push_back(line);
    }

    pub(super) fn history(&self) -> String {
        self.past.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Lets a message go over the network: late, lost, twice.
    pub(super) fn send(&mut self, event: Event) {
        if self.is_calm() {
            let delay = self.chance.between(1, 20);
            return self.after(delay, event);
        }
        if self.chance.is_met(20) {
            return;
        }
        if self.chance.is_met(20) {
            let delay = self.chance.between(1, 4000);
            self.after(delay, event.clone());
        }
        let slow = self.chance.is_met(50);
        let delay = self.chance.between(1, if slow { 3000 } else { 60 });
        self.after(delay, event);
    }

    pub(super) fn run(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > WELL {
                break;
            }
            self.now = at;
            self.counts.steps += 1;
            self.happen(event)?;
        }
        self.check_end()
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::CoordinatorTick(i, life) => self.coordinator_tick(i, life),
            Event::ToCoordinator(i, event) => self.reach_coordinator(i, event),
            Event::StartCoordinator(i) => self.start_coordinator(i),
            Event::FromEtcd { to, life, response } => self.hear_etcd(to, life, response),
            Event::ToEtcd { from, life, request, is_answered } => self.reach_etcd(from, life, request, is_answered)?,
            Event::NodeTick(i, life) => self.node_tick(i, life)?,
            Event::ToNode(i, event) => self.reach_node(i, event)?,
            Event::StartNode(i) => self.start_node(i),
            Event::Connected { node, life, coordinator } => self.connected(node, life, coordinator)?,
            Event::ToKafka { from, life, who, partition, request } => {
                let response = self.kafka.handle(&who, &partition, request)?;
                self.counts.fenced += u64::from(response == kafka::Response::Fenced);
                self.counts.commits += u64::from(matches!(response, kafka::Response::Committed { .. }));
                self.after(2, Event::FromKafka { to: from, life, who, partition, response });
            }
            Event::FromKafka { to, life, who, partition, response } => {
                self.hear_kafka(to, life, (who, partition), response)?;
            }
            Event::NodeFault => self.node_fault(),
            Event::CoordinatorFault => self.coordinator_fault(),
            Event::Write => self.write(),
            Event::Calm => self.calm(),
            Event::Look => self.look()?,
        }
        Ok(())
    }
}
