//! Sets of real servers: each serves, comes back with its data after a kill, and ends with whoever started it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boom_tests::eventually::eventually;
use boom_tests::servers::{Server, Servers};
use bson::{Document, doc};
use mongodb::Client;
use rustix::process::{Pid, Signal, kill_process};

/// Tells a copy of this program to hold a set until it is killed.
const HOLD: &str = "BOOM_TESTS_HOLD_SERVERS";

/// A connection to HOST:PORT, or to that part of a URL.
fn connect(address: &str) -> TcpStream {
    let host = address.rsplit("//").next().unwrap();
    TcpStream::connect(host).unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// The answer of etcd's HTTP interface, where keys and values are in base64.
fn etcd(servers: &Servers, call: &str, body: &str) -> String {
    let mut connection = connect(servers.address(Server::Etcd));
    let length = body.len();
    write!(connection, "POST /v3/kv/{call} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    answer
}

/// The first line that Valkey answers.
fn valkey(servers: &Servers, command: &str) -> String {
    let mut connection = connect(servers.address(Server::Valkey));
    write!(connection, "{command}\r\n").unwrap();
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).unwrap();
    answer
}

/// Kafka's answer to a Metadata request (3), version 4, of no topic: its brokers and the cluster's id and controller.
fn kafka_metadata(servers: &Servers) -> Vec<u8> {
    let request = [&[0, 3, 0, 4][..], &[0; 4], &[0, 1, b'x'], &[0; 4], &[0]].concat();
    let mut connection = connect(servers.address(Server::Kafka));
    connection.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    connection.write_all(&request).unwrap();
    let mut length = [0; 4];
    connection.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
    connection.read_exact(&mut answer).unwrap();
    answer
}

/// A document in a transaction, which wants a primary of a replica set.
async fn mongodb_insert(client: &Client) -> mongodb::error::Result<()> {
    let mut session = client.start_session().await?;
    session.start_transaction().await?;
    let kept = client.database("boom").collection("kept");
    kept.insert_one(doc! {"_id": 1}).session(&mut session).await?;
    session.commit_transaction().await
}

#[tokio::test]
async fn a_server_that_was_killed_comes_back_with_its_data_on_its_ports() {
    let servers = Servers::start().unwrap();
    let client = Client::with_uri_str(servers.address(Server::Mongodb)).await.unwrap();
    mongodb_insert(&client).await.unwrap();
    etcd(&servers, "put", r#"{"key": "Ym9vbQ==", "value": "a2VwdA=="}"#);
    assert_eq!(valkey(&servers, "SET boom kept"), "+OK\r\n");
    let metadata = kafka_metadata(&servers);
    connect(servers.kafka_sasl());
    for server in Server::ALL {
        let before = servers.process(server).unwrap();
        servers.kill(server).unwrap();
        assert!(!runs(before), "{server:?} has ended");
        servers.restart(server).unwrap();
        assert_ne!(servers.process(server).unwrap(), before);
    }
    let answer = etcd(&servers, "range", r#"{"key": "Ym9vbQ=="}"#);
    assert!(answer.contains(r#""value":"a2VwdA==""#), "{answer}");
    assert_eq!(valkey(&servers, "STRLEN boom"), ":0\r\n", "what Valkey has need not outlive it");
    assert_eq!(kafka_metadata(&servers), metadata, "it is the cluster that it was");
    let kept = client.database("boom").collection::<Document>("kept");
    assert_eq!(kept.find_one(doc! {}).await.unwrap(), Some(doc! {"_id": 1}));
}

#[test]
fn a_stopped_server_goes_on_where_it_was() {
    let servers = Servers::only(&[Server::Valkey]).unwrap();
    let process = servers.process(Server::Valkey).unwrap();
    valkey(&servers, "SET boom kept");
    servers.stop(Server::Valkey).unwrap();
    assert_eq!(state(process), Some('T'));
    servers.go_on(Server::Valkey).unwrap();
    assert_eq!((valkey(&servers, "STRLEN boom"), servers.process(Server::Valkey).unwrap()), (":4\r\n".into(), process));
}

#[test]
fn two_sets_run_side_by_side_and_end_alone() {
    let [one, other] = [Servers::only(&[Server::Valkey]).unwrap(), Servers::only(&[Server::Valkey]).unwrap()];
    assert_ne!(one.address(Server::Valkey), other.address(Server::Valkey));
    let (process, directory) = (one.process(Server::Valkey).unwrap(), one.directory().to_owned());
    drop(one);
    assert!(!runs(process) && !directory.exists());
    assert_eq!(valkey(&other, "PING"), "+PONG\r\n");
}

#[test]
fn nothing_is_left_of_a_set_whose_holder_is_killed() {
    if std::env::var_os(HOLD).is_some() {
        hold();
    }
    let mut holder = Command::new(std::env::current_exe().unwrap());
    holder.args(["--exact", "nothing_is_left_of_a_set_whose_holder_is_killed", "--nocapture"]).env(HOLD, "1");
    let mut holder = holder.stdout(Stdio::piped()).spawn().unwrap();
    let (directory, processes) = held(BufReader::new(holder.stdout.take().unwrap()));
    let ran: Vec<bool> = processes.iter().map(|process| runs(*process)).collect();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(ran, [true; 5], "the supervisor and four servers of {}", directory.display());
    eventually("no process of the set is left", || !processes.iter().any(|process| runs(*process)));
    assert!(!directory.exists(), "{} is removed before its supervisor ends", directory.display());
}

/// Holds a set, and says which, for as long as this process lives.
#[expect(clippy::print_stdout, reason = "it is what the test reads")]
fn hold() -> ! {
    let servers = Servers::start().unwrap();
    let processes = Server::ALL.map(|server| servers.process(server).unwrap().to_string());
    println!("\nheld {} {} {}", servers.supervisor(), processes.join(" "), servers.directory().display());
    loop {
        std::thread::park();
    }
}

/// The directory and the processes that a holder names.
fn held(output: impl BufRead) -> (PathBuf, Vec<u32>) {
    let mut lines = output.lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.strip_prefix("held ").map(str::to_owned)).expect("the set comes up");
    let mut parts = line.splitn(6, ' ');
    let processes = parts.by_ref().take(5).map(|process| process.parse().unwrap()).collect();
    (PathBuf::from(parts.next().unwrap()), processes)
}

#[test]
fn servers_end_with_a_supervisor_that_is_killed() {
    let servers = Servers::only(&[Server::Etcd, Server::Valkey]).unwrap();
    let processes = [Server::Etcd, Server::Valkey].map(|server| servers.process(server).unwrap());
    assert!(processes.iter().all(|process| runs(*process)));
    kill_process(Pid::from_raw(servers.supervisor().try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    eventually("the servers end", || !processes.iter().any(|process| runs(*process)));
}

#[test]
fn a_server_that_can_not_start_is_an_error_with_its_log() {
    let servers = Servers::only(&[Server::Valkey]).unwrap();
    servers.kill(Server::Valkey).unwrap();
    fs::write(servers.directory().join("valkey/data/dump.rdb"), "rubbish, and no dump\n").unwrap();
    let error = servers.restart(Server::Valkey).unwrap_err().to_string();
    assert!(error.contains("it ended by itself") && error.contains("Wrong signature"), "{error}");
}

/// The state of a process by its letter: `T` is stopped.
fn state(process: u32) -> Option<char> {
    let stat = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat")).ok()?;
    // Its name stands before, in brackets, and may hold anything.
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Whether a process is there and has not ended.
fn runs(process: u32) -> bool {
    !matches!(state(process), None | Some('Z' | 'X'))
}
