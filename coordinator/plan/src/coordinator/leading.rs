//! The leader's part: it hears nodes, keeps the fleet, and commits a plan whenever the facts ask for another one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Action, Config, Event, fenced};
use crate::assign::assign;
use crate::audit::{Audit, Demise};
use crate::facts::Facts;
use crate::fleet::{Effect, Fleet, Observation};
use crate::id::{NodeId, PlanVersion, ProducerName, RequestId, StreamId, Term};
use crate::message::{Refusal, Register, Report};
use crate::orders::{OperatorCommand, Stream};
use crate::plan::Plan;
use crate::quota::{NodeQuotas, Stage};
use crate::scale::{Decision, Load, Memory, Saturated, scale};
use crate::time::{Span, Time};

/// What the leader waits for from the store.
#[derive(Debug, Clone)]
enum Store {
    /// Nothing.
    Idle,
    /// Whether a plan is committed.
    Committing { request: RequestId, plan: Arc<Plan> },
    /// The time to look up what is stored.
    Uncertain { retry: Time },
    /// What is stored.
    Loading { request: RequestId },
}

/// A leader.
#[derive(Debug, Clone)]
pub(super) struct Leading {
    pub(super) term: Term,
    pub(super) until: Time,
    /// The plan that is stored, as far as is known.
    pub(super) plan: Arc<Plan>,
    pub(super) fleet: Fleet,
    store: Store,
    /// Orders that are in no committed plan yet.
    asked: Vec<RequestId>,
    needs_plan: bool,
    /// Before this there is no other plan.
    plan_at: Time,
    /// When the plans of the last [`DWELL`] were committed; what is in older ones has rested.
    recent: VecDeque<(Time, PlanVersion)>,
    /// The newest plan that is older.
    rested: PlanVersion,
    /// When the first of those joined for whom the next plan waits.
    joining: Option<Time>,
    sent_at: Time,
    list_at: Time,
    /// When quotas are looked at next.
    scale_at: Time,
    memory: Memory,
    pub(super) saturated: Option<Saturated>,
    /// Stages that require what no node has.
    homeless: BTreeMap<Stage, BTreeSet<String>>,
}

/// How often quotas are looked at: nodes report about as often.
const SCALE: Span = Span(1000);

/// How long a partition stays where it is before its lag alone moves it again: longer than what a usual visit of LSST leaves takes.
const DWELL: Span = Span(60_000);

impl Leading {
    pub(super) fn new(term: Term, until: Time, stored: Plan, config: &Config, now: Time) -> Self {
        let mut fleet = Fleet::new(config.timing, config.topic_grace);
        fleet.apply(Observation::Loaded(stored.clone()), now);
        let (store, asked, joining) = (Store::Idle, Vec::new(), None);
        let (plan, plan_at, sent_at, list_at, scale_at) = (Arc::new(stored), now, now, now, now);
        let (needs_plan, memory, saturated, homeless) = (true, Memory::default(), None, BTreeMap::new());
        let (recent, rested) = (VecDeque::new(), plan.version);
        #[rustfmt::skip]
        let leading = Self { term, until, plan, fleet, store, asked, needs_plan, plan_at, recent, rested, joining, sent_at, list_at, scale_at,
            memory, saturated, homeless };
        leading
    }

    /// Commits the stored plan again under its own term: from then on, no earlier leader can commit.
    pub(super) fn adopt(&mut self, requests: &mut RequestId, actions: &mut Vec<Action>) {
        let violations = self.plan.check();
        if !violations.is_empty() {
            actions.push(Action::Audit(Audit::Unsound(self.plan.version, violations)));
        }
        self.commit(self.plan.adopted(self.term), requests, actions);
    }

    pub(super) fn configure(&mut self, streams: BTreeMap<StreamId, Stream>, now: Time, actions: &mut Vec<Action>) {
        let mut orders = self.fleet.orders().clone();
        if orders.configure(streams) {
            self.observe(Observation::Ordered(orders), now, actions);
            self.list_at = now;
            actions.push(Action::Audit(Audit::Configured));
        }
    }

