//! The coordinator's control loop as a state machine: `handle(event, now)` gives what the shell is to do.
//!
//! A coordinator follows, loads the stored plan as the new leader, or leads. It leads only while its own lease certainly lasts, on its own
//! clock; everything that is stored goes through a compare-and-swap on the leader's key and the plan's version. What the loop decides is
//! in `assign`; here is only when.

mod leading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leading::Leading;

use crate::Error;
use crate::audit::{Audit, Demise};
use crate::fleet::{Fleet, LiveTopic, Release};
use crate::id::{PlanVersion, ProducerName, RequestId, Sequence, StreamId, Term};
use crate::lease::Timing;
use crate::message::{Refusal, Register, Report};
use crate::orders::{OperatorCommand, Stream};
use crate::plan::Plan;
use crate::scale::{Policy, Saturated};
use crate::time::{Span, Time};
use crate::topics::TopicPattern;

/// What a coordinator is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The leases of nodes.
    pub timing: Timing,
    /// How quotas follow the load.
    pub policy: Policy,
    /// How often Kafka is asked which topics there are.
    pub list: Span,
    /// A topic is gone when no listing had it for so long.
    pub topic_grace: Span,
    /// At least so much time is between two plans.
    pub pace: Span,
    /// How long the next plan waits after a node has joined, for others that join, and how long at most.
    pub join: (Span, Span),
    /// How long it waits before it asks the store again.
    pub retry: Span,
}

impl Default for Config {
    fn default() -> Self {
        let (timing, policy) = Default::default();
        let (list, topic_grace, join) = (Span(5_000), Span(15_000), (Span(300), Span(1_000)));
        Self { timing, policy, list, topic_grace, pace: Span(100), join, retry: Span(500) }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// This coordinator was elected.
    ElectionWon {
        /// The create-revision of its key.
        term: Term,
        /// Until when its lease certainly lasts (see `lease::leads_until`).
        until: Time,
    },
    /// The election's lease was kept alive.
    LeaseKept {
        /// Until when it certainly lasts now.
        until: Time,
    },
    /// This coordinator does not lead (any more).
    ElectionLost,
    /// The plan that is stored, if there is one.
    PlanLoaded {
        /// The request that this answers.
        request: RequestId,
        /// The plan.
        plan: Option<Plan>,
    },
    /// The stored plan could not be had.
    LoadFailed {
        /// The request that this answers.
        request: RequestId,
    },
    /// The plan is stored.
    CommitSucceeded {
        /// The request that this answers.
        request: RequestId,
    },
    /// The plan is not stored and never will be: the leader's key or the stored version is another one.
    CommitConflict {
        /// The request that this answers.
        request: RequestId,
    },
    /// Whether the plan is stored is not known.
    CommitFailed {
        /// The request that this answers.
        request: RequestId,
    },
    /// A node registers.
    Registered(Register),
    /// A node reports.
    Report(Report),
    /// A node has let go of a partition.
    Released(Release),
    /// A node has stopped for good.
    Left(Report),
    /// A session has ended; the node may live.
    SessionClosed(ProducerName),
    /// What a Kafka cluster has.
    TopicsListed {
        /// The cluster.
        cluster: String,
        /// Its topics that belong to our streams.
        topics: Vec<LiveTopic>,
    },
    /// The streams of the configuration.
    StreamsChanged(BTreeMap<StreamId, Stream>),
    /// An order of an operator.
    OperatorCommand {
        /// The answer carries it.
        request: RequestId,
        /// The order.
        command: OperatorCommand,
    },
    /// Time passes. At least ten times a second.
    Tick,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the stored plan.
    LoadPlan {
        /// The answer carries it.
        request: RequestId,
    },
    /// Store the plan, in one transaction, if the leader's key has the plan's term as its create-revision and the stored plan has the
    /// expected version.
    CommitPlan {
        /// The answer carries it.
        request: RequestId,
        /// The version that must be stored; none if there must be no plan.
        expected: Option<PlanVersion>,
        /// The plan.
        plan: Arc<Plan>,
    },
    /// Send the committed plan to these nodes: to each the whole, or its part (`Plan::part_of`).
    SendPlan {
        /// Whom.
        to: Vec<ProducerName>,
        /// What.
        plan: Arc<Plan>,
    },
    /// Take a node in.
    SendWelcome {
        /// Whom.
        to: ProducerName,
        /// The leader's term.
        term: Term,
        /// The report that came with the registration.
        sequence: Sequence,
    },
    /// Acknowledge a report: the node's lease lasts from when it was sent.
    Acknowledge {
        /// Whose.
        to: ProducerName,
        /// The leader's term.
        term: Term,
        /// Which.
        sequence: Sequence,
    },
    /// Refuse what a node says.
    Refuse {
        /// Whom.
        to: ProducerName,
        /// Why.
        why: Refusal,
    },
    /// List the topics of a Kafka cluster that match, with the ends of their partitions.
    ListTopics {
        /// The cluster.
        cluster: String,
        /// What to look for.
        patterns: Vec<TopicPattern>,
    },
    /// Answer an operator: the order is part of the committed plan, or can not be carried out.
    Reply {
        /// Which order.
        request: RequestId,
        /// What came of it.
        result: Result<(), Error>,
    },
    /// Keep this where people can look it up.
    Audit(Audit),
    /// Stop to lead: give up the lease, close the sessions of nodes, then stand for election again.
    StepDown,
}

#[derive(Debug, Clone)]
enum Role {
    Following,
    Loading { term: Term, until: Time, request: Option<RequestId>, retry: Time },
    Leading(Box<Leading>),
}

/// A coordinator.
#[derive(Debug, Clone)]
pub struct Coordinator {
    config: Config,
    configured: BTreeMap<StreamId, Stream>,
    requests: RequestId,
    role: Role,
}

impl Coordinator {
    /// A coordinator that follows.
    pub fn new(config: Config) -> Self {
        Self { config, configured: BTreeMap::new(), requests: RequestId::default(), role: Role::Following }
    }

