//! A run of a pipeline with its embedded store beside a worker, in one process, with a real Valkey between them. Each side has threads of its
//! own, whose CPU time is read one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use boom_client::secret::Secret;
use boom_node::books::Books;
use boom_node::compute::Compute;
use boom_node::config::Config;
use boom_node::handover::owner::Counts;
use boom_node::handover::worker::Worker;
use boom_node::handover::{Called, HandOver, Owner, Taken, TaskId, Valkey};
use boom_node::pipeline::{Gate, Pipeline, Pools, entrance};
use boom_node::sink::Progress;
use boom_node::sink::files::Files;
use boom_node::source::Packet;
use boom_node::stage::enrich::Enricher;
use boom_node::stage::filter::Filters;
use boom_node::stage::record::Provenance;
use boom_node::stats::Stats;
use boom_node::store::Embedded;
use boom_plan::handover::Policy;
use boom_plan::quota::Stage;
use boom_plan::time::Span;
use boom_sky::schema::Decoder;
use boom_store::documents::Store;
use boom_tests::servers::{Server, Servers};
use prost::Message as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// So many tasks of the stage filter are kept, for what is measured on them alone.
const KEPT: usize = 16;

/// Everything is handed over, however long that takes: the owner does nothing after all.
const NEVER: Span = Span(600_000);

/// What all runs have in common.
pub(super) struct Bench<'a> {
    pub(super) servers: &'a Servers,
    pub(super) config: &'a Config,
    pub(super) filters: &'a Arc<Filters>,
    pub(super) packets: &'a [Vec<u8>],
}

/// What a run took: µs of CPU an alert but where something else is said.
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    /// The owner's compute thread, and the one that waits and sends.
    pub(super) owner_compute: f64,
    pub(super) owner_net: f64,
    /// The worker's thread that waits and sends.
    pub(super) worker_net: f64,
    pub(super) valkey: f64,
    /// Bytes an alert.
    pub(super) bytes_out: f64,
    pub(super) bytes_back: f64,
    /// From an offer to its answer in the median, without the time that the worker's compute thread took, milliseconds.
    pub(super) way_ms: f64,
    /// Tasks of the stage filter.
    pub(super) tasks: Vec<Vec<u8>>,
}

impl Ran {
    /// All threads of the owner.
    pub(super) fn owner(&self) -> f64 {
        self.owner_compute + self.owner_net
    }
}

/// Threads of this process.
#[derive(Debug, Default)]
struct Threads(BTreeSet<String>);

impl Threads {
    fn all() -> anyhow::Result<Self> {
        let entries = std::fs::read_dir("/proc/self/task")?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        Ok(Self(names.collect::<std::io::Result<_>>()?))
    }

    /// Those that something starts.
    fn of<T, E>(start: impl FnOnce() -> Result<T, E>) -> anyhow::Result<(T, Self)>
    where
        anyhow::Error: From<E>,
    {
        let before = Self::all()?;
        let started = start()?;
        Ok((started, Self(Self::all()?.0.difference(&before.0).cloned().collect())))
    }

    fn spent(&self) -> Duration {
        self.0.iter().map(|thread| spent(&Path::new("/proc/self/task").join(thread))).sum()
    }
}

/// CPU time of a thread.
fn spent(thread: &Path) -> Duration {
    let times = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    Duration::from_nanos(times.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// CPU time of all threads of another process.
fn spent_by(process: u32) -> anyhow::Result<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"))?;
    threads.map(|thread| Ok(spent(&thread?.path()))).sum()
}

/// The owner's port, which writes down when tasks went and answers came. There is one worker with one place, and no task is taken back: so
/// there is one task at a time, and the answers come in the order of the tasks.
#[derive(Debug)]
struct Watched {
    port: Valkey,
    keep: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    offered: Vec<Instant>,
    /// With the microseconds that the worker's compute thread took.
    answered: Vec<(Instant, u64)>,
    tasks: Vec<Vec<u8>>,
}

/// Of an answer no more than that: all else is skipped, which takes no time.
#[derive(prost::Message)]
struct Busy {
    #[prost(uint64, tag = "3")]
    busy_us: u64,
}

impl Watched {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics with what was seen")
    }
}

