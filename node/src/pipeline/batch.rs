//! One batch, from packets to verdicts.
//!
//! A panic is a defect of the program, and still no more than one alert's dead letter: without that one the batch goes on. An alert that
//! brought a node down would bring down every node that is given its partition after it.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boom_plan::quota;
use boom_sky::survey::Survey;
use boom_store::documents::{Claim, Complete, Ingested, Sequence};

use super::order::{Turn, objects};
use super::replays::Replay;
use super::{Answer, Decided, Passed, Pipeline, Place};
use crate::books::{Fate, UNKNOWN_SURVEY};
use crate::compute::{Panicked, one_by_one, unpanicked};
use crate::source::Packet;
use crate::stage::enrich::{Enriched, Enricher};
use crate::stage::filter::{Filters, Judged};
use crate::stage::ingest::{Decoded, decode};
use crate::stage::record::ResultRecord;
use crate::stage::{DeadLetter, Problem, Received};
use crate::stats::{Stage, Stats};
use crate::store::{Error, Store};

/// A batch that is stored.
struct Stored {
    packets: Arc<Vec<Packet>>,
    received: Arc<Vec<Received>>,
    ingested: Vec<Ingested>,
}

/// What enriching made of the alerts that go on, each in its place.
type AllEnriched = Vec<Result<Enriched, Panicked>>;

/// What the filters made of a batch.
struct Filtered {
    filters: Arc<Filters>,
    sources: Vec<Arc<str>>,
    verdicts: Vec<Answer>,
    results: Vec<(usize, ResultRecord)>,
    /// Places of the alerts that a stage could not take on.
    fallen: Vec<(usize, DeadLetter)>,
}

impl<S: Store> Pipeline<S> {
    /// One batch, from packets to verdicts.
    pub(super) async fn batch(
        self: Arc<Self>,
        sequence: Sequence,
        (replay, packets): (Option<Replay<S>>, Vec<Packet>),
        turn: Turn,
        place: Place,
    ) -> Result<Decided, Error> {
        let arrived = Instant::now();
        let (replay, store) = replay.map(|replay| (replay.name, replay.store)).unzip();
        let store = store.as_deref().unwrap_or(&self.store);
        let passed = packets.iter().map(|packet| Passed {
            source: Arc::clone(&packet.source),
            next: packet.offset + 1,
            timestamp: packet.timestamp,
        });
        let passed = passed.collect();
        if let Some(schemas) = &self.schemas {
            schemas.prepare(packets.iter().map(|packet| packet.bytes.as_slice())).await;
        }
        let packets = Arc::new(packets);
        let (decoder, of) = (Arc::clone(&self.decoder), Arc::clone(&packets));
        let Decoded { received, mut dead } =
            self.stage(quota::Stage::Ingest, packets.len(), move || decode(&decoder, &of)).await?;
        let received = Arc::new(received);

        let waiting = Instant::now();
        let storing = turn.come(S::ORDER, sequence, objects(&received)).await?;
        let ingested = store.ingest(sequence, Arc::clone(&received)).await?;
        storing.done();
        self.stats.record(Stage::Store, received.len(), waiting.elapsed(), Duration::ZERO);

        let stored = Arc::new(Stored { packets, received, ingested });
        let enriched = self.enrich(sequence, &stored, store).await?;
        let Filtered { filters, sources, verdicts, results, fallen } =
            self.filter(Arc::clone(&stored), enriched).await?;
        let without: HashSet<usize> = fallen.iter().map(|(at, _)| *at).collect();
        dead.extend(fallen.into_iter().map(|(_, dead)| dead));
        let fates = dead.iter().map(died).chain(stored.fates(&without)).collect();
        let (finished, _place) = (Instant::now(), place);
        #[rustfmt::skip]
        let decided = Decided { sequence, replay, arrived, finished, passed, fates, filters, sources, verdicts, results, dead, _place };
        Ok(decided)
    }

    async fn enrich(&self, sequence: Sequence, stored: &Arc<Stored>, store: &S) -> Result<AllEnriched, Error> {
        let (enricher, now) = (Arc::clone(&self.enricher), (self.clock)());
        let of = Arc::clone(stored);
        let work = move || enrich(&enricher, &of, now);
        let (enriched, documents) = self.stage(quota::Stage::Enrich, stored.received.len(), work).await?;
        store.complete(sequence, documents).await?;
        Ok(enriched)
    }

    async fn filter(&self, stored: Arc<Stored>, enriched: AllEnriched) -> Result<Filtered, Error> {
        let (filters, stats, now) = (self.filters.borrow().clone(), Arc::clone(&self.stats), (self.clock)());
        let alerts = stored.received.len();
        let work = move || filter(filters, &stored, enriched, now, &stats);
        Ok(self.stage(quota::Stage::Filter, alerts, work).await?)
    }

