//! `boom-node`: arguments, logs, signals, exit codes. What is run is in the library.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use boom_client::program::{cancel_on_signal, read_configuration, start_log};
use boom_node::config::Config;
use boom_node::setup::UsageError;
use boom_node::source::simulator::{SimulatedSurvey, Simulator, SimulatorConfig, write_archive};
use boom_node::standalone::{self, Ended, Options};
use boom_sky::survey::Survey;
use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

/// What is logged when `RUST_LOG` says nothing.
const LOGGED: &str = "info,ort=error,fjall=warn,lsm_tree=warn";

/// What a signal leads to.
const WHAT_HAPPENS: &str = "what is under way is finished and committed";

/// A node of BOOM, the astronomical alert broker.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run alerts through all stages in one process, with no server; without --input a simulated night.
    Standalone(Standalone),
    /// Write a simulated night of alert packets.
    Simulate(Simulate),
    /// Be a node of a cluster, until a signal ends it.
    Serve(Serve),
    /// Print the commented default configuration, or check one.
    Config(ConfigArguments),
}

#[derive(Debug, Args)]
struct Serve {
    /// Configuration file; `boom-node config` prints one with every default.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ConfigArguments {
    #[command(subcommand)]
    what: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read a configuration as the node would, and list all that is wrong with it.
    Check(Serve),
}

#[derive(Debug, Args)]
struct Standalone {
    /// Avro file, directory, .tar or .tar.gz archive, or - for standard input; may be repeated.
    #[arg(long)]
    input: Vec<PathBuf>,
    /// Take packets whose schema names no survey as this one's: ZTF, LSST, DECam or WINTER.
    #[arg(long, value_parser = survey)]
    survey: Option<&'static Survey>,
    /// Writer schemas of Confluent-framed packets: a folder a version (9.0, 10.0, …) with its .avsc files.
    #[arg(long)]
    schemas: Option<PathBuf>,
    /// Directory of filters, a .json file each; without it the built-in ones.
    #[arg(long)]
    filters: Option<PathBuf>,
    /// Directory of catalogs made by `boomctl catalog import`.
    #[arg(long)]
    catalogs: Option<PathBuf>,
    /// Directory in which model files (and manifests of more models) are looked for; may be repeated.
    #[arg(long)]
    models: Vec<PathBuf>,
    /// Directory of the results; the same command with the same directory goes on where it was.
    #[arg(long, default_value = "boom-out")]
    out: PathBuf,
    /// Compute threads; one for each core when not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Configuration file; `boom-node config` prints one with every default.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Simulate {
    /// ztf or lsst.
    #[arg(long, value_parser = ["ztf", "lsst"], default_value = "ztf")]
    survey: String,
    /// How many alerts.
    #[arg(long)]
    alerts: u64,
    /// Over how many nights.
    #[arg(long, default_value_t = 1)]
    nights: u32,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Alerts a second, at the most; without it as fast as can be.
    #[arg(long)]
    rate: Option<f64>,
    /// FILE.tar.gz, or a directory, to which one packet after the other is added.
    #[arg(long)]
    out: PathBuf,
}

fn survey(name: &str) -> Result<&'static Survey, String> {
    Survey::by_name(name).ok_or_else(|| "it is no survey: ZTF, LSST, DECam and WINTER are".to_owned())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(problem) = start_log(LOGGED) {
        return failed(&UsageError(problem).into());
    }
    let outcome = match cli.command {
        Command::Standalone(arguments) => run_standalone(arguments),
        Command::Simulate(arguments) => simulate(&arguments),
        Command::Serve(arguments) => serve(&arguments),
        Command::Config(ConfigArguments { what: None }) => {
            print(boom_node::config::DEFAULT).map(|()| ExitCode::SUCCESS)
        }
        Command::Config(ConfigArguments { what: Some(ConfigCommand::Check(arguments)) }) => {
            load(arguments.config.as_deref()).map(|_| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

/// 2 for bad usage, 1 when it could not go on.
fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "boom-node: {error:#}");
    ExitCode::from(if error.downcast_ref::<UsageError>().is_some() { 2 } else { 1 })
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("writing to standard output")
}

/// The configuration: defaults, a file over them, the environment over both.
fn load(path: Option<&Path>) -> anyhow::Result<Config> {
    let text = read_configuration(path).map_err(UsageError)?;
    let file = path.zip(text.as_deref());
    Ok(Config::load(file, std::env::vars()).map_err(|problems| UsageError(problems.to_string()))?)
}

/// Whoever started it may want to know.
fn say_ready(http: SocketAddr) {
    let _ = print(&format!("http={http}\n"));
}

fn serve(arguments: &Serve) -> anyhow::Result<ExitCode> {
    let config = load(arguments.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stop = CancellationToken::new();
    let ran = runtime.block_on(async {
        tokio::spawn(cancel_on_signal(stop.clone(), WHAT_HAPPENS));
        boom_node::cluster::run(config, say_ready, stop).await
    });
    // What still waits for a server that is away is not waited for.
    runtime.shutdown_background();
    ran.map(|()| ExitCode::SUCCESS)
}

fn run_standalone(arguments: Standalone) -> anyhow::Result<ExitCode> {
    let config = load(arguments.config.as_deref())?;
    let options = Options {
        input: arguments.input,
        survey: arguments.survey,
        schemas: arguments.schemas,
        filters: arguments.filters,
        catalogs: arguments.catalogs,
        models: arguments.models,
        out: arguments.out,
        workers: arguments.workers.map(usize::from),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = CancellationToken::new();
    let ended = runtime.block_on(async {
        tokio::spawn(cancel_on_signal(stop.clone(), WHAT_HAPPENS));
        standalone::run(options, config, stop).await
    })?;
    finish(&ended)
}

fn finish(ended: &Ended) -> anyhow::Result<ExitCode> {
    print(&ended.report)?;
    if ended.stopped {
        let done: Vec<String> =
            ended.books.partitions.iter().map(|book| format!("{} of {}", book.consumed, book.source)).collect();
        let _ = writeln!(
            std::io::stderr(),
            "boom-node: stopped after {} alerts ({}); the same command goes on from there",
            ended.books.consumed(),
            done.join(", ")
        );
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::from(if ended.books.dead_lettered() > 0 { 3 } else { 0 }))
}

fn simulate(arguments: &Simulate) -> anyhow::Result<ExitCode> {
    let survey = if arguments.survey == "lsst" { SimulatedSurvey::Lsst } else { SimulatedSurvey::Ztf };
    let config = SimulatorConfig { survey, alerts: arguments.alerts, nights: arguments.nights, seed: arguments.seed };
    if let Some(rate) = arguments.rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
        return Err(UsageError(format!("--rate {rate}: a number of alerts a second above 0 is wanted")).into());
    }
    let started = std::time::Instant::now();
    let paced = Simulator::new(config).zip(0u32..).map(|(packet, number)| {
        if let Some(rate) = arguments.rate {
            let due = Duration::from_secs_f64(f64::from(number) / rate);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        packet
    });
    let written =
        write_archive(paced, &arguments.out).with_context(|| format!("writing {}", arguments.out.display()))?;
    let seconds = started.elapsed().as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "{} packets, {:.1} MB in {seconds:.1} s ({:.0} packets/s): {}",
        written.packets,
        written.bytes as f64 / 1e6,
        written.packets as f64 / seconds,
        arguments.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
