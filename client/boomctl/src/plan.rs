//! `boomctl plan`: who owns which partition, and why.

use std::process::ExitCode;

use boom_plan::plan::Plan;
use clap::Args;

use crate::output::{self, table};
use crate::settings::{ControlArgs, wait};

/// Show the plan that holds: the owner of each partition and the workers of each node.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Say of each decision why, and since which version of the plan
    #[arg(long)]
    why: bool,
    /// Print it as JSON, as it is stored
    #[arg(long)]
    json: bool,
}

impl PlanArgs {
    /// Shows it.
    ///
    /// # Errors
    /// No leader answers.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
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
