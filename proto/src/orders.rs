//! What operators want: streams, modes of nodes, quotas that are set by hand.

use std::collections::BTreeMap;

use boom_plan::id::{NodeId, StreamId};
use boom_plan::orders::{Bounds, Limits, Mode, Orders, Start, Stream};
use boom_plan::quota::Stage;
use boom_plan::replay::Replay;

use crate::error::{map, required};
use crate::names::{mode, stage};
use crate::v1::start;
use crate::{Error, v1};

impl From<&Orders> for v1::Orders {
    fn from(orders: &Orders) -> Self {
        let mode = |(node, &mode): (&NodeId, &Mode)| {
            let (node, mode) = (node.to_string(), v1::Mode::from(mode).into());
            v1::NodeMode { node, mode }
        };
        Self {
            streams: orders.streams.iter().map(stream_to_wire).collect(),
            modes: orders.modes.iter().map(mode).collect(),
            quotas: orders.quotas.iter().map(overrides_to_wire).collect(),
            limits: orders.limits.iter().map(node_limits).collect(),
            bounds: orders.bounds.iter().map(stream_bounds).collect(),
        }
    }
}

impl TryFrom<v1::Orders> for Orders {
    type Error = Error;
    fn try_from(orders: v1::Orders) -> Result<Self, Error> {
        let mode = |entry: v1::NodeMode| Ok((entry.node.parse()?, mode(entry.mode, "NodeMode.mode")?));
        let limits =
            |entry: v1::NodeLimits| Ok((entry.node.parse()?, limits_of_wire(entry.stages, "NodeLimits.stages")?));
        let bounds = |entry: v1::StreamBounds| {
            Ok((entry.stream.parse()?, required(entry.bounds, "StreamBounds.bounds")?.try_into()?))
        };
        Ok(Self {
            streams: map(orders.streams.into_iter().map(stream_of_wire), "Orders.streams")?,
            modes: map(orders.modes.into_iter().map(mode), "Orders.modes")?,
            quotas: map(orders.quotas.into_iter().map(overrides_of_wire), "Orders.quotas")?,
            limits: map(orders.limits.into_iter().map(limits), "Orders.limits")?,
            bounds: map(orders.bounds.into_iter().map(bounds), "Orders.bounds")?,
        })
    }
}

fn node_limits((node, stages): (&NodeId, &BTreeMap<Stage, Limits>)) -> v1::NodeLimits {
    v1::NodeLimits { node: node.to_string(), stages: limits_to_wire(stages) }
}

fn stream_bounds((stream, bounds): (&StreamId, &Bounds)) -> v1::StreamBounds {
    v1::StreamBounds { stream: stream.to_string(), bounds: Some(bounds.into()) }
}

/// The limits of stages.
pub(crate) fn limits_to_wire(stages: &BTreeMap<Stage, Limits>) -> Vec<v1::StageLimits> {
    let one = |(&stage, &limits): (&Stage, &Limits)| {
        let (stage, limits) = (v1::Stage::from(stage).into(), Some(limits.into()));
        v1::StageLimits { stage, limits }
    };
    stages.iter().map(one).collect()
}

/// The limits of stages, each once.
pub(crate) fn limits_of_wire(
    stages: Vec<v1::StageLimits>,
    field: &'static str,
) -> Result<BTreeMap<Stage, Limits>, Error> {
    let one = |entry: v1::StageLimits| {
        let limits = required(entry.limits, "StageLimits.limits")?.into();
        Ok((stage(entry.stage, "StageLimits.stage")?, limits))
    };
    map(stages.into_iter().map(one), field)
}

impl From<Limits> for v1::Limits {
    fn from(Limits { min, max }: Limits) -> Self {
        Self { min, max }
    }
}

impl From<v1::Limits> for Limits {
    fn from(v1::Limits { min, max }: v1::Limits) -> Self {
        Self { min, max }
    }
}

