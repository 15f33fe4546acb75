//! The node's control loop as a state machine: `handle(event, now)` gives what the shell is to do.
//!
//! It keeps the session with the leader, its own lease and the state of each partition, and decides alone whether the node may act
//! as owner: `may_commit`. The time is the node's own monotonic clock. A lease that ended ends the incarnation: everything is
//! abandoned, and the node comes back as the next one, which is granted what it had only with a fence before it.

mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use session::Session;

use crate::fleet::Release;
use crate::id::{Incarnation, Partition, PlanVersion, ProducerName, Sequence, StreamId, Term};
use crate::lease::Timing;
use crate::message::{HoldState, Holding, NodeInfo, Position, Refusal, Register, Report, StageLoad};
use crate::plan::Plan;
use crate::quota::Stage;
use crate::reconcile::{Gate, ReleaseReason, Split, Stale, Step, erasures, reconcile};
use crate::time::{Span, Time};

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The lease.
    pub timing: Timing,
    /// What the node is.
    pub info: NodeInfo,
    /// How long it waits for a connection, a welcome or an acknowledgement, before it looks for another coordinator.
    pub patience: Span,
    /// How long it waits before it tries again, at first and at most.
    pub retry: (Span, Span),
    /// How long it may take to leave.
    pub drain: Span,
}

impl Config {
    /// The defaults for a node.
    pub fn new(info: NodeInfo) -> Self {
        let retry = (Span(100), Span(500));
        Self { timing: Timing::default(), info, patience: Span(2000), retry, drain: Span(8000) }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The connection that was asked for is there.
    Connected,
    /// There is no connection (any more).
    ConnectionLost,
    /// A leader has taken the node in, with the report of this number.
    Welcome {
        /// Whom it means.
        to: ProducerName,
        /// The leader's term.
        term: Term,
        /// The number of the report that came with the registration.
        sequence: Sequence,
    },
    /// The leader has heard the report of this number.
    Acknowledged {
        /// Whom it means.
        to: ProducerName,
        /// The leader's term.
        term: Term,
        /// The number of the report.
        sequence: Sequence,
    },
    /// A coordinator does not take what the node said.
    Refused {
        /// Whom it means.
        to: ProducerName,
        /// Why.
        why: Refusal,
        /// Whether it has said who leads.
        led: bool,
    },
    /// A plan came: the whole, or the part of it that names the node.
    Planned {
        /// Whom it means: the part for another incarnation says nothing of this one.
        to: ProducerName,
        /// The plan.
        plan: Plan,
    },
    /// Those before it are fenced, the progress is read, and the partition runs.
    Started {
        /// For which incarnation.
        who: ProducerName,
        /// Which.
        partition: Partition,
    },
    /// Everything that was begun is committed or given up, and nothing of the partition runs.
    Released {
        /// For which incarnation.
        who: ProducerName,
        /// Which.
        partition: Partition,
    },
    /// Nothing of a replay is left.
    Erased {
        /// For which incarnation.
        who: ProducerName,
        /// Which.
        stream: StreamId,
        /// The version of the plan that asked for it.
        since: PlanVersion,
    },
    /// Kafka has refused the producer, since another node has fenced it: somebody has given this incarnation up.
    Fenced {
        /// Of which incarnation.
        who: ProducerName,
    },
    /// The shell has measured: how far partitions are, and what the stages carry.
    Measured {
        /// How far they are.
        positions: BTreeMap<Partition, Position>,
        /// Loads.
        stages: BTreeMap<Stage, StageLoad>,
    },
    /// The process is to end (SIGTERM).
    Terminate,
    /// Time passes. At least ten times a second.
    Tick,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect to the leader, or to who may know it: another one with each attempt.
    Connect {
        /// The number of the attempt since the last welcome.
        attempt: u32,
    },
    /// Give the connection up.
    Disconnect,
    /// Send this.
    Register(Register),
    /// Send this.
    Report(Report),
    /// Send this.
    Released(Release),
    /// Send this: the node has stopped for good.
    Left(Report),
    /// Do this, for this incarnation.
    Do(ProducerName, Step),
    /// Stop all partitions of this incarnation at once, without another commit.
    Abandon(ProducerName),
    /// Open a producer of this name: the former one is not used any more.
    Become(ProducerName),
    /// Say that this was not listened to.
    Ignored(Stale),
    /// End the process.
    Exit,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    config: Config,
    me: ProducerName,
    /// The incarnation before this one, which this process has seen to its end.
    ended: Option<Incarnation>,
    gate: Gate,
    session: Session,
    sequence: Sequence,
    /// When the reports were sent that were not acknowledged yet.
    sent: BTreeMap<Sequence, Time>,
    /// Until when it may act as owner.
    lease: Option<Time>,
    /// Before it has a lease: from when on a leader that has heard its first registration may have given it up again. That others refused
    /// it says nothing about that one, and a later registration makes nothing of it undone: the incarnation ends.
    in_doubt: Option<Time>,
    desired: Option<Plan>,
    holds: BTreeMap<Partition, HoldState>,
    positions: BTreeMap<Partition, Position>,
    stages: BTreeMap<Stage, StageLoad>,
    split: Split,
    /// Replays that it erases or has erased, as long as the plan wants it: which version of it first did, and whether it is done.
    erasures: BTreeMap<StreamId, (PlanVersion, bool)>,
    /// When it is out at the latest, once it is on its way.
    leaving: Option<Time>,
    has_exited: bool,
    has_news: bool,
    reported: Time,
}

impl Node {
    /// A node at its start. The incarnation is greater than any that this name has had, such as the wall clock in milliseconds. `ended`: up
    /// to which incarnation the caller knows that all have ended, as one does who holds the node's lock file.
    pub fn new(config: Config, me: ProducerName, ended: Option<Incarnation>) -> Self {
        let (gate, session, sequence, sent, holds) = Default::default();
        let (positions, stages, split, erasures, reported) = Default::default();
        let (lease, in_doubt, desired, leaving) = (None, None, None, None);
        let (has_exited, has_news) = (false, false);
        #[rustfmt::skip]
        let node = Self { config, me, ended, gate, session, sequence, sent, lease, in_doubt, desired, holds, positions, stages,
            split, erasures, leaving, has_exited, has_news, reported };
        node
    }