    /// The term in which it leads, if it does.
    pub fn term(&self) -> Option<Term> {
        match &self.role {
            Role::Following => None,
            Role::Loading { term, .. } => Some(*term),
            Role::Leading(leading) => Some(leading.term),
        }
    }

    /// The plan that stands, as far as it leads and knows it.
    pub fn plan(&self) -> Option<&Plan> {
        if let Role::Leading(leading) = &self.role { Some(&leading.plan) } else { None }
    }

    /// What the whole fleet has too little of, as far as it leads.
    pub fn saturated(&self) -> Option<Saturated> {
        if let Role::Leading(leading) = &self.role { leading.saturated } else { None }
    }

    /// The fleet, as far as it leads.
    pub fn fleet(&self) -> Option<&Fleet> {
        if let Role::Leading(leading) = &self.role { Some(&leading.fleet) } else { None }
    }

    /// Takes an event in.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        let until = match &self.role {
            Role::Following => None,
            Role::Loading { until, .. } => Some(*until),
            Role::Leading(leading) => Some(leading.until),
        };
        let is_election = matches!(event, Event::ElectionWon { .. } | Event::ElectionLost);
        if until.is_some_and(|until| now >= until) && !is_election {
            self.step_down(Demise::LeaseEnded, &mut actions);
        }
        match event {
            Event::ElectionWon { term, until } => self.won(term, until, now, &mut actions),
            Event::ElectionLost => self.step_down(Demise::Lost, &mut actions),
            Event::LeaseKept { until } => self.keep(until),
            Event::StreamsChanged(streams) => self.configure(streams, now, &mut actions),
            event => self.lead(event, now, &mut actions),
        }
        actions
    }

    fn won(&mut self, term: Term, until: Time, now: Time, actions: &mut Vec<Action>) {
        if let Role::Leading(leading) = &mut self.role {
            leading.refuse_orders(actions);
        }
        let request = self.request();
        self.role = Role::Loading { term, until, request: Some(request), retry: now };
        actions.extend([Action::Audit(Audit::Elected(term)), Action::LoadPlan { request }]);
    }

    fn keep(&mut self, kept: Time) {
        match &mut self.role {
            Role::Following => {}
            Role::Loading { until, .. } => *until = kept.max(*until),
            Role::Leading(leading) => leading.until = kept.max(leading.until),
        }
    }

    fn step_down(&mut self, why: Demise, actions: &mut Vec<Action>) {
        let Some(term) = self.term() else { return };
        if let Role::Leading(leading) = &mut self.role {
            leading.refuse_orders(actions);
        }
        self.role = Role::Following;
        actions.extend([Action::Audit(Audit::SteppedDown(term, why)), Action::StepDown]);
    }

    fn configure(&mut self, streams: BTreeMap<StreamId, Stream>, now: Time, actions: &mut Vec<Action>) {
        self.configured = streams;
        if let Role::Leading(leading) = &mut self.role {
            leading.configure(self.configured.clone(), now, actions);
            leading.replan(&self.config, &mut self.requests, now, actions);
        }
    }

    fn request(&mut self) -> RequestId {
        self.requests = self.requests.next();
        self.requests
    }

    fn lead(&mut self, event: Event, now: Time, actions: &mut Vec<Action>) {
        match &mut self.role {
            Role::Leading(leading) => {
                let demise = leading.handle(event, &self.config, &mut self.requests, now, actions);
                if let Some(why) = demise {
                    self.step_down(why, actions);
                }
            }
            Role::Loading { .. } => self.load(event, now, actions),
            Role::Following => decline(event, actions),
        }
    }

    /// A new leader waits for the stored plan.
    fn load(&mut self, event: Event, now: Time, actions: &mut Vec<Action>) {
        let Role::Loading { term, until, request, retry } = &mut self.role else { return };
        match event {
            Event::PlanLoaded { request: answered, plan } if *request == Some(answered) => {
                let stored = plan.unwrap_or_else(|| Plan::empty(*term));
                if stored.term > *term {
                    let later = Demise::LaterTerm(stored.term);
                    return self.step_down(later, actions);
                }
                let mut leading = Leading::new(*term, *until, stored, &self.config, now);
                leading.configure(self.configured.clone(), now, actions);
                leading.adopt(&mut self.requests, actions);
                self.role = Role::Leading(Box::new(leading));
            }
            Event::LoadFailed { request: answered } if *request == Some(answered) => {
                (*request, *retry) = (None, now + self.config.retry);
            }
            Event::Tick if request.is_none() && now >= *retry => {
                self.requests = self.requests.next();
                *request = Some(self.requests);
                actions.push(Action::LoadPlan { request: self.requests });
            }
            event => decline(event, actions),
        }
    }
}

/// What a coordinator says that does not lead.
fn decline(event: Event, actions: &mut Vec<Action>) {
    let refuse = |to| Action::Refuse { to, why: Refusal::NotLeading };
    match event {
        Event::Registered(register) => actions.push(refuse(register.report.who)),
        Event::Report(report) => actions.push(refuse(report.who)),
        Event::OperatorCommand { request, .. } => {
            actions.push(Action::Reply { request, result: Err(Error::NotLeading) });
        }
        _ => {}
    }
}

/// Whom a plan has fenced, or will have: such an incarnation is over.
fn fenced(plan: &Plan) -> BTreeSet<&ProducerName> {
    plan.owners.values().flat_map(|entry| &entry.fence).collect()
}
