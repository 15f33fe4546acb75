//! The way of a batch through the stages, and the order in which batches are stored and committed.
//!
//! Each batch is one task that reads top to bottom: decode, store, enrich, filter. Decoding, enriching and filtering of different batches run
//! side by side on the compute threads; committing keeps the order of the input, and storing the order that the store needs, so that the same
//! input gives the same answer whatever the number of threads. How many batches may be under way is bounded, and so is memory.
//!
//! **A batch holds packets of one stream only**, so what is so of a stream is so of a batch. Streams share the pipeline by their weights, and none of them
//! waits for another's batches to be through: who begins next is decided in `intake.rs`, who may have how many places in `room.rs`, who is worked on
//! next in `pool.rs`; each stream is committed in its own order. Inputs of which nobody says that they are streams (files) are one stream together.

mod batch;
mod elsewhere;
mod emit;
mod intake;
mod item;
pub(crate) mod jobs;
mod order;
mod replays;
mod room;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use boom_plan::id::StreamId;
use boom_plan::quota;
use boom_plan::share::StreamShare;
use boom_sky::schema::Decoder;
use boom_store::documents::Sequence;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use self::emit::Emitter;
pub use self::intake::{Entrance, Intake, entrance};
use self::intake::{Making, Next};
pub use self::item::{Begin, End, Item};
use self::order::{Turn, Turns};
use self::replays::Replay;
pub use self::replays::Replays;
use self::room::Room;
use crate::books::{Books, Fate, Verdict};
use crate::compute::{Compute, Panicked};
use crate::handover::Owner;
use crate::pool::Pool;
use crate::positions::Positions;
use crate::schemas::Schemas;
use crate::shares::Shares;
use crate::sink::{Progress, Sink};
use crate::source::Packet;
use crate::stage::DeadLetter;
use crate::stage::enrich::Enricher;
use crate::stage::filter::Filters;
use crate::stage::record::ResultRecord;
use crate::stats::Stats;
use crate::store::{Order, Store};

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
    /// Hands work over to other nodes, where there are any.
    pub owner: Option<Arc<Owner>>,
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
    /// How long packets wait for others of their stream to travel with, while batches are under way; as many times longer, up to
    /// four, as there are streams that have something to do.
    pub batch_wait: Duration,
    /// A filter that fails on so many alerts in a row is suspended; 0: never.
    pub suspend_after: u64,
}

/// The pools of the stages that compute, and what each stream may take of them.
#[derive(Debug)]
pub struct Pools {
    /// Packets to alerts.
    pub ingest: Pool,
    /// Matches, scores, properties.
    pub enrich: Pool,
    /// Filters.
    pub filter: Pool,
    /// What streams may take.
    pub shares: Arc<Shares>,
}

impl Pools {
    /// So many workers for each.
    pub fn even(workers: usize) -> Self {
        let shares = Arc::<Shares>::default();
        let pool = |stage| Pool::new(stage, workers, Arc::clone(&shares));
        let [ingest, enrich, filter] = quota::Stage::ALL.map(pool);
        Self { ingest, enrich, filter, shares }
    }

    /// What streams may take from now on. What is under way goes on.
    pub fn set_shares(&self, shares: BTreeMap<StreamId, StreamShare>) {
        self.shares.set(shares);
        quota::Stage::ALL.into_iter().for_each(|stage| self.of(stage).look_again());
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

/// Whose order is kept: of what is in one lane, that of the input. Each stream has its own, unless the store wants all in one order.
type Lane = Arc<str>;

/// What goes to the emitter, in the order of its lane.
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

/// What a batch is of. Taken down before anything of the stream may end: to the end it keeps the store that it began with.
struct Of<S> {
    stream: Arc<str>,
    replay: Option<Replay<S>>,
}

/// The place of a batch among those that may be under way; it is free again when this is dropped.
struct Place {
    stats: Arc<Stats>,
    _in_room: room::Place,
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
    /// Runs until the entrance is closed, then commits what is left and gives the books. `progress` and `books` are where an earlier run had come to.
    ///
    /// # Errors
    /// What is not one packet's own fault: the store, the sink, a defect. What was committed before stays committed.
    pub async fn run<K: Sink>(
        self: Arc<Self>,
        intake: Intake,
        sink: K,
        progress: Progress,
        books: Books,
    ) -> Result<(Books, K), Error<K::Error>> {
        let (work, decided) = mpsc::channel(self.batches_in_flight);
        let emitter = Emitter::new(Arc::clone(&self), sink, progress, books);
        let emitter = tokio::spawn(emitter.run(decided));
        self.feed(intake, work).await;
        emitter.await.map_err(|error| Error::Panicked(Panicked::from(error)))?
    }

    /// Begins batches of what flows in, until it ends or the emitter has failed, whose error then says why.
    async fn feed(self: Arc<Self>, mut intake: Intake, work: mpsc::Sender<(Lane, Work)>) {
        let room = Arc::new(Room::new(self.batches_in_flight));
        let making = Making { batch: self.batch, wait: self.batch_wait, shares: &self.pools.shares };
        let mut turns = Turns::default();
        let mut sequence = 0;
        while let Some(next) = intake.next(&room, making).await {
            let next = match next {
                Next::Begin(stream, begin) => (lane::<S>(&stream), Work::Begin(begin)),
                Next::End(stream, end) => (lane::<S>(&stream), Work::End(end)),
                Next::Batch(stream, packets, place) => {
                    sequence += 1;
                    let lane = lane::<S>(&stream);
                    let turn = turns.next(&lane);
                    (lane, Work::Batch(self.start(sequence, (stream, packets), turn, place)))
                }
            };
            if work.send(next).await.is_err() {
                return;
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        sequence: Sequence,
        (stream, packets): (Arc<str>, Vec<Packet>),
        turn: Turn,
        in_room: room::Place,
    ) -> JoinHandle<Result<Decided, crate::store::Error>> {
        self.stats.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place { stats: Arc::clone(&self.stats), _in_room: in_room };
        let span = tracing::debug_span!("batch", sequence, %stream, packets = packets.len());
        let of = Of { replay: self.replays.of(&stream), stream };
        tokio::spawn(Arc::clone(self).batch(sequence, (of, packets), turn, place).instrument(span))
    }
}

/// The lane of a stream.
fn lane<S: Store>(stream: &Arc<str>) -> Lane {
    match S::ORDER {
        Order::Input => Lane::from(""),
        Order::Object => Arc::clone(stream),
    }
}
