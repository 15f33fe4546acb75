//! Packets to a topic as a survey sends them: without a key, over all partitions in turn, their bytes as they are.
//!
//! Packet `n` of an archive goes to partition `n` modulo their number, and its headers say which archive and packet it is. Within a
//! partition the order is kept (idempotent producer). So the last record of a partition says which of its packets come next, and who was
//! killed goes on there, exactly: nothing is missing and nothing comes twice, and no file beside the archive has to be kept.

use std::collections::VecDeque;
use std::time::Duration;

use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::Instant;

use crate::kafka::{self, Connection, Context};
use crate::records::{self, Record, Topic, unreachable};
use crate::topics::{self, MAX_BYTES};

/// Which archive a record is of.
const ARCHIVE: &str = "boom-archive";
/// Which packet of it, from 0.
const PACKET: &str = "boom-packet";
/// Over how many partitions it was sent.
const PARTITIONS: &str = "boom-partitions";

/// Partitions of a topic that is made, if nothing else is said.
const DEFAULT_PARTITIONS: i32 = 8;

/// So many packets may be on their way.
const UNDER_WAY: usize = 4096;

/// At the end of a partition one of the last so many records is usually ours.
const LAST: i64 = 64;

/// Before somebody goes on, the ends of the topic must have stood still for so long: what a killed sender had on its way has come by then.
const STILL: Duration = Duration::from_secs(1);

/// What is sent, where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceConfig {
    /// The Kafka cluster.
    pub connection: Connection,
    /// The topic; it is made if it is missing.
    pub topic: String,
    /// Its partitions, if that matters.
    pub partitions: Option<u16>,
    /// What tells the archive from others, the same whenever it is sent again.
    pub archive: String,
}

/// Why packets were not sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka.
    #[error(transparent)]
    Records(#[from] records::Error),
    /// There is no client.
    #[error(transparent)]
    Connection(#[from] kafka::Error),
    /// The topic has another number of partitions.
    #[error("the topic {topic} has {there} partitions and not {wanted}: leave the number out, or take another topic")]
    Partitions {
        /// The topic.
        topic: String,
        /// How many it has.
        there: i32,
        /// How many it should have.
        wanted: i32,
    },
    /// The topic got more partitions since the archive was begun.
    #[error(
        "the archive was begun over {before} partitions and {topic} has {there} now: it can not be gone on with; send it to another topic"
    )]
    Repartitioned {
        /// The topic.
        topic: String,
        /// How many it has.
        there: i32,
        /// How many it had.
        before: String,
    },
    /// Somebody else sends the same archive.
    #[error("the archive is being sent to {topic} by somebody else: wait until that has ended")]
    Busy {
        /// The topic.
        topic: String,
    },
    /// One packet.
    #[error(
        "the packet {number} ({name}) can not be sent to {topic}: {problem}; those before it are there, and the same command goes on with it"
    )]
    Packet {
        /// Its number.
        number: u64,
        /// What a person would call it.
        name: String,
        /// The topic.
        topic: String,
        /// What is wrong.
        problem: Box<KafkaError>,
    },
}

impl Error {
    /// Whether the same may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Records(error) => error.is_retryable(),
            Self::Packet { problem, .. } => problem.rdkafka_error_code() != Some(RDKafkaErrorCode::MessageSizeTooLarge),
            Self::Busy { .. } => true,
            Self::Connection(_) | Self::Partitions { .. } | Self::Repartitioned { .. } => false,
        }
    }
}

/// A packet that is on its way.
struct UnderWay {
    number: u64,
    name: String,
    delivery: DeliveryFuture,
}

