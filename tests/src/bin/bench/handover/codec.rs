//! Making and reading tasks and answers, and the work itself, each alone on this thread, by its CPU time: with the same messages and
//! conversions as a pipeline and a worker, on alerts as they came out of one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use boom_node::handover::wire::{self, Parts};
use boom_node::stage::Received;
use boom_node::stage::enrich::{Enriched, Enricher};
use boom_node::stage::filter::{Filters, Judged, Judging, Said};
use boom_proto::v1::{self, answer, enriched, filter_work, task};
use boom_sky::alert::Alert;
use boom_sky::schema::Decoder;
use boom_store::documents::Ingested;
use prost::Message as _;
use rustix::time::{ClockId, clock_gettime};

/// Everything is measured so many times, and the first time does not count.
const ROUNDS: u32 = 4;

/// The time of documents, JD.
const NOW: f64 = 2_460_000.5;

/// µs of CPU an alert.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// What the worker does instead of the owner.
    pub(super) work: f64,
    pub(super) make_task: f64,
    pub(super) read_task: f64,
    pub(super) make_answer: f64,
    pub(super) read_answer: f64,
}

/// An alert as its owner has it.
type Owned = (Received, Ingested, Enriched);

/// Batches of alerts as their owner has them, with their packets.
#[derive(Debug)]
pub(super) struct Alerts {
    decoder: Decoder,
    batches: Vec<(Vec<Vec<u8>>, Vec<Owned>)>,
}

/// CPU time of this thread.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Does something and adds the µs that it took.
fn timed<T>(micros: &mut f64, work: impl FnOnce() -> T) -> T {
    let begun = now();
    let done = work();
    *micros += now().saturating_sub(begun).as_secs_f64() * 1e6;
    done
}

fn sent(work: task::Work) -> Vec<u8> {
    v1::Task { owner: "owner:1".to_owned(), work: Some(work), ..Default::default() }.encode_to_vec()
}

fn answered(outcome: answer::Outcome) -> Vec<u8> {
    v1::Answer { worker: "worker".to_owned(), outcome: Some(outcome), ..Default::default() }.encode_to_vec()
}

fn work_of(task: &[u8]) -> anyhow::Result<task::Work> {
    v1::Task::decode(task)?.work.context("a task is without work")
}

fn outcome_of(answer: &[u8]) -> anyhow::Result<answer::Outcome> {
    v1::Answer::decode(answer)?.outcome.context("an answer is without outcome")
}

impl Alerts {
    /// The alerts of tasks of the stage filter, which hold all but the stamps; those are in the packets.
    pub(super) fn of(tasks: &[Vec<u8>], packets: &[Vec<u8>]) -> anyhow::Result<Self> {
        let decoder = Decoder::new(None, HashMap::new(), String::new(), 16 << 20);
        let mut of_candid = HashMap::new();
        for packet in packets {
            for alert in decoder.decode(packet).into_iter().flatten() {
                of_candid.insert(alert.candid, (packet, alert));
            }
        }
        let mut batches = Vec::new();
        for task in tasks {
            let task::Work::Filter(work) = work_of(task)? else { continue };
            let mut batch = (Vec::new(), Vec::new());
            for judged in work.alerts {
                let (mut received, ingested, enriched) = judged_alert(judged)?;
                let (packet, alert) = of_candid.remove(&received.alert.candid).context("an alert is of no packet")?;
                received.alert = alert;
                batch.0.push(packet.clone());
                batch.1.push((received, ingested, enriched));
            }
            batches.push(batch);
        }
        Ok(Self { decoder, batches })
    }

    /// Measures all batches, some times.
    fn measure(
        &self,
        mut one: impl FnMut(&[Vec<u8>], &[Owned], &mut Cost) -> anyhow::Result<()>,
    ) -> anyhow::Result<Cost> {
        let mut cost = Cost::default();
        for round in 0..ROUNDS {
            if round == 1 {
                cost = Cost::default();
            }
            for (packets, alerts) in &self.batches {
                one(packets, alerts, &mut cost)?;
            }
        }
        let alerts: usize = self.batches.iter().map(|batch| batch.1.len()).sum();
        let all = (alerts.max(1) * (ROUNDS - 1) as usize) as f64;
        let Cost { work, make_task, read_task, make_answer, read_answer } = cost;
        let [work, make_task, read_task, make_answer, read_answer] =
            [work, make_task, read_task, make_answer, read_answer].map(|micros| micros / all);
        Ok(Cost { work, make_task, read_task, make_answer, read_answer })
    }

    /// Packets to alerts.
    pub(super) fn ingest(&self) -> anyhow::Result<Cost> {
        self.measure(|packets, _, cost| {
            let task =
                timed(&mut cost.make_task, || sent(task::Work::Ingest(v1::IngestWork { packets: packets.to_vec() })));
            let work = timed(&mut cost.read_task, || work_of(&task))?;
            let task::Work::Ingest(v1::IngestWork { packets }) = work else { anyhow::bail!("another task") };
            let alerts: Vec<Vec<_>> =
                timed(&mut cost.work, || packets.iter().map(|packet| self.decoder.decode(packet)).collect());
            let answer = timed(&mut cost.make_answer, || {
                let decoded = |alerts: Vec<Result<Alert, _>>| v1::ingested::Decoded {
                    alerts: alerts.into_iter().flatten().map(|alert| wire::alert(&alert, true, true)).collect(),
                };
                answered(answer::Outcome::Ingest(v1::Ingested { packets: alerts.into_iter().map(decoded).collect() }))
            });
            let read = timed(&mut cost.read_answer, || {
                let answer::Outcome::Ingest(v1::Ingested { packets }) = outcome_of(&answer)? else { return Ok(None) };
                let alerts = packets.into_iter().flat_map(|decoded| decoded.alerts).map(wire::to_alert);
                anyhow::Ok(alerts.collect::<Option<Vec<_>>>())
            })?;
            read.map(drop).context("an answer can not be read")
        })
    }

