//! What each stream may take of this node, as the plan has it. It may change while alerts flow: who acts by it asks each time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use boom_plan::id::StreamId;
use boom_plan::quota::Stage;
use boom_plan::share::{Limits, StreamShare, WEIGHT};

/// The shares of the streams; one that has none counts as any other, without limits.
#[derive(Debug, Default)]
pub struct Shares(Mutex<BTreeMap<String, StreamShare>>);

impl Shares {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, StreamShare>> {
        self.0.lock().expect("nobody panics with the shares")
    }

    /// These hold from now on.
    pub fn set(&self, shares: BTreeMap<StreamId, StreamShare>) {
        *self.held() = shares.into_iter().map(|(stream, share)| (stream.to_string(), share)).collect();
    }

    /// When streams want more than there is, each gets in proportion to this; at least 1.
    pub fn weight(&self, stream: &str) -> u32 {
        self.held().get(stream).map_or(WEIGHT, |share| share.weight.max(1))
    }

    /// How many batches of a stream a stage works on at once.
    pub fn limits(&self, stage: Stage, stream: &str) -> Limits {
        self.held().get(stream).and_then(|share| share.stages.get(&stage)).copied().unwrap_or_default()
    }
}
