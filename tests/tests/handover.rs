//! Batches that another node does: the same comes of them, to the last byte, and whatever becomes of the other node, none is lost.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use boom_client::secret::Secret;
use boom_node::books::Books;
use boom_node::catalogs::Catalogs;
use boom_node::compute::Compute;
use boom_node::config::Config;
use boom_node::handover::owner::Counts;
use boom_node::handover::worker::Worker;
use boom_node::handover::{HandOver, Memory, Owner};
use boom_node::pipeline::{Gate, Item, Pipeline, Pools, entrance};
use boom_node::scorer::Backend;
use boom_node::sink::Progress;
use boom_node::sink::files::Files;
use boom_node::source::Packet;
use boom_node::source::simulator::{SimulatedSurvey, Simulator};
use boom_node::stage::enrich::Enricher;
use boom_node::stage::filter::Filters;
use boom_node::stage::record::Provenance;
use boom_node::stats::Stats;
use boom_node::store::Embedded;
use boom_node::{filters, scorer, simulated_sky};
use boom_plan::handover::{Policy, Why};
use boom_plan::quota::Stage;
use boom_plan::time::Span;
use boom_sky::schema::Decoder;
use boom_store::catalog::CatalogSet;
use boom_store::documents::Store;
use boom_tests::documents::{Documents, assert_complete};
use boom_tests::output::{candids, dead_letters, lines, records};
use boom_tests::packets::simulated;
use boom_tests::shared::repository;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the nodes of a test share: what they do work with.
struct Setting {
    decoder: Arc<Decoder>,
    enricher: Arc<Enricher>,
    filters: watch::Receiver<Arc<Filters>>,
    _unchanging: watch::Sender<Arc<Filters>>,
    _directory: tempfile::TempDir,
}

