//! What every sink promises: results, dead letters, progress and books are there together or not at all, whatever a crash leaves behind,
//! and an output stays one run's.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use boom_node::books::Books;
use boom_node::compute::Compute;
use boom_node::sink::files::{Error, Files, Identity, Recovered};
use boom_node::sink::kafka::Kafka;
use boom_node::sink::{Emission, Sink};
use boom_node::stage::record::Provenance;
use boom_store::documents::Store;
use boom_tests::emission::emission;
use boom_tests::kafka::KafkaOutput;
use boom_tests::output::{candids, dead_letters, records};
use boom_tests::servers::{Server, Servers};

/// A sink that is opened and looked into.
trait Adapter {
    /// The sink.
    type Sink: Sink;

    /// Opens what is in the directory for the run of that identity; an error as it is shown.
    fn open(directory: &Path, identity: &Identity) -> Result<(Self::Sink, Recovered), String>;

    /// The candids that were delivered, in order, as each subscriber sees them.
    fn delivered(directory: &Path) -> Vec<i64>;

    /// The reasons in the dead letters.
    fn dead(directory: &Path) -> Vec<String>;

    /// What a crash in the middle of a commit may leave behind.
    fn tear(directory: &Path);

    /// Makes the next commit fail after it has begun to write; gives what undoes it.
    fn obstruct(directory: &Path) -> Box<dyn FnOnce()>;
}

struct FileSink;

impl Adapter for FileSink {
    type Sink = Files;

    fn open(directory: &Path, identity: &Identity) -> Result<(Files, Recovered), String> {
        let store = Arc::new(Store::open(&directory.join("store"), true).unwrap());
        let (compute, provenance) = (Compute::start(1).unwrap(), Arc::new(Provenance::default()));
        Files::open(directory, store, compute, provenance, identity).map_err(|error| error.to_string())
    }

    fn delivered(directory: &Path) -> Vec<i64> {
        let lines = candids(directory);
        assert_eq!(records(directory).len(), lines.len(), "both files say the same");
        lines
    }

    fn dead(directory: &Path) -> Vec<String> {
        dead_letters(directory).iter().map(|letter| letter["reason"].as_str().unwrap().to_owned()).collect()
    }

    fn tear(directory: &Path) {
        for file in ["results.avro", "results.jsonl"] {
            let mut file = fs::OpenOptions::new().append(true).open(directory.join(file)).unwrap();
            file.write_all(b"{\"candid\": 99, \"objectId").unwrap();
        }
        fs::write(directory.join("ledger.tmp"), b"{").unwrap();
    }

    fn obstruct(directory: &Path) -> Box<dyn FnOnce()> {
        let (dead, aside) = (directory.join("dead_letters"), directory.join("aside"));
        fs::rename(&dead, &aside).unwrap();
        Box::new(move || fs::rename(aside, dead).unwrap())
    }
}

struct KafkaSink;

impl KafkaSink {
    /// All tests of this file share one Kafka, which ends with their process; each has topics of its own.
    fn output(directory: &Path) -> KafkaOutput {
        static SERVERS: OnceLock<Servers> = OnceLock::new();
        let servers = SERVERS.get_or_init(|| Servers::only(&[Server::Kafka]).unwrap());
        let prefix = directory.file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        KafkaOutput::new(servers.address(Server::Kafka), prefix)
    }
}

impl Adapter for KafkaSink {
    type Sink = Kafka;

    fn open(directory: &Path, _: &Identity) -> Result<(Kafka, Recovered), String> {
        let output = Self::output(directory);
        let sink = output.open("node-1").map_err(|error| error.to_string())?;
        let mut committed = output.committed();
        let counts = committed.producers.remove("node-1").unwrap_or_default();
        let mut found = Recovered::default();
        for (partition, decided) in committed.partitions {
            found.progress.insert(partition, decided.next);
            found.books.partitions.extend(decided.books);
        }
        (found.books.filters, found.books.dead_letters) = (counts.filters, counts.dead_letters);
        Ok((sink, found))
    }

    fn delivered(directory: &Path) -> Vec<i64> {
        Self::output(directory).candids("read_committed")
    }

    fn dead(directory: &Path) -> Vec<String> {
        Self::output(directory).dead_letters().iter().map(|letter| letter.header("reason")).collect()
    }

    fn tear(directory: &Path) {
        Self::output(directory).leave_open("node-1");
    }

    fn obstruct(directory: &Path) -> Box<dyn FnOnce()> {
        Self::output(directory).fence("node-1");
        Box::new(|| ())
    }
}

fn identity(input: &str) -> Identity {
    vec![("survey".to_owned(), "ZTF".to_owned()), ("input".to_owned(), input.to_owned())]
}

fn recovered(emission: &Emission) -> Recovered {
    Recovered { progress: emission.progress.clone(), books: emission.books.clone() }
}

