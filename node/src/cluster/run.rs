//! Puts a node of a cluster together, and runs it until it has left.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use boom_client::channel::Cluster;
use boom_plan::id::NodeId;
use boom_plan::message::NodeInfo;
use boom_plan::node::{Config as Machine, Node};
use boom_sky::schema::Decoder;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::identity::Identity;
use super::life::Lives;
use super::load::Meter;
use super::session::Session;
use super::{Clock, Parts, Shared, Teller, http, metrics};
use crate::compute::Compute;
use crate::config::Config;
use crate::filters::{Place, Watch};
use crate::handover::worker::Worker;
use crate::handover::{HandOver, Owner, Valkey};
use crate::pipeline::{Gate, Pipeline, Pools};
use crate::schemas::Schemas;
use crate::setup::{self, usage};
use crate::sink::kafka::Config as Output;
use crate::stage::enrich::Enricher;
use crate::stats::Stats;
use crate::store::MongoDb;

/// Events that may wait for the state machine.
const TOLD: usize = 64;

/// Runs a node of a cluster until `stop`, and then until it has left. `ready` is told where it answers HTTP.
///
/// # Errors
/// What keeps it from starting or going on; `UsageError` inside where the configuration is at fault.
pub async fn run(config: Config, ready: fn(SocketAddr), stop: CancellationToken) -> anyhow::Result<()> {
    // What is under way is finished after `stop`, which needs the store.
    let over = CancellationToken::new();
    let opened = tokio::select! {
        opened = MongoDb::open((&config.mongodb).into(), over.clone()) => opened,
        () = stop.cancelled() => return Ok(()),
    };
    let store = opened.map_err(usage)?;
    let place = match &config.node.filters {
        Some(directory) => Place::Directory(directory.clone()),
        None => Place::Collection(store.clone()),
    };
    let watch = Watch::start(place, config.filters.clone(), over.clone()).await.map_err(usage)?;
    let ended = run_with(config, store, watch, ready, stop).await;
    over.cancel();
    ended
}

/// The same with a store and filters that are there.
async fn run_with(
    config: Config,
    store: MongoDb,
    filters: Watch,
    ready: fn(SocketAddr),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = &config.node;
    let name: NodeId = name(&settings.name)?.parse().map_err(usage)?;
    let identity = Identity::take(&PathBuf::from(&settings.state), name)?;
    let cluster = Cluster::new(config.coordinators.clone()).map_err(usage)?;
    let listener = listen(settings.http).await?;
    let address = listener.local_addr()?;
    let cores = match settings.cores {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        cores => usize::from(cores),
    };
    let compute = Compute::start(cores).context("starting the compute threads")?;
    let enricher = Arc::new(enricher(&config)?);
    let provenance = Arc::new(setup::provenance(&enricher));
    let (stats, pools) = (Arc::new(Stats::default()), Arc::new(Pools::even(1)));
    let decoder = setup::decoder(None, settings.schemas.as_deref(), &config)?;
    let term = Arc::<AtomicU64>::default();
    let port = handover(&config)?;
    let owner = port.clone().map(|port| owner(&config, port, &identity, &term));
    let pipeline = Pipeline {
        replays: Arc::default(),
        schemas: schemas(&config, &decoder)?,
        owner: owner.clone(),
        decoder,
        store,
        enricher,
        filters: filters.receiver.clone(),
        compute,
        pools: Arc::clone(&pools),
        gate: Gate::open(),
        stats: Arc::clone(&stats),
        positions: Arc::default(),
        clock: setup::now,
        batch: config.input.batch,
        batches_in_flight: config.input.batches_in_flight(cores),
        batch_wait: Duration::from_millis(config.input.batch_wait_ms),
        suspend_after: config.filters.suspend_after,
    };
    let worker = port.map(|port| worker(port, &pipeline, &identity, &term));
    let parts = Arc::new(Parts {
        pipeline,
        provenance,
        output: output(&config)?,
        clusters: config.kafka.clone(),
        group: settings.group.clone(),
        queue_bytes: settings.queue_bytes,
    });
    let shared = shared(&config, cores, address, &identity);
    let (told, events) = mpsc::channel(TOLD);
    let mut lives = Lives::new(parts, shared.clone(), Teller(told));
    lives.begin(identity.me.clone());
    let meter = Meter::new(shared.clone(), Arc::clone(&stats), Arc::clone(&pools), owner.clone());
    let registry = metrics::registry(meter.clone(), stats, (pools, owner.clone()), filters.receiver.clone());
    let served = CancellationToken::new();
    let helping = help(owner, worker, (&stop, &served));
    let server = tokio::spawn(http::serve(listener, shared.clone(), registry, served.clone()));
    let session = Session { shared, cluster, timing: config.leases, identity, lives, meter, term, told: events, stop };
    ready(address);
    let ended = session.run().await;
    served.cancel();
    helping.wait().await;
    server.abort();
    ended.map_err(|error| usage(&error))
}