impl HandOver for Watched {
    fn offer<'a>(&'a self, queue: &'a str, task: &'a [u8]) -> Called<'a, Option<TaskId>> {
        let mut seen = self.seen();
        if seen.tasks.len() < self.keep {
            seen.tasks.push(task.to_vec());
        }
        seen.offered.push(Instant::now());
        drop(seen);
        self.port.offer(queue, task)
    }

    fn withdraw<'a>(&'a self, queue: &'a str, id: &'a TaskId) -> Called<'a, bool> {
        self.port.withdraw(queue, id)
    }

    fn take<'a>(&'a self, queue: &'a str, worker: &'a str, patience: Duration) -> Called<'a, Option<Taken>> {
        self.port.take(queue, worker, patience)
    }

    fn answer<'a>(&'a self, queue: &'a str, id: &'a TaskId, owner: &'a str, answer: &'a [u8]) -> Called<'a, ()> {
        self.port.answer(queue, id, owner, answer)
    }

    fn answers<'a>(&'a self, owner: &'a str, patience: Duration) -> Called<'a, Vec<Vec<u8>>> {
        Box::pin(async move {
            let answers = self.port.answers(owner, patience).await?;
            let came = Instant::now();
            let busy = |answer: &Vec<u8>| Busy::decode(answer.as_slice()).unwrap_or_default().busy_us;
            self.seen().answered.extend(answers.iter().map(|answer| (came, busy(answer))));
            Ok(answers)
        })
    }

    fn waiting<'a>(&'a self, queue: &'a str, me: &'a str) -> Called<'a, u32> {
        self.port.waiting(queue, me)
    }
}

fn runtime() -> anyhow::Result<(Runtime, Threads)> {
    Threads::of(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build())
}

