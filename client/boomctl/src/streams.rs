//! `boomctl streams`: what is read, and orders about it.

use std::io::Write as _;
use std::process::ExitCode;

use boom_client::control::StreamStatus;
use boom_plan::id::StreamId;
use boom_plan::orders::{Bounds, OperatorCommand, Start, Stream};
use boom_plan::topics::TopicPattern;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::order::OrderArgs;
use crate::output::{self, table};
use crate::settings::{ControlArgs, wait};
use crate::when;

/// What is read.
#[derive(Debug, Args)]
pub(crate) struct StreamsArgs {
    #[command(subcommand)]
    command: Option<StreamsCommand>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum StreamsCommand {
    /// List the streams and how they are
    List(ListArgs),
    /// Read a stream from now on
    Add(AddArgs),
    /// Give a stream up; its progress stays
    Remove(NamedArgs),
    /// Stop a stream; its progress stays
    Pause(NamedArgs),
    /// Go on with a stream
    Resume(NamedArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct NamedArgs {
    /// Name of the stream
    stream: StreamId,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Name of the stream: letters, digits, `.`, `_` and `-`
    stream: StreamId,
    /// Survey, which says how to read its packets: ZTF, LSST, DECam, WINTER
    #[arg(long, value_parser = survey)]
    survey: String,
    /// Topic, or a pattern such as ztf_{YYYYMMDD}_programid{1,2,3}
    #[arg(long, value_name = "PATTERN")]
    topics: TopicPattern,
    /// Kafka cluster, by its name in the configuration of the coordinators and nodes
    #[arg(long)]
    cluster: String,
    /// Where a partition begins that has no progress yet: earliest, latest, a time (2026-11-25T03:00:00Z) or how long ago (2h)
    #[arg(long, default_value = "earliest", value_parser = when::start)]
    start: Start,
    #[command(flatten)]
    order: OrderArgs,
}

fn survey(name: &str) -> Result<String, String> {
    crate::store::survey(name).map(|survey| survey.name.to_owned())
}

impl StreamsArgs {
    /// Does what was asked; without a command, lists.
    ///
    /// # Errors
    /// No leader answers, or it refuses.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            None => self.list.run(),
            Some(StreamsCommand::List(args)) => args.run(),
            Some(StreamsCommand::Add(args)) => args.run(),
            Some(StreamsCommand::Remove(args)) => args.order.give(&OperatorCommand::RemoveStream(args.stream)),
            Some(StreamsCommand::Pause(args)) => args.order.give(&OperatorCommand::PauseStream(args.stream)),
            Some(StreamsCommand::Resume(args)) => args.order.give(&OperatorCommand::ResumeStream(args.stream)),
        }
    }
}

impl AddArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Self { stream, survey, topics, cluster, start, order } = self;
        let settings = Stream { survey, cluster, topics, start, paused: false, bounds: Bounds::default() };
        order.give(&OperatorCommand::AddStream(stream, settings))
    }
}

impl ListArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let cluster = self.control.cluster()?;
        let streams = wait(async { Ok(cluster.streams().await?) })?;
        if self.json {
            output::pretty(&streams.iter().map(as_json).collect())?;
        } else if streams.is_empty() {
            writeln!(std::io::stderr(), "no stream is read; add one with `boomctl streams add`")?;
        } else {
            let header = ["stream", "survey", "cluster", "topics", "start", "there", "owned", "waiting", ""];
            output::text(&table(header, streams.iter().map(row), &[5, 6, 7]))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn start(start: Start) -> String {
    match start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::At(time) => when::civil(time),
    }
}

/// What is not as usual.
fn how(of: &StreamStatus) -> String {
    let share = of.stream.bounds.whole().to_string();
    match (of.stream.paused, share.is_empty()) {
        (false, _) => share,
        (true, true) => "paused".to_owned(),
        (true, false) => format!("paused, {share}"),
    }
}

fn row(of: &StreamStatus) -> [String; 9] {
    [
        of.id.to_string(),
        of.stream.survey.clone(),
        of.stream.cluster.clone(),
        of.stream.topics.to_string(),
        start(of.stream.start),
        of.topics.len().to_string(),
        format!("{} of {}", of.partitions_owned, of.partitions),
        output::lag(of.lag, of.lag_unknown),
        how(of),
    ]
}

fn as_json(of: &StreamStatus) -> Value {
    let share = of.stream.bounds.whole();
    json!({
        "stream": of.id,
        "survey": of.stream.survey,
        "cluster": of.stream.cluster,
        "pattern": of.stream.topics.to_string(),
        "start": start(of.stream.start),
        "paused": of.stream.paused,
        "weight": share.weight,
        "bounds": share.stages,
        "topics": of.topics,
        "partitions": {"owned": of.partitions_owned, "all": of.partitions},
        "lag": of.lag,
        "lag_unknown_partitions": of.lag_unknown,
    })
}