    /// Runs a stage's work on so many alerts on a compute thread, when its pool has a place, and measures it.
    async fn stage<T: Send + 'static>(
        &self,
        stage: quota::Stage,
        alerts: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let entered = Instant::now();
        let span = tracing::debug_span!("stage", name = %stage);
        let timed = move || {
            let _entered = span.entered();
            let begun = Instant::now();
            (work(), begun.elapsed())
        };
        let _place = self.pools.of(stage).enter(alerts).await;
        let (result, busy) = self.compute.run(timed).await?;
        self.stats.record(stage.into(), alerts, entered.elapsed(), busy);
        Ok(result)
    }
}

impl Stored {
    /// The alerts that go on, with their places: all but the repeats.
    fn fresh(&self) -> impl Iterator<Item = (usize, &Received, &Ingested)> {
        let all = self.received.iter().zip(&self.ingested).enumerate();
        all.filter(|(_, (_, ingested))| !is_repeat(ingested)).map(|(at, (received, ingested))| (at, received, ingested))
    }

    /// What became of the alerts, without those.
    fn fates(&self, without: &HashSet<usize>) -> impl Iterator<Item = (&'static str, Arc<str>, Fate)> {
        let all = self.received.iter().zip(&self.ingested).enumerate();
        all.filter(|(at, _)| !without.contains(at)).map(|(_, (received, ingested))| {
            let fate = if is_repeat(ingested) { Fate::Repeated } else { Fate::Decided };
            (received.alert.survey.name, Arc::clone(&received.origin.source), fate)
        })
    }

    /// The dead letter of an alert that is stored and that a later stage can not take on.
    fn fallen(&self, at: usize, stage: &'static str, reason: &'static str, why: &dyn Display) -> (usize, DeadLetter) {
        let Received { alert, origin, .. } = &self.received[at];
        let came = |packet: &&Packet| packet.source == origin.source && packet.offset == origin.offset;
        let packet = self.packets.iter().find(came).expect("an alert is of a packet of its batch");
        let candid = alert.candid;
        tracing::error!(candid, packet = %packet.name, stage, reason, "the alert is a dead letter: {why}");
        let problem = Problem::of(&packet.name, stage, reason, why);
        (at, DeadLetter::new(packet, origin.record, Some(alert.survey.name), problem))
    }
}

fn is_repeat(ingested: &Ingested) -> bool {
    matches!(ingested.claim, Claim::Repeat(_))
}

fn died(dead: &DeadLetter) -> (&'static str, Arc<str>, Fate) {
    let survey = dead.survey.unwrap_or(UNKNOWN_SURVEY);
    (survey, Arc::clone(&dead.origin.source), Fate::DeadLettered(dead.reason))
}

fn enrich(enricher: &Enricher, stored: &Stored, now: f64) -> (AllEnriched, Vec<(&'static Survey, Complete)>) {
    let batch: Vec<_> = stored.fresh().map(|(_, received, ingested)| (received, ingested)).collect();
    let enriched = one_by_one(&batch, |some| enricher.enrich(some, now));
    let made = batch.iter().zip(&enriched).filter_map(|(alert, enriched)| Some((alert.0, enriched.as_ref().ok()?)));
    let documents = made.flat_map(|(received, enriched)| documents(received, enriched)).collect();
    (enriched, documents)
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

fn filter(filters: Arc<Filters>, stored: &Stored, enriched: AllEnriched, now: f64, stats: &Stats) -> Filtered {
    let mut judging = filters.judging();
    let (sources, verdicts, results, fallen) = Default::default();
    let mut filtered = Filtered { filters: Arc::clone(&filters), sources, verdicts, results, fallen };
    for ((at, received, ingested), enriched) in stored.fresh().zip(enriched) {
        let enriched = match enriched {
            Ok(enriched) => enriched,
            Err(why) => {
                filtered.fallen.push(stored.fallen(at, "enrich", "defect", &why));
                continue;
            }
        };
        let judged = match unpanicked(|| filters.judge(received, ingested, &enriched, now, &mut judging)) {
            Ok(judged) => judged,
            Err(why) => {
                judging = filters.judging();
                filtered.fallen.push(stored.fallen(at, "filter", "defect", &why));
                continue;
            }
        };
        if let Some(why) = judged.results.iter().find_map(ResultRecord::too_large) {
            filtered.fallen.push(stored.fallen(at, "filter", "result_too_large", &why));
            continue;
        }
        report(&filters, received, &judged);
        let alert = filtered.sources.len();
        filtered.sources.push(Arc::clone(&received.origin.source));
        let answers = judged.verdicts.into_iter();
        filtered.verdicts.extend(answers.map(|(filter, verdict)| Answer { alert, filter, verdict }));
        filtered.results.extend(judged.results.into_iter().map(|result| (alert, result)));
    }
    let mut asked = vec![0; filters.list().len()];
    filtered.verdicts.iter().for_each(|answer| asked[answer.filter] += 1);
    stats.record_filters(&filters, &judging.spent, &asked);
    filtered
}

fn report(filters: &Filters, received: &Received, judged: &Judged) {
    for (filter, error) in &judged.failures {
        let name = &filters.list()[*filter].name;
        tracing::warn!(filter = %name, candid = received.alert.candid, "the filter failed on an alert: {error}");
    }
}
