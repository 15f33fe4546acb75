//! The progress topic: how far each partition is decided, and the books. Its records, and reading what was committed last.
//!
//! It is compacted and has one partition, which is read whole. The key of a record is a partition of a stream, its value `Decided`; or
//! `producer:NAME`, its value the `Counts` of that producer, which are of no one partition; those of a replay are apart, under
//! `producer:NAME/REPLAY`. Nodes write it; who else reads it changes nothing.

use std::collections::BTreeMap;

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::kafka::{self, Backoff, Connection, Context, STEP, Stopped};

/// Before the name of a producer in a key.
const PRODUCER: &str = "producer:";

/// The counts of one input of one survey.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionBook {
    /// Survey, or `unknown`.
    pub survey: String,
    /// The input.
    pub source: String,
    /// Alerts taken in.
    pub consumed: u64,
    /// Alerts that every filter has judged.
    pub decided: u64,
    /// Alerts whose candid had come from elsewhere before.
    pub repeated: u64,
    /// Alerts that gave no document.
    pub dead_lettered: u64,
}

impl PartitionBook {
    /// Whether every alert has come to one end.
    pub fn balances(&self) -> bool {
        self.consumed == self.decided + self.repeated + self.dead_lettered
    }
}

/// The counts of one version of one filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterBook {
    /// Its name.
    pub filter: String,
    /// Its version: the hash of its content.
    pub version: String,
    /// Alerts that it was asked about.
    pub decided: u64,
    /// Those that it lets through.
    pub passed: u64,
    /// Those that it does not.
    pub rejected: u64,
    /// Those on which it failed.
    pub failed: u64,
    /// Failures since it last gave an answer.
    #[serde(default)]
    pub failing: u64,
    /// Whether it failed so often in a row that it is not asked any more.
    #[serde(default)]
    pub suspended: bool,
}

impl FilterBook {
    /// Whether every alert got one answer.
    pub fn balances(&self) -> bool {
        self.decided == self.passed + self.rejected + self.failed
    }
}

/// How far a partition is decided, and its books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The offset of its next packet.
    pub next: u64,
    /// Kafka's timestamp of the packet before that, Unix milliseconds, where it is known: one of another time in its place is of a topic that was
    /// made anew.
    #[serde(default)]
    pub time_ms: Option<i64>,
    /// Its counts, by survey.
    pub books: Vec<PartitionBook>,
}

/// What a producer has counted over all of its partitions; the sum over all producers is the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// By filter and version.
    pub filters: Vec<FilterBook>,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<String, u64>,
}

/// All that is committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// By partition.
    pub partitions: BTreeMap<String, Decided>,
    /// By producer.
    pub producers: BTreeMap<String, Counts>,
}

/// Why the progress was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no client.
    #[error(transparent)]
    Connection(#[from] kafka::Error),
    /// A record can not be read.
    #[error("the progress of {key} can not be read: {problem}")]
    Damaged {
        /// The key of the record.
        key: String,
        /// How.
        problem: String,
    },
    /// It was told to wait no longer.
    #[error("waiting for Kafka was given up")]
    Stopped,
}