impl Bench<'_> {
    /// One run, in which others do all of a stage, if one is named.
    pub(super) fn run(&self, enricher: &Arc<Enricher>, stage: Option<Stage>) -> anyhow::Result<Ran> {
        let out = tempfile::tempdir()?;
        let (compute, computing) = Threads::of(|| Compute::start(1))?;
        let ((owners, net), (workers, workers_net)) = (runtime()?, runtime()?);
        let term = Arc::new(AtomicU64::new(1));
        let keep = if stage == Some(Stage::Filter) { KEPT } else { 0 };
        let watched = Arc::new(Watched { port: self.valkey(out.path())?, keep, seen: Mutex::default() });
        let policy = Policy { alone: NEVER, notice: NEVER, deadline: NEVER, ..Policy::default() };
        let owner = Arc::new(Owner::new(watched.clone(), "owner", "owner:1".to_owned(), policy, Arc::clone(&term)));
        let (_unchanging, filters) = watch::channel(Arc::clone(self.filters));
        let worker = Worker {
            port: Arc::new(self.valkey(out.path())?),
            node: "worker".to_owned(),
            decoder: self.decoder(),
            schemas: None,
            enricher: Arc::clone(enricher),
            filters: filters.clone(),
            compute: Compute::start(1)?,
            pools: Arc::new(Pools::even(1)),
            stats: Arc::default(),
            term,
        };
        let stop = CancellationToken::new();
        let helping =
            stage.map(|_| (workers.spawn(worker.run(stop.clone())), owners.spawn(owner.clone().run(stop.clone()))));
        let pipeline =
            self.pipeline(out.path(), (enricher, filters), compute.clone(), stage.map(|_| Arc::clone(&owner)))?;
        stage.iter().for_each(|stage| pipeline.0.pools.of(*stage).resize(0));

        let valkey = self.servers.process(Server::Valkey)?;
        let times = || anyhow::Ok([computing.spent(), net.spent(), workers_net.spent(), spent_by(valkey)?]);
        let before = times()?;
        let books = owners.block_on(async { owners.spawn(self.through(pipeline)).await })??;
        let after = times()?;
        stop.cancel();
        if let Some((worker, owner)) = helping {
            owners.block_on(async { tokio::try_join!(worker, owner) })?;
        }
        let alerts = self.packets.len() as f64;
        if books.consumed() != self.packets.len() as u64 || books.dead_lettered() > 0 || !books.balance() {
            bail!(
                "of {alerts} packets {} are in the books, {} of them dead letters",
                books.consumed(),
                books.dead_lettered()
            );
        }
        let micros = |at: usize| after[at].saturating_sub(before[at]).as_secs_f64() * 1e6 / alerts;
        let counts = stage.map(|stage| self.all_given(owner.counts(stage))).transpose()?.unwrap_or_default();
        let seen = std::mem::take(&mut *watched.seen());
        Ok(Ran {
            owner_compute: micros(0),
            owner_net: micros(1),
            worker_net: micros(2),
            valkey: micros(3),
            bytes_out: counts.bytes_out as f64 / alerts,
            bytes_back: counts.bytes_back as f64 / alerts,
            way_ms: way(&seen),
            tasks: seen.tasks,
        })
    }

    /// The counts, if nothing was done twice or here.
    fn all_given(&self, counts: Counts) -> anyhow::Result<Counts> {
        let Counts { given, withdrawn, refused, overdue, .. } = counts;
        if (given, withdrawn, refused, overdue) != (self.packets.len() as u64, 0, 0, 0) {
            bail!("not everything was handed over just once: {counts:?}");
        }
        Ok(counts)
    }

    fn valkey(&self, folder: &Path) -> anyhow::Result<Valkey> {
        let address = folder.join("valkey");
        std::fs::write(&address, self.servers.address(Server::Valkey))?;
        // Each run has keys of its own, so that nothing is left of the one before.
        let prefix = folder.file_name().context("it has a name")?.to_string_lossy();
        Ok(Valkey::new(&Secret::File(address), &prefix)?)
    }

    fn decoder(&self) -> Arc<Decoder> {
        Arc::new(Decoder::new(None, HashMap::new(), String::new(), self.config.input.max_packet_bytes))
    }

    fn pipeline(
        &self,
        out: &Path,
        (enricher, filters): (&Arc<Enricher>, watch::Receiver<Arc<Filters>>),
        compute: Compute,
        owner: Option<Arc<Owner>>,
    ) -> anyhow::Result<(Arc<Pipeline<Embedded>>, Files)> {
        let documents = Arc::new(Store::open(&out.join("store"), true)?);
        let catalogs = enricher.catalogs().versions();
        let provenance = Arc::new(Provenance { code: String::new(), models: BTreeMap::new(), catalogs });
        let (sink, _) = Files::open(out, Arc::clone(&documents), compute.clone(), provenance, &Vec::new())?;
        let input = &self.config.input;
        let pipeline = Pipeline {
            replays: Arc::default(),
            owner,
            decoder: self.decoder(),
            schemas: None,
            store: Embedded::new(documents, compute.clone()),
            enricher: Arc::clone(enricher),
            filters,
            compute,
            pools: Arc::new(Pools::even(1)),
            gate: Gate::open(),
            stats: Arc::new(Stats::default()),
            positions: Arc::default(),
            clock: || 2_460_000.5,
            batch: input.batch,
            batches_in_flight: input.batches_in_flight(1),
            batch_wait: Duration::from_millis(input.batch_wait_ms),
            suspend_after: self.config.filters.suspend_after,
        };
        Ok((Arc::new(pipeline), sink))
    }

    /// Sends all packets through a pipeline.
    fn through(
        &self,
        (pipeline, sink): (Arc<Pipeline<Embedded>>, Files),
    ) -> impl Future<Output = anyhow::Result<Books>> + use<> {
        let (entrance, queue) = entrance(self.packets.len().max(1));
        let (sender, source) = (entrance.open(""), Arc::<str>::from("memory"));
        for (offset, bytes) in (0..).zip(self.packets) {
            let (source, name, bytes) = (Arc::clone(&source), String::new(), bytes.clone());
            let packet =
                Packet { source, assignment: 0, offset, name, timestamp: None, bytes, retry_of: None, fault: None };
            sender.try_send(packet.into()).expect("there is room for all of them");
        }
        async move { Ok(pipeline.run(queue, sink, Progress::new(), Books::default()).await?.0) }
    }
}

/// The median of the ways there and back, milliseconds.
fn way(seen: &Seen) -> f64 {
    let both = seen.offered.iter().zip(&seen.answered);
    let way = |(offered, (came, busy)): (&Instant, &(Instant, u64))| {
        came.duration_since(*offered).saturating_sub(Duration::from_micros(*busy))
    };
    let mut ways: Vec<Duration> = both.map(way).collect();
    ways.sort_unstable();
    ways.get(ways.len() / 2).map_or(f64::NAN, |way| way.as_secs_f64() * 1e3)
}
