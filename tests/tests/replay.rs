//! A window of a live topic goes through once more, apart from the live stream, through kill -9 of a node and to its removal; and what is live
//! never learns of it. A test program of its own: it reads the results of two streams whole.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use boom_client::progress::{Committed, replay_of};
use boom_node::source::simulator::SimulatedSurvey;
use boom_tests::boomctl::Boomctl;
use boom_tests::cluster::{Cluster, End, Layout, Stream};
use boom_tests::documents::{Documents, assert_complete};
use boom_tests::kafka::Topic;
use boom_tests::night::{Night, Results, assert_same, by_pass, standalone};
use boom_tests::servers::Server;
use serde_json::Value;

const PARTITIONS: i32 = 4;
/// Alerts before the replay, in its window, and in all.
const LIVE: usize = 900;
const WINDOW: Range<usize> = 200..800;
const ALL: usize = 1000;

const RESULTS: &str = "boom.results.again";
const DEAD_LETTERS: &str = "boom.dead.again";
const DATABASE: &str = "boom_replay_again";

/// Passes whatever has a magnitude: each alert is one result.
const FILTER: &str = r#"{"survey": "ZTF", "pipeline": [
    {"$match": {"candidate.magpsf": {"$gt": 0}}},
    {"$project": {"objectId": 1, "annotations": {"mag": "$candidate.magpsf"}}}
]}"#;

/// A night whose alerts come one a second, and a cluster that reads it.
struct Scene {
    cluster: Cluster,
    topic: Topic,
    night: Night,
    began: i64,
}

impl Scene {
    fn new(filters: &Path) -> Self {
        std::fs::write(filters.join("all.json"), FILTER).unwrap();
        // One alert a commit, so that there is a middle in which to kill.
        let environment = ["BOOM_NODE__INPUT__BATCH", "BOOM_NODE__INPUT__BATCHES_IN_FLIGHT"];
        let environment = environment.map(|name| (name, "1".to_owned()));
        let mut cluster = Cluster::start(Layout {
            coordinators: 2,
            nodes: 2,
            hand_over: false,
            streams: vec![Stream::new("ztf", "ZTF", "ztf_night")],
            filters: filters.to_owned(),
            environment: environment.into(),
            coordination: "",
        });
        let topic = Topic::make(cluster.kafka(), "ztf_night", PARTITIONS);
        (0..2).for_each(|number| cluster.start_node(number));
        let night = Night::new(SimulatedSurvey::Ztf, ALL as u64, 5, PARTITIONS);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Self { cluster, topic, night, began: i64::try_from(now).unwrap() - 7_200_000 }
    }

    fn time(&self, alert: usize) -> i64 {
        self.began + 1000 * i64::try_from(alert).unwrap()
    }

    /// A time as operators write it.
    fn written(&self, alert: usize) -> String {
        bson::DateTime::from_millis(self.time(alert)).try_to_rfc3339_string().unwrap()
    }

    fn feed(&self, alerts: Range<usize>) {
        for partition in 0..PARTITIONS {
            let mine = alerts.clone().filter(|alert| self.night.partition(&self.night.packets[*alert]) == partition);
            let packets = mine.map(|alert| (self.night.packets[alert].bytes.as_slice(), self.time(alert)));
            self.topic.write_timed(partition, packets);
        }
    }

    fn boomctl(&self) -> Boomctl {
        Boomctl::new(&self.cluster.addresses())
    }

    /// Orders a replay of these alerts.
    fn replay(&self, alerts: Range<usize>) {
        let (from, to) = (self.written(alerts.start), self.written(alerts.end));
        self.boomctl().text(&["streams", "replay", "ztf", "--from", &from, "--to", &to, "--as", "again"]);
    }

    /// What `boomctl streams` says of the replay.
    fn stream(&self) -> Option<Value> {
        let streams = self.boomctl().json(&["streams"]);
        streams.as_array().unwrap().iter().find(|stream| stream["stream"] == "again").cloned()
    }

    fn wait_until_done(&self) {
        let state = |stream: &Value| stream["replay"]["state"] == "done";
        self.cluster.wait("the replay is through", |_| self.stream().as_ref().is_some_and(state));
        let stream = self.stream().unwrap();
        assert_eq!((&stream["lag"], &stream["lag_unknown_partitions"]), (&0.into(), &0.into()), "{stream}");
        self.cluster.wait("nobody reads it any more", |_| self.stream().unwrap()["partitions"]["owned"] == 0);
    }

    fn remove(&self) {
        self.boomctl().text(&["streams", "remove", "again"]);
    }

    fn committed(&self) -> Committed {
        self.cluster.output().committed()
    }

    fn wait_for_live(&self, alerts: u64) {
        self.cluster.wait("the live stream decides", |_| counts(&self.committed(), "ztf")[0] == alerts);
    }

