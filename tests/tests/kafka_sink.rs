//! What only the Kafka sink promises: nothing lost and nothing twice under kill -9 of the node and of Kafka, and the fence.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Child, Command};
use std::sync::OnceLock;

use boom_node::books::Books;
use boom_node::sink::kafka::Error;
use boom_node::sink::{Emission, Sink as _};
use boom_tests::emission::{emission, emission_of};
use boom_tests::eventually::eventually;
use boom_tests::kafka::KafkaOutput;
use boom_tests::servers::{Server, Servers};

/// The Kafka of the tests that leave it alone; each has topics of its own.
fn output(prefix: &str) -> KafkaOutput {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    let servers = SERVERS.get_or_init(|| Servers::only(&[Server::Kafka]).unwrap());
    KafkaOutput::new(servers.address(Server::Kafka), prefix)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn progress_that_is_read_after_a_commit_is_what_was_committed() {
    let output = output("progress");
    let mut sink = output.open("node").unwrap();
    let night = emission_of("ztf/night/0", &Books::default(), 0, 3);
    let mut both = emission_of("ztf/night/1", &night.books, 0, 7);
    both.progress.extend(night.progress.clone());
    block_on(async {
        sink.commit(night).await.unwrap();
        sink.commit(both.clone()).await.unwrap();
        let read = output.committed().partitions;
        let next: Vec<_> = read.iter().map(|(partition, decided)| (partition.as_str(), decided.next)).collect();
        assert_eq!(next, [("ztf/night/0", 4), ("ztf/night/1", 8)]);
        for (partition, decided) in &read {
            let of: Vec<_> = both.books.partitions.iter().filter(|book| book.source == *partition).cloned().collect();
            assert_eq!(decided.books, of);
        }
    });
    let counts = &output.committed().producers["node"];
    assert_eq!((&counts.filters, &counts.dead_letters), (&both.books.filters, &both.books.dead_letters));
}

#[test]
fn a_dead_letter_has_its_bytes_and_says_why_where_and_of_what() {
    let output = output("letters");
    let mut sink = output.open("node").unwrap();
    block_on(sink.commit(emission(&Books::default(), 0, 3))).unwrap();
    let letters = output.dead_letters();
    assert_eq!((letters.len(), letters[0].payload.as_slice(), letters[0].key.as_str()), (1, &[1, 2, 3][..], "night"));
    let said = ["reason", "message", "stage", "source", "offset", "record", "name"].map(|name| letters[0].header(name));
    assert_eq!(said, ["truncated", "it is cut", "ingest", "night", "3", "0", "a packet"]);
}

#[test]
fn a_partition_that_has_moved_to_another_node_is_not_moved_back_by_its_former_owner() {
    let output = output("moved");
    let (mut former, mut owner) = (output.open("a").unwrap(), output.open("b").unwrap());
    let first = emission_of("ztf/night/0", &Books::default(), 0, 3);
    block_on(former.commit(first.clone())).unwrap();
    block_on(owner.commit(emission_of("ztf/night/0", &first.books, 3, 9))).unwrap();
    // The former owner goes on with another partition, and still knows of this one.
    let mut other = emission_of("ztf/night/1", &first.books, 0, 2);
    other.progress.extend(first.progress);
    block_on(former.commit(other)).unwrap();
    let committed = output.committed();
    let next = |partition: &str| committed.partitions[partition].next;
    assert_eq!((next("ztf/night/0"), next("ztf/night/1")), (10, 3));
}

#[test]
fn a_fenced_producer_moves_neither_results_nor_progress() {
    let output = output("fence");
    let first = emission(&Books::default(), 0, 3);
    let second = emission(&first.books, 3, 5);
    for by_name in [true, false] {
        let mut old = output.open("node").unwrap();
        if by_name {
            block_on(old.commit(first.clone())).unwrap();
        }
        let successor = if by_name {
            output.fence("node");
            None
        } else {
            Some(output.open("node").unwrap())
        };
        let before = (output.candids("read_committed"), output.committed());
        for _ in 0..2 {
            let error = block_on(old.commit(second.clone())).unwrap_err();
            assert!(matches!(error, Error::Fenced { .. }), "{error}");
        }
        assert_eq!((output.candids("read_committed"), output.committed()), before);
        drop(successor);
    }
    assert_eq!(output.candids("read_committed"), [0, 1, 2]);
}

#[test]
fn what_is_committed_is_read_although_another_nodes_transaction_is_open_before_it() {
    let output = output("open");
    let mut sink = output.open("node").unwrap();
    block_on(sink.commit(emission(&Books::default(), 0, 1))).unwrap();
    output.leave_open("other");
    block_on(sink.commit(emission_of("ztf/night/0", &Books::default(), 0, 3))).unwrap();
    let reader = std::thread::spawn({
        let output = output.clone();
        move || output.committed()
    });
    assert!(!reader.is_finished(), "it waits for the open transaction");
    output.fence("other");
    let committed = reader.join().unwrap();
    assert_eq!(committed.partitions["ztf/night/0"].next, 4);
}

fn committer(output: &[&str; 2], incarnation: usize, upto: i64) -> Child {
    let (name, former) = (format!("node-{}", incarnation + 1), format!("node-{incarnation}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_committer"));
    command.args(output).args([name, former, upto.to_string()]).spawn().unwrap()
}

/// Asserts that each result is there once, and that the progress and the books are of exactly these.
fn assert_whole(output: &KafkaOutput, upto: i64) {
    let candids = output.candids("read_committed");
    let expected: Vec<i64> = (0..upto).collect();
    assert!(candids == expected, "{} results, of which the last is {:?}", candids.len(), candids.last());
    let committed = output.committed();
    let night = &committed.partitions["night"];
    assert_eq!(night.next, upto.cast_unsigned() + 1);
    let [book] = night.books.as_slice() else { panic!("{night:?}") };
    assert_eq!((book.decided, book.dead_lettered), (upto.cast_unsigned(), output.dead_letters().len() as u64));
}

#[test]
fn a_commit_is_seen_whole_or_not_at_all_after_kill_9_of_the_node_at_any_moment() {
    let output = output("kills");
    drop(output.open("node-0").unwrap());
    let brokers = output.brokers().to_owned();
    let address = [brokers.as_str(), "kills"];
    let results = output.config("").results;
    let (mut kills, mut torn) = (0, 0);
    while kills < 6 || torn < 3 {
        assert!(kills < 60, "of {kills} kills {torn} came between writing and committing");
        let mut child = committer(&address, kills, i64::MAX);
        let before = output.end(&results, "read_uncommitted");
        eventually("it commits", || output.end(&results, "read_uncommitted") > before + 500);
        child.kill().unwrap();
        child.wait().unwrap();
        // What it has written and not committed stands behind the end of what is decided.
        torn += usize::from(output.end(&results, "read_uncommitted") > output.end(&results, "read_committed"));
        kills += 1;
    }
    let upto = output.end(&results, "read_uncommitted") + 1000;
    assert!(committer(&address, kills, upto).wait().unwrap().success());
    assert_whole(&output, upto);
    println!("{kills} kills, of which {torn} came between writing and committing");
    assert!(output.candids("read_uncommitted").len() > output.candids("read_committed").len());
}

#[test]
fn kill_9_and_restart_of_kafka_in_the_middle_of_commits_loses_and_repeats_nothing() {
    const UPTO: i64 = 24_000;
    let servers = Servers::only(&[Server::Kafka]).unwrap();
    let output = KafkaOutput::new(servers.address(Server::Kafka), "broker");
    let mut sink = output.open("node").unwrap();
    let results = output.config("").results;
    let running = std::thread::spawn(move || {
        let mut last = Emission::default();
        for from in (0..UPTO).step_by(200) {
            last = emission(&last.books, from, from + 200);
            block_on(sink.commit(last.clone())).unwrap();
        }
    });
    for upto in [2000, 8000] {
        eventually("some are committed", || output.end(&results, "read_committed") > upto);
        servers.kill(Server::Kafka).unwrap();
        assert!(!running.is_finished(), "it is in the middle");
        servers.restart(Server::Kafka).unwrap();
    }
    running.join().unwrap();
    assert_whole(&output, UPTO);
}
