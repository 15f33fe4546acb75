//! The shell of a node, simulated: its tasks read partitions and commit, and it carries out what the machine says.

use std::collections::{BTreeMap, BTreeSet};

use boom_plan::coordinator::Event as CoordinatorEvent;
use boom_plan::id::{Incarnation, NodeId, Offset, Partition, ProducerName};
use boom_plan::message::{NodeInfo, Position, StageLoad};
use boom_plan::node::{Action, Config, Event as NodeEvent, Node};
use boom_plan::quota::Stage;
use boom_plan::reconcile::{Gate, Step};
use boom_plan::time::{Span, Time};

use super::kafka::{Request, Response};
use super::world::{Chance, Event, LABEL, World};

/// A clock with an origin and a speed of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: u64,
    speed: u64,
}

impl Clock {
    /// Up to 2 % fast or slow.
    pub(super) fn new(chance: &mut Chance) -> Self {
        Self { origin: chance.below(1_000_000), speed: chance.between(980, 1021) }
    }

    pub(super) fn read(self, now: u64) -> u64 {
        self.origin + now * self.speed / 1000
    }
}

/// What a node does with a partition.
#[derive(Debug, Clone, Copy, Default)]
struct Task {
    next: u64,
    is_started: bool,
    is_committing: bool,
    is_releasing: bool,
}

#[derive(Debug)]
pub(super) struct Process {
    name: NodeId,
    pub(super) machine: Option<Node>,
    pub(super) life: u32,
    pub(super) paused: u64,
    clock: Clock,
    /// Until when it can not talk to which coordinator.
    pub(super) cut: BTreeMap<usize, u64>,
    coordinator: Option<usize>,
    tries: usize,
    tasks: BTreeMap<(ProducerName, Partition), Task>,
    heard: Gate,
    bench: Bench,
    labels: BTreeSet<String>,
}

/// What a node computes with, and what of that it has used since the loads were taken last.
#[derive(Debug, Default)]
struct Bench {
    cores: u32,
    pools: BTreeMap<Stage, u32>,
    done: u64,
    since: u64,
    loads: BTreeMap<Stage, StageLoad>,
}

/// Alerts that a worker enriches in a tenth of a second; it reads or filters twenty times as many.
const PER_TICK: u64 = 10;

impl Bench {
    fn workers(&self, stage: Stage) -> u64 {
        self.pools.get(&stage).copied().unwrap_or(1).into()
    }

    /// Alerts of a tenth of a second.
    fn alerts(&self) -> u64 {
        self.workers(Stage::Enrich).min(self.cores.into()) * PER_TICK
    }

    /// The loads of the last second.
    fn loads(&mut self, now: u64) -> BTreeMap<Stage, StageLoad> {
        let took = now - self.since;
        if took >= 1000 {
            let load = |stage| {
                let per_second = self.workers(stage) * PER_TICK * 10 * if stage == Stage::Enrich { 1 } else { 20 };
                let rate = self.done * 1000 / took;
                let busy = (rate * 1000).checked_div(per_second).unwrap_or_default().min(1000) as u16;
                (stage, StageLoad { busy, rate: rate as u32, ..StageLoad::default() })
            };
            self.loads = Stage::ALL.into_iter().map(load).collect();
            (self.done, self.since) = (0, now);
        }
        self.loads.clone()
    }
}

#[derive(Debug)]
pub(super) struct Nodes(pub(super) Vec<Process>);

impl Nodes {
    pub(super) fn new(count: usize, chance: &mut Chance) -> Self {
        let mut process = |i: usize| Process {
            name: format!("n{i}").parse().expect("it is a name"),
            machine: None,
            life: 0,
            paused: 0,
            clock: Clock::new(chance),
            cut: BTreeMap::new(),
            coordinator: None,
            tries: i,
            tasks: BTreeMap::new(),
            heard: Gate::default(),
            bench: Bench::default(),
            labels: if chance.is_met(400) { [LABEL.to_owned()].into() } else { BTreeSet::new() },
        };
        Self((0..count).map(&mut process).collect())
    }

