//! Sends packets to a topic, as a survey does.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// Sends packets as a survey does.
pub(crate) struct Sender {
    producer: BaseProducer,
    topic: String,
    partitions: i32,
    sent: u64,
}

impl Sender {
    /// To a topic of so many partitions.
    pub(crate) fn open(brokers: &str, topic: &str, partitions: i32) -> anyhow::Result<Self> {
        let mut settings = ClientConfig::new();
        settings.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "2");
        Ok(Self { producer: settings.create()?, topic: topic.to_owned(), partitions, sent: 0 })
    }

    /// Sends a packet to the next partition; waits when there are too many on their way.
    pub(crate) fn send(&mut self, packet: &[u8]) -> anyhow::Result<()> {
        let partition = (self.sent % u64::from(self.partitions.cast_unsigned())) as i32;
        self.sent += 1;
        let mut record = BaseRecord::<(), [u8]>::to(&self.topic).partition(partition).payload(packet);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(Duration::from_millis(5));
                    record = back;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Waits until all has arrived.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        Ok(self.producer.flush(Duration::from_secs(60))?)
    }

    /// Sends these, so many a second.
    pub(crate) async fn paced(
        &mut self,
        packets: impl IntoIterator<Item = impl AsRef<[u8]>>,
        rate: f64,
    ) -> anyhow::Result<()> {
        let mut due = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        for packet in packets {
            due.tick().await;
            self.send(packet.as_ref())?;
            self.producer.poll(Duration::ZERO);
        }
        self.finish()
    }
}
