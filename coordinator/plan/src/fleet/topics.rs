//! The live partitions: what Kafka has, how far the owners are, what is left.

use std::collections::BTreeMap;

use crate::id::{Offset, Topic};
use crate::time::Time;
use crate::topics::Matched;

/// A topic as a listing shows it: the end of each partition, the first offset that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveTopic {
    /// Its name.
    pub topic: Topic,
    /// All of its partitions with their ends, as far as they could be learnt.
    pub ends: BTreeMap<u32, Option<Offset>>,
}

/// From how many alerts on a partition is at which level of lag. What a visit of LSST leaves on one of a few partitions is none: it is
/// through before it would pay to move the partition.
const LEVELS: [u64; 3] = [5_000, 50_000, 500_000];

/// A partition as Kafka and its owner show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The first offset that is not written yet.
    pub end: Option<Offset>,
    /// The first offset that the progress has not passed.
    pub next: Option<Offset>,
    /// Of a replay the end of its window.
    pub until: Option<Offset>,
    /// How far behind it is, in steps, so that small movements change nothing: it rises at once, and falls when a quarter is left.
    pub level: u8,
}

impl PartitionFacts {
    /// How many alerts are left, once both ends are known: of a replay, in its window.
    pub fn lag(&self) -> Option<u64> {
        Some(self.until.or(self.end)?.0.saturating_sub(self.next?.0))
    }

    /// Takes in what is known now. Gives whether that may change the plan.
    pub(super) fn take(&mut self, end: Option<Offset>, next: Option<Offset>) -> bool {
        let before = (self.level, self.lag() == Some(0));
        self.end = end.or(self.end);
        self.next = next.or(self.next);
        if let Some(lag) = self.lag() {
            let rises = LEVELS.iter().filter(|&&from| lag >= from).count() as u8;
            let stays = LEVELS.iter().filter(|&&from| lag >= from / 4).count() as u8;
            self.level = self.level.clamp(rises, stays);
        }
        before != (self.level, self.lag() == Some(0))
    }

    /// Takes in where the window of a replay ends. Gives whether that may change the plan.
    pub(super) fn take_window(&mut self, until: Offset, next: Option<Offset>) -> bool {
        let is_news = self.until.replace(until) != Some(until);
        self.take(None, next) || is_news
    }

    /// How much it counts beside others.
    pub fn weight(&self) -> u64 {
        1 + u64::from(self.level)
    }
}

/// How many alerts wait, where that is known, and in how many partitions it is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Alerts that wait.
    pub alerts: u64,
    /// Partitions of which that is not known.
    pub unknown: u32,
}

impl Lag {
    pub(super) fn add(mut self, facts: &PartitionFacts) -> Self {
        match facts.lag() {
            Some(lag) => self.alerts = self.alerts.saturating_add(lag),
            None => self.unknown += 1,
        }
        self
    }
}

/// A topic of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// What its name says.
    pub matched: Matched,
    /// When a listing last had it, or when the plan that names it was loaded.
    pub listed: Time,
    /// Whether a listing had it since this leader leads.
    pub is_confirmed: bool,
    /// Its partitions.
    pub partitions: BTreeMap<u32, PartitionFacts>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_that_swings_around_a_level_does_not_swing_the_weight() {
        let mut facts = PartitionFacts::default();
        let mut weight = |lag: u64| {
            facts.take(Some(Offset(1_000_000 + lag)), Some(Offset(1_000_000)));
            facts.weight()
        };
        assert_eq!([0, 4_999, 5_000, 4_500, 1_500, 5_500, 1_249].map(&mut weight), [1, 1, 2, 2, 2, 2, 1]);
        assert_eq!([500_000, 130_000, 124_000, 0].map(&mut weight), [4, 4, 3, 1]);
    }

    #[test]
    fn what_is_behind_the_window_of_a_replay_is_not_left_of_it() {
        let mut facts = PartitionFacts::default();
        assert!(facts.take_window(Offset(20), Some(Offset(15))));
        assert_eq!(facts.lag(), Some(5));
        facts.take(Some(Offset(1_000)), None);
        assert_eq!(facts.lag(), Some(5), "whatever the topic has");
        assert!(!facts.take_window(Offset(20), Some(Offset(19))) && facts.take_window(Offset(20), Some(Offset(20))));
        assert_eq!(facts.lag(), Some(0));
    }

    #[test]
    fn a_partition_without_progress_has_no_known_lag() {
        let mut facts = PartitionFacts::default();
        assert!(!facts.take(Some(Offset(9)), None));
        assert_eq!((facts.lag(), facts.weight()), (None, 1));
        assert!(facts.take(None, Some(Offset(9))) && facts.lag() == Some(0));
        assert!(!facts.take(Some(Offset(9)), Some(Offset(9))), "nothing new");
    }
}
