//! Results in Kafka: a commit is one transaction over the topics of results, dead letters and progress.
//!
//! - A result is one record for each alert that passed, with its objectId as key, in Avro's single-object encoding (two bytes of mark, the
//!   schema's CRC-64-AVRO fingerprint, the datum), compressed with zstd. The schema is that of `results.avro`.
//! - A dead letter is the packet's bytes, with headers that say why and where from (`boom_client::deadletters`).
//! - The progress and the books are written of the partitions of which something was decided since the last commit, and of no others: they may
//!   be another node's by now.
//! - What is of a replay goes to topics of its own, `RESULTS.NAME` and `DEAD_LETTERS.NAME`, in the same transaction.
//!
//! There is one producer. Who opens a sink of its name, or calls [`fence`], has it fenced: it can commit nothing any more and says
//! [`Error::Fenced`]. A transaction that stays open longer than its timeout is aborted by Kafka, which fences as well.

mod erase;
mod producer;
mod progress;
mod topics;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apache_avro::GenericSingleObjectWriter;
use tokio_util::sync::CancellationToken;

use self::producer::{Producer, Record};
use super::{Emission, Sink};
use crate::compute::{Compute, Panicked};
use crate::stage::DeadLetter;
use crate::stage::record::{self, Provenance, ResultRecord, SCHEMA};
use crate::tally::stream_of;
use boom_client::deadletters::Headers;
use boom_client::kafka::{Connection, Stopped};
pub use boom_client::progress::{Committed, Counts, Decided};

/// What a record may need beside its value.
const ENVELOPE: usize = 1 << 20;

/// The largest record; of a larger dead letter the beginning is kept, and a header says its length.
const MAX_BYTES: usize = record::MAX_BYTES + ENVELOPE;

/// Where a node writes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster.
    pub connection: Connection,
    /// The producer's name (`transactional.id`): the node and its incarnation.
    pub name: String,
    /// Topic of the results.
    pub results: String,
    /// Topic of the dead letters.
    pub dead_letters: String,
    /// Topic of progress and books.
    pub progress: String,
    /// Partitions of the topics of results and dead letters, when they are made.
    pub partitions: i32,
    /// Copies of each partition, when topics are made; -1: as the brokers have it.
    pub replication: i32,
    /// After so long Kafka aborts what is open: the longest that Kafka may be away without a new incarnation.
    pub transaction_timeout: Duration,
}

impl Config {
    /// The topics `boom.results`, `boom.dead-letters` and `boom.progress`.
    pub fn new(connection: Connection, name: &str) -> Self {
        Self {
            connection,
            name: name.to_owned(),
            results: "boom.results".to_owned(),
            dead_letters: "boom.dead-letters".to_owned(),
            progress: "boom.progress".to_owned(),
            partitions: 8,
            replication: -1,
            transaction_timeout: Duration::from_secs(60),
        }
    }

    /// The same with the topics that are of a replay alone.
    #[must_use]
    pub fn of_replay(&self, replay: &str) -> Self {
        let of = |topic: &str| format!("{topic}.{replay}");
        Self { results: of(&self.results), dead_letters: of(&self.dead_letters), ..self.clone() }
    }
}

/// Why something was not committed. That Kafka is away is none: that is waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has taken over.
    #[error("the producer {name} is fenced: its partitions are another's, and it commits nothing any more")]
    Fenced {
        /// The producer.
        name: String,
    },
    /// The producer can not go on; another incarnation can.
    #[error("the producer {name} can not go on: {problem}")]
    Producer {
        /// The producer.
        name: String,
        /// Why.
        problem: String,
    },
    /// It was told to wait no longer.
    #[error("waiting for Kafka was given up, since the node stops")]
    Stopped,
    /// There is no client.
    #[error(transparent)]
    Connection(#[from] boom_client::kafka::Error),
    /// A topic can not be made.
    #[error("the topic {topic} can not be made: {problem}")]
    Topic {
        /// Which.
        topic: String,
        /// Why.
        problem: String,
    },
    /// A topic can not be deleted.
    #[error("the topic {topic} can not be deleted: {problem}")]
    Kept {
        /// Which.
        topic: String,
        /// Why.
        problem: String,
    },
    /// A result does not fit its own schema.
    #[error("a result can not be encoded: {0}")]
    Encode(String),
    /// A result is too large.
    #[error("a record is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// What was written can not be read back.
    #[error("the progress of {key} can not be read: {problem}")]
    Damaged {
        /// The key of the record.
        key: String,
        /// How.
        problem: String,
    },
    /// The code.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl Error {
    /// Whether another incarnation of the node could go on where this sink can not.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Producer { .. } | Self::Stopped)
    }
}