    /// Who it is now.
    pub fn me(&self) -> &ProducerName {
        &self.me
    }

    /// What it listens to.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// What it has not let go of.
    pub fn holds(&self) -> &BTreeMap<Partition, HoldState> {
        &self.holds
    }

    /// Until when it may act as owner, as things stand.
    pub fn lease(&self) -> Option<Time> {
        self.lease
    }

    /// Whether it may commit results and progress of a partition now: asked right before each commit. Kafka's fence stops a commit that was
    /// on its way when the answer changed.
    pub fn may_commit(&self, partition: &Partition, now: Time) -> bool {
        let has_lease = self.lease.is_some_and(|until| now < until);
        let runs = matches!(self.holds.get(partition), Some(HoldState::Running | HoldState::Releasing));
        has_lease && runs && !self.has_exited
    }

    /// Takes an event in.
    pub fn handle(&mut self, event: Event, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.has_exited {
            return actions;
        }
        if self.lease.or(self.in_doubt).is_some_and(|until| now >= until) {
            self.end_incarnation(now, &mut actions);
        }
        if self.has_exited {
            return actions;
        }
        match event {
            Event::Planned { to, plan } if to == self.me => self.plan(plan, &mut actions),
            Event::Started { who, partition } if who == self.me => self.started(partition),
            Event::Released { who, partition } if who == self.me => self.released(partition, &mut actions),
            Event::Fenced { who } if who == self.me => self.end_incarnation(now, &mut actions),
            Event::Erased { who, stream, since } if who == self.me => self.erased(&stream, since),
            Event::Planned { .. } | Event::Started { .. } | Event::Released { .. } => {}
            Event::Erased { .. } | Event::Fenced { .. } => {}
            Event::Measured { positions, stages } => {
                self.positions
                    .extend(positions.into_iter().filter(|(partition, _)| self.holds.contains_key(partition)));
                self.stages = stages;
            }
            Event::Terminate => self.leave(now, &mut actions),
            Event::Tick => self.tick(now, &mut actions),
            event => self.talk(event, now, &mut actions),
        }
        self.exit_if_done(now, &mut actions);
        actions
    }

    fn plan(&mut self, plan: Plan, actions: &mut Vec<Action>) {
        if let Err(stale) = self.gate.admit(&plan) {
            actions.push(Action::Ignored(stale));
            return;
        }
        self.has_news |= self.desired.as_ref().map(|desired| desired.version) != Some(plan.version);
        self.desired = Some(plan);
        self.reconcile(actions);
    }

