//! The transactional producer: one transaction after the other, each whole or not at all, under a name that can be fenced.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio_util::sync::CancellationToken;

use super::{Error, MAX_BYTES};
use boom_client::kafka::{Backoff, Connection, Context, STEP};

/// A record to be written.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) payload: Vec<u8>,
    pub(super) headers: Option<OwnedHeaders>,
}

/// The producer of that name, for as long as nobody has fenced it.
pub(super) struct Producer {
    client: ThreadedProducer<Context>,
    connection: Connection,
    name: String,
    /// How long a transaction may be open.
    timeout: Duration,
    stop: CancellationToken,
}

/// So long a client is waited for that takes a name, before another one tries.
const PATIENCE: Duration = Duration::from_secs(30);

/// After so long without an answer a new client is asked whether Kafka is there: this one may be deaf.
const DOUBT: Duration = Duration::from_secs(10);

/// What to do about an error.
enum Trouble {
    /// The same call again.
    Again,
    /// Abort, then the same transaction again.
    Abort,
    /// Kafka has not answered for so long that this client may not hear it any more.
    Deaf,
    /// Nothing can be done with this producer.
    End(Error),
}

impl Producer {
    /// Takes the name: from here on no older producer of it can commit, and what it had open is aborted. Blocking.
    pub(super) fn open(
        connection: &Connection,
        name: &str,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Result<Self, Error> {
        let (bytes, milliseconds) = (MAX_BYTES.to_string(), timeout.as_millis().to_string());
        loop {
            let client = connection.client(&[
                ("transactional.id", name),
                ("transaction.timeout.ms", &milliseconds),
                ("compression.type", "zstd"),
                ("linger.ms", "5"),
                ("message.max.bytes", &bytes),
                ("queue.buffering.max.kbytes", "65536"),
            ])?;
            let (name, connection, stop) = (name.to_owned(), connection.clone(), stop.clone());
            let producer = Self { client, connection, name, timeout, stop };
            let until = Instant::now() + PATIENCE;
            match producer.insist("taking the producer's name", until, || producer.client.init_transactions(STEP)) {
                Ok(()) => return Ok(producer),
                Err(Trouble::Deaf) => {}
                Err(trouble) => return Err(producer.ending(trouble)),
            }
        }
    }

    /// Writes the records in one transaction. Blocking; waits for Kafka as long as nobody stops it and the transaction is not aborted by time:
    /// then this producer can not go on.
    pub(super) fn transact(&self, records: &[Record]) -> Result<(), Error> {
        let mut backoff = Backoff::new(&self.stop);
        loop {
            match self.attempt(records) {
                Ok(()) => return Ok(()),
                Err(trouble @ (Trouble::End(_) | Trouble::Deaf)) => return Err(self.ending(trouble)),
                Err(Trouble::Again | Trouble::Abort) => {
                    let until = Instant::now() + self.timeout;
                    let aborted = self.insist("aborting a commit", until, || self.client.abort_transaction(STEP));
                    aborted.map_err(|trouble| self.ending(trouble))?;
                    backoff.pause("a commit", &"it was aborted and is done again")?;
                }
            }
        }
    }

    fn attempt(&self, records: &[Record]) -> Result<(), Trouble> {
        let until = Instant::now() + self.timeout;
        self.insist("a commit", until, || self.client.begin_transaction())?;
        for record in records {
            self.insist("a commit", until, || self.send(record))?;
        }
        self.delivered();
        self.insist("a commit", until, || self.client.commit_transaction(STEP))
    }

    fn send(&self, record: &Record) -> Result<(), KafkaError> {
        let mut sent = BaseRecord::to(&record.topic).key(&record.key).payload(&record.payload);
        if let Some(headers) = &record.headers {
            sent = sent.headers(headers.clone());
        }
        self.client.send(sent).map_err(|(error, _)| error)
    }

    /// Waits until the records have left; the client's own wait inside a commit has steps of 100 ms.
    fn delivered(&self) {
        let until = Instant::now() + STEP;
        while self.client.in_flight_count() > 0 && Instant::now() < until && !self.stop.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Calls until it is done or another call is wanted.
    fn insist(
        &self,
        doing: &str,
        until: Instant,
        mut call: impl FnMut() -> Result<(), KafkaError>,
    ) -> Result<(), Trouble> {
        let mut backoff = Backoff::new(&self.stop);
        let doubt = Instant::now() + DOUBT;
        loop {
            let Err(error) = call() else { return Ok(()) };
            match self.judge(&error) {
                Trouble::Again if Instant::now() >= until => return Err(Trouble::Deaf),
                Trouble::Again if Instant::now() >= doubt && self.others_are_answered() => return Err(Trouble::Deaf),
                Trouble::Again => backoff.pause(doing, &error).map_err(|stopped| Trouble::End(stopped.into()))?,
                other => {
                    tracing::debug!(producer = %self.name, "{doing}: {error}");
                    return Err(other);
                }
            }
        }
    }

    /// Whether a new client hears Kafka.
    fn others_are_answered(&self) -> bool {
        let Ok(client) = self.connection.client::<BaseConsumer<Context>>(&[]) else { return false };
        client.fetch_metadata(None, STEP).is_ok_and(|metadata| !metadata.brokers().is_empty())
    }

    fn judge(&self, error: &KafkaError) -> Trouble {
        use RDKafkaErrorCode as Code;
        if let Some((code, problem)) = self.client.client().fatal_error() {
            return Trouble::End(match code {
                Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => self.fenced(),
                _ => Error::Producer { name: self.name.clone(), problem },
            });
        }
        match error {
            KafkaError::Transaction(error) => match error.code() {
                Code::Fenced | Code::ProducerFenced => Trouble::End(self.fenced()),
                _ if error.txn_requires_abort() => Trouble::Abort,
                Code::OperationTimedOut | Code::RequestTimedOut => Trouble::Again,
                _ if error.is_retriable() => Trouble::Again,
                _ => Trouble::End(self.broken(error)),
            },
            KafkaError::Flush(_) | KafkaError::MessageProduction(Code::QueueFull) => Trouble::Again,
            KafkaError::MessageProduction(Code::MessageSizeTooLarge) => Trouble::End(Error::TooLarge),
            // The transaction has failed already; the next call would say so.
            KafkaError::MessageProduction(_) => Trouble::Abort,
            _ => Trouble::End(self.broken(error)),
        }
    }

    fn fenced(&self) -> Error {
        Error::Fenced { name: self.name.clone() }
    }

    fn broken(&self, problem: &dyn std::fmt::Display) -> Error {
        Error::Producer { name: self.name.clone(), problem: problem.to_string() }
    }

    fn ending(&self, trouble: Trouble) -> Error {
        match trouble {
            Trouble::End(error) => error,
            Trouble::Again | Trouble::Abort => self.broken(&"its transaction can not be aborted"),
            Trouble::Deaf => self.broken(
                &"Kafka does not answer it, and answers others or is away for as long as a transaction may be open",
            ),
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("name", &self.name).finish_non_exhaustive()
    }
}
