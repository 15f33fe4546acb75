//! One incarnation of the node: a producer, a pipeline, the partitions that it reads. It ends by being abandoned, or by Kafka's fence.
//!
//! What it is to do comes as orders, which are carried out one after the other; what came of them is told to the session.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use boom_client::kafka::Connection;
use boom_client::progress::in_replay;
use boom_plan::id::{Partition, ProducerName, StreamId};
use boom_plan::node::Event;
use boom_plan::orders::{self, Stream};
use boom_plan::quota;
use boom_plan::reconcile::Step;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::erase::erase;
use super::fences::Fences;
use super::{Parts, Shared, Teller};
use crate::books::Books;
use crate::pipeline::{Begin, End, Entrance, Error as PipelineError, Item, Pipeline, Replays, entrance};
use crate::positions::Positions;
use crate::sink::Progress;
use crate::sink::kafka::{
    Committed, Config as Output, Error as SinkError, Kafka as Results, make_replay, read_committed,
};
use crate::source::kafka::{self as source, Control, Kafka as Source};
use crate::source::{Source as _, SourceError};
use crate::store::Replaying;

/// An incarnation that ended by an error of its own begins anew after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// A replay that can not begin is tried again after so long.
const REPLAY_AGAIN: Duration = Duration::from_secs(10);

/// The incarnations of a process, of which one lives.
pub(super) struct Lives<S> {
    parts: Arc<Parts<S>>,
    shared: Shared,
    teller: Teller,
    living: Option<Living>,
}

struct Living {
    who: ProducerName,
    orders: mpsc::UnboundedSender<Step>,
    fences: Arc<Fences>,
    stop: CancellationToken,
}

impl<S: Replaying + Clone> Lives<S> {
    pub(super) fn new(parts: Arc<Parts<S>>, shared: Shared, teller: Teller) -> Self {
        Self { parts, shared, teller, living: None }
    }

    /// Begins an incarnation.
    pub(super) fn begin(&mut self, who: ProducerName) {
        // As many orders as the plan has partitions of ours: bounded by what the leader sends.
        let (orders, todo) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let fences = Arc::new(Fences::new(self.parts.output.connection.clone(), stop.clone()));
        self.living = Some(Living { who: who.clone(), orders, fences: Arc::clone(&fences), stop: stop.clone() });
        let life = Life {
            who,
            fences,
            parts: Arc::clone(&self.parts),
            shared: self.shared.clone(),
            positions: self.shared.renew_positions(),
            replays: Arc::default(),
            teller: self.teller.clone(),
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            let teller = life.teller.clone();
            let who = life.who.clone();
            let ended = tokio::select! { ended = life.run(todo) => ended, () = stop.cancelled() => return };
            if let Err(why) = ended {
                tracing::error!(%who, "this incarnation can not go on: {why}");
                tokio::time::sleep(AGAIN).await;
            }
            teller.tell(Event::Fenced { who }).await;
        });
    }

    /// Lets an incarnation carry something out, if it is the one that lives.
    pub(super) fn order(&self, who: &ProducerName, step: Step) {
        if let Some(living) = self.living.as_ref().filter(|living| living.who == *who) {
            if let Step::Start { fence, .. } = &step {
                living.fences.begin(fence);
            }
            // One that has ended says so itself.
            let _ = living.orders.send(step);
        }
    }

    /// Ends an incarnation at once.
    pub(super) fn abandon(&mut self, who: &ProducerName) {
        if let Some(living) = self.living.take_if(|living| living.who == *who) {
            living.stop.cancel();
        }
    }
}

/// Why an incarnation ended by itself.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError<SinkError>),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Kafka(#[from] boom_client::kafka::Error),
    #[error(
        "the stream {stream} is read from the Kafka cluster `{cluster}`, which this node does not know: add [kafka.{cluster}]"
    )]
    Cluster { stream: String, cluster: String },
    #[error("{0}")]
    Thread(String),
}

struct Life<S> {
    who: ProducerName,
    fences: Arc<Fences>,
    parts: Arc<Parts<S>>,
    shared: Shared,
    positions: Arc<Positions>,
    replays: Arc<Replays<S>>,
    teller: Teller,
    stop: CancellationToken,
}

