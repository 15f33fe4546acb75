//! What a node is still to be told, over one session: of each kind only the newest, so that a node that does not listen costs nothing.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boom_plan::id::{ProducerName, Sequence, Term};
use boom_plan::lease::Timing;
use boom_plan::message::Refusal;
use boom_plan::plan::Plan;
use boom_proto::node::FromLeader;
use boom_proto::v1;
use boom_proto::v1::leader_message;
use tokio::sync::Notify;

/// Something to tell a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Welcome {
        to: ProducerName,
        term: Term,
        sequence: Sequence,
    },
    Acknowledged {
        to: ProducerName,
        term: Term,
        sequence: Sequence,
    },
    Refused {
        to: ProducerName,
        why: Refusal,
        leader: Option<v1::Leader>,
    },
    /// The part of the plan that names it, which is cut out when it is sent.
    Planned {
        to: ProducerName,
        plan: Arc<Plan>,
    },
}

impl Message {
    /// The message as it is sent, with what only shells know.
    pub(crate) fn into_wire(self, timing: Timing) -> v1::LeaderMessage {
        let (message, leader) = match self {
            Self::Welcome { to, term, sequence } => (FromLeader::Welcome { to, term, sequence }, None),
            Self::Acknowledged { to, term, sequence } => (FromLeader::Acknowledged { to, term, sequence }, None),
            Self::Refused { to, why, leader } => (FromLeader::Refused { to, why, led: leader.is_some() }, leader),
            Self::Planned { to, plan } => (FromLeader::Planned { plan: plan.part_of(&to), to }, None),
        };
        let mut wire = v1::LeaderMessage::from(&message);
        match &mut wire.message {
            Some(leader_message::Message::Welcome(welcome)) => welcome.timing = Some(timing.into()),
            Some(leader_message::Message::Refused(refused)) => refused.leader = leader,
            _ => {}
        }
        wire
    }
}

/// What is still to be told.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    is_closed: bool,
}

impl Outbox {
    /// Adds a message, in place of an older one of its kind.
    pub(crate) fn put(&self, message: Message) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.messages.retain(|other| discriminant(other) != discriminant(&message));
        state.messages.push_back(message);
        drop(state);
        self.news.notify_one();
    }

    /// Nothing more will be put: the session ends when all is told.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// The next message; none when the outbox is closed and empty. One task asks.
    pub(crate) async fn next(&self) -> Option<Message> {
        loop {
            {
                let mut state = self.lock();
                if let Some(message) = state.messages.pop_front() {
                    return Some(message);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.news.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is in it is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_does_not_listen_is_told_the_newest_of_each_kind() {
        let outbox = Outbox::default();
        let to: ProducerName = "a#1".parse().unwrap();
        let acknowledged =
            |sequence| Message::Acknowledged { to: to.clone(), term: Term(1), sequence: Sequence(sequence) };
        let planned = |term| Message::Planned { to: to.clone(), plan: Arc::new(Plan::empty(Term(term))) };
        (0..1000).for_each(|number| outbox.put(acknowledged(number)));
        outbox.put(planned(1));
        outbox.put(acknowledged(1000));
        outbox.put(planned(2));
        outbox.close();
        outbox.put(planned(3));
        assert_eq!(outbox.next().await, Some(acknowledged(1000)));
        assert_eq!(outbox.next().await, Some(planned(2)));
        assert_eq!(outbox.next().await, None);
    }

    #[test]
    fn what_only_shells_know_is_in_the_message() {
        let to: ProducerName = "a#1".parse().unwrap();
        let welcome = Message::Welcome { to: to.clone(), term: Term(1), sequence: Sequence(1) };
        let timing = Timing::default();
        let Some(leader_message::Message::Welcome(welcome)) = welcome.into_wire(timing).message else { panic!() };
        assert_eq!(welcome.timing, Some(timing.into()));
        let leader = Some(v1::Leader { name: "b".into(), address: "http://b:1".into(), term: 3 });
        let refused = Message::Refused { to, why: Refusal::NotLeading, leader: leader.clone() };
        let Some(leader_message::Message::Refused(refused)) = refused.into_wire(timing).message else { panic!() };
        assert_eq!(refused.leader, leader);
    }
}
