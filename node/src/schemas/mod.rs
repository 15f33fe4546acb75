//! Writer schemas that the decoder does not have: asked of the schema registry, kept on disk, waited for.
//!
//! `registry` speaks the protocol, `cache` is the disk. How long is waited, and what for, is decided by `next`. Nothing here reads a schema.

mod cache;
mod registry;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boom_sky::schema::Decoder;
use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use self::cache::Cache;
pub use self::registry::Error;
use self::registry::{Failure, Registry};
use crate::config::Schemas as Settings;

/// The pause before the second try; each further one is twice as long, up to `LONGEST`.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// So often a registry is asked that answers, but not with a schema: its members may not all know a new one yet.
const TRIES: u32 = 4;

/// So long a registry that has no such schema is not asked for it again.
const MISSING: Duration = Duration::from_secs(60);

/// So many missing ids are remembered: what begins with a zero byte may hold any number.
const MISSES: usize = 1024;

/// Brings the writer schemas of packets to the decoder.
#[derive(Debug)]
pub struct Schemas {
    registry: Registry,
    cache: Cache,
    decoder: Arc<Decoder>,
    patience: Duration,
    asked: Mutex<Asked>,
}

/// What is under way, and what was asked for in vain.
#[derive(Debug, Default)]
struct Asked {
    under_way: HashMap<u32, Arc<OnceCell<()>>>,
    missing: HashMap<u32, Instant>,
}

/// What is done after a try that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another, after so long.
    Retry(Duration),
    /// None: the packets are dead letters.
    GiveUp,
}

/// Decides after the `tries`th try, when `waited` of the `patience` is over.
fn next(failure: &Failure, tries: u32, waited: Duration, patience: Duration) -> Next {
    let pause = SHORTEST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST);
    let left = patience.saturating_sub(waited);
    match failure {
        Failure::Missing(_) if tries >= TRIES => Next::GiveUp,
        _ if left.is_zero() => Next::GiveUp,
        _ => Next::Retry(pause.min(left)),
    }
}

impl Schemas {
    /// Schemas of the registry for a decoder, kept in the directory `cache`. Nothing is asked yet.
    ///
    /// # Errors
    /// The configuration, or what it names, is at fault.
    pub fn open(settings: &Settings, cache: PathBuf, decoder: Arc<Decoder>) -> Result<Arc<Self>, Error> {
        let registry = Registry::new(settings)?;
        let cache = Cache::open(cache, settings.registry.clone())?;
        let (patience, asked) = (Duration::from_secs(settings.patience_s), Mutex::default());
        Ok(Arc::new(Self { registry, cache, decoder, patience, asked }))
    }

    /// Returns when the decoder has the writer schemas of the packets, or they can not be had.
    pub async fn prepare<'a>(&self, packets: impl IntoIterator<Item = &'a [u8]>) {
        let unknown = self.decoder.unknown(packets);
        if !unknown.is_empty() {
            join_all(unknown.into_iter().map(|id| self.settle(id))).await;
        }
    }

    /// Asks for one schema, once for all that want it at the time.
    async fn settle(&self, id: u32) {
        let attempt = {
            let mut asked = self.asked();
            asked.missing.retain(|_, since| since.elapsed() < MISSING);
            if asked.missing.contains_key(&id) || self.decoder.knows(id) {
                return;
            }
            Arc::clone(asked.under_way.entry(id).or_default())
        };
        attempt.get_or_init(|| self.bring(id)).await;
        let mut asked = self.asked();
        if asked.under_way.get(&id).is_some_and(|current| Arc::ptr_eq(current, &attempt)) {
            asked.under_way.remove(&id);
        }
    }

    async fn bring(&self, id: u32) {
        if let Some(documents) = self.cache.read(id).await {
            return self.decoder.learn(id, documents);
        }
        let (begun, mut tries) = (Instant::now(), 0);
        loop {
            tries += 1;
            let left = self.patience.saturating_sub(begun.elapsed());
            let failure = match self.registry.schema(id, left).await {
                Ok(documents) => {
                    tracing::info!("the schema registry has given the writer schema with id {id}");
                    self.cache.write(id, documents.clone()).await;
                    return self.decoder.learn(id, documents);
                }
                Err(failure) => failure,
            };
            match next(&failure, tries, begun.elapsed(), self.patience) {
                Next::Retry(pause) => {
                    if tries == 1 {
                        let patience = self.patience;
                        tracing::warn!("the writer schema with id {id} is waited for, at most {patience:?}: {failure}");
                    }
                    tokio::time::sleep(pause).await;
                }
                Next::GiveUp => return self.give_up(id, &failure),
            }
        }
    }

    fn give_up(&self, id: u32, failure: &Failure) {
        tracing::error!(
            "packets with the schema id {id} are dead letters, `boomctl deadletters retry` sends them again: {failure}"
        );
        if matches!(failure, Failure::Missing(_)) {
            let mut asked = self.asked();
            if asked.missing.len() < MISSES {
                asked.missing.insert(id, Instant::now());
            }
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_registry_that_is_away_is_waited_for_until_patience_ends() {
        let away = Failure::Away(String::new());
        let after = |tries, seconds| next(&away, tries, Duration::from_secs(seconds), PATIENCE);
        assert_eq!(after(1, 0), Next::Retry(SHORTEST));
        assert_eq!(after(3, 2), Next::Retry(SHORTEST * 4));
        assert_eq!(after(40, 10), Next::Retry(LONGEST));
        assert_eq!(after(9, 29), Next::Retry(Duration::from_secs(1)), "the last try is when patience ends");
        assert_eq!(after(10, 30), Next::GiveUp);
    }

    #[test]
    fn a_registry_without_the_schema_is_asked_a_few_times_only() {
        let missing = Failure::Missing(String::new());
        let after = |tries| next(&missing, tries, Duration::ZERO, PATIENCE);
        assert_eq!((after(1), after(TRIES)), (Next::Retry(SHORTEST), Next::GiveUp));
    }
}
