//! One row: a pipeline as standalone builds it, fed from memory, and what it took.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use boom_node::books::Books;
use boom_node::catalogs::Catalogs;
use boom_node::compute::Compute;
use boom_node::config::Config;
use boom_node::filters;
use boom_node::pipeline::{Gate, Item, Pipeline, Pools, entrance};
use boom_node::scorer::{self, Backend, Model};
use boom_node::sink::Progress;
use boom_node::sink::files::Files;
use boom_node::source::Packet;
use boom_node::stage::enrich::Enricher;
use boom_node::stage::filter::Filters;
use boom_node::stage::record::Provenance;
use boom_node::stats::{Stage, Stats};
use boom_node::store::Embedded;
use boom_sky::schema::Decoder;
use boom_store::catalog::CatalogSet;
use boom_store::documents::Store;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};

use crate::allocations;
use crate::packets::Packets;

/// Packets that may wait before the pipeline, as in standalone.
const QUEUE: usize = 64;

/// How long a row goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Length {
    /// By the clock.
    Seconds(u64),
    /// By the number of alerts.
    Alerts(u64),
}

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) packets: Option<PathBuf>,
    pub(crate) catalogs: PathBuf,
    pub(crate) filters: PathBuf,
    pub(crate) models: Vec<PathBuf>,
    pub(crate) workers: usize,
    pub(crate) length: Length,
    pub(crate) out: PathBuf,
}

impl Row {
    /// What differs from row to row.
    fn setting(&self) -> String {
        let filters = self.filters.file_name().unwrap_or_default().display();
        format!("{}25 {filters}", if self.models.is_empty() { "" } else { "ACAI x5, " })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        format!("{}, {} workers", self.setting(), self.workers)
    }

    /// The command line of its process.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let (kind, length) = match self.length {
            Length::Seconds(seconds) => ("--seconds", seconds),
            Length::Alerts(alerts) => ("--alerts", alerts),
        };
        let path = |path: &Path| path.display().to_string();
        let mut all = vec![kind.to_owned(), length.to_string(), "--workers".to_owned(), self.workers.to_string()];
        all.extend(["--catalogs".to_owned(), path(&self.catalogs), "--filters".to_owned(), path(&self.filters)]);
        all.extend(self.packets.iter().flat_map(|folder| ["--packets".to_owned(), path(folder)]));
        all.extend(self.models.iter().flat_map(|folder| ["--models".to_owned(), path(folder)]));
        all
    }

    /// The row of a command line.
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut row = Self {
            packets: None,
            catalogs: PathBuf::new(),
            filters: PathBuf::new(),
            models: Vec::new(),
            workers: 1,
            length: Length::Seconds(1),
            out: PathBuf::new(),
        };
        for pair in arguments.as_chunks::<2>().0 {
            let [name, value] = pair;
            match name.as_str() {
                "--seconds" => row.length = Length::Seconds(value.parse()?),
                "--alerts" => row.length = Length::Alerts(value.parse()?),
                "--workers" => row.workers = value.parse()?,
                "--packets" => row.packets = Some(value.into()),
                "--catalogs" => row.catalogs = value.into(),
                "--filters" => row.filters = value.into(),
                "--models" => row.models.push(value.into()),
                "--out" => row.out = value.into(),
                _ => bail!("{name} is not known"),
            }
        }
        Ok(row)
    }
}

/// Runs a row and gives its numbers.
pub(crate) fn measure(row: &Row) -> anyhow::Result<Value> {
    let mut packets = Packets::open(row.packets.as_deref())?;
    let config = Config::load(None, std::env::vars())?;
    let compute = Compute::start(row.workers)?;
    let list = filters::load(Some(&row.filters), &config.filters)?;
    let filters = Arc::new(Filters::new(list));
    let documents = Arc::new(Store::open(&row.out.join("store"), true)?);
    let catalogs = Catalogs::new(CatalogSet::open_dir(&row.catalogs)?, &config.crossmatch)?;
    let enricher = Arc::new(Enricher::new(models(&row.models)?, catalogs));
    let provenance =
        Provenance { code: String::new(), models: BTreeMap::new(), catalogs: enricher.catalogs().versions() };
    let (sink, _) = Files::open(&row.out, Arc::clone(&documents), compute.clone(), Arc::new(provenance), &Vec::new())?;
    let stats = Arc::new(Stats::default());
    let (_unchanging, filters) = watch::channel(filters);
    let pipeline = Arc::new(Pipeline {
        replays: Arc::default(),
        owner: None,
        decoder: Arc::new(Decoder::new(None, HashMap::new(), String::new(), config.input.max_packet_bytes)),
        schemas: None,
        store: Embedded::new(documents, compute.clone()),
        enricher,
        filters,
        compute,
        pools: Arc::new(Pools::even(row.workers)),
        gate: Gate::open(),
        stats: Arc::clone(&stats),
        positions: Arc::default(),
        clock: || 2_460_000.5,
        batch: config.input.batch,
        batches_in_flight: config.input.batches_in_flight(row.workers),
        batch_wait: Duration::from_millis(config.input.batch_wait_ms),
        suspend_after: config.filters.suspend_after,
    });
    // One thread for waiting, as in standalone.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (before, cpu) = (allocations::until_now(), threads()?);
    let started = Instant::now();
    let (entrance, queue) = entrance(QUEUE);
    let sender = entrance.open("");
    drop(entrance);
    let length = row.length;
    let feeder =
        std::thread::Builder::new().name("feeder".to_owned()).spawn(move || feed(&mut packets, length, &sender))?;
    let outcome = runtime.block_on(pipeline.run(queue, sink, Progress::new(), Books::default()));
    let elapsed = started.elapsed();
    let (after, spent) = (allocations::until_now(), threads()?);
    let (books, _sink) = outcome?;
    // The feeder's thread has ended by now, and with it its entry among the threads: what it used it says itself.
    let fed = feeder.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))??;
    if books.consumed() != fed.packets || books.dead_lettered() > 0 || !books.balance() {
        bail!(
            "of {} packets {} are in the books, {} of them dead letters",
            fed.packets,
            books.consumed(),
            books.dead_lettered()
        );
    }
    let alerts = fed.packets.max(1) as f64;
    let made = (after.0 - before.0 - fed.allocations.0, after.1 - before.1 - fed.allocations.1);
    let (cost, micros) = costs(&stats, &cpu, &spent, alerts);
    let whole = stats.stage(Stage::EndToEnd).latency;
    Ok(json!({
        "setting": row.setting(),
        "workers": row.workers,
        "alerts": fed.packets,
        "rate": alerts / elapsed.as_secs_f64(),
        "cpu_micros": micros,
        "p50_ms": whole.value_at_quantile(0.5) as f64 / 1e3,
        "p99_ms": whole.value_at_quantile(0.99) as f64 / 1e3,
        "passed": stats.tally().passed(),
        "allocations": made.0 as f64 / alerts,
        "allocated_kb": made.1 as f64 / alerts / 1024.0,
        "peak_mb": status("VmHWM")?,
        "anonymous_mb": status("RssAnon")?,
        "cost": cost,
    }))
}

