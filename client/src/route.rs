//! Whom to ask next, and what an answer that is none means: pure, the one rule of retrying.

use std::time::Duration;

use boom_proto::status::leader_of;
use boom_proto::v1::{Leader, NotLeading};
use tonic::{Code, Status};

/// The first pause between rounds, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What a status says about asking again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Another coordinator leads.
    Moved(NotLeading),
    /// The same may succeed elsewhere or later.
    Again,
    /// It will not.
    Final,
}

/// The rule. What came from the connection and not from a coordinator is tried again, whatever its code: orders are idempotent.
pub(crate) fn judge(status: &Status) -> Verdict {
    if let Some(told) = leader_of(status) {
        return Verdict::Moved(told);
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::ResourceExhausted => Verdict::Again,
        _ if std::error::Error::source(status).is_some() => Verdict::Again,
        // So ends a call whose time has run out on the way.
        Code::Cancelled => Verdict::Again,
        _ => Verdict::Final,
    }
}

/// Who leads, as far as is known: an address and its term.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known(Option<(String, u64)>);

impl Known {
    /// The address.
    pub(crate) fn address(&self) -> Option<&str> {
        self.0.as_ref().map(|(address, _)| address.as_str())
    }

    /// Somebody says who leads. An older leader than the one that is known is no news.
    pub(crate) fn told(&mut self, leader: &Leader, address: String) {
        if self.0.as_ref().is_none_or(|(_, term)| *term <= leader.term) {
            self.0 = Some((address, leader.term));
        }
    }

    /// This one has answered as the leader does.
    pub(crate) fn answered(&mut self, address: &str) {
        if self.address() != Some(address) {
            self.0 = Some((address.to_owned(), 0));
        }
    }

    /// This one does not lead, or is not to be reached.
    pub(crate) fn lost(&mut self, address: &str) {
        if self.address() == Some(address) {
            self.0 = None;
        }
    }
}

/// What is next in a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask this one.
    Ask(String),
    /// All were asked: wait, and begin anew.
    Pause(Duration),
}

/// One call's way through the coordinators: the leader first, as far as it is known, each once, then a pause.
#[derive(Debug, Default)]
pub(crate) struct Search {
    asked: Vec<String>,
    rounds: u32,
}

impl Search {
    /// What is next; `chance` from 0 to 1 shortens a pause by up to a half.
    pub(crate) fn next(&mut self, known: &Known, coordinators: &[String], chance: f64) -> Next {
        let all = known.address().into_iter().chain(coordinators.iter().map(String::as_str));
        for address in all {
            if !self.asked.iter().any(|asked| asked == address) {
                self.asked.push(address.to_owned());
                return Next::Ask(address.to_owned());
            }
        }
        self.asked.clear();
        self.rounds += 1;
        Next::Pause(pause(self.rounds - 1, chance))
    }
}

/// How long to wait after so many failures: longer each time, up to a second. `chance` from 0 to 1 shortens it by up to a half.
pub(crate) fn pause(failures: u32, chance: f64) -> Duration {
    let (first, longest) = PAUSES;
    let whole = first.saturating_mul(1 << failures.min(10)).min(longest);
    whole.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

/// Whom a session asks: the leader as far as it is known, and every second time the next of the coordinators.
pub(crate) fn session(attempt: u32, known: &Known, coordinators: &[String]) -> String {
    let at = |number: u32| coordinators[number as usize % coordinators.len()].clone();
    match known.address() {
        Some(leader) if attempt.is_multiple_of(2) => leader.to_owned(),
        Some(_) => at(attempt / 2),
        None => at(attempt),
    }
}

#[cfg(test)]
mod tests {
    use boom_proto::status::not_leading;

    use super::*;

    fn leader(address: &str, term: u64) -> Leader {
        Leader { name: "a".to_owned(), address: address.to_owned(), term }
    }

    #[test]
    fn what_may_succeed_elsewhere_or_later_is_asked_again_and_nothing_else() {
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::ResourceExhausted, Code::Cancelled]
        {
            assert_eq!(judge(&Status::new(code, "x")), Verdict::Again, "{code:?}");
        }
        for code in [Code::NotFound, Code::AlreadyExists, Code::InvalidArgument, Code::Unauthenticated, Code::Internal]
        {
            assert_eq!(judge(&Status::new(code, "x")), Verdict::Final, "{code:?}");
        }
        let broken = Status::from_error(Box::new(std::io::Error::other("broken pipe")));
        assert_eq!(judge(&broken), Verdict::Again, "{broken:?}");
        let leader = leader("http://b:1", 3);
        assert_eq!(judge(&not_leading(Some(leader.clone()))), Verdict::Moved(NotLeading { leader: Some(leader) }));
    }

    #[test]
    fn a_call_asks_the_leader_first_then_each_once_and_then_pauses_longer_each_time() {
        let coordinators = ["a", "b"].map(str::to_owned);
        let (mut known, mut search) = (Known::default(), Search::default());
        let mut next = |known: &Known| search.next(known, &coordinators, 0.0);
        assert_eq!(next(&known), Next::Ask("a".to_owned()));
        known.told(&leader("c", 5), "c".to_owned());
        assert_eq!([next(&known), next(&known)], ["c", "b"].map(|address| Next::Ask(address.to_owned())));
        assert_eq!(next(&known), Next::Pause(Duration::from_millis(50)));
        known.lost("c");
        assert_eq!([next(&known), next(&known)], ["a", "b"].map(|address| Next::Ask(address.to_owned())));
        assert_eq!(next(&known), Next::Pause(Duration::from_millis(100)));
        assert_eq!(pause(30, 0.0), Duration::from_secs(1));
        assert_eq!(pause(30, 1.0), Duration::from_millis(500));
    }

    #[test]
    fn a_follower_that_names_an_older_leader_is_not_believed_while_the_newer_answers() {
        let mut known = Known::default();
        known.told(&leader("new", 9), "new".to_owned());
        known.told(&leader("old", 4), "old".to_owned());
        assert_eq!(known.address(), Some("new"));
        known.answered("new");
        known.lost("old");
        assert_eq!(known.address(), Some("new"));
        known.lost("new");
        known.told(&leader("old", 4), "old".to_owned());
        assert_eq!(known.address(), Some("old"));
    }

    #[test]
    fn a_session_goes_to_the_leader_and_every_second_time_to_the_next_in_turn() {
        let coordinators = ["a", "b"].map(str::to_owned);
        let mut known = Known::default();
        assert_eq!([0, 1, 2].map(|attempt| session(attempt, &known, &coordinators)), ["a", "b", "a"]);
        known.answered("c");
        assert_eq!([0, 1, 2, 3, 4].map(|attempt| session(attempt, &known, &coordinators)), ["c", "a", "c", "b", "c"]);
    }
}