    pub(super) fn index(&self, name: &NodeId) -> Option<usize> {
        self.0.iter().position(|process| process.name == *name)
    }

    pub(super) fn is_cut(&self, node: usize, coordinator: usize, now: u64) -> bool {
        self.0[node].cut.get(&coordinator).is_some_and(|until| now < *until)
    }

    pub(super) fn machines(&self) -> impl Iterator<Item = &Node> {
        self.0.iter().filter_map(|process| process.machine.as_ref())
    }

    /// Whether a process that runs has workers for a stage.
    pub(super) fn works_on(&self, stage: Stage) -> bool {
        self.0.iter().any(|process| process.machine.is_some() && process.bench.workers(stage) > 0)
    }

    /// Alerts that are worked on for a node in a tenth of a second: by others, if it has no workers of its own.
    fn hands(&self, i: usize) -> u64 {
        let bench = &self.0[i].bench;
        match bench.workers(Stage::Enrich) {
            0 if self.works_on(Stage::Enrich) => u64::from(bench.cores) * PER_TICK,
            _ => bench.alerts(),
        }
    }

    /// Who believes now to own what.
    pub(super) fn believers(&self, now: u64) -> impl Iterator<Item = (&Partition, &ProducerName)> {
        self.0.iter().filter_map(|process| Some((process, process.machine.as_ref()?))).flat_map(
            move |(process, node)| {
                node.holds().keys().filter_map(move |partition| Some((partition, process.believes(partition, now)?)))
            },
        )
    }
}

impl Process {
    /// The incarnation as which it believes now that it may commit for a partition, if it does.
    pub(super) fn believes(&self, partition: &Partition, now: u64) -> Option<&ProducerName> {
        let node = self.machine.as_ref()?;
        node.may_commit(partition, Time(self.clock.read(now))).then(|| node.me())
    }
}

impl World {
    pub(super) fn start_node(&mut self, i: usize) {
        let incarnation = Incarnation(self.now);
        let is_locked = self.chance.is_met(500);
        let process = &mut self.nodes.0[i];
        if process.machine.is_some() {
            return;
        }
        process.life += 1;
        (process.paused, process.coordinator, process.heard) = (0, None, Gate::default());
        process.tasks.clear();
        process.bench = Bench { cores: 2 + i as u32 % 7, ..Bench::default() };
        let (cores, labels) = (process.bench.cores, process.labels.clone());
        let config = Config::new(NodeInfo { cores, labels, ..NodeInfo::default() });
        let me = ProducerName { node: process.name.clone(), incarnation };
        let ended = is_locked.then_some(Incarnation(incarnation.0 - 1));
        process.machine = Some(Node::new(config, me, ended));
        let life = process.life;
        self.after(1, Event::NodeTick(i, life));
        self.note(|| format!("n{i} starts"));
    }

    fn is_node_awake(&mut self, i: usize, event: Event) -> bool {
        let process = &self.nodes.0[i];
        self.is_awake(process.machine.is_some(), process.paused, event)
    }

    pub(super) fn node_tick(&mut self, i: usize, life: u32) -> Result<(), String> {
        if life != self.nodes.0[i].life || !self.is_node_awake(i, Event::NodeTick(i, life)) {
            return Ok(());
        }
        let position = |((_, partition), task): (&(ProducerName, Partition), &Task)| {
            let behind = self.kafka.age(partition, task.next, self.now).unwrap_or_default();
            (partition.clone(), Position { next: Offset(task.next), behind: Some(Span(behind)), until: None })
        };
        let positions = self.nodes.0[i].tasks.iter().map(position).collect();
        let stages = self.nodes.0[i].bench.loads(self.now);
        self.tell_node(i, NodeEvent::Measured { positions, stages })?;
        self.tell_node(i, NodeEvent::Tick)?;
        self.work(i);
        self.after(100, Event::NodeTick(i, life));
        Ok(())
    }

