//! The offsets of the consumers' group, for other people's lag monitors: what is decided is committed there about once a second, one commit at a
//! time, and nobody waits for it or reads it back. That it can not be done is said once, and counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::told::Told;
use super::{Counters, Partition};
use crate::positions::Positions;

/// How often it is looked whether there is something.
const LOOK: Duration = Duration::from_millis(100);

/// Offsets are committed about so often; those of a partition that is let go of at once.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The offsets of one reader's partitions.
pub(super) struct Group {
    /// Partitions that were begun, and of which more may be decided.
    partitions: BTreeMap<String, Partition>,
    /// What is to be committed.
    open: BTreeMap<Partition, u64>,
    /// What is on its way.
    sent: BTreeMap<Partition, u64>,
    look: Instant,
    due: Instant,
    has_failed: bool,
}

impl Group {
    pub(super) fn new() -> Self {
        let ((partitions, open, sent), now) = (Default::default(), Instant::now());
        Self { partitions, open, sent, look: now, due: now, has_failed: false }
    }

    /// A partition begins.
    pub(super) fn begin(&mut self, source: &str, partition: &Partition) {
        self.partitions.insert(source.to_owned(), partition.clone());
    }

    /// Takes in what became of the last commit, and commits what there is. Blocks never.
    pub(super) fn step(&mut self, consumer: &BaseConsumer<Told>, positions: &Positions, counters: &Counters) {
        let now = Instant::now();
        if let Some(outcome) = consumer.context().committed() {
            self.hear(outcome, counters);
        }
        if now < self.look {
            return;
        }
        self.look = now + LOOK;
        if self.collect(positions) {
            self.due = now;
        }
        if now >= self.due && self.sent.is_empty() && !self.open.is_empty() {
            self.due = now + COMMIT_EVERY;
            self.commit(consumer, counters);
        }
    }

    /// The last that is said, when reading ends.
    pub(super) fn finish(&mut self, consumer: &BaseConsumer<Told>, positions: &Positions, counters: &Counters) {
        self.collect(positions);
        if !self.open.is_empty() {
            self.commit(consumer, counters);
        }
    }

    /// Asks what is decided by now. Gives whether a partition is let go of.
    fn collect(&mut self, positions: &Positions) -> bool {
        let (open, mut is_urgent) = (&mut self.open, false);
        self.partitions.retain(|source, partition| {
            let Some(news) = positions.news(source) else { return false };
            open.extend(news.next.map(|next| (partition.clone(), next)));
            is_urgent |= news.is_last;
            !news.is_last
        });
        is_urgent
    }

    fn commit(&mut self, consumer: &BaseConsumer<Told>, counters: &Counters) {
        self.sent = std::mem::take(&mut self.open);
        let committed = list(&self.sent).and_then(|list| consumer.commit(&list, CommitMode::Async));
        if committed.is_err() {
            self.hear(committed, counters);
        }
    }

    fn hear(&mut self, outcome: KafkaResult<()>, counters: &Counters) {
        let sent = std::mem::take(&mut self.sent);
        let Err(error) = outcome else {
            self.has_failed = false;
            return;
        };
        counters.count(|counts| counts.group_failures += 1);
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(
                "the offsets of the consumers' group are not committed, which only lag monitors miss: {error}"
            );
        }
        // What was decided later stays.
        for (partition, next) in sent {
            self.open.entry(partition).or_insert(next);
        }
    }
}

fn list(offsets: &BTreeMap<Partition, u64>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, next) in offsets {
        list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(next.cast_signed()))?;
    }
    Ok(list)
}
