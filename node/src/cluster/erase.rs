//! Erasing what belongs to a replay that was removed: its documents, its topics, its progress and its books. Each is gone when that is said;
//! who does it again finds less to do.

use std::collections::BTreeSet;
use std::time::Duration;

use boom_plan::id::{ProducerName, StreamId};
use tokio_util::sync::CancellationToken;

use super::Parts;
use crate::sink::kafka::{erase_replay, fence};
use crate::store::Replaying;

/// What was refused is tried again after so long: somebody may have to give the user a right.
const AGAIN: Duration = Duration::from_secs(10);

/// Erases it, however often that must be tried; `false` when it was told to stop.
pub(super) async fn erase<S: Replaying>(
    parts: &Parts<S>,
    replay: &StreamId,
    before: &BTreeSet<ProducerName>,
    stop: &CancellationToken,
) -> bool {
    loop {
        let tried = tokio::select! {
            () = stop.cancelled() => return false,
            tried = attempt(parts, replay.as_str(), before, stop) => tried,
        };
        match tried {
            Ok(()) => return true,
            Err(why) => tracing::error!(%replay, "it is not erased yet, and that is tried again: {why}"),
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// First the producers are fenced that may still write, since they died with something open; nobody else has a partition of it.
async fn attempt<S: Replaying>(
    parts: &Parts<S>,
    replay: &str,
    before: &BTreeSet<ProducerName>,
    stop: &CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for producer in before {
        fence(&parts.output.connection, &producer.transactional_id(), stop.clone()).await?;
    }
    parts.pipeline.store.erase(replay).await?;
    erase_replay(&parts.output, replay, stop.clone()).await?;
    Ok(())
}
