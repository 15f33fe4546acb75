//! Giving dead letters back: their bytes go to a topic that a stream reads, and each at most once.
//!
//! Bytes and a mark are written in one transaction, the mark into a compacted topic beside the dead letters, under one producer's name for
//! all who retry: who comes later fences who is still at it, and reads the marks after that. So a letter is never sent twice by accident.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use serde::{Deserialize, Serialize};

use super::DeadLetter;
use crate::kafka::{self, Connection, Context};
use crate::records::{self, Topic};
use crate::topics::{self, MAX_BYTES};

/// The name of the producer of all who retry.
const NAME: &str = "boom-deadletters-retry";

/// The header of a sent letter that says which it was.
const RETRY_OF: &str = "boom-retry-of";

/// The header of a sent letter that says where it came from, as [`DeadLetter::origin`] does.
const RETRY_ORIGIN: &str = "boom-retry-origin";

/// The longest that a step of a transaction may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// That a dead letter was sent, to be found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// To which topic.
    pub to: String,
    /// When, Unix milliseconds.
    pub time_unix_ms: u64,
    /// Where the letter came from: of another one at the same place this mark says nothing.
    pub origin: String,
}

/// Why dead letters were not sent.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// Kafka.
    #[error(transparent)]
    Records(#[from] records::Error),
    /// There is no client.
    #[error(transparent)]
    Connection(#[from] kafka::Error),
    /// The transaction.
    #[error("sending dead letters to {to}: {problem}; those that were sent are marked, so give the same command again")]
    Kafka {
        /// The topic.
        to: String,
        /// What is wrong.
        problem: Box<KafkaError>,
    },
    /// Of the packet only the beginning is there.
    #[error(
        "of the dead letter {id} only the first {kept} of {length} bytes are kept: take the packet from the survey's archive, with `produce`"
    )]
    Cut {
        /// Which.
        id: super::Id,
        /// Bytes that are there.
        kept: usize,
        /// Bytes that it had.
        length: u64,
    },
    /// A mark that can not be read.
    #[error("the mark {key} can not be read: {problem}")]
    Damaged {
        /// Its key.
        key: String,
        /// How.
        problem: String,
    },
}

impl RetryError {
    /// Whether it may go by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Records(error) => error.is_retryable(),
            Self::Kafka { .. } => true,
            Self::Connection(_) | Self::Cut { .. } | Self::Damaged { .. } => false,
        }
    }
}

/// Sends dead letters back.
pub struct Retrier {
    producer: ThreadedProducer<Context>,
    letters: String,
    marks: String,
    marked: BTreeMap<String, Mark>,
}

impl std::fmt::Debug for Retrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retrier").field("letters", &self.letters).field("marks", &self.marks).finish_non_exhaustive()
    }
}

impl Retrier {
    /// What is marked in the topic `marks` for dead letters of the topic `letters`; nobody else retries from now on. Blocking.
    ///
    /// # Errors
    /// Kafka does not answer, or a mark can not be read.
    pub fn open(connection: &Connection, letters: &str, marks: &str) -> Result<Self, RetryError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| kafka::Error::Client(error.to_string()))?;
        let topic = NewTopic::new(marks, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
        runtime.block_on(topics::make(connection, topic))?;
        let producer: ThreadedProducer<Context> = connection.client(&[
            ("transactional.id", NAME),
            ("transaction.timeout.ms", "60000"),
            ("compression.type", "zstd"),
            ("message.max.bytes", MAX_BYTES),
        ])?;
        let failed = |problem| RetryError::Kafka { to: marks.to_owned(), problem: Box::new(problem) };
        producer.init_transactions(PATIENCE).map_err(failed)?;
        let marked = read_marks(&Topic::made(connection, marks)?)?;
        Ok(Self { producer, letters: letters.to_owned(), marks: marks.to_owned(), marked })
    }

    /// That it was sent already, if it was.
    pub fn mark(&self, letter: &DeadLetter) -> Option<&Mark> {
        self.marked.get(&self.key(letter)).filter(|mark| mark.origin == letter.origin())
    }

    fn key(&self, letter: &DeadLetter) -> String {
        format!("{}/{}", self.letters, letter.id)
    }

    /// Sends the bytes of these to a topic, and marks them, all or none. Whether they were sent before is not asked here. Blocking.
    ///
    /// # Errors
    /// One is not whole, or Kafka does not take them.
    pub fn send(&mut self, connection: &Connection, letters: &[DeadLetter], to: &str) -> Result<(), RetryError> {
        if let Some(cut) = letters.iter().find(|letter| !letter.is_whole()) {
            return Err(RetryError::Cut { id: cut.id, kept: cut.bytes.len(), length: cut.length });
        }
        Topic::new(connection, to)?.ends()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let time_unix_ms = u64::try_from(now).unwrap_or(u64::MAX);
        let mark = |letter: &DeadLetter| Mark { to: to.to_owned(), time_unix_ms, origin: letter.origin() };
        let marks: Vec<_> = letters.iter().map(|letter| (self.key(letter), mark(letter))).collect();
        self.transact(letters, &marks, to).map_err(|problem| {
            // What is left open would be aborted by the next who retries, or by Kafka after a minute.
            let _ = self.producer.abort_transaction(PATIENCE);
            RetryError::Kafka { to: to.to_owned(), problem: Box::new(problem) }
        })?;
        self.marked.extend(marks);
        Ok(())
    }

    fn transact(&self, letters: &[DeadLetter], marks: &[(String, Mark)], to: &str) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        for letter in letters {
            let (id, origin) = (letter.id.to_string(), letter.origin());
            let said = [(RETRY_OF, &id), (RETRY_ORIGIN, &origin)];
            let headers = said.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value.as_bytes()) })
            });
            let record = BaseRecord::<(), [u8]>::to(to).payload(&letter.bytes).headers(headers);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        for (key, mark) in marks {
            let value = serde_json::to_vec(mark).expect("a mark is JSON");
            let record = BaseRecord::to(&self.marks).key(key.as_bytes()).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        self.producer.commit_transaction(PATIENCE)
    }
}

