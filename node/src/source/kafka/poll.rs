//! The thread that polls: assigns, pauses and resumes partitions, finds where each begins, and sees when offsets are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use boom_sky::alert::Origin;
use crossbeam_channel::{Receiver, Sender};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::queue::{Pushed, Queue};
use super::{Command, Config, Counters, Event, Open, Packet, Partition, Start, list};
use crate::positions::Positions;
use crate::tally::stream_of;
use boom_client::deadletters::{RetriedOrigin, retried_origin};
use boom_client::kafka::{Context, Error, Renewable};

/// The longest that a poll waits: orders are seen as soon.
const POLL: Duration = Duration::from_millis(50);

/// The longest that Kafka is waited for when it is asked for offsets; the other partitions wait as long.
const ASK: Duration = Duration::from_secs(2);

/// A partition that can not begin is tried again after so long.
const AGAIN: Duration = Duration::from_millis(500);

/// What was passed that is no packet is told about so often.
const EVERY: Duration = Duration::from_secs(1);

/// So many questions in a row that get no answer, and another client asks the next one.
const DEAF: u32 = 8;

pub(super) struct Poller {
    open: Open,
    consumer: Renewable<BaseConsumer<Context>>,
    queue: Arc<Queue>,
    orders: Receiver<Command>,
    events: Sender<Event>,
    watch: Sender<Partition>,
    positions: Arc<Positions>,
    counters: Arc<Counters>,
    reading: BTreeMap<(String, i32), Reading>,
    waiting: Vec<Waiting>,
    /// Streams whose partitions are paused.
    paused: BTreeSet<String>,
    /// Of a replay the first time that is not read any more.
    until: Option<i64>,
    /// When it is looked again at what was passed.
    due: Instant,
}

/// A partition that is assigned.
struct Reading {
    partition: Partition,
    source: Arc<str>,
    generation: u64,
    next: u64,
    /// When the broker took the packet before `next`, where that is known.
    time: Option<i64>,
    /// Whether that packet is to come again and to be looked at: it may be of another topic of this name.
    is_doubtful: bool,
    /// Where it ended when it was begun; of a replay the end of its window.
    end: u64,
}

/// Where a partition begins and ends, and where its window does, if it is read for a replay.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    oldest: u64,
    end: u64,
    until: Option<u64>,
}

/// A partition that is to be read and has not begun.
struct Waiting {
    partition: Partition,
    start: Start,
    generation: u64,
    due: Instant,
    said: bool,
}

/// Where a partition begins, and what is to be said of it. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    At(u64),
    Removed { from: u64, to: u64 },
    MadeAnew { progress: u64, first: u64, end: u64 },
}

/// Decides by the first offset that is there and the one behind the last.
fn begin(progress: u64, first: u64, end: u64) -> Begin {
    if progress < first {
        Begin::Removed { from: progress, to: first }
    } else if progress > end {
        Begin::MadeAnew { progress, first, end }
    } else {
        Begin::At(progress)
    }
}

impl Poller {
    pub(super) fn new(
        open: Open,
        queue: Arc<Queue>,
        (orders, events, watch): (Receiver<Command>, Sender<Event>, Sender<Partition>),
        config: &Config,
    ) -> Result<Self, Error> {
        let consumer = Renewable::new(open()?);
        let (positions, counters) = (Arc::clone(&config.positions), Arc::clone(&config.counters));
        let (reading, waiting, paused) = Default::default();
        let (until, due) = (config.until, Instant::now());
        #[rustfmt::skip]
        let poller = Self { open, consumer, queue, orders, events, watch, positions, counters, reading, waiting, paused, until, due };
        Ok(poller)
    }

    pub(super) fn run(mut self) {
        while !self.queue.is_stopped() {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            if let Err(error) = self.step() {
                self.queue.fail(error.to_string());
            }
        }
    }

    fn obey(&mut self, order: Command) {
        let (partition, wanted) = match order {
            Command::Add(partition, start, generation) => (partition, Some((start, generation))),
            Command::Remove(partition) => (partition, None),
            Command::Renew(source) => return self.renew(&source),
        };
        self.drop_partition(&partition);
        if let Some((start, generation)) = wanted {
            self.waiting.push(Waiting { partition, start, generation, due: Instant::now(), said: false });
        }
    }

