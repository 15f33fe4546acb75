//! The work of the stages on a batch: what each does here, what of it travels when another node does it, and what a worker makes of that.

use std::sync::Arc;
use std::time::Duration;

use boom_plan::quota;
use boom_proto::v1::{self, answer, enriched, task};
use boom_sky::schema::Decoder;
use boom_sky::survey::Survey;
use boom_store::documents::{Complete, Ingested};

use super::batch::{AllEnriched, Filtered, Stored, documents, gather};
use crate::compute::{Panicked, one_by_one, unpanicked};
use crate::handover::job::{Job, Versions, program};
use crate::handover::wire::{self, Parts};
use crate::source::Packet;
use crate::stage::Received;
use crate::stage::enrich::{Enriched, Enricher};
use crate::stage::filter::{Filters, Judged};
use crate::stage::ingest::{Decoded, decode, received};
use crate::stats::Stats;

/// Packets to alerts.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) packets: Arc<Vec<Packet>>,
}

/// Alerts to their documents and scores.
#[derive(Debug, Clone)]
pub(crate) struct Enrich {
    pub(crate) enricher: Arc<Enricher>,
    pub(crate) stored: Arc<Stored>,
    pub(crate) now: f64,
}

/// What filters say of alerts.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) filters: Arc<Filters>,
    pub(crate) stored: Arc<Stored>,
    pub(crate) enriched: Arc<AllEnriched>,
    pub(crate) now: f64,
    pub(crate) stats: Arc<Stats>,
}

/// What filters said of the alerts that could be enriched, each in its place, and the time that each filter took.
pub(crate) struct Asked {
    pub(crate) judged: Vec<Result<Judged, Panicked>>,
    pub(crate) spent: Vec<Duration>,
}

impl Job for Ingest {
    type Output = Decoded;

    const STAGE: quota::Stage = quota::Stage::Ingest;

    fn alerts(&self) -> usize {
        self.packets.len()
    }

    fn run(&self) -> Decoded {
        decode(&self.decoder, &self.packets)
    }

    fn versions(&self) -> Versions {
        program()
    }

    fn work(&self) -> Option<task::Work> {
        let packets = self.packets.iter();
        let packets = packets.map(|packet| if packet.fault.is_none() { packet.bytes.clone() } else { Vec::new() });
        Some(task::Work::Ingest(v1::IngestWork { packets: packets.collect() }))
    }

    /// Of a packet that gave no alert the reason is looked for here.
    fn read(&self, outcome: answer::Outcome) -> Option<Decoded> {
        let answer::Outcome::Ingest(v1::Ingested { packets }) = outcome else { return None };
        let mut all = Decoded::default();
        if packets.len() != self.packets.len() {
            return None;
        }
        for (packet, decoded) in self.packets.iter().zip(packets) {
            if decoded.alerts.is_empty() {
                let Decoded { received, dead } = decode(&self.decoder, std::slice::from_ref(packet));
                all.received.extend(received);
                all.dead.extend(dead);
                continue;
            }
            for (record, alert) in (0..).zip(decoded.alerts) {
                all.received.push(received(packet, record, wire::to_alert(alert)?));
            }
        }
        Some(all)
    }
}

/// What a worker makes of packets.
pub(crate) fn ingest(decoder: &Decoder, work: v1::IngestWork) -> v1::Ingested {
    let decoded = |packet: &Vec<u8>| {
        let alerts = unpanicked(|| decoder.decode(packet)).unwrap_or_default();
        let alerts = alerts.into_iter().map(|alert| Some(wire::alert(&alert.ok()?, true, true)));
        v1::ingested::Decoded { alerts: alerts.collect::<Option<_>>().unwrap_or_default() }
    };
    v1::Ingested { packets: work.packets.iter().map(decoded).collect() }
}

