//! What a sink has written to a real Kafka, as its readers see it, and what goes wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apache_avro::GenericSingleObjectReader;
use apache_avro::types::Value;
use boom_client::kafka::Connection;
use boom_node::compute::Compute;
use boom_node::sink::kafka::{Committed, Config, Error, Kafka, fence, read_committed};
use boom_node::stage::record::{Provenance, SCHEMA};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::eventually::eventually;
use crate::output::timeless;

/// How long Kafka may take for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of the topics of results and dead letters.
const PARTITIONS: i32 = 2;

/// A record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Its key.
    pub key: String,
    /// Its value.
    pub payload: Vec<u8>,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
}

impl Read {
    /// A header that is there.
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).unwrap_or_else(|| panic!("{self:?} has no {name}")).clone()
    }
}

/// The topics of one output.
#[derive(Debug, Clone)]
pub struct KafkaOutput {
    brokers: String,
    prefix: String,
}

/// Runs a future to its end, whatever runtime there is around.
pub(crate) fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run =
        || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
    std::thread::scope(|scope| scope.spawn(run).join().expect("it does not panic"))
}

impl KafkaOutput {
    /// The topics with that prefix.
    pub fn new(brokers: &str, prefix: &str) -> Self {
        Self { brokers: brokers.to_owned(), prefix: prefix.to_owned() }
    }

    /// Where Kafka is.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The ends of all partitions of a topic, in sum: of `read_committed` that of what is decided; 0 while Kafka does not answer.
    pub fn end(&self, topic: &str, isolation: &str) -> i64 {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("isolation.level", isolation).set("group.id", "test");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).map_or(0, |(_, end)| end);
        (0..PARTITIONS).map(end).sum()
    }

    /// Where the topic of the progress ends, whole and as far as it is decided: they differ while a transaction is open.
    pub fn ends(&self) -> [Option<i64>; 2] {
        ["read_uncommitted", "read_committed"].map(|isolation| {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", &self.brokers).set("isolation.level", isolation).set("group.id", "test");
            let consumer: BaseConsumer = config.create().expect("a consumer");
            consumer.fetch_watermarks(&self.config("").progress, 0, PATIENCE).ok().map(|(_, end)| end)
        })
    }

    /// The settings of a sink with a producer of that name.
    pub fn config(&self, name: &str) -> Config {
        let topic = |of: &str| format!("{}.{of}", self.prefix);
        let (results, dead_letters, progress) = (topic("results"), topic("dead"), topic("progress"));
        let name = format!("{}.{name}", self.prefix);
        let config = Config::new(Connection::plain(&self.brokers), &name);
        Config { results, dead_letters, progress, partitions: PARTITIONS, ..config }
    }

    /// A sink with a producer of that name.
    ///
    /// # Errors
    /// What the sink says.
    pub fn open(&self, name: &str) -> Result<Kafka, Error> {
        let compute = Compute::start(1).expect("a thread starts");
        wait(Kafka::open(self.config(name), compute, Arc::new(Provenance::default()), CancellationToken::new()))
    }

    /// Fences a producer.
    pub fn fence(&self, name: &str) {
        let config = self.config(name);
        wait(fence(&config.connection, &config.name, CancellationToken::new())).expect("it is fenced");
    }

    /// The progress that is committed; producers by the names that they were opened with.
    pub fn committed(&self) -> Committed {
        let config = self.config("");
        let read = read_committed(&config.connection, &config.progress, CancellationToken::new());
        let mut committed = wait(read).expect("the progress is read");
        let producers = std::mem::take(&mut committed.producers).into_iter();
        let named = |(name, counts): (String, _)| (name.trim_start_matches(&config.name).to_owned(), counts);
        committed.producers = producers.map(named).collect();
        committed
    }

    /// The candids of all results, by object in their order.
    pub fn candids(&self, isolation: &str) -> Vec<i64> {
        let reader =
            GenericSingleObjectReader::builder().schema(SCHEMA.clone()).build().expect("the schema of results");
        let candid = |read: &Read| {
            let value = reader.read_value(&mut read.payload.as_slice()).expect("a result in its schema");
            let Value::Record(fields) = value else { panic!("a result is a record") };
            assert!(fields.iter().any(|field| field.1 == Value::String(read.key.clone())), "its key is its objectId");
            match fields.into_iter().find(|field| field.0 == "candid") {
                Some((_, Value::Long(candid))) => candid,
                other => panic!("no candid: {other:?}"),
            }
        };
        self.read(&self.config("").results, isolation).iter().map(candid).collect()
    }

    /// All results that are committed, without the time of the run.
    pub fn results(&self) -> Vec<Value> {
        self.results_in(&self.config("").results)
    }

    /// The names of all topics.
    pub fn topics(&self) -> BTreeSet<String> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let metadata = consumer.fetch_metadata(None, PATIENCE).expect("Kafka answers");
        metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
    }

    /// The same of a topic.
    pub fn results_in(&self, topic: &str) -> Vec<Value> {
        let reader =
            GenericSingleObjectReader::builder().schema(SCHEMA.clone()).build().expect("the schema of results");
        let value = |read: &Read| reader.read_value(&mut read.payload.as_slice()).expect("a result in its schema");
        let read = self.read(topic, "read_committed");
        read.iter().map(|read| timeless(value(read))).collect()
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> Vec<Read> {
        self.read(&self.config("").dead_letters, "read_committed")
    }

    /// All records of a topic up to its end.
    pub fn read(&self, topic: &str, isolation: &str) -> Vec<Read> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("isolation.level", isolation);
        config.set("enable.partition.eof", "true").set("group.id", "test").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("Kafka answers");
        let mut list = TopicPartitionList::new();
        let mut open: BTreeSet<i32> = metadata.topics()[0].partitions().iter().map(|part| part.id()).collect();
        for partition in &open {
            list.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("it is assigned");
        let mut records = Vec::new();
        while !open.is_empty() {
            match consumer.poll(PATIENCE) {
                Some(Ok(message)) => records.push(Read {
                    key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
                    payload: message.payload().unwrap_or_default().to_vec(),
                    headers: message.headers().map(|headers| headers.iter().map(text).collect()).unwrap_or_default(),
                }),
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                // A broker that starts again is waited for.
                Some(Err(_)) => {}
                None => panic!("{topic} has no end"),
            }
        }
        records
    }

    /// What a node of that name leaves that is killed between writing and committing.
    pub fn leave_open(&self, name: &str) {
        let config = self.config(name);
        let producer = transaction(&self.brokers, &config.name);
        for topic in [&config.results, &config.dead_letters, &config.progress] {
            producer.send(BaseRecord::to(topic).key("night").payload("{")).expect("it is written");
        }
        producer.flush(PATIENCE).expect("it reaches Kafka");
    }
}