/// Sends the packets of one archive.
pub struct Sender {
    producer: FutureProducer<Context>,
    config: ProduceConfig,
    /// Of each partition the number of the next packet that is to be sent to it.
    next: Vec<u64>,
    under_way: VecDeque<UnderWay>,
    delivered: u64,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("config", &self.config).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Sender {
    /// Makes the topic if it is missing, else finds out what of the archive is in it.
    ///
    /// # Errors
    /// Kafka does not answer, the partitions are not as they should be, or somebody else is sending.
    pub async fn open(config: ProduceConfig) -> Result<Self, Error> {
        let wanted = config.partitions.map(i32::from);
        let topic = NewTopic::new(&config.topic, wanted.unwrap_or(DEFAULT_PARTITIONS), TopicReplication::Fixed(-1));
        let is_new = topics::make(&config.connection, topic).await?;
        let producer = config.connection.client(&[
            ("enable.idempotence", "true"),
            ("compression.type", "zstd"),
            ("linger.ms", "20"),
            ("message.max.bytes", MAX_BYTES),
            ("queue.buffering.max.kbytes", "65536"),
            // That Kafka is away is waited for.
            ("message.timeout.ms", "0"),
        ])?;
        let of = config.clone();
        let find = tokio::task::spawn_blocking(move || find(&of, is_new));
        let next = find.await.expect("it does not panic, and the runtime lives as long as who waits in it")?;
        let there = i32::try_from(next.len()).unwrap_or(i32::MAX);
        match wanted {
            Some(wanted) if wanted != there => Err(Error::Partitions { topic: config.topic, there, wanted }),
            _ => Ok(Self { producer, config, next, under_way: VecDeque::new(), delivered: 0 }),
        }
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> usize {
        self.next.len()
    }

    /// Whether that packet is in the topic already.
    pub fn has(&self, number: u64) -> bool {
        number < self.next[self.partition(number)]
    }

    fn partition(&self, number: u64) -> usize {
        usize::try_from(number % self.next.len() as u64).unwrap_or(0)
    }

    /// How many packets Kafka has taken from this sender.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Sends a packet, unless it is there; packets are given in their order. Waits while too much is on its way.
    ///
    /// # Errors
    /// This one or one before it can not be sent; nothing behind it in its partition is then.
    pub async fn send(&mut self, number: u64, name: &str, bytes: &[u8]) -> Result<(), Error> {
        if self.has(number) {
            return Ok(());
        }
        let partition = self.partition(number);
        while self.under_way.len() >= UNDER_WAY {
            self.settle().await?;
        }
        loop {
            let headers = self.headers(number);
            let target = i32::try_from(partition).unwrap_or(i32::MAX);
            let record =
                FutureRecord::<(), [u8]>::to(&self.config.topic).partition(target).payload(bytes).headers(headers);
            match self.producer.send_result(record) {
                Ok(delivery) => {
                    self.next[partition] = number + self.next.len() as u64;
                    self.under_way.push_back(UnderWay { number, name: name.to_owned(), delivery });
                    return self.take_in();
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if !self.under_way.is_empty() => {
                    self.settle().await?;
                }
                Err((problem, _)) => return Err(self.failed(number, name, problem)),
            }
        }
    }

    /// Waits until Kafka has taken all.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn finish(&mut self) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Takes note of what is delivered, without waiting.
    fn take_in(&mut self) -> Result<(), Error> {
        use futures_util::FutureExt as _;
        while let Some(first) = self.under_way.front_mut() {
            let Some(outcome) = (&mut first.delivery).now_or_never() else { break };
            let first = self.under_way.pop_front().expect("it was looked at");
            self.note(&first, outcome)?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        // It stays in the queue while it is waited for: who is interrupted here loses no count of it.
        let Some(first) = self.under_way.front_mut() else { return Ok(()) };
        let outcome = (&mut first.delivery).await;
        let first = self.under_way.pop_front().expect("it was waited for");
        self.note(&first, outcome)
    }

    fn note(&mut self, sent: &UnderWay, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Ok(Ok(_)) => {
                self.delivered += 1;
                Ok(())
            }
            Ok(Err((problem, _))) => Err(self.failed(sent.number, &sent.name, problem)),
            Err(_) => Err(self.failed(sent.number, &sent.name, KafkaError::Canceled)),
        }
    }

    fn failed(&self, number: u64, name: &str, problem: KafkaError) -> Error {
        Error::Packet { number, name: name.to_owned(), topic: self.config.topic.clone(), problem: Box::new(problem) }
    }

    fn headers(&self, number: u64) -> OwnedHeaders {
        let said = [
            (ARCHIVE, self.config.archive.clone()),
            (PACKET, number.to_string()),
            (PARTITIONS, self.next.len().to_string()),
        ];
        said.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_bytes()) })
        })
    }
}

/// What became of a record.
type Outcome = <DeliveryFuture as Future>::Output;

