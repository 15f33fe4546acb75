//! What became of alerts, counted since the process began: the books as counters. They hold what is committed, and are counted after it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::books::{Fate, Verdict};

/// The counts, or what one commit adds to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// By stream and survey.
    pub alerts: BTreeMap<(String, String), Fates>,
    /// By reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// By the name of the filter.
    pub filters: BTreeMap<Arc<str>, Answers>,
}

/// How many alerts came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fates {
    /// All of them.
    pub consumed: u64,
    /// Judged by the filters.
    pub decided: u64,
    /// Seen before from elsewhere.
    pub repeated: u64,
    /// In the dead letters.
    pub dead_lettered: u64,
}

/// What a filter said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// Alerts that it lets through.
    pub passed: u64,
    /// Those that it does not.
    pub rejected: u64,
    /// Those on which it failed.
    pub failed: u64,
}

impl Answers {
    /// Counts one.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Rejected => self.rejected += 1,
            Verdict::Failed => self.failed += 1,
        }
    }
}

/// The stream of an input, whose name begins with it.
pub fn stream_of(source: &str) -> &str {
    source.split('/').next().unwrap_or_default()
}

impl Tally {
    /// Counts one alert of an input.
    pub fn count(&mut self, survey: &str, source: &str, fate: Fate) {
        let fates = self.alerts.entry((stream_of(source).to_owned(), survey.to_owned())).or_default();
        fates.consumed += 1;
        match fate {
            Fate::Decided => fates.decided += 1,
            Fate::Repeated => fates.repeated += 1,
            Fate::DeadLettered(reason) => {
                fates.dead_lettered += 1;
                *self.dead_letters.entry(reason).or_default() += 1;
            }
        }
    }

    /// Counts what a filter said of some alerts.
    pub fn answered(&mut self, filter: &Arc<str>, answers: Answers) {
        if answers != Answers::default() {
            let sum = self.filters.entry(Arc::clone(filter)).or_default();
            sum.passed += answers.passed;
            sum.rejected += answers.rejected;
            sum.failed += answers.failed;
        }
    }

    /// Adds what a commit has brought.
    pub fn add(&mut self, more: &Self) {
        for (key, fates) in &more.alerts {
            let sum = self.alerts.entry(key.clone()).or_default();
            sum.consumed += fates.consumed;
            sum.decided += fates.decided;
            sum.repeated += fates.repeated;
            sum.dead_lettered += fates.dead_lettered;
        }
        more.dead_letters.iter().for_each(|(reason, letters)| *self.dead_letters.entry(reason).or_default() += letters);
        more.filters.iter().for_each(|(filter, answers)| self.answered(filter, *answers));
    }

    /// Alerts that a filter let through, filter by filter.
    pub fn passed(&self) -> u64 {
        self.filters.values().map(|answers| answers.passed).sum()
    }

    /// Alerts in the dead letters.
    pub fn dead(&self) -> u64 {
        self.dead_letters.values().sum()
    }

    /// All alerts.
    pub fn consumed(&self) -> u64 {
        self.alerts.values().map(|fates| fates.consumed).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_commits_add_up_by_stream_survey_reason_and_filter() {
        let mut one = Tally::default();
        one.count("ZTF", "ztf/night/0", Fate::Decided);
        one.count("ZTF", "ztf/night/7", Fate::Repeated);
        one.count("unknown", "ztf/night/7", Fate::DeadLettered("not_avro"));
        let mut answers = Answers::default();
        let verdicts = [Verdict::Passed, Verdict::Rejected, Verdict::Rejected, Verdict::Failed];
        verdicts.into_iter().for_each(|verdict| answers.count(verdict));
        one.answered(&Arc::from("young"), answers);
        one.answered(&Arc::from("silent"), Answers::default());
        let mut sum = Tally::default();
        (0..3).for_each(|_| sum.add(&one));
        let key = |survey: &str| ("ztf".to_owned(), survey.to_owned());
        let fates = |consumed, decided, repeated, dead_lettered| Fates { consumed, decided, repeated, dead_lettered };
        assert_eq!(sum.alerts, [(key("ZTF"), fates(6, 3, 3, 0)), (key("unknown"), fates(3, 0, 0, 3))].into());
        assert_eq!(sum.dead_letters, [("not_avro", 3)].into());
        assert_eq!(sum.filters, [(Arc::from("young"), Answers { passed: 3, rejected: 6, failed: 3 })].into());
        assert_eq!((sum.consumed(), sum.dead(), sum.passed()), (9, 3, 3));
    }
}