/// The ACAI models of these folders.
fn models(folders: &[PathBuf]) -> anyhow::Result<Vec<Model>> {
    if folders.is_empty() {
        return Ok(Vec::new());
    }
    let backend = Backend::choose(None, std::env::var_os("ORT_DYLIB_PATH"));
    let mut loaded = scorer::load(folders, &backend);
    if let Some(problem) = loaded.problems.first() {
        bail!("{problem}");
    }
    loaded.models.retain(|model| model.manifest.name.starts_with("acai"));
    if loaded.models.len() != 5 {
        bail!("{} ACAI models are there, where five are wanted", loaded.models.len());
    }
    Ok(loaded.models)
}

/// What the feeder did, and what it took for that alone.
struct Fed {
    packets: u64,
    allocations: (u64, u64),
}

fn feed(packets: &mut Packets, length: Length, sender: &mpsc::Sender<Item>) -> anyhow::Result<Fed> {
    let (started, source) = (Instant::now(), Arc::<str>::from("memory"));
    let mut fed = Fed { packets: 0, allocations: (0, 0) };
    loop {
        let go_on = match length {
            Length::Seconds(seconds) => started.elapsed() < Duration::from_secs(seconds),
            Length::Alerts(alerts) => fed.packets < alerts,
        };
        if !go_on {
            return Ok(fed);
        }
        let bytes = packets.packet();
        // The packet and its object's name.
        fed.allocations = (fed.allocations.0 + 2, fed.allocations.1 + bytes.len() as u64);
        let packet = Packet {
            source: Arc::clone(&source),
            offset: fed.packets,
            name: String::new(),
            timestamp: None,
            retry_of: None,
            assignment: 0,
            bytes,
            fault: None,
        };
        sender.blocking_send(packet.into()).context("the pipeline has ended")?;
        fed.packets += 1;
    }
}

type Spent = BTreeMap<String, Duration>;

/// CPU time of the process's threads, by their names without numbers.
fn threads() -> anyhow::Result<Spent> {
    let mut all = Spent::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let folder = task?.path();
        let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
        let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
        let times = std::fs::read_to_string(folder.join("schedstat")).unwrap_or_default();
        let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        *all.entry(name).or_default() += Duration::from_nanos(nanos);
    }
    Ok(all)
}

/// µs an alert of each stage and each kind of thread, and of all threads but the feeder.
fn costs(stats: &Stats, before: &Spent, after: &Spent, alerts: f64) -> (Map<String, Value>, f64) {
    let mut costs = Map::new();
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / alerts;
    let (mut staged, mut all) = (Duration::ZERO, 0.0);
    for stage in Stage::ALL {
        let busy = stats.stage(stage).busy;
        if !busy.is_zero() {
            costs.insert(format!("stage {}", stage.name()), micros(busy).into());
            staged += busy;
        }
    }
    for (name, time) in after {
        let spent = time.saturating_sub(before.get(name).copied().unwrap_or_default());
        if name == "compute" {
            costs.insert(
                "storing and committing on compute threads".to_owned(),
                micros(spent.saturating_sub(staged)).into(),
            );
        }
        if name != "feeder" && micros(spent) >= 1.0 {
            costs.insert(format!("threads {name}"), micros(spent).into());
            all += micros(spent);
        }
    }
    (costs, all)
}

/// A line of `/proc/self/status`, MB.
fn status(name: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    Ok(kilobytes.with_context(|| format!("{name} is not known here"))? / 1024.0)
}
