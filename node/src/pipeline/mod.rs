//! The way of a batch through the stages, and the order in which batches are stored and committed.
//!
//! Each batch is one task that reads top to bottom: decode, store, enrich, filter. Decoding, enriching and filtering of different batches run
//! side by side on the compute threads; committing keeps the order of the input, and storing the order that the store needs, so that the same
//! input gives the same answer whatever the number of threads. How many batches may be under way is bounded, and so is memory.

mod batch;
mod emit;
mod item;
mod order;
mod replays;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use boom_plan::quota;
use boom_sky::schema::Decoder;
use boom_store::documents::Sequence;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use self::emit::Emitter;
pub use self::item::{Begin, End, Item};
use self::order::{Turn, Turns};
use self::replays::Replay;
pub use self::replays::Replays;
use crate::books::{Books, Fate, Verdict};
use crate::compute::{Compute, Panicked};
use crate::pool::Pool;
use crate::positions::Positions;
use crate::schemas::Schemas;
use crate::sink::{Progress, Sink};
use crate::source::Packet;
use crate::stage::DeadLetter;
use crate::stage::enrich::Enricher;
use crate::stage::filter::Filters;
use crate::stage::record::ResultRecord;
use crate::stats::Stats;
use crate::store::Store;

/// Why a pipeline stopped before its input ended.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::error::Error + 'static> {
    /// The code.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// The sink.
    #[error(transparent)]
    Sink(E),
}

/// What every batch needs.
#[derive(Debug, Clone)]
pub struct Pipeline<S> {
    /// Packets to alerts.
    pub decoder: Arc<Decoder>,
    /// Where writer schemas come from that the decoder does not have; none: from nowhere.
    pub schemas: Option<Arc<Schemas>>,
    /// Documents, of all that is no replay.
    pub store: S,
    /// The replays, with their documents.
    pub replays: Arc<Replays<S>>,
    /// Matches, scores, properties.
    pub enricher: Arc<Enricher>,
    /// Filters: each batch takes those that hold when it comes to them.
    pub filters: watch::Receiver<Arc<Filters>>,
    /// Threads.
    pub compute: Compute,
    /// How many batches are worked on at once, by stage.
    pub pools: Arc<Pools>,
    /// Whether what came of an input may be committed.
    pub gate: Gate,
    /// Measurements.
    pub stats: Arc<Stats>,
    /// How far the inputs are.
    pub positions: Arc<Positions>,
    /// The time, JD.
    pub clock: fn() -> f64,
    /// Packets that travel together.
    pub batch: usize,
    /// Batches that may be under way.
    pub batches_in_flight: usize,
    /// How long packets wait for others to travel with, while batches are under way.
    pub batch_wait: Duration,
    /// A filter that fails on so many alerts in a row is suspended; 0: never.
    pub suspend_after: u64,
}

/// The pools of the stages that compute.
#[derive(Debug)]
pub struct Pools {
    /// Packets to alerts.
    pub ingest: Pool,
    /// Matches, scores, properties.
    pub enrich: Pool,
    /// Filters.
    pub filter: Pool,
}

impl Pools {
    /// So many workers for each.
    pub fn even(workers: usize) -> Self {
        Self { ingest: Pool::new(workers), enrich: Pool::new(workers), filter: Pool::new(workers) }
    }

    /// The pool of a stage.
    pub fn of(&self, stage: quota::Stage) -> &Pool {
        match stage {
            quota::Stage::Ingest => &self.ingest,
            quota::Stage::Enrich => &self.enrich,
            quota::Stage::Filter => &self.filter,
        }
    }
}

