//! `boomctl ledger`: the books that nodes commit with their progress, and whether they balance.
//!
//! For each partition consumed = decided + repeated + dead-lettered, and for each filter decided = passed + rejected + failed. What filters
//! counted is of no one night and of no one stream but a replay, which has books of its own: with --night or another stream only partitions
//! are shown.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use boom_client::progress::{self, Committed, FilterBook};
use boom_client::records::Topic;
use boom_plan::id::StreamId;
use boom_plan::topics::Night;
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::output::{self, table};
use crate::settings::{Kafka, KafkaArgs};

/// A commit of a node takes well under this; one of a node that died is aborted by then.
const PATIENCE: Duration = Duration::from_secs(90);

/// Show the books: what became of every alert that was consumed. Exit code 1 if they do not balance.
#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// Only the partitions of topics of that night, YYYYMMDD
    #[arg(long, value_parser = night)]
    night: Option<Night>,
    /// Only that stream; a replay's books are shown with this alone
    #[arg(long)]
    stream: Option<StreamId>,
    #[command(flatten)]
    kafka: KafkaArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

fn night(text: &str) -> Result<Night, String> {
    Night::parse(text).ok_or_else(|| "write the night as YYYYMMDD".to_owned())
}

/// A row of the books of partitions.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    partition: String,
    survey: String,
    next: u64,
    /// Consumed, decided, repeated, dead-lettered.
    counts: [u64; 4],
    balances: bool,
}

/// What is shown.
#[derive(Debug, PartialEq, Eq)]
struct Ledger {
    partitions: Vec<Row>,
    filters: Vec<FilterBook>,
    dead_letters: BTreeMap<String, u64>,
}

impl LedgerArgs {
    /// Shows them.
    ///
    /// # Errors
    /// Kafka does not answer, or nothing was written yet.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let ledger = Ledger::of(&committed(&self.kafka.kafka()?)?, self.night, self.stream.as_ref());
        if self.json {
            output::pretty(&ledger.as_json())?;
        } else {
            output::text(&ledger.show())?;
        }
        Ok(if ledger.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn committed(kafka: &Kafka) -> anyhow::Result<Committed> {
    let Kafka { connection, topics } = kafka;
    // One that is not there would be waited for.
    Topic::new(connection, &topics.progress)?.ends()?;
    let stop = CancellationToken::new();
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let over = stop.clone();
    std::thread::spawn(move || {
        // It ends early with the reading, which drops the other end.
        if finished.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            over.cancel();
        }
    });
    let read = progress::read(connection, &topics.progress, &stop);
    drop(done);
    match read {
        Err(progress::Error::Stopped) => {
            bail!(
                "{} of {} is not read within {PATIENCE:?}: a transaction is open, or Kafka is away",
                topics.progress,
                connection.brokers
            )
        }
        read => Ok(read?),
    }
}

impl Ledger {
    fn of(committed: &Committed, night: Option<Night>, stream: Option<&StreamId>) -> Self {
        let of_night = |partition: &str| night.is_none_or(|night| dates(topic(partition)).any(|date| date == night));
        let of_stream =
            |partition: &str| stream.is_none_or(|stream| partition.split('/').next() == Some(stream.as_str()));
        let partitions = committed.partitions.iter();
        let partitions = partitions.filter(|(partition, _)| of_night(partition) && of_stream(partition));
        let rows = partitions.flat_map(|(partition, decided)| {
            decided.books.iter().map(|book| Row {
                partition: partition.clone(),
                survey: book.survey.clone(),
                next: decided.next,
                counts: [book.consumed, book.decided, book.repeated, book.dead_lettered],
                balances: book.balances(),
            })
        });
        let (filters, dead_letters) = if night.is_some() { Default::default() } else { sums(committed, stream) };
        Self { partitions: rows.collect(), filters, dead_letters }
    }

    fn balances(&self) -> bool {
        self.partitions.iter().all(|row| row.balances) && self.filters.iter().all(FilterBook::balances)
    }

    fn as_json(&self) -> Value {
        let rows = self.partitions.iter().map(|row| {
            let [consumed, decided, repeated, dead_lettered] = row.counts;
            json!({
                "partition": row.partition, "survey": row.survey, "next": row.next, "consumed": consumed, "decided": decided,
                "repeated": repeated, "dead_lettered": dead_lettered, "balances": row.balances,
            })
        });
        let filters = self.filters.iter().map(|book| {
            json!({
                "filter": book.filter, "version": book.version, "decided": book.decided, "passed": book.passed,
                "rejected": book.rejected, "failed": book.failed, "suspended": book.suspended, "balances": book.balances(),
            })
        });
        json!({
            "balances": self.balances(),
            "partitions": rows.collect::<Vec<_>>(),
            "filters": filters.collect::<Vec<_>>(),
            "dead_letters": self.dead_letters,
        })
    }

