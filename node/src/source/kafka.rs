//! Alerts from Kafka: partitions that are assigned by hand, and may change at any time.
//!
//! A thread polls the consumer without a pause and fills a bounded queue for each stream, from which [`Stream`] takes. When a stream's queue is full,
//! its partitions are paused and the thread polls on; when it is half empty they go on. So a stream that floods holds up no other one. A broker that is away is waited for. What a reader
//! must know of (offsets that are gone, a topic that is missing) is an [`Event`].

mod poll;
mod queue;
mod stall;
mod watch;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use self::poll::Poller;
use self::queue::Queue;
use self::watch::Watcher;
use super::{Packet, Source, SourceError};
use crate::positions::Positions;
use crate::shares::Shares;
use boom_client::kafka::{Connection, Context, Error};

/// A broker answers when it has so many bytes for the reader, or after [`FETCH_WAIT_MS`]: an answer for each alert costs it more than the alerts.
const FETCH_BYTES: &str = "262144";

/// So long an alert may lie there until the broker answers, ms.
const FETCH_WAIT_MS: &str = "30";

/// When the client holds as much as it may, it looks again after so long whether it may fetch more, ms: for all partitions, also for those of streams of which
/// it holds nothing.
const FETCH_AGAIN_MS: &str = "10";

/// What is read, and how much of it may wait.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster.
    pub connection: Connection,
    /// Name of the consumers' group: what is decided is committed there for lag monitors, and never read back.
    pub group: String,
    /// Bytes that may wait to be taken, which streams share by their weights. The client itself holds as many again.
    pub queue_bytes: usize,
    /// The weights of the streams.
    pub shares: Arc<Shares>,
    /// Of a replay the first time that is not read any more, milliseconds since 1970. What is decided of a replay is not committed in the group:
    /// that is where its stream is.
    pub until: Option<i64>,
    /// Where it says how far it is, and learns what is decided.
    pub positions: Arc<Positions>,
    /// Where it counts.
    pub counters: Arc<Counters>,
}

impl Config {
    /// That cluster and group, with 64 MiB that may wait, and with positions and counters that nobody else sees.
    pub fn new(connection: Connection, group: &str) -> Self {
        let (shares, positions, counters) = Default::default();
        let (group, queue_bytes) = (group.to_owned(), 64 << 20);
        Self { connection, group, queue_bytes, shares, until: None, positions, counters }
    }
}

/// A partition of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The stream.
    pub stream: String,
    /// The topic.
    pub topic: String,
    /// The number of the partition in the topic.
    pub number: i32,
}

/// `stream/topic/partition`: the `source` of its packets.
impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.stream, self.topic, self.number)
    }
}

/// Where reading a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the committed progress.
    Progress {
        /// The offset of the next packet.
        next: u64,
        /// When the broker took the one before, milliseconds since 1970, where that is known: one of another time is of another topic.
        time: Option<i64>,
    },
    /// With the first record that is there.
    Earliest,
    /// Behind the last one.
    Latest,
    /// With the first one that is as new as this, milliseconds since 1970.
    Time(i64),
}

/// What a partition's reader should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Reading begins here.
    Begun {
        /// Which.
        partition: Partition,
        /// With this offset.
        offset: u64,
    },
    /// Records are gone that were never read: retention has removed them. Reading goes on with the first that is left.
    Removed {
        /// Which.
        partition: Partition,
        /// The first that is gone.
        from: u64,
        /// The first that is left.
        to: u64,
    },
    /// The topic ends before the progress: it was deleted and made anew. Reading goes on with its first record.
    MadeAnew {
        /// Which.
        partition: Partition,
        /// The progress.
        progress: u64,
        /// The end of the topic.
        end: u64,
    },
    /// There is no such topic or partition (any more); it is looked for again and again.
    Missing {
        /// Which.
        partition: Partition,
        /// What Kafka says.
        problem: String,
    },
}

/// How often something was seen, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were gone before they were read.
    pub removed: u64,
    /// Partitions of topics that were made anew.
    pub made_anew: u64,
    /// Partitions that were missing.
    pub missing: u64,
    /// How often all partitions of a stream were paused.
    pub pauses: u64,
    /// The most bytes that ever waited.
    pub most_bytes: u64,
    /// How often the offsets of the group could not be committed.
    pub group_failures: u64,
    /// How often a new client had to go on, since nothing came any more.
    pub renewals: u64,
}

/// What waits of a stream to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Packets.
    pub packets: u64,
    /// Their bytes, about.
    pub bytes: u64,
}

/// The counts of all readers of a process, and what waits in those that are open.
#[derive(Debug, Default)]
pub struct Counters {
    counts: Mutex<Counts>,
    open: Mutex<Vec<Weak<Queue>>>,
}

impl Counters {
    fn held(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nobody panics with the counts")
    }

    /// Counts something.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.held());
    }

    /// What was counted.
    pub fn get(&self) -> Counts {
        *self.held()
    }

    fn opened(&self, queue: &Arc<Queue>) {
        let mut open = self.open.lock().expect("nobody panics with the queues");
        open.retain(|queue| queue.strong_count() > 0);
        open.push(Arc::downgrade(queue));
    }

    /// What waits to be taken, by stream.
    pub fn waiting(&self) -> BTreeMap<String, Waiting> {
        let open = self.open.lock().expect("nobody panics with the queues");
        let queues = open.iter().filter_map(Weak::upgrade).filter(|queue| !queue.is_stopped());
        queues.flat_map(|queue| queue.waiting()).collect()
    }
}

