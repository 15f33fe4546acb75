//! What is done beside reading, on a thread of its own, since it may take as long as Kafka likes: asking where partitions end, seeing that
//! reading has come to a stop, and committing the group's offsets. Its client is not the reader's, which may be deaf.
//!
//! The group's offsets are for other people's lag monitors: what is decided is committed there about once a second, nobody waits for it or reads
//! it back. That it can not be done is said once, and counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boom_client::kafka::{Context, Error, Renewable};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::Offset;

use super::queue::Queue;
use super::stall::Stalls;
use super::{Command, Counters, Open, Partition, list};
use crate::positions::Positions;
use crate::tally::stream_of;

/// How often it is looked whether something is decided.
const LOOK: Duration = Duration::from_millis(100);

/// Offsets are committed and ends are asked for about so often; what is said last of a partition is committed at once.
const EVERY: Duration = Duration::from_secs(1);

/// How long Kafka may take to say where partitions end.
const ASK: Duration = Duration::from_secs(2);

/// So many questions in a row that get no answer, and another client asks the next one.
const DEAF: u32 = 3;

/// The partitions of one reader.
pub(super) struct Watcher {
    open: Open,
    consumer: Renewable<BaseConsumer<Context>>,
    queue: Arc<Queue>,
    orders: Sender<Command>,
    stalls: Stalls,
    positions: Arc<Positions>,
    counters: Arc<Counters>,
    /// Partitions that were begun, and of which more may be decided, by their names as inputs.
    partitions: BTreeMap<String, Partition>,
    /// What is decided and not committed.
    decided: BTreeMap<Partition, u64>,
    due: Instant,
    has_failed: bool,
    /// Whether it reads what others have read, and ends where it was told.
    is_replay: bool,
}

impl Watcher {
    pub(super) fn new(
        open: Open,
        positions: Arc<Positions>,
        counters: Arc<Counters>,
        (queue, orders): (Arc<Queue>, Sender<Command>),
        is_replay: bool,
    ) -> Result<Self, Error> {
        let consumer = Renewable::new(open()?);
        let (partitions, decided, stalls, has_failed) = Default::default();
        let due = Instant::now();
        #[rustfmt::skip]
        let watcher = Self { open, consumer, queue, orders, stalls, positions, counters, partitions, decided, due,
            has_failed, is_replay };
        Ok(watcher)
    }

    /// Watches what is begun, until nobody begins anything more.
    pub(super) fn run(mut self, begun: &Receiver<Partition>) {
        loop {
            match begun.recv_timeout(LOOK) {
                Ok(partition) => drop(self.partitions.insert(partition.to_string(), partition)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let (is_urgent, is_due) = (self.collect(), Instant::now() >= self.due);
            if is_urgent || is_due {
                self.commit();
            }
            if is_due {
                self.ask();
                self.due = Instant::now() + EVERY;
            }
        }
        self.collect();
        self.commit();
    }

    /// Asks what is decided by now. Gives whether something was said for the last time.
    fn collect(&mut self) -> bool {
        let (decided, mut is_last) = (&mut self.decided, false);
        self.partitions.retain(|source, partition| {
            let Some(news) = self.positions.news(source) else { return false };
            decided.extend(news.next.map(|next| (partition.clone(), next)));
            is_last |= news.is_last;
            !news.is_last
        });
        is_last
    }

    fn commit(&mut self) {
        if self.is_replay {
            self.decided.clear();
        }
        if self.decided.is_empty() {
            return;
        }
        let list = list(self.decided.iter().map(|(partition, next)| (partition, Offset::Offset(next.cast_signed()))));
        match list.and_then(|list| self.consumer.commit(&list, CommitMode::Sync)) {
            Ok(()) => {
                self.decided.clear();
                self.has_failed = false;
            }
            Err(error) => {
                self.counters.count(|counts| counts.group_failures += 1);
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(
                        "the offsets of the consumers' group are not committed, only lag monitors miss them: {error}"
                    );
                }
                // What nobody reads any more is said once: the next owner says more.
                self.decided.retain(|partition, _| self.partitions.contains_key(&partition.to_string()));
            }
        }
    }

    fn ask(&mut self) {
        if !self.partitions.is_empty() && !self.is_replay {
            self.ask_ends();
        }
        self.look_for_stalls();
    }

    fn ask_ends(&mut self) {
        let asked = list(self.partitions.values().map(|partition| (partition, Offset::End)));
        match asked.and_then(|asked| self.consumer.offsets_for_times(asked, ASK)) {
            Ok(ends) => {
                self.consumer.heard();
                for (source, partition) in &self.partitions {
                    let Some(found) = ends.find_partition(&partition.topic, partition.number) else { continue };
                    if let (Ok(()), Offset::Offset(end)) = (found.error(), found.offset()) {
                        self.positions.ends(source, end.max(0).cast_unsigned());
                    }
                }
            }
            Err(error) => {
                tracing::debug!("asking where partitions end: {error}");
                if self.consumer.is_deaf(DEAF)
                    && let Ok(consumer) = (self.open)()
                {
                    self.consumer.replace(consumer);
                }
            }
        }
    }

    fn look_for_stalls(&mut self) {
        // A reader whose queue is full reads nothing on purpose.
        let unread = |source: &String| Some((source.clone(), self.positions.unread(source)?));
        let sources = self.partitions.keys().filter(|source| self.queue.is_half_empty(stream_of(source)));
        let unread = sources.filter_map(unread).collect();
        if let Some(source) = self.stalls.see(unread, Instant::now()) {
            // A poller that has ended reads nothing any more.
            let _ = self.orders.send(Command::Renew(source));
        }
    }
}