    fn documents(&self, database: &str) -> Documents {
        Documents::of_database(self.cluster.servers.address(Server::Mongodb), database)
    }

    fn databases(&self) -> Vec<String> {
        let uri = self.cluster.servers.address(Server::Mongodb);
        let names = async { mongodb::Client::with_uri_str(uri).await.unwrap().list_database_names().await.unwrap() };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(names)
    }

    /// What standalone makes of these alerts.
    fn expected(&self, alerts: Range<usize>) -> (Results, Documents) {
        let directory = tempfile::tempdir().unwrap();
        let packets: Vec<_> = self.night.packets[alerts].iter().collect();
        let results = standalone(&packets, &self.cluster.directory().join("filters"), directory.path());
        let candids = packets.iter().map(|packet| packet.candid);
        (results, Documents::of_standalone(&directory.path().join("out"), candids))
    }
}

/// The books of a stream: consumed, decided, repeated, dead-lettered.
fn counts(committed: &Committed, stream: &str) -> [u64; 4] {
    let mine = committed.partitions.iter().filter(|(partition, _)| partition.split('/').next() == Some(stream));
    let books = mine.flat_map(|(_, decided)| &decided.books);
    books.fold([0; 4], |[a, b, c, d], book| {
        [a + book.consumed, b + book.decided, c + book.repeated, d + book.dead_lettered]
    })
}

/// What a filter was asked and let through, in a replay or in all else.
fn asked(committed: &Committed, replay: Option<&str>) -> (u64, u64) {
    let mine = committed.producers.iter().filter(|(name, _)| replay_of(name) == replay);
    let books = mine.flat_map(|(_, counts)| &counts.filters);
    books.fold((0, 0), |(decided, passed), book| (decided + book.decided, passed + book.passed))
}

#[test]
fn a_window_goes_through_apart_from_the_live_stream_and_leaves_nothing_when_it_is_removed() {
    let filters = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(filters.path());
    std::os::unix::fs::symlink(filters.path(), scene.cluster.directory().join("filters")).unwrap();
    // What is no alert is one of the window's too.
    scene.feed(0..450);
    scene.topic.write_timed(0, std::iter::once((b"no alert".as_slice(), scene.time(450))));
    scene.feed(450..LIVE);
    scene.wait_for_live(LIVE as u64 + 1);
    let before = scene.committed();

    refused(&scene);
    scene.replay(WINDOW);
    // A kill in the middle, and the live stream goes on beside it.
    let has_begun = |line: &str| {
        line.contains("stream=\"again\"") && line.starts_with("boom_node_books_decided_total") && !line.ends_with(" 0")
    };
    scene.cluster.wait("the replay is on its way", |cluster| cluster.node_metrics(0).lines().any(has_begun));
    scene.cluster.end_node(0, End::Kill);
    let decided = counts(&scene.committed(), "again")[0];
    assert!(decided < WINDOW.len() as u64, "it was killed in the middle: {decided}");
    scene.feed(LIVE..LIVE + 40);
    scene.cluster.start_node(0);
    scene.wait_until_done();
    // And goes on where the nodes have let go of the same partitions for the replay.
    scene.feed(LIVE + 40..ALL);
    scene.wait_for_live(ALL as u64 + 1);

    // The whole window, and nothing else of the night, each once and as if nobody had ever seen it.
    let window = WINDOW.len() as u64;
    let committed = scene.committed();
    assert_eq!(counts(&committed, "again"), [window + 1, window, 0, 1]);
    let (results, documents) = scene.expected(WINDOW);
    assert_same(&results, &by_pass(scene.cluster.output().results_in(RESULTS)));
    assert_complete(&documents, &scene.documents(DATABASE));
    let letters = scene.cluster.output().read(DEAD_LETTERS, "read_committed");
    assert_eq!(letters.iter().map(|letter| letter.payload.as_slice()).collect::<Vec<_>>(), [b"no alert"]);
    assert_eq!(asked(&committed, Some("again")), (window, results.len() as u64));

    let (live, documents) = scene.expected(0..ALL);
    live_is_as_if_alone(&scene, &live, &documents);
    assert_eq!(counts(&before, "ztf")[0], LIVE as u64 + 1);
    shown(&scene);

    // Whoever erases it may die over it.
    scene.remove();
    scene.cluster.end_node(1, End::Kill);
    scene.cluster.wait("nothing of it is left", |_| scene.stream().is_none());
    scene.cluster.start_node(1);
    nothing_is_left(&scene);
    live_is_as_if_alone(&scene, &live, &documents);

    // One of the same name knows nothing of it.
    scene.replay(310..320);
    scene.wait_until_done();
    assert_eq!(counts(&scene.committed(), "again"), [10, 10, 0, 0]);
    let candids: BTreeSet<i64> = scene.night.packets[310..320].iter().map(|packet| packet.candid).collect();
    let found: Vec<i64> = by_pass(scene.cluster.output().results_in(RESULTS)).keys().map(|pass| pass.0).collect();
    assert_eq!(found, candids.into_iter().collect::<Vec<_>>());
    scene.remove();
    scene.cluster.wait("nothing of it is left", |_| scene.stream().is_none());
    nothing_is_left(&scene);

    // Where a window ends with the topic, the mark of a transaction's end is the last that there is.
    let now = || bson::DateTime::now().try_to_rfc3339_string().unwrap();
    let begins = now();
    scene.topic.write_marked(1, scene.night.packets[..20].iter().map(|packet| packet.bytes.as_slice()));
    let text = ["streams", "replay", "ztf", "--from", &begins, "--to", &now(), "--as", "again"];
    scene.boomctl().text(&text);
    scene.wait_until_done();
    assert_eq!(counts(&scene.committed(), "again"), [20, 20, 0, 0]);
}

