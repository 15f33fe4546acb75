//! One process, no server: packets from files or the simulator, an embedded store, results to files.
//!
//! Puts the parts together and runs them; decides nothing that the parts decide.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use boom_sky::schema::Decoder;
use boom_sky::survey::{SURVEYS, Survey};
use boom_sky::units::Jd;
use boom_store::catalog::CatalogSet;
use boom_store::documents::Store as Documents;
use boom_store::schemas;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::books::Books;
use crate::catalogs::Catalogs;
use crate::compute::Compute;
use crate::config::Config;
use crate::pipeline::Pipeline;
use crate::scorer::{self, Backend};
use crate::sink::Progress;
use crate::sink::files::{Error as OutputError, Files as Output, Identity, write_ledger};
use crate::source::files::Files;
use crate::source::simulated::Simulated;
use crate::source::simulator::{SimulatedSurvey, Simulator, SimulatorConfig};
use crate::source::{Packet, Source};
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
    let decoder = decoder(&options, &config)?;
    std::fs::create_dir_all(&options.out).with_context(|| format!("making the output {}", options.out.display()))?;
    let documents = Arc::new(Documents::open(&options.out.join("store"), true)?);
    let catalogs = catalogs(&options, &config)?;
    let enricher = Arc::new(Enricher::new(models(&options, &config)?, catalogs));
    let provenance = Arc::new(provenance(&enricher));
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

    let stats = Arc::new(Stats::new(filters.list().len()));
    let pipeline = Arc::new(Pipeline {
        decoder,
        store: Embedded::new(documents, compute.clone()),
        enricher,
        filters: Arc::clone(&filters),
        compute,
        stats: Arc::clone(&stats),
        clock: now,
        batch: config.input.batch,
        batches_in_flight: config.input.batches_in_flight,
        suspend_after: config.filters.suspend_after,
    });
    let expected = source.expected().map(|all| all.saturating_sub(recovered.progress.values().sum()));
    let watcher = tokio::spawn(summary::watch(Arc::clone(&stats), expected, config.input.batches_in_flight));
    let (packets, queue) = mpsc::channel(QUEUE);
    let reader = Reader { packets, progress: recovered.progress.clone(), stop: stop.clone() };
    let reading = std::thread::Builder::new().name("source".to_owned()).spawn(move || reader.run(&mut *source))?;
    let outcome = pipeline.run(queue, sink, recovered.progress, books).await;
    watcher.abort();
    let (books, _sink) = outcome.map_err(anyhow::Error::new)?;
    let read = tokio::task::spawn_blocking(move || reading.join()).await?;
    read.map_err(|_| anyhow::anyhow!("the source's thread panicked (this is a defect of boom)"))?.map_err(usage)?;
    write_ledger(&options.out, &books)?;
    let tables = summary::tables(&stats, &books, &filters, started.elapsed());
    let report = format!("{tables}\n{}", summary::next_steps(&options.out, &books));
    Ok(Ended { books, stopped: stop.is_cancelled(), report })
}

/// The command line, or what it names, is at fault: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    UsageError(error.to_string()).into()
}

/// An output that belongs to another run is the command line's fault.
fn refused(error: OutputError) -> anyhow::Error {
    match error {
        OutputError::Foreign { .. } => usage(error),
        error => error.into(),
    }
}

/// The time by the machine's clock, JD.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Jd::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).0
}

/// Reads the source on a thread of its own, leaving out what was decided before.
struct Reader {
    packets: mpsc::Sender<Packet>,
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
            match self.packets.blocking_send(packet) {
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

fn decoder(options: &Options, config: &Config) -> anyhow::Result<Arc<Decoder>> {
    let (by_id, hint) = match &options.schemas {
        Some(directory) => {
            let found = schemas::load(directory).map_err(usage)?;
            let hint = format!(
                "{} has {} of {}; add the schema there, or name another directory with --schemas",
                directory.display(),
                found.len(),
                schemas::versions(&found)
            );
            (found, hint)
        }
        None => (HashMap::new(), "no --schemas DIR is given, where writer schemas are looked up by id".to_owned()),
    };
    Ok(Arc::new(Decoder::new(options.survey, by_id, hint, config.input.max_packet_bytes)))
}

fn catalogs(options: &Options, config: &Config) -> anyhow::Result<Catalogs> {
    let set = match &options.catalogs {
        Some(directory) => CatalogSet::open_dir(directory).map_err(usage)?,
        None if options.input.is_empty() => {
            let directory = options.out.join("catalogs");
            simulated_catalogs(&simulator(config)?, &directory)?;
            CatalogSet::open_dir(&directory)?
        }
        None => CatalogSet::default(),
    };
    Catalogs::new(set, &config.crossmatch).map_err(usage)
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
    let configured = (!config.models.onnxruntime.is_empty()).then(|| PathBuf::from(&config.models.onnxruntime));
    let backend = Backend::choose(configured.as_deref(), std::env::var_os("ORT_DYLIB_PATH"));
    if options.input.is_empty() && options.models.is_empty() {
        return Ok(vec![scorer::simulated_sky(&backend).map_err(usage)?]);
    }
    if options.models.is_empty() {
        tracing::info!("no --models DIR is given: alerts get no scores");
        return Ok(Vec::new());
    }
    let loaded = scorer::load(&options.models, &backend);
    if !loaded.problems.is_empty() {
        let all: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        return Err(usage(format!("the models can not be used:\n  {}", all.join("\n  "))));
    }
    for (_, line) in &loaded.left_out {
        tracing::info!("{line}");
    }
    if !loaded.models.is_empty() {
        tracing::info!("{} models run on {backend}", loaded.models.len());
    }
    Ok(loaded.models)
}

fn provenance(enricher: &Enricher) -> Provenance {
    let models = SURVEYS.iter().map(|survey| (survey.name.to_owned(), enricher.model_versions(survey)));
    Provenance {
        code: env!("CARGO_PKG_VERSION").to_owned(),
        models: models.filter(|(_, models)| !models.is_empty()).collect(),
        catalogs: enricher.catalogs().versions(),
    }
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
