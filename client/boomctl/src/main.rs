//! `boomctl`, the command line of the broker: what one looks at and tries out offline, and what one asks and orders of a running cluster.
//!
//! Here: the commands and how they end (0 done, 1 not found or failed, 2 bad usage). One file a noun; data goes to standard output,
//! talk to standard error. Nothing here knows a stage, and nothing speaks gRPC or Kafka but through boom-client.
#![forbid(unsafe_code)]

mod alert;
mod catalog;
mod chart;
mod cutouts;
mod deadletters;
mod events;
mod filter;
mod ledger;
mod lightcurve;
mod nodes;
mod object;
mod order;
mod output;
mod plan;
mod position;
mod produce;
mod schema;
mod settings;
mod status;
mod store;
mod streams;
mod stretch;
mod summary;
mod tail;
mod upgrade;
mod when;

use std::io::{self, Write};
use std::process::ExitCode;

use boom_plan::orders::OperatorCommand;
use clap::{Parser, Subcommand};

/// Look after a cluster, look at alerts, objects and cutouts, try out filters, and make catalogs.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "Data goes to standard output, everything else to standard error.\n\
                  Exit codes: 0 done, 1 not found or failed, 2 bad usage or an invalid filter.\n\
                  NO_COLOR=1 leaves out the colours."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// What has no text here has it, longer, at its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Status(status::StatusArgs),
    Nodes(nodes::NodesArgs),
    Plan(plan::PlanArgs),
    /// List the streams that are read, add, remove, pause and resume them.
    Streams(streams::StreamsArgs),
    Scale(order::ScaleArgs),
    Override(order::OverrideArgs),
    /// Give a node no more partitions; it keeps those that it has.
    Cordon(order::NodeArgs),
    Drain(upgrade::DrainArgs),
    /// Treat a node as usual again, after `cordon` or `drain`.
    Uncordon(order::NodeArgs),
    Events(events::EventsArgs),
    Ledger(ledger::LedgerArgs),
    /// Look at what gave no alert, and send it again.
    #[command(name = "deadletters", subcommand)]
    DeadLetters(deadletters::DeadLettersCommand),
    Produce(produce::ProduceArgs),
    Tail(tail::TailArgs),
    Config(settings::ConfigArgs),
    /// Import tables as catalogs to match alerts against, and list them.
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    Alert(alert::AlertArgs),
    Object(object::ObjectArgs),
    Cutouts(cutouts::CutoutsArgs),
    /// Check and explain filters, try them on alerts or on any documents; nothing has to run.
    #[command(subcommand)]
    Filter(filter::FilterCommand),
    Schema(schema::SchemaArgs),
}

/// What was asked can not be done as it was asked: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

impl Command {
    fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status(args) => args.run(),
            Self::Nodes(args) => args.run(),
            Self::Plan(args) => args.run(),
            Self::Streams(args) => args.run(),
            Self::Scale(args) => args.run(),
            Self::Override(args) => args.run(),
            Self::Cordon(args) => args.run(OperatorCommand::Cordon),
            Self::Drain(args) => args.run(),
            Self::Uncordon(args) => args.run(OperatorCommand::Uncordon),
            Self::Events(args) => args.run(),
            Self::Ledger(args) => args.run(),
            Self::DeadLetters(command) => command.run(),
            Self::Produce(args) => args.run(),
            Self::Tail(args) => args.run(),
            Self::Config(args) => args.run(),
            Self::Catalog(command) => command.run(),
            Self::Alert(args) => args.run(),
            Self::Object(args) => args.run(),
            Self::Cutouts(args) => args.run(),
            Self::Filter(command) => command.run(),
            Self::Schema(args) => args.run(),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody to tell when standard error is closed.
            let _ = writeln!(io::stderr(), "boomctl: {}", chain(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Who reads the output has seen enough (`boomctl … | head`).
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_pipe))
}

/// An error with its causes, each said once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_cause_that_an_error_already_says_is_not_said_again() {
        let error = anyhow::anyhow!("disk full").context("writing a.png: disk full").context("cutouts");
        assert_eq!(chain(&error), "cutouts: writing a.png: disk full");
    }
}
