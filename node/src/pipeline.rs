//! The way of a batch through the stages, and the order in which batches are stored and committed.
//!
//! Each batch is one task that reads top to bottom: decode, store, enrich, filter. Decoding, enriching and filtering of different batches run
//! side by side on the compute threads; storing and committing keep the order of the input, so that the same input gives the same answer
//! whatever the number of threads. How many batches may be under way is bounded, and so is memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use boom_sky::schema::Decoder;
use boom_sky::survey::Survey;
use boom_store::documents::{Claim, Complete, Ingested, Sequence};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::books::{Books, Fate, UNKNOWN_SURVEY, Verdict};
use crate::compute::{Compute, Panicked};
use crate::sink::{Emission, Progress, Sink};
use crate::source::Packet;
use crate::stage::enrich::{Enriched, Enricher};
use crate::stage::filter::{Filters, Judged};
use crate::stage::ingest::{Decoded, decode};
use crate::stage::record::ResultRecord;
use crate::stage::{DeadLetter, Received};
use crate::stats::{Stage, Stats};
use crate::store::Store;

/// Results are committed about so often, and sooner when half of the batches that may be under way wait for it.
const COMMIT_EVERY: Duration = Duration::from_millis(100);

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
#[derive(Debug)]
pub struct Pipeline<S> {
    /// Packets to alerts.
    pub decoder: Arc<Decoder>,
    /// Documents.
    pub store: S,
    /// Matches, scores, properties.
    pub enricher: Arc<Enricher>,
    /// Filters.
    pub filters: Arc<Filters>,
    /// Threads.
    pub compute: Compute,
    /// Measurements.
    pub stats: Arc<Stats>,
    /// The time, JD.
    pub clock: fn() -> f64,
    /// Packets that travel together.
    pub batch: usize,
    /// Batches that may be under way.
    pub batches_in_flight: usize,
    /// A filter that fails on so many alerts in a row is suspended; 0: never.
    pub suspend_after: u64,
}

/// A batch with its fate, not yet committed.
struct Decided {
    sequence: Sequence,
    arrived: Instant,
    finished: Instant,
    progress: Vec<(Arc<str>, u64)>,
    fates: Vec<(&'static str, Arc<str>, Fate)>,
    verdicts: Vec<Answer>,
    results: Vec<(usize, ResultRecord)>,
    dead: Vec<DeadLetter>,
    _permit: OwnedSemaphorePermit,
}

/// What the filters made of a batch.
#[derive(Debug, Default)]
struct Filtered {
    alerts: usize,
    verdicts: Vec<Answer>,
    results: Vec<(usize, ResultRecord)>,
}

/// What one filter said of one alert of a batch.
#[derive(Debug, Clone, Copy)]
struct Answer {
    alert: usize,
    filter: usize,
    verdict: Verdict,
}

/// The place of a batch in the order of storing.
struct Turn {
    before: oneshot::Receiver<()>,
    next: oneshot::Sender<()>,
}

impl<S: Store> Pipeline<S> {
    /// Runs until `packets` ends, then commits what is left and gives the books. `progress` and `books` are where an earlier run had come to.
    ///
    /// # Errors
    /// What is not one packet's own fault: the store, the sink, a defect. What was committed before stays committed.
    pub async fn run<K: Sink>(
        self: Arc<Self>,
        mut packets: mpsc::Receiver<Packet>,
        sink: K,
        progress: Progress,
        books: Books,
    ) -> Result<(Books, K), Error<K::Error>> {
        let (batches, decided) = mpsc::channel(self.batches_in_flight);
        let emitter = tokio::spawn(Arc::clone(&self).emit(decided, sink, progress, books));
        let room = Arc::new(Semaphore::new(self.batches_in_flight));
        let (first, mut before) = oneshot::channel();
        // The first batch has nobody to wait for.
        let _ = first.send(());
        for sequence in 1.. {
            let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
            let mut batch = Vec::with_capacity(self.batch);
            if packets.recv_many(&mut batch, self.batch).await == 0 {
                break;
            }
            let (next, after) = oneshot::channel();
            let turn = Turn { before, next };
            before = after;
            self.stats.in_flight.fetch_add(1, Ordering::Relaxed);
            let span = tracing::debug_span!("batch", sequence, packets = batch.len());
            let task = tokio::spawn(Arc::clone(&self).batch(sequence, batch, turn, permit).instrument(span));
            if batches.send(task).await.is_err() {
                // The emitter failed; its error says why.
                break;
            }
        }
        drop(batches);
        emitter.await.map_err(|error| Error::Panicked(Panicked::from(error)))?
    }

