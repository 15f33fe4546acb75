//! What operators want: streams, nodes that are to be spared or emptied, quotas that are set by hand. Stored in the plan, so that a new
//! leader knows them, and an order is carried out exactly when its plan is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::id::{NodeId, StreamId};
use crate::quota::Stage;
use crate::replay::{self, Replay};
pub use crate::share::{Bounds, Limits};
use crate::topics::TopicPattern;

/// Where a partition begins that has no progress yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest alert that Kafka has.
    Earliest,
    /// With the next one that comes.
    Latest,
    /// With the first one of this time or later, Unix milliseconds.
    At(u64),
}

/// Where the alerts of a survey come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// The survey, which says how to read its packets.
    pub survey: String,
    /// The Kafka cluster, by its name in the configuration.
    pub cluster: String,
    /// Which topics of it.
    pub topics: TopicPattern,
    /// Where a partition begins that has no progress yet.
    pub start: Start,
    /// Whether an operator has stopped it.
    #[serde(default)]
    pub paused: bool,
    /// How much of the cluster it may take, if no order says otherwise.
    #[serde(default)]
    pub bounds: Bounds,
    /// What makes it a replay, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

impl Stream {
    /// One that is read from its beginning, and takes what is usual.
    pub fn new(survey: impl Into<String>, cluster: impl Into<String>, topics: TopicPattern) -> Self {
        let (survey, cluster, bounds) = (survey.into(), cluster.into(), Bounds::default());
        Self { survey, cluster, topics, start: Start::Earliest, paused: false, bounds, replay: None }
    }

    /// Whether it is a replay that is on its way out.
    pub fn is_removed(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.removing)
    }
}

/// How a node is to be treated, other than as usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It keeps what it has and gets nothing more.
    Cordoned,
    /// It gives back what it has.
    Drained,
}

/// All that operators want.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The streams.
    pub streams: BTreeMap<StreamId, Stream>,
    /// Nodes that are not treated as usual.
    pub modes: BTreeMap<NodeId, Mode>,
    /// Quotas that were set by hand.
    pub quotas: BTreeMap<NodeId, BTreeMap<Stage, u32>>,
    /// Within what the policy stays.
    #[serde(default)]
    pub limits: BTreeMap<NodeId, BTreeMap<Stage, Limits>>,
    /// How much of the cluster streams may take, where it was ordered: that goes before their settings.
    #[serde(default)]
    pub bounds: BTreeMap<StreamId, Bounds>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorCommand {
    /// Read a stream.
    AddStream(StreamId, Stream),
    /// Let a window of a stream go through once more, apart from it.
    ReplayStream {
        /// The name of the replay.
        name: StreamId,
        /// The stream.
        of: StreamId,
        /// The first time of the window, Unix milliseconds.
        from: u64,
        /// The first time behind it.
        to: u64,
    },
    /// Give a stream up; of a replay all that belongs to it is erased.
    RemoveStream(StreamId),
    /// Stop a stream; its progress stays.
    PauseStream(StreamId),
    /// Go on with a stream.
    ResumeStream(StreamId),
    /// Give a node nothing more.
    Cordon(NodeId),
    /// Take all partitions from a node.
    Drain(NodeId),
    /// Treat a node as usual again.
    Uncordon(NodeId),
    /// Set a quota, or let the policy set it again.
    SetQuota {
        /// On which node.
        node: NodeId,
        /// Of which stage.
        stage: Stage,
        /// Workers, or none to take the order back.
        workers: Option<u32>,
    },
    /// Let the policy stay within limits.
    LimitNode {
        /// On which node.
        node: NodeId,
        /// For which stage.
        stage: Stage,
        /// Within which; none to take the order back.
        limits: Option<Limits>,
    },
    /// Let a stream stay within limits in the whole cluster.
    LimitStream {
        /// Which stream.
        stream: StreamId,
        /// In which stage.
        stage: Stage,
        /// Within which; none to take the order back.
        limits: Option<Limits>,
    },
    /// Let a stream count so much beside others.
    WeighStream {
        /// Which stream.
        stream: StreamId,
        /// How much, at least 1; none to take the order back.
        weight: Option<u32>,
    },
}