impl Error {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// The key of a producer's counts.
pub fn producer_key(name: &str) -> String {
    format!("{PRODUCER}{name}")
}

/// The name under which the counts of a producer stand that are of a replay.
pub fn in_replay(producer: &str, replay: &str) -> String {
    format!("{producer}/{replay}")
}

/// Of which replay the counts under that name of a producer are; none if they are of all other streams.
pub fn replay_of(producer: &str) -> Option<&str> {
    producer.split_once('/').map(|(_, replay)| replay)
}

/// The keys of all records that are of a stream alone.
pub fn keys_of(committed: &Committed, stream: &str) -> Vec<String> {
    let is_of = |partition: &&String| partition.split('/').next() == Some(stream);
    let partitions = committed.partitions.keys().filter(is_of).cloned();
    let producers = committed.producers.keys().filter(|name| replay_of(name) == Some(stream));
    partitions.chain(producers.map(|name| producer_key(name))).collect()
}

/// Reads the topic up to its end at the time of the call. Blocking.
///
/// What was committed before the call is seen, also when it stands behind a transaction of another node that is open by then: that one is
/// waited for. Its node commits it in a moment, or is fenced, or its time runs out.
///
/// # Errors
/// The settings are wrong, a record can not be read, or `stop`.
pub fn read(connection: &Connection, topic: &str, stop: &CancellationToken) -> Result<Committed, Error> {
    let mut backoff = Backoff::new(stop);
    loop {
        match attempt(connection, topic, stop)? {
            Ok(committed) => return Ok(committed),
            Err(error) => backoff.pause("reading the progress", &error)?,
        }
    }
}

fn consumer(connection: &Connection, isolation: &str) -> Result<BaseConsumer<Context>, Error> {
    let settings = [
        ("isolation.level", isolation),
        ("enable.partition.eof", "true"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "error"),
        // A consumer wants the name of a group; nothing is committed under it.
        ("group.id", "boom-progress"),
    ];
    Ok(connection.client(&settings)?)
}

fn attempt(
    connection: &Connection,
    topic: &str,
    stop: &CancellationToken,
) -> Result<Result<Committed, KafkaError>, Error> {
    let end = match consumer(connection, "read_uncommitted")?.fetch_watermarks(topic, 0, STEP) {
        Ok((_, end)) => end,
        Err(error) => return Ok(Err(error)),
    };
    let consumer = consumer(connection, "read_committed")?;
    let mut backoff = Backoff::new(stop);
    loop {
        // Of such a consumer it is the end of what is decided.
        match consumer.fetch_watermarks(topic, 0, STEP) {
            Ok((_, decided)) if decided >= end => break,
            Ok(_) => backoff.pause("reading the progress", &"a transaction of another producer is open")?,
            Err(error) => return Ok(Err(error)),
        }
    }
    let mut from = TopicPartitionList::new();
    let assigned = from.add_partition_offset(topic, 0, Offset::Beginning).and_then(|()| consumer.assign(&from));
    if let Err(error) = assigned {
        return Ok(Err(error));
    }
    collect(&consumer, stop)
}

fn collect(consumer: &BaseConsumer<Context>, stop: &CancellationToken) -> Result<Result<Committed, KafkaError>, Error> {
    let mut committed = Committed::default();
    loop {
        if stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        match consumer.poll(STEP) {
            Some(Ok(message)) => {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                take(&mut committed, key, message.payload())?;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Ok(committed)),
            Some(Err(error)) => return Ok(Err(error)),
            None => return Ok(Err(KafkaError::NoMessageReceived)),
        }
    }
}

/// A later record of a key takes the place of an earlier one; one without a value removes it.
fn take(committed: &mut Committed, key: String, value: Option<&[u8]>) -> Result<(), Error> {
    let damaged = |error: serde_json::Error| Error::Damaged { key: key.clone(), problem: error.to_string() };
    match (key.strip_prefix(PRODUCER), value) {
        (Some(name), Some(value)) => {
            let counts = serde_json::from_slice(value).map_err(damaged)?;
            committed.producers.insert(name.to_owned(), counts);
        }
        (Some(name), None) => drop(committed.producers.remove(name)),
        (None, Some(value)) => {
            let decided = serde_json::from_slice(value).map_err(damaged)?;
            committed.partitions.insert(key, decided);
        }
        (None, None) => drop(committed.partitions.remove(&key)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_a_replay_alone_is_told_from_all_else() {
        let mut committed = Committed::default();
        for key in ["again/night/0", "again/night/11", "again2/night/0", "ztf/again/0"] {
            committed.partitions.insert(key.to_owned(), Decided::default());
        }
        for name in ["boom-n1-5".to_owned(), in_replay("boom-n1-5", "again"), in_replay("boom-again-5", "again2")] {
            committed.producers.insert(name, Counts::default());
        }
        let keys = keys_of(&committed, "again");
        assert_eq!(keys, ["again/night/0", "again/night/11", "producer:boom-n1-5/again"]);
        keys.into_iter().for_each(|key| take(&mut committed, key, None).unwrap());
        assert_eq!(
            (committed.partitions.len(), committed.producers.len()),
            (2, 2),
            "a record without a value removes one"
        );
    }
}
