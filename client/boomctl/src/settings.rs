//! Where the cluster is: boomctl's configuration, from options, the environment and a file, and `boomctl config`.
//!
//! Nothing is connected here. Passwords and the token are read where they are used, from files or the environment only.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use boom_client::Cluster;
use boom_client::channel;
use boom_client::kafka::Connection;
use boom_client::secret::Secret;
use boom_client::settings::Settings;
use clap::Args;
use serde::Deserialize;

use crate::Usage;

const DEFAULTS: &str = include_str!("default.toml");

/// Names a file, if --config does not.
const FILE: &str = "BOOM_BOOMCTL_CONFIG";

/// Before the variables that replace keys.
const PREFIX: &str = "BOOM_BOOMCTL__";

/// Print the configuration with its defaults and what each key means.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {}

impl ConfigArgs {
    /// Prints it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        io::stdout().lock().write_all(DEFAULTS.as_bytes()).context("writing to standard output")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where the coordinators are.
#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    /// Configuration file [default: $BOOM_BOOMCTL_CONFIG, else none; `boomctl config` prints one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Some of the coordinators, with commas between them [default: http://127.0.0.1:7700]
    #[arg(long, value_name = "URL,…", value_delimiter = ',')]
    coordinators: Vec<String>,
}

/// Where the results' Kafka is.
#[derive(Debug, Args)]
pub(crate) struct KafkaArgs {
    /// Configuration file [default: $BOOM_BOOMCTL_CONFIG, else none; `boomctl config` prints one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Some of the brokers of Kafka, with commas between them [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
}

/// One, with commas, or a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Many {
    One(String),
    List(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Control {
    coordinators: Many,
    deadline_s: u64,
    tls: Option<channel::Tls>,
    token: Option<Secret>,
}

/// The topics that nodes write.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Topics {
    /// What passes.
    pub(crate) results: String,
    /// What gave no alert.
    pub(crate) dead_letters: String,
    /// How far each partition is decided, and the books.
    pub(crate) progress: String,
    /// Dead letters that were sent again.
    pub(crate) retried: String,
}

/// The results' Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kafka {
    /// How it is reached.
    pub(crate) connection: Connection,
    /// Its topics.
    pub(crate) topics: Topics,
}

/// All of it.
#[derive(Debug)]
struct Read {
    control: Control,
    kafka: Kafka,
}

fn read(file: Option<PathBuf>, environment: impl Iterator<Item = (String, String)>) -> anyhow::Result<Read> {
    let text = file.as_ref().map(|path| {
        let unreadable = |error| Usage(format!("{} can not be read: {error}", path.display()));
        std::fs::read_to_string(path).map_err(unreadable)
    });
    let text = text.transpose()?;
    let layer = file.as_deref().zip(text.as_deref());
    let mut settings = Settings::layered(DEFAULTS, layer, PREFIX, environment);
    let control: Option<Control> = settings.section("control");
    let connection: Option<Connection> = settings.section("kafka");
    let topics: Option<Topics> = settings.section("topics");
    if let Some(control) = &control {
        settings.range("control.deadline_s", control.deadline_s, 1, 3600);
    }
    settings.finish().map_err(|problems| Usage(problems.to_string()))?;
    match (control, connection, topics) {
        (Some(control), Some(connection), Some(topics)) => Ok(Read { control, kafka: Kafka { connection, topics } }),
        _ => Err(Usage("the configuration has a section that is no section".to_owned()).into()),
    }
}

/// The file and the environment of this process.
fn of_process(config: Option<PathBuf>) -> anyhow::Result<Read> {
    let file = config.or_else(|| std::env::var_os(FILE).map(PathBuf::from));
    // A variable that is no text is none of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    read(file, environment)
}

impl ControlArgs {
    /// The coordinators. Nothing is connected yet.
    ///
    /// # Errors
    /// All that is wrong with the configuration.
    pub(crate) fn cluster(self) -> anyhow::Result<Cluster> {
        let control = of_process(self.config)?.control;
        let coordinators = match control.coordinators {
            _ if !self.coordinators.is_empty() => self.coordinators,
            Many::List(list) => list,
            Many::One(text) => text.split(',').map(|one| one.trim().to_owned()).collect(),
        };
        let deadline = Duration::from_secs(control.deadline_s);
        let config = channel::Config { coordinators, tls: control.tls, token: control.token, deadline };
        Cluster::new(config).map_err(|error| Usage(error.to_string()).into())
    }
}

impl KafkaArgs {
    /// The results' Kafka.
    ///
    /// # Errors
    /// All that is wrong with the configuration.
    pub(crate) fn kafka(&self) -> anyhow::Result<Kafka> {
        let mut kafka = of_process(self.config.clone())?.kafka;
        if let Some(brokers) = &self.brokers {
            kafka.connection.brokers.clone_from(brokers);
        }
        Ok(kafka)
    }
}

/// Runs a future to its end, on this thread.
///
/// # Errors
/// Those of the future.
pub(crate) fn wait<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_printed_defaults_are_a_configuration_and_so_is_each_of_its_examples() {
        assert!(read(None, environment(&[])).is_ok());
        for example in DEFAULTS.lines().filter(|line| line.starts_with("# t") || line.starts_with("# sasl")) {
            let Some((key, _)) = example.trim_start_matches("# ").split_once(" = ") else { continue };
            let file = tempfile::NamedTempFile::new().unwrap();
            let section = if example.contains("kafka") { "kafka" } else { "control" };
            std::fs::write(file.path(), format!("[{section}]\n{}", example.trim_start_matches("# "))).unwrap();
            read(Some(file.path().to_owned()), environment(&[])).unwrap_or_else(|error| panic!("{key}: {error}"));
        }
    }

    #[test]
    fn variables_replace_keys_and_a_list_may_be_written_with_commas() {
        let variables =
            [("BOOM_BOOMCTL__CONTROL__COORDINATORS", "http://a:1,http://b:2"), ("BOOM_BOOMCTL__KAFKA__BROKERS", "k:9")];
        let read = read(None, environment(&variables)).unwrap();
        assert!(matches!(read.control.coordinators, Many::One(text) if text == "http://a:1,http://b:2"));
        assert_eq!(read.kafka.connection.brokers, "k:9");
    }

    #[test]
    fn all_problems_are_said_and_are_bad_usage() {
        let variables = [("BOOM_BOOMCTL__CONTROL__DEADLINE_S", "0"), ("BOOM_BOOMCTL__TOPICS__RESULT", "x")];
        let error = read(None, environment(&variables)).unwrap_err();
        assert!(error.is::<Usage>());
        let text = error.to_string();
        assert!(text.contains("`control.deadline_s` is 0: 1 to 3600") && text.contains("`topics.result`"), "{text}");
    }
}
