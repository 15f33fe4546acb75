//! One process, no server: packets from files or the simulator, an embedded store, results to files.
//!
//! Puts the parts together and runs them; decides nothing that the parts decide.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use boom_sky::survey::Survey;
use boom_store::documents::Store as Documents;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::books::Books;
use crate::catalogs::Catalogs;
use crate::compute::Compute;
use crate::config::Config;
use crate::pipeline::{Gate, Item, Pipeline, Pools, entrance};
use crate::scorer;
use crate::setup::{self, usage};
use crate::sink::Progress;
use crate::sink::files::{Error as OutputError, Files as Output, Identity, write_ledger};
use crate::source::Source;
use crate::source::files::Files;
use crate::source::simulated::Simulated;
use crate::source::simulator::{SimulatedSurvey, Simulator, SimulatorConfig};
use crate::stage::enrich::Enricher;
use crate::stage::filter::Filters;
use crate::stage::record::Provenance;
use crate::stats::Stats;
use crate::store::Embedded;
use crate::{filters, summary};

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Files, directories, archives; none: the simulator.
    pub input: Vec<PathBuf>,
    /// Takes packets whose schema names no survey as this one's.
    pub survey: Option<&'static Survey>,
    /// Writer schemas of Confluent ids.
    pub schemas: Option<PathBuf>,
    /// Filters; none: the built-in ones.
    pub filters: Option<PathBuf>,
    /// Catalogs; none: the simulator's own.
    pub catalogs: Option<PathBuf>,
    /// Where model files and manifests are looked for.
    pub models: Vec<PathBuf>,
    /// Where everything is written.
    pub out: PathBuf,
    /// Compute threads; none: one for each core.
    pub workers: Option<usize>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The books.
    pub books: Books,
    /// Whether it was stopped before its input ended.
    pub stopped: bool,
    /// What to print.
    pub report: String,
}

/// Packets that may wait between the source's thread and the pipeline.
const QUEUE: usize = 64;

/// Runs until the input ends or `stop` is cancelled.
///
/// # Errors
/// What keeps the run from going on; `UsageError` inside where the command line or what it names is at fault.
pub async fn run(options: Options, config: Config, stop: CancellationToken) -> anyhow::Result<Ended> {
    let started = Instant::now();
    let threads = options.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let compute = Compute::start(threads).context("starting the compute threads")?;
    let mut source = source(&options, &config)?;
    let inputs = source.identity().map_err(usage)?;
    let list = filters::load(options.filters.as_deref(), &config.filters).map_err(usage)?;
    let filters = Arc::new(Filters::new(list));
    let decoder = setup::decoder(options.survey, options.schemas.as_deref(), &config)?;
    std::fs::create_dir_all(&options.out).with_context(|| format!("making the output {}", options.out.display()))?;
    let documents = Arc::new(Documents::open(&options.out.join("store"), true)?);
    let catalogs = catalogs(&options, &config)?;
    let enricher = Arc::new(Enricher::new(models(&options, &config)?, catalogs));
    let provenance = Arc::new(setup::provenance(&enricher));
    let identity = identity(inputs, &options, &filters, &provenance);
    let (sink, recovered) =
        Output::open(&options.out, Arc::clone(&documents), compute.clone(), provenance, &identity).map_err(refused)?;
    let mut books = recovered.books;
    for (index, filter) in filters.list().iter().enumerate() {
        books.open_filter(&filter.name, filter.version());
        if books.suspended(&filter.name, filter.version()) {
            filters.suspend(index);
        }
    }
    if books.consumed() > 0 {
        tracing::info!("going on with {}: {} alerts are done", options.out.display(), books.consumed());
    }

    let stats = Arc::new(Stats::default());
    let batches_in_flight = config.input.batches_in_flight(threads);
    let (_unchanging, held) = watch::channel(Arc::clone(&filters));
    let pipeline = Arc::new(Pipeline {
        replays: Arc::default(),
        owner: None,
        decoder,
        schemas: None,
        store: Embedded::new(documents, compute.clone()),
        enricher,
        filters: held,
        compute,
        pools: Arc::new(Pools::even(threads)),
        gate: Gate::open(),
        stats: Arc::clone(&stats),
        positions: Arc::default(),
        clock: setup::now,
        batch: config.input.batch,
        batches_in_flight,
        batch_wait: Duration::from_millis(config.input.batch_wait_ms),
        suspend_after: config.filters.suspend_after,
    });
    let expected = source.expected().map(|all| all.saturating_sub(recovered.progress.values().sum()));
    let watcher = tokio::spawn(summary::watch(Arc::clone(&stats), expected, batches_in_flight));
    let (entrance, queue) = entrance(QUEUE);
    let packets = entrance.open("");
    drop(entrance);
    let reader = Reader { packets, progress: recovered.progress.clone(), stop: stop.clone() };
    let reading = std::thread::Builder::new().name("source".to_owned()).spawn(move || reader.run(&mut *source))?;
    let outcome = pipeline.run(queue, sink, recovered.progress, books).await;
    watcher.abort();
    let (books, _sink) = outcome.map_err(anyhow::Error::new)?;
    let read = tokio::task::spawn_blocking(move || reading.join()).await?;
    read.map_err(|_| anyhow::anyhow!("the source's thread panicked (this is a defect of boom)"))?.map_err(usage)?;
    write_ledger(&options.out, &books)?;
    let tables = summary::tables(&stats, &books, started.elapsed());
    let report = format!("{tables}\n{}", summary::next_steps(&options.out, &books));
    Ok(Ended { books, stopped: stop.is_cancelled(), report })
}