    fn drop_partition(&mut self, partition: &Partition) {
        self.waiting.retain(|waiting| waiting.partition != *partition);
        let key = (partition.topic.clone(), partition.number);
        // A replay reads the same topic, with a reader of its own; each is told of all that ends.
        if self.reading.get(&key).is_some_and(|reading| reading.partition == *partition) {
            self.reading.remove(&key);
            let _ = self.unassign(partition);
        }
    }

    fn unassign(&self, partition: &Partition) -> Result<(), KafkaError> {
        self.consumer.incremental_unassign(&unplaced([partition])?)
    }

    fn step(&mut self) -> Result<(), KafkaError> {
        self.begin_due()?;
        self.resume()?;
        self.pass()?;
        match self.consumer.poll(POLL) {
            None => Ok(()),
            Some(Ok(message)) => {
                let key = (message.topic().to_owned(), message.partition());
                let Some(reading) = self.reading.get_mut(&key) else { return Ok(()) };
                if reading.is_of_another_topic(&message) {
                    drop(message);
                    return self.read_anew(&key);
                }
                if self.until.is_some() && message.offset().max(0).cast_unsigned() >= reading.end {
                    drop(message);
                    return self.end_window(&key);
                }
                if let Some(packet) = reading.packet(&message) {
                    let (source, offset, time) = (Arc::clone(&packet.source), packet.offset, packet.timestamp);
                    let pushed = self.queue.push(packet, reading.generation);
                    if pushed != Pushed::Unwanted {
                        self.positions.came(&source, offset, time);
                    }
                    if pushed == Pushed::Full {
                        drop(message);
                        return self.pause(&source);
                    }
                }
                Ok(())
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => Err(KafkaError::MessageConsumptionFatal(code)),
            Some(Err(error)) => self.trouble(&error),
        }
    }

    /// Errors do not say of which partition they are: those that may be meant begin anew where they are, and see what is there.
    fn trouble(&mut self, error: &KafkaError) -> Result<(), KafkaError> {
        tracing::debug!("reading Kafka: {error}");
        let Some(
            Code::AutoOffsetReset
            | Code::OffsetOutOfRange
            | Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition,
        ) = error.rdkafka_error_code()
        else {
            // It goes by itself: the client connects again.
            return Ok(());
        };
        for reading in self.reading.values() {
            self.unassign(&reading.partition)?;
        }
        self.begin_again();
        Ok(())
    }

    /// All that was read is to begin where it is.
    fn begin_again(&mut self) {
        for reading in std::mem::take(&mut self.reading).into_values() {
            let start = Start::Progress { next: reading.next, time: reading.time };
            let (partition, generation) = (reading.partition, reading.generation);
            self.waiting.push(Waiting { partition, start, generation, due: Instant::now(), said: false });
        }
    }

    /// Goes on with a new client, since nothing comes of a partition although there is more.
    fn renew(&mut self, source: &str) {
        tracing::warn!(partition = %source, "nothing comes any more although there is more: a new client of Kafka goes on");
        self.counters.count(|counts| counts.renewals += 1);
        self.replace_client();
    }

    fn replace_client(&mut self) {
        match (self.open)() {
            Ok(consumer) => {
                self.consumer.replace(consumer);
                self.paused.clear();
                self.begin_again();
            }
            Err(error) => self.queue.fail(error.to_string()),
        }
    }

    /// The partitions of a stream.
    fn of_stream(&self, stream: &str) -> KafkaResult<TopicPartitionList> {
        let partitions = self.reading.values().map(|reading| &reading.partition);
        unplaced(partitions.filter(|partition| partition.stream == stream))
    }

    /// Pauses the stream of a partition: what the client has fetched of it is fetched again later, and is in no other stream's way.
    fn pause(&mut self, source: &str) -> Result<(), KafkaError> {
        let stream = stream_of(source);
        if self.paused.insert(stream.to_owned()) {
            self.consumer.pause(&self.of_stream(stream)?)?;
            self.counters.count(|counts| counts.pauses += 1);
        }
        Ok(())
    }

    /// Streams of which enough is taken go on.
    fn resume(&mut self) -> Result<(), KafkaError> {
        let streams: Vec<String> = self.paused.extract_if(.., |stream| self.queue.is_half_empty(stream)).collect();
        for stream in streams {
            self.consumer.resume(&self.of_stream(&stream)?)?;
        }
        Ok(())
    }

    /// Begins the partitions that wait, as far as Kafka says where.
    fn begin_due(&mut self) -> Result<(), KafkaError> {
        let (mut is_silent, mut is_deaf) = (false, false);
        for mut waiting in std::mem::take(&mut self.waiting) {
            if !self.queue.wants(&waiting.partition.to_string(), waiting.generation) {
                continue;
            }
            // One question without an answer is enough: what is read already waits as long.
            if is_silent || waiting.due > Instant::now() {
                self.waiting.push(waiting);
                continue;
            }
            match self.find(&waiting) {
                Ok((begin, ends)) => {
                    self.consumer.heard();
                    self.assign(waiting, begin, ends)?;
                }
                Err(error) => {
                    let is_gone = is_gone(&error);
                    if is_gone {
                        self.consumer.heard();
                        self.say_missing(&mut waiting, &error);
                    } else {
                        (is_silent, is_deaf) = (true, self.consumer.is_deaf(DEAF));
                    }
                    waiting.due = Instant::now() + AGAIN;
                    self.waiting.push(waiting);
                }
            }
        }
        if is_deaf {
            self.replace_client();
        }
        Ok(())
    }

    fn say_missing(&self, waiting: &mut Waiting, error: &KafkaError) {
        if !std::mem::replace(&mut waiting.said, true) {
            tracing::error!(partition = %waiting.partition, "it is not there, and is looked for again and again: {error}");
            self.counters.count(|counts| counts.missing += 1);
            self.say(Event::Missing { partition: waiting.partition.clone(), problem: error.to_string() });
        }
    }

    /// Tells where reading has come to that no packet shows: behind the last one may be marks of the ends of transactions, which the client passes.
    /// A window that ends with its topic is through then.
    fn pass(&mut self) -> Result<(), KafkaError> {
        if self.due > Instant::now() {
            return Ok(());
        }
        self.due = Instant::now() + EVERY;
        let (positions, mut through) = (self.consumer.position()?.to_topic_map(), Vec::new());
        for (key, reading) in &self.reading {
            let Some(Offset::Offset(at)) = positions.get(key) else { continue };
            let (at, is_replay) = (at.max(&0).cast_unsigned(), self.until.is_some());
            let at = if is_replay { at.min(reading.end) } else { at };
            if at > reading.next {
                self.positions.passed(&reading.source, reading.next, at);
            }
            if is_replay && at >= reading.end {
                through.push(key.clone());
            }
        }
        through.iter().try_for_each(|key| self.end_window(key))
    }

    /// The window of a partition is through: it is not read any more. The client gives nothing else of it, and need not be told.
    fn end_window(&mut self, key: &(String, i32)) -> Result<(), KafkaError> {
        let Some(reading) = self.reading.get(key) else { return Ok(()) };
        self.positions.through(&reading.source);
        self.consumer.pause(&unplaced([&reading.partition])?)
    }

    /// Where to begin, and where the partition begins and ends.
    fn find(&self, waiting: &Waiting) -> Result<(Begin, Bounds), KafkaError> {
        let (topic, number) = (&waiting.partition.topic, waiting.partition.number);
        let (first, end) = self.consumer.fetch_watermarks(topic, number, ASK)?;
        let (first, end) = (first.max(0).cast_unsigned(), end.max(0).cast_unsigned());
        let begin = match waiting.start {
            Start::Progress { next, .. } => begin(next, first, end),
            Start::Earliest => Begin::At(first),
            Start::Latest => Begin::At(end),
            Start::Time(time) => Begin::At(self.first_since(&waiting.partition, time)?.unwrap_or(end)),
        };
        let until = self.until.map(|time| self.first_since(&waiting.partition, time)).transpose()?;
        Ok((begin, Bounds { oldest: first, end, until: until.map(|found| found.unwrap_or(end)) }))
    }

    /// The first record that is as new as this, if there is one.
    fn first_since(&self, partition: &Partition, time: i64) -> Result<Option<u64>, KafkaError> {
        let times = list([(partition, Offset::Offset(time))])?;
        let found = self.consumer.offsets_for_times(times, ASK)?;
        let found = found.find_partition(&partition.topic, partition.number);
        if let Some(element) = &found {
            element.error()?;
        }
        Ok(match found.map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => Some(offset.max(0).cast_unsigned()),
            _ => None,
        })
    }