impl fmt::Display for OperatorCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddStream(id, stream) => write!(f, "add stream {id}: {} of {}", stream.topics, stream.cluster),
            Self::ReplayStream { name, of, from, to } => write!(f, "replay {of} from {from} to {to} as {name}"),
            Self::RemoveStream(id) => write!(f, "remove stream {id}"),
            Self::PauseStream(id) => write!(f, "pause stream {id}"),
            Self::ResumeStream(id) => write!(f, "resume stream {id}"),
            Self::Cordon(node) => write!(f, "cordon {node}"),
            Self::Drain(node) => write!(f, "drain {node}"),
            Self::Uncordon(node) => write!(f, "uncordon {node}"),
            Self::SetQuota { node, stage, workers: Some(workers) } => write!(f, "{stage} of {node} to {workers}"),
            Self::SetQuota { node, stage, workers: None } => write!(f, "{stage} of {node} as the policy says"),
            Self::LimitNode { node, stage, limits: Some(limits) } => write!(f, "{stage} of {node}: {limits}"),
            Self::LimitNode { node, stage, limits: None } => write!(f, "{stage} of {node}: unbounded"),
            Self::LimitStream { stream, stage, limits: Some(limits) } => {
                write!(f, "{stage} of stream {stream}: {limits}")
            }
            Self::LimitStream { stream, stage, limits: None } => {
                write!(f, "{stage} of stream {stream} as its settings say")
            }
            Self::WeighStream { stream, weight: Some(weight) } => write!(f, "stream {stream} counts {weight}"),
            Self::WeighStream { stream, weight: None } => write!(f, "stream {stream} counts as its settings say"),
        }
    }
}

impl Orders {
    /// Takes an order in; gives whether it changes anything. `nodes` are those that are known.
    ///
    /// # Errors
    /// It names a node or stream that is not there, or a stream that is there already, or bounds that can not be kept.
    pub fn take(&mut self, command: OperatorCommand, nodes: &BTreeSet<NodeId>) -> Result<bool, Error> {
        let before = self.clone();
        match command {
            OperatorCommand::AddStream(id, Stream { replay: Some(_), .. }) => {
                let why = "it is ordered as a replay, of a stream that is there".to_owned();
                return Err(Error::Replay { name: id.to_string(), why });
            }
            OperatorCommand::AddStream(id, stream) => self.add(id, stream)?,
            OperatorCommand::ReplayStream { name, of, from, to } => {
                // Whether its end is past, knows who has a clock.
                replay::check(&name, from, to, u64::MAX)?;
                let live = self.stream(&of)?;
                if let Some(Replay { of: live, .. }) = &live.replay {
                    let why = format!("`{of}` is a replay itself: replay `{live}`");
                    return Err(Error::Replay { name: name.to_string(), why });
                }
                let stream = replay::stream((&of, live), from, to);
                self.add(name, stream)?;
            }
            OperatorCommand::RemoveStream(id) => match &mut self.stream(&id)?.replay {
                Some(replay) => replay.removing = true,
                None => self.forget(&id),
            },
            OperatorCommand::PauseStream(id) => self.stream(&id)?.paused = true,
            OperatorCommand::ResumeStream(id) => self.stream(&id)?.paused = false,
            OperatorCommand::Cordon(node) => drop(self.modes.insert(self.node(node, nodes)?, Mode::Cordoned)),
            OperatorCommand::Drain(node) => drop(self.modes.insert(self.node(node, nodes)?, Mode::Drained)),
            OperatorCommand::Uncordon(node) => drop(self.modes.remove(&self.node(node, nodes)?)),
            OperatorCommand::SetQuota { node, stage, workers } => {
                let node = self.node(node, nodes)?;
                set(self.quotas.entry(node).or_default(), stage, workers);
            }
            OperatorCommand::LimitNode { node, stage, limits } => {
                let node = self.node(node, nodes)?;
                limits.map_or(Ok(()), Limits::check)?;
                set(self.limits.entry(node).or_default(), stage, limits);
            }
            OperatorCommand::LimitStream { stream, stage, limits } => {
                self.stream(&stream)?;
                limits.map_or(Ok(()), Limits::check)?;
                set(&mut self.bounds.entry(stream).or_default().stages, stage, limits);
            }
            OperatorCommand::WeighStream { stream, weight } => {
                self.stream(&stream)?;
                Bounds { weight, ..Bounds::default() }.check()?;
                self.bounds.entry(stream).or_default().weight = weight;
            }
        }
        self.quotas.retain(|_, stages| !stages.is_empty());
        self.limits.retain(|_, stages| !stages.is_empty());
        self.bounds.retain(|_, bounds| *bounds != Bounds::default());
        Ok(*self != before)
    }

