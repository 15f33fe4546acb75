//! The topic lists of Kafka clusters. The client blocks, so it is asked on threads of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boom_client::kafka::{Connection, Context};
use boom_plan::fleet::LiveTopic;
use boom_plan::id::Offset;
use boom_plan::topics::TopicPattern;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::{Offset as Raw, TopicPartitionList};
use tracing::{info, warn};

use super::Topics;

/// How long each of the two questions of a list may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// So many events of a client are put away with each list.
const EVENTS: usize = 100;

/// The Kafka clusters of the configuration.
#[derive(Debug)]
pub struct Kafka {
    clusters: BTreeMap<String, Arc<Cluster>>,
}

#[derive(Debug)]
struct Cluster {
    name: String,
    connection: Connection,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<BaseConsumer<Context>>,
    /// Why the last list could not be had.
    problem: Option<String>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("problem", &self.problem).finish_non_exhaustive()
    }
}

impl Kafka {
    /// These clusters, which need not be there yet.
    pub fn new(clusters: BTreeMap<String, Connection>) -> Self {
        let cluster = |(name, connection): (String, Connection)| {
            let cluster = Cluster { name: name.clone(), connection, state: Mutex::default() };
            (name, Arc::new(cluster))
        };
        Self { clusters: clusters.into_iter().map(cluster).collect() }
    }
}

impl Topics for Kafka {
    async fn list(&self, cluster: &str, patterns: &[TopicPattern]) -> Option<Vec<LiveTopic>> {
        let Some(found) = self.clusters.get(cluster).map(Arc::clone) else {
            let known: Vec<_> = self.clusters.keys().map(String::as_str).collect();
            warn!(
                cluster,
                known = known.join(", "),
                "a stream names a Kafka cluster that the configuration does not have"
            );
            return None;
        };
        let patterns = patterns.to_vec();
        let listed = tokio::task::spawn_blocking(move || found.list(&patterns)).await;
        listed.unwrap_or_else(|error| {
            warn!(cluster, %error, "listing topics has failed");
            None
        })
    }
}

impl Cluster {
    fn list(&self, patterns: &[TopicPattern]) -> Option<Vec<LiveTopic>> {
        // The client that a panic left is as good as before.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = self.ask(&mut state.client, patterns);
        let problem = listed.as_ref().err().cloned();
        let before = std::mem::replace(&mut state.problem, problem.clone());
        match (before, problem) {
            (None, Some(why)) => {
                warn!(cluster = self.name, "its topics can not be listed, what is known of them stays: {why}");
            }
            (Some(_), None) => info!(cluster = self.name, "its topics are listed again"),
            _ => {}
        }
        listed.ok()
    }

    fn ask(
        &self,
        client: &mut Option<BaseConsumer<Context>>,
        patterns: &[TopicPattern],
    ) -> Result<Vec<LiveTopic>, String> {
        if client.is_none() {
            // The end of a partition is where a reader gets to that does not wait for open transactions. No group is joined.
            let settings = [("group.id", "boom-coordinator"), ("isolation.level", "read_uncommitted")];
            *client = Some(self.connection.client(&settings).map_err(|error| error.to_string())?);
        }
        let Some(client) = client else { return Ok(Vec::new()) };
        for _ in 0..EVENTS {
            if client.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        let metadata = client.fetch_metadata(None, PATIENCE).map_err(|error| error.to_string())?;
        let mut found: Vec<LiveTopic> = Vec::new();
        let mut asked = TopicPartitionList::new();
        for topic in metadata.topics() {
            let Ok(name) = topic.name().parse() else { continue };
            if topic.error().is_some() || !patterns.iter().any(|pattern| pattern.matches(&name).is_some()) {
                continue;
            }
            let numbers = topic.partitions().iter().filter_map(|partition| u32::try_from(partition.id()).ok());
            let ends: BTreeMap<u32, Option<Offset>> = numbers.map(|number| (number, None)).collect();
            for number in ends.keys() {
                let number = i32::try_from(*number).unwrap_or(i32::MAX);
                asked.add_partition_offset(topic.name(), number, Raw::End).map_err(|error| error.to_string())?;
            }
            found.push(LiveTopic { topic: name, ends });
        }
        if asked.count() > 0 {
            let ends = client.offsets_for_times(asked, PATIENCE).map_err(|error| error.to_string())?;
            found.iter_mut().for_each(|live| fill(live, &ends));
        }
        Ok(found)
    }
}

/// Takes in the ends that were told; one that was not stays unknown.
fn fill(live: &mut LiveTopic, told: &TopicPartitionList) {
    for (number, end) in &mut live.ends {
        let number = i32::try_from(*number).unwrap_or(i32::MAX);
        let Some(found) = told.find_partition(live.topic.as_str(), number) else { continue };
        if let (Ok(()), Raw::Offset(offset)) = (found.error(), found.offset()) {
            *end = u64::try_from(offset).ok().map(Offset);
        }
    }
}