/// Says of an input whether what came of it may be committed now: asked right before each commit.
#[derive(Clone)]
pub struct Gate(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl Gate {
    /// One that asks.
    pub fn new(may_commit: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_commit))
    }

    /// One that lets everything through: nobody else has the inputs.
    pub fn open() -> Self {
        Self::new(|_| true)
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

/// What goes to the emitter, in the order of the input.
enum Work {
    Batch(JoinHandle<Result<Decided, crate::store::Error>>),
    Begin(Begin),
    End(End),
}

/// A packet's place, and when the broker took it.
struct Passed {
    source: Arc<str>,
    next: u64,
    timestamp: Option<i64>,
}

/// A batch with its fate, not yet committed.
struct Decided {
    sequence: Sequence,
    /// The replay that it is of.
    replay: Option<Arc<str>>,
    arrived: Instant,
    finished: Instant,
    passed: Vec<Passed>,
    fates: Vec<(&'static str, Arc<str>, Fate)>,
    filters: Arc<Filters>,
    /// The inputs of the alerts that the filters saw.
    sources: Vec<Arc<str>>,
    verdicts: Vec<Answer>,
    results: Vec<(usize, ResultRecord)>,
    dead: Vec<DeadLetter>,
    _place: Place,
}

/// The place of a batch among those that may be under way; it is free again when this is dropped.
struct Place {
    stats: Arc<Stats>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one filter said of one alert of a batch.
#[derive(Debug, Clone, Copy)]
struct Answer {
    alert: usize,
    filter: usize,
    verdict: Verdict,
}

impl<S: Store> Pipeline<S> {
    /// Runs until `items` ends, then commits what is left and gives the books. `progress` and `books` are where an earlier run had come to.
    ///
    /// # Errors
    /// What is not one packet's own fault: the store, the sink, a defect. What was committed before stays committed.
    pub async fn run<K: Sink>(
        self: Arc<Self>,
        items: mpsc::Receiver<Item>,
        sink: K,
        progress: Progress,
        books: Books,
    ) -> Result<(Books, K), Error<K::Error>> {
        let (work, decided) = mpsc::channel(self.batches_in_flight);
        let emitter = Emitter::new(Arc::clone(&self), sink, progress, books);
        let emitter = tokio::spawn(emitter.run(decided));
        self.feed(items, work).await;
        emitter.await.map_err(|error| Error::Panicked(Panicked::from(error)))?
    }

    /// Makes batches of what flows in, until it ends or the emitter has failed, whose error then says why.
    async fn feed(self: Arc<Self>, mut items: mpsc::Receiver<Item>, work: mpsc::Sender<Work>) {
        let room = Arc::new(Semaphore::new(self.batches_in_flight));
        let mut turns = Turns::default();
        let mut inputs = Inputs::default();
        let mut sequence = 0;
        let mut came = Vec::new();
        loop {
            let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            if items.recv_many(&mut came, self.batch).await == 0 {
                return;
            }
            if room.available_permits() + 1 < self.batches_in_flight {
                self.wait_for_company(&mut items, &mut came).await;
            }
            let mut permit = Some(permit);
            for part in inputs.split(came.drain(..), |input| self.replays.of(input)) {
                let next = match part {
                    Part::Order(work) => work,
                    Part::Packets(replay, packets) => {
                        let permit = match permit.take() {
                            Some(permit) => permit,
                            None => Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed"),
                        };
                        sequence += 1;
                        Work::Batch(self.start(sequence, (replay, packets), turns.next(), permit))
                    }
                };
                if work.send(next).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Packets that come soon travel with those that are there: a batch costs the same rounds to the store, however small it is.
    async fn wait_for_company(&self, items: &mut mpsc::Receiver<Item>, came: &mut Vec<Item>) {
        let until = tokio::time::Instant::now() + self.batch_wait;
        while came.len() < self.batch {
            let more = items.recv_many(came, self.batch - came.len());
            if !tokio::time::timeout_at(until, more).await.is_ok_and(|more| more > 0) {
                return;
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        sequence: Sequence,
        (replay, packets): (Option<Replay<S>>, Vec<Packet>),
        turn: Turn,
        permit: OwnedSemaphorePermit,
    ) -> JoinHandle<Result<Decided, crate::store::Error>> {
        self.stats.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place { stats: Arc::clone(&self.stats), _permit: permit };
        let span = tracing::debug_span!("batch", sequence, packets = packets.len());
        tokio::spawn(Arc::clone(self).batch(sequence, (replay, packets), turn, place).instrument(span))
    }
}

/// Which assignment of each input counts. An input that nobody has begun counts in any case.
#[derive(Default)]
struct Inputs(HashMap<Arc<str>, Option<u64>>);

/// What stands between two orders, of one replay or of none, or an order.
enum Part<S> {
    Packets(Option<Replay<S>>, Vec<Packet>),
    Order(Work),
}

impl Inputs {
    /// Puts packets together that no order divides and that are of one replay or of none, and leaves out those of a former assignment.
    fn split<S>(
        &mut self,
        items: impl Iterator<Item = Item>,
        replay: impl Fn(&str) -> Option<Replay<S>>,
    ) -> Vec<Part<S>> {
        let mut parts: Vec<Part<S>> = Vec::new();
        for item in items {
            match item {
                Item::Packet(packet) => {
                    let known = self.0.get(&packet.source);
                    if known.is_some_and(|current| *current != Some(packet.assignment)) {
                        continue;
                    }
                    let replay = replay(&packet.source);
                    let name = replay.as_ref().map(|replay| &replay.name);
                    let undivided = parts.iter_mut().rev().map_while(|part| match part {
                        Part::Packets(of, packets) => Some((of.as_ref().map(|replay| &replay.name), packets)),
                        Part::Order(_) => None,
                    });
                    match { undivided }.find(|(of, _)| *of == name) {
                        Some((_, packets)) => packets.push(packet),
                        None => parts.push(Part::Packets(replay, vec![packet])),
                    }
                }
                Item::Begin(begin) => {
                    self.0.insert(Arc::clone(&begin.source), Some(begin.assignment));
                    parts.push(Part::Order(Work::Begin(begin)));
                }
                Item::End(end) => {
                    self.0.insert(Arc::clone(&end.source), None);
                    parts.push(Part::Order(Work::End(end)));
                }
            }
        }
        parts
    }
}