impl From<&Bounds> for v1::Bounds {
    fn from(bounds: &Bounds) -> Self {
        Self { weight: bounds.weight, stages: limits_to_wire(&bounds.stages) }
    }
}

impl TryFrom<v1::Bounds> for Bounds {
    type Error = Error;
    fn try_from(bounds: v1::Bounds) -> Result<Self, Error> {
        Ok(Self { weight: bounds.weight, stages: limits_of_wire(bounds.stages, "Bounds.stages")? })
    }
}

fn overrides_to_wire((node, stages): (&NodeId, &BTreeMap<Stage, u32>)) -> v1::NodeOverrides {
    let one = |(&stage, &workers): (&Stage, &u32)| {
        let stage = v1::Stage::from(stage).into();
        v1::StageWorkers { stage, workers }
    };
    v1::NodeOverrides { node: node.to_string(), stages: stages.iter().map(one).collect() }
}

fn overrides_of_wire(overrides: v1::NodeOverrides) -> Result<(NodeId, BTreeMap<Stage, u32>), Error> {
    let one = |entry: v1::StageWorkers| Ok((stage(entry.stage, "StageWorkers.stage")?, entry.workers));
    let stages = map(overrides.stages.into_iter().map(one), "NodeOverrides.stages")?;
    Ok((overrides.node.parse()?, stages))
}

/// A stream with its name, as it goes over the wire.
pub(crate) fn stream_to_wire((id, stream): (&StreamId, &Stream)) -> v1::NamedStream {
    let stream = v1::Stream {
        survey: stream.survey.clone(),
        cluster: stream.cluster.clone(),
        topics: stream.topics.to_string(),
        start: Some(stream.start.into()),
        paused: stream.paused,
        bounds: Some((&stream.bounds).into()),
        replay: stream.replay.as_ref().map(Into::into),
    };
    v1::NamedStream { name: id.to_string(), stream: Some(stream) }
}

/// A stream with its name. Bounds that are not given are none.
pub(crate) fn stream_of_wire(named: v1::NamedStream) -> Result<(StreamId, Stream), Error> {
    let stream = required(named.stream, "NamedStream.stream")?;
    let said = |text: String, field| if text.is_empty() { Err(Error::Missing(field)) } else { Ok(text) };
    let stream = Stream {
        survey: said(stream.survey, "Stream.survey")?,
        cluster: said(stream.cluster, "Stream.cluster")?,
        topics: stream.topics.parse()?,
        start: required(stream.start, "Stream.start")?.try_into()?,
        paused: stream.paused,
        bounds: stream.bounds.unwrap_or_default().try_into()?,
        replay: stream.replay.map(TryInto::try_into).transpose()?,
    };
    Ok((named.name.parse()?, stream))
}

impl From<&Replay> for v1::Replay {
    fn from(Replay { of, to, removing }: &Replay) -> Self {
        Self { of: of.to_string(), to_unix_ms: *to, removing: *removing }
    }
}

impl TryFrom<v1::Replay> for Replay {
    type Error = Error;
    fn try_from(replay: v1::Replay) -> Result<Self, Error> {
        Ok(Self { of: replay.of.parse()?, to: replay.to_unix_ms, removing: replay.removing })
    }
}

impl From<Start> for v1::Start {
    fn from(start: Start) -> Self {
        let at = match start {
            Start::Earliest => start::At::Earliest(start::Earliest {}),
            Start::Latest => start::At::Latest(start::Latest {}),
            Start::At(time) => start::At::TimeUnixMs(time),
        };
        Self { at: Some(at) }
    }
}

impl TryFrom<v1::Start> for Start {
    type Error = Error;
    fn try_from(start: v1::Start) -> Result<Self, Error> {
        Ok(match required(start.at, "Start.at")? {
            start::At::Earliest(_) => Self::Earliest,
            start::At::Latest(_) => Self::Latest,
            start::At::TimeUnixMs(time) => Self::At(time),
        })
    }
}
