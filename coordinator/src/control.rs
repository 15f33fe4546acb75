//! The control loop: one task that owns the state machine of boom-plan, hands it what happens, and carries out what it says. No decisions.
//!
//! Nothing here waits for anybody but for the next thing to happen: what the store, Kafka and the election have to say comes back as an
//! event, and what nodes are told waits in the outbox of their session.

mod handle;
pub(crate) mod outbox;
pub(crate) mod sessions;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use boom_plan::audit::Audit;
use boom_plan::coordinator::{Action, Coordinator, Event};
use boom_plan::fleet::LiveTopic;
use boom_plan::id::{ProducerName, RequestId, StreamId, Term};
use boom_plan::message::Refusal;
use boom_plan::orders::Stream;
use boom_plan::time::Time;
use boom_proto::control;
use boom_proto::node::FromNode;
use boom_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use handle::{Answer, Input};
pub use handle::{Control, Host, View};
use outbox::Message;
use sessions::{SessionId, Sessions};
use standing::Standing;

use crate::Error;
use crate::election::Election;
use crate::events::{EventLog, unix_ms};
use crate::leader::Leaders;
use crate::metrics::Counters;
use crate::store::{self, Candidate, Store};
use crate::topics::Topics;

/// How often time passes for the state machine.
const TICK: Duration = Duration::from_millis(50);

/// So many inputs may wait; who brings more waits with them.
const INPUTS: usize = 1024;

/// How long giving up the leadership may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the control loop works with.
#[derive(Debug)]
pub struct Shell<S, T> {
    /// The election and the plan's store.
    pub store: Arc<S>,
    /// The topic lists.
    pub topics: Arc<T>,
    /// Who this is.
    pub me: Candidate,
    /// Who leads, as far as is known.
    pub leaders: Leaders,
    /// Where audits go.
    pub events: Arc<EventLog>,
    /// What is counted.
    pub counters: Arc<Counters>,
}

/// What a task of the loop has come back with.
enum Done {
    Event(Event),
    Refused { request: RequestId, why: String },
    Listed { cluster: String, topics: Option<Vec<LiveTopic>> },
}

/// The monotonic clock of this process, as the state machine counts.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn at(self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.0);
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn now(self) -> Time {
        self.at(Instant::now())
    }
}

struct Loop<S: Store, T> {
    shell: Shell<S, T>,
    machine: Coordinator,
    clock: Clock,
    standing: Standing<S>,
    /// The newest term in which it was told that it leads.
    elected: Option<Term>,
    sessions: Sessions,
    hosts: BTreeMap<ProducerName, Host>,
    /// Operators that wait, and the number of the last.
    waiting: BTreeMap<RequestId, Answer>,
    asked: RequestId,
    tasks: JoinSet<Done>,
    listing: BTreeSet<String>,
    /// Whether the plan that is wanted can not be stored, which was said then.
    is_stuck: bool,
    /// The term in which it leads, for all to see.
    term: watch::Sender<Option<Term>>,
}

/// The control loop with the streams of the configuration: its handle, and the future that runs it until `stop`, or until it can not go on.
pub fn control<S: Store, T: Topics>(
    shell: Shell<S, T>,
    config: boom_plan::coordinator::Config,
    streams: BTreeMap<StreamId, Stream>,
    stop: CancellationToken,
) -> (Control, impl Future<Output = Result<(), Error>> + Send) {
    let (tell, inputs) = mpsc::channel(INPUTS);
    let (term, leads) = watch::channel(None);
    let run = async move {
        let (elected, asked, listing, is_stuck) = Default::default();
        let (sessions, hosts, waiting) = Default::default();
        let standing = Standing::stand(&shell.store, &shell.me);
        let (clock, machine, tasks) = (Clock(Instant::now()), Coordinator::new(config), JoinSet::new());
        #[rustfmt::skip]
        let mut control = Loop { shell, machine, clock, standing, elected, sessions, hosts, waiting, asked, tasks, listing, is_stuck, term };
        control.happen(Event::StreamsChanged(streams), None);
        let outcome = control.run(inputs, &stop).await;
        control.leave().await;
        outcome
    };
    (Control::new(tell, leads), run)
}