    fn assign(&mut self, waiting: Waiting, begin: Begin, bounds: Bounds) -> Result<(), KafkaError> {
        let Bounds { oldest, end, until } = bounds;
        let partition = waiting.partition;
        let next = match begin {
            Begin::At(offset) => offset,
            Begin::Removed { from, to } => {
                tracing::error!(%partition, "retention has removed the records {from} to {to} before they were read");
                self.counters.count(|counts| counts.removed += to - from);
                self.say(Event::Removed { partition: partition.clone(), from, to });
                to
            }
            Begin::MadeAnew { progress, first, end } => {
                tracing::error!(%partition, "the topic ends at {end} before the progress {progress}: it was made anew");
                self.counters.count(|counts| counts.made_anew += 1);
                self.say(Event::MadeAnew { partition: partition.clone(), progress, end });
                first
            }
        };
        let time = match (waiting.start, begin) {
            (Start::Progress { time, .. }, Begin::At(_)) => time,
            _ => None,
        };
        // The packet before comes once more when it can be told by its time whether it is the one that was decided.
        let is_doubtful = time.is_some() && next > oldest;
        let first = Offset::Offset(next.cast_signed() - i64::from(is_doubtful));
        let from = list([(&partition, first)])?;
        self.consumer.incremental_assign(&from)?;
        if self.paused.contains(&partition.stream) {
            self.consumer.pause(&from)?;
        }
        self.say(Event::Begun { partition: partition.clone(), offset: next });
        let key = (partition.topic.clone(), partition.number);
        let source: Arc<str> = Arc::from(partition.to_string());
        let (next, end) = (next.min(until.unwrap_or(next)), until.unwrap_or(end));
        match until {
            Some(until) => self.positions.begun_window(&source, next, until),
            None => self.positions.begun(&source, next, end),
        }
        // A watcher that has ended watches nothing more.
        let _ = self.watch.send(partition.clone());
        let generation = waiting.generation;
        self.reading.insert(key, Reading { partition, source, generation, next, time, is_doubtful, end });
        Ok(())
    }

