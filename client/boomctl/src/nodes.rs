//! `boomctl nodes`: the nodes, as the leader sees them.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use boom_client::control::NodeStatus;
use boom_plan::fleet::Standing;
use boom_plan::orders::Mode;
use boom_plan::quota::Stage;
use clap::Args;
use serde_json::{Value, json};

use crate::output::{self, table};
use crate::settings::{ControlArgs, wait};
use crate::when::long;

/// List the nodes: their standing, partitions, workers by stage, and load.
#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

impl NodesArgs {
    /// Lists them.
    ///
    /// # Errors
    /// No leader answers.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let cluster = self.control.cluster()?;
        let nodes = wait(async { Ok(cluster.nodes().await?) })?;
        if self.json {
            output::pretty(&nodes.iter().map(as_json).collect())?;
        } else if nodes.is_empty() {
            writeln!(std::io::stderr(), "no node has come to the leader yet; start one with `boom-node serve`")?;
        } else {
            let header = [
                "node",
                "incarnation",
                "standing",
                "heard",
                "partitions",
                "behind",
                "workers",
                "busy",
                "cpu",
                "memory",
                "version",
            ];
            output::text(&table(header, nodes.iter().map(row), &[3, 4, 5, 8, 9]))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a standing is called.
fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Awaited => "awaited",
        Standing::Live => "live",
        Standing::Suspect => "late",
        Standing::Superseded => "superseded",
        Standing::Ended => "ended",
        Standing::Dead => "dead",
    }
}

fn mode(mode: Option<Mode>) -> Option<&'static str> {
    mode.map(|mode| match mode {
        Mode::Cordoned => "cordoned",
        Mode::Drained => "drained",
    })
}

fn row(node: &NodeStatus) -> [String; 11] {
    let unknown = || "-".to_owned();
    let mut how = standing(node.standing).to_owned();
    if let Some(mode) = mode(node.mode) {
        how += &format!(", {mode}");
    }
    if !node.connected && node.standing == Standing::Live {
        how += ", no session";
    }
    let held = node.report.iter().flat_map(|report| report.holds.values());
    let behind = held.filter_map(|held| held.behind).max();
    let behind = behind.map_or_else(unknown, |behind| long(Duration::from_millis(behind.0)));
    let workers = node.quotas.as_ref().map_or_else(unknown, |quotas| {
        let stages = Stage::ALL.map(|stage| format!("{stage} {}", quotas.workers(stage)));
        stages.join(" ")
    });
    let busiest = node.report.iter().flat_map(|report| report.stages.values()).map(|load| load.busy).max();
    [
        node.who.node.to_string(),
        node.who.incarnation.to_string(),
        how,
        long(node.heard),
        node.report.as_ref().map_or_else(unknown, |report| report.holds.len().to_string()),
        behind,
        workers,
        busiest.map_or_else(unknown, |busy| format!("{} %", busy / 10)),
        node.process.map_or_else(unknown, |process| format!("{:.2}", f64::from(process.cpu_permille) / 1000.0)),
        node.process.map_or_else(unknown, |process| format!("{} MB", process.memory_bytes / 1_000_000)),
        if node.software.is_empty() { unknown() } else { node.software.clone() },
    ]
}

fn as_json(node: &NodeStatus) -> Value {
    let holds = node.report.iter().flat_map(|report| &report.holds).map(|(partition, held)| {
        json!({
            "partition": partition, "state": format!("{:?}", held.state).to_lowercase(), "next": held.next.map(|next| next.0),
            "behind_ms": held.behind.map(|behind| behind.0),
        })
    });
    json!({
        "node": node.who.node,
        "incarnation": node.who.incarnation,
        "standing": standing(node.standing),
        "connected": node.connected,
        "heard_ms": u64::try_from(node.heard.as_millis()).unwrap_or(u64::MAX),
        "mode": mode(node.mode),
        "cores": node.info.as_ref().map(|info| info.cores),
        "labels": node.info.as_ref().map(|info| &info.labels),
        "addresses": node.info.as_ref().map(|info| &info.addresses),
        "holds": holds.collect::<Vec<_>>(),
        "stages": node.report.as_ref().map(|report| json!(report.stages)),
        "workers": node.quotas.as_ref().map(|quotas| {
            quotas.stages.iter().map(|(stage, quota)| (stage.to_string(), quota.workers.into())).collect::<serde_json::Map<_, _>>()
        }),
        "cpu_permille": node.process.map(|process| process.cpu_permille),
        "memory_bytes": node.process.map(|process| process.memory_bytes),
        "version": node.software,
    })
}