impl Setting {
    /// The demo's models, filters and catalogs.
    fn new() -> Self {
        let config = Config::load(None, std::iter::empty()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let sky = Simulator::new(boom_node::source::simulator::SimulatorConfig {
            survey: SimulatedSurvey::Ztf,
            alerts: 200,
            nights: 3,
            seed: 5,
        });
        sky.catalogs().iter().for_each(|catalog| simulated_sky::write(catalog, directory.path()).unwrap());
        let catalogs = Catalogs::new(CatalogSet::open_dir(directory.path()).unwrap(), &config.crossmatch).unwrap();
        let models = scorer::load(&[repository().join("deploy/models")], &Backend::choose(None, None)).models;
        assert!(!models.is_empty(), "there is a model that looks at stamps");
        let list = filters::load(Some(&repository().join("deploy/filters")), &config.filters).unwrap();
        let (unchanging, filters) = watch::channel(Arc::new(Filters::new(list)));
        let decoder = Arc::new(Decoder::new(None, HashMap::new(), String::new(), 1 << 20));
        let enricher = Arc::new(Enricher::new(models, catalogs));
        Self { decoder, enricher, filters, _unchanging: unchanging, _directory: directory }
    }

    /// Runs a night through a node with so many workers for each stage, into a directory.
    async fn run(&self, out: &Path, workers: usize, owner: Option<Arc<Owner>>) -> Books {
        let compute = Compute::start(2).unwrap();
        let documents = Arc::new(Store::open(&out.join("store"), true).unwrap());
        let provenance = Provenance { code: String::new(), models: BTreeMap::new(), catalogs: Vec::new() };
        let opened = Files::open(out, Arc::clone(&documents), compute.clone(), Arc::new(provenance), &Vec::new());
        let pipeline = Arc::new(Pipeline {
            decoder: Arc::clone(&self.decoder),
            schemas: None,
            replays: Arc::default(),
            store: Embedded::new(documents, compute.clone()),
            enricher: Arc::clone(&self.enricher),
            filters: self.filters.clone(),
            owner,
            compute,
            pools: Arc::new(Pools::even(workers)),
            gate: Gate::open(),
            stats: Arc::new(Stats::default()),
            positions: Arc::default(),
            clock: || 2_460_000.5,
            batch: 8,
            batches_in_flight: 4,
            batch_wait: Duration::ZERO,
            suspend_after: 0,
        });
        let (entrance, queue) = entrance(1024);
        let sender = entrance.open("");
        for packet in night() {
            sender.try_send(Item::Packet(packet)).unwrap();
        }
        drop((entrance, sender));
        let ran = pipeline.run(queue, opened.unwrap().0, Progress::new(), Books::default()).await;
        ran.unwrap().0
    }

    /// Another node, which does nothing but the work of others.
    fn helper(&self, port: &Arc<dyn HandOver>, term: u64) -> Worker {
        Worker {
            port: Arc::clone(port),
            node: "helper".to_owned(),
            decoder: Arc::clone(&self.decoder),
            schemas: None,
            enricher: Arc::clone(&self.enricher),
            filters: self.filters.clone(),
            compute: Compute::start(1).unwrap(),
            pools: Arc::new(Pools::even(1)),
            stats: Arc::new(Stats::default()),
            term: Arc::new(AtomicU64::new(term)),
        }
    }

    /// Runs a night through a node without workers beside others; gives its books and what was handed over, by stage.
    async fn run_beside(&self, out: &Path, port: Arc<dyn HandOver>, helpers: Vec<Worker>) -> (Books, [Counts; 3]) {
        let (books, owner) = self.run_with(out, (0, Policy::default()), port, helpers).await;
        (books, Stage::ALL.map(|stage| owner.counts(stage)))
    }

    /// Runs a night through a node with so many workers for each stage beside others.
    async fn run_with(
        &self,
        out: &Path,
        (workers, policy): (usize, Policy),
        port: Arc<dyn HandOver>,
        helpers: Vec<Worker>,
    ) -> (Books, Arc<Owner>) {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        helpers.into_iter().for_each(|helper| drop(tasks.spawn(helper.run(stop.clone()))));
        let owner = Arc::new(Owner::new(port, "owner", "owner:1".to_owned(), policy, Arc::new(AtomicU64::new(7))));
        tasks.spawn(Arc::clone(&owner).run(stop.clone()));
        let books = self.run(out, workers, Some(Arc::clone(&owner))).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        (books, owner)
    }
}

/// Alerts of both surveys, and packets that are none.
fn night() -> Vec<Packet> {
    let ztf = simulated(SimulatedSurvey::Ztf, 200, 5).into_iter().map(|packet| packet.bytes);
    let lsst = simulated(SimulatedSurvey::Lsst, 60, 5).into_iter().map(|packet| packet.bytes);
    let mut all: Vec<Vec<u8>> = ztf.chain(lsst).collect();
    all[17].truncate(900);
    all[40].clear();
    let packet = |(offset, bytes): (u64, Vec<u8>)| {
        let (source, name) = (Arc::from("night"), offset.to_string());
        Packet { source, assignment: 0, offset, name, timestamp: None, bytes, retry_of: None, fault: None }
    };
    (0..).zip(all).map(packet).collect()
}

/// Compares what two runs have written, all of it.
#[track_caller]
fn assert_same(here: &Path, there: &Path) {
    assert!(!lines(here).is_empty(), "something passes");
    assert_eq!(lines(here), lines(there));
    assert_eq!(records(here), records(there), "with cutouts and light curves");
    assert_eq!(dead_letters(here), dead_letters(there));
    let of = |out: &Path| Documents::of_standalone(out, candids(here));
    assert_complete(&of(here), &of(there));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_night_that_another_node_does_gives_the_same_to_the_last_byte() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    let books = setting.run(&here, 2, None).await;
    let port: Arc<dyn HandOver> = Arc::new(Memory::default());
    let helpers = vec![setting.helper(&port, 7)];
    let (others, counts) = setting.run_beside(&there, port, helpers).await;
    assert_eq!(books, others);
    assert_same(&here, &there);
    for (stage, counts) in Stage::ALL.iter().zip(counts) {
        assert!(counts.given >= 258, "all of {stage} is done by the other one: {counts:?}");
        assert_eq!((counts.refused, counts.overdue), (0, 0), "{stage}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_busy_node_does_not_get_to_another_one_does() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    let books = setting.run(&here, 1, None).await;
    let port: Arc<dyn HandOver> = Arc::new(Memory::default());
    let (helpers, policy) = (vec![setting.helper(&port, 7)], Policy { patience: Span(0), ..Policy::default() });
    let (others, owner) = setting.run_with(&there, (1, policy), port, helpers).await;
    assert_eq!(books, others);
    assert_same(&here, &there);
    let (why, counts) = (owner.said(Stage::Enrich).0, owner.counts(Stage::Enrich));
    assert_eq!(why, Some(Why::Busy), "it has a worker of its own");
    assert!((1..258).contains(&counts.given), "both have done some: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_knows_a_later_leader_refuses_and_the_owner_does_it_itself() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    let port: Arc<dyn HandOver> = Arc::new(Memory::default());
    let helpers = vec![setting.helper(&port, 8)];
    let (books, counts) = setting.run_beside(directory.path(), port, helpers).await;
    assert_eq!((books.consumed(), books.balance()), (260, true));
    assert!(counts.iter().all(|counts| counts.given == 0 && counts.refused > 0), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_other_models_is_not_even_asked() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    let port: Arc<dyn HandOver> = Arc::new(Memory::default());
    let none = Catalogs::new(CatalogSet::default(), &[]).unwrap();
    let other = Worker { enricher: Arc::new(Enricher::new(Vec::new(), none)), ..setting.helper(&port, 7) };
    let (books, counts) = setting.run_beside(directory.path(), port, vec![other]).await;
    assert_eq!((books.consumed(), books.balance()), (260, true));
    assert_eq!((counts[Stage::Enrich as usize].given, counts[Stage::Enrich as usize].bytes_out), (0, 0));
    assert!(counts[Stage::Filter as usize].given > 0, "its filters are the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_anybody_else_a_node_does_what_it_would_hand_over() {
    let (setting, directory) = (Setting::new(), tempfile::tempdir().unwrap());
    let nowhere = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(nowhere.path(), "redis://127.0.0.1:1").unwrap();
    let valkey = boom_node::handover::Valkey::new(&Secret::File(nowhere.path().to_owned()), "boom").unwrap();
    let (books, counts) = setting.run_beside(directory.path(), Arc::new(valkey), Vec::new()).await;
    assert_eq!((books.consumed(), books.balance()), (260, true));
    assert!(counts.iter().all(|counts| counts.given == 0), "{counts:?}");
}