    /// How much of the cluster a stream may take: what was ordered, else what its settings say.
    pub fn bounds_of(&self, stream: &StreamId) -> Bounds {
        let settings = self.streams.get(stream).map(|stream| &stream.bounds);
        settings.cloned().unwrap_or_default().under(self.bounds.get(stream))
    }

    /// Takes the streams of the configuration in: they are added or changed. Whether one is paused, and those that operators have
    /// added, stay as they are. Gives whether anything changed.
    pub fn configure(&mut self, streams: BTreeMap<StreamId, Stream>) -> bool {
        let before = self.streams.clone();
        for (id, mut stream) in streams {
            match self.streams.get(&id) {
                // Its results would come among those of the replay.
                Some(there) if there.replay.is_some() => continue,
                Some(there) => stream.paused = there.paused,
                None => {}
            }
            self.streams.insert(id, stream);
        }
        self.streams != before
    }

    /// Forgets a replay of which nothing is left.
    pub(crate) fn erased(&mut self, id: &StreamId) {
        if self.streams.get(id).is_some_and(Stream::is_removed) {
            self.forget(id);
        }
    }

    /// A stream, with what was ordered for it.
    fn forget(&mut self, id: &StreamId) {
        self.streams.remove(id);
        self.bounds.remove(id);
    }

    fn add(&mut self, id: StreamId, stream: Stream) -> Result<(), Error> {
        stream.bounds.check()?;
        match self.streams.get(&id) {
            Some(there) if there.is_removed() => Err(Error::Replay {
                name: id.to_string(),
                why: "one of this name is being removed: wait until it is gone, or take another name".to_owned(),
            }),
            Some(there) if *there != stream => Err(Error::StreamExists(id.to_string())),
            _ => {
                self.streams.insert(id, stream);
                Ok(())
            }
        }
    }

    fn stream(&mut self, id: &StreamId) -> Result<&mut Stream, Error> {
        let known = join(self.streams.keys());
        self.streams.get_mut(id).ok_or_else(|| Error::UnknownStream { stream: id.to_string(), known })
    }

    fn node(&self, node: NodeId, nodes: &BTreeSet<NodeId>) -> Result<NodeId, Error> {
        let is_ordered =
            self.modes.contains_key(&node) || self.quotas.contains_key(&node) || self.limits.contains_key(&node);
        let is_known = nodes.contains(&node) || is_ordered;
        if is_known { Ok(node) } else { Err(Error::UnknownNode { node: node.to_string(), known: join(nodes) }) }
    }
}

fn set<T>(stages: &mut BTreeMap<Stage, T>, stage: Stage, value: Option<T>) {
    match value {
        Some(value) => drop(stages.insert(stage, value)),
        None => drop(stages.remove(&stage)),
    }
}

