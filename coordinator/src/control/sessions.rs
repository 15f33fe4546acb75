//! Who is on which session: what is for an incarnation goes to the session over which it last registered. Nothing is decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use boom_plan::id::ProducerName;

use super::outbox::{Message, Outbox};

/// A session, by its number in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// The open sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<SessionId, (Arc<Outbox>, Option<ProducerName>)>,
    /// Where the newest registration of each incarnation came from.
    routes: BTreeMap<ProducerName, SessionId>,
}

impl Sessions {
    pub(super) fn open(&mut self, id: SessionId, outbox: Arc<Outbox>) {
        self.open.insert(id, (outbox, None));
    }

    pub(super) fn is_open(&self, id: SessionId) -> bool {
        self.open.contains_key(&id)
    }

    /// An incarnation registers: another session of it ends, and so does what this session stood for before.
    pub(super) fn register(&mut self, id: SessionId, who: &ProducerName) {
        if let Some(other) = self.routes.insert(who.clone(), id).filter(|other| *other != id) {
            self.end(other);
        }
        let Some((_, before)) = self.open.get_mut(&id) else { return };
        if let Some(before) = before.replace(who.clone()).filter(|before| before != who) {
            self.routes.remove(&before);
        }
    }

    /// Tells one session.
    pub(super) fn tell(&self, id: SessionId, message: Message) {
        if let Some((outbox, _)) = self.open.get(&id) {
            outbox.put(message);
        }
    }

    /// The session of an incarnation.
    pub(super) fn of(&self, who: &ProducerName) -> Option<SessionId> {
        self.routes.get(who).copied()
    }

    /// Ends a session when all is told. Gives whom it stood for.
    pub(super) fn end(&mut self, id: SessionId) -> Option<ProducerName> {
        let (outbox, who) = self.open.remove(&id)?;
        outbox.close();
        let who = who?;
        if self.routes.get(&who) != Some(&id) {
            return None;
        }
        self.routes.remove(&who);
        Some(who)
    }

    /// Ends all of them; each is told something first.
    pub(super) fn end_all(&mut self, farewell: impl Fn(ProducerName) -> Message) {
        self.routes.clear();
        for (outbox, who) in std::mem::take(&mut self.open).into_values() {
            if let Some(who) = who {
                outbox.put(farewell(who));
            }
            outbox.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use boom_plan::message::Refusal;

    use super::*;

    fn who(text: &str) -> ProducerName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_node_that_comes_over_another_session_is_told_there_and_the_former_one_ends() {
        let (mut sessions, old, new) = (Sessions::default(), SessionId(1), SessionId(2));
        let (first, second) = (Arc::new(Outbox::default()), Arc::new(Outbox::default()));
        sessions.open(old, Arc::clone(&first));
        sessions.register(old, &who("a#1"));
        sessions.open(new, second);
        sessions.register(new, &who("a#1"));
        assert_eq!((sessions.of(&who("a#1")), first.next().await), (Some(new), None));
        assert_eq!(sessions.end(old), None, "its end says nothing about the node");
        assert_eq!(sessions.end(new), Some(who("a#1")));
        assert_eq!(sessions.of(&who("a#1")), None);
    }

    #[tokio::test]
    async fn the_next_incarnation_may_come_over_the_same_session() {
        let (mut sessions, id, outbox) = (Sessions::default(), SessionId(1), Arc::new(Outbox::default()));
        sessions.open(id, Arc::clone(&outbox));
        sessions.register(id, &who("a#1"));
        sessions.register(id, &who("a#2"));
        assert_eq!((sessions.of(&who("a#1")), sessions.of(&who("a#2"))), (None, Some(id)));
        let farewell = |to| Message::Refused { to, why: Refusal::NotLeading, leader: None };
        sessions.end_all(farewell);
        assert_eq!((outbox.next().await, outbox.next().await), (Some(farewell(who("a#2"))), None));
    }
}
