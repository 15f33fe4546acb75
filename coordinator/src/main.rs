//! `boom-coordinator`: arguments, signals, exit codes. What is run is in the library.
#![forbid(unsafe_code)]

mod cli;

use std::io::Write as _;
use std::process::ExitCode;

use boom_client::program::{cancel_on_signal, start_log};
use boom_coordinator::{Addresses, run};
use clap::Parser as _;
use cli::{Cli, Command, Usage};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let outcome = start_log("info").map_err(|problem| Usage(problem).into()).and_then(|()| start(Cli::parse().command));
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "boom-coordinator: {error:#}");
    // 2 for bad usage, 1 when it could not go on.
    ExitCode::from(if error.downcast_ref::<Usage>().is_some() { 2 } else { 1 })
}

fn start(command: Command) -> anyhow::Result<()> {
    let Some(config) = command.config()? else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone(), "the next coordinator can lead"));
        run(config, say_ready, stop).await
    });
    // A call to Kafka may be under way, which nobody waits for any more.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// One line on standard output, for whoever has started it.
fn say_ready(Addresses { grpc, http }: Addresses) {
    let _ = writeln!(std::io::stdout(), "ready grpc={grpc} http={http}");
}
