//! LSST packets in Confluent framing, whose writer schemas a registry has: several majors at once, a registry that is away, an id that it does not
//! have, a restart. The registry is one of the test's own, which speaks the protocol over a socket.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use boom_client::secret::Secret;
use boom_node::books::Books;
use boom_node::catalogs::Catalogs;
use boom_node::compute::Compute;
use boom_node::config::Schemas as Settings;
use boom_node::pipeline::{Gate, Item, Pipeline, Pools, entrance};
use boom_node::schemas::Schemas;
use boom_node::sink::Progress;
use boom_node::sink::files::Files;
use boom_node::source::Packet;
use boom_node::source::simulator::SimulatedSurvey;
use boom_node::stage::enrich::Enricher;
use boom_node::stage::filter::Filters;
use boom_node::stage::record::Provenance;
use boom_node::stats::Stats;
use boom_node::store::Embedded;
use boom_sky::schema::decoder::Undecoded;
use boom_sky::schema::{DecodeError, Decoder};
use boom_store::catalog::CatalogSet;
use boom_store::documents::Store;
use boom_tests::eventually::in_time;
use boom_tests::output::dead_letters;
use boom_tests::packets::simulated;
use boom_tests::registry::{Answers, NOBODYS, PASSWORD, Registry, USER, V11, framed, framed_by_two_majors};
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const ALERTS: u64 = 8;

/// What the tests are about: framed packets of two majors and the candids in them, and what a registry says of their schemas.
struct Night {
    packets: Vec<Vec<u8>>,
    candids: Vec<i64>,
    answers: Answers,
}

impl Night {
    fn new() -> Self {
        let simulated = simulated(SimulatedSurvey::Lsst, ALERTS, 3);
        let (packets, answers) = framed_by_two_majors(&simulated);
        Self { packets, candids: simulated.iter().map(|packet| packet.candid).collect(), answers }
    }

    fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().map(Vec::as_slice)
    }

    fn decoded(&self, decoder: &Decoder) -> Vec<i64> {
        self.bytes().flat_map(|packet| decoder.decode(packet)).map(|alert| alert.unwrap().candid).collect()
    }
}

fn decoder() -> Arc<Decoder> {
    Arc::new(Decoder::new(None, HashMap::new(), "nobody knows it".to_owned(), 1 << 20))
}

fn settings(registry: String, state: &Path) -> Settings {
    let password = state.join("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let (user, password) = (USER.to_owned(), Some(Secret::File(password)));
    Settings { registry, user, password, authority: None, patience_s: 30 }
}

fn schemas(address: SocketAddr, patience_s: u64, state: &Path, decoder: &Arc<Decoder>) -> Arc<Schemas> {
    let settings = Settings { patience_s, ..settings(format!("http://{address}"), state) };
    Schemas::open(&settings, state.join("schemas"), Arc::clone(decoder)).unwrap()
}

#[tokio::test]
async fn packets_of_two_majors_decode_each_by_its_own_schema_and_each_schema_is_asked_for_once() {
    let (night, state, decoder) = (Night::new(), tempfile::tempdir().unwrap(), decoder());
    let registry = Registry::start(night.answers.clone(), false);
    let schemas = schemas(registry.address, 30, state.path(), &decoder);
    tokio::join!(schemas.prepare(night.bytes()), schemas.prepare(night.bytes()), schemas.prepare(night.bytes()));
    assert_eq!(night.decoded(&decoder), night.candids);
    assert_eq!(registry.asked(), night.answers.keys().map(|path| (path.clone(), 1)).collect());
}

#[tokio::test]
async fn a_registry_that_is_away_is_waited_for_until_it_is_back() {
    let (night, state, decoder) = (Night::new(), tempfile::tempdir().unwrap(), decoder());
    let registry = Registry::start(night.answers.clone(), true);
    let schemas = schemas(registry.address, 60, state.path(), &decoder);
    let back = async {
        in_time("the registry is asked again", async || (registry.asked_for(V11) >= 2).then_some(())).await;
        assert!(!decoder.knows(V11));
        registry.is_away(false);
    };
    tokio::join!(schemas.prepare(night.bytes()), back);
    assert_eq!(night.decoded(&decoder), night.candids);
}

#[tokio::test]
async fn when_patience_ends_a_packet_is_undecoded_and_the_next_batch_asks_again() {
    let (night, state, decoder) = (Night::new(), tempfile::tempdir().unwrap(), decoder());
    let registry = Registry::start(night.answers.clone(), true);
    let schemas = schemas(registry.address, 1, state.path(), &decoder);
    schemas.prepare(night.bytes()).await;
    let undecoded = decoder.decode(&night.packets[0]);
    let [Err(Undecoded { error: DecodeError::UnknownSchema { id: V11, .. }, .. })] = undecoded.as_slice() else {
        panic!("{undecoded:?}")
    };
    registry.is_away(false);
    schemas.prepare(night.bytes()).await;
    assert_eq!(night.decoded(&decoder), night.candids, "that it was unknown is not remembered");
}

#[tokio::test]
async fn after_a_restart_with_the_registry_away_the_schemas_are_on_disk() {
    let (night, state) = (Night::new(), tempfile::tempdir().unwrap());
    let registry = Registry::start(night.answers.clone(), false);
    schemas(registry.address, 30, state.path(), &decoder()).prepare(night.bytes()).await;
    registry.is_away(true);

    let restarted = decoder();
    schemas(registry.address, 1, state.path(), &restarted).prepare(night.bytes()).await;
    assert_eq!(night.decoded(&restarted), night.candids);

    let (elsewhere, other) = (Registry::start(BTreeMap::new(), false), decoder());
    schemas(elsewhere.address, 1, state.path(), &other).prepare(night.bytes()).await;
    assert!(!other.knows(V11), "another registry means something else by the same id");
}

#[tokio::test]
async fn packets_of_an_id_that_never_comes_are_dead_letters_and_the_others_go_on() {
    let (night, state, decoder) = (Night::new(), tempfile::tempdir().unwrap(), decoder());
    let registry = Registry::start(night.answers.clone(), false);
    let schemas = schemas(registry.address, 30, state.path(), &decoder);
    let mut all = night.packets.clone();
    for at in [0, 3, 6] {
        all.insert(at, framed(NOBODYS, &night.packets[0][5..]));
    }
    let books = run(all, decoder, schemas, state.path()).await;
    assert_eq!((books.consumed(), books.dead_lettered(), books.balance()), (ALERTS + 3, 3, true));
    let letters = dead_letters(state.path());
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|letter| letter["reason"] == "unknown_schema"), "{letters:#?}");
    assert_eq!(registry.asked_for(NOBODYS), 4, "a few times for all of them");
}

