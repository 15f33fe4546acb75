//! Making the topics that are missing, and deleting those of a replay. Blocking.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;
use tokio_util::sync::CancellationToken;

use super::{Config, Error, MAX_BYTES};
use boom_client::kafka::{Backoff, Context, STEP};

/// Makes what is missing and leaves alone what is there.
pub(super) fn make(config: &Config, stop: &CancellationToken) -> Result<(), Error> {
    let client: AdminClient<Context> = config.connection.client(&[])?;
    let largest = MAX_BYTES.to_string();
    let copies = || TopicReplication::Fixed(config.replication);
    let topics = [
        NewTopic::new(&config.results, config.partitions, copies()).set("max.message.bytes", &largest),
        NewTopic::new(&config.dead_letters, config.partitions, copies()).set("max.message.bytes", &largest),
        // Small segments, compacted soon: a new owner reads all of it.
        NewTopic::new(&config.progress, 1, copies())
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "16777216")
            .set("min.cleanable.dirty.ratio", "0.1")
            .set("max.message.bytes", &largest),
    ];
    let mut backoff = Backoff::new(stop);
    let options = AdminOptions::new().request_timeout(Some(STEP)).operation_timeout(Some(STEP));
    let handle = tokio::runtime::Handle::current();
    loop {
        match handle.block_on(client.create_topics(&topics, &options)) {
            Ok(answers) => {
                let refused = answers.into_iter().filter_map(Result::err);
                let refused = refused.filter(|(_, code)| *code != RDKafkaErrorCode::TopicAlreadyExists);
                match refused.collect::<Vec<_>>().first() {
                    None => return Ok(()),
                    Some((topic, code)) if !passing(*code) => {
                        return Err(Error::Topic { topic: topic.clone(), problem: code.to_string() });
                    }
                    Some((topic, code)) => backoff.pause("making topics", &format!("{topic}: {code}"))?,
                }
            }
            Err(error) => backoff.pause("making topics", &error)?,
        }
    }
}

/// Deletes the topics of results and dead letters, which are a replay's. What is not there is as good as deleted.
pub(super) fn delete(config: &Config, stop: &CancellationToken) -> Result<(), Error> {
    let client: AdminClient<Context> = config.connection.client(&[])?;
    let topics = [config.results.as_str(), config.dead_letters.as_str()];
    let mut backoff = Backoff::new(stop);
    let options = AdminOptions::new().request_timeout(Some(STEP)).operation_timeout(Some(STEP));
    let handle = tokio::runtime::Handle::current();
    loop {
        match handle.block_on(client.delete_topics(&topics, &options)) {
            Ok(answers) => {
                let gone = [RDKafkaErrorCode::UnknownTopicOrPartition, RDKafkaErrorCode::UnknownTopic];
                let refused = answers.into_iter().filter_map(Result::err).find(|(_, code)| !gone.contains(code));
                match refused {
                    None => return Ok(()),
                    Some((topic, code)) if !passing(code) => {
                        return Err(Error::Kept { topic, problem: code.to_string() });
                    }
                    Some((topic, code)) => backoff.pause("deleting topics", &format!("{topic}: {code}"))?,
                }
            }
            Err(error) => backoff.pause("deleting topics", &error)?,
        }
    }
}

/// Whether it may go by itself.
fn passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::NotController
            | Code::BrokerTransportFailure
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
    )
}
