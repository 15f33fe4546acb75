//! A topic as its readers see it: committed records only, from where the reader wants to begin; waiting for more, or up to its end.
//!
//! What the records mean is the matter of who reads them. Kafka being away is waited for; that it never was there is an error.

mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use boom_plan::orders::Start;
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};

pub use self::topic::Topic;
use crate::kafka::{self, Connection, Context, STEP};

/// How often it is looked whether a topic has more partitions.
const LOOK: Duration = Duration::from_secs(30);

/// How long a topic is waited for that has no leader, or Kafka.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is read, from where on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderConfig {
    /// The Kafka cluster.
    pub connection: Connection,
    /// The topic.
    pub topic: String,
    /// With a group several readers share the topic, and who comes back goes on where `commit` was called last.
    pub group: Option<String>,
    /// Where to begin with what the group has not begun; without a group with all.
    pub from: Start,
}

/// A record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp, Unix milliseconds, if it has one.
    pub time_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its headers.
    pub headers: BTreeMap<String, Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

impl Record {
    /// Where it is, for people.
    pub fn place(&self) -> String {
        format!("{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

/// Why a topic can not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no client.
    #[error(transparent)]
    Connection(#[from] kafka::Error),
    /// Kafka does not answer, or says no.
    #[error("the topic {topic} at {brokers}: {problem}")]
    Kafka {
        /// The topic.
        topic: String,
        /// Where.
        brokers: String,
        /// What is wrong.
        problem: Box<KafkaError>,
    },
    /// There is no such topic.
    #[error(
        "there is no topic {topic} at {brokers}: see whether these are its name and its brokers, and whether anything was written yet"
    )]
    NoTopic {
        /// The topic.
        topic: String,
        /// Where.
        brokers: String,
    },
}

impl Error {
    /// Whether it may go by itself.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Kafka { problem, .. } if passing(problem))
    }
}

/// Whether an error is that Kafka is away, or on its way.
fn passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::RebalanceInProgress
        )
    )
}

/// The error of a call to that cluster about that topic.
pub(crate) fn unreachable(connection: &Connection, topic: &str, problem: KafkaError) -> Error {
    Named::of(connection, topic).error(problem)
}

/// Says of errors what was read, and where.
#[derive(Debug, Clone)]
struct Named {
    topic: String,
    brokers: String,
}

/// Asks again and again while the error is one that passes, as long as a topic is waited for. Blocking.
fn patiently<T>(passes: impl Fn(&Error) -> bool, mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        match ask() {
            Err(error) if passes(&error) && std::time::Instant::now() < until => {
                tracing::debug!("waiting for the topic: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
            outcome => return outcome,
        }
    }
}

impl Named {
    fn of(connection: &Connection, topic: &str) -> Self {
        Self { topic: topic.to_owned(), brokers: connection.brokers.clone() }
    }

    fn error(&self, problem: KafkaError) -> Error {
        Error::Kafka { topic: self.topic.clone(), brokers: self.brokers.clone(), problem: Box::new(problem) }
    }

    /// The partitions of the topic. Blocking.
    fn partitions<C: Consumer<Context>>(&self, consumer: &C) -> Result<Vec<i32>, Error> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), STEP).map_err(|error| self.error(error))?;
        let Some(topic) = metadata.topics().first() else { return Ok(Vec::new()) };
        match topic.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(Error::NoTopic { topic: self.topic.clone(), brokers: self.brokers.clone() })
            }
            Some(code) => Err(self.error(KafkaError::MetadataFetch(code))),
            None => Ok(topic.partitions().iter().map(|partition| partition.id()).collect()),
        }
    }

    /// The first offset of each partition that is there, and that behind what is decided. Blocking; a topic that was made a moment ago, or
    /// whose leaders change, is waited for.
    fn ends<C: Consumer<Context>>(&self, consumer: &C) -> Result<BTreeMap<i32, (i64, i64)>, Error> {
        patiently(Error::is_retryable, || self.try_ends(consumer))
    }

    fn try_ends<C: Consumer<Context>>(&self, consumer: &C) -> Result<BTreeMap<i32, (i64, i64)>, Error> {
        let ends = self.partitions(consumer)?.into_iter().map(|partition| {
            let ends = consumer.fetch_watermarks(&self.topic, partition, STEP);
            ends.map(|ends| (partition, ends)).map_err(|error| self.error(error))
        });
        ends.collect()
    }

    /// Where each partition begins. Blocking.
    fn starts<C: Consumer<Context>>(&self, consumer: &C, from: Start) -> Result<BTreeMap<i32, i64>, Error> {
        let ends = self.ends(consumer)?;
        let Start::At(time) = from else {
            let at = |(low, high)| if from == Start::Earliest { low } else { high };
            return Ok(ends.into_iter().map(|(partition, ends)| (partition, at(ends))).collect());
        };
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let wanted = self.list(ends.keys().map(|partition| (*partition, Offset::Offset(time))))?;
        let found = consumer.offsets_for_times(wanted, STEP).map_err(|error| self.error(error))?;
        let at = |(partition, (_, high)): (i32, (i64, i64))| match found.find_partition(&self.topic, partition) {
            Some(found) => match found.offset() {
                Offset::Offset(offset) => (partition, offset),
                _ => (partition, high),
            },
            None => (partition, high),
        };
        Ok(ends.into_iter().map(at).collect())
    }

    fn list(&self, offsets: impl IntoIterator<Item = (i32, Offset)>) -> Result<TopicPartitionList, Error> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.topic, partition, offset).map_err(|error| self.error(error))?;
        }
        Ok(list)
    }
}