#[tokio::test]
async fn a_registry_behind_tls_is_asked_when_its_authority_is_trusted_and_not_otherwise() {
    let (night, state, decoder) = (Night::new(), tempfile::tempdir().unwrap(), decoder());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let registry = Registry::serve(night.answers.clone(), false, Some(Arc::new(server)));
    let address = format!("https://localhost:{}", registry.address.port());

    let mut settings = Settings { patience_s: 1, ..settings(address, state.path()) };
    let strange = Schemas::open(&settings, state.path().join("schemas"), Arc::clone(&decoder)).unwrap();
    strange.prepare(night.bytes()).await;
    assert!(!decoder.knows(V11), "no public authority vouches for it");
    assert_eq!(registry.asked(), BTreeMap::new(), "so it has not seen the password");

    let authority = state.path().join("ca.pem");
    std::fs::write(&authority, made.cert.pem()).unwrap();
    (settings.authority, settings.patience_s) = (Some(authority), 30);
    let trusting = Schemas::open(&settings, state.path().join("schemas"), Arc::clone(&decoder)).unwrap();
    trusting.prepare(night.bytes()).await;
    assert_eq!(night.decoded(&decoder), night.candids);
}

/// Runs packets through a pipeline, two to a batch.
async fn run(packets: Vec<Vec<u8>>, decoder: Arc<Decoder>, schemas: Arc<Schemas>, out: &Path) -> Books {
    let compute = Compute::start(1).unwrap();
    let documents = Arc::new(Store::open(&out.join("store"), true).unwrap());
    let provenance = Provenance { code: String::new(), models: BTreeMap::new(), catalogs: Vec::new() };
    let opened = Files::open(out, Arc::clone(&documents), compute.clone(), Arc::new(provenance), &Vec::new());
    let (_unchanging, filters) = watch::channel(Arc::new(Filters::new(Vec::new())));
    let pipeline = Arc::new(Pipeline {
        replays: Arc::default(),
        owner: None,
        decoder,
        schemas: Some(schemas),
        store: Embedded::new(documents, compute.clone()),
        enricher: Arc::new(Enricher::new(Vec::new(), Catalogs::new(CatalogSet::default(), &[]).unwrap())),
        filters,
        compute,
        pools: Arc::new(Pools::even(1)),
        gate: Gate::open(),
        stats: Arc::new(Stats::default()),
        positions: Arc::default(),
        clock: || 2_460_000.5,
        batch: 2,
        batches_in_flight: 4,
        batch_wait: Duration::ZERO,
        suspend_after: 0,
    });
    let (entrance, queue) = entrance(64);
    let sender = entrance.open("");
    for (offset, bytes) in (0..).zip(packets) {
        let (source, name) = (Arc::from("lsst/0"), offset.to_string());
        let packet =
            Packet { source, assignment: 0, offset, name, timestamp: None, bytes, retry_of: None, fault: None };
        sender.try_send(Item::Packet(packet)).unwrap();
    }
    drop((entrance, sender));
    let ran = pipeline.run(queue, opened.unwrap().0, Progress::new(), Books::default()).await;
    ran.unwrap().0
}