/// A partition that is to be read.
struct ToStart {
    partition: Partition,
    stream: Stream,
}

/// Whose partitions one reader reads: those of a cluster, but of replays, which read the same partitions again; or those of one replay.
type Reads = (String, Option<StreamId>);

/// What an incarnation reads.
struct Reading {
    entrance: Entrance,
    readers: BTreeMap<Reads, Control>,
    /// Where each stream enters the pipeline.
    streams: BTreeMap<StreamId, mpsc::Sender<Item>>,
    tasks: JoinSet<Result<(), Error>>,
    /// The partitions of replays that are read.
    replayed: BTreeSet<Partition>,
    /// Those that could not begin, which is nobody else's fault.
    later: Vec<ToStart>,
}

impl Reading {
    /// Ends what reads a replay: it has a reader of its own, and so its way into the pipeline ends too.
    fn end_replay(&mut self, replay: &StreamId) {
        let over = self.readers.extract_if(.., |(_, of), _| of.as_ref() == Some(replay));
        over.for_each(|(_, reader)| reader.stop());
        self.streams.remove(replay);
    }
}

impl<S: Replaying + Clone> Life<S> {
    async fn run(self, mut todo: mpsc::UnboundedReceiver<Step>) -> Result<(), Error> {
        let name = self.who.transactional_id();
        let output = Output { name, ..self.parts.output.clone() };
        let (compute, provenance) = (self.parts.pipeline.compute.clone(), Arc::clone(&self.parts.provenance));
        let sink = Results::open(output, compute, provenance, self.stop.clone()).await?;
        // A batch of each stream waits before the pipeline, and as much in it: what is more waits in the readers.
        let (entrance, queue) = entrance(self.parts.pipeline.batch);
        let (gate, positions) = (self.shared.gate(self.who.clone()), Arc::clone(&self.positions));
        let replays = Arc::clone(&self.replays);
        let pipeline = Arc::new(Pipeline { gate, positions, replays, ..self.parts.pipeline.clone() });
        let mut tasks = JoinSet::new();
        let ran = pipeline.run(queue, sink, Progress::new(), Books::default());
        tasks.spawn(async { ran.await.map(drop).map_err(Error::from) });
        let (readers, streams, replayed, later) = Default::default();
        let mut reading = Reading { entrance, readers, streams, tasks, replayed, later };
        let mut again = tokio::time::interval(REPLAY_AGAIN);
        loop {
            tokio::select! {
                step = todo.recv() => {
                    let Some(step) = step else { return Ok(()) };
                    let mut steps = vec![step];
                    while let Ok(step) = todo.try_recv() {
                        steps.push(step);
                    }
                    self.carry_out(steps, &mut reading).await?;
                }
                _ = again.tick() => {
                    let starts = std::mem::take(&mut reading.later);
                    self.start(starts, &mut reading).await?;
                }
                Some(ended) = reading.tasks.join_next() => match ended {
                    Ok(Err(Error::Pipeline(PipelineError::Sink(SinkError::Fenced { name })))) => {
                        tracing::warn!(%name, "Kafka refuses this producer: another node has its partitions");
                        return Ok(());
                    }
                    Ok(ended) => ended?,
                    Err(error) => return Err(Error::Thread(format!("a task has panicked: {error}"))),
                },
            }
        }
    }

    async fn carry_out(&self, steps: Vec<Step>, reading: &mut Reading) -> Result<(), Error> {
        let mut starts = Vec::new();
        for step in steps {
            match step {
                Step::Start { partition, stream, .. } => starts.push(ToStart { partition, stream }),
                Step::Release { partition, .. } => {
                    // What is to be started before it is: the order of both must stay.
                    self.start(std::mem::take(&mut starts), reading).await?;
                    self.release(partition, reading).await;
                }
                Step::Erase { stream, since, fence } => {
                    let (parts, stop) = (Arc::clone(&self.parts), self.stop.clone());
                    let (teller, who) = (self.teller.clone(), self.who.clone());
                    reading.tasks.spawn(async move {
                        if erase(&parts, &stream, &fence, &stop).await {
                            teller.tell(Event::Erased { who, stream, since }).await;
                        }
                        Ok(())
                    });
                }
                Step::Resize { stage, quota } => self.resize(stage, quota.workers),
                Step::Share { streams } => self.parts.pipeline.pools.set_shares(streams),
            }
        }
        self.start(starts, reading).await
    }

