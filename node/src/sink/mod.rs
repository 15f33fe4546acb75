//! Where results go: the port, and its adapters.
//!
//! A sink takes results, dead letters, progress and the books in one commit: after a crash all of it is there, or none.

pub mod files;
pub mod kafka;

use std::collections::BTreeMap;
use std::future::Future;

use boom_store::documents::Sequence;

use crate::books::Books;
use crate::stage::DeadLetter;
use crate::stage::record::ResultRecord;

/// How far each input has been decided: the offset of its next packet.
pub type Progress = BTreeMap<String, u64>;

/// What is committed together.
#[derive(Debug, Clone, Default)]
pub struct Emission {
    /// The last batch that it covers; where the store wants batches in one order, all before it are covered too.
    pub last: Sequence,
    /// What passed.
    pub results: Vec<ResultRecord>,
    /// What gave no alert.
    pub dead_letters: Vec<DeadLetter>,
    /// How far the inputs are decided with this.
    pub progress: Progress,
    /// The inputs of which something was decided since the commit before, each with the time of its last packet, Unix milliseconds, where it has
    /// one.
    pub touched: BTreeMap<String, Option<i64>>,
    /// The books with this, of all that is no replay.
    pub books: Books,
    /// What is of replays, by their names.
    pub replays: BTreeMap<String, Replayed>,
}

/// What of a commit is of a replay: it goes elsewhere than all else.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    /// What passed.
    pub results: Vec<ResultRecord>,
    /// What gave no alert.
    pub dead_letters: Vec<DeadLetter>,
    /// Its books with this.
    pub books: Books,
}

impl Emission {
    /// The results and dead letters of a replay, or of all that is none.
    pub(crate) fn of(&mut self, replay: Option<&str>) -> (&mut Vec<ResultRecord>, &mut Vec<DeadLetter>) {
        match replay {
            None => (&mut self.results, &mut self.dead_letters),
            Some(replay) => {
                let replayed = self.replays.entry(replay.to_owned()).or_default();
                (&mut replayed.results, &mut replayed.dead_letters)
            }
        }
    }
}

/// The port.
pub trait Sink: Send + 'static {
    /// What goes wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Makes everything in `emission` durable, or nothing of it.
    fn commit(&mut self, emission: Emission) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
