//! What operators do: their orders, and the events that they look up.

use boom_plan::audit::Audit;
use boom_plan::fleet::Note;
use boom_plan::id::{NodeId, StreamId, Term};
use boom_plan::orders::{Mode, OperatorCommand, Stream};
use boom_plan::quota::NodeQuotas;
use boom_plan::scale::Saturated;

use crate::error::required;
use crate::names::{mode, stage};
use crate::orders::{stream_of_wire, stream_to_wire};
use crate::plan::quotas_of_wire;
use crate::{Error, v1};

/// The request of an order: which call it is, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// `AddStream`.
    AddStream(v1::AddStreamRequest),
    /// `ReplayStream`.
    ReplayStream(v1::ReplayStreamRequest),
    /// `RemoveStream`.
    RemoveStream(v1::RemoveStreamRequest),
    /// `PauseStream`.
    PauseStream(v1::PauseStreamRequest),
    /// `ResumeStream`.
    ResumeStream(v1::ResumeStreamRequest),
    /// `Scale`.
    Scale(v1::ScaleRequest),
    /// `LimitNode`.
    LimitNode(v1::LimitNodeRequest),
    /// `LimitStream`.
    LimitStream(v1::LimitStreamRequest),
    /// `WeighStream`.
    WeighStream(v1::WeighStreamRequest),
    /// `Cordon`.
    Cordon(v1::CordonRequest),
    /// `Drain`.
    Drain(v1::DrainRequest),
    /// `Uncordon`.
    Uncordon(v1::UncordonRequest),
}

impl From<&OperatorCommand> for Order {
    fn from(command: &OperatorCommand) -> Self {
        let text = ToString::to_string;
        match command {
            OperatorCommand::AddStream(id, stream) => {
                Self::AddStream(v1::AddStreamRequest { stream: Some(stream_to_wire((id, stream))) })
            }
            OperatorCommand::ReplayStream { name, of, from, to } => {
                let (stream, name) = (text(of), text(name));
                Self::ReplayStream(v1::ReplayStreamRequest { stream, name, from_unix_ms: *from, to_unix_ms: *to })
            }
            OperatorCommand::RemoveStream(id) => Self::RemoveStream(v1::RemoveStreamRequest { stream: text(id) }),
            OperatorCommand::PauseStream(id) => Self::PauseStream(v1::PauseStreamRequest { stream: text(id) }),
            OperatorCommand::ResumeStream(id) => Self::ResumeStream(v1::ResumeStreamRequest { stream: text(id) }),
            OperatorCommand::Cordon(node) => Self::Cordon(v1::CordonRequest { node: node.to_string() }),
            OperatorCommand::Drain(node) => Self::Drain(v1::DrainRequest { node: node.to_string() }),
            OperatorCommand::Uncordon(node) => Self::Uncordon(v1::UncordonRequest { node: node.to_string() }),
            OperatorCommand::SetQuota { node, stage, workers } => {
                let (node, stage) = (node.to_string(), v1::Stage::from(*stage).into());
                Self::Scale(v1::ScaleRequest { node, stage, workers: *workers })
            }
            OperatorCommand::LimitNode { node, stage, limits } => {
                let (stage, limits) = (v1::Stage::from(*stage).into(), limits.map(Into::into));
                Self::LimitNode(v1::LimitNodeRequest { node: node.to_string(), stage, limits })
            }
            OperatorCommand::LimitStream { stream, stage, limits } => {
                let (stage, limits) = (v1::Stage::from(*stage).into(), limits.map(Into::into));
                Self::LimitStream(v1::LimitStreamRequest { stream: text(stream), stage, limits })
            }
            OperatorCommand::WeighStream { stream, weight } => {
                Self::WeighStream(v1::WeighStreamRequest { stream: text(stream), weight: *weight })
            }
        }
    }
}