/// What can not be a replay is refused with the reason.
fn refused(scene: &Scene) {
    let boomctl = scene.boomctl();
    let (from, to) = (scene.written(WINDOW.start), scene.written(WINDOW.end));
    let replay = |stream: &str, from: &str, to: &str, name: &str| {
        let ended = boomctl.run(&["streams", "replay", stream, "--from", from, "--to", to, "--as", name]);
        assert_ne!(ended.code, Some(0), "{}", ended.stdout);
        ended.stderr
    };
    assert!(replay("ztf", &to, &from, "again").contains("its window ends before it begins"));
    assert!(replay("ztf", &from, "2999-01-01", "again").contains("its window ends in the future"));
    assert!(replay("zft", &from, &to, "again").contains("no stream is called `zft` (there are: ztf)"));
    assert!(replay("ztf", &from, &to, "ztf").contains("there is a stream `ztf` already"));
    assert!(replay("ztf", &from, &to, "A.b").contains("small letters"));
}

/// The live stream is what it would be without the replay: its books, its results, its documents, its group.
#[track_caller]
fn live_is_as_if_alone(scene: &Scene, results: &Results, documents: &Documents) {
    let (all, committed) = (ALL as u64, scene.committed());
    assert_eq!(counts(&committed, "ztf"), [all + 1, all, 0, 1]);
    assert_same(results, &by_pass(scene.cluster.output().results()));
    assert_complete(documents, &scene.documents("boom"));
    assert_eq!(scene.cluster.output().dead_letters().len(), 1);
    // A producer that was killed has told what it counted.
    assert_eq!(asked(&committed, None), (all, results.len() as u64));
    let next = |(partition, decided): (&String, &boom_client::progress::Decided)| {
        let number = partition.strip_prefix("ztf/ztf_night/")?.parse::<i32>().ok()?;
        Some((number, decided.next))
    };
    let next: BTreeMap<i32, u64> = committed.partitions.iter().filter_map(next).collect();
    scene.cluster.wait("the group's offsets are those of the live stream", |_| {
        scene.topic.group_offsets("boom", PARTITIONS) == next
    });
}

/// What people see of the replay beside its stream.
fn shown(scene: &Scene) {
    let with_kafka = |arguments: &[&str]| {
        let mut command = scene.boomctl().command(arguments);
        let output = command.env("BOOM_BOOMCTL__KAFKA__BROKERS", scene.cluster.kafka()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let ledger = with_kafka(&["ledger", "--stream", "again", "--json"]);
    let partitions = ledger["partitions"].as_array().unwrap();
    assert!(partitions.iter().all(|row| row["partition"].as_str().unwrap().starts_with("again/")), "{ledger}");
    assert_eq!((&ledger["balances"], &ledger["filters"][0]["decided"]), (&true.into(), &WINDOW.len().into()));
    let result = with_kafka(&["tail", RESULTS, "--from", "earliest", "--count", "1"]);
    let candids: Vec<i64> = scene.night.packets[WINDOW].iter().map(|packet| packet.candid).collect();
    assert!(candids.contains(&result["candid"].as_i64().unwrap()), "{result}");
    for node in 0..2 {
        let metrics = scene.cluster.node_metrics(node);
        let latency = metrics.lines().find(|line| line.contains("stream_latency") && line.contains("again"));
        assert_eq!(latency, None, "how old a replay's alerts are is no latency");
    }
}

#[track_caller]
fn nothing_is_left(scene: &Scene) {
    let databases = scene.databases();
    assert!(!databases.iter().any(|name| name.contains("replay")), "{databases:?}");
    let topics = scene.cluster.output().topics();
    assert!(!topics.iter().any(|name| name.contains("again")), "{topics:?}");
    let Committed { partitions, producers } = scene.committed();
    let keys: Vec<_> = partitions.keys().chain(producers.keys()).filter(|key| key.contains("again")).collect();
    assert!(keys.is_empty(), "{keys:?}");
    let plan = scene.boomctl().text(&["plan"]);
    assert!(!plan.contains("again"), "{plan}");
}