    /// One batch, from packets to verdicts.
    async fn batch(
        self: Arc<Self>,
        sequence: Sequence,
        packets: Vec<Packet>,
        turn: Turn,
        permit: OwnedSemaphorePermit,
    ) -> Result<Decided, crate::store::Error> {
        let arrived = Instant::now();
        let progress = packets.iter().map(|packet| (Arc::clone(&packet.source), packet.offset + 1)).collect();
        let decoder = Arc::clone(&self.decoder);
        let Decoded { received, dead } = self.stage(Stage::Ingest, move || decode(&decoder, packets)).await?;
        let received = Arc::new(received);

        let waiting = Instant::now();
        let ingested = match turn.before.await {
            Ok(()) => self.store.ingest(sequence, Arc::clone(&received)).await?,
            Err(_) => return Err(Panicked::from("the batch before this one was given up").into()),
        };
        let _ = turn.next.send(());
        self.stats.record(Stage::Store, received.len(), waiting.elapsed(), Duration::ZERO);

        let mut fates: Vec<_> = dead
            .iter()
            .map(|dead| {
                let survey = dead.survey.unwrap_or(UNKNOWN_SURVEY);
                (survey, Arc::clone(&dead.origin.source), Fate::DeadLettered(dead.reason))
            })
            .collect();
        fates.extend(received.iter().zip(&ingested).map(|(received, ingested)| {
            let repeat = matches!(ingested.claim, Claim::Repeat(_));
            let fate = if repeat { Fate::Repeated } else { Fate::Decided };
            (received.alert.survey.name, Arc::clone(&received.origin.source), fate)
        }));
        let ingested = Arc::new(ingested);
        let enriched = self.enrich(sequence, &received, &ingested).await?;
        let Filtered { verdicts, results, .. } = self.filter(received, ingested, enriched).await?;
        let finished = Instant::now();
        Ok(Decided { sequence, arrived, finished, progress, fates, verdicts, results, dead, _permit: permit })
    }

    async fn enrich(
        &self,
        sequence: Sequence,
        received: &Arc<Vec<Received>>,
        ingested: &Arc<Vec<Ingested>>,
    ) -> Result<Arc<Vec<Enriched>>, crate::store::Error> {
        let (enricher, now) = (Arc::clone(&self.enricher), (self.clock)());
        let (received, ingested) = (Arc::clone(received), Arc::clone(ingested));
        let work = move || {
            let batch: Vec<_> = fresh(&received, &ingested).collect();
            let enriched = enricher.enrich(&batch, now);
            let documents = batch.iter().zip(&enriched).flat_map(|(alert, enriched)| documents(alert.0, enriched));
            let documents: Vec<_> = documents.collect();
            (enriched, documents)
        };
        let (enriched, documents) = self.stage(Stage::Enrich, work).await?;
        self.store.complete(sequence, documents).await?;
        Ok(Arc::new(enriched))
    }

    async fn filter(
        &self,
        received: Arc<Vec<Received>>,
        ingested: Arc<Vec<Ingested>>,
        enriched: Arc<Vec<Enriched>>,
    ) -> Result<Filtered, crate::store::Error> {
        let (filters, stats, now) = (Arc::clone(&self.filters), Arc::clone(&self.stats), (self.clock)());
        let work = move || {
            let mut judging = filters.judging();
            let mut filtered = Filtered::default();
            for ((received, ingested), enriched) in fresh(&received, &ingested).zip(enriched.iter()) {
                let judged = filters.judge(received, ingested, enriched, now, &mut judging);
                report(&filters, received, &judged);
                let alert = filtered.alerts;
                filtered.alerts += 1;
                let answers = judged.verdicts.into_iter();
                filtered.verdicts.extend(answers.map(|(filter, verdict)| Answer { alert, filter, verdict }));
                filtered.results.extend(judged.results.into_iter().map(|result| (alert, result)));
            }
            let mut asked = vec![0; filters.list().len()];
            filtered.verdicts.iter().for_each(|answer| asked[answer.filter] += 1);
            stats.record_filters(&judging.spent, &asked);
            filtered
        };
        Ok(self.stage(Stage::Filter, work).await?)
    }

    /// Runs a stage's work on a compute thread and measures it.
    async fn stage<T: Counted + Send + 'static>(
        &self,
        stage: Stage,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let entered = Instant::now();
        let span = tracing::debug_span!("stage", name = stage.name());
        let timed = move || {
            let _entered = span.entered();
            let begun = Instant::now();
            (work(), begun.elapsed())
        };
        let (result, busy) = self.compute.run(timed).await?;
        self.stats.record(stage, result.count(), entered.elapsed(), busy);
        Ok(result)
    }

