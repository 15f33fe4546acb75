//! A schema registry of the tests' own, which speaks Confluent's protocol over a socket, and packets in its framing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use boom_node::source::simulator::SimulatedPacket;
use boom_sky::schema::Container;
use serde_json::{Value, json};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Ids of two majors, and one that no registry has.
pub const V11: u32 = 1100;
/// A later major.
pub const V12: u32 = 1200;
/// No registry has it.
pub const NOBODYS: u32 = 9999;

/// The field that the later major has more, and that is kept as every other.
pub const NOVELTY: &str = "novelty";

/// Its value.
pub const NOVEL: i32 = 1;

/// What the registry asks for.
pub const USER: &str = "boom";
/// Its password.
pub const PASSWORD: &str = "s3cret";

/// Both of them as a header.
const LOGIN: &str = "authorization: basic ym9vbtpzm2nyzxq=";

/// What a registry says, by path.
pub type Answers = BTreeMap<String, Value>;

/// A registry.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    answers: Answers,
    away: AtomicBool,
    asked: Mutex<BTreeMap<String, u32>>,
}

impl Registry {
    /// One that gives these answers, when it is not away.
    pub fn start(answers: Answers, away: bool) -> Self {
        Self::serve(answers, away, None)
    }

    /// The same over TLS.
    pub fn serve(answers: Answers, away: bool, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(State { answers, away: AtomicBool::new(away), ..State::default() });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                match &tls {
                    None => serving.answer(stream),
                    Some(tls) => {
                        let connection = ServerConnection::new(Arc::clone(tls)).expect("a configuration for TLS");
                        serving.answer(StreamOwned::new(connection, stream));
                    }
                }
            }
        });
        Self { address, state }
    }

    /// From now on it hangs up, or answers.
    pub fn is_away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }

    /// How often each path was asked for.
    pub fn asked(&self) -> BTreeMap<String, u32> {
        self.state.asked.lock().expect("nobody panics with it").clone()
    }

    /// How often a schema was asked for.
    pub fn asked_for(&self, id: u32) -> u32 {
        self.asked().get(&path(id)).copied().unwrap_or_default()
    }

    /// What a node must be told to ask it; its password is put into that directory.
    pub fn environment(&self, directory: &Path) -> Vec<(&'static str, String)> {
        let password = directory.join("registry-password");
        std::fs::write(&password, PASSWORD).expect("a password is written");
        vec![
            ("BOOM_NODE__SCHEMAS__REGISTRY", format!("http://{}", self.address)),
            ("BOOM_NODE__SCHEMAS__USER", USER.to_owned()),
            ("BOOM_NODE__SCHEMAS__PASSWORD", format!("{{ file = {:?} }}", password.display().to_string())),
        ]
    }
}

impl State {
    /// Answers one question; while it is away it hangs up.
    fn answer(&self, mut stream: impl Read + Write) {
        let lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else { return };
        *self.asked.lock().expect("nobody panics with it").entry(path.clone()).or_default() += 1;
        if self.away.load(Ordering::SeqCst) {
            return;
        }
        let (status, body) = match self.answers.get(&path) {
            _ if !head.iter().any(|line| line.to_lowercase() == LOGIN) => ("401 Unauthorized", json!({})),
            Some(answer) => ("200 OK", answer.clone()),
            None => ("404 Not Found", json!({"error_code": 40403, "message": "Schema not found"})),
        };
        let body = body.to_string();
        // Who asked and went away asks again.
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
}

/// Where a schema is.
fn path(id: u32) -> String {
    format!("/schemas/ids/{id}")
}

/// A datum in Confluent's framing.
pub fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), datum].concat()
}

/// These packets in Confluent's framing, and what a registry says of their schemas. Every other packet is of a later major, which has one field
/// more; its `diaSource` is a schema of its own.
pub fn framed_by_two_majors(packets: &[SimulatedPacket]) -> (Vec<Vec<u8>>, Answers) {
    let mut schema = Value::Null;
    let mut sent = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        let container = Container::parse(&packet.bytes).expect("a container");
        schema = serde_json::from_slice(container.schema).expect("a schema");
        let block = container.block(&packet.bytes, container.length).expect("a block").expect("one at least");
        let datum = block.data;
        // The value of the further field, as Avro writes a small number.
        let novel = [(2 * NOVEL) as u8];
        sent.push(if number % 2 == 0 { framed(V11, datum) } else { framed(V12, &[datum, &novel].concat()) });
    }
    let mut later: Value = serde_json::from_str(&schema.to_string().replace("v11_0", "v12_0")).expect("a schema");
    let fields = later["fields"].as_array_mut().expect("fields");
    fields.push(json!({"name": NOVELTY, "type": "int"}));
    let source = fields.iter_mut().find(|field| field["name"] == "diaSource").expect("a detection");
    let referred = std::mem::replace(&mut source["type"], json!("lsst.v12_0.diaSource"));
    let reference = json!({"name": "lsst.v12_0.diaSource", "subject": "lsst/source", "version": 3});
    let answers = [
        (path(V11), json!({"schema": schema.to_string()})),
        (path(V12), json!({"schema": later.to_string(), "schemaType": "AVRO", "references": [reference]})),
        ("/subjects/lsst%2Fsource/versions/3".to_owned(), json!({"schema": referred.to_string(), "id": 7})),
    ];
    (sent, answers.into())
}
