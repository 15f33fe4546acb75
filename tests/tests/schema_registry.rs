//! LSST packets in Confluent framing, whose writer schemas a registry has: several majors at once, a registry that is away, an id that it does not
//! have, a restart. The registry is one of the test's own, which speaks the protocol over a socket.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boom_client::secret::Secret;
use boom_node::books::Books;
use boom_node::catalogs::Catalogs;
use boom_node::compute::Compute;
use boom_node::config::Schemas as Settings;
use boom_node::pipeline::{Gate, Item, Pipeline, Pools};
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
use boom_sky::schema::{Container, DecodeError, Decoder};
use boom_store::catalog::CatalogSet;
use boom_store::documents::Store;
use boom_tests::eventually::in_time;
use boom_tests::output::dead_letters;
use boom_tests::packets::simulated;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Ids of two majors, and one that no registry has.
const V11: u32 = 1100;
const V12: u32 = 1200;
const NOBODYS: u32 = 9999;

const ALERTS: u64 = 8;

/// `boom:s3cret`.
const LOGIN: &str = "authorization: basic ym9vbtpzm2nyzxq=";

/// A registry: answers by path, and how often each was asked for.
struct Registry {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Value>,
    away: AtomicBool,
    asked: Mutex<BTreeMap<String, u32>>,
}

impl Registry {
    fn start(answers: BTreeMap<String, Value>, away: bool) -> Self {
        Self::serve(answers, away, None)
    }

    fn serve(answers: BTreeMap<String, Value>, away: bool, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { answers, away: AtomicBool::new(away), ..State::default() });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                match &tls {
                    None => serving.answer(stream),
                    Some(tls) => {
                        let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                        serving.answer(StreamOwned::new(connection, stream));
                    }
                }
            }
        });
        Self { address, state }
    }

    fn asked(&self, path: &str) -> u32 {
        self.state.asked.lock().unwrap().get(path).copied().unwrap_or_default()
    }
}

impl State {
    /// Answers one question; while it is away it hangs up.
    fn answer(&self, mut stream: impl Read + Write) {
        let lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else { return };
        *self.asked.lock().unwrap().entry(path.clone()).or_default() += 1;
        if self.away.load(Ordering::SeqCst) {
            return;
        }
        let (status, body) = match self.answers.get(&path) {
            _ if !head.iter().any(|line| line.to_lowercase() == LOGIN) => ("401 Unauthorized", json!({})),
            Some(answer) => ("200 OK", answer.clone()),
            None => ("404 Not Found", json!({"error_code": 40403, "message": "Schema not found"})),
        };
        let body = body.to_string();
        let sent = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        sent.unwrap();
    }
}

/// What the tests are about: framed packets of two majors and the candids in them, and what a registry says of their schemas.
struct Night {
    packets: Vec<Vec<u8>>,
    candids: Vec<i64>,
    answers: BTreeMap<String, Value>,
}

fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), datum].concat()
}

impl Night {
    /// Every other packet is of a later major, which has one field more. Its `diaSource` is a schema of its own.
    fn new() -> Self {
        let simulated = simulated(SimulatedSurvey::Lsst, ALERTS, 3);
        let mut schema = Value::Null;
        let mut packets = Vec::new();
        for (number, packet) in simulated.iter().enumerate() {
            let container = Container::parse(&packet.bytes).unwrap();
            schema = serde_json::from_slice(container.schema).unwrap();
            let datum = container.block(&packet.bytes, container.length).unwrap().unwrap().data;
            packets.push(if number % 2 == 0 { framed(V11, datum) } else { framed(V12, &[datum, &[2]].concat()) });
        }
        let mut later: Value = serde_json::from_str(&schema.to_string().replace("v11_0", "v12_0")).unwrap();
        let fields = later["fields"].as_array_mut().unwrap();
        fields.push(json!({"name": "novelty", "type": "int"}));
        let source = fields.iter_mut().find(|field| field["name"] == "diaSource").unwrap();
        let referred = std::mem::replace(&mut source["type"], json!("lsst.v12_0.diaSource"));
        let reference = json!({"name": "lsst.v12_0.diaSource", "subject": "lsst/source", "version": 3});
        let answers = [
            (format!("/schemas/ids/{V11}"), json!({"schema": schema.to_string()})),
            (
                format!("/schemas/ids/{V12}"),
                json!({"schema": later.to_string(), "schemaType": "AVRO", "references": [reference]}),
            ),
            ("/subjects/lsst%2Fsource/versions/3".to_owned(), json!({"schema": referred.to_string(), "id": 7})),
        ];
        let candids = simulated.iter().map(|packet| packet.candid).collect();
        Self { packets, candids, answers: answers.into() }
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
    std::fs::write(&password, "s3cret\n").unwrap();
    let (user, password) = ("boom".to_owned(), Some(Secret::File(password)));
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
    let asked = registry.state.asked.lock().unwrap().clone();
    assert_eq!(asked, night.answers.keys().map(|path| (path.clone(), 1)).collect());
}

#[tokio::test]
async fn a_registry_that_is_away_is_waited_for_until_it_is_back() {
    let (night, state, decoder) = (Night::new(), tempfile::tempdir().unwrap(), decoder());
    let registry = Registry::start(night.answers.clone(), true);
    let schemas = schemas(registry.address, 60, state.path(), &decoder);
    let path = format!("/schemas/ids/{V11}");
    let back = async {
        in_time("the registry is asked again", async || (registry.asked(&path) >= 2).then_some(())).await;
        assert!(!decoder.knows(V11));
        registry.state.away.store(false, Ordering::SeqCst);
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
    registry.state.away.store(false, Ordering::SeqCst);
    schemas.prepare(night.bytes()).await;
    assert_eq!(night.decoded(&decoder), night.candids, "that it was unknown is not remembered");
}

#[tokio::test]
async fn after_a_restart_with_the_registry_away_the_schemas_are_on_disk() {
    let (night, state) = (Night::new(), tempfile::tempdir().unwrap());
    let registry = Registry::start(night.answers.clone(), false);
    schemas(registry.address, 30, state.path(), &decoder()).prepare(night.bytes()).await;
    registry.state.away.store(true, Ordering::SeqCst);

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
    assert_eq!(registry.asked(&format!("/schemas/ids/{NOBODYS}")), 4, "a few times for all of them");
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
    assert_eq!(*registry.state.asked.lock().unwrap(), BTreeMap::new(), "so it has not seen the password");

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
    let (sender, queue) = mpsc::channel(64);
    for (offset, bytes) in (0..).zip(packets) {
        let (source, name) = (Arc::from("lsst/0"), offset.to_string());
        let packet = Packet { source, assignment: 0, offset, name, timestamp: None, bytes, fault: None };
        sender.try_send(Item::Packet(packet)).unwrap();
    }
    drop(sender);
    let ran = pipeline.run(queue, opened.unwrap().0, Progress::new(), Books::default()).await;
    ran.unwrap().0
}
