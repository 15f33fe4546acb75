//! A Kafka: what is written, the progress of each partition, and producers that can be fenced.

use std::collections::{BTreeMap, BTreeSet};

use boom_plan::fleet::LiveTopic;
use boom_plan::id::{Offset, Partition, ProducerName};

#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// Fence the producers, then read the progress.
    Start { fence: BTreeSet<ProducerName> },
    /// Commit results together with the progress.
    Commit { from: u64, to: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Response {
    Started { next: u64 },
    Committed { next: u64 },
    Fenced,
}

#[derive(Debug, Default)]
pub(crate) struct Kafka {
    pub(crate) ends: BTreeMap<Partition, u64>,
    pub(crate) progress: BTreeMap<Partition, u64>,
    fenced: BTreeSet<ProducerName>,
}

impl Kafka {
    pub(crate) fn create(&mut self, topic: &str, partitions: u32) {
        let stream = if topic.starts_with("ztf") { "ztf" } else { "lsst" };
        for number in 0..partitions {
            let partition: Partition = format!("{stream}/{topic}/{number}").parse().unwrap();
            self.ends.entry(partition).or_default();
        }
    }

    /// Alerts come into all partitions of the newest topics.
    pub(crate) fn write(&mut self, topic: &str, alerts: u64) {
        let of_it = self.ends.iter_mut().filter(|(partition, _)| partition.topic.as_str() == topic);
        of_it.for_each(|(_, end)| *end += alerts);
    }

    pub(crate) fn topics(&self) -> Vec<LiveTopic> {
        let mut topics: BTreeMap<_, BTreeMap<u32, Option<Offset>>> = BTreeMap::new();
        for (partition, end) in &self.ends {
            let ends = topics.entry(partition.topic.clone()).or_default();
            ends.insert(partition.number, Some(Offset(*end)));
        }
        topics.into_iter().map(|(topic, ends)| LiveTopic { topic, ends }).collect()
    }

    /// Carries a request of a producer out.
    pub(crate) fn handle(
        &mut self,
        who: &ProducerName,
        partition: &Partition,
        request: Request,
    ) -> Result<Response, String> {
        let progress = self.progress.entry(partition.clone()).or_default();
        match request {
            Request::Start { fence } => {
                self.fenced.extend(fence);
                Ok(Response::Started { next: *progress })
            }
            Request::Commit { .. } if self.fenced.contains(who) => Ok(Response::Fenced),
            Request::Commit { from, to } => {
                if from != *progress {
                    return Err(format!("{who} passes {from}..{to} of {partition}, whose progress is {progress}"));
                }
                *progress = to;
                Ok(Response::Committed { next: to })
            }
        }
    }
}
