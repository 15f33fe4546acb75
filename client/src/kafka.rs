//! How a Kafka cluster is reached: brokers, TLS, SASL, waiting for it. What is read and written there is the matter of who opens a client.
//!
//! A password is read where a client is made, from a file or the environment, and is kept nowhere: no `Debug`, error or log has it.

use std::path::PathBuf;
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientContext, consumer::ConsumerContext};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::secret::{Secret, Unreadable};

/// The longest that one call to a client blocks.
pub const STEP: Duration = Duration::from_secs(5);

/// A cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// `HOST:PORT,…` of some of its brokers.
    pub brokers: String,
    /// TLS, if the brokers want it.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Who we are, if the brokers ask.
    #[serde(default)]
    pub sasl: Option<Sasl>,
}

/// TLS; without files the certificates of the system are trusted, and none is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificates to trust, PEM.
    pub authority: Option<PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

/// A user with a password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// How the password is shown to be known.
    pub mechanism: Mechanism,
    /// The user.
    pub user: String,
    /// Where the password is.
    pub password: Secret,
}

/// SASL mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    /// SCRAM-SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM-SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The password.
    #[error(transparent)]
    Password(#[from] Unreadable),
    /// The settings.
    #[error("a Kafka client can not be made: {0}")]
    Client(String),
}

impl Connection {
    /// A cluster without TLS and users.
    pub fn plain(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned(), ..Self::default() }
    }

    fn config(&self) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "boom");
        config.set("reconnect.backoff.max.ms", "1000");
        config.set_log_level(RDKafkaLogLevel::Warning);
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let files = [
                ("ssl.ca.location", &tls.authority),
                ("ssl.certificate.location", &tls.certificate),
                ("ssl.key.location", &tls.key),
            ];
            for (key, path) in files {
                if let Some(path) = path {
                    config.set(key, path.to_string_lossy());
                }
            }
        }
        if let Some(sasl) = &self.sasl {
            let mechanism = match sasl.mechanism {
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            config.set("sasl.mechanism", mechanism).set("sasl.username", &sasl.user);
            let what = format!("the password of the Kafka user {}", sasl.user);
            config.set("sasl.password", sasl.password.read(&what)?);
        }
        Ok(config)
    }

    /// A client with further settings.
    pub fn client<C: FromClientConfigAndContext<Context>>(&self, settings: &[(&str, &str)]) -> Result<C, Error> {
        let mut config = self.config()?;
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create_with_context(Context).map_err(|error| Error::Client(without_value(&error)))
    }
}

/// An error without the value of a setting, which may be a password.
fn without_value(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, problem, key, _) => format!("{key}: {problem}"),
        other => other.to_string(),
    }
}

/// Gives what a client says to the log of ours. That a broker is away is said by who waits for it.
#[derive(Debug, Clone, Copy)]
pub struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {
        // A record that can not be delivered makes its transaction one to abort, which the commit then says.
    }
}

/// A client whose place another one can take. One goes deaf when all brokers that it knows leave the cluster's metadata for a moment, as the
/// only one does that is fenced: librdkafka forgets them, and says nothing. A new one hears.
#[derive(Debug)]
pub struct Renewable<C> {
    client: C,
    /// Questions in a row that got no answer.
    unanswered: u32,
}

impl<C: Send + 'static> Renewable<C> {
    /// One that has not been asked anything.
    pub fn new(client: C) -> Self {
        Self { client, unanswered: 0 }
    }

    /// It has heard something.
    pub fn heard(&mut self) {
        self.unanswered = 0;
    }

    /// A question got no answer. Gives whether these are so many in a row, that another client should ask; then it is counted anew.
    pub fn is_deaf(&mut self, after: u32) -> bool {
        self.unanswered += 1;
        let is_deaf = self.unanswered >= after;
        if is_deaf {
            self.unanswered = 0;
        }
        is_deaf
    }

    /// A new client takes its place.
    pub fn replace(&mut self, client: C) {
        let deaf = std::mem::replace(&mut self.client, client);
        self.unanswered = 0;
        // Its end may wait for brokers that it does not find.
        std::thread::spawn(move || drop(deaf));
    }
}

impl<C> std::ops::Deref for Renewable<C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.client
    }
}

/// Waits between attempts: longer each time, up to 2 s.
#[derive(Debug)]
pub struct Backoff<'a> {
    wait: Duration,
    stop: &'a CancellationToken,
    said: bool,
}

/// Nobody wants to wait any more.
#[derive(Debug, Clone, Copy)]
pub struct Stopped;

impl<'a> Backoff<'a> {
    /// Nothing was waited for yet.
    pub fn new(stop: &'a CancellationToken) -> Self {
        Self { wait: Duration::from_millis(20), stop, said: false }
    }

    /// Waits, and says once what for.
    pub fn pause(&mut self, doing: &str, why: &dyn std::fmt::Display) -> Result<(), Stopped> {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!("{doing} waits for Kafka and goes on by itself: {why}");
        }
        let until = std::time::Instant::now() + self.wait;
        while std::time::Instant::now() < until {
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.wait = (self.wait * 2).min(Duration::from_secs(2));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_deaf_after_so_many_questions_in_a_row_without_an_answer() {
        let mut client = Renewable::new("old");
        let mut ask = |heard: bool| {
            if heard {
                client.heard();
            }
            client.is_deaf(3)
        };
        assert_eq!([false, false, true].map(&mut ask), [false, false, false], "it has heard something in between");
        assert_eq!([false, false].map(&mut ask), [false, true]);
        assert!(!ask(false), "it is counted anew");
        client.replace("new");
        assert_eq!(*client, "new");
        assert_eq!([(); 3].map(|()| client.is_deaf(3)), [false, false, true]);
    }

    #[test]
    fn a_password_is_read_from_a_file_and_shown_nowhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\nmore").unwrap();
        let password = Secret::File(file.path().to_owned());
        let sasl = Sasl { mechanism: Mechanism::ScramSha512, user: "boom".to_owned(), password };
        let connection = Connection { sasl: Some(sasl), tls: Some(Tls::default()), ..Connection::plain("a:1") };
        let config = connection.config().unwrap();
        assert_eq!((config.get("sasl.password"), config.get("security.protocol")), (Some("s3cret"), Some("sasl_ssl")));
        assert!(!format!("{connection:?}{config:?}").contains("s3cret"));
        let bad = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "it is wrong".to_owned(),
            "sasl.password".to_owned(),
            "s3cret".to_owned(),
        );
        assert_eq!(without_value(&bad), "sasl.password: it is wrong");
    }
}
