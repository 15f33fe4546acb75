//! The owner's end: offers tasks, waits for their answers, knows who waits for work. What becomes of a batch is decided in
//! `boom_plan::handover`, and carried out in the pipeline.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use boom_plan::handover::{Decision, Facts, Hindrance, Policy, Why, decide};
use boom_plan::quota::Stage;
use boom_plan::time::Span;
use boom_proto::v1::{self, answer};
use prost::Message as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::job::{Job, queue};
use super::{HandOver, MAX_BYTES, TaskId};

/// How often it is asked who waits for work, of what is wanted now.
const LOOK: Duration = Duration::from_millis(100);

/// How long answers are waited for at once.
const LISTEN: Duration = Duration::from_secs(1);

/// After a failure nothing is asked for so long.
const REST: Duration = Duration::from_millis(500);

/// How often it was handed over, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Alerts that others did.
    pub given: u64,
    /// Bytes of tasks that went out.
    pub bytes_out: u64,
    /// Bytes of answers that came back.
    pub bytes_back: u64,
    /// Tasks that nobody took in time, and that were taken back.
    pub withdrawn: u64,
    /// Tasks that a worker refused.
    pub refused: u64,
    /// Tasks that were taken and not answered in time.
    pub overdue: u64,
}

/// The owner's end.
#[derive(Debug)]
pub struct Owner {
    port: Arc<dyn HandOver>,
    /// The name of the node, as workers of it are called.
    node: String,
    /// The stream of its answers.
    me: String,
    policy: Policy,
    numbers: AtomicU64,
    /// The term of the leader that the node listens to.
    term: Arc<AtomicU64>,
    reachable: AtomicBool,
    open: Arc<Open>,
    stages: [State; Stage::ALL.len()],
}

/// Who waits for which answer, which comes with its size in bytes.
type Open = Mutex<HashMap<u64, oneshot::Sender<(v1::Answer, usize)>>>;

/// What is known of the work of one stage.
#[derive(Debug, Default)]
struct State {
    /// The queue of what was to be handed over last; none when that was looked at and nothing was since.
    wanted: Mutex<Option<String>>,
    /// Nodes that wait for work of it.
    waiting: AtomicU32,
    /// Offers that nobody is known to have taken.
    offered: Arc<AtomicU32>,
    /// Why, since the last time that this was asked.
    said: Mutex<(Option<Why>, Option<Hindrance>)>,
    counts: Mutex<Counts>,
}

/// A task that is offered.
#[derive(Debug)]
pub struct Offer {
    queue: String,
    id: TaskId,
    stage: Stage,
    answer: oneshot::Receiver<(v1::Answer, usize)>,
    untaken: Option<Untaken>,
    _awaited: Awaited,
}

/// Counts as an offer that nobody has taken, until it is dropped.
#[derive(Debug)]
struct Untaken(Arc<AtomicU32>);

/// An answer that is waited for, until this is dropped.
#[derive(Debug)]
struct Awaited {
    number: u64,
    open: Arc<Open>,
}

impl Untaken {
    fn new(offered: &Arc<AtomicU32>) -> Self {
        offered.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(offered))
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        held(&self.open).remove(&self.number);
    }
}

fn held(open: &Open) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<(v1::Answer, usize)>>> {
    open.lock().expect("nobody panics with the open tasks")
}

/// What came of an offer.
#[derive(Debug)]
pub enum Outcome {
    /// A worker did it.
    Done(answer::Outcome),
    /// Nobody did: the owner does it itself.
    NotDone,
}

impl Owner {
    /// The owner's end of a node, under a name that no other process has.
    pub fn new(port: Arc<dyn HandOver>, node: &str, me: String, policy: Policy, term: Arc<AtomicU64>) -> Self {
        let (numbers, open, stages) = Default::default();
        let reachable = AtomicBool::new(true);
        Self { port, node: node.to_owned(), me, policy, numbers, term, reachable, open, stages }
    }