/// Where a packet came from first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetriedOrigin {
    /// `stream/topic/partition`.
    pub source: String,
    /// Its offset there.
    pub offset: u64,
    /// Of the packet the record that was a dead letter.
    pub record: u32,
}

/// Where the dead letter came from that a record is, by the record's headers; none of a record that no [`Retrier`] has sent.
pub fn retried_origin(headers: &impl Headers) -> Option<RetriedOrigin> {
    let header = headers.iter().find(|header| header.key == RETRY_ORIGIN)?;
    let (source, place) = std::str::from_utf8(header.value?).ok()?.rsplit_once('@')?;
    let (offset, record) = place.split_once('#').unwrap_or((place, "0"));
    Some(RetriedOrigin { source: source.to_owned(), offset: offset.parse().ok()?, record: record.parse().ok()? })
}

/// What is marked, by key. Blocking.
fn read_marks(reader: &Topic) -> Result<BTreeMap<String, Mark>, RetryError> {
    let mut marked = BTreeMap::new();
    let ends = reader.ends()?;
    reader.read(&ends, |record| {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let mark = serde_json::from_slice(record.value.as_deref().unwrap_or_default());
        let mark = mark.map_err(|error| RetryError::Damaged { key: key.clone(), problem: error.to_string() })?;
        marked.insert(key, mark);
        Ok::<_, RetryError>(())
    })?;
    Ok(marked)
}

/// What was retried of the dead letters of a topic, by their place; nothing if nobody ever retried. Blocking.
///
/// # Errors
/// Kafka does not answer, or a mark can not be read.
pub fn marks(connection: &Connection, letters: &str, marks: &str) -> Result<BTreeMap<String, Mark>, RetryError> {
    let all = match read_marks(&Topic::new(connection, marks)?) {
        Err(RetryError::Records(records::Error::NoTopic { .. })) => return Ok(BTreeMap::new()),
        read => read?,
    };
    let of = |(key, mark): (String, Mark)| Some((key.strip_prefix(letters)?.strip_prefix('/')?.to_owned(), mark));
    Ok(all.into_iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_letter_came_from_is_read_back_from_what_was_sent() {
        let sent = |origin: &str| {
            let header = Header { key: RETRY_ORIGIN, value: Some(origin.as_bytes()) };
            retried_origin(&OwnedHeaders::new().insert(Header { key: "other", value: Some("1@2") }).insert(header))
        };
        let origin = |record| Some(RetriedOrigin { source: "ztf/a@b/0".to_owned(), offset: 7, record });
        assert_eq!((sent("ztf/a@b/0@7"), sent("ztf/a@b/0@7#3")), (origin(0), origin(3)));
        assert_eq!((sent("nowhere"), retried_origin(&OwnedHeaders::new())), (None, None));
    }
}
