//! Topic lists that a test writes itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use boom_plan::fleet::LiveTopic;
use boom_plan::topics::TopicPattern;

use super::Topics;

/// The topics of each cluster that answers.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, Vec<LiveTopic>>>);

impl Memory {
    /// From now on the cluster has these topics; with none at all, it does not answer.
    pub fn set(&self, cluster: &str, topics: Option<Vec<LiveTopic>>) {
        let mut clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match topics {
            Some(topics) => drop(clusters.insert(cluster.to_owned(), topics)),
            None => drop(clusters.remove(cluster)),
        }
    }
}

impl Topics for Memory {
    async fn list(&self, cluster: &str, patterns: &[TopicPattern]) -> Option<Vec<LiveTopic>> {
        let clusters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |live: &&LiveTopic| patterns.iter().any(|pattern| pattern.matches(&live.topic).is_some());
        Some(clusters.get(cluster)?.iter().filter(is_ours).cloned().collect())
    }
}
