//! Reading a topic up to an end. Blocking.

use std::collections::BTreeMap;

use boom_plan::orders::Start;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use super::{Error, Named, Record, passing, patiently, record};
use crate::kafka::{Connection, Context, STEP};

/// A topic that is read up to its end. All calls block.
pub struct Topic {
    consumer: BaseConsumer<Context>,
    named: Named,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic").field("named", &self.named).finish_non_exhaustive()
    }
}

impl Topic {
    /// The topic, to be read as who sees only what is committed.
    ///
    /// # Errors
    /// The settings of the connection are wrong.
    pub fn new(connection: &Connection, topic: &str) -> Result<Self, Error> {
        let consumer = connection.client(&[
            ("isolation.level", "read_committed"),
            ("enable.partition.eof", "true"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
            ("group.id", "boom-reader"),
        ])?;
        Ok(Self { consumer, named: Named::of(connection, topic) })
    }

    /// The same of a topic that is there since a moment ago: not every broker need know it yet, so it is waited for.
    ///
    /// # Errors
    /// Kafka does not answer, or still knows no such topic after a while.
    pub(crate) fn made(connection: &Connection, topic: &str) -> Result<Self, Error> {
        let made = Self::new(connection, topic)?;
        patiently(|error| matches!(error, Error::NoTopic { .. }), || made.ends())?;
        Ok(made)
    }

    /// The first offset of each partition, and the one behind its last decided record.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn ends(&self) -> Result<BTreeMap<i32, (i64, i64)>, Error> {
        self.named.ends(&self.consumer)
    }

    /// The offset of each partition from which on records are of that time or later.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub fn starts(&self, from: Start) -> Result<BTreeMap<i32, i64>, Error> {
        self.named.starts(&self.consumer, from)
    }

    /// Reads these ranges of offsets, `low` to before `high`, and hands over what is there.
    ///
    /// # Errors
    /// Kafka does not answer, or what `take` says.
    pub fn read<E: From<Error>>(
        &self,
        ranges: &BTreeMap<i32, (i64, i64)>,
        mut take: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut open: BTreeMap<i32, i64> = ranges
            .iter()
            .filter(|(_, (low, high))| low < high)
            .map(|(partition, (_, high))| (*partition, *high))
            .collect();
        let list = self.named.list(open.keys().map(|partition| (*partition, Offset::Offset(ranges[partition].0))))?;
        self.consumer.assign(&list).map_err(|error| self.named.error(error))?;
        while !open.is_empty() {
            match self.consumer.poll(STEP) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(high) = open.get(&partition).copied() else { continue };
                    if offset + 1 >= high {
                        open.remove(&partition);
                    }
                    if offset < high {
                        take(record(&message))?;
                    }
                }
                // The last offsets may be marks of transactions, which nobody gets.
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                Some(Err(error)) if passing(&error) => {}
                Some(Err(error)) => return Err(self.named.error(error).into()),
                None => return Err(self.named.error(KafkaError::NoMessageReceived).into()),
            }
        }
        Ok(())
    }
}
