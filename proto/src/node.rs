//! The session of a node with the leader. What only shells look at (the version of the program, the load of the host, the leader's
//! times, who leads) stays in the messages: the domain types do not have it.

use boom_plan::coordinator::Event as CoordinatorEvent;
use boom_plan::fleet::Release;
use boom_plan::id::{Incarnation, NodeId, Offset, Partition, PlanVersion, ProducerName, Sequence, StreamId, Term};
use boom_plan::lease::Timing;
use boom_plan::message::{HandOver, Holding, NodeInfo, Refusal, Register, Report, StageLoad};
use boom_plan::node::Event as NodeEvent;
use boom_plan::plan::Plan;
use boom_plan::quota::Stage;
use boom_plan::time::Span;

use crate::error::{map, required, set};
use crate::names::{hold_state, refusal, stage};
use crate::v1::{leader_message, node_message};
use crate::{Error, v1};

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromNode {
    /// How a session begins.
    Register(Register),
    /// How the node is.
    Report(Report),
    /// It has let go of a partition.
    Released(Release),
    /// It has stopped for good.
    Left(Report),
}

impl From<FromNode> for CoordinatorEvent {
    fn from(message: FromNode) -> Self {
        match message {
            FromNode::Register(register) => Self::Registered(register),
            FromNode::Report(report) => Self::Report(report),
            FromNode::Released(release) => Self::Released(release),
            FromNode::Left(report) => Self::Left(report),
        }
    }
}

