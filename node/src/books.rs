//! The books: what became of every packet and of every filter's alerts. Counting only; no I/O.
//!
//! They balance at every commit: consumed = decided + repeated + dead-lettered, and for a filter decided = passed + rejected + failed.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use boom_client::progress::{FilterBook, PartitionBook as Partition};
use serde::{Deserialize, Serialize};

/// Name in the books of the survey of packets that nobody could tell.
pub const UNKNOWN_SURVEY: &str = "unknown";

/// All counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// By input and survey.
    pub partitions: Vec<Partition>,
    /// By filter and version.
    pub filters: Vec<FilterBook>,
    /// Dead letters by reason.
    #[serde(default)]
    pub dead_letters: BTreeMap<String, u64>,
}

/// What became of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Judged by the filters.
    Decided,
    /// Seen before from elsewhere.
    Repeated,
    /// In the dead letters, for this reason.
    DeadLettered(&'static str),
}

/// What one filter said of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Passed,
    /// It does not.
    Rejected,
    /// The filter failed.
    Failed,
}

impl Books {
    /// Counts one alert of an input.
    pub fn count(&mut self, survey: &str, source: &Arc<str>, fate: Fate) {
        let known = self.partitions.iter().position(|book| book.survey == survey && *book.source == **source);
        let index = known.unwrap_or_else(|| {
            let book = Partition { survey: survey.to_owned(), source: source.to_string(), ..Partition::default() };
            self.partitions.push(book);
            self.partitions.len() - 1
        });
        let book = &mut self.partitions[index];
        book.consumed += 1;
        match fate {
            Fate::Decided => book.decided += 1,
            Fate::Repeated => book.repeated += 1,
            Fate::DeadLettered(reason) => {
                book.dead_lettered += 1;
                *self.dead_letters.entry(reason.to_owned()).or_default() += 1;
            }
        }
    }

    /// Makes sure that a filter stands in the books, with no alert yet.
    pub fn open_filter(&mut self, filter: &str, version: &str) {
        if self.filter(filter, version).is_none() {
            let book = FilterBook { filter: filter.to_owned(), version: version.to_owned(), ..FilterBook::default() };
            self.filters.push(book);
        }
    }

    fn filter(&mut self, filter: &str, version: &str) -> Option<&mut FilterBook> {
        self.filters.iter_mut().find(|book| book.filter == filter && book.version == version)
    }

    /// Counts what a filter said of an alert, unless it is suspended; after `suspend_after` failures in a row (0: never) it is. Gives whether
    /// the answer counts.
    pub fn count_verdict(&mut self, filter: &str, version: &str, verdict: Verdict, suspend_after: u64) -> bool {
        self.open_filter(filter, version);
        let book = self.filter(filter, version).expect("it was opened above");
        if book.suspended {
            return false;
        }
        book.decided += 1;
        match verdict {
            Verdict::Passed => book.passed += 1,
            Verdict::Rejected => book.rejected += 1,
            Verdict::Failed => book.failed += 1,
        }
        book.failing = if verdict == Verdict::Failed { book.failing + 1 } else { 0 };
        book.suspended = suspend_after > 0 && book.failing >= suspend_after;
        true
    }

    /// Whether a filter is suspended.
    pub fn suspended(&self, filter: &str, version: &str) -> bool {
        self.filters.iter().any(|book| book.suspended && book.filter == filter && book.version == version)
    }

    /// Whether everything is accounted for.
    pub fn balance(&self) -> bool {
        self.partitions.iter().all(Partition::balances) && self.filters.iter().all(FilterBook::balances)
    }

    /// Leaves an input out: somebody else counts on.
    pub fn forget(&mut self, source: &str) {
        self.partitions.retain(|book| book.source != source);
    }

    /// All alerts taken in.
    pub fn consumed(&self) -> u64 {
        self.partitions.iter().map(|book| book.consumed).sum()
    }

    /// All alerts in the dead letters.
    pub fn dead_lettered(&self) -> u64 {
        self.partitions.iter().map(|book| book.dead_lettered).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_ends_in_exactly_one_column() {
        let mut books = Books::default();
        let source: Arc<str> = Arc::from("night.tar.gz");
        for fate in [Fate::Decided, Fate::Decided, Fate::Repeated, Fate::DeadLettered("truncated")] {
            books.count("ZTF", &source, fate);
        }
        books.count(UNKNOWN_SURVEY, &source, Fate::DeadLettered("not_avro"));
        for verdict in [Verdict::Passed, Verdict::Rejected, Verdict::Failed] {
            books.count_verdict("young", "1", verdict, 0);
        }
        assert!(books.balance());
        assert_eq!((books.consumed(), books.dead_lettered()), (5, 2));
        assert_eq!(books.partitions.len(), 2);
        assert_eq!(books.filters[0].decided, 3);
        books.filters[0].passed += 1;
        assert!(!books.balance(), "an alert that is counted twice is seen");
    }

    #[test]
    fn a_filter_that_keeps_failing_is_suspended_and_its_later_answers_do_not_count() {
        let mut books = Books::default();
        for verdict in [Verdict::Failed, Verdict::Failed, Verdict::Rejected, Verdict::Failed, Verdict::Failed] {
            assert!(books.count_verdict("broken", "1", verdict, 3));
        }
        assert!(!books.suspended("broken", "1"), "an answer in between starts the count anew");
        assert!(books.count_verdict("broken", "1", Verdict::Failed, 3));
        assert!(books.suspended("broken", "1"));
        assert!(!books.count_verdict("broken", "1", Verdict::Passed, 3));
        assert_eq!((books.filters[0].decided, books.filters[0].failed, books.filters[0].passed), (6, 5, 0));
        assert!(books.balance());
    }
}