fn join<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(topics: &str) -> Stream {
        Stream::new("ZTF", "ipac", topics.parse().unwrap())
    }

    fn id(text: &str) -> StreamId {
        text.parse().unwrap()
    }

    #[test]
    fn an_order_that_is_given_twice_changes_nothing_the_second_time() {
        let node: NodeId = "a".parse().unwrap();
        let nodes = BTreeSet::from([node.clone()]);
        let (mut orders, limits) = (Orders::default(), Limits { min: 1, max: Some(2) });
        let commands = [
            OperatorCommand::AddStream(id("ztf"), stream("ztf_{date}")),
            OperatorCommand::PauseStream(id("ztf")),
            OperatorCommand::ResumeStream(id("ztf")),
            OperatorCommand::Cordon(node.clone()),
            OperatorCommand::Drain(node.clone()),
            OperatorCommand::SetQuota { node: node.clone(), stage: Stage::Enrich, workers: Some(2) },
            OperatorCommand::SetQuota { node: node.clone(), stage: Stage::Enrich, workers: None },
            OperatorCommand::LimitNode { node: node.clone(), stage: Stage::Enrich, limits: Some(limits) },
            OperatorCommand::LimitNode { node: node.clone(), stage: Stage::Enrich, limits: None },
            OperatorCommand::LimitStream { stream: id("ztf"), stage: Stage::Filter, limits: Some(limits) },
            OperatorCommand::LimitStream { stream: id("ztf"), stage: Stage::Filter, limits: None },
            OperatorCommand::WeighStream { stream: id("ztf"), weight: Some(2) },
            OperatorCommand::Uncordon(node),
        ];
        for command in commands {
            assert!(orders.take(command.clone(), &nodes).unwrap(), "{command}");
            assert!(!orders.take(command.clone(), &nodes).unwrap(), "{command}");
        }
        assert!(orders.take(OperatorCommand::RemoveStream(id("ztf")), &nodes).unwrap());
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn an_order_about_what_is_not_there_says_what_is() {
        let mut orders = Orders::default();
        orders.take(OperatorCommand::AddStream(id("ztf"), stream("ztf_{date}")), &BTreeSet::new()).unwrap();
        let error = orders.take(OperatorCommand::PauseStream(id("zft")), &BTreeSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "no stream is called `zft` (there are: ztf)");
        let error = orders.take(OperatorCommand::Drain("b".parse().unwrap()), &BTreeSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "no node is called `b` (there are: none)");
        let other = OperatorCommand::AddStream(id("ztf"), stream("other"));
        assert_eq!(orders.take(other, &BTreeSet::new()), Err(Error::StreamExists("ztf".into())));
    }

    #[test]
    fn what_is_ordered_for_a_stream_goes_before_its_settings_until_it_is_taken_back() {
        let (mut orders, nobody) = (Orders::default(), BTreeSet::new());
        let (few, many) = (Limits { min: 1, max: Some(2) }, Limits { min: 0, max: Some(9) });
        let stages = [(Stage::Enrich, few), (Stage::Filter, few)].into();
        let settings = Stream { bounds: Bounds { weight: Some(2), stages }, ..stream("ztf_{date}") };
        orders.configure([(id("ztf"), settings.clone())].into());
        let limit = |limits| OperatorCommand::LimitStream { stream: id("ztf"), stage: Stage::Enrich, limits };
        orders.take(limit(Some(many)), &nobody).unwrap();
        orders.take(OperatorCommand::WeighStream { stream: id("ztf"), weight: Some(5) }, &nobody).unwrap();
        let both = Bounds { weight: Some(5), stages: [(Stage::Enrich, many), (Stage::Filter, few)].into() };
        assert_eq!(orders.bounds_of(&id("ztf")), both);
        assert!(!orders.configure([(id("ztf"), settings.clone())].into()), "a new leader changes nothing");
        assert_eq!(orders.bounds_of(&id("ztf")), both);
        orders.take(limit(None), &nobody).unwrap();
        orders.take(OperatorCommand::WeighStream { stream: id("ztf"), weight: None }, &nobody).unwrap();
        assert_eq!(orders.bounds_of(&id("ztf")), settings.bounds);
        let error = orders.take(limit(Some(Limits { min: 3, max: Some(2) })), &nobody).unwrap_err();
        assert_eq!(error.to_string(), "bounds can not be used: the minimum 3 is above the maximum 2");
    }

    #[test]
    fn a_replay_is_a_stream_of_its_own_with_the_topics_of_another_one() {
        let (mut orders, nobody) = (Orders::default(), BTreeSet::new());
        let mut order =
            |command| orders.take(command, &nobody).map_err(|error| error.to_string()).map(|_| orders.clone());
        let replay =
            |name: &str, of: &str, from, to| OperatorCommand::ReplayStream { name: id(name), of: id(of), from, to };
        order(OperatorCommand::AddStream(id("ztf"), stream("night"))).unwrap();
        let orders = order(replay("again", "ztf", 5, 9)).unwrap();
        let again = &orders.streams[&id("again")];
        assert_eq!((&again.topics, again.start), (&orders.streams[&id("ztf")].topics, Start::At(5)));
        assert_eq!(again.replay, Some(Replay { of: id("ztf"), to: 9, removing: false }));
        assert!(again.bounds.weight.is_some(), "it may wait");
        assert_eq!(order(replay("again", "ztf", 5, 9)).unwrap(), orders, "given twice it changes nothing");
        assert!(order(replay("again", "ztf", 5, 8)).unwrap_err().contains("there is a stream `again` already"));
        let added = OperatorCommand::AddStream(id("b"), again.clone());
        assert!(order(added).unwrap_err().contains("it is ordered as a replay"));
        assert!(order(replay("ztf", "ztf", 5, 9)).unwrap_err().contains("there is a stream `ztf` already"));
        assert!(order(replay("b", "zft", 5, 9)).unwrap_err().contains("no stream is called `zft`"));
        assert!(order(replay("b", "again", 5, 9)).unwrap_err().contains("`again` is a replay itself: replay `ztf`"));
        assert!(order(replay("b", "ztf", 9, 9)).unwrap_err().contains("ends before it begins"));
    }

    #[test]
    fn a_replay_that_is_removed_stays_until_it_is_erased_and_keeps_its_name_so_long() {
        let (mut orders, nobody) = (Orders::default(), BTreeSet::new());
        let replay = OperatorCommand::ReplayStream { name: id("again"), of: id("ztf"), from: 5, to: 9 };
        for command in [OperatorCommand::AddStream(id("ztf"), stream("night")), replay.clone()] {
            orders.take(command, &nobody).unwrap();
        }
        let weigh = OperatorCommand::WeighStream { stream: id("again"), weight: Some(3) };
        orders.take(weigh, &nobody).unwrap();
        orders.erased(&id("again"));
        assert!(orders.streams.contains_key(&id("again")), "nobody has removed it");
        assert!(orders.take(OperatorCommand::RemoveStream(id("again")), &nobody).unwrap());
        assert!(
            !orders.take(OperatorCommand::RemoveStream(id("again")), &nobody).unwrap(),
            "given twice it is the same"
        );
        assert!(orders.streams[&id("again")].is_removed());
        assert!(orders.take(replay.clone(), &nobody).unwrap_err().to_string().contains("is being removed"));
        assert!(!orders.configure(BTreeMap::from([(id("again"), stream("other"))])), "nor is it taken otherwise");
        orders.erased(&id("again"));
        assert!(orders.bounds.is_empty(), "what was ordered for it goes with it");
        assert!(!orders.streams.contains_key(&id("again")) && orders.take(replay, &nobody).unwrap());
    }

    #[test]
    fn the_configuration_changes_streams_but_neither_resumes_nor_removes_one() {
        let mut orders = Orders::default();
        let nobody = BTreeSet::new();
        orders.take(OperatorCommand::AddStream(id("mine"), stream("mine")), &nobody).unwrap();
        assert!(orders.configure(BTreeMap::from([(id("ztf"), stream("old"))])));
        orders.take(OperatorCommand::PauseStream(id("ztf")), &nobody).unwrap();
        assert!(orders.configure(BTreeMap::from([(id("ztf"), stream("new"))])));
        assert!(!orders.configure(BTreeMap::from([(id("ztf"), stream("new"))])));
        assert_eq!(orders.streams[&id("ztf")], Stream { paused: true, ..stream("new") });
        assert!(orders.streams.contains_key(&id("mine")));
    }
}