impl From<&FromNode> for v1::NodeMessage {
    fn from(message: &FromNode) -> Self {
        use node_message::Message;
        let message = match message {
            FromNode::Register(register) => Message::Register(register.into()),
            FromNode::Report(report) => Message::Report(report.into()),
            FromNode::Released(release) => Message::Released(release.into()),
            FromNode::Left(report) => Message::Left(report.into()),
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::NodeMessage> for FromNode {
    type Error = Error;
    fn try_from(message: v1::NodeMessage) -> Result<Self, Error> {
        use node_message::Message;
        Ok(match required(message.message, "NodeMessage.message")? {
            Message::Register(register) => Self::Register(register.try_into()?),
            Message::Report(report) => Self::Report(report.try_into()?),
            Message::Released(release) => Self::Released(release.try_into()?),
            Message::Left(report) => Self::Left(report.try_into()?),
        })
    }
}

impl From<&Register> for v1::Register {
    fn from(register: &Register) -> Self {
        let (info, report) = (Some((&register.info).into()), Some((&register.report).into()));
        Self { info, ended: register.ended.map(|ended| ended.0), report, software: String::new() }
    }
}

impl TryFrom<v1::Register> for Register {
    type Error = Error;
    fn try_from(register: v1::Register) -> Result<Self, Error> {
        Ok(Self {
            info: required(register.info, "Register.info")?.try_into()?,
            ended: register.ended.map(Incarnation),
            report: required(register.report, "Register.report")?.try_into()?,
        })
    }
}

impl From<&NodeInfo> for v1::NodeInfo {
    fn from(info: &NodeInfo) -> Self {
        let labels = info.labels.iter().cloned().collect();
        Self { cores: info.cores, labels, addresses: info.addresses.clone().into_iter().collect() }
    }
}

impl TryFrom<v1::NodeInfo> for NodeInfo {
    type Error = Error;
    fn try_from(info: v1::NodeInfo) -> Result<Self, Error> {
        let labels = set(info.labels.into_iter().map(Ok), "NodeInfo.labels")?;
        Ok(Self { cores: info.cores, labels, addresses: info.addresses.into_iter().collect() })
    }
}

impl From<&Report> for v1::LoadReport {
    fn from(report: &Report) -> Self {
        Self {
            who: Some((&report.who).into()),
            sequence: report.sequence.0,
            seen: report.seen.map(|seen| seen.0),
            leaving: report.leaving,
            holds: report.holds.iter().map(holding_to_wire).collect(),
            stages: report.stages.iter().map(load_to_wire).collect(),
            process: None,
            erased: report.erased.iter().map(erased_to_wire).collect(),
        }
    }
}

impl TryFrom<v1::LoadReport> for Report {
    type Error = Error;
    fn try_from(report: v1::LoadReport) -> Result<Self, Error> {
        Ok(Self {
            who: required(report.who, "LoadReport.who")?.try_into()?,
            sequence: Sequence(report.sequence),
            seen: report.seen.map(PlanVersion),
            leaving: report.leaving,
            holds: map(report.holds.into_iter().map(holding_of_wire), "LoadReport.holds")?,
            stages: map(report.stages.into_iter().map(load_of_wire), "LoadReport.stages")?,
            erased: map(report.erased.into_iter().map(erased_of_wire), "LoadReport.erased")?,
        })
    }
}

fn erased_to_wire((stream, since): (&StreamId, &PlanVersion)) -> v1::Erased {
    v1::Erased { stream: stream.to_string(), since: since.0 }
}

fn erased_of_wire(erased: v1::Erased) -> Result<(StreamId, PlanVersion), Error> {
    Ok((erased.stream.parse()?, PlanVersion(erased.since)))
}

fn holding_to_wire((partition, held): (&Partition, &Holding)) -> v1::Holding {
    let (state, next) = (v1::HoldState::from(held.state).into(), held.next.map(|next| next.0));
    let (lag_ms, until) = (held.behind.map(|behind| behind.0), held.until.map(|until| until.0));
    v1::Holding { partition: Some(partition.into()), state, next, lag_ms, until }
}

fn holding_of_wire(held: v1::Holding) -> Result<(Partition, Holding), Error> {
    let partition = required(held.partition, "Holding.partition")?.try_into()?;
    let state = hold_state(held.state, "Holding.state")?;
    let (next, until) = (held.next.map(Offset), held.until.map(Offset));
    Ok((partition, Holding { state, next, behind: held.lag_ms.map(Span), until }))
}

fn load_to_wire((&stage, load): (&Stage, &StageLoad)) -> v1::StageLoad {
    v1::StageLoad {
        stage: v1::Stage::from(stage).into(),
        queue: load.queue,
        age_ms: load.age.0,
        rate: load.rate,
        busy_permille: load.busy.into(),
        latency_ms: load.latency.0,
        hand_over: (load.hand_over != HandOver::default()).then(|| load.hand_over.into()),
    }
}

fn load_of_wire(load: v1::StageLoad) -> Result<(Stage, StageLoad), Error> {
    let value = load.busy_permille.into();
    let busy =
        u16::try_from(load.busy_permille).map_err(|_| Error::Range { field: "StageLoad.busy_permille", value })?;
    let (age, latency) = (Span(load.age_ms), Span(load.latency_ms));
    let stage = stage(load.stage, "StageLoad.stage")?;
    let hand_over = load.hand_over.map(HandOver::try_from).transpose()?.unwrap_or_default();
    Ok((stage, StageLoad { queue: load.queue, age, rate: load.rate, busy, latency, hand_over }))
}

impl From<&Release> for v1::Released {
    fn from(release: &Release) -> Self {
        let (who, partition) = (Some((&release.who).into()), Some((&release.partition).into()));
        Self { who, seen: release.seen.0, partition }
    }
}

impl TryFrom<v1::Released> for Release {
    type Error = Error;
    fn try_from(release: v1::Released) -> Result<Self, Error> {
        let who = required(release.who, "Released.who")?.try_into()?;
        let partition = required(release.partition, "Released.partition")?.try_into()?;
        Ok(Self { who, seen: PlanVersion(release.seen), partition })
    }
}

/// What a coordinator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromLeader {
    /// The node is taken in, with its report of this number.
    Welcome {
        /// Whom it means.
        to: ProducerName,
        /// The leader's term.
        term: Term,
        /// The report that came with the registration.
        sequence: Sequence,
    },
    /// The report of this number was heard.
    Acknowledged {
        /// Whom it means.
        to: ProducerName,
        /// The leader's term.
        term: Term,
        /// Which report.
        sequence: Sequence,
    },
    /// What the node said was not taken.
    Refused {
        /// Whom it means.
        to: ProducerName,
        /// Why.
        why: Refusal,
        /// Whether the message says who leads.
        led: bool,
    },
    /// The plan that holds: the whole, or the part of it that names the node.
    Planned {
        /// Whom it means.
        to: ProducerName,
        /// The plan.
        plan: Plan,
    },
}

impl From<FromLeader> for NodeEvent {
    fn from(message: FromLeader) -> Self {
        match message {
            FromLeader::Welcome { to, term, sequence } => Self::Welcome { to, term, sequence },
            FromLeader::Acknowledged { to, term, sequence } => Self::Acknowledged { to, term, sequence },
            FromLeader::Refused { to, why, led } => Self::Refused { to, why, led },
            FromLeader::Planned { to, plan } => Self::Planned { to, plan },
        }
    }
}

impl From<&FromLeader> for v1::LeaderMessage {
    fn from(message: &FromLeader) -> Self {
        use leader_message::Message;
        let message = match message {
            FromLeader::Welcome { to, term, sequence } => {
                let (term, sequence, timing) = (term.0, sequence.0, None);
                Message::Welcome(v1::Welcome { to: Some(to.into()), term, sequence, timing })
            }
            FromLeader::Acknowledged { to, term, sequence } => {
                let (term, sequence) = (term.0, sequence.0);
                Message::Acknowledged(v1::Acknowledged { to: Some(to.into()), term, sequence })
            }
            FromLeader::Refused { to, why, led } => {
                let why = v1::Refusal::from(*why).into();
                // Who it is, the shell knows.
                let leader = led.then(v1::Leader::default);
                Message::Refused(v1::Refused { to: Some(to.into()), why, leader })
            }
            FromLeader::Planned { to, plan } => {
                Message::Planned(v1::Planned { to: Some(to.into()), plan: Some(plan.into()) })
            }
        };
        Self { message: Some(message) }
    }
}

impl TryFrom<v1::LeaderMessage> for FromLeader {
    type Error = Error;
    fn try_from(message: v1::LeaderMessage) -> Result<Self, Error> {
        use leader_message::Message;
        Ok(match required(message.message, "LeaderMessage.message")? {
            Message::Welcome(welcome) => {
                let to = required(welcome.to, "Welcome.to")?.try_into()?;
                Self::Welcome { to, term: Term(welcome.term), sequence: Sequence(welcome.sequence) }
            }
            Message::Acknowledged(heard) => {
                let to = required(heard.to, "Acknowledged.to")?.try_into()?;
                Self::Acknowledged { to, term: Term(heard.term), sequence: Sequence(heard.sequence) }
            }
            Message::Refused(refused) => {
                let to = required(refused.to, "Refused.to")?.try_into()?;
                let (why, led) = (refusal(refused.why, "Refused.why")?, refused.leader.is_some());
                Self::Refused { to, why, led }
            }
            Message::Planned(planned) => {
                let to = required(planned.to, "Planned.to")?.try_into()?;
                Self::Planned { to, plan: required(planned.plan, "Planned.plan")?.try_into()? }
            }
        })
    }
}

impl From<Timing> for v1::Timing {
    fn from(timing: Timing) -> Self {
        Self {
            report_ms: timing.report.0,
            suspect_ms: timing.suspect.0,
            lease_ms: timing.lease.0,
            stop_early_ms: timing.stop_early.0,
            margin_ms: timing.margin.0,
        }
    }
}

impl From<v1::Timing> for Timing {
    fn from(timing: v1::Timing) -> Self {
        Self {
            report: Span(timing.report_ms),
            suspect: Span(timing.suspect_ms),
            lease: Span(timing.lease_ms),
            stop_early: Span(timing.stop_early_ms),
            margin: Span(timing.margin_ms),
        }
    }
}

impl TryFrom<v1::HandedOver> for (NodeId, Stage, HandOver) {
    type Error = Error;
    fn try_from(of: v1::HandedOver) -> Result<Self, Error> {
        let how = required(of.how, "HandedOver.how")?.try_into()?;
        Ok((of.node.parse()?, stage(of.stage, "HandedOver.stage")?, how))
    }
}