/// Reads on and on.
pub struct Records {
    config: ReaderConfig,
    consumer: Arc<StreamConsumer<Context>>,
    named: Named,
    look: Instant,
    /// The offsets of the next records: what is assigned, or has come of a group's partitions.
    next: BTreeMap<i32, Offset>,
    /// Those of the former client, which a new one may give once more.
    given: BTreeMap<i32, Offset>,
    /// Looks in a row that Kafka has not answered, while nothing came.
    unanswered: u32,
}

/// After so many looks in a row without an answer another client goes on: one can go deaf, and a new one hears.
const DEAF: u32 = 3;

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("named", &self.named).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Records {
    /// Begins to read. What is written from now on is read in any case.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub async fn open(config: ReaderConfig) -> Result<Self, Error> {
        let named = Named::of(&config.connection, &config.topic);
        let consumer = client(&config)?;
        let (of, on, how) = (named.clone(), Arc::clone(&consumer), config.clone());
        let next = blocking(move || begin(&of, &on, &how)).await?;
        let (look, given) = (Instant::now() + LOOK, BTreeMap::new());
        Ok(Self { config, consumer, named, look, next, given, unanswered: 0 })
    }

    /// The next record; waits for one as long as there is none.
    ///
    /// # Errors
    /// The topic is gone, may not be read, or what should be read next was removed.
    pub async fn next(&mut self) -> Result<Record, Error> {
        loop {
            match timeout_at(self.look, self.consumer.recv()).await {
                Ok(Ok(message)) => {
                    let record = record(&message);
                    self.unanswered = 0;
                    let (partition, next) = (record.partition, Offset::Offset(record.offset + 1));
                    if matches!(self.given.get(&partition), Some(Offset::Offset(given)) if record.offset < *given) {
                        continue;
                    }
                    self.given.remove(&partition);
                    self.next.insert(partition, next);
                    if self.config.group.is_some() {
                        let stored = self.consumer.store_offset(&record.topic, record.partition, record.offset);
                        stored.map_err(|error| self.named.error(error))?;
                    }
                    return Ok(record);
                }
                Ok(Err(error)) if passing(&error) => tracing::debug!("reading {} waits: {error}", self.named.topic),
                Ok(Err(error)) => return Err(self.named.error(error)),
                Err(_) => self.look().await?,
            }
        }
    }

    /// All records that were given so far are done with: who comes back under the same group gets none of them.
    ///
    /// # Errors
    /// Kafka does not answer, or another reader has got the partitions in the meantime.
    pub async fn commit(&self) -> Result<(), Error> {
        let (of, on) = (self.named.clone(), Arc::clone(&self.consumer));
        blocking(move || match on.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(of.error(error)),
        })
        .await
    }

    /// Takes in partitions that have come since, from their beginning. Of a group, Kafka does.
    async fn look(&mut self) -> Result<(), Error> {
        self.look = Instant::now() + LOOK;
        let (of, on) = (self.named.clone(), Arc::clone(&self.consumer));
        let (known, is_group) = (self.next.clone(), self.config.group.is_some());
        let looked = blocking(move || {
            let mut new = of.partitions(&*on)?;
            new.retain(|found| !is_group && !known.contains_key(found));
            let list = of.list(new.iter().map(|partition| (*partition, Offset::Beginning)))?;
            if !new.is_empty() {
                on.incremental_assign(&list).map_err(|error| of.error(error))?;
            }
            Ok(new)
        });
        match looked.await {
            Ok(new) => {
                self.unanswered = 0;
                self.next.extend(new.into_iter().map(|partition| (partition, Offset::Beginning)));
            }
            Err(error) if error.is_retryable() => {
                self.unanswered += 1;
                self.look = Instant::now() + LOOK / 6;
            }
            Err(error) => return Err(error),
        }
        if self.unanswered >= DEAF {
            self.unanswered = 0;
            self.replace_client()?;
        }
        Ok(())
    }

    /// Goes on with a new client where this one is.
    fn replace_client(&mut self) -> Result<(), Error> {
        tracing::debug!("reading {} goes on with a new client: the former one hears nothing", self.named.topic);
        let consumer = client(&self.config)?;
        if self.config.group.is_some() {
            consumer.subscribe(&[&self.named.topic]).map_err(|error| self.named.error(error))?;
        } else {
            let list = self.named.list(self.next.iter().map(|(partition, next)| (*partition, *next)))?;
            consumer.assign(&list).map_err(|error| self.named.error(error))?;
        }
        self.given.clone_from(&self.next);
        let deaf = std::mem::replace(&mut self.consumer, consumer);
        // Its end may wait for brokers that it does not find.
        std::thread::spawn(move || drop(deaf));
        Ok(())
    }
}