    pub(super) fn refuse_orders(&mut self, actions: &mut Vec<Action>) {
        let asked = std::mem::take(&mut self.asked);
        actions.extend(asked.into_iter().map(|request| reply(request, Err(crate::Error::NotLeading))));
    }

    /// Takes an event in. Gives why it does not lead any more, if it does not.
    pub(super) fn handle(
        &mut self,
        event: Event,
        config: &Config,
        requests: &mut RequestId,
        now: Time,
        actions: &mut Vec<Action>,
    ) -> Option<Demise> {
        match event {
            Event::CommitConflict { request } if self.is_committing(request) => return Some(Demise::Conflict),
            Event::CommitSucceeded { request } => self.committed(request, now, actions),
            Event::CommitFailed { request } if self.is_committing(request) => {
                self.store = Store::Uncertain { retry: now + config.retry };
                actions.push(Action::Audit(Audit::Uncertain(self.plan.version.next())));
            }
            Event::LoadFailed { request } if self.is_loading(request) => {
                self.store = Store::Uncertain { retry: now + config.retry };
            }
            Event::PlanLoaded { request, plan } if self.is_loading(request) => {
                let stored = plan.unwrap_or_else(|| Plan::empty(self.term));
                if stored.term > self.term {
                    return Some(Demise::LaterTerm(stored.term));
                }
                if stored.version < self.plan.version {
                    return Some(Demise::Conflict);
                }
                self.reloaded(stored, requests, now, actions);
            }
            Event::OperatorCommand { request, command } => self.order(request, command, now, actions),
            Event::TopicsListed { cluster, topics } => {
                self.observe(Observation::TopicsListed { cluster, topics }, now, actions);
            }
            Event::Tick => self.tick(config, requests, now, actions),
            event => self.hear(event, config, now, actions),
        }
        self.replan(config, requests, now, actions);
        None
    }

    fn is_committing(&self, asked: RequestId) -> bool {
        matches!(self.store, Store::Committing { request, .. } if request == asked)
    }

    fn is_loading(&self, asked: RequestId) -> bool {
        matches!(self.store, Store::Loading { request } if request == asked)
    }

    fn observe(&mut self, observation: Observation, now: Time, actions: &mut Vec<Action>) {
        let Effect { is_news, notes } = self.fleet.apply(observation, now);
        self.needs_plan |= is_news;
        actions.extend(notes.into_iter().map(|note| Action::Audit(Audit::Fleet(note))));
    }

    /// Takes in what a node says.
    fn hear(&mut self, event: Event, config: &Config, now: Time, actions: &mut Vec<Action>) {
        match event {
            Event::Registered(register) => self.register(register, config, now, actions),
            Event::Report(report) => self.report(report, config, now, actions),
            Event::Released(release) => self.observe(Observation::Released(release), now, actions),
            Event::Left(report) => self.observe(Observation::Left(report), now, actions),
            Event::SessionClosed(who) => self.observe(Observation::SessionClosed(who), now, actions),
            _ => {}
        }
    }

    fn register(&mut self, register: Register, config: &Config, now: Time, actions: &mut Vec<Action>) {
        let (to, sequence, term) = (register.report.who.clone(), register.report.sequence, self.term);
        let in_commit = match &self.store {
            Store::Committing { plan, .. } => fenced(plan).contains(&to),
            _ => false,
        };
        let is_fenced = in_commit || fenced(&self.plan).contains(&to);
        let refusal = self.fleet.admits(&to).err().or(is_fenced.then_some(Refusal::Over));
        if let Some(why) = refusal {
            actions.push(Action::Refuse { to, why });
            return;
        }
        let is_new = self.fleet.accepts(&to).is_err();
        self.observe(Observation::Registered(register), now, actions);
        actions.push(Action::SendWelcome { to: to.clone(), term, sequence });
        self.send_plan(vec![to], actions);
        if is_new {
            let latest = *self.joining.get_or_insert(now) + config.join.1;
            self.plan_at = self.plan_at.max((now + config.join.0).min(latest));
        }
    }

