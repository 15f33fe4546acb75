//! The port of the topic lists: which topics of a Kafka cluster belong to our streams, and where their partitions end.
//!
//! Nothing is decided here: a list that can not be had is no list, and what is in one is the matter of boom-plan.

pub mod kafka;
pub mod memory;

use boom_plan::fleet::LiveTopic;
use boom_plan::topics::TopicPattern;

/// The port. `kafka` is for the cluster, `memory` for tests.
pub trait Topics: Send + Sync + 'static {
    /// The topics of a cluster that match one of the patterns, within bounded time; none when the cluster does not answer, which the adapter
    /// has said then.
    fn list(&self, cluster: &str, patterns: &[TopicPattern]) -> impl Future<Output = Option<Vec<LiveTopic>>> + Send;
}
