//! `boomctl plan`: who owns which partition, why, and how that came about.

mod history;

use std::process::ExitCode;

use anyhow::bail;
use boom_client::channel::Cluster;
use boom_plan::plan::Plan;
use clap::{Args, Subcommand};

use crate::output::{self, table};
use crate::settings::{ControlArgs, wait};
use crate::when;

/// Show the plan that holds: the owner of each partition and the workers of each node.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    of: Option<Past>,
    #[command(flatten)]
    control: ControlArgs,
    /// Say of each decision why, and since which version of the plan
    #[arg(long)]
    why: bool,
    /// Print it as JSON, as it is stored
    #[arg(long)]
    json: bool,
}

/// How the plan came about, as far as the leader remembers it.
#[derive(Debug, Subcommand)]
enum Past {
    /// Show what each committed plan changed, and why
    History {
        /// Only from then on: a time (2026-11-25T03:00:00Z) or how long ago (90s, 15m, 2h, 3d)
        #[arg(long, value_name = "TIME", value_parser = when::parse)]
        since: Option<u64>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show what changed after one version of the plan, up to another one or up to now
    Diff {
        /// The earlier version
        from: u64,
        /// The later version
        to: Option<u64>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show why a partition is where it is, or why a node has the workers that it has, and what it was before
    Why {
        /// A partition (STREAM/TOPIC/NUMBER) or a node
        subject: String,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Whom to ask, and how to say it.
#[derive(Debug, Args)]
struct Asked {
    #[command(flatten)]
    control: ControlArgs,
    /// Print a line of JSON for each commit
    #[arg(long)]
    json: bool,
}

impl Past {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (commits, json) = match self {
            Self::History { since, asked: Asked { control, json } } => {
                let cluster = control.cluster()?;
                (wait(history::history(&cluster, since.unwrap_or(0)))?, json)
            }
            Self::Diff { from, to, asked: Asked { control, json } } => {
                let cluster = control.cluster()?;
                (history::between(wait(history::history(&cluster, 0))?, from, to)?, json)
            }
            Self::Why { subject, asked: Asked { control, json } } => {
                let cluster = control.cluster()?;
                let told = async { Ok((now(&cluster, &subject).await?, history::history(&cluster, 0).await?)) };
                let (now, history) = wait(told)?;
                if !json {
                    output::text(&now)?;
                }
                (history.into_iter().filter_map(|commit| commit.about(&subject)).collect(), json)
            }
        };
        commits.iter().try_for_each(|commit| commit.show(json))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What the plan says of a partition or a node.
async fn now(cluster: &Cluster, subject: &str) -> anyhow::Result<String> {
    let plan = cluster.plan().await?;
    let entry = plan.owners.iter().find(|(partition, _)| partition.to_string() == subject);
    if let Some((_, entry)) = entry {
        return Ok(format!("{subject}: {entry}, since {}", entry.since));
    }
    match plan.quotas.iter().find(|(node, _)| node.to_string() == subject) {
        Some((_, quotas)) => Ok(format!("{subject}: {quotas}")),
        None => bail!("the plan knows no partition and no node called `{subject}` (`boomctl plan` lists them)"),
    }
}

impl PlanArgs {
    /// Shows it.
    ///
    /// # Errors
    /// No leader answers.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(past) = self.of {
            return past.run();
        }
        let cluster = self.control.cluster()?;
        let plan = wait(async { Ok(cluster.plan().await?) })?;
        if self.json {
            output::pretty(&serde_json::to_value(&plan)?)?;
        } else {
            output::text(&show(&plan, self.why))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(plan: &Plan, why: bool) -> String {
    let mut text = format!("plan {} of term {}\n", plan.version, plan.term);
    let owners = plan.owners.iter();
    text += &if why {
        let row = |(partition, it): (&_, &boom_plan::plan::Assignment)| {
            [format!("{partition}"), it.state.to_string(), it.since.to_string(), it.reason.to_string()]
        };
        table(["partition", "owner", "since", "why"], owners.map(|(p, a)| row((p, a))), &[])
    } else {
        table(["partition", "owner"], owners.map(|(partition, it)| [partition.to_string(), it.state.to_string()]), &[])
    };
    let quotas = plan.quotas.iter().map(|(node, quotas)| [node.to_string(), quotas.to_string()]);
    format!("{text}\n\n{}", table(["node", "workers"], quotas, &[]))
}