    /// Alerts to documents and scores.
    pub(super) fn enrich(&self, enricher: &Enricher) -> anyhow::Result<Cost> {
        self.measure(|_, alerts, cost| {
            let task = timed(&mut cost.make_task, || {
                let stored = |(received, ingested, _): &Owned| {
                    let cutouts = enricher.wants_cutouts(received.alert.survey);
                    wire::stored(received, ingested, Parts { cutouts, points: false })
                };
                sent(task::Work::Enrich(v1::EnrichWork { alerts: alerts.iter().map(stored).collect(), now: NOW }))
            });
            let alerts = timed(&mut cost.read_task, || {
                let task::Work::Enrich(work) = work_of(&task)? else { return Ok(None) };
                anyhow::Ok(work.alerts.into_iter().map(wire::to_stored).collect::<Option<Vec<_>>>())
            })?;
            let alerts = alerts.context("a task can not be read")?;
            let batch: Vec<_> = alerts.iter().map(|(received, ingested)| (received, ingested)).collect();
            let made = timed(&mut cost.work, || enricher.enrich(&batch, NOW));
            let answer = timed(&mut cost.make_answer, || {
                let outcome = |made: Enriched| enriched::Outcome {
                    outcome: Some(enriched::outcome::Outcome::Enriched(wire::enriched(&made))),
                };
                answered(answer::Outcome::Enrich(v1::Enriched { alerts: made.into_iter().map(outcome).collect() }))
            });
            let read = timed(&mut cost.read_answer, || {
                let answer::Outcome::Enrich(v1::Enriched { alerts }) = outcome_of(&answer)? else { return Ok(None) };
                let read = |outcome: enriched::Outcome| match outcome.outcome? {
                    enriched::outcome::Outcome::Enriched(made) => wire::to_enriched(made),
                    enriched::outcome::Outcome::Panicked(_) => None,
                };
                anyhow::Ok(alerts.into_iter().map(read).collect::<Option<Vec<_>>>())
            })?;
            read.map(drop).context("an answer can not be read")
        })
    }

    /// What filters say. Putting results together stays with the owner, so it is no part of the work.
    pub(super) fn filter(&self, filters: &Arc<Filters>) -> anyhow::Result<Cost> {
        self.measure(|_, alerts, cost| {
            let task = timed(&mut cost.make_task, || {
                let judged = |(received, ingested, made): &Owned| filter_work::JudgedAlert {
                    stored: Some(wire::stored(received, ingested, Parts { cutouts: false, points: true })),
                    enriched: Some(wire::enriched(made)),
                };
                sent(task::Work::Filter(v1::FilterWork { alerts: alerts.iter().map(judged).collect(), now: NOW }))
            });
            let there: Vec<Owned> = timed(&mut cost.read_task, || {
                let task::Work::Filter(work) = work_of(&task)? else { anyhow::bail!("another task") };
                work.alerts.into_iter().map(judged_alert).collect()
            })?;
            let judged: Vec<Judged> = timed(&mut cost.work, || {
                let mut judging = filters.judging();
                there.iter().map(|(a, b, c)| filters.judge(a, b, c, NOW, &mut judging)).collect()
            });
            let answer = timed(&mut cost.make_answer, || {
                let filtered = v1::Filtered {
                    filters: filters.list().iter().map(|filter| filter.name.to_string()).collect(),
                    alerts: judged.into_iter().map(|judged| wire::said(filters.said(judged))).collect(),
                    spent_us: vec![1; filters.list().len()],
                };
                answered(answer::Outcome::Filter(filtered))
            });
            let said = timed(&mut cost.read_answer, || {
                let answer::Outcome::Filter(v1::Filtered { alerts, .. }) = outcome_of(&answer)? else {
                    return Ok(None);
                };
                let places: Vec<usize> = (0..filters.list().len()).collect();
                let said = alerts.into_iter().map(|alert| wire::to_said(alert, &places));
                anyhow::Ok(said.collect::<Option<Vec<_>>>())
            })?;
            let mut stays = 0.0;
            timed(&mut stays, || results(filters, alerts, said.unwrap_or_default(), &mut filters.judging()));
            cost.work -= stays;
            Ok(())
        })
    }
}

fn judged_alert(judged: filter_work::JudgedAlert) -> anyhow::Result<Owned> {
    let read = || {
        let (received, ingested) = wire::to_stored(judged.stored?)?;
        Some((received, ingested, wire::to_enriched(judged.enriched?)?))
    };
    read().context("a task can not be read")
}

fn results(filters: &Filters, alerts: &[Owned], said: Vec<Said>, judging: &mut Judging) -> Vec<Judged> {
    let all = alerts.iter().zip(said);
    all.map(|((received, ingested, made), said)| filters.judged(received, ingested, made, (said, NOW), judging))
        .collect()
}