    /// Each task that may commits what it has read. Whether it may is asked now; the commit takes its time.
    fn work(&mut self, i: usize) {
        let process = &self.nodes.0[i];
        let Some(machine) = &process.machine else { return };
        let (now, life) = (Time(process.clock.read(self.now)), process.life);
        let mut commits = Vec::new();
        let hands = self.nodes.hands(i);
        let mut left = hands;
        // Each partition comes first at some time.
        let first = (self.now / 100) as usize % process.tasks.len().max(1);
        for ((who, partition), task) in process.tasks.iter().cycle().skip(first).take(process.tasks.len()) {
            let end = self.kafka.ends[partition].min(task.next + left.min(50));
            let has_work = task.is_started && !task.is_committing && !task.is_releasing && task.next < end;
            if has_work && who == machine.me() && machine.may_commit(partition, now) {
                left -= end - task.next;
                commits.push((who.clone(), partition.clone(), task.next, end));
            }
        }
        let bench = &mut self.nodes.0[i].bench;
        bench.done += hands - left;
        for (who, partition, from, to) in commits {
            let task = self.nodes.0[i].tasks.get_mut(&(who.clone(), partition.clone())).expect("it was just looked at");
            task.is_committing = true;
            let slow = !self.is_calm() && self.chance.is_met(20);
            let delay = if slow { self.chance.between(100, 12_000) } else { self.chance.between(1, 50) };
            let request = Request::Commit { from, to };
            self.after(delay, Event::ToKafka { from: i, life, who, partition, request });
        }
    }

    pub(super) fn reach_node(&mut self, i: usize, event: NodeEvent) -> Result<(), String> {
        if self.is_node_awake(i, Event::ToNode(i, event.clone())) { self.tell_node(i, event) } else { Ok(()) }
    }

    pub(super) fn tell_node(&mut self, i: usize, event: NodeEvent) -> Result<(), String> {
        let process = &mut self.nodes.0[i];
        let now = Time(process.clock.read(self.now));
        let Some(machine) = &mut process.machine else { return Ok(()) };
        let actions = machine.handle(event, now);
        let (heard, gate) = (process.heard, machine.gate());
        if gate.term() < heard.term() || gate.version() < heard.version() {
            return Err(format!("n{i} has listened to {gate:?} after {heard:?}"));
        }
        process.heard = gate;
        for action in actions {
            self.carry_out_for_node(i, action);
        }
        self.check_owners(i)
    }

    fn carry_out_for_node(&mut self, i: usize, action: Action) {
        let life = self.nodes.0[i].life;
        match action {
            Action::Connect { .. } => self.connect(i),
            Action::Disconnect => self.disconnect(i),
            Action::Register(register) => self.send_to_leader(i, CoordinatorEvent::Registered(register)),
            Action::Report(report) => self.send_to_leader(i, CoordinatorEvent::Report(report)),
            Action::Released(release) => self.send_to_leader(i, CoordinatorEvent::Released(release)),
            Action::Left(report) => self.send_to_leader(i, CoordinatorEvent::Left(report)),
            Action::Do(who, Step::Start { partition, fence, .. }) => {
                self.note(|| format!("{who} starts {partition}, fences {fence:?}"));
                self.nodes.0[i].tasks.insert((who.clone(), partition.clone()), Task::default());
                let (delay, request) = (self.chance.between(5, 200), Request::Start { fence });
                self.after(delay, Event::ToKafka { from: i, life, who, partition, request });
            }
            Action::Do(who, Step::Release { partition, reason }) => {
                self.note(|| format!("{who} releases {partition}: {reason}"));
                if let Some(task) = self.nodes.0[i].tasks.get_mut(&(who.clone(), partition.clone())) {
                    task.is_releasing = true;
                }
                self.release_if_done(i, who, partition);
            }
            Action::Do(_, Step::Resize { stage, quota }) => {
                self.nodes.0[i].bench.pools.insert(stage, quota.workers);
            }
            // Streams share a node inside it, where nothing is simulated.
            Action::Do(_, Step::Share { .. }) => {}
            Action::Do(who, Step::Erase { stream, since, .. }) => {
                self.note(|| format!("{who} erases {stream}"));
                let event = Event::ToNode(i, NodeEvent::Erased { who, stream, since });
                self.after(50, event);
            }
            Action::Abandon(who) => {
                self.note(|| format!("{who} abandons all"));
                self.nodes.0[i].tasks.retain(|(owner, _), _| *owner != who);
            }
            Action::Become(who) => {
                self.counts.rebirths += 1;
                self.note(|| format!("n{i} is {who} now"));
            }
            Action::Ignored(_) => self.counts.stale += 1,
            Action::Exit => self.exit(i),
        }
    }