/// Reads Kafka until it is stopped.
#[derive(Debug)]
pub struct Kafka {
    queue: Arc<Queue>,
    poller: Option<JoinHandle<()>>,
}

/// What is read of one stream.
#[derive(Debug)]
pub struct Stream {
    name: String,
    brokers: String,
    queue: Arc<Queue>,
}

/// Changes what a running source reads.
#[derive(Debug, Clone)]
pub struct Control {
    queue: Arc<Queue>,
    brokers: String,
    commands: Sender<Command>,
}

/// What the poller is told.
#[derive(Debug)]
enum Command {
    Add(Partition, Start, u64),
    Remove(Partition),
    /// A new client goes on where this one has come to a stop, with this partition at least.
    Renew(String),
}

/// Makes a client.
type Open = Arc<dyn Fn() -> Result<BaseConsumer<Context>, Error> + Send + Sync>;

impl Kafka {
    /// A reader that reads nothing yet, the control over it, and what happens to it.
    ///
    /// # Errors
    /// The settings are wrong.
    pub fn open(config: &Config) -> Result<(Self, Control, Receiver<Event>), Error> {
        let open = opener(config);
        let (commands, orders) = unbounded();
        let (events, happened) = unbounded();
        let (shares, counters) = (Arc::clone(&config.shares), Arc::clone(&config.counters));
        let queue = Arc::new(Queue::new(config.queue_bytes, shares, counters));
        config.counters.opened(&queue);
        let (watch, begun) = unbounded();
        let (positions, counters) = (Arc::clone(&config.positions), Arc::clone(&config.counters));
        let (queued, is_replay) = ((Arc::clone(&queue), commands.clone()), config.until.is_some());
        let watcher = Watcher::new(Arc::clone(&open), positions, counters, queued, is_replay)?;
        // Nobody waits for it: it ends when it has said what there is to say after the poller has ended.
        thread("kafka-watch", move || watcher.run(&begun))?;
        let poller = Poller::new(open, Arc::clone(&queue), (orders, events, watch), config)?;
        let poller = thread("kafka", move || poller.run())?;
        let brokers = config.connection.brokers.clone();
        let source = Self { queue: Arc::clone(&queue), poller: Some(poller) };
        Ok((source, Control { queue, brokers, commands }, happened))
    }

    /// Waits until it is stopped.
    ///
    /// # Errors
    /// Kafka can not be read, and waiting would not help.
    pub fn wait(&self) -> Result<(), SourceError> {
        self.queue.wait();
        self.queue.ended()
    }
}

/// Partitions with offsets, as the client takes them.
fn list<'a>(offsets: impl IntoIterator<Item = (&'a Partition, Offset)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(&partition.topic, partition.number, offset)?;
    }
    Ok(list)
}

fn opener(config: &Config) -> Open {
    let (connection, group) = (config.connection.clone(), config.group.clone());
    let kilobytes = (config.queue_bytes / 1024).max(1).to_string();
    Arc::new(move || {
        connection.client(&[
            ("group.id", &group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // What is out of range is looked at and reported, never jumped over.
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("queued.max.messages.kbytes", &kilobytes),
            ("fetch.min.bytes", FETCH_BYTES),
            ("fetch.wait.max.ms", FETCH_WAIT_MS),
            ("fetch.queue.backoff.ms", FETCH_AGAIN_MS),
        ])
    })
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| Error::Client(format!("its thread {name} does not start: {error}")))
}

impl Control {
    /// Reads one more partition, or reads it from elsewhere.
    pub fn add(&self, partition: Partition, start: Start) {
        let assignment = self.assign(&partition);
        self.start(partition, start, assignment);
    }

    /// A new assignment of a partition, whose packets will carry its number. What waits of a former one is dropped.
    pub fn assign(&self, partition: &Partition) -> u64 {
        self.queue.add(&partition.to_string())
    }

    /// Begins to read for an assignment.
    pub fn start(&self, partition: Partition, start: Start, assignment: u64) {
        // A poller that has ended reads nothing more.
        let _ = self.commands.send(Command::Add(partition, start, assignment));
    }

    /// Reads a partition no more. What of it waits is dropped; only a packet that is just being handed over may still come.
    pub fn remove(&self, partition: &Partition) {
        self.queue.remove(&partition.to_string());
        let _ = self.commands.send(Command::Remove(partition.clone()));
    }

    /// What is read of a stream, of whatever partitions that is. One takes it, and then another may.
    pub fn stream(&self, name: &str) -> Stream {
        Stream { name: name.to_owned(), brokers: self.brokers.clone(), queue: Arc::clone(&self.queue) }
    }

    /// Ends the source.
    pub fn stop(&self) {
        self.queue.stop();
    }
}

impl Source for Stream {
    /// Gives packets until the source is stopped or `emit` breaks.
    fn run(&mut self, emit: &mut dyn FnMut(Packet) -> ControlFlow<()>) -> Result<(), SourceError> {
        while let Some(packet) = self.queue.pop(&self.name) {
            if emit(packet).is_break() {
                return Ok(());
            }
        }
        self.queue.ended()
    }

    /// The brokers and the partitions that are read by now.
    fn identity(&self) -> Result<Vec<String>, SourceError> {
        let partitions = self.queue.wanted(&self.name).into_iter();
        Ok(std::iter::once(format!("kafka {}", self.brokers)).chain(partitions).collect())
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.queue.stop();
        if let Some(poller) = self.poller.take() {
            // What it panicked of is in its log already.
            let _ = poller.join();
        }
    }
}
