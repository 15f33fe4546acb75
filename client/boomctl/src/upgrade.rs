//! `boomctl drain`: a node, or all of them in turn for an upgrade, each only when the one before works again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use boom_client::channel::Cluster;
use boom_client::control::NodeStatus;
use boom_plan::fleet::Standing;
use boom_plan::id::{Incarnation, NodeId};
use boom_plan::message::HoldState;
use boom_plan::orders::OperatorCommand;
use clap::Args;

use crate::order::OrderArgs;
use crate::output;
use crate::settings::{ControlArgs, wait};

/// How often the leader is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

/// Take all partitions from a node; or take them from each node in turn, for an upgrade.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Name of the node, without its incarnation
    #[arg(required_unless_present = "for_upgrade", conflicts_with = "for_upgrade")]
    node: Option<NodeId>,
    /// Each node in turn: drain it, wait until it was started again, let it have partitions again
    #[arg(long)]
    for_upgrade: bool,
    /// What starts a node again, for `sh -c`; BOOM_NODE is its name. Without it somebody else does
    #[arg(long, value_name = "COMMAND", requires = "for_upgrade")]
    restart: Option<String>,
    /// How long a node may take for each step, seconds
    #[arg(long, default_value_t = 600, requires = "for_upgrade")]
    patience: u64,
    #[command(flatten)]
    order: OrderArgs,
}

impl DrainArgs {
    /// Drains.
    ///
    /// # Errors
    /// No leader answers, or it refuses; a node does not do its step in time: it stays drained, and those after it as they are.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(node) = self.node else {
            let patience = Duration::from_secs(self.patience);
            return Upgrade { restart: self.restart, patience }.run(self.order.into_control());
        };
        self.order.give(&OperatorCommand::Drain(node))
    }
}

struct Upgrade {
    restart: Option<String>,
    patience: Duration,
}

impl Upgrade {
    fn run(self, control: ControlArgs) -> anyhow::Result<ExitCode> {
        let cluster = control.cluster()?;
        wait(async {
            let before = cluster.nodes().await?;
            if let Some(other) = before.iter().find(|node| node.standing != Standing::Live) {
                bail!("{} is not well ({:?}): upgrade when all nodes are live", other.who, other.standing);
            }
            for (number, node) in before.iter().enumerate() {
                output::text(&format!("{} ({} of {})", node.who.node, number + 1, before.len()))?;
                self.upgrade(&cluster, node).await?;
            }
            output::text(&format!("all {} nodes were started again", before.len()))?;
            Ok(ExitCode::SUCCESS)
        })
    }

    async fn upgrade(&self, cluster: &Cluster, before: &NodeStatus) -> anyhow::Result<()> {
        let (name, had) = (&before.who.node, partitions(before));
        cluster.order(&OperatorCommand::Drain(name.clone())).await?;
        let is_empty = |node: &NodeStatus| node.report.as_ref().is_some_and(|report| report.holds.is_empty());
        self.wait_for(cluster, name, "has let go of its partitions", is_empty).await?;
        match &self.restart {
            Some(command) => restart(command, name)?,
            None => output::text(&format!("  it is empty: start {name} again"))?,
        }
        let is_new =
            |node: &NodeStatus| node.who.incarnation > before.who.incarnation && node.standing == Standing::Live;
        let after = self.wait_for(cluster, name, "was started again", is_new).await?;
        cluster.order(&OperatorCommand::Uncordon(name.clone())).await?;
        self.wait_for(cluster, name, "has partitions again", |node| had == 0 || partitions(node) > 0).await?;
        output::text(&format!("  {} before, {} now", software(before), software(&after)))
    }

    /// The newest incarnation of a node, once that is so.
    async fn wait_for(
        &self,
        cluster: &Cluster,
        name: &NodeId,
        what: &str,
        is_so: impl Fn(&NodeStatus) -> bool,
    ) -> anyhow::Result<NodeStatus> {
        let began = Instant::now();
        loop {
            let nodes = cluster.nodes().await?;
            let newest = nodes.into_iter().filter(|node| node.who.node == *name).max_by_key(incarnation);
            if let Some(node) = newest.filter(&is_so) {
                output::text(&format!("  it {what} after {:.1} s", began.elapsed().as_secs_f64()))?;
                return Ok(node);
            }
            if began.elapsed() >= self.patience {
                let seconds = self.patience.as_secs();
                bail!(
                    "{name}: after {seconds} s it is not so that it {what}; `boomctl uncordon {name}` lets it have partitions again"
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn incarnation(node: &NodeStatus) -> Incarnation {
    node.who.incarnation
}

fn software(node: &NodeStatus) -> &str {
    if node.software.is_empty() { "an unknown version" } else { &node.software }
}

/// How many partitions it reads.
fn partitions(node: &NodeStatus) -> usize {
    let holds = node.report.iter().flat_map(|report| report.holds.values());
    holds.filter(|held| held.state == HoldState::Running).count()
}

fn restart(command: &str, node: &NodeId) -> anyhow::Result<()> {
    let mut shell = std::process::Command::new("sh");
    let status = shell.args(["-c", command]).env("BOOM_NODE", node.as_str()).status().context("running sh")?;
    if !status.success() {
        bail!("`{command}` for {node}: {status}; the node stays drained");
    }
    Ok(())
}