fn client(config: &ReaderConfig) -> Result<Arc<StreamConsumer<Context>>, Error> {
    // A consumer wants the name of a group; without one of the reader's own nothing is committed under it.
    let group = config.group.as_deref().unwrap_or("boom-reader");
    Ok(Arc::new(config.connection.client(&[
        ("isolation.level", "read_committed"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", if config.group.is_some() { "earliest" } else { "error" }),
        ("group.id", group),
    ])?))
}

/// Assigns or subscribes; gives where the partitions begin that are assigned. Blocking.
fn begin(
    named: &Named,
    consumer: &StreamConsumer<Context>,
    config: &ReaderConfig,
) -> Result<BTreeMap<i32, Offset>, Error> {
    let starts = named.starts(consumer, config.from)?;
    let list = named.list(starts.iter().map(|(partition, offset)| (*partition, Offset::Offset(*offset))))?;
    if config.group.is_none() {
        consumer.assign(&list).map_err(|error| named.error(error))?;
        return Ok(starts.into_iter().map(|(partition, offset)| (partition, Offset::Offset(offset))).collect());
    }
    // Where the group has not begun, it begins now, at what `from` means now.
    let there = consumer.committed_offsets(list, STEP).map_err(|error| named.error(error))?;
    let begun = |partition: i32| {
        let found = there.find_partition(&named.topic, partition).map(|found| found.offset());
        matches!(found, Some(Offset::Offset(_)))
    };
    let new = starts.iter().filter(|(partition, _)| !begun(**partition));
    let new = named.list(new.map(|(partition, offset)| (*partition, Offset::Offset(*offset))))?;
    if new.count() > 0 {
        match consumer.commit(&new, CommitMode::Sync) {
            Ok(()) => {}
            // Others of the group read already, and have begun.
            Err(error) if others(&error) => {}
            Err(error) => return Err(named.error(error)),
        }
    }
    consumer.subscribe(&[&named.topic]).map_err(|error| named.error(error))?;
    Ok(BTreeMap::new())
}

fn others(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress)
    )
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .expect("it does not panic, and the runtime lives as long as who waits in it")
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        time_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect(),
        value: message.payload().map(<[u8]>::to_vec),
    }
}
