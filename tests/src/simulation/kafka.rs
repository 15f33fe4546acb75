//! A Kafka: what is written, the progress of each partition, and producers that can be fenced.

use std::collections::{BTreeMap, BTreeSet};

use boom_plan::fleet::LiveTopic;
use boom_plan::id::{Offset, Partition, ProducerName};

#[derive(Debug, Clone)]
pub(super) enum Request {
    /// Fence the producers, then read the progress.
    Start { fence: BTreeSet<ProducerName> },
    /// Commit results together with the progress.
    Commit { from: u64, to: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Response {
    Started { next: u64 },
    Committed { next: u64 },
    Fenced,
}

#[derive(Debug, Default)]
pub(super) struct Kafka {
    pub(super) ends: BTreeMap<Partition, u64>,
    pub(super) progress: BTreeMap<Partition, u64>,
    /// When what was written: the end that a partition had then.
    written: BTreeMap<Partition, Vec<(u64, u64)>>,
    fenced: BTreeSet<ProducerName>,
}

impl Kafka {
    pub(super) fn create(&mut self, topic: &str, partitions: u32) {
        let stream = if topic.starts_with("ztf") { "ztf" } else { "lsst" };
        for number in 0..partitions {
            let partition: Partition = format!("{stream}/{topic}/{number}").parse().expect("it is a name");
            self.ends.entry(partition).or_default();
        }
    }

    /// Alerts come into all partitions of a topic.
    pub(super) fn write(&mut self, topic: &str, alerts: u64, now: u64) {
        for (partition, end) in self.ends.iter_mut().filter(|(partition, _)| partition.topic.as_str() == topic) {
            *end += alerts;
            self.written.entry(partition.clone()).or_default().push((*end, now));
        }
    }

    /// How long the alert at that offset has been there, if it is there.
    pub(super) fn age(&self, partition: &Partition, offset: u64, now: u64) -> Option<u64> {
        let written = self.written.get(partition)?;
        let place = written.partition_point(|(end, _)| *end <= offset);
        written.get(place).map(|(_, at)| now - at)
    }

    pub(super) fn topics(&self) -> Vec<LiveTopic> {
        let mut topics: BTreeMap<_, BTreeMap<u32, Option<Offset>>> = BTreeMap::new();
        for (partition, end) in &self.ends {
            let ends = topics.entry(partition.topic.clone()).or_default();
            ends.insert(partition.number, Some(Offset(*end)));
        }
        topics.into_iter().map(|(topic, ends)| LiveTopic { topic, ends }).collect()
    }

    /// Carries a request of a producer out.
    pub(super) fn handle(
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
