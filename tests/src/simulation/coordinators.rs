//! The shell of a coordinator, simulated: it stands for election, keeps its lease, and carries out what the machine says.

use boom_plan::audit::Audit;
use boom_plan::coordinator::{Action, Config, Coordinator, Event as CoordinatorEvent};
use boom_plan::id::{ProducerName, Term};
use boom_plan::lease::leads_until;
use boom_plan::node::Event as NodeEvent;
use boom_plan::orders::Stream;
use boom_plan::scale::Policy;
use boom_plan::time::{Span, Time};

use super::etcd::{Request, Response, TTL};
use super::nodes::Clock;
use super::world::{Chance, Event, World};

#[derive(Debug)]
pub(super) struct Process {
    pub(super) machine: Option<Coordinator>,
    pub(super) life: u32,
    pub(super) paused: u64,
    /// Until when it can not talk to etcd.
    pub(super) cut: u64,
    clock: Clock,
    term: Option<Term>,
    asked: u64,
}

#[derive(Debug)]
pub(super) struct Coordinators(pub(super) Vec<Process>);

impl Coordinators {
    pub(super) fn new(count: usize, chance: &mut Chance) -> Self {
        let mut process = || {
            let clock = Clock::new(chance);
            Process { machine: None, life: 0, paused: 0, cut: 0, clock, term: None, asked: 0 }
        };
        Self((0..count).map(|_| process()).collect())
    }
}

fn stream(survey: &str, topics: &str) -> Stream {
    Stream::new(survey, "kafka", topics.parse().expect("it is a name"))
}

impl World {
    pub(super) fn start_coordinator(&mut self, i: usize) {
        let process = &mut self.coordinators.0[i];
        if process.machine.is_some() {
            return;
        }
        process.life += 1;
        (process.term, process.paused) = (None, 0);
        let policy = Policy {
            rest: Span(8000),
            step: Span(1000),
            yields: Span(2000),
            patience: Span(3000),
            placement: self.placement.clone(),
            ..Policy::default()
        };
        let config = Config { list: Span(2000), topic_grace: Span(5000), policy, ..Config::default() };
        process.machine = Some(Coordinator::new(config));
        let life = process.life;
        let streams = [("lsst", "lsst"), ("ztf", "ztf_{date}")];
        let streams = streams.map(|(id, topics)| (id.parse().expect("it is a name"), stream(id, topics)));
        self.tell_coordinator(i, CoordinatorEvent::StreamsChanged(streams.into()));
        self.after(1, Event::CoordinatorTick(i, life));
    }

    fn is_coordinator_awake(&mut self, i: usize, event: Event) -> bool {
        let process = &self.coordinators.0[i];
        self.is_awake(process.machine.is_some(), process.paused, event)
    }

    pub(super) fn coordinator_tick(&mut self, i: usize, life: u32) {
        if life != self.coordinators.0[i].life || !self.is_coordinator_awake(i, Event::CoordinatorTick(i, life)) {
            return;
        }
        self.tell_coordinator(i, CoordinatorEvent::Tick);
        let sent = self.coordinators.0[i].clock.read(self.now);
        let process = &mut self.coordinators.0[i];
        if self.now >= process.asked + 400 {
            process.asked = self.now;
            let request = match process.term {
                Some(term) => Request::KeepAlive { term, sent },
                None => Request::Campaign { sent },
            };
            self.ask_etcd(i, request);
        }
        self.after(100, Event::CoordinatorTick(i, life));
    }

    pub(super) fn reach_coordinator(&mut self, i: usize, event: CoordinatorEvent) {
        if self.is_coordinator_awake(i, Event::ToCoordinator(i, event.clone())) {
            self.tell_coordinator(i, event);
        }
    }

    fn tell_coordinator(&mut self, i: usize, event: CoordinatorEvent) {
        let process = &mut self.coordinators.0[i];
        let now = Time(process.clock.read(self.now));
        let Some(machine) = &mut process.machine else { return };
        for action in machine.handle(event, now) {
            self.carry_out_for_coordinator(i, action);
        }
    }