async fn a_commit_is_there_afterwards<A: Adapter>(directory: &Path) {
    let (mut sink, found) = A::open(directory, &identity("a")).unwrap();
    assert_eq!(found, Recovered::default(), "a new output has nothing");
    let first = emission(&Books::default(), 0, 3);
    let second = emission(&first.books, 3, 5);
    for emission in [&first, &second] {
        sink.commit(emission.clone()).await.unwrap();
    }
    assert_eq!(A::delivered(directory), [0, 1, 2, 3, 4]);
    drop(sink);
    let (_sink, found) = A::open(directory, &identity("a")).unwrap();
    assert_eq!(found, recovered(&second));
    assert!(found.books.balance());
    assert_eq!(A::delivered(directory), [0, 1, 2, 3, 4], "opening it again changes nothing");
    assert_eq!(A::dead(directory), ["truncated", "truncated"]);
}

async fn what_a_crash_leaves_behind_is_cut_off<A: Adapter>(directory: &Path) {
    let first = emission(&Books::default(), 0, 3);
    let (mut sink, _) = A::open(directory, &identity("a")).unwrap();
    sink.commit(first.clone()).await.unwrap();
    drop(sink);
    A::tear(directory);
    let (mut sink, found) = A::open(directory, &identity("a")).unwrap();
    assert_eq!(found, recovered(&first));
    assert_eq!(A::delivered(directory), [0, 1, 2]);
    sink.commit(emission(&found.books, 3, 5)).await.unwrap();
    assert_eq!(A::delivered(directory), [0, 1, 2, 3, 4], "and it goes on behind what is whole");
}

async fn a_crash_before_the_first_commit_leaves_nothing<A: Adapter>(directory: &Path) {
    drop(A::open(directory, &identity("a")).unwrap());
    A::tear(directory);
    let (mut sink, found) = A::open(directory, &identity("a")).unwrap();
    assert_eq!(found, Recovered::default());
    assert!(A::delivered(directory).is_empty());
    sink.commit(emission(&found.books, 0, 2)).await.unwrap();
    assert_eq!(A::delivered(directory), [0, 1]);
}

async fn a_commit_that_fails_halfway_has_not_been<A: Adapter>(directory: &Path) {
    let first = emission(&Books::default(), 0, 3);
    let (mut sink, _) = A::open(directory, &identity("a")).unwrap();
    sink.commit(first.clone()).await.unwrap();
    let undo = A::obstruct(directory);
    let second = emission(&first.books, 3, 5);
    sink.commit(second.clone()).await.unwrap_err();
    drop(sink);
    undo();
    let (mut sink, found) = A::open(directory, &identity("a")).unwrap();
    assert_eq!(found, recovered(&first));
    assert_eq!(A::delivered(directory), [0, 1, 2]);
    assert_eq!(A::dead(directory), ["truncated"]);
    sink.commit(second).await.unwrap();
    assert_eq!(A::delivered(directory), [0, 1, 2, 3, 4], "none lost, none twice");
    assert_eq!(A::dead(directory), ["truncated", "truncated"]);
}

async fn an_output_is_refused_to_another_run<A: Adapter>(directory: &Path) {
    let first = emission(&Books::default(), 0, 3);
    let (mut sink, _) = A::open(directory, &identity("a")).unwrap();
    sink.commit(first.clone()).await.unwrap();
    drop(sink);
    let error = A::open(directory, &identity("b")).err().expect("it is another input");
    for part in ["belongs to another run", "its input was", "another --out"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(A::delivered(directory), [0, 1, 2], "it stays as it was");
    assert_eq!(A::open(directory, &identity("a")).unwrap().1, recovered(&first));
}

mod files {
    boom_tests::contract! { FileSink:
        a_commit_is_there_afterwards
        what_a_crash_leaves_behind_is_cut_off
        a_crash_before_the_first_commit_leaves_nothing
        a_commit_that_fails_halfway_has_not_been
        an_output_is_refused_to_another_run
    }
}

/// Whose a topic is, its configuration says: that an output is refused to another run is no promise of this one.
mod kafka {
    boom_tests::contract! { KafkaSink:
        a_commit_is_there_afterwards
        what_a_crash_leaves_behind_is_cut_off
        a_crash_before_the_first_commit_leaves_nothing
        a_commit_that_fails_halfway_has_not_been
    }
}

#[test]
fn files_that_are_shorter_than_what_was_committed_are_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, _) = FileSink::open(directory.path(), &identity("a")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(sink.commit(emission(&Books::default(), 0, 3))).unwrap();
    drop(sink);
    let path = directory.path().join("results.jsonl");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(10).unwrap();
    let error = FileSink::open(directory.path(), &identity("a")).err().unwrap();
    for part in ["results.jsonl is damaged", "it has 10 bytes, where", "another --out"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_full_disk_says_what_to_do() {
    let source = std::io::ErrorKind::StorageFull.into();
    let error = Error::Io { path: "out/results.avro".into(), source };
    assert!(error.to_string().contains("make room and run the same command again"), "{error}");
}
