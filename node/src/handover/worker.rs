//! A worker's end: takes tasks of other nodes when a pool of its own has a place to spare, does them on the compute threads, and answers. It
//! has no other effect. Work of its own node goes first: what a pool waits for is never taken on top.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use boom_plan::id::Term;
use boom_plan::quota::Stage;
use boom_proto::v1::{self, answer, task};
use boom_sky::schema::Decoder;
use prost::Message as _;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::job::{Versions, lacks, program, queue};
use super::{HandOver, MAX_BYTES, TAKEN_AT_MOST, Taken};
use crate::compute::{Compute, unpanicked};
use crate::pipeline::{Pools, jobs};
use crate::schemas::Schemas;
use crate::stage::enrich::Enricher;
use crate::stage::filter::Filters;
use crate::stats::Stats;

/// A pool without a place to spare is looked at again after so long.
const BUSY: Duration = Duration::from_millis(25);

/// How long a task is waited for at once: as long, at most, a batch of its own node may find a task before it.
const PATIENCE: Duration = Duration::from_millis(400);

/// After a failure nothing is asked for so long.
const REST: Duration = Duration::from_secs(1);

/// The name of all streams whose batches are of other nodes, for the pools.
const OTHERS: &str = "(others)";

/// What a worker does tasks with.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Where tasks come from.
    pub port: Arc<dyn HandOver>,
    /// The name of the node.
    pub node: String,
    /// Packets to alerts.
    pub decoder: Arc<Decoder>,
    /// Where writer schemas come from that the decoder does not have.
    pub schemas: Option<Arc<Schemas>>,
    /// Matches, scores, properties.
    pub enricher: Arc<Enricher>,
    /// Filters.
    pub filters: watch::Receiver<Arc<Filters>>,
    /// Threads.
    pub compute: Compute,
    /// Places of the stages.
    pub pools: Arc<Pools>,
    /// Measurements.
    pub stats: Arc<Stats>,
    /// The term of the leader that the node listens to.
    pub term: Arc<AtomicU64>,
}

impl Worker {
    /// Takes tasks of all stages until `stop`, then finishes what it has begun.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        for stage in Stage::ALL {
            let (worker, stop, begun) = (self.clone(), stop.clone(), tasks.clone());
            tasks.spawn(async move { worker.serve(stage, stop, begun).await });
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn serve(&self, stage: Stage, stop: CancellationToken, tasks: TaskTracker) {
        while !stop.is_cancelled() {
            if self.pools.of(stage).free() == 0 {
                tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(BUSY) => continue }
            }
            let queue = queue(stage, &self.versions(stage));
            let taken = tokio::select! {
                () = stop.cancelled() => return,
                taken = self.port.take(&queue, &self.node, PATIENCE) => taken,
            };
            match taken {
                Ok(Some(taken)) => {
                    let (worker, (entered, in_place)) = (self.clone(), oneshot::channel());
                    tasks.spawn(async move { worker.perform(stage, &queue, taken, entered).await });
                    // The next one is asked for when this one has its place.
                    let _ = in_place.await;
                }
                Ok(None) => {}
                Err(away) => {
                    tracing::debug!("{away}");
                    tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(REST) => {} }
                }
            }
        }
    }

    /// All that it has for a stage.
    fn versions(&self, stage: Stage) -> Versions {
        match stage {
            Stage::Ingest => program(),
            Stage::Enrich => jobs::enriches(&self.enricher),
            Stage::Filter => jobs::filters(&self.filters.borrow()),
        }
    }

    async fn perform(&self, stage: Stage, queue: &str, taken: Taken, entered: oneshot::Sender<()>) {
        let Taken { id, task, times } = taken;
        let place = self.pools.of(stage).enter(&Arc::from(OTHERS), 0).await;
        // Who waits for this may have been told to stop.
        let _ = entered.send(());
        if stage == Stage::Ingest
            && let Some(schemas) = &self.schemas
            && let Ok(v1::Task { work: Some(task::Work::Ingest(work)), .. }) = v1::Task::decode(&*task)
        {
            schemas.prepare(work.packets.iter().map(Vec::as_slice)).await;
        }
        let worker = self.clone();
        let Ok(Some((owner, answer, alerts, busy))) =
            self.compute.run(move || worker.answer(stage, &task, times)).await
        else {
            tracing::error!(%stage, "a task of another node can not be read: its owner does it");
            return;
        };
        drop(place);
        self.stats.record_help(stage.into(), alerts, busy);
        if let Err(away) = self.port.answer(queue, &id, &owner, &answer).await {
            tracing::warn!(%stage, "an answer is lost, and its owner does the work: {away}");
        }
    }

    /// Does a task: its owner, the answer, how many alerts it was about, and how long that took. None where it is not known whose it is.
    fn answer(&self, stage: Stage, task: &[u8], times: u32) -> Option<(String, Vec<u8>, usize, Duration)> {
        let begun = Instant::now();
        let task = v1::Task::decode(task).ok()?;
        let (owner, number) = (task.owner.clone(), task.number);
        let outcome = match self.refuses(stage, &task, times) {
            Some(why) => answer::Outcome::Refused(why),
            None => unpanicked(|| self.work(task.work)).ok().flatten().unwrap_or_else(|| {
                answer::Outcome::Refused("it can not be read by this version of the program".to_owned())
            }),
        };
        let alerts = match &outcome {
            answer::Outcome::Refused(_) => 0,
            answer::Outcome::Ingest(done) => done.packets.len(),
            answer::Outcome::Enrich(done) => done.alerts.len(),
            answer::Outcome::Filter(done) => done.alerts.len(),
        };
        let busy_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let answer = v1::Answer { number, worker: self.node.clone(), busy_us, outcome: Some(outcome) };
        let mut bytes = answer.encode_to_vec();
        if bytes.len() > MAX_BYTES {
            let outcome = Some(answer::Outcome::Refused("its answer is too large".to_owned()));
            bytes = v1::Answer { outcome, ..answer }.encode_to_vec();
        }
        Some((owner, bytes, alerts, begun.elapsed()))
    }

    /// Why a task is not done, if so.
    fn refuses(&self, stage: Stage, task: &v1::Task, times: u32) -> Option<String> {
        let term = Term(self.term.load(Ordering::Relaxed));
        if Term(task.term) < term {
            return Some(format!("it is of the term {}, and the leader of term {term} is there", task.term));
        }
        if times > TAKEN_AT_MOST {
            return Some(format!("{} workers have taken it and not answered", times - 1));
        }
        let wanted = task.versions.clone().into_iter().collect();
        lacks(&wanted, &self.versions(stage))
    }

    fn work(&self, work: Option<task::Work>) -> Option<answer::Outcome> {
        Some(match work? {
            task::Work::Ingest(work) => answer::Outcome::Ingest(jobs::ingest(&self.decoder, work)),
            task::Work::Enrich(work) => answer::Outcome::Enrich(jobs::enrich(&self.enricher, work)?),
            task::Work::Filter(work) => answer::Outcome::Filter(jobs::filter(&self.filters.borrow().clone(), work)?),
        })
    }
}