/// An output that belongs to another run is the command line's fault.
fn refused(error: OutputError) -> anyhow::Error {
    match error {
        OutputError::Foreign { .. } => usage(error),
        error => error.into(),
    }
}

/// Reads the source on a thread of its own, leaving out what was decided before.
struct Reader {
    packets: mpsc::Sender<Item>,
    progress: Progress,
    stop: CancellationToken,
}

impl Reader {
    fn run(self, source: &mut dyn Source) -> Result<(), crate::source::SourceError> {
        source.run(&mut |packet| {
            let decided = self.progress.get(&*packet.source).is_some_and(|next| packet.offset < *next);
            if self.stop.is_cancelled() {
                return ControlFlow::Break(());
            }
            if decided {
                return ControlFlow::Continue(());
            }
            match self.packets.blocking_send(packet.into()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
    }
}

/// The simulated night of the configuration.
fn simulator(config: &Config) -> anyhow::Result<SimulatorConfig> {
    let night = &config.simulator;
    let survey = match night.survey.to_lowercase().as_str() {
        "ztf" => SimulatedSurvey::Ztf,
        "lsst" => SimulatedSurvey::Lsst,
        other => return Err(usage(format!("simulator.survey is `{other}`: ztf and lsst are simulated"))),
    };
    Ok(SimulatorConfig { survey, alerts: night.alerts, nights: night.nights, seed: night.seed })
}

fn source(options: &Options, config: &Config) -> anyhow::Result<Box<dyn Source>> {
    if options.input.is_empty() {
        return Ok(Box::new(Simulated::new(simulator(config)?)));
    }
    for (index, input) in options.input.iter().enumerate() {
        if options.input[..index].contains(input) {
            return Err(usage(format!("the input {} is given twice", input.display())));
        }
        if input.as_os_str() != "-" && !input.exists() {
            return Err(usage(format!("the input {} is not there", input.display())));
        }
    }
    Ok(Box::new(Files::new(options.input.clone(), config.input.max_packet_bytes)))
}

fn catalogs(options: &Options, config: &Config) -> anyhow::Result<Catalogs> {
    if options.catalogs.is_none() && options.input.is_empty() {
        let directory = options.out.join("catalogs");
        simulated_catalogs(&simulator(config)?, &directory)?;
        return setup::catalogs(Some(&directory), config);
    }
    setup::catalogs(options.catalogs.as_deref(), config)
}

/// Writes the catalogs of the simulated sky, the same for the same seed.
fn simulated_catalogs(config: &SimulatorConfig, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    for catalog in Simulator::new(config.clone()).catalogs() {
        crate::simulated_sky::write(&catalog, directory)?;
    }
    Ok(())
}

fn models(options: &Options, config: &Config) -> anyhow::Result<Vec<scorer::Model>> {
    if options.input.is_empty() && options.models.is_empty() {
        return Ok(vec![scorer::simulated_sky(&setup::backend(config)).map_err(usage)?]);
    }
    setup::models(&options.models, config)
}

/// What the output is an output of: with anything else it does not go on.
fn identity(inputs: Vec<String>, options: &Options, filters: &Filters, provenance: &Provenance) -> Identity {
    let filters: Vec<String> =
        filters.list().iter().map(|filter| format!("{}@{}", filter.name, filter.version())).collect();
    let survey = options.survey.map_or("told by the schema", |survey| survey.name);
    let text = |name: &str, value: String| (name.to_owned(), value);
    vec![
        text("input", inputs.join(", ")),
        text("survey", survey.to_owned()),
        text("filters", filters.join(", ")),
        text("models", format!("{:?}", provenance.models)),
        text("catalogs", format!("{:?}", provenance.catalogs)),
    ]
}