    /// Without a way to hand work over, a stage keeps one worker at least.
    fn resize(&self, stage: quota::Stage, workers: u32) {
        let pipeline = &self.parts.pipeline;
        let least = u32::from(pipeline.owner.is_none());
        if workers < least {
            tracing::warn!(
                "{stage} keeps one worker: no `handover.valkey` is configured, so that others can not do its work"
            );
        }
        pipeline.pools.of(stage).resize(usize::try_from(workers.max(least)).unwrap_or(usize::MAX));
    }

    /// Fences, reads the progress, then begins to read: in this order.
    async fn start(&self, starts: Vec<ToStart>, reading: &mut Reading) -> Result<(), Error> {
        if starts.is_empty() {
            return Ok(());
        }
        let (connection, progress) = (&self.parts.output.connection, &self.parts.output.progress);
        self.fences.wait().await?;
        let committed = read_committed(connection, progress, self.stop.clone()).await?;
        for ToStart { partition, stream } in starts {
            if stream.replay.is_some() {
                if let Err(why) = self.enter(&partition).await {
                    tracing::error!(%partition, "the replay can not begin, and is tried again: {why}");
                    reading.later.push(ToStart { partition, stream });
                    continue;
                }
                reading.replayed.insert(partition.clone());
            }
            let (reader, items) = self.reader(&partition, &stream, reading)?;
            self.read(partition, &stream, &reader, (&items, &committed)).await;
        }
        Ok(())
    }