    fn carry_out_for_coordinator(&mut self, i: usize, action: Action) {
        match action {
            Action::LoadPlan { request } => self.ask_etcd(i, Request::Load { request }),
            Action::CommitPlan { request, expected, plan } => {
                self.ask_etcd(i, Request::Commit { request, expected, plan });
            }
            Action::SendPlan { to, plan } => {
                for who in to {
                    let plan = plan.part_of(&who);
                    self.send_to_node(i, &who.clone(), NodeEvent::Planned { to: who, plan });
                }
            }
            Action::SendWelcome { to, term, sequence } => {
                self.send_to_node(i, &to.clone(), NodeEvent::Welcome { to, term, sequence });
            }
            Action::Acknowledge { to, term, sequence } => {
                self.send_to_node(i, &to.clone(), NodeEvent::Acknowledged { to, term, sequence });
            }
            Action::Refuse { to, why } => self.send_to_node(i, &to.clone(), NodeEvent::Refused { to, why, led: false }),
            Action::ListTopics { cluster, .. } => {
                let event = CoordinatorEvent::TopicsListed { cluster, topics: self.kafka.topics() };
                let delay = self.chance.between(5, 200);
                self.after(delay, Event::ToCoordinator(i, event));
            }
            Action::Reply { .. } => {}
            Action::Audit(audit) => {
                self.counts.saturated += u64::from(matches!(audit, Audit::Saturated(_)));
                self.note(|| format!("coordinator {i}: {audit}"));
            }
            Action::StepDown => {
                self.counts.step_downs += 1;
                if let Some(term) = self.coordinators.0[i].term.take() {
                    self.ask_etcd(i, Request::Resign { term });
                }
                self.sessions_closed(i);
            }
        }
    }

    fn send_to_node(&mut self, i: usize, who: &ProducerName, event: NodeEvent) {
        let Some(node) = self.nodes.index(&who.node) else { return };
        if !self.nodes.is_cut(node, i, self.now) {
            self.send(Event::ToNode(node, event));
        }
    }

    /// Sends a request to etcd. It may come late, after the shell has given up, or not at all, or its answer gets lost.
    fn ask_etcd(&mut self, from: usize, request: Request) {
        let life = self.coordinators.0[from].life;
        let calm = self.is_calm();
        let gives_up = match &request {
            Request::Load { request } => Some(Response::LoadFailed { request: *request }),
            Request::Commit { request, .. } => Some(Response::CommitFailed { request: *request }),
            _ => None,
        };
        let is_cut = self.coordinators.0[from].cut > self.now;
        let fate = if calm { 1000 } else { self.chance.below(1000) };
        let (is_lost, is_late, is_answered) = (fate < 20 || is_cut, (20..60).contains(&fate), fate >= 80);
        if let Some(response) = gives_up.filter(|_| is_lost || is_late || !is_answered) {
            self.after(1000, Event::FromEtcd { to: from, life, response });
        }
        if !is_lost {
            let delay = if is_late { self.chance.between(1000, 2500) } else { self.chance.between(1, 30) };
            self.after(delay, Event::ToEtcd { from, life, request, is_answered: is_answered && !is_late });
        }
    }

    pub(super) fn reach_etcd(
        &mut self,
        from: usize,
        life: u32,
        request: Request,
        is_answered: bool,
    ) -> Result<(), String> {
        let before = self.etcd.plan();
        let response = self.etcd.handle(request, self.now);
        match &response {
            Some(Response::Committed { .. }) => {
                let after = self.etcd.plan().ok_or("a committed plan is stored")?;
                self.check_commit(before.as_deref(), &after)?;
                if let Some(before) = before {
                    self.count_plan(&before, &after);
                }
            }
            Some(Response::Conflict { .. }) => self.counts.conflicts += 1,
            Some(Response::Elected { .. }) => self.counts.elections += 1,
            _ => {}
        }
        if let Some(response) = response.filter(|_| is_answered) {
            let delay = self.chance.between(1, 30);
            self.after(delay, Event::FromEtcd { to: from, life, response });
        }
        Ok(())
    }

    pub(super) fn hear_etcd(&mut self, to: usize, life: u32, response: Response) {
        let again = Event::FromEtcd { to, life, response: response.clone() };
        if self.coordinators.0[to].life != life || !self.is_coordinator_awake(to, again) {
            return;
        }
        let ends = |sent| leads_until(Time(sent), Span(TTL));
        let process = &mut self.coordinators.0[to];
        let event = match response {
            Response::Elected { term, sent } => {
                process.term = Some(term);
                CoordinatorEvent::ElectionWon { term, until: ends(sent) }
            }
            Response::Kept { term, sent } if process.term == Some(term) => {
                CoordinatorEvent::LeaseKept { until: ends(sent) }
            }
            Response::Lost { term } if process.term == Some(term) => {
                process.term = None;
                CoordinatorEvent::ElectionLost
            }
            Response::Kept { .. } | Response::Lost { .. } => return,
            Response::Loaded { request, plan } => {
                CoordinatorEvent::PlanLoaded { request, plan: plan.map(|plan| (*plan).clone()) }
            }
            Response::LoadFailed { request } => CoordinatorEvent::LoadFailed { request },
            Response::Committed { request } => CoordinatorEvent::CommitSucceeded { request },
            Response::Conflict { request } => CoordinatorEvent::CommitConflict { request },
            Response::CommitFailed { request } => CoordinatorEvent::CommitFailed { request },
        };
        self.tell_coordinator(to, event);
    }
}
