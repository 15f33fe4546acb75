//! The log of the program, on standard error: what goes into it say `RUST_LOG` and `BOOM_SPAN_EVENTS`.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Starts it. An error: a variable can not be used, and what is possible.
///
/// # Errors
/// `RUST_LOG` or `BOOM_SPAN_EVENTS` can not be used.
pub fn start() -> Result<(), String> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
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
