//! One batch, from packets to verdicts.
//!
//! A panic is a defect of the program, and still no more than one alert's dead letter: without that one the batch goes on. An alert that
//! brought a node down would bring down every node that is given its partition after it.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boom_sky::survey::Survey;
use boom_store::documents::{Claim, Complete, Ingested, Sequence};

use super::elsewhere::{Way, elsewhere};
use super::jobs::{Asked, Enrich, Filter, Ingest};
use super::order::{Turn, objects};
use super::{Answer, Decided, Of, Passed, Pipeline, Place};
use crate::books::{Fate, UNKNOWN_SURVEY};
use crate::compute::Panicked;
use crate::handover::job::Job;
use crate::source::Packet;
use crate::stage::enrich::Enriched;
use crate::stage::filter::{Filters, Judged};
use crate::stage::ingest::Decoded;
use crate::stage::record::ResultRecord;
use crate::stage::{DeadLetter, Problem, Received};
use crate::stats::Stage;
use crate::store::{Error, Store};

/// A batch that is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    stream: Arc<str>,
    packets: Arc<Vec<Packet>>,
    pub(crate) received: Arc<Vec<Received>>,
    ingested: Vec<Ingested>,
}

/// What enriching made of the alerts that go on, each in its place.
pub(crate) type AllEnriched = Vec<Result<Enriched, Panicked>>;

/// What the filters made of a batch.
pub(crate) struct Filtered {
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
        (of, packets): (Of<S>, Vec<Packet>),
        turn: Turn,
        place: Place,
    ) -> Result<Decided, Error> {
        let arrived = Instant::now();
        let Of { stream, replay } = of;
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
        let ingest = Ingest { decoder: Arc::clone(&self.decoder), packets: Arc::clone(&packets) };
        let Decoded { received, mut dead } = self.stage(&stream, ingest).await?;
        let received = Arc::new(received);

        let waiting = Instant::now();
        let storing = turn.come(S::ORDER, sequence, objects(&received)).await?;
        let ingested = store.ingest(sequence, Arc::clone(&received)).await?;
        storing.done();
        self.stats.record(Stage::Store, received.len(), waiting.elapsed(), Duration::ZERO);

        let stored = Arc::new(Stored { stream, packets, received, ingested });
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

    async fn enrich(&self, sequence: Sequence, stored: &Arc<Stored>, store: &S) -> Result<Arc<AllEnriched>, Error> {
        let (enricher, now) = (Arc::clone(&self.enricher), (self.clock)());
        let job = Enrich { enricher, stored: Arc::clone(stored), now };
        let (enriched, documents) = self.stage(&stored.stream, job).await?;
        store.complete(sequence, documents).await?;
        Ok(enriched)
    }

    async fn filter(&self, stored: Arc<Stored>, enriched: Arc<AllEnriched>) -> Result<Filtered, Error> {
        let (filters, stats, now) = (self.filters.borrow().clone(), Arc::clone(&self.stats), (self.clock)());
        let stream = Arc::clone(&stored.stream);
        Ok(self.stage(&stream, Filter { filters, stored, enriched, now, stats }).await?)
    }

    /// Does a stage's work on a batch of a stream and measures it: on a compute thread, when its pool has a place, or on another node.
    async fn stage<J: Job>(&self, stream: &Arc<str>, job: J) -> Result<J::Output, Panicked> {
        let entered = Instant::now();
        let (alerts, pool) = (job.alerts(), self.pools.of(J::STAGE));
        let place = match &self.owner {
            None => pool.enter(stream, alerts).await,
            Some(owner) => match elsewhere((owner, &self.compute), pool, (stream, entered), &job).await? {
                Way::Here(place) => place,
                Way::Done(output) => {
                    owner.given(J::STAGE, alerts);
                    self.stats.record(J::STAGE.into(), alerts, entered.elapsed(), Duration::ZERO);
                    return Ok(output);
                }
            },
        };
        let span = tracing::debug_span!("stage", name = %J::STAGE);
        let timed = move || {
            let _entered = span.entered();
            let begun = Instant::now();
            (job.run(), begun.elapsed())
        };
        let (result, busy) = self.compute.run(timed).await?;
        drop(place);
        self.stats.record(J::STAGE.into(), alerts, entered.elapsed(), busy);
        Ok(result)
    }
}

impl Stored {
    /// The alerts that go on, with their places: all but the repeats.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = (usize, &Received, &Ingested)> {
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

/// The documents of the alerts that are enriched.
pub(super) fn documents(stored: &Stored, enriched: &AllEnriched) -> Vec<(&'static Survey, Complete)> {
    let made = stored.fresh().zip(enriched).filter_map(|(alert, enriched)| Some((alert.1, enriched.as_ref().ok()?)));
    made.flat_map(|(received, enriched)| documents_of(received, enriched)).collect()
}

fn documents_of(received: &Received, enriched: &Enriched) -> Vec<(&'static Survey, Complete)> {
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

/// What the filters said of a batch, with what becomes of the alerts of which they could say nothing.
pub(super) fn gather(of: &Filter, asked: Asked) -> Filtered {
    let Filter { filters, stored, enriched, stats, .. } = of;
    let (sources, verdicts, results, fallen) = Default::default();
    let mut filtered = Filtered { filters: Arc::clone(filters), sources, verdicts, results, fallen };
    let mut all_judged = asked.judged.into_iter();
    for ((at, received, _), enriched) in stored.fresh().zip(&**enriched) {
        if let Err(why) = enriched {
            filtered.fallen.push(stored.fallen(at, "enrich", "defect", why));
            continue;
        }
        let judged = match all_judged.next().expect("every alert that is enriched is judged") {
            Ok(judged) => judged,
            Err(why) => {
                filtered.fallen.push(stored.fallen(at, "filter", "defect", &why));
                continue;
            }
        };
        if let Some(why) = judged.results.iter().find_map(ResultRecord::too_large) {
            filtered.fallen.push(stored.fallen(at, "filter", "result_too_large", &why));
            continue;
        }
        report(filters, received, &judged);
        let alert = filtered.sources.len();
        filtered.sources.push(Arc::clone(&received.origin.source));
        let answers = judged.verdicts.into_iter();
        filtered.verdicts.extend(answers.map(|(filter, verdict)| Answer { alert, filter, verdict }));
        filtered.results.extend(judged.results.into_iter().map(|result| (alert, result)));
    }
    let mut times = vec![0; filters.list().len()];
    filtered.verdicts.iter().for_each(|answer| times[answer.filter] += 1);
    stats.record_filters(filters, &asked.spent, &times);
    filtered
}

fn report(filters: &Filters, received: &Received, judged: &Judged) {
    for (filter, error) in &judged.failures {
        let name = &filters.list()[*filter].name;
        tracing::warn!(filter = %name, candid = received.alert.candid, "the filter failed on an alert: {error}");
    }
}