impl<S: Store, T: Topics> Loop<S, T> {
    async fn run(&mut self, mut inputs: mpsc::Receiver<Input>, stop: &CancellationToken) -> Result<(), Error> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                election = self.standing.changed() => self.election(election),
                _ = tick.tick() => self.happen(Event::Tick, None),
                Some(done) = self.tasks.join_next() => {
                    self.done(done.map_err(|error| Error::Task { what: "a task of the control loop", why: error.to_string() })?);
                }
                Some(input) = inputs.recv() => self.take(input),
            }
        }
    }

    /// The process ends: whoever comes next can lead at once.
    async fn leave(mut self) {
        self.happen(Event::ElectionLost, None);
        self.end_sessions();
        if timeout(FAREWELL, self.standing.resign()).await.is_err() {
            warn!("the leadership could not be given up in {FAREWELL:?}: it ends with its lease");
        }
    }

    fn election(&mut self, election: Election) {
        let event = match election {
            Election::Following => Event::ElectionLost,
            Election::Leading { term, until } => {
                let until = self.clock.at(until);
                if self.elected.replace(term) == Some(term) {
                    Event::LeaseKept { until }
                } else {
                    Event::ElectionWon { term, until }
                }
            }
        };
        self.happen(event, None);
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Event(event) => self.happen(event, None),
            Done::Refused { request, why } => {
                self.complain(why);
                self.happen(Event::CommitFailed { request }, None);
            }
            Done::Listed { cluster, topics } => {
                self.listing.remove(&cluster);
                if let Some(topics) = topics {
                    self.happen(Event::TopicsListed { cluster, topics }, None);
                }
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Opened { session, outbox } => self.sessions.open(session, outbox),
            Input::Closed { session } => {
                if let Some(who) = self.sessions.end(session) {
                    self.happen(Event::SessionClosed(who), None);
                }
            }
            Input::Said { session, message, host } if self.sessions.is_open(session) => {
                self.hear(session, message, host);
            }
            Input::Said { .. } => {}
            Input::Order { command, answer } => {
                self.asked = self.asked.next();
                self.waiting.insert(self.asked, answer);
                self.happen(Event::OperatorCommand { request: self.asked, command }, None);
            }
            Input::Look(answer) => drop(answer.send(self.view())),
        }
    }

    fn hear(&mut self, session: SessionId, message: FromNode, host: Option<Host>) {
        let who = match &message {
            FromNode::Register(register) => &register.report.who,
            FromNode::Report(report) | FromNode::Left(report) => &report.who,
            FromNode::Released(release) => &release.who,
        };
        if let FromNode::Register(_) = &message {
            self.sessions.register(session, who);
        }
        let who = who.clone();
        self.happen(message.into(), Some(session));
        let is_member = self.machine.fleet().is_some_and(|fleet| fleet.members().contains_key(&who));
        if let Some(host) = host.filter(|_| is_member) {
            let known = self.hosts.entry(who).or_default();
            *known = host.after(std::mem::take(known));
        }
    }

    /// Something happened; `session` is where the answer goes, if it came over one.
    fn happen(&mut self, event: Event, session: Option<SessionId>) {
        let actions = self.machine.handle(event, self.clock.now());
        for action in actions {
            self.carry_out(action, session);
        }
        let term = self.machine.plan().and(self.machine.term());
        self.term.send_if_modified(|told| std::mem::replace(told, term) != term);
    }

    fn carry_out(&mut self, action: Action, session: Option<SessionId>) {
        match action {
            Action::LoadPlan { request } => self.load(request),
            Action::CommitPlan { request, expected, plan } => {
                let store = Arc::clone(&self.shell.store);
                self.tasks.spawn(async move { committed(request, store.commit(&plan, expected).await) });
            }
            Action::SendPlan { to, plan } => {
                for to in to {
                    self.tell(None, &to.clone(), Message::Planned { to, plan: Arc::clone(&plan) });
                }
            }
            Action::SendWelcome { to, term, sequence } => {
                self.tell(session, &to.clone(), Message::Welcome { to, term, sequence });
            }
            Action::Acknowledge { to, term, sequence } => {
                self.tell(session, &to.clone(), Message::Acknowledged { to, term, sequence });
            }
            Action::Refuse { to, why } => self.refuse(session, to, why),
            Action::ListTopics { cluster, patterns } => {
                if self.listing.insert(cluster.clone()) {
                    let topics = Arc::clone(&self.shell.topics);
                    self.tasks.spawn(async move {
                        let listed = topics.list(&cluster, &patterns).await;
                        Done::Listed { cluster, topics: listed }
                    });
                }
            }
            Action::Reply { request, result } => {
                let version = self.machine.plan().map(|plan| plan.version).unwrap_or_default();
                if let Some(answer) = self.waiting.remove(&request) {
                    // Who asked may have gone.
                    drop(answer.send(result.map(|()| version)));
                }
            }
            Action::Audit(audit) => self.audit(&audit),
            Action::StepDown => self.step_down(),
        }
    }

    fn tell(&self, session: Option<SessionId>, to: &ProducerName, message: Message) {
        if let Some(session) = session.or_else(|| self.sessions.of(to)) {
            self.sessions.tell(session, message);
        }
    }

    fn not_leading(&self, to: ProducerName) -> Message {
        Message::Refused { to, why: Refusal::NotLeading, leader: self.shell.leaders.other() }
    }

    fn end_sessions(&mut self) {
        let leader = self.shell.leaders.other();
        let farewell = |to| Message::Refused { to, why: Refusal::NotLeading, leader: leader.clone() };
        self.sessions.end_all(farewell);
    }

    /// Says why, and ends the session of whom this coordinator has nothing more to say to.
    fn refuse(&mut self, session: Option<SessionId>, to: ProducerName, why: Refusal) {
        let Some(session) = session.or_else(|| self.sessions.of(&to)) else { return };
        self.shell.counters.refused(why);
        match why {
            Refusal::NotLeading => self.sessions.tell(session, self.not_leading(to)),
            _ => self.sessions.tell(session, Message::Refused { to, why, leader: None }),
        }
        if matches!(why, Refusal::NotLeading | Refusal::Superseded)
            && let Some(who) = self.sessions.end(session)
        {
            self.happen(Event::SessionClosed(who), None);
        }
    }

    fn load(&mut self, request: RequestId) {
        let store = Arc::clone(&self.shell.store);
        self.tasks.spawn(async move {
            Done::Event(match store.load().await {
                Ok(plan) => Event::PlanLoaded { request, plan },
                Err(error) => {
                    warn!(%error, "asking again");
                    Event::LoadFailed { request }
                }
            })
        });
    }

    fn step_down(&mut self) {
        self.end_sessions();
        self.hosts.clear();
        self.standing.again(&self.shell.store, &self.shell.me);
    }

    fn audit(&mut self, audit: &Audit) {
        let term = match audit {
            Audit::Elected(term) | Audit::SteppedDown(term, _) => Some(*term),
            _ => self.machine.term().or(self.elected),
        };
        match audit {
            // It is known, and was said.
            Audit::Uncertain(_) if self.is_stuck => return,
            Audit::Committed(..) => {
                self.is_stuck = false;
                let fleet = self.machine.fleet();
                self.hosts.retain(|who, _| fleet.is_some_and(|fleet| fleet.members().contains_key(who)));
            }
            _ => {}
        }
        self.keep(control::event(audit, term.unwrap_or_default(), unix_ms()));
    }

    /// A plan can not be stored, and no other attempt will change that: said once, until one is.
    fn complain(&mut self, why: String) {
        if !std::mem::replace(&mut self.is_stuck, true) {
            let (term, kind) = (self.elected.unwrap_or_default().0, v1::EventKind::Unsound.into());
            self.keep(v1::Event { time_unix_ms: unix_ms(), term, kind, text: why, plan_version: None });
        }
    }

    fn keep(&self, event: v1::Event) {
        self.shell.counters.event(event.kind());
        match event.kind() {
            v1::EventKind::Unsound | v1::EventKind::Uncertain => warn!(term = event.term, "{}", event.text),
            _ => info!(term = event.term, "{}", event.text),
        }
        self.shell.events.push(event);
    }

    fn view(&self) -> Option<Box<View>> {
        let (plan, fleet) = (self.machine.plan()?.clone(), self.machine.fleet()?.clone());
        let (term, now, hosts) = (self.machine.term()?, self.clock.now(), self.hosts.clone());
        Some(Box::new(View { term, now, plan, fleet, saturated: self.machine.saturated(), hosts }))
    }
}

/// What an attempt to store a plan means.
fn committed(request: RequestId, outcome: Result<(), store::Error>) -> Done {
    match outcome {
        Ok(()) => Done::Event(Event::CommitSucceeded { request }),
        Err(error) if error.is_refusal() => {
            warn!(%error, "another coordinator leads");
            Done::Event(Event::CommitConflict { request })
        }
        Err(error @ store::Error::TooLarge { .. }) => Done::Refused { request, why: error.to_string() },
        Err(error) => {
            warn!(%error, "looking up whether the plan is stored");
            Done::Event(Event::CommitFailed { request })
        }
    }
}
