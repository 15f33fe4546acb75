//! `boomctl streams`: what is read, and orders about it.

use std::io::Write as _;
use std::process::ExitCode;

use boom_client::control::{ReplayState, StreamStatus};
use boom_plan::id::StreamId;
use boom_plan::orders::{Bounds, OperatorCommand, Start, Stream};
use boom_plan::replay;
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
    /// Let a window of a stream go through once more, apart from it
    ///
    /// The alerts of the window go through as if they had not yet come: with documents in a database of their own, results in the topic
    /// boom.results.NAME, progress and books of their own, after all that is not a replay. Remove it when it is not needed any more.
    Replay(ReplayArgs),
    /// Give a stream up; its progress stays. Of a replay everything is erased
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

#[derive(Debug, Args)]
struct ReplayArgs {
    /// Name of the stream whose alerts they are
    stream: StreamId,
    /// The first time of the window, as Kafka took the alerts: 2026-11-25T03:00:00Z, or how long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    from: u64,
    /// The first time behind it, which is not in the future
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    to: u64,
    /// Name of the replay: at most 24 small letters, digits, `_` and `-`
    #[arg(long = "as", value_name = "NAME")]
    name: StreamId,
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
            Some(StreamsCommand::Replay(args)) => args.run(),
            Some(StreamsCommand::Remove(args)) => args.order.give(&OperatorCommand::RemoveStream(args.stream)),
            Some(StreamsCommand::Pause(args)) => args.order.give(&OperatorCommand::PauseStream(args.stream)),
            Some(StreamsCommand::Resume(args)) => args.order.give(&OperatorCommand::ResumeStream(args.stream)),
        }
    }
}

impl AddArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Self { stream, survey, topics, cluster, start, order } = self;
        let settings =
            Stream { survey, cluster, topics, start, paused: false, bounds: Bounds::default(), replay: None };
        order.give(&OperatorCommand::AddStream(stream, settings))
    }
}

impl ReplayArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Self { stream: of, from, to, name, order } = self;
        replay::check(&name, from, to, when::now())?;
        order.give(&OperatorCommand::ReplayStream { name, of, from, to })
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

/// What is to be said of a stream beside its numbers: what is not as usual.
fn state(of: &StreamStatus) -> String {
    let paused = of.stream.paused.then(|| "paused".to_owned());
    let share = of.stream.bounds.whole().to_string();
    let share = (!share.is_empty()).then_some(share);
    let said: Vec<String> = replay(of).or(paused).into_iter().chain(share).collect();
    said.join(", ")
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
        state(of),
    ]
}

/// What makes it a replay, and how far that is.
fn replay(of: &StreamStatus) -> Option<String> {
    let (replay, state) = of.stream.replay.as_ref().zip(of.replay())?;
    let state = match state {
        ReplayState::Removing => ", removing",
        ReplayState::Done => ", done",
        ReplayState::Running if of.stream.paused => ", paused",
        ReplayState::Running => "",
    };
    Some(format!("replay of {} to {}{state}", replay.of, when::civil(replay.to)))
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
        "replay": of.stream.replay.as_ref().zip(of.replay()).map(|(replay, state)| json!({
            "of": replay.of,
            "to": when::civil(replay.to),
            "partitions_through": of.partitions_through,
            "state": match state {
                ReplayState::Running => "running",
                ReplayState::Done => "done",
                ReplayState::Removing => "removing",
            },
        })),
    })
}
