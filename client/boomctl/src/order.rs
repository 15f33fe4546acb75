//! Orders: `boomctl scale`, `cordon`, `uncordon`, and how any order is given and confirmed.

use std::process::ExitCode;

use boom_plan::id::NodeId;
use boom_plan::orders::OperatorCommand;
use boom_plan::quota::Stage;
use clap::{ArgGroup, Args};
use serde_json::json;

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

/// Set how many batches a stage works on at once on a node.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").required(true))]
pub(crate) struct ScaleArgs {
    /// Stage: ingest, enrich, filter
    #[arg(value_parser = stage)]
    stage: Stage,
    /// Name of the node
    #[arg(long)]
    node: NodeId,
    /// So many; with 0 the node hands this work over
    #[arg(long, group = "how")]
    quota: Option<u32>,
    /// As the policy says again
    #[arg(long, group = "how")]
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
        self.order.give(&OperatorCommand::SetQuota { node: self.node, stage: self.stage, workers: self.quota })
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