    /// Opens what a replay needs before the first of its partitions begins: its topics and its store.
    async fn enter(&self, partition: &Partition) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let replay = partition.stream.as_str();
        let store = match self.replays.store(replay) {
            Some(store) => store,
            None => {
                make_replay(&self.parts.output, replay, self.stop.clone()).await?;
                Arc::new(self.parts.pipeline.store.replay(replay).await?)
            }
        };
        self.replays.enter(&partition.to_string(), store);
        Ok(())
    }

    /// Begins to read one partition.
    async fn read(
        &self,
        partition: Partition,
        stream: &Stream,
        reader: &Control,
        (items, committed): (&mpsc::Sender<Item>, &Committed),
    ) {
        let read = as_read(&partition);
        let source: Arc<str> = Arc::from(partition.to_string());
        let decided = committed.partitions.get(&*source);
        let from = match (decided, stream.start) {
            (Some(decided), _) => source::Start::Progress { next: decided.next, time: decided.time_ms },
            (None, orders::Start::Earliest) => source::Start::Earliest,
            (None, orders::Start::Latest) => source::Start::Latest,
            (None, orders::Start::At(time)) => source::Start::Time(i64::try_from(time).unwrap_or(i64::MAX)),
        };
        let assignment = reader.assign(&read);
        let decided = decided.map(|decided| (decided.next, decided.books.clone()));
        let counts = in_replay(&self.who.transactional_id(), partition.stream.as_str());
        let counts = committed.producers.get(&counts).cloned().unwrap_or_default();
        let begin = Begin { source, assignment, decided, counts };
        // A pipeline that has ended takes nothing more, and is what ends this incarnation.
        let _ = items.send(Item::Begin(begin)).await;
        // Before its first packet: what the gate withholds once is halted.
        self.teller.tell(Event::Started { who: self.who.clone(), partition }).await;
        reader.start(read, from, assignment);
    }

    /// Lets go of a partition; tells it when everything of it is committed.
    async fn release(&self, partition: Partition, reading: &mut Reading) {
        let read = as_read(&partition);
        reading.readers.values().for_each(|reader| reader.remove(&read));
        reading.later.retain(|start| start.partition != partition);
        let (done, over) = oneshot::channel();
        let end = End { source: Arc::from(partition.to_string()), done };
        // Behind what came of it; of a stream that never began nothing did.
        let items = reading.streams.get(&partition.stream).cloned();
        let items = items.unwrap_or_else(|| reading.entrance.open(partition.stream.as_str()));
        if reading.replayed.remove(&partition) && !reading.replayed.iter().any(|left| left.stream == partition.stream) {
            reading.end_replay(&partition.stream);
        }
        let _ = items.send(Item::End(end)).await;
        let (teller, who, replays) = (self.teller.clone(), self.who.clone(), Arc::clone(&self.replays));
        reading.tasks.spawn(async move {
            // An error means that the pipeline has ended: then nothing was released.
            if over.await.is_ok() {
                replays.leave(&partition.to_string());
                teller.tell(Event::Released { who, partition }).await;
            }
            Ok(())
        });
    }

    /// The reader of a stream's cluster, or of a replay, and the stream's way into the pipeline, which are opened when they are needed.
    fn reader(
        &self,
        partition: &Partition,
        stream: &Stream,
        reading: &mut Reading,
    ) -> Result<(Control, mpsc::Sender<Item>), Error> {
        let reads = (stream.cluster.clone(), stream.replay.as_ref().map(|_| partition.stream.clone()));
        let reader = match reading.readers.get(&reads) {
            Some(reader) => reader.clone(),
            None => {
                let name = partition.stream.to_string();
                let unknown = || Error::Cluster { stream: name, cluster: stream.cluster.clone() };
                let connection = self.parts.clusters.get(&stream.cluster).ok_or_else(unknown)?;
                let until = stream.replay.as_ref().map(|replay| i64::try_from(replay.to).unwrap_or(i64::MAX));
                let control = self.open((connection, until), &mut reading.tasks)?;
                reading.readers.insert(reads, control.clone());
                control
            }
        };
        if let Some(items) = reading.streams.get(&partition.stream) {
            return Ok((reader, items.clone()));
        }
        let items = reading.entrance.open(partition.stream.as_str());
        reading.streams.insert(partition.stream.clone(), items.clone());
        let (mut packets, to) = (reader.stream(partition.stream.as_str()), items.clone());
        let read = move || {
            packets.run(&mut |packet| match to.blocking_send(packet.into()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        };
        thread(format!("source {}", partition.stream), &mut reading.tasks, read)?;
        Ok((reader, items))
    }

    fn open(
        &self,
        (connection, until): (&Connection, Option<i64>),
        tasks: &mut JoinSet<Result<(), Error>>,
    ) -> Result<Control, Error> {
        let config = source::Config {
            connection: connection.clone(),
            group: self.parts.group.clone(),
            queue_bytes: self.parts.queue_bytes,
            shares: Arc::clone(&self.parts.pipeline.pools.shares),
            until,
            positions: Arc::clone(&self.positions),
            counters: Arc::clone(&self.parts.pipeline.stats.source),
        };
        let (reader, control, events) = Source::open(&config)?;
        let read = move || {
            let outcome = reader.wait();
            // Who listens to the events ends with the reader.
            drop((reader, events));
            outcome
        };
        thread("source".to_owned(), tasks, read)?;
        let (stop, until) = (control.clone(), self.stop.clone());
        // The readers of its streams hold the pipeline's entrance: they must end with the incarnation, however that ends.
        tokio::spawn(async move {
            until.cancelled().await;
            stop.stop();
        });
        Ok(control)
    }
}

/// A thread that reads; its end is that of a task.
fn thread(
    name: String,
    tasks: &mut JoinSet<Result<(), Error>>,
    read: impl FnOnce() -> Result<(), SourceError> + Send + 'static,
) -> Result<(), Error> {
    let (ended, end) = oneshot::channel();
    let run = move || drop(ended.send(read()));
    let thread = std::thread::Builder::new().name(name).spawn(run);
    thread.map_err(|error| Error::Thread(format!("the source's thread does not start: {error}")))?;
    tasks.spawn(async move { Ok(end.await.unwrap_or(Ok(()))?) });
    Ok(())
}

/// A partition as the source names it.
fn as_read(partition: &Partition) -> source::Partition {
    source::Partition {
        stream: partition.stream.to_string(),
        topic: partition.topic.to_string(),
        number: i32::try_from(partition.number).unwrap_or(i32::MAX),
    }
}
