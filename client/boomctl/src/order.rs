//! Orders: `boomctl scale`, `override`, `cordon`, `uncordon`, and how any order is given and confirmed.

use std::process::ExitCode;

use boom_plan::id::{NodeId, StreamId};
use boom_plan::orders::{Limits, OperatorCommand};
use boom_plan::quota::Stage;
use clap::{ArgGroup, Args};
use serde_json::json;

use crate::Usage;
use crate::output;
use crate::settings::{ControlArgs, wait};

/// How an order is given.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

impl OrderArgs {
    /// Whom it is given to.
    pub(crate) fn into_control(self) -> ControlArgs {
        self.control
    }

    /// Gives it; when this returns it is carried out.
    ///
    /// # Errors
    /// No leader carries it out, or it refuses.
    pub(crate) fn give(self, command: &OperatorCommand) -> anyhow::Result<ExitCode> {
        let cluster = self.control.cluster()?;
        let version = wait(async { Ok(cluster.order(command).await?) })?;
        if self.json {
            output::line(&json!({"order": command.to_string(), "plan_version": version.0}))?;
        } else {
            output::text(&format!("done, in plan {version}: {command}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Bound how many batches a stage works on at once: on a node, or those of a stream in the whole cluster.
///
/// An order says both ends: what it leaves out is not bounded.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").required(true))]
#[command(group = ArgGroup::new("how").required(true).multiple(true))]
pub(crate) struct ScaleArgs {
    /// Stage: ingest, enrich, filter
    #[arg(value_parser = stage, required_unless_present = "stream")]
    stage: Option<Stage>,
    /// Name of a node: within these bounds its workers follow the load
    #[arg(long, group = "whose")]
    node: Option<NodeId>,
    /// Name of a stream: the bounds are split between the nodes that have its partitions
    #[arg(long, group = "whose")]
    stream: Option<StreamId>,
    /// At least so many
    #[arg(long, group = "how", requires = "stage")]
    min: Option<u32>,
    /// At most so many, at least 1; of a stream each node that has partitions of it may always work on one batch
    #[arg(long, group = "how", requires = "stage", value_parser = clap::value_parser!(u32).range(1..))]
    max: Option<u32>,
    /// How much the stream counts beside others; 1 is usual
    #[arg(long, group = "how", requires = "stream", conflicts_with_all = ["stage", "node"], value_parser = clap::value_parser!(u32).range(1..))]
    weight: Option<u32>,
    /// Take the order back: for a stage its bounds, without one the weight of the stream
    #[arg(long, group = "how", conflicts_with_all = ["min", "max", "weight"])]
    auto: bool,
    #[command(flatten)]
    order: OrderArgs,
}

impl ScaleArgs {
    /// Gives the order.
    ///
    /// # Errors
    /// As [`OrderArgs::give`].
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let limits = (!self.auto).then_some(Limits { min: self.min.unwrap_or_default(), max: self.max });
        let command = match (self.node, self.stream, self.stage) {
            (Some(node), _, Some(stage)) => OperatorCommand::LimitNode { node, stage, limits },
            (_, Some(stream), Some(stage)) => OperatorCommand::LimitStream { stream, stage, limits },
            (_, Some(stream), None) => OperatorCommand::WeighStream { stream, weight: self.weight },
            _ => return Err(Usage("name a stage, and a node or a stream".to_owned()).into()),
        };
        self.order.give(&command)
    }
}

/// Set how many batches a stage works on at once on a node, whatever the load.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub(crate) struct OverrideArgs {
    /// Stage: ingest, enrich, filter
    #[arg(value_parser = stage)]
    stage: Stage,
    /// Name of the node
    #[arg(long)]
    node: NodeId,
    /// So many; with 0 the node hands this work over
    #[arg(group = "how")]
    workers: Option<u32>,
    /// As the policy says again
    #[arg(long, group = "how")]
    auto: bool,
    #[command(flatten)]
    order: OrderArgs,
}

impl OverrideArgs {
    /// Gives the order.
    ///
    /// # Errors
    /// As [`OrderArgs::give`].
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        self.order.give(&OperatorCommand::SetQuota { node: self.node, stage: self.stage, workers: self.workers })
    }
}

fn stage(name: &str) -> Result<Stage, String> {
    let named = Stage::ALL.into_iter().find(|stage| stage.to_string() == name);
    named.ok_or_else(|| "the stages are ingest, enrich and filter".to_owned())
}

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Name of the node, without its incarnation
    node: NodeId,
    #[command(flatten)]
    order: OrderArgs,
}

impl NodeArgs {
    /// Gives the order that `of` makes of the node.
    ///
    /// # Errors
    /// As [`OrderArgs::give`].
    pub(crate) fn run(self, of: fn(NodeId) -> OperatorCommand) -> anyhow::Result<ExitCode> {
        self.order.give(&of(self.node))
    }
}