impl Enrich {
    /// With the documents that are to be stored.
    fn complete(&self, enriched: AllEnriched) -> <Self as Job>::Output {
        let documents = documents(&self.stored, &enriched);
        (Arc::new(enriched), documents)
    }
}

impl Job for Enrich {
    type Output = (Arc<AllEnriched>, Vec<(&'static Survey, Complete)>);

    const STAGE: quota::Stage = quota::Stage::Enrich;

    fn alerts(&self) -> usize {
        self.stored.received.len()
    }

    fn run(&self) -> Self::Output {
        let batch: Vec<_> = self.stored.fresh().map(|(_, received, ingested)| (received, ingested)).collect();
        self.complete(enrich_all(&self.enricher, &batch, self.now))
    }

    fn versions(&self) -> Versions {
        enriches(&self.enricher)
    }

    fn work(&self) -> Option<task::Work> {
        let parts =
            |received: &Received| Parts { cutouts: self.enricher.wants_cutouts(received.alert.survey), points: false };
        let alerts =
            self.stored.fresh().map(|(_, received, ingested)| wire::stored(received, ingested, parts(received)));
        let alerts: Vec<_> = alerts.collect();
        (!alerts.is_empty()).then_some(task::Work::Enrich(v1::EnrichWork { alerts, now: self.now }))
    }

    fn read(&self, outcome: answer::Outcome) -> Option<Self::Output> {
        let answer::Outcome::Enrich(v1::Enriched { alerts }) = outcome else { return None };
        let one = |outcome: enriched::Outcome| {
            Some(match outcome.outcome? {
                enriched::outcome::Outcome::Enriched(enriched) => Ok(wire::to_enriched(enriched)?),
                enriched::outcome::Outcome::Panicked(why) => Err(Panicked::from(&*why)),
            })
        };
        let all: AllEnriched = alerts.into_iter().map(one).collect::<Option<_>>()?;
        (all.len() == self.stored.fresh().count()).then(|| self.complete(all))
    }
}

/// What enriching needs.
pub(crate) fn enriches(enricher: &Enricher) -> Versions {
    let mut versions = program();
    versions.extend(enricher.versions());
    versions
}

fn enrich_all(enricher: &Enricher, batch: &[(&Received, &Ingested)], now: f64) -> AllEnriched {
    one_by_one(batch, |some| enricher.enrich(some, now))
}

/// What a worker makes of alerts; none where they can not be read.
pub(crate) fn enrich(enricher: &Enricher, work: v1::EnrichWork) -> Option<v1::Enriched> {
    let alerts: Vec<_> = work.alerts.into_iter().map(wire::to_stored).collect::<Option<_>>()?;
    let batch: Vec<_> = alerts.iter().map(|(received, ingested)| (received, ingested)).collect();
    let outcome = |enriched: Result<Enriched, Panicked>| {
        let outcome = match enriched {
            Ok(enriched) => enriched::outcome::Outcome::Enriched(wire::enriched(&enriched)),
            Err(why) => enriched::outcome::Outcome::Panicked(why.what().to_owned()),
        };
        enriched::Outcome { outcome: Some(outcome) }
    };
    Some(v1::Enriched { alerts: enrich_all(enricher, &batch, work.now).into_iter().map(outcome).collect() })
}

impl Filter {
    /// The alerts that could be enriched.
    fn enriched(&self) -> impl Iterator<Item = (&Received, &Ingested, &Enriched)> {
        let all = self.stored.fresh().zip(&*self.enriched);
        all.filter_map(|((_, received, ingested), enriched)| Some((received, ingested, enriched.as_ref().ok()?)))
    }
}

impl Job for Filter {
    type Output = Filtered;

    const STAGE: quota::Stage = quota::Stage::Filter;

    fn alerts(&self) -> usize {
        self.stored.received.len()
    }

    fn run(&self) -> Filtered {
        gather(self, ask(&self.filters, self.enriched(), self.now))
    }

    fn versions(&self) -> Versions {
        filters(&self.filters)
    }

    fn work(&self) -> Option<task::Work> {
        let parts = Parts { cutouts: false, points: true };
        let judged = |(received, ingested, enriched)| v1::filter_work::JudgedAlert {
            stored: Some(wire::stored(received, ingested, parts)),
            enriched: Some(wire::enriched(enriched)),
        };
        let alerts: Vec<_> = self.enriched().map(judged).collect();
        (!alerts.is_empty()).then_some(task::Work::Filter(v1::FilterWork { alerts, now: self.now }))
    }

    /// What passes is put together here, where the cutouts are.
    fn read(&self, outcome: answer::Outcome) -> Option<Filtered> {
        let answer::Outcome::Filter(v1::Filtered { filters: names, alerts, spent_us }) = outcome else { return None };
        let place = |name: &String| self.filters.list().iter().position(|filter| *filter.name == **name);
        let places: Vec<usize> = names.iter().map(place).collect::<Option<_>>()?;
        let mut judging = self.filters.judging();
        for (place, spent) in places.iter().zip(spent_us) {
            judging.spent[*place] = Duration::from_micros(spent);
        }
        let mut judged = Vec::with_capacity(alerts.len());
        if alerts.len() != self.enriched().count() {
            return None;
        }
        for ((received, ingested, enriched), outcome) in self.enriched().zip(alerts) {
            judged.push(match outcome.panicked {
                Some(why) => Err(Panicked::from(&*why)),
                None => {
                    let said = wire::to_said(outcome, &places)?;
                    Ok(self.filters.judged(received, ingested, enriched, (said, self.now), &mut judging))
                }
            });
        }
        Some(gather(self, Asked { judged, spent: judging.spent }))
    }
}

/// What the filters need.
pub(crate) fn filters(filters: &Filters) -> Versions {
    let mut versions = program();
    versions.extend(filters.versions());
    versions
}

/// Asks the filters about alerts. A panic is one alert's.
fn ask<'a>(
    filters: &Filters,
    alerts: impl Iterator<Item = (&'a Received, &'a Ingested, &'a Enriched)>,
    now: f64,
) -> Asked {
    let mut judging = filters.judging();
    let mut spent = vec![Duration::ZERO; judging.spent.len()];
    let mut judged = Vec::new();
    for (received, ingested, enriched) in alerts {
        let one = unpanicked(|| filters.judge(received, ingested, enriched, now, &mut judging));
        if one.is_err() {
            spent.iter_mut().zip(&judging.spent).for_each(|(spent, more)| *spent += *more);
            judging = filters.judging();
        }
        judged.push(one);
    }
    spent.iter_mut().zip(&judging.spent).for_each(|(spent, more)| *spent += *more);
    Asked { judged, spent }
}

/// What a worker's filters say of alerts; none where they can not be read.
pub(crate) fn filter(filters: &Filters, work: v1::FilterWork) -> Option<v1::Filtered> {
    let alert = |alert: v1::filter_work::JudgedAlert| {
        let (received, ingested) = wire::to_stored(alert.stored?)?;
        Some((received, ingested, wire::to_enriched(alert.enriched?)?))
    };
    let alerts: Vec<_> = work.alerts.into_iter().map(alert).collect::<Option<_>>()?;
    let Asked { judged, spent } = ask(filters, alerts.iter().map(|(a, b, c)| (a, b, c)), work.now);
    let outcome = |judged: Result<Judged, Panicked>| match judged {
        Ok(judged) => wire::said(filters.said(judged)),
        Err(why) => v1::filtered::Outcome { panicked: Some(why.what().to_owned()), ..Default::default() },
    };
    Some(v1::Filtered {
        filters: filters.list().iter().map(|filter| filter.name.to_string()).collect(),
        alerts: judged.into_iter().map(outcome).collect(),
        spent_us: spent.iter().map(|spent| u64::try_from(spent.as_micros()).unwrap_or(u64::MAX)).collect(),
    })
}