    fn exit(&mut self, i: usize) {
        self.note(|| format!("n{i} exits"));
        self.disconnect(i);
        self.nodes.0[i].machine = None;
        let delay = self.chance.between(100, 3000);
        self.after(delay, Event::StartNode(i));
    }

    /// A task that is to be released has ended when nothing of it is on its way.
    fn release_if_done(&mut self, i: usize, who: ProducerName, partition: Partition) {
        let key = (who, partition);
        let Some(task) = self.nodes.0[i].tasks.get(&key) else { return };
        if task.is_releasing && task.is_started && !task.is_committing {
            self.nodes.0[i].tasks.remove(&key);
            let (who, partition) = key;
            self.after(1, Event::ToNode(i, NodeEvent::Released { who, partition }));
        }
    }

    pub(super) fn hear_kafka(
        &mut self,
        i: usize,
        life: u32,
        key: (ProducerName, Partition),
        response: Response,
    ) -> Result<(), String> {
        let (who, partition) = key.clone();
        let again = Event::FromKafka { to: i, life, who: who.clone(), partition: partition.clone(), response };
        if self.nodes.0[i].life != life || !self.is_node_awake(i, again) {
            return Ok(());
        }
        let Some(task) = self.nodes.0[i].tasks.get_mut(&key) else { return Ok(()) };
        match response {
            Response::Started { next } => {
                (task.is_started, task.next) = (true, next);
                self.tell_node(i, NodeEvent::Started { who: who.clone(), partition: partition.clone() })?;
            }
            Response::Committed { next } => (task.is_committing, task.next) = (false, next),
            Response::Fenced => self.tell_node(i, NodeEvent::Fenced { who: who.clone() })?,
        }
        self.release_if_done(i, who, partition);
        Ok(())
    }

    fn connect(&mut self, i: usize) {
        let process = &mut self.nodes.0[i];
        process.tries += 1;
        let (coordinator, life) = (process.tries % self.coordinators.0.len(), process.life);
        let delay = self.chance.between(1, 50);
        self.after(delay, Event::Connected { node: i, life, coordinator });
    }

    pub(super) fn connected(&mut self, i: usize, life: u32, coordinator: usize) -> Result<(), String> {
        let again = Event::Connected { node: i, life, coordinator };
        if self.nodes.0[i].life != life || !self.is_node_awake(i, again) {
            return Ok(());
        }
        let is_there = self.coordinators.0[coordinator].machine.is_some();
        if !is_there || self.nodes.is_cut(i, coordinator, self.now) {
            return self.tell_node(i, NodeEvent::ConnectionLost);
        }
        self.nodes.0[i].coordinator = Some(coordinator);
        self.tell_node(i, NodeEvent::Connected)
    }

    fn disconnect(&mut self, i: usize) {
        let process = &mut self.nodes.0[i];
        let who = process.machine.as_ref().map(|node| node.me().clone());
        if let (Some(coordinator), Some(who)) = (process.coordinator.take(), who) {
            self.send(Event::ToCoordinator(coordinator, CoordinatorEvent::SessionClosed(who)));
        }
    }

    /// A coordinator has closed its sessions, or is gone.
    pub(super) fn sessions_closed(&mut self, coordinator: usize) {
        for i in 0..self.nodes.0.len() {
            if self.nodes.0[i].coordinator == Some(coordinator) {
                self.nodes.0[i].coordinator = None;
                self.after(5, Event::ToNode(i, NodeEvent::ConnectionLost));
            }
        }
    }

    fn send_to_leader(&mut self, i: usize, event: CoordinatorEvent) {
        let Some(coordinator) = self.nodes.0[i].coordinator else { return };
        if !self.nodes.is_cut(i, coordinator, self.now) {
            self.send(Event::ToCoordinator(coordinator, event));
        }
    }
}