    fn reconcile(&mut self, actions: &mut Vec<Action>) {
        let Some(plan) = &self.desired else { return };
        self.erasures
            .retain(|stream, (since, _)| plan.erasures.get(stream).is_some_and(|wanted| wanted.since == *since));
        let mut steps = reconcile(&self.me, plan, &self.holds, &self.split);
        steps.extend(erasures(&self.me, plan, |stream| self.erasures.get(stream).map(|begun| begun.0)));
        for step in steps {
            match &step {
                Step::Start { .. } | Step::Erase { .. } if self.leaving.is_some() => continue,
                Step::Erase { stream, since, .. } => drop(self.erasures.insert(stream.clone(), (*since, false))),
                Step::Start { partition, .. } => drop(self.holds.insert(partition.clone(), HoldState::Starting)),
                Step::Release { partition, .. } => drop(self.holds.insert(partition.clone(), HoldState::Releasing)),
                Step::Resize { stage, quota } => drop(self.split.workers.insert(*stage, quota.workers)),
                Step::Share { streams } => self.split.shares.clone_from(streams),
            }
            self.has_news = true;
            actions.push(Action::Do(self.me.clone(), step));
        }
    }

    fn started(&mut self, partition: Partition) {
        if let Some(state @ HoldState::Starting) = self.holds.get_mut(&partition) {
            *state = HoldState::Running;
            self.has_news = true;
        }
    }

    fn erased(&mut self, stream: &StreamId, since: PlanVersion) {
        if let Some((_, is_done)) = self.erasures.get_mut(stream).filter(|wanted| wanted.0 == since) {
            *is_done = true;
            self.has_news = true;
        }
    }

    fn released(&mut self, partition: Partition, actions: &mut Vec<Action>) {
        if self.holds.remove(&partition).is_none() {
            return;
        }
        self.positions.remove(&partition);
        self.has_news = true;
        self.reconcile(actions);
        // One that is given back meanwhile is begun again at once: nobody waits for it, and that it was let go of would be taken for the
        // new hold.
        let is_held = self.holds.contains_key(&partition);
        if let Some(seen) = self.gate.version().filter(|_| self.session.is_member() && !is_held) {
            actions.push(Action::Released(Release { who: self.me.clone(), seen, partition }));
        }
    }

    fn leave(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.leaving.get_or_insert(now + self.config.drain);
        self.has_news = true;
        for (partition, state) in self.holds.iter_mut().filter(|(_, state)| **state != HoldState::Releasing) {
            *state = HoldState::Releasing;
            let step = Step::Release { partition: partition.clone(), reason: ReleaseReason::Leaving };
            actions.push(Action::Do(self.me.clone(), step));
        }
        self.report_if_due(now, actions);
    }

    fn exit_if_done(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Some(deadline) = self.leaving.filter(|_| !self.has_exited) else { return };
        if !self.holds.is_empty() && now < deadline {
            return;
        }
        if !self.holds.is_empty() {
            actions.push(Action::Abandon(self.me.clone()));
        }
        if self.session.is_member() {
            let report = self.report(now);
            actions.push(Action::Left(report));
        }
        self.has_exited = true;
        actions.push(Action::Exit);
    }

    /// Its lease has ended, or it was told so: it stops everything at once, and goes on as the next incarnation.
    fn end_incarnation(&mut self, now: Time, actions: &mut Vec<Action>) {
        actions.push(Action::Abandon(self.me.clone()));
        self.ended = Some(self.me.incarnation);
        self.me = self.me.reborn();
        (self.lease, self.in_doubt) = (None, None);
        (self.desired, self.sequence) = (None, Sequence::default());
        self.holds.clear();
        self.positions.clear();
        self.erasures.clear();
        self.sent.clear();
        if self.leaving.is_some() {
            // Without a farewell: one of the next incarnation would mean nothing, and one of this would say that all is released.
            self.has_exited = true;
            actions.push(Action::Exit);
            return;
        }
        actions.push(Action::Become(self.me.clone()));
        self.session.is_unknown(now);
        self.register_if_connected(now, actions);
    }

    fn count(&mut self, now: Time) -> Sequence {
        self.sequence = self.sequence.next();
        self.sent.retain(|_, sent| now < self.config.timing.stops_at(*sent));
        self.sequence
    }

    fn report(&mut self, now: Time) -> Report {
        let sequence = self.count(now);
        self.sent.insert(sequence, now);
        (self.reported, self.has_news) = (now, false);
        let holding = |(partition, &state): (&Partition, &HoldState)| {
            let position = self.positions.get(partition);
            let next = position.map(|position| position.next);
            let (behind, until) = position.map(|position| (position.behind, position.until)).unwrap_or_default();
            (partition.clone(), Holding { state, next, behind, until })
        };
        let holds = self.holds.iter().map(holding).collect();
        let (who, seen, stages) = (self.me.clone(), self.gate.version(), self.stages.clone());
        let erased = self.erasures.iter().filter(|(_, erasure)| erasure.1);
        let erased = erased.map(|(stream, (since, _))| (stream.clone(), *since)).collect();
        Report { who, sequence, seen, leaving: self.leaving.is_some(), holds, stages, erased }
    }
}
