//! What goes wrong, and the end of it.

use boom_plan::coordinator::Event as CoordinatorEvent;
use boom_plan::id::RequestId;
use boom_plan::node::Event as NodeEvent;
use boom_plan::orders::OperatorCommand;

use super::coordinators::Process;
use super::world::{Event, FAULTS, World};

/// How often LSST looks, and for how long its alerts come, milliseconds.
const VISITS: u64 = 13_000;
const VISIT: u64 = 5_000;

impl World {
    /// Something happens to a node. The more nodes there are, the more often.
    pub(super) fn node_fault(&mut self) {
        if self.is_calm() {
            return;
        }
        let node = self.chance.below(self.size.nodes as u64) as usize;
        let coordinator = self.chance.below(self.size.coordinators as u64) as usize;
        let long = self.chance.between(200, 12_000);
        match self.chance.below(6) {
            0 => self.kill_node(node, long),
            1 => self.pause_node(node, long),
            2 => {
                let until = self.now + long;
                self.note(|| format!("n{node} is cut off from coordinator {coordinator} for {long} ms"));
                self.nodes.0[node].cut.insert(coordinator, until);
            }
            3 => {
                let until = self.now + long;
                self.note(|| format!("n{node} is cut off from all coordinators for {long} ms"));
                self.nodes.0[node].cut.extend((0..self.size.coordinators).map(|coordinator| (coordinator, until)));
            }
            4 => {
                self.note(|| format!("n{node} is asked to end"));
                self.after(0, Event::ToNode(node, NodeEvent::Terminate));
            }
            _ => self.order_something(node),
        }
        let next = self.chance.between(100, 6000) * 4 / self.size.nodes as u64;
        self.after(next.max(1), Event::NodeFault);
    }

    /// Something happens to a coordinator.
    pub(super) fn coordinator_fault(&mut self) {
        if self.is_calm() {
            return;
        }
        let coordinator = self.chance.below(self.size.coordinators as u64) as usize;
        let long = self.chance.between(200, 12_000);
        match self.chance.below(5) {
            0 => self.kill_coordinator(coordinator, long),
            1 => self.pause_coordinator(coordinator, long),
            2 => self.cut_leader_off(long),
            _ => self.kill_leader(long),
        }
        let next = self.chance.between(200, 9000);
        self.after(next, Event::CoordinatorFault);
    }

    fn kill_node(&mut self, node: usize, long: u64) {
        self.note(|| format!("n{node} is killed"));
        let process = &mut self.nodes.0[node];
        process.machine = None;
        process.life += 1;
        self.after(long, Event::StartNode(node));
    }

    fn kill_coordinator(&mut self, coordinator: usize, long: u64) {
        self.note(|| format!("coordinator {coordinator} is killed"));
        let process = &mut self.coordinators.0[coordinator];
        process.machine = None;
        process.life += 1;
        self.sessions_closed(coordinator);
        self.after(long, Event::StartCoordinator(coordinator));
    }

    fn leader(&self) -> Option<usize> {
        let leads = |process: &Process| process.machine.as_ref().is_some_and(|machine| machine.term().is_some());
        self.coordinators.0.iter().position(leads)
    }

    fn kill_leader(&mut self, long: u64) {
        if let Some(leader) = self.leader() {
            self.kill_coordinator(leader, long);
        }
    }

    /// The leader still hears its nodes, but etcd does not hear it.
    fn cut_leader_off(&mut self, long: u64) {
        if let Some(leader) = self.leader() {
            self.note(|| format!("coordinator {leader} is cut off from etcd for {long} ms"));
            self.coordinators.0[leader].cut = self.now + long;
        }
    }

    fn pause_node(&mut self, node: usize, long: u64) {
        let long = long.min(FAULTS - self.now);
        self.note(|| format!("n{node} is paused for {long} ms"));
        self.nodes.0[node].paused = self.now + long;
    }

    fn pause_coordinator(&mut self, coordinator: usize, long: u64) {
        let long = long.min(FAULTS - self.now);
        self.note(|| format!("coordinator {coordinator} is paused for {long} ms"));
        self.coordinators.0[coordinator].paused = self.now + long;
    }

    fn order_something(&mut self, node: usize) {
        let name = format!("n{node}").parse().expect("it is a name");
        let command = match self.chance.below(5) {
            0 => OperatorCommand::Drain(name),
            1 => OperatorCommand::Cordon(name),
            2 => OperatorCommand::PauseStream("lsst".parse().expect("it is a name")),
            3 => OperatorCommand::ResumeStream("lsst".parse().expect("it is a name")),
            _ => OperatorCommand::Uncordon(name),
        };
        self.order(&command);
    }

    fn order(&mut self, command: &OperatorCommand) {
        for coordinator in 0..self.size.coordinators {
            let (request, command) = (RequestId(self.now), command.clone());
            self.after(1, Event::ToCoordinator(coordinator, CoordinatorEvent::OperatorCommand { request, command }));
        }
    }

    /// Alerts that come into a partition at once while LSST looks: about what the nodes do in ten seconds, in five.
    fn per_visit(&self) -> u64 {
        let partitions = u64::from(self.size.partitions - self.per_night()).max(1);
        250 * self.size.nodes as u64 / partitions
    }

    /// Alerts come, those of ZTF steadily, those of LSST in bursts; in the middle of the time a new night begins.
    pub(super) fn write(&mut self) {
        if self.is_calm() {
            return;
        }
        let alerts = self.chance.below(20);
        if self.night == "ztf_20261124" && self.now > 20_000 {
            self.night = "ztf_20261125";
            self.kafka.create(self.night, self.per_night());
        }
        self.kafka.write(self.night, alerts, self.now);
        let visit = if self.now % VISITS < VISIT { self.per_visit() } else { 0 };
        self.kafka.write("lsst", visit + alerts / 4, self.now);
        self.after(500, Event::Write);
    }

    /// The faults end: whatever was stopped goes on, and the orders are taken back until somebody has heard it.
    pub(super) fn calm(&mut self) {
        if self.now == FAULTS {
            self.note(|| "the faults end".to_owned());
            let now = self.now;
            self.nodes.0.iter_mut().for_each(|process| process.paused = process.paused.min(now));
            self.coordinators.0.iter_mut().for_each(|process| process.paused = process.paused.min(now));
            self.coordinators.0.iter_mut().for_each(|process| process.cut = 0);
            self.nodes.0.iter_mut().for_each(|process| process.cut.clear());
            (0..self.size.nodes).for_each(|i| self.after(0, Event::StartNode(i)));
            (0..self.size.coordinators).for_each(|i| self.after(0, Event::StartCoordinator(i)));
            self.after(100, Event::Look);
        }
        for node in 0..self.size.nodes {
            self.order(&OperatorCommand::Uncordon(format!("n{node}").parse().expect("it is a name")));
        }
        self.order(&OperatorCommand::ResumeStream("lsst".parse().expect("it is a name")));
        if self.now < FAULTS + 12_000 {
            self.after(2000, Event::Calm);
        }
    }
}