impl From<boom_client::progress::Error> for Error {
    fn from(error: boom_client::progress::Error) -> Self {
        use boom_client::progress::Error as Read;
        match error {
            Read::Connection(error) => Self::Connection(error),
            Read::Damaged { key, problem } => Self::Damaged { key, problem },
            Read::Stopped => Self::Stopped,
        }
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Results in Kafka.
#[derive(Debug)]
pub struct Kafka {
    config: Arc<Config>,
    compute: Compute,
    provenance: Arc<Provenance>,
    output: Arc<Mutex<Output>>,
}

/// Why nothing is committed any more.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Fenced,
    Failed,
}

#[derive(Debug)]
struct Output {
    producer: Producer,
    /// Set by the first error: nothing is committed after it.
    ended: Option<Ended>,
    counts: Counts,
}

impl Kafka {
    /// Makes the topics that are missing and takes the producer's name. After `stop` nothing waits for Kafka any more.
    ///
    /// # Errors
    /// The settings are wrong, a topic can not be made, or `stop`.
    pub async fn open(
        config: Config,
        compute: Compute,
        provenance: Arc<Provenance>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let config = Arc::new(config);
        let (of, until) = (Arc::clone(&config), stop.clone());
        let producer = blocking(move || {
            topics::make(&of, &until)?;
            Producer::open(&of.connection, &of.name, of.transaction_timeout, &until)
        });
        let producer = producer.await?;
        let output = Arc::new(Mutex::new(Output { producer, ended: None, counts: Counts::default() }));
        Ok(Self { config, compute, provenance, output })
    }
}

/// Fences the producer of that name, wherever it is: what it has open is aborted, and it can commit nothing any more.
///
/// # Errors
/// The settings are wrong, or `stop`.
pub async fn fence(connection: &Connection, name: &str, stop: CancellationToken) -> Result<(), Error> {
    let (connection, name) = (connection.clone(), name.to_owned());
    blocking(move || Producer::open(&connection, &name, Duration::from_secs(60), &stop).map(drop)).await
}

/// Makes the topics of a replay, as far as they are missing.
///
/// # Errors
/// The settings are wrong, a topic can not be made, or `stop`.
pub async fn make_replay(config: &Config, replay: &str, stop: CancellationToken) -> Result<(), Error> {
    let of = config.of_replay(replay);
    blocking(move || topics::make(&of, &stop)).await
}

/// Erases what is of a replay: its topics, and its records in the topic of the progress. What is gone already is as good.
///
/// # Errors
/// The settings are wrong, it is refused, or `stop`.
pub async fn erase_replay(config: &Config, replay: &str, stop: CancellationToken) -> Result<(), Error> {
    let (config, replay) = (config.clone(), replay.to_owned());
    blocking(move || {
        topics::delete(&config.of_replay(&replay), &stop)?;
        erase::forget(&config, &replay, &stop)
    })
    .await
}

/// All that is committed in a progress topic.
///
/// # Errors
/// The settings are wrong, a record can not be read, or `stop`.
pub async fn read_committed(connection: &Connection, topic: &str, stop: CancellationToken) -> Result<Committed, Error> {
    let (connection, topic) = (connection.clone(), topic.to_owned());
    blocking(move || Ok(boom_client::progress::read(&connection, &topic, &stop)?)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Panicked::from)?
}

impl Sink for Kafka {
    type Error = Error;

