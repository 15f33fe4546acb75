//! What the client tells while it is polled: where partitions end, and what became of the group's offsets. It is kept until it is taken.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use boom_client::kafka::Context;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;

/// The first offset that is not written yet, by topic and partition.
pub(super) type Ends = BTreeMap<(String, i32), u64>;

/// The newest of each kind.
#[derive(Debug, Default)]
pub(super) struct Told {
    ends: Mutex<Option<Ends>>,
    committed: Mutex<Option<KafkaResult<()>>>,
}

fn take<T>(told: &Mutex<Option<T>>) -> Option<T> {
    told.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put<T>(told: &Mutex<Option<T>>, value: T) {
    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}

impl Told {
    /// Where partitions end, if that was told since the last time.
    pub(super) fn ends(&self) -> Option<Ends> {
        take(&self.ends)
    }

    /// What became of the offsets that were committed last, once that is known.
    pub(super) fn committed(&self) -> Option<KafkaResult<()>> {
        take(&self.committed)
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = Ends::new();
        for (name, topic) in statistics.topics {
            for (number, partition) in topic.partitions {
                // Negative is what the client has not heard of yet.
                if let Ok(end) = u64::try_from(partition.hi_offset) {
                    ends.insert((name.clone(), number), end);
                }
            }
        }
        put(&self.ends, ends);
    }
}

impl ConsumerContext for Told {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        put(&self.committed, result);
    }
}