/// Of each partition the number of the next packet of the archive. Blocking.
fn find(config: &ProduceConfig, is_new: bool) -> Result<Vec<u64>, Error> {
    let reader = Topic::made(&config.connection, &config.topic)?;
    let mut ends = reader.ends()?;
    let partitions = ends.len();
    if partitions == 0 {
        return Err(unreachable(&config.connection, &config.topic, KafkaError::Canceled).into());
    }
    let first = (0..partitions as u64).collect();
    if is_new {
        return Ok(first);
    }
    // Others may write to the topic all the time; only of this archive nothing may come any more.
    let (mut next, mut since) = (last(config, &reader, first)?, Instant::now());
    let until = since + 10 * STILL;
    while since.elapsed() < STILL {
        std::thread::sleep(STILL / 5);
        let now = reader.ends()?;
        if now != ends {
            ends = now;
            let found = last(config, &reader, (0..partitions as u64).collect())?;
            if found != next {
                (next, since) = (found, Instant::now());
            }
        }
        if Instant::now() > until {
            return Err(Error::Busy { topic: config.topic.clone() });
        }
    }
    Ok(next)
}

/// The packet behind the last of the archive in each partition: near its end, else anywhere in it.
fn last(config: &ProduceConfig, reader: &Topic, mut next: Vec<u64>) -> Result<Vec<u64>, Error> {
    let first = next.clone();
    let ends = reader.ends()?;
    let near = ends.iter().map(|(partition, (low, high))| (*partition, ((*low).max(high - LAST), *high))).collect();
    reader.read(&near, |record| note(config, &mut next, &record))?;
    let found = |partition: i32| usize::try_from(partition).is_ok_and(|at| next.get(at) != first.get(at));
    let rest = near.iter().filter(|(partition, (from, _))| ends[*partition].0 < *from && !found(**partition));
    let rest = rest.map(|(partition, (from, _))| (*partition, (ends[partition].0, *from))).collect();
    reader.read(&rest, |record| note(config, &mut next, &record))?;
    Ok(next)
}

/// Takes note of a record, if it is of the archive.
fn note(config: &ProduceConfig, next: &mut [u64], record: &Record) -> Result<(), Error> {
    let header = |name: &str| record.headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
    if header(ARCHIVE) != Some(&config.archive) {
        return Ok(());
    }
    let partitions = next.len() as u64;
    let before = header(PARTITIONS).unwrap_or_default();
    if before.parse() != Ok(partitions) {
        let (topic, before) = (config.topic.clone(), before.to_owned());
        return Err(Error::Repartitioned { topic, there: i32::try_from(partitions).unwrap_or(i32::MAX), before });
    }
    let number = header(PACKET).and_then(|number| number.parse::<u64>().ok());
    let place = usize::try_from(record.partition).ok().and_then(|at| next.get_mut(at));
    if let (Some(number), Some(place)) = (number, place) {
        *place = (*place).max(number + partitions);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config() -> ProduceConfig {
        let connection = Connection::plain("a:1");
        ProduceConfig { connection, topic: "night".to_owned(), partitions: None, archive: "night.tar".to_owned() }
    }

    fn record(partition: i32, archive: &str, packet: &str, partitions: &str) -> Record {
        let said = [(ARCHIVE, archive), (PACKET, packet), (PARTITIONS, partitions)];
        let headers = said.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Record { partition, headers: headers.collect::<BTreeMap<_, _>>(), ..Record::default() }
    }

    #[test]
    fn the_last_record_of_a_partition_says_which_packet_comes_next() {
        let mut next = vec![0, 1];
        for record in [record(1, "night.tar", "3", "2"), record(1, "night.tar", "1", "2"), record(0, "other", "8", "2")]
        {
            note(&config(), &mut next, &record).unwrap();
        }
        note(&config(), &mut next, &Record::default()).unwrap();
        assert_eq!(next, [0, 5]);
    }

    #[test]
    fn an_archive_that_was_begun_over_fewer_partitions_is_not_gone_on_with() {
        let error = note(&config(), &mut [0, 1, 2], &record(1, "night.tar", "3", "2")).unwrap_err().to_string();
        assert!(error.contains("begun over 2 partitions and night has 3 now"), "{error}");
    }
}