impl TryFrom<Order> for OperatorCommand {
    type Error = Error;
    fn try_from(order: Order) -> Result<Self, Error> {
        Ok(match order {
            Order::AddStream(request) => {
                let (id, stream) = stream_of_wire(required(request.stream, "AddStreamRequest.stream")?)?;
                Self::AddStream(id, stream)
            }
            Order::ReplayStream(request) => {
                let (name, of) = (request.name.parse()?, request.stream.parse()?);
                Self::ReplayStream { name, of, from: request.from_unix_ms, to: request.to_unix_ms }
            }
            Order::RemoveStream(request) => Self::RemoveStream(request.stream.parse()?),
            Order::PauseStream(request) => Self::PauseStream(request.stream.parse()?),
            Order::ResumeStream(request) => Self::ResumeStream(request.stream.parse()?),
            Order::Cordon(request) => Self::Cordon(request.node.parse()?),
            Order::Drain(request) => Self::Drain(request.node.parse()?),
            Order::Uncordon(request) => Self::Uncordon(request.node.parse()?),
            Order::Scale(request) => {
                let (node, stage) = (request.node.parse()?, stage(request.stage, "ScaleRequest.stage")?);
                Self::SetQuota { node, stage, workers: request.workers }
            }
            Order::LimitNode(request) => {
                let (node, stage) = (request.node.parse()?, stage(request.stage, "LimitNodeRequest.stage")?);
                Self::LimitNode { node, stage, limits: request.limits.map(Into::into) }
            }
            Order::LimitStream(request) => {
                let (stream, stage) = (request.stream.parse()?, stage(request.stage, "LimitStreamRequest.stage")?);
                Self::LimitStream { stream, stage, limits: request.limits.map(Into::into) }
            }
            Order::WeighStream(request) => {
                Self::WeighStream { stream: request.stream.parse()?, weight: request.weight }
            }
        })
    }
}

/// What happened in that term at that Unix time in milliseconds, for people to look up.
pub fn event(audit: &Audit, term: Term, time_unix_ms: u64) -> v1::Event {
    use v1::EventKind as Kind;
    let (kind, version) = match audit {
        Audit::Elected(_) => (Kind::Elected, None),
        Audit::SteppedDown(..) => (Kind::SteppedDown, None),
        Audit::Fleet(Note::Joined(_) | Note::Standing(..)) => (Kind::Node, None),
        Audit::Fleet(Note::TopicFound(..) | Note::TopicGone(..)) => (Kind::Topic, None),
        Audit::Ordered(_) => (Kind::Ordered, None),
        Audit::Configured => (Kind::Configured, None),
        Audit::Committed(version, _) => (Kind::Committed, Some(version.0)),
        Audit::Homeless(..) | Audit::Housed(_) => (Kind::Placement, None),
        Audit::Saturated(_) | Audit::Relieved => (Kind::Saturated, None),
        Audit::Uncertain(version) => (Kind::Uncertain, Some(version.0)),
        Audit::Unsound(version, _) => (Kind::Unsound, Some(version.0)),
    };
    v1::Event { time_unix_ms, term: term.0, kind: kind.into(), text: audit.to_string(), plan_version: version }
}

impl From<Saturated> for v1::Saturated {
    fn from(Saturated { stage, wants_nodes, has_nodes }: Saturated) -> Self {
        Self { stage: v1::Stage::from(stage).into(), wants_nodes, has_nodes }
    }
}

impl TryFrom<v1::Saturated> for Saturated {
    type Error = Error;

    fn try_from(said: v1::Saturated) -> Result<Self, Error> {
        let stage = stage(said.stage, "Saturated.stage")?;
        Ok(Self { stage, wants_nodes: said.wants_nodes, has_nodes: said.has_nodes })
    }
}

/// A stream with its name.
///
/// # Errors
/// A field is missing or can not be used.
pub fn stream(named: v1::NamedStream) -> Result<(StreamId, Stream), Error> {
    stream_of_wire(named)
}

/// The workers of a node.
///
/// # Errors
/// A field is missing or can not be used.
pub fn quotas(quotas: v1::NodeQuotas) -> Result<(NodeId, NodeQuotas), Error> {
    quotas_of_wire(quotas)
}

/// How a node is to be treated, as `NodeStatus.mode` says it: nothing is as usual.
///
/// # Errors
/// The value is not known.
pub fn treated(value: i32) -> Result<Option<Mode>, Error> {
    if value == i32::from(v1::Mode::Unspecified) { Ok(None) } else { mode(value, "NodeStatus.mode").map(Some) }
}