    /// The topic is another one than that of the progress: it is read from its beginning.
    fn read_anew(&mut self, key: &(String, i32)) -> Result<(), KafkaError> {
        let Some(Reading { partition, generation, next, end, .. }) = self.reading.remove(key) else { return Ok(()) };
        tracing::error!(%partition, "the packet before the progress {next} is of another time than it was: the topic was made anew");
        self.unassign(&partition)?;
        self.counters.count(|counts| counts.made_anew += 1);
        self.say(Event::MadeAnew { partition: partition.clone(), progress: next, end });
        let (start, due) = (Start::Earliest, Instant::now());
        self.waiting.push(Waiting { partition, start, generation, due, said: false });
        Ok(())
    }

    fn say(&self, event: Event) {
        // Nobody need listen.
        let _ = self.events.send(event);
    }
}

impl Reading {
    /// Looks at the packet before the first that is wanted, if this is it.
    fn is_of_another_topic(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let is_before = message.offset() + 1 == self.next.cast_signed();
        std::mem::take(&mut self.is_doubtful) && is_before && message.timestamp().to_millis() != self.time
    }

    /// A record as the next packet; `None` of what was read already.
    fn packet(&mut self, message: &BorrowedMessage<'_>) -> Option<Packet> {
        let offset = message.offset().max(0).cast_unsigned();
        if offset < self.next {
            return None;
        }
        let timestamp = message.timestamp().to_millis();
        (self.next, self.time) = (offset + 1, timestamp);
        Some(Packet {
            source: Arc::clone(&self.source),
            assignment: self.generation,
            offset,
            name: format!("{}@{offset}", self.source),
            timestamp,
            bytes: message.payload().unwrap_or_default().to_vec(),
            retry_of: message.headers().and_then(retried_origin).map(first_origin),
            fault: None,
        })
    }
}

/// Where a packet came from that is sent once more.
fn first_origin(RetriedOrigin { source, offset, record }: RetriedOrigin) -> Origin {
    Origin { source: Arc::from(source), partition: 0, offset, record }
}

/// Whether an error says that there is no such topic or partition.
fn is_gone(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition))
}

/// Partitions, wherever they are.
fn unplaced<'a>(partitions: impl IntoIterator<Item = &'a Partition>) -> KafkaResult<TopicPartitionList> {
    list(partitions.into_iter().map(|partition| (partition, Offset::Invalid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_that_the_topic_does_not_hold_is_told_from_one_that_it_does() {
        assert_eq!(begin(5, 0, 9), Begin::At(5));
        assert_eq!(begin(9, 0, 9), Begin::At(9));
        assert_eq!(begin(5, 5, 5), Begin::At(5));
        assert_eq!(begin(4, 5, 9), Begin::Removed { from: 4, to: 5 });
        assert_eq!(begin(10, 0, 9), Begin::MadeAnew { progress: 10, first: 0, end: 9 });
    }
}
