//! The world of a seed: its clock, what is to happen next, and what must hold after each step.

use std::collections::{BTreeMap, VecDeque};

use boom_plan::coordinator;
use boom_plan::id::{Partition, ProducerName};
use boom_plan::message::HoldState;
use boom_plan::node;
use boom_plan::plan::{Ownership, Plan};

use crate::coordinators::Coordinators;
use crate::etcd::{self, Etcd};
use crate::kafka::{self, Kafka};
use crate::nodes::Nodes;
use crate::random::Random;

/// Until when faults happen, and until when everything must be well again, milliseconds.
pub(crate) const FAULTS: u64 = 40_000;
const WELL: u64 = FAULTS + 25_000;

/// Something that is to happen.
#[derive(Debug, Clone)]
pub(crate) enum Event {
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
    Fault,
    Write,
    Calm,
}

/// How often what was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) commits: u64,
    pub(crate) elections: u64,
    pub(crate) conflicts: u64,
    pub(crate) plans: u64,
    pub(crate) deaths: u64,
    pub(crate) moves: u64,
    pub(crate) fenced: u64,
    pub(crate) stale: u64,
    pub(crate) rebirths: u64,
    pub(crate) step_downs: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.commits += other.commits;
        self.elections += other.elections;
        self.conflicts += other.conflicts;
        self.plans += other.plans;
        self.deaths += other.deaths;
        self.moves += other.moves;
        self.fenced += other.fenced;
        self.stale += other.stale;
        self.rebirths += other.rebirths;
        self.step_downs += other.step_downs;
    }

    pub(crate) fn met_everything(&self) -> bool {
        let Self { steps, commits, elections, conflicts, plans, deaths, moves, fenced, stale, rebirths, step_downs } =
            *self;
        [steps, commits, elections, conflicts, plans, deaths, moves, fenced, stale, rebirths, step_downs]
            .iter()
            .all(|&count| count > 0)
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    pub(crate) coordinators: Coordinators,
    pub(crate) nodes: Nodes,
    pub(crate) etcd: Etcd,
    pub(crate) kafka: Kafka,
    pub(crate) night: &'static str,
    pub(crate) counts: Counts,
    past: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut world = Self {
            coordinators: Coordinators::new(3, &mut random),
            nodes: Nodes::new(4, &mut random),
            random,
            now: 1000,
            queue: BTreeMap::new(),
            order: 0,
            etcd: Etcd::default(),
            kafka: Kafka::default(),
            night: "ztf_20261124",
            counts: Counts::default(),
            past: VecDeque::new(),
        };
        world.kafka.create("lsst", 6);
        world.kafka.create(world.night, 4);
        (0..3).for_each(|i| world.after(0, Event::StartCoordinator(i)));
        (0..4).for_each(|i| world.after(0, Event::StartNode(i)));
        world.after(3000, Event::Fault);
        world.after(500, Event::Write);
        world.after(FAULTS - 1000, Event::Calm);
        world
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.now >= FAULTS
    }

    /// Lets something happen so much later.
    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), event);
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.past.len() == 400 {
            self.past.pop_front();
        }
        let line = format!("{:>6} {}", self.now, text());
        self.past.push_back(line);
    }

    pub(crate) fn history(&self) -> String {
        self.past.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Lets a message go over the network: late, lost, twice.
    pub(crate) fn send(&mut self, event: Event) {
        if self.is_calm() {
            let delay = self.random.between(1, 20);
            return self.after(delay, event);
        }
        if self.random.chance(20) {
            return;
        }
        if self.random.chance(20) {
            let delay = self.random.between(1, 4000);
            self.after(delay, event.clone());
        }
        let slow = self.random.chance(50);
        let delay = self.random.between(1, if slow { 3000 } else { 60 });
        self.after(delay, event);
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > WELL {
                break;
            }
            self.now = at;
            self.counts.steps += 1;
            self.happen(event)?;
            self.check_owners()?;
        }
        self.check_well()
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
            Event::Fault => self.fault(),
            Event::Write => self.write(),
            Event::Calm => self.calm(),
        }
        Ok(())
    }

    /// At most one node believes that it may commit for a partition.
    fn check_owners(&self) -> Result<(), String> {
        let mut owners: BTreeMap<&Partition, &ProducerName> = BTreeMap::new();
        for (partition, who) in self.nodes.believers(self.now) {
            if let Some(other) = owners.insert(partition, who) {
                return Err(format!("{who} and {other} both believe to own {partition}"));
            }
        }
        Ok(())
    }

    /// Nothing is granted that another one believes to own, and the plan is sound.
    pub(crate) fn check_commit(&self, before: Option<&Plan>, after: &Plan) -> Result<(), String> {
        if let Some(violation) = after.check().first() {
            return Err(format!("committed, although {violation}"));
        }
        if before.is_some_and(|before| before.version.next() != after.version || before.term > after.term) {
            return Err(format!("plan {} of {} does not follow", after.version, after.term));
        }
        for (partition, who) in self.nodes.believers(self.now) {
            let Some(entry) = after.owners.get(partition) else {
                return Err(format!("{partition} is forgotten, and {who} believes to own it"));
            };
            if entry.state.owner() != Some(who) {
                return Err(format!("{partition}: {who} believes to own it, and the plan says {entry}"));
            }
        }
        Ok(())
    }

    pub(crate) fn count_plan(&mut self, before: &Plan, after: &Plan) {
        self.counts.plans += 1;
        for (partition, entry) in &after.owners {
            let earlier = before.owners.get(partition);
            let is_new = |fenced: &&ProducerName| earlier.is_none_or(|earlier| !earlier.fence.contains(*fenced));
            self.counts.deaths += entry.fence.iter().filter(is_new).count() as u64;
            let was = earlier.map(|earlier| &earlier.state);
            let revoked = matches!(&entry.state, Ownership::Revoking { .. }) && was != Some(&entry.state);
            self.counts.moves += u64::from(revoked);
        }
    }

    /// Everything that is live is owned by a node that reads it, and read to its end.
    fn check_well(&self) -> Result<(), String> {
        let believers: BTreeMap<&Partition, &ProducerName> = self.nodes.believers(self.now).collect();
        let plan = self.etcd.plan().ok_or("there is no plan")?;
        for (partition, end) in &self.kafka.ends {
            let entry = plan.owners.get(partition).ok_or_else(|| format!("{partition} is not in the plan"))?;
            let progress = self.kafka.progress.get(partition).copied().unwrap_or_default();
            if progress != *end {
                return Err(format!("{partition}: {progress} of {end} alerts are done; {entry}"));
            }
            let is_live = partition.topic.as_str() == "lsst" || partition.topic.as_str() == self.night;
            if is_live != believers.contains_key(partition) || !is_live && entry.state != Ownership::Unplaced {
                return Err(format!("{partition}: owned by {:?}, and the plan says {entry}", believers.get(partition)));
            }
        }
        let is_running = |state: &HoldState| *state == HoldState::Running;
        let holds = self.nodes.machines().flat_map(|node| node.holds().values());
        if holds.into_iter().all(is_running) { Ok(()) } else { Err("something has not come to rest".to_owned()) }
    }
}
