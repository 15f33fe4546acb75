//! The node's session with the leader: finding one, registering, reporting, and the lease that the answers give.

use super::{Action, Event, Node};
use crate::id::{Sequence, Term};
use crate::message::{Refusal, Register};
use crate::time::{Span, Time};

/// Where the node stands with the coordinators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// No connection, until it tries again.
    Apart {
        /// When it tries again.
        retry: Time,
        /// How often it has tried since the last welcome.
        attempt: u32,
    },
    /// It has asked for a connection.
    Connecting {
        /// When.
        since: Time,
        /// How often it has tried.
        attempt: u32,
    },
    /// It has registered.
    Registering {
        /// When.
        since: Time,
        /// How often it has tried.
        attempt: u32,
    },
    /// A leader has taken it in, and last acknowledged a report at this time.
    Member {
        /// When.
        answered: Time,
    },
}

impl Default for Session {
    fn default() -> Self {
        Self::Apart { retry: Time(0), attempt: 0 }
    }
}

impl Session {
    pub(super) fn is_member(self) -> bool {
        matches!(self, Self::Member { .. })
    }

    /// The leader does not know who the node is now: a member has to register.
    pub(super) fn is_unknown(&mut self, now: Time) {
        if self.is_member() {
            *self = Self::Registering { since: now, attempt: 0 };
        }
    }

    /// A leader has answered the registration.
    fn welcomed(&mut self, counts: bool, now: Time) {
        if counts && matches!(self, Self::Registering { .. }) {
            *self = Self::Member { answered: now };
        }
    }

    fn attempt(self) -> u32 {
        match self {
            Self::Apart { attempt, .. } | Self::Connecting { attempt, .. } | Self::Registering { attempt, .. } => {
                attempt
            }
            Self::Member { .. } => 0,
        }
    }
}

impl Node {
    pub(super) fn talk(&mut self, event: Event, now: Time, actions: &mut Vec<Action>) {
        match event {
            Event::Connected => {
                if let Session::Connecting { attempt, .. } = self.session {
                    self.session = Session::Registering { since: now, attempt };
                    self.register_if_connected(now, actions);
                }
            }
            Event::ConnectionLost if matches!(self.session, Session::Apart { .. }) => {}
            Event::ConnectionLost => self.part(now, false),
            Event::Welcome { to, term, sequence } if to == self.me => {
                let counts = self.answered(term, sequence, now, actions);
                self.session.welcomed(counts, now);
            }
            Event::Acknowledged { to, term, sequence } if to == self.me => {
                self.answered(term, sequence, now, actions);
            }
            Event::Refused { to, why, led } if to == self.me => self.refused(why, led, now, actions),
            _ => {}
        }
    }

    /// The leader has heard a report: the lease lasts from when it was sent. Gives whether the answer counts.
    fn answered(&mut self, term: Term, sequence: Sequence, now: Time, actions: &mut Vec<Action>) -> bool {
        if let Err(stale) = self.gate.hear(term) {
            actions.push(Action::Ignored(stale));
            return false;
        }
        let Some(sent) = self.sent.get(&sequence).copied() else { return false };
        self.lease = self.lease.max(Some(self.config.timing.stops_at(sent)));
        self.sent.retain(|other, _| *other > sequence);
        if let Session::Member { answered } = &mut self.session {
            *answered = now;
        }
        true
    }

    fn refused(&mut self, why: Refusal, led: bool, now: Time, actions: &mut Vec<Action>) {
        match why {
            Refusal::NotLeading => {
                actions.push(Action::Disconnect);
                self.part(now, led);
            }
            Refusal::NotRegistered => {
                self.session.is_unknown(now);
                self.register_if_connected(now, actions);
            }
            Refusal::Over => self.end_incarnation(now, actions),
            Refusal::Superseded => {
                actions.push(Action::Disconnect);
                self.part(now, false);
                self.end_incarnation(now, actions);
            }
        }
    }

    /// Goes apart, to try again a little later: each node after another time, so that not all come at once. The wait grows, except for one
    /// who was told who leads.
    fn part(&mut self, now: Time, led: bool) {
        let attempt = self.session.attempt().saturating_add(1);
        let (first, most) = self.config.retry;
        let growth = if led { 0 } else { attempt.min(16) };
        let wait = Span(first.0.saturating_mul(1 << growth).min(most.0));
        let name = format!("{} {attempt}", self.me.node);
        let jitter = Span(xxhash_rust::xxh3::xxh3_64(name.as_bytes()) % (wait.0 / 2).max(1));
        self.session = Session::Apart { retry: now + (wait - jitter), attempt };
    }

    pub(super) fn register_if_connected(&mut self, now: Time, actions: &mut Vec<Action>) {
        if let Session::Registering { since, .. } = &mut self.session {
            *since = now;
            self.in_doubt.get_or_insert(self.config.timing.stops_at(now));
            let report = self.report(now);
            let (info, ended) = (self.config.info.clone(), self.ended);
            actions.push(Action::Register(Register { info, ended, report }));
        }
    }

    pub(super) fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        match self.session {
            Session::Apart { retry, attempt } if now >= retry => {
                self.session = Session::Connecting { since: now, attempt };
                actions.push(Action::Connect { attempt });
            }
            Session::Connecting { since, .. }
            | Session::Registering { since, .. }
            | Session::Member { answered: since }
                if now.since(since) >= self.config.patience =>
            {
                actions.push(Action::Disconnect);
                self.part(now, false);
            }
            _ => self.report_if_due(now, actions),
        }
    }

    pub(super) fn report_if_due(&mut self, now: Time, actions: &mut Vec<Action>) {
        let is_due = self.has_news || now.since(self.reported) >= self.config.timing.report;
        if self.session.is_member() && is_due {
            let report = self.report(now);
            actions.push(Action::Report(report));
        }
    }
}
