//! The topic of dead letters: what gave no alert, with why and where from; looking at them, and giving them back to the cluster.
//!
//! A dead letter is the packet's bytes. Headers say `reason`, `message`, `stage`, `survey`, `name`, its length as `bytes` (of a very large
//! one the beginning is kept), and the origin: `source` (`stream/topic/partition`), `offset`, `record`. Nodes write it.

mod retry;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rdkafka::message::{Header, OwnedHeaders};

pub use self::retry::{Mark, RetriedOrigin, Retrier, RetryError, marks, retried_origin};
use crate::kafka::Connection;
use crate::records::{self, Record, Topic};

/// What the headers of a dead letter say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    /// A short, bounded name of the reason.
    pub reason: &'a str,
    /// What, where, and what to do.
    pub message: &'a str,
    /// The stage that gave up.
    pub stage: &'a str,
    /// The survey, when it could be told.
    pub survey: Option<&'a str>,
    /// What a person would call the packet.
    pub name: &'a str,
    /// Where it came from.
    pub source: &'a str,
    /// Its offset there.
    pub offset: u64,
    /// Its place in its packet.
    pub record: u32,
    /// The length of the packet, of which the value may be the beginning.
    pub bytes: u64,
}

impl Headers<'_> {
    /// As Kafka has them.
    pub fn write(&self) -> OwnedHeaders {
        let (offset, record, bytes) = (self.offset.to_string(), self.record.to_string(), self.bytes.to_string());
        let said = [
            ("reason", self.reason),
            ("message", self.message),
            ("stage", self.stage),
            ("survey", self.survey.unwrap_or_default()),
            ("name", self.name),
            ("source", self.source),
            ("offset", &offset),
            ("record", &record),
            ("bytes", &bytes),
        ];
        said.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_bytes()) })
        })
    }
}

/// A dead letter by its place in the topic. Written `PARTITION:OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Partition of the topic of dead letters.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Id {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').and_then(|(partition, offset)| {
            let (partition, offset) = (partition.parse::<u16>().ok()?, offset.parse::<u64>().ok()?);
            Some(Self { partition: partition.into(), offset: offset.try_into().ok()? })
        });
        numbers.ok_or_else(|| {
            format!("`{text}` is no dead letter: write PARTITION:OFFSET, as `deadletters list` shows them")
        })
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which.
    pub id: Id,
    /// When it was written, Unix milliseconds.
    pub time_ms: Option<i64>,
    /// A short, bounded name of the reason.
    pub reason: String,
    /// What, where, and what to do.
    pub message: String,
    /// The stage that gave up.
    pub stage: String,
    /// The survey, when it could be told.
    pub survey: Option<String>,
    /// What a person would call the packet.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// Its offset there.
    pub offset: u64,
    /// Its place in its packet.
    pub record: u32,
    /// The length of the packet.
    pub length: u64,
    /// The packet, or of a very large one its beginning.
    pub bytes: Vec<u8>,
}

impl DeadLetter {
    /// Where it came from, in one word.
    pub fn origin(&self) -> String {
        match self.record {
            0 => format!("{}@{}", self.source, self.offset),
            record => format!("{}@{}#{record}", self.source, self.offset),
        }
    }

    /// Whether all of the packet is there.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.length
    }
}

/// Why dead letters can not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka.
    #[error(transparent)]
    Records(#[from] records::Error),
    /// A record that is none.
    #[error(
        "the record {place} is no dead letter: its header `{header}` {problem}; see whether the topic is the one of dead letters"
    )]
    NoLetter {
        /// Where.
        place: String,
        /// Which header.
        header: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It is not there.
    #[error("there is no dead letter {id} in {topic}: `deadletters list` shows those that are there")]
    NotFound {
        /// Which.
        id: Id,
        /// Where.
        topic: String,
    },
}

impl Error {
    /// Whether it may go by itself.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Records(error) if error.is_retryable())
    }
}

impl TryFrom<Record> for DeadLetter {
    type Error = Error;
    fn try_from(record: Record) -> Result<Self, Error> {
        let wrong = |header, problem| Error::NoLetter { place: record.place(), header, problem };
        let text = |name: &'static str| {
            let value = record.headers.get(name).ok_or_else(|| wrong(name, "is missing"))?;
            String::from_utf8(value.clone()).map_err(|_| wrong(name, "is no text"))
        };
        fn number<T: FromStr>(text: &str) -> Option<T> {
            text.parse().ok()
        }
        let no_number = |name| move || wrong(name, "is no number");
        Ok(Self {
            id: Id { partition: record.partition, offset: record.offset },
            time_ms: record.time_ms,
            reason: text("reason")?,
            message: text("message")?,
            stage: text("stage")?,
            survey: Some(text("survey")?).filter(|survey| !survey.is_empty()),
            name: text("name")?,
            source: text("source")?,
            offset: number(&text("offset")?).ok_or_else(no_number("offset"))?,
            record: number(&text("record")?).ok_or_else(no_number("record"))?,
            length: number(&text("bytes")?).ok_or_else(no_number("bytes"))?,
            bytes: record.value.unwrap_or_default(),
        })
    }
}

/// Hands over every dead letter that is in the topic now, by partition. Blocking.
///
/// # Errors
/// Kafka does not answer, has no such topic, or it has a record that is none.
pub fn read(connection: &Connection, topic: &str, mut take: impl FnMut(DeadLetter)) -> Result<(), Error> {
    let reader = Topic::new(connection, topic)?;
    let ends = reader.ends()?;
    reader.read(&ends, |record| {
        take(DeadLetter::try_from(record)?);
        Ok(())
    })
}

/// One dead letter. Blocking.
///
/// # Errors
/// As [`read`], or there is none of that id.
pub fn find(connection: &Connection, topic: &str, id: Id) -> Result<DeadLetter, Error> {
    let reader = Topic::new(connection, topic)?;
    let not_found = || Error::NotFound { id, topic: topic.to_owned() };
    let (low, high) = *reader.ends()?.get(&id.partition).ok_or_else(not_found)?;
    if id.offset < low || id.offset >= high {
        return Err(not_found());
    }
    let mut found = None;
    let range = BTreeMap::from([(id.partition, (id.offset, id.offset + 1))]);
    reader.read(&range, |record| {
        found = Some(DeadLetter::try_from(record)?);
        Ok::<_, Error>(())
    })?;
    found.ok_or_else(not_found)
}