    /// Takes batches in their order and commits them about ten times a second.
    async fn emit<K: Sink>(
        self: Arc<Self>,
        mut batches: mpsc::Receiver<JoinHandle<Result<Decided, crate::store::Error>>>,
        mut sink: K,
        progress: Progress,
        books: Books,
    ) -> Result<(Books, K), Error<K::Error>> {
        let mut emission = Emission { progress, books, ..Emission::default() };
        let mut open: Vec<Decided> = Vec::new();
        let mut due = tokio::time::Instant::now() + COMMIT_EVERY;
        loop {
            let next = if open.is_empty() {
                Ok(batches.recv().await)
            } else {
                tokio::time::timeout_at(due, batches.recv()).await
            };
            match next {
                Ok(Some(batch)) => {
                    let decided = batch.await.map_err(Panicked::from)??;
                    self.fold(&mut emission, decided, &mut open);
                    // A batch keeps its place until it is committed: half of the places never wait for the time.
                    let room = open.len() * 2 < self.batches_in_flight;
                    if room && tokio::time::Instant::now() < due {
                        continue;
                    }
                }
                Ok(None) if open.is_empty() => return Ok((emission.books, sink)),
                Ok(None) | Err(_) => {}
            }
            let (progress, books) = (emission.progress.clone(), emission.books.clone());
            let full = std::mem::replace(&mut emission, Emission { progress, books, ..Emission::default() });
            sink.commit(full).await.map_err(Error::Sink)?;
            self.committed(&mut open);
            due = tokio::time::Instant::now() + COMMIT_EVERY;
        }
    }

    fn fold(&self, emission: &mut Emission, mut decided: Decided, open: &mut Vec<Decided>) {
        emission.last = decided.sequence;
        for (source, next) in &decided.progress {
            emission.progress.insert(source.to_string(), *next);
        }
        for (survey, source, fate) in &decided.fates {
            emission.books.count(survey, source, *fate);
        }
        let mut void: Vec<(usize, usize)> = Vec::new();
        for Answer { alert, filter: index, verdict } in &decided.verdicts {
            let filter = &self.filters.list()[*index];
            let (books, version) = (&mut emission.books, filter.version());
            if !books.count_verdict(&filter.name, version, *verdict, self.suspend_after) {
                void.push((*alert, *index));
            } else if *verdict == Verdict::Failed && books.suspended(&filter.name, version) {
                let failures = self.suspend_after;
                tracing::error!(filter = %filter.name, "the filter is suspended: it failed on {failures} alerts in a row");
                self.filters.suspend(*index);
            }
        }
        for (alert, mut result) in decided.results.drain(..) {
            result.passed.retain(|passed| {
                !void.iter().any(|(of, filter)| *of == alert && self.filters.list()[*filter].name == passed.name)
            });
            if !result.passed.is_empty() {
                emission.results.push(result);
            }
        }
        emission.dead_letters.extend(decided.dead.iter().cloned());
        open.push(decided);
    }

    fn committed(&self, open: &mut Vec<Decided>) {
        for decided in open.drain(..) {
            let alerts = decided.fates.len();
            self.stats.record(Stage::Emit, alerts, decided.finished.elapsed(), Duration::ZERO);
            self.stats.record(Stage::EndToEnd, alerts, decided.arrived.elapsed(), Duration::ZERO);
            let passed = decided.verdicts.iter().filter(|answer| answer.verdict == Verdict::Passed).count();
            self.stats.committed.fetch_add(alerts as u64, Ordering::Relaxed);
            self.stats.dead.fetch_add(decided.dead.len() as u64, Ordering::Relaxed);
            self.stats.passed.fetch_add(passed as u64, Ordering::Relaxed);
            self.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The alerts of a batch that go on: all but the repeats.
fn fresh<'a>(received: &'a [Received], ingested: &'a [Ingested]) -> impl Iterator<Item = (&'a Received, &'a Ingested)> {
    received.iter().zip(ingested).filter(|(_, ingested)| !matches!(ingested.claim, Claim::Repeat(_)))
}

/// The documents of an alert that is enriched.
fn documents(received: &Received, enriched: &Enriched) -> Vec<(&'static Survey, Complete)> {
    let alert = &received.alert;
    let mut documents = vec![(alert.survey, Complete::Alert(alert.candid, enriched.document.clone()))];
    if alert.cutouts.named().iter().any(|stamp| !stamp.1.is_empty()) {
        let mut bytes = Vec::new();
        alert.cutouts.document(alert.candid, &mut bytes);
        documents.push((alert.survey, Complete::Cutouts(alert.candid, bytes)));
    }
    if enriched.matched_now {
        let matches = Arc::clone(&enriched.matches);
        documents.push((alert.survey, Complete::Matches(alert.object_id.clone(), matches)));
    }
    documents
}

fn report(filters: &Filters, received: &Received, judged: &Judged) {
    for (filter, error) in &judged.failures {
        let name = &filters.list()[*filter].name;
        tracing::warn!(filter = %name, candid = received.alert.candid, "the filter failed on an alert: {error}");
    }
}

/// How many alerts a stage's result is of.
trait Counted {
    fn count(&self) -> usize;
}

impl Counted for Decoded {
    fn count(&self) -> usize {
        self.received.len() + self.dead.len()
    }
}

impl<T> Counted for (Vec<Enriched>, Vec<T>) {
    fn count(&self) -> usize {
        self.0.len()
    }
}

impl Counted for Filtered {
    fn count(&self) -> usize {
        self.alerts
    }
}
