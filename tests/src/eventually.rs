//! Waiting for what another process does: a predicate with a deadline, and no guess of how long it takes.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A predicate is asked again after so long: what is waited for is in another process, and nothing tells this one.
const POLL: Duration = Duration::from_millis(10);

/// Returns as soon as `is_so` is true.
///
/// # Panics
/// It is not true in time; the panic says `what` was waited for.
#[track_caller]
pub fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(PATIENCE, is_so, || what.to_owned());
}

/// The same with a time of its own; gives how long it took.
///
/// # Panics
/// It is not true in time; the panic says `what` gives then.
#[track_caller]
pub fn within(patience: Duration, is_so: impl FnMut() -> bool, what: impl FnOnce() -> String) -> Duration {
    within_every(POLL, patience, is_so, what)
}

/// The same, and the predicate, which costs something, is asked so often.
///
/// # Panics
/// As [`within`].
#[track_caller]
pub fn within_every(
    poll: Duration,
    patience: Duration,
    mut is_so: impl FnMut() -> bool,
    what: impl FnOnce() -> String,
) -> Duration {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > patience {
            panic!("not within {patience:?}: {}", what());
        }
        std::thread::sleep(poll);
    }
    began.elapsed()
}

/// Returns what `ask` gives, as soon as it gives something.
///
/// # Panics
/// It gives nothing in time; the panic says `what` was waited for.
pub async fn in_time<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}