    /// How long what is waited for.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the others could be reached when that was tried last.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    fn state(&self, stage: Stage) -> &State {
        &self.stages[stage as usize]
    }

    /// What was handed over.
    pub fn counts(&self, stage: Stage) -> Counts {
        *self.state(stage).counts()
    }

    /// Why work of a stage was handed over, and was not although it would have been, since this was asked last.
    pub fn said(&self, stage: Stage) -> (Option<Why>, Option<Hindrance>) {
        std::mem::take(&mut *self.state(stage).said.lock().expect("nobody panics with the reasons"))
    }

    /// What becomes of a batch that has waited for so long.
    pub fn decide<J: Job>(&self, job: &J, workers: usize, waited: Duration) -> Decision {
        let state = self.state(J::STAGE);
        let (waiting, offered) = (state.waiting.load(Ordering::Relaxed), state.offered.load(Ordering::Relaxed));
        let facts = Facts {
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            waited: Span(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)),
            reachable: self.is_reachable(),
            free: waiting.saturating_sub(offered),
        };
        let decision = decide(&facts, &self.policy);
        let (why, hindrance) = match decision {
            Decision::HandOver(why) => (Some(why), None),
            Decision::Kept(hindrance) | Decision::DoIt(hindrance) => (None, Some(hindrance)),
            Decision::Wait(_) => return decision,
        };
        *state.wanted.lock().expect("nobody panics with the queues") = Some(queue(J::STAGE, &job.versions()));
        let mut said = state.said.lock().expect("nobody panics with the reasons");
        *said = (why.or(said.0), hindrance.or(said.1));
        decision
    }

    /// The task of a job, as it is offered; none where it can not travel. This takes time on a compute thread.
    pub fn task<J: Job>(&self, job: &J) -> Option<(u64, String, Vec<u8>)> {
        let work = job.work()?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (versions, term) = (job.versions(), self.term.load(Ordering::Relaxed));
        let to = queue(J::STAGE, &versions);
        let (owner, versions) = (self.me.clone(), versions.into_iter().collect());
        let task = v1::Task { owner, number, term, versions, work: Some(work) }.encode_to_vec();
        (task.len() <= MAX_BYTES).then_some((number, to, task))
    }

    /// Offers a task; none where that is not possible now.
    pub async fn offer(&self, stage: Stage, (number, queue, task): (u64, String, Vec<u8>)) -> Option<Offer> {
        let (tell, answer) = oneshot::channel();
        held(&self.open).insert(number, tell);
        let _awaited = Awaited { number, open: Arc::clone(&self.open) };
        let state = self.state(stage);
        let untaken = Some(Untaken::new(&state.offered));
        let id = match self.port.offer(&queue, &task).await {
            Ok(id) => id?,
            Err(away) => {
                self.lost(&away);
                return None;
            }
        };
        state.counts().bytes_out += task.len() as u64;
        Some(Offer { queue, id, stage, answer, untaken, _awaited })
    }

    /// The answer to an offer. Comes back without one when it can not come any more.
    pub async fn answered(&self, offer: &mut Offer) -> Outcome {
        let answered = (&mut offer.answer).await;
        offer.untaken = None;
        let state = self.state(offer.stage);
        match answered {
            Ok((v1::Answer { outcome: Some(answer::Outcome::Refused(why)), worker, .. }, _)) => {
                tracing::warn!(stage = %offer.stage, worker, "a task was refused, and is done here: {why}");
                state.counts().refused += 1;
                Outcome::NotDone
            }
            Ok((v1::Answer { outcome: Some(outcome), .. }, bytes)) => {
                state.counts().bytes_back += bytes as u64;
                Outcome::Done(outcome)
            }
            _ => Outcome::NotDone,
        }
    }

    /// Takes an offer back; gives whether nobody has it now. When the others can not be reached, nobody has.
    pub async fn withdraw(&self, offer: &mut Offer) -> bool {
        let withdrawn = match self.port.withdraw(&offer.queue, &offer.id).await {
            Ok(withdrawn) => withdrawn,
            Err(away) => {
                self.lost(&away);
                true
            }
        };
        if withdrawn {
            self.state(offer.stage).counts().withdrawn += 1;
        }
        offer.untaken = None;
        withdrawn
    }

    /// An answer is waited for no longer.
    pub fn overdue(&self, stage: Stage) {
        self.state(stage).counts().overdue += 1;
    }

    /// Others did so many alerts of a stage.
    pub fn given(&self, stage: Stage, alerts: usize) {
        self.state(stage).counts().given += alerts as u64;
    }

    /// The others can not be reached: what they have is done here.
    fn lost(&self, away: &super::Away) {
        if self.reachable.swap(false, Ordering::Relaxed) {
            tracing::warn!("work is done here until it can be handed over again: {away}");
        }
        // Who waits for an answer sees the other end gone.
        held(&self.open).clear();
    }

    /// Listens to answers, and asks who waits for work, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen() => {}
            () = self.look() => {}
        }
    }

    async fn listen(&self) {
        loop {
            match self.port.answers(&self.me, LISTEN).await {
                Ok(answers) => answers.iter().for_each(|answer| self.take(answer)),
                Err(away) => {
                    self.lost(&away);
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Gives an answer to who waits for it; one that nobody waits for any more is late, and its work is done.
    fn take(&self, answer: &[u8]) {
        match v1::Answer::decode(answer) {
            Ok(read) => {
                let waits = held(&self.open).remove(&read.number);
                // Who waits may have given up just now.
                let _ = waits.map(|tell| tell.send((read, answer.len())));
            }
            Err(error) => tracing::error!("an answer can not be read, and its work is done here: {error}"),
        }
    }

    async fn look(&self) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            for state in &self.stages {
                let wanted = state.wanted.lock().expect("nobody panics with the queues").take();
                // Of what nobody wants to hand over, nothing need be known.
                let Some(queue) = wanted.or_else(|| (!self.is_reachable()).then(String::new)) else { continue };
                match self.port.waiting(&queue, &self.node).await {
                    Ok(waiting) => {
                        state.waiting.store(waiting, Ordering::Relaxed);
                        if !self.reachable.swap(true, Ordering::Relaxed) {
                            tracing::info!("work can be handed over again");
                        }
                    }
                    Err(away) => {
                        state.waiting.store(0, Ordering::Relaxed);
                        self.lost(&away);
                        tokio::time::sleep(REST).await;
                    }
                }
            }
        }
    }
}

impl State {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nobody panics with the counts")
    }
}
