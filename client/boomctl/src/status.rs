//! `boomctl status`: how the cluster is, in one look.

use std::io::Write as _;
use std::process::ExitCode;

use boom_client::control::{ClusterStatus, HandedOver};
use clap::Args;
use serde_json::json;

use crate::output::{self, BOLD, WARN};
use crate::settings::{ControlArgs, wait};
use crate::summary::field;

/// Show how the cluster is: who leads, the nodes, the partitions, how many alerts wait.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    /// Shows it.
    ///
    /// # Errors
    /// No leader answers.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let cluster = self.control.cluster()?;
        let status = wait(async { Ok(cluster.status().await?) })?;
        if self.json {
            output::pretty(&as_json(&status))?;
        } else {
            show(&status)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn as_json(status: &ClusterStatus) -> serde_json::Value {
    json!({
        "leader": {"name": status.leader.name, "address": status.leader.address, "term": status.leader.term.0},
        "plan_version": status.plan_version.0,
        "nodes": {"live": status.nodes_live, "late": status.nodes_late},
        "partitions": {
            "owned": status.partitions_owned,
            "revoking": status.partitions_revoking,
            "unplaced": status.partitions_unplaced,
        },
        "lag": status.lag,
        "lag_unknown_partitions": status.lag_unknown,
        "handed_over": status.handed_over.iter().map(|of| {
            json!({"node": of.node, "stage": of.stage, "given": of.how.given, "taken": of.how.taken, "why": of.how.why, "hindrance": of.how.hindrance})
        }).collect::<Vec<_>>(),
        "saturated": status.saturated.map(|saturated| {
            json!({"stage": saturated.stage, "nodes": saturated.has_nodes, "wants": saturated.wants_nodes})
        }),
    })
}

fn show(status: &ClusterStatus) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let leader = &status.leader;
    let late =
        if status.nodes_late > 0 { format!(", {WARN}{} late{WARN:#}", status.nodes_late) } else { String::new() };
    writeln!(
        out,
        "{BOLD}{}{BOLD:#} leads at {} in term {}, with plan {}",
        leader.name, leader.address, leader.term, status.plan_version
    )?;
    field(&mut out, "nodes", format!("{} live{late}", status.nodes_live))?;
    if let Some(saturated) = &status.saturated {
        field(&mut out, "saturated", format!("{WARN}{saturated}{WARN:#}"))?;
    }
    let (owned, revoking, unplaced) = (status.partitions_owned, status.partitions_revoking, status.partitions_unplaced);
    let mut partitions = format!("{} owned", owned);
    if revoking > 0 {
        partitions += &format!(", {revoking} on their way to another node");
    }
    if unplaced > 0 {
        partitions += &format!(", {WARN}{unplaced} without owner{WARN:#} (`boomctl plan --why`)");
    }
    field(&mut out, "partitions", partitions)?;
    field(&mut out, "waiting", output::lag(status.lag, status.lag_unknown))?;
    status.handed_over.iter().try_for_each(|of| field(&mut out, "handed over", handed_over(of)))
}

/// What a stage of a node gives others and does for them, and why.
fn handed_over(of: &HandedOver) -> String {
    let HandedOver { node, stage, how } = of;
    let mut parts = Vec::new();
    if let Some(why) = how.why {
        parts.push(format!("gives {} alerts/s to others, since {why}", how.given));
    }
    if how.taken > 0 {
        parts.push(format!("does {} alerts/s for others", how.taken));
    }
    if let Some(hindrance) = how.hindrance {
        parts.push(format!("{WARN}keeps what it would give: {hindrance}{WARN:#}"));
    }
    format!("{stage} of {node} {}", parts.join(", "))
}
