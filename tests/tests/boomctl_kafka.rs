//! What boomctl and the SDK do with a real Kafka: archives that are sent, results that are read, dead letters, the ledger.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../client/examples/results.rs"]
mod results_example;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use boom_client::kafka::Connection;
use boom_client::records::Records;
use boom_client::results::{Reader, ReaderConfig};
use boom_node::books::Books;
use boom_node::sink::Sink as _;
use boom_plan::orders::Start;
use boom_tests::emission::{emission, emission_of};
use boom_tests::eventually::eventually;
use boom_tests::kafka::{KafkaOutput, Topic};
use boom_tests::node::{Ended, binary};
use boom_tests::packets::ztf;
use boom_tests::servers::{Server, Servers};
use serde_json::Value;

/// The Kafka of all tests here; each has topics of its own.
fn brokers() -> &'static str {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| Servers::only(&[Server::Kafka]).unwrap()).address(Server::Kafka)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn command(output: &KafkaOutput, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("boomctl"));
    let config = output.config("");
    command.args(arguments).stdin(Stdio::null()).env("BOOM_BOOMCTL__KAFKA__BROKERS", brokers());
    command.env("BOOM_BOOMCTL__TOPICS__DEAD_LETTERS", &config.dead_letters);
    command.env("BOOM_BOOMCTL__TOPICS__PROGRESS", &config.progress);
    command.env("BOOM_BOOMCTL__TOPICS__RETRIED", format!("{}.retried", config.dead_letters));
    command
}