    fn report(&mut self, report: Report, config: &Config, now: Time, actions: &mut Vec<Action>) {
        let (to, sequence, term) = (report.who.clone(), report.sequence, self.term);
        if let Err(why) = self.fleet.accepts(&to) {
            actions.push(Action::Refuse { to, why });
            return;
        }
        let is_behind = report.seen < Some(self.plan.version) && now.since(self.sent_at) >= config.timing.report;
        self.observe(Observation::Reported(report), now, actions);
        actions.push(Action::Acknowledge { to: to.clone(), term, sequence });
        if is_behind {
            self.send_plan(vec![to], actions);
        }
    }

    /// Sends the plan, if it is its own: one of an earlier leader is not sent before it is adopted.
    fn send_plan(&self, to: Vec<ProducerName>, actions: &mut Vec<Action>) {
        if self.plan.term == self.term && !to.is_empty() {
            actions.push(Action::SendPlan { to, plan: Arc::clone(&self.plan) });
        }
    }

    fn order(&mut self, request: RequestId, command: OperatorCommand, now: Time, actions: &mut Vec<Action>) {
        let mut orders = self.fleet.orders().clone();
        match orders.take(command.clone(), &self.fleet.nodes()) {
            Err(error) => actions.push(reply(request, Err(error))),
            Ok(_) => {
                self.observe(Observation::Ordered(orders), now, actions);
                self.needs_plan = true;
                self.list_at = now;
                self.asked.push(request);
                actions.push(Action::Audit(Audit::Ordered(command)));
            }
        }
    }

    fn tick(&mut self, config: &Config, requests: &mut RequestId, now: Time, actions: &mut Vec<Action>) {
        self.observe(Observation::Tick, now, actions);
        while let Some((_, version)) = self.recent.pop_front_if(|(at, _)| now.since(*at) >= DWELL) {
            (self.rested, self.needs_plan) = (version, true);
        }
        if now >= self.list_at {
            self.list_at = now + config.list;
            self.list(actions);
        }
        if now >= self.scale_at {
            self.scale_at = now + SCALE;
            self.scale(config, now, actions);
        }
        if matches!(self.store, Store::Uncertain { retry } if now >= retry) {
            *requests = requests.next();
            self.store = Store::Loading { request: *requests };
            actions.push(Action::LoadPlan { request: *requests });
        }
    }

    /// Looks whether the load asks for other quotas; the next plan has them.
    fn scale(&mut self, config: &Config, now: Time, actions: &mut Vec<Action>) {
        let decision = self.decide(config, now);
        let is_other = |(node, quotas): (&NodeId, &NodeQuotas)| {
            self.plan.quotas.get(node).is_none_or(|planned| !planned.gives_the_same(quotas))
        };
        if decision.quotas.iter().any(is_other) {
            self.needs_plan = true;
        } else {
            self.memory = decision.memory;
        }
        match (self.saturated, decision.saturated) {
            (None, Some(saturated)) => actions.push(Action::Audit(Audit::Saturated(saturated))),
            (Some(_), None) => actions.push(Action::Audit(Audit::Relieved)),
            _ => {}
        }
        self.saturated = decision.saturated;
        for (stage, labels) in
            decision.homeless.iter().filter(|&(stage, labels)| self.homeless.get(stage) != Some(labels))
        {
            actions.push(Action::Audit(Audit::Homeless(*stage, labels.clone())));
        }
        let housed = self.homeless.keys().filter(|stage| !decision.homeless.contains_key(stage));
        actions.extend(housed.map(|&stage| Action::Audit(Audit::Housed(stage))));
        self.homeless = decision.homeless;
    }

    fn decide(&self, config: &Config, now: Time) -> Decision {
        scale(&Load::of(&self.fleet, &self.plan, &self.memory), &config.policy, now)
    }

