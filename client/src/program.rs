//! What the programs of a cluster have in common: the log, the configuration's file, the signals, how strangers are let in. An SDK's user has no need of it: it is
//! there with the feature `program`.

pub mod http;
pub mod listener;

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts the log, on standard error: what goes into it say `RUST_LOG`, else `default`, and `BOOM_SPAN_EVENTS`.
///
/// # Errors
/// `RUST_LOG` or `BOOM_SPAN_EVENTS` can not be used.
pub fn start_log(default: &str) -> Result<(), String> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| default.to_owned());
    let filter = EnvFilter::try_new(&filter).map_err(|error| format!("RUST_LOG={filter}: {error}"))?;
    let events = std::env::var("BOOM_SPAN_EVENTS").unwrap_or_default();
    let mut spans = FmtSpan::NONE;
    for event in events.split(',').map(str::trim).filter(|event| !event.is_empty()) {
        spans |= match event {
            "new" => FmtSpan::NEW,
            "enter" => FmtSpan::ENTER,
            "exit" => FmtSpan::EXIT,
            "close" => FmtSpan::CLOSE,
            "active" => FmtSpan::ACTIVE,
            "full" => FmtSpan::FULL,
            "none" => FmtSpan::NONE,
            other => {
                return Err(format!(
                    "BOOM_SPAN_EVENTS has `{other}`: new, enter, exit, close, active, full and none are possible"
                ));
            }
        };
    }
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(spans)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .with_target(false)
        .init();
    Ok(())
}

/// The text of a configuration's file, if one is named.
///
/// # Errors
/// It can not be read.
pub fn read_configuration(path: Option<&Path>) -> Result<Option<String>, String> {
    let failed =
        |path: &Path, error: std::io::Error| format!("the configuration {} can not be read: {error}", path.display());
    path.map(|path| std::fs::read_to_string(path).map_err(|error| failed(path, error))).transpose()
}

/// The first SIGINT or SIGTERM cancels, and says what happens then; a second one ends the process at once.
pub async fn cancel_on_signal(stop: CancellationToken, what_happens: &str) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    tracing::info!("stopping: {what_happens}; once more to stop at once");
    stop.cancel();
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    std::process::exit(1);
}