    fn show(&self) -> String {
        let row = |row: &Row| {
            let [consumed, decided, repeated, dead] = row.counts.map(|count| count.to_string());
            [
                row.partition.clone(),
                row.survey.clone(),
                row.next.to_string(),
                consumed,
                decided,
                repeated,
                dead,
                word(row.balances),
            ]
        };
        let mut sum = [0; 4];
        self.partitions.iter().for_each(|row| sum.iter_mut().zip(row.counts).for_each(|(sum, count)| *sum += count));
        let all = Row {
            partition: "all".into(),
            survey: String::new(),
            next: 0,
            counts: sum,
            balances: sum[0] == sum[1] + sum[2] + sum[3],
        };
        let mut total = row(&all);
        total[2] = String::new();
        let header = ["partition", "survey", "next", "consumed", "decided", "repeated", "dead", "balances"];
        let mut text = table(header, self.partitions.iter().map(row).chain([total]), &[2, 3, 4, 5, 6]);
        if !self.filters.is_empty() {
            text += &format!("\n\n{}", filters(&self.filters));
        }
        if !self.dead_letters.is_empty() {
            let rows = self.dead_letters.iter().map(|(reason, count)| [reason.clone(), count.to_string()]);
            text += &format!("\n\n{}", table(["dead letters because of", "count"], rows, &[1]));
        }
        text + if self.balances() { "\n\nthe books balance" } else { "\n\nTHE BOOKS DO NOT BALANCE" }
    }
}

fn word(balances: bool) -> String {
    if balances { "yes" } else { "NO" }.to_owned()
}

fn filters(books: &[FilterBook]) -> String {
    let row = |book: &FilterBook| {
        let [decided, passed, rejected, failed] =
            [book.decided, book.passed, book.rejected, book.failed].map(|count| count.to_string());
        let name = if book.suspended { format!("{} (suspended)", book.filter) } else { book.filter.clone() };
        let version = book.version.chars().take(12).collect();
        [name, version, decided, passed, rejected, failed, word(book.balances())]
    };
    let header = ["filter", "version", "decided", "passed", "rejected", "failed", "balances"];
    table(header, books.iter().map(row), &[2, 3, 4, 5])
}

/// The topic of `stream/topic/number`.
fn topic(partition: &str) -> &str {
    partition.split('/').nth(1).unwrap_or(partition)
}

/// The dates in a topic's name: eight digits that no ninth stands beside.
fn dates(topic: &str) -> impl Iterator<Item = Night> + '_ {
    topic.split(|c: char| !c.is_ascii_digit()).filter_map(Night::parse)
}

/// What all producers counted over all streams but replays, or over one replay: by filter and version, and the dead letters by reason.
fn sums(committed: &Committed, of: Option<&StreamId>) -> (Vec<FilterBook>, BTreeMap<String, u64>) {
    let mut filters: BTreeMap<(String, String), FilterBook> = BTreeMap::new();
    let mut letters: BTreeMap<String, u64> = BTreeMap::new();
    let producers = committed.producers.iter();
    for (_, counts) in producers.filter(|(name, _)| progress::replay_of(name) == of.map(StreamId::as_str)) {
        for book in &counts.filters {
            let sum = filters.entry((book.filter.clone(), book.version.clone())).or_default();
            (sum.filter, sum.version) = (book.filter.clone(), book.version.clone());
            sum.decided += book.decided;
            sum.passed += book.passed;
            sum.rejected += book.rejected;
            sum.failed += book.failed;
            sum.suspended |= book.suspended;
        }
        for (reason, count) in &counts.dead_letters {
            *letters.entry(reason.clone()).or_default() += count;
        }
    }
    (filters.into_values().collect(), letters)
}

#[cfg(test)]
mod tests {
    use boom_client::progress::{Counts, Decided, PartitionBook};

    use super::*;

    fn committed() -> Committed {
        let decided = |consumed: u64| Decided {
            time_ms: None,
            next: consumed,
            books: vec![PartitionBook {
                survey: "ZTF".into(),
                consumed,
                decided: 3,
                repeated: 1,
                dead_lettered: 1,
                ..PartitionBook::default()
            }],
        };
        let counts = |passed: u64| Counts {
            filters: vec![FilterBook {
                filter: "young".into(),
                version: "1".into(),
                decided: 3,
                passed,
                rejected: 2,
                ..FilterBook::default()
            }],
            dead_letters: [("truncated".to_owned(), 1)].into(),
        };
        Committed {
            partitions: [
                ("ztf/ztf_20261125_programid1/0".to_owned(), decided(5)),
                ("ztf/ztf_20261126_programid1/0".to_owned(), decided(6)),
            ]
            .into(),
            producers: ["a", "b", "a/again"].map(|name| (name.to_owned(), counts(1))).into(),
        }
    }

    #[test]
    fn a_night_is_the_partitions_of_its_topics_and_filters_are_summed_over_producers() {
        let night = |digits: &str| Ledger::of(&committed(), Night::parse(digits), None);
        assert!(night("20261125").balances());
        assert!(!night("20261126").balances(), "one was consumed that came nowhere");
        assert!(night("20261127").partitions.is_empty());
        let all = Ledger::of(&committed(), None, None);
        assert_eq!((all.partitions.len(), all.filters[0].decided, all.dead_letters["truncated"]), (2, 6, 2));
        assert!(all.show().contains("NOT BALANCE") && night("20261125").show().ends_with("the books balance"));
    }

    #[test]
    fn a_replay_has_books_of_its_own() {
        let mut committed = committed();
        committed.partitions.insert("again/ztf_20261125_programid1/0".to_owned(), Decided::default());
        let of = |stream: &str| Ledger::of(&committed, None, Some(&stream.parse().unwrap()));
        assert_eq!((of("again").filters[0].decided, of("again").dead_letters["truncated"]), (3, 1));
        assert_eq!((of("ztf").partitions.len(), of("ztf").filters.len()), (2, 0), "filters do not count by stream");
    }

    #[test]
    fn a_filter_that_lost_an_answer_is_seen() {
        let mut committed = committed();
        committed.partitions.clear();
        assert!(Ledger::of(&committed, None, None).balances());
        committed.producers.get_mut("a").unwrap().filters[0].failed = 1;
        assert!(!Ledger::of(&committed, None, None).balances());
    }
}