/// A producer in a transaction.
fn transaction(brokers: &str, name: &str) -> BaseProducer {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", brokers).set("transactional.id", name);
    let producer: BaseProducer = settings.create().expect("a producer");
    producer.init_transactions(PATIENCE).expect("it takes the name");
    producer.begin_transaction().expect("it begins");
    producer
}

fn text(header: Header<'_, &[u8]>) -> (String, String) {
    (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
}

/// A topic of alerts, whose record at each offset is known beforehand.
pub struct Topic {
    brokers: String,
    name: String,
    /// To make one takes longer than to write with it.
    producer: OnceLock<BaseProducer>,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Topic {
    /// A new topic.
    pub fn make(brokers: &str, name: &str, partitions: i32) -> Self {
        let topic = Self::of(brokers, name);
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let admin = topic.admin();
        let made = wait(async { admin.create_topics([&new], &patient()).await }).expect("Kafka answers");
        made.into_iter().for_each(|made| drop(made.expect("the topic is made")));
        topic
    }

    /// One that is there.
    pub fn of(brokers: &str, name: &str) -> Self {
        Self { brokers: brokers.to_owned(), name: name.to_owned(), producer: OnceLock::new() }
    }

    /// Deletes it with all that is in it, and makes it again.
    pub fn make_anew(&mut self, partitions: i32) {
        // It goes on counting where the topic that is gone has ended.
        self.producer = OnceLock::new();
        let (admin, name) = (self.admin(), self.name.as_str());
        let deleted = wait(async { admin.delete_topics(&[name], &patient()).await }).expect("Kafka answers");
        deleted.into_iter().for_each(|deleted| drop(deleted.expect("the topic is deleted")));
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = || wait(async { admin.create_topics([&new], &patient()).await }).expect("Kafka answers");
        eventually("the topic is gone and made again", || made().iter().all(Result::is_ok));
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The record at an offset.
    pub fn payload(&self, offset: u64, bytes: usize) -> Vec<u8> {
        // What can not be compressed: its size is the same on the way.
        let mut state = offset + 1;
        let byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56).to_le_bytes()[0]
        };
        (0..bytes).map(byte).collect()
    }

    /// Writes the records of these offsets, each of so many bytes; the time of each is its offset + 1, since 0 is none.
    pub fn produce(&self, partition: i32, offsets: std::ops::Range<u64>, bytes: usize) {
        let producer = self.producer();
        for offset in offsets {
            let payload = self.payload(offset, bytes);
            let record = BaseRecord::<(), [u8]>::to(&self.name).partition(partition).payload(&payload);
            producer.send(record.timestamp(offset.cast_signed() + 1)).expect("it is taken");
        }
        producer.flush(PATIENCE).expect("it reaches Kafka");
    }

    /// Writes these records.
    pub fn write<'a>(&self, partition: i32, records: impl Iterator<Item = &'a [u8]>) {
        self.send(partition, records);
        self.arrive();
    }

    /// Writes these records, each with its time, milliseconds since 1970.
    pub fn write_timed<'a>(&self, partition: i32, records: impl Iterator<Item = (&'a [u8], i64)>) {
        for (payload, time) in records {
            let record = BaseRecord::<(), [u8]>::to(&self.name).partition(partition).payload(payload);
            self.producer().send(record.timestamp(time)).expect("it is taken");
        }
        self.arrive();
    }

    /// Writes these records in a transaction, whose end is marked behind them.
    pub fn write_marked<'a>(&self, partition: i32, records: impl Iterator<Item = &'a [u8]>) {
        let producer = transaction(&self.brokers, &self.name);
        for payload in records {
            let record = BaseRecord::<(), [u8]>::to(&self.name).partition(partition).payload(payload);
            producer.send(record).expect("it is taken");
        }
        producer.commit_transaction(PATIENCE).expect("it is committed");
    }

    /// Sends these records, and does not wait until they have arrived.
    pub fn send<'a>(&self, partition: i32, records: impl Iterator<Item = &'a [u8]>) {
        for payload in records {
            let record = BaseRecord::<(), [u8]>::to(&self.name).partition(partition).payload(payload);
            self.producer().send(record).expect("it is taken");
        }
    }

    /// Waits until all that was sent has arrived. What comes next is sent by a new client: one that has met a Kafka that stood still may hear
    /// nothing any more.
    pub fn flush(&mut self) {
        self.arrive();
        self.producer = OnceLock::new();
    }

    /// Writes a record with a header.
    pub fn write_headed(&self, partition: i32, payload: &[u8], (key, value): (&str, &str)) {
        let headers = OwnedHeaders::new().insert(Header { key, value: Some(value) });
        let record = BaseRecord::<(), [u8]>::to(&self.name).partition(partition).payload(payload);
        self.producer().send(record.headers(headers)).expect("it is taken");
        self.arrive();
    }

    fn arrive(&self) {
        self.producer().flush(PATIENCE).expect("it reaches Kafka");
    }

    /// Writes these records, compressed with that codec.
    pub fn write_packed<'a>(&self, partition: i32, records: impl Iterator<Item = &'a [u8]>, codec: &str) {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", &self.brokers).set("enable.idempotence", "true");
        settings.set("compression.codec", codec);
        let producer: BaseProducer = settings.create().expect("a producer");
        for payload in records {
            let record = BaseRecord::<(), [u8]>::to(&self.name).partition(partition).payload(payload);
            producer.send(record).expect("it is taken");
        }
        producer.flush(PATIENCE).expect("it reaches Kafka");
    }

    fn producer(&self) -> &BaseProducer {
        self.producer.get_or_init(|| {
            let mut settings = ClientConfig::new();
            settings.set("bootstrap.servers", &self.brokers).set("enable.idempotence", "true");
            settings.create().expect("a producer")
        })
    }

    /// What a consumers' group has committed, by partition.
    pub fn group_offsets(&self, group: &str, partitions: i32) -> BTreeMap<i32, u64> {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", &self.brokers).set("group.id", group).set("enable.auto.commit", "false");
        let consumer: BaseConsumer = settings.create().expect("a consumer");
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.name, 0, partitions - 1);
        let committed = consumer.committed_offsets(asked, PATIENCE).expect("Kafka answers");
        let offset = |number| match committed.find_partition(&self.name, number)?.offset() {
            Offset::Offset(offset) => Some((number, offset.cast_unsigned())),
            _ => None,
        };
        (0..partitions).filter_map(offset).collect()
    }

    /// Gives it more partitions: so many in all.
    pub fn grow(&self, partitions: usize) {
        let (admin, new) = (self.admin(), NewPartitions::new(&self.name, partitions));
        let grown = wait(async { admin.create_partitions([&new], &patient()).await }).expect("Kafka answers");
        grown.into_iter().for_each(|grown| drop(grown.expect("the topic grows")));
    }

    /// Removes the records before an offset, as retention does.
    pub fn remove_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset)).expect("an offset");
        let admin = self.admin();
        wait(async { admin.delete_records(&list, &patient()).await }).expect("they are removed");
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", &self.brokers);
        settings.create().expect("a client")
    }
}

fn patient() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}