/// Where work is handed over, if it is.
fn handover(config: &Config) -> anyhow::Result<Option<Arc<dyn HandOver>>> {
    let Some(address) = &config.handover.valkey else { return Ok(None) };
    let valkey = Valkey::new(address, &config.handover.prefix).map_err(usage)?;
    Ok(Some(Arc::new(valkey)))
}

/// Answers go to a stream that no other life of any node reads.
fn owner(config: &Config, port: Arc<dyn HandOver>, identity: &Identity, term: &Arc<AtomicU64>) -> Arc<Owner> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let me = format!("{}:{started}", identity.me);
    let node = identity.me.node.to_string();
    Arc::new(Owner::new(port, &node, me, config.handover.policy(), Arc::clone(term)))
}

/// What does the work of others with what this node has.
fn worker<S>(port: Arc<dyn HandOver>, pipeline: &Pipeline<S>, identity: &Identity, term: &Arc<AtomicU64>) -> Worker {
    Worker {
        port,
        node: identity.me.node.to_string(),
        decoder: Arc::clone(&pipeline.decoder),
        schemas: pipeline.schemas.clone(),
        enricher: Arc::clone(&pipeline.enricher),
        filters: pipeline.filters.clone(),
        compute: pipeline.compute.clone(),
        pools: Arc::clone(&pipeline.pools),
        stats: Arc::clone(&pipeline.stats),
        term: Arc::clone(term),
    }
}

/// Work of others is taken until `stop`, and what it takes to hand over is there until `over`.
fn help(
    owner: Option<Arc<Owner>>,
    worker: Option<Worker>,
    (stop, over): (&CancellationToken, &CancellationToken),
) -> TaskTracker {
    let tasks = TaskTracker::new();
    if let Some(owner) = owner {
        tasks.spawn(owner.run(over.clone()));
    }
    if let Some(worker) = worker {
        tasks.spawn(worker.run(stop.clone()));
    }
    tasks.close();
    tasks
}

fn name(configured: &str) -> anyhow::Result<String> {
    if !configured.is_empty() {
        return Ok(configured.to_owned());
    }
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { Err(usage("the host has no name: give node.name")) } else { Ok(name) }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| usage(format!("node.http is {address}, which can not be listened on: {error}")))
}

fn enricher(config: &Config) -> anyhow::Result<Enricher> {
    let settings = &config.node;
    let models = setup::models(&settings.models, config)?;
    Ok(Enricher::new(models, setup::catalogs(settings.catalogs.as_deref(), config)?))
}

/// The schema registry, if there is one.
fn schemas(config: &Config, decoder: &Arc<Decoder>) -> anyhow::Result<Option<Arc<Schemas>>> {
    if config.schemas.registry.is_empty() {
        return Ok(None);
    }
    let cache = Path::new(&config.node.state).join("schemas");
    Schemas::open(&config.schemas, cache, Arc::clone(decoder)).map(Some).map_err(usage)
}

fn output(config: &Config) -> anyhow::Result<Output> {
    let output = &config.output;
    let connection = config.kafka.get(&output.cluster).cloned().ok_or_else(|| {
        usage(format!("output.cluster is `{}`, and there is no [kafka.{}]", output.cluster, output.cluster))
    })?;
    Ok(Output {
        results: output.results.clone(),
        dead_letters: output.dead_letters.clone(),
        progress: output.progress.clone(),
        partitions: output.partitions,
        replication: output.replication,
        ..Output::new(connection, "")
    })
}

fn shared(config: &Config, cores: usize, http: SocketAddr, identity: &Identity) -> Shared {
    let settings = &config.node;
    let advertised = if settings.advertise.is_empty() { http.to_string() } else { settings.advertise.clone() };
    let info = NodeInfo {
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        labels: settings.labels.iter().cloned().collect(),
        addresses: [("metrics".to_owned(), advertised)].into(),
    };
    let machine = Machine { timing: config.leases, ..Machine::new(info) };
    let node = Node::new(machine, identity.me.clone(), identity.ended);
    Shared { node: Arc::new(Mutex::new(node)), clock: Clock(Instant::now()), positions: Arc::default() }
}