fn boomctl(output: &KafkaOutput, arguments: &[&str]) -> Ended {
    command(output, arguments).output().unwrap().into()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", ended.stdout, ended.stderr))
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An archive of packets, each of its own bytes.
fn archive(directory: &Path, packets: u32) -> (PathBuf, Vec<Vec<u8>>) {
    let path = directory.join("night.tar");
    let mut builder = tar::Builder::new(File::create(&path).unwrap());
    let packets = (0..packets).map(|number| format!("packet {number} ").repeat(40).into_bytes());
    let packets: Vec<Vec<u8>> = packets.collect();
    for (number, bytes) in packets.iter().enumerate() {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{number}.avro"), bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap();
    (path, packets)
}

#[test]
fn an_archive_that_is_killed_again_and_again_while_it_is_sent_is_there_once_and_as_it_is() {
    let output = KafkaOutput::new(brokers(), "produce");
    let directory = tempfile::tempdir().unwrap();
    let (path, packets) = archive(directory.path(), 6000);
    let arguments = ["produce", path.to_str().unwrap(), "--topic", "produced", "--partitions", "2", "--json"];
    let mut kills = 0;
    for upto in [50, 700, 1900, 3000, 4000] {
        let mut child = command(&output, &arguments).args(["--rate", "2500"]).stdout(Stdio::null()).spawn().unwrap();
        eventually("some are there", || output.end("produced", "read_uncommitted") > upto);
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let there = output.end("produced", "read_uncommitted").cast_unsigned();
    assert!(there < packets.len() as u64, "after {kills} kills there is something left to do, of {there}");
    let ended = boomctl(&output, &arguments);
    let done = json(ended.expect(0));
    let (sent, before) = (done["sent"].as_u64().unwrap(), done["there_before"].as_u64().unwrap());
    assert!(before >= there && sent + before == packets.len() as u64, "{done}");

    let read = output.read("produced", "read_committed");
    assert_eq!(read.len(), packets.len());
    let read: BTreeSet<_> = read.into_iter().map(|record| record.payload).collect();
    assert!(read == packets.iter().cloned().collect(), "each packet is there, and nothing else");

    let again = json(boomctl(&output, &arguments).expect(0));
    assert_eq!((&again["sent"], &again["there_before"]), (&0.into(), &6000.into()));
    let once_more = json(boomctl(&output, &[&arguments[..], &["--run", "second"]].concat()).expect(0));
    assert_eq!((&once_more["sent"], &once_more["there_before"]), (&6000.into(), &0.into()));
}

#[test]
fn what_can_not_be_sent_is_refused_with_what_to_do() {
    let output = KafkaOutput::new(brokers(), "refused");
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = archive(directory.path(), 3);
    Topic::make(brokers(), "three", 3);
    boomctl(&output, &["produce", path.to_str().unwrap(), "--topic", "three", "--partitions", "2"])
        .expect(1)
        .says(&["three has 3 partitions and not 2"]);
    boomctl(&output, &["produce", "/no/such.tar", "--topic", "three"])
        .expect(2)
        .says(&["/no/such.tar can not be sent"]);
    boomctl(&output, &["tail", "no.such.topic"]).expect(1).says(&["there is no topic no.such.topic", brokers()]);
    boomctl(&output, &["ledger"]).expect(1).says(&["there is no topic refused.progress"]);
    boomctl(&output, &["deadletters", "show", "7"]).expect(2).says(&["PARTITION:OFFSET"]);
}

#[test]
fn results_are_read_as_typed_alerts_by_the_sdk_and_by_tail() {
    let output = KafkaOutput::new(brokers(), "typed");
    let mut sink = output.open("node").unwrap();
    let first = emission(&Books::default(), 0, 3);
    block_on(sink.commit(first.clone())).unwrap();
    output.leave_open("other");
    let topic = output.config("").results;

    let group = Some("subscriber".to_owned());
    let config = ReaderConfig { group: group.clone(), ..ReaderConfig::new(Connection::plain(brokers()), &topic) };
    let mut out = Vec::new();
    block_on(results_example::run(config.clone(), "all", 3, &mut out)).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("ZTF18abc at 1.00000 +2.00000: {}"), "{text}");

    // What was not committed is not seen; what comes after is, by who comes back, and nothing of before.
    output.fence("other");
    block_on(sink.commit(emission_of("night", &first.books, 3, 5))).unwrap();
    let candids = block_on(async {
        let mut reader = Reader::open(config).await.unwrap();
        [reader.next().await.unwrap().candid, reader.next().await.unwrap().candid]
    });
    assert_eq!(candids, [3, 4]);

    let tail = ["tail", &topic, "--from", "earliest", "--count", "5", "--filter", "all"];
    let shown = lines(boomctl(&output, &tail).expect(0));
    let candids: BTreeSet<_> = shown.iter().map(|line| line["candid"].as_i64().unwrap()).collect();
    assert_eq!(candids, (0..5).collect());
    assert_eq!(
        (&shown[0]["filters"][0]["filter"], &shown[0]["classifications"]["score"]),
        (&"all".into(), &0.5.into())
    );
}

#[test]
fn a_reader_begins_where_it_is_told() {
    let topic = Topic::make(brokers(), "begins", 2);
    // The time of a record is its offset + 1.
    topic.produce(0, 0..10, 50);
    let first = |from: Start| {
        let config = ReaderConfig { from, ..ReaderConfig::new(Connection::plain(brokers()), topic.name()) };
        block_on(async {
            let mut records = Records::open(config).await.unwrap();
            topic.produce(1, 100..101, 50);
            let mut first = records.next().await.unwrap();
            while first.partition == 1 && from != Start::Latest {
                first = records.next().await.unwrap();
            }
            (first.partition, first.offset)
        })
    };
    assert_eq!(first(Start::Earliest), (0, 0));
    assert_eq!(first(Start::At(8)), (0, 7));
    assert_eq!(first(Start::Latest), (1, 2), "what was written after it was opened, and nothing of before");
}

#[test]
fn packets_of_a_survey_are_shown_in_short_and_what_is_none_says_why() {
    let output = KafkaOutput::new(brokers(), "packets");
    let directory = tempfile::tempdir().unwrap();
    let packets = ztf(3);
    for packet in &packets {
        std::fs::write(directory.path().join(&packet.name), &packet.bytes).unwrap();
    }
    std::fs::write(directory.path().join("zzz.avro"), b"no packet").unwrap();
    boomctl(&output, &["produce", directory.path().to_str().unwrap(), "--topic", "packets", "--partitions", "1"])
        .expect(0);
    let shown = lines(boomctl(&output, &["tail", "packets", "--from", "earliest", "--count", "4"]).expect(0));
    let candids: BTreeSet<_> = shown.iter().filter_map(|line| line["candid"].as_i64()).collect();
    assert_eq!(candids, packets.iter().map(|packet| packet.candid).collect());
    assert!(shown[3]["error"].is_string() && shown[3]["bytes"] == 9, "{}", shown[3]);
}

#[test]
fn dead_letters_are_listed_shown_and_sent_again_once() {
    let output = KafkaOutput::new(brokers(), "dead");
    let mut sink = output.open("node").unwrap();
    let first = emission_of("ztf/night/0", &Books::default(), 0, 1);
    block_on(sink.commit(first.clone())).unwrap();
    block_on(sink.commit(emission_of("ztf/night/1", &first.books, 1, 2))).unwrap();

    let listed = lines(boomctl(&output, &["deadletters", "list", "--json"]).expect(0));
    assert_eq!(listed.len(), 2);
    let of = |source: &str| listed.iter().find(|letter| letter["source"] == source).unwrap();
    let letter = of("ztf/night/0");
    assert_eq!(
        (&letter["reason"], &letter["offset"], &letter["retried"]),
        (&"truncated".into(), &1.into(), &Value::Null)
    );
    let id = letter["id"].as_str().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("packet.avro");
    let shown = boomctl(&output, &["deadletters", "show", id, "--out", file.to_str().unwrap()]);
    assert!(shown.expect(0).stdout.contains("ztf/night/0@1"), "{}", shown.stdout);
    assert_eq!(std::fs::read(&file).unwrap(), [1, 2, 3]);
    boomctl(&output, &["deadletters", "show", "0:99"]).expect(1).says(&["there is no dead letter 0:99"]);

    let retry = ["deadletters", "retry", id, "--to", "again"];
    boomctl(&output, &retry).expect(1).says(&["there is no topic again"]);
    let again = Topic::make(brokers(), "again", 1);
    boomctl(&output, &retry).expect(0).says(&["1 sent, 0 not"]);
    boomctl(&output, &retry).expect(0).says(&["0 sent, 1 not", "--again"]);
    boomctl(&output, &["deadletters", "retry", "--reason", "truncated", "--to", "again"])
        .expect(0)
        .says(&["1 sent, 1 not"]);
    let sent = output.read(again.name(), "read_committed");
    assert_eq!(sent.iter().map(|record| record.payload.as_slice()).collect::<Vec<_>>(), [[1, 2, 3], [1, 2, 3]]);
    assert_eq!(sent[0].header("boom-retry-origin"), "ztf/night/0@1");
    let listed = lines(boomctl(&output, &["deadletters", "list", "--json", "--limit", "1"]).expect(0));
    assert_eq!((listed.len(), &listed[0]["retried"]["to"]), (1, &"again".into()));
    let table = boomctl(&output, &["deadletters", "list"]);
    assert!(table.expect(0).stdout.contains("to again"), "{}", table.stdout);
}

#[test]
fn the_ledger_is_that_of_the_nodes_and_says_when_it_does_not_balance() {
    let output = KafkaOutput::new(brokers(), "ledger");
    let mut sink = output.open("node").unwrap();
    let first = emission_of("ztf/ztf_20261125_programid1/0", &Books::default(), 0, 5);
    block_on(sink.commit(first.clone())).unwrap();
    let mut second = emission_of("ztf/ztf_20261126_programid1/0", &first.books, 5, 7);
    block_on(sink.commit(second.clone())).unwrap();

    let ledger = json(boomctl(&output, &["ledger", "--json"]).expect(0));
    assert_eq!((&ledger["balances"], ledger["partitions"].as_array().unwrap().len()), (&true.into(), 2));
    let row = &ledger["partitions"][0];
    let counts = ["consumed", "decided", "dead_lettered", "next"].map(|name| row[name].as_u64().unwrap());
    assert_eq!(counts, [6, 5, 1, 6]);
    assert_eq!((&ledger["filters"][0]["passed"], &ledger["dead_letters"]["truncated"]), (&7.into(), &2.into()));

    // A node that forgets an alert.
    second.books.partitions[1].consumed += 1;
    block_on(sink.commit(second)).unwrap();
    let unbalanced = boomctl(&output, &["ledger"]);
    assert!(unbalanced.expect(1).stdout.contains("THE BOOKS DO NOT BALANCE"), "{}", unbalanced.stdout);
    let night = boomctl(&output, &["ledger", "--night", "20261125"]);
    assert!(night.expect(0).stdout.ends_with("the books balance\n"), "{}", night.stdout);
    boomctl(&output, &["ledger", "--night", "20261326"]).expect(2);
}