    /// Returns when Kafka has committed; waits for it as long as it is away. Run it to its end: who drops it does not know what became of it.
    async fn commit(&mut self, mut emission: Emission) -> Result<(), Error> {
        let mut results = vec![(self.config.results.clone(), std::mem::take(&mut emission.results))];
        for (replay, replayed) in &mut emission.replays {
            results.push((self.config.of_replay(replay).results, std::mem::take(&mut replayed.results)));
        }
        let provenance = Arc::clone(&self.provenance);
        let encode = move || {
            let records = results.iter().map(|(topic, results)| encode(results, &provenance, topic));
            records.collect::<Result<Vec<_>, _>>()
        };
        let records = self.compute.run(encode).await??.into_iter().flatten().collect();
        let (config, output) = (Arc::clone(&self.config), Arc::clone(&self.output));
        let write = move || output.lock().expect("nobody panics with the output").commit(&config, &emission, records);
        blocking(write).await
    }
}

impl Output {
    fn commit(&mut self, config: &Config, emission: &Emission, mut records: Vec<Record>) -> Result<(), Error> {
        if let Some(ended) = self.ended {
            let name = config.name.clone();
            return Err(match ended {
                Ended::Fenced => Error::Fenced { name },
                Ended::Failed => Error::Producer { name, problem: "an earlier commit failed".to_owned() },
            });
        }
        records.extend(emission.dead_letters.iter().map(|letter| dead_letter(letter, &config.dead_letters)));
        for (replay, replayed) in &emission.replays {
            let topic = config.of_replay(replay).dead_letters;
            records.extend(replayed.dead_letters.iter().map(|letter| dead_letter(letter, &topic)));
        }
        let json = |key: String, value: serde_json::Result<Vec<u8>>| {
            let payload = value.map_err(|error| Error::Encode(error.to_string()))?;
            Ok::<_, Error>(Record { topic: config.progress.clone(), key, payload, headers: None })
        };
        for (partition, time) in &emission.touched {
            let Some(next) = emission.progress.get(partition) else { continue };
            let replayed = emission.replays.get(stream_of(partition));
            let books = replayed.map_or(&emission.books, |replayed| &replayed.books);
            let decided = progress::decided(partition, *next, *time, books);
            records.push(json(partition.clone(), serde_json::to_vec(&decided))?);
        }
        // Those of a replay with each of its commits: they may have been erased since.
        let touched: BTreeSet<&str> = emission.touched.keys().map(|partition| stream_of(partition)).collect();
        for (replay, replayed) in emission.replays.iter().filter(|(replay, _)| touched.contains(replay.as_str())) {
            let name = boom_client::progress::in_replay(&config.name, replay);
            let counts = serde_json::to_vec(&progress::counts(&replayed.books));
            records.push(json(boom_client::progress::producer_key(&name), counts)?);
        }
        let counts = progress::counts(&emission.books);
        if counts != self.counts {
            records.push(json(boom_client::progress::producer_key(&config.name), serde_json::to_vec(&counts))?);
        }
        if records.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.producer.transact(&records) {
            self.ended = Some(if matches!(error, Error::Fenced { .. }) { Ended::Fenced } else { Ended::Failed });
            return Err(error);
        }
        self.counts = counts;
        Ok(())
    }
}

fn encode(results: &[ResultRecord], provenance: &Provenance, topic: &str) -> Result<Vec<Record>, Error> {
    let failed = |error: apache_avro::Error| Error::Encode(error.to_string());
    let mut writer = GenericSingleObjectWriter::new_with_capacity(&SCHEMA, 64).map_err(failed)?;
    let encode = |result: &ResultRecord| {
        let mut payload = Vec::new();
        writer.write_value_ref(&result.avro(provenance), &mut payload).map_err(failed)?;
        Ok(Record { topic: topic.to_owned(), key: result.object_id.clone(), payload, headers: None })
    };
    results.iter().map(encode).collect()
}

fn dead_letter(letter: &DeadLetter, topic: &str) -> Record {
    let origin = &letter.origin;
    let headers = Headers {
        reason: letter.reason,
        message: &letter.message,
        stage: letter.stage,
        survey: letter.survey,
        name: &letter.name,
        source: &origin.source,
        offset: origin.offset,
        record: origin.record,
        bytes: letter.bytes.len() as u64,
    };
    let kept = letter.bytes.len().min(MAX_BYTES - ENVELOPE);
    let key = origin.source.to_string();
    Record { topic: topic.to_owned(), key, payload: letter.bytes[..kept].to_vec(), headers: Some(headers.write()) }
}