    fn list(&self, actions: &mut Vec<Action>) {
        let streams = &self.fleet.orders().streams;
        let clusters: BTreeSet<&String> = streams.values().map(|stream| &stream.cluster).collect();
        for cluster in clusters {
            let of_it = streams.values().filter(|stream| stream.cluster == *cluster);
            let patterns = of_it.map(|stream| stream.topics.clone()).collect();
            actions.push(Action::ListTopics { cluster: cluster.clone(), patterns });
        }
    }

    /// Commits another plan, if the facts ask for one and the time has come.
    pub(super) fn replan(&mut self, config: &Config, requests: &mut RequestId, now: Time, actions: &mut Vec<Action>) {
        if !self.needs_plan || now < self.plan_at || !matches!(self.store, Store::Idle) {
            return;
        }
        self.forget_erased(now, actions);
        (self.needs_plan, self.joining, self.plan_at) = (false, None, now + config.pace);
        let Decision { quotas, memory, .. } = self.decide(config, now);
        let next = assign(&Facts::of(&self.fleet, &quotas, self.rested), &self.plan);
        self.memory = memory;
        if next == *self.plan {
            self.reply_to_orders(actions);
        } else {
            self.commit(next, requests, actions);
        }
    }

    /// Replays of which nothing is left are streams no more.
    fn forget_erased(&mut self, now: Time, actions: &mut Vec<Action>) {
        let erased = self.fleet.erased(&self.plan);
        if !erased.is_empty() {
            let mut orders = self.fleet.orders().clone();
            for id in &erased {
                orders.erased(id);
                self.fleet.forget_stream(id);
            }
            self.observe(Observation::Ordered(orders), now, actions);
        }
    }

    fn commit(&mut self, plan: Plan, requests: &mut RequestId, actions: &mut Vec<Action>) {
        *requests = requests.next();
        let (request, plan) = (*requests, Arc::new(plan));
        self.store = Store::Committing { request, plan: Arc::clone(&plan) };
        let expected = Some(self.plan.version).filter(|version| version.0 > 0);
        actions.push(Action::CommitPlan { request, expected, plan });
    }

    fn committed(&mut self, request: RequestId, now: Time, actions: &mut Vec<Action>) {
        match std::mem::replace(&mut self.store, Store::Idle) {
            Store::Committing { request: asked, plan } if asked == request => self.stands(plan, now, actions),
            other => self.store = other,
        }
    }

    /// What is stored was looked up, after a commit with an unknown end.
    fn reloaded(&mut self, stored: Plan, requests: &mut RequestId, now: Time, actions: &mut Vec<Action>) {
        self.store = Store::Idle;
        self.needs_plan = true;
        if stored.term < self.term {
            self.plan = Arc::new(stored);
            self.adopt(requests, actions);
        } else if stored.version > self.plan.version {
            self.stands(Arc::new(stored), now, actions);
        }
    }

    /// A plan of this leader is committed: it is sent to all.
    fn stands(&mut self, plan: Arc<Plan>, now: Time, actions: &mut Vec<Action>) {
        let changes = self.plan.diff(&plan);
        actions.push(Action::Audit(Audit::Committed(plan.version, changes)));
        (self.plan, self.sent_at) = (plan, now);
        self.recent.push_back((now, self.plan.version));
        self.fleet.forget(&self.plan);
        let members = self.fleet.members().iter().filter(|(_, member)| member.connected && !member.standing.is_over());
        self.send_plan(members.map(|(who, _)| who.clone()).collect(), actions);
        self.reply_to_orders(actions);
    }

    /// Answers the operators whose orders are in the committed plan: all, or none if there are newer ones.
    fn reply_to_orders(&mut self, actions: &mut Vec<Action>) {
        if self.plan.orders == *self.fleet.orders() {
            let asked = std::mem::take(&mut self.asked);
            actions.extend(asked.into_iter().map(|request| reply(request, Ok(()))));
        } else {
            self.needs_plan = true;
        }
    }
}

fn reply(request: RequestId, result: Result<(), crate::Error>) -> Action {
    Action::Reply { request, result }
}
