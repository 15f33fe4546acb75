//! `boomctl events`: what happened, by the memory of the leader.

use std::io::Write as _;
use std::process::ExitCode;

use boom_client::control::Event;
use clap::Args;
use serde_json::json;

use crate::output::{self, BOLD, DIM};
use crate::settings::{ControlArgs, wait};
use crate::when;

/// Show what happened: elections, nodes, topics, orders, plans. The leader keeps the newest ones in memory, since it started.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only from then on: a time (2026-11-25T03:00:00Z) or how long ago (90s, 15m, 2h, 3d)
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    since: Option<u64>,
    /// Stay, and show what happens from now on too, under whoever leads
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    control: ControlArgs,
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

impl EventsArgs {
    /// Shows them.
    ///
    /// # Errors
    /// No leader answers.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let cluster = self.control.cluster()?;
        let mut events = Box::pin(cluster.events(self.since.unwrap_or(0), self.follow));
        wait(async {
            while let Some(event) = futures_util::StreamExt::next(&mut events).await {
                show(&event?, self.json)?;
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn show(event: &Event, json: bool) -> anyhow::Result<()> {
    let kind = event.kind.as_str_name().trim_start_matches("EVENT_KIND_").to_lowercase().replace('_', " ");
    if json {
        return output::line(&json!({
            "time_unix_ms": event.time_unix_ms, "term": event.term.0, "kind": kind, "text": event.text,
            "plan_version": event.plan_version.map(|version| version.0),
        }));
    }
    let mut lines = event.text.lines();
    let mut out = anstream::stdout().lock();
    let time = when::civil(event.time_unix_ms);
    writeln!(out, "{DIM}{time} {}{DIM:#} {BOLD}{kind:<12}{BOLD:#} {}", event.term, lines.next().unwrap_or_default())?;
    lines.try_for_each(|line| writeln!(out, "  {line}"))?;
    Ok(())
}
