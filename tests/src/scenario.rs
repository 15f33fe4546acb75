//! A night that goes through a cluster while something is broken on purpose, and what must hold at its end whatever was broken.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use boom_client::progress::Committed;
use boom_node::source::simulator::SimulatedSurvey;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use crate::cluster::{Cluster, Layout, Stream};
use crate::documents::{Documents, assert_complete};
use crate::kafka::Topic;
use crate::night::{Night, Results, assert_same, by_pass, standalone};
use crate::registry::{Answers, Registry};
use crate::servers::Server;
use crate::shared::repository;

/// Alerts of the two streams, in the short form and in the long one.
const ALERTS: [[u64; 2]; 2] = [[2000, 1000], [14_000, 6000]];

/// How long alerts may take until they are decided, in the short form and in the long one.
const PATIENCE: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(900)];

/// Partitions of their topics.
const PARTITIONS: [i32; 2] = [8, 4];

/// Their topics.
const TOPICS: [&str; 2] = ["ztf_night", "lsst_night"];

/// A cluster with two streams whose alerts come as the test says.
#[derive(Debug)]
pub struct Scenario {
    /// The cluster.
    pub cluster: Cluster,
    /// The topics, ZTF and LSST.
    pub topics: Vec<Topic>,
    nights: Vec<Night>,
    strays: u64,
}

/// Whether the scenarios take their long form: more alerts, more that is broken. `deploy/dev test --long` wants it.
pub fn is_long() -> bool {
    std::env::var_os("BOOM_LONG").is_some_and(|long| long == "1")
}

/// One for the short form, another for the long one.
pub fn by_form<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

fn alerts() -> [u64; 2] {
    by_form(ALERTS[0], ALERTS[1])
}

fn nights() -> Vec<Night> {
    let night = |survey, stream: usize| Night::new(survey, alerts()[stream], 5, PARTITIONS[stream]);
    vec![night(SimulatedSurvey::Ztf, 0), night(SimulatedSurvey::Lsst, 1)]
}

/// The filters of the scenarios.
pub fn filters() -> PathBuf {
    repository().join("deploy/filters")
}

/// What standalone makes of the same nights: results and documents.
fn expected() -> &'static (Results, Documents) {
    static EXPECTED: OnceLock<(Results, Documents)> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let nights = nights();
        let packets: Vec<_> = nights.iter().flat_map(|night| &night.packets).collect();
        let results = standalone(&packets, &filters(), directory.path());
        let candids = packets.iter().map(|packet| packet.candid);
        (results, Documents::of_standalone(&directory.path().join("out"), candids))
    })
}

/// Alerts that are decided, repeated or dead-lettered.
pub fn consumed(committed: &Committed) -> u64 {
    committed.partitions.values().flat_map(|decided| &decided.books).map(|book| book.consumed).sum()
}

impl Scenario {
    /// A cluster of three coordinators and so many nodes, which have all partitions by now.
    pub fn begin(nodes: usize) -> Self {
        Self::of(Self::cluster(3, nodes))
    }

    /// A cluster with the two streams, of which no node runs yet.
    pub fn cluster(coordinators: usize, nodes: usize) -> Cluster {
        Self::cluster_with(coordinators, nodes, Vec::new())
    }

    /// The same, with these variables for the nodes.
    pub fn cluster_with(coordinators: usize, nodes: usize, environment: Vec<(&'static str, String)>) -> Cluster {
        let layout = Self::layout(coordinators, nodes);
        Cluster::start(Layout { environment, ..layout })
    }

    /// A cluster of three coordinators and so many nodes that hand work over to each other, of which no node runs yet.
    pub fn sharing(nodes: usize) -> Cluster {
        Cluster::start(Layout { hand_over: true, ..Self::layout(3, nodes) })
    }

    fn layout(coordinators: usize, nodes: usize) -> Layout {
        let streams = vec![Stream::new("ztf", "ZTF", TOPICS[0]), Stream::new("lsst", "LSST", TOPICS[1])];
        let (filters, environment, coordination) = (filters(), Vec::new(), "");
        Layout { coordinators, nodes, streams, filters, environment, coordination, hand_over: false }
    }

    /// A scenario over such a cluster, whose nodes are started.
    pub fn of(cluster: Cluster) -> Self {
        let nodes = cluster.nodes();
        Self::with(cluster, nodes)
    }

    /// A scenario over such a cluster, whose first nodes are started.
    pub fn with(mut cluster: Cluster, nodes: usize) -> Self {
        let make = |stream: usize| Topic::make(cluster.kafka(), TOPICS[stream], PARTITIONS[stream]);
        let topics = vec![make(0), make(1)];
        (0..nodes).for_each(|number| cluster.start_node(number));
        let scenario = Self { cluster, topics, nights: nights(), strays: 0 };
        scenario.wait_for_owners();
        scenario
    }

    /// The night of LSST comes in Confluent's framing; the registry is one that `open` makes of what it must know.
    pub fn with_registry(open: impl FnOnce(Answers) -> (Registry, Cluster)) -> (Self, Registry) {
        let mut nights = nights();
        let (registry, cluster) = open(nights[1].frame());
        (Self { nights, ..Self::of(cluster) }, registry)
    }

    /// Waits until every partition has an owner that runs; gives how long it took.
    #[track_caller]
    pub fn wait_for_owners(&self) -> Duration {
        let all = PARTITIONS.iter().sum::<i32>() as usize;
        self.cluster.wait("every partition has an owner", |cluster| cluster.partitions().iter().sum::<usize>() == all)
    }

    /// Writes the next part of the nights, in thousandths of the whole.
    pub fn feed(&mut self, permille: u64) {
        for (stream, night) in self.nights.iter_mut().enumerate() {
            night.write(&mut self.topics[stream], (alerts()[stream] * permille / 1000) as usize);
        }
    }

    /// Writes the next part of the nights bit by bit over a time, so that alerts are on their way at its end.
    pub fn feed_during(&mut self, time: Duration, permille: u64) {
        const BITS: u32 = 20;
        let since = Instant::now();
        let before: Vec<usize> = self.nights.iter().map(Night::written).collect();
        for bit in 1..=BITS {
            for (stream, night) in self.nights.iter_mut().enumerate() {
                let part = alerts()[stream] * permille * u64::from(bit) / u64::from(1000 * BITS);
                night.send_upto(&self.topics[stream], before[stream] + part as usize);
            }
            self.cluster.wait("the next alerts come", |_| since.elapsed() >= time * bit / BITS);
        }
    }

    /// Writes so many parts of the nights one after the other, until something is so.
    ///
    /// # Panics
    /// They end before.
    #[track_caller]
    pub fn feed_until(&mut self, parts: u64, permille: u64, is_so: impl Fn() -> bool) {
        for _ in 0..parts {
            self.feed(permille);
            if is_so() {
                return;
            }
        }
        panic!("{parts} parts of the nights are written, and it has not come");
    }

    /// Writes the first packets of the ZTF night once more, each to another partition than before; gives how many.
    pub fn repeat(&self, packets: usize) -> u64 {
        let night = &self.nights[0];
        for packet in &night.packets[..packets] {
            let other = (night.partition(packet) + 1) % PARTITIONS[0];
            self.topics[0].write(other, std::iter::once(packet.bytes.as_slice()));
        }
        packets as u64
    }

    /// Deletes the topic of the ZTF night with all that is in it, and makes it again.
    pub fn make_topic_anew(&mut self) {
        self.topics[0].make_anew(PARTITIONS[0]);
    }

    /// Says that so many records more than those of the nights are in the topics.
    pub fn strays(&mut self, records: u64) {
        self.strays += records;
    }

    /// Lets time pass: what is broken stays so for so long.
    #[track_caller]
    pub fn pass(&self, time: Duration) {
        let since = Instant::now();
        self.cluster.wait("time passes", |_| since.elapsed() >= time);
    }

    /// Waits until at least so many thousandths of the nights are decided; gives how long it took.
    #[track_caller]
    pub fn wait_for(&self, permille: u64) -> Duration {
        self.decided(alerts().iter().sum::<u64>() * permille / 1000)
    }

    #[track_caller]
    fn decided(&self, wanted: u64) -> Duration {
        let patience = by_form(PATIENCE[0], PATIENCE[1]);
        let decided = |cluster: &Cluster| consumed(&cluster.output().committed());
        self.cluster.wait_within(patience, "alerts are decided", |cluster| decided(cluster) >= wanted)
    }

    /// The night ends: everything is decided and stored, exactly once, as in standalone, and the books balance.
    #[track_caller]
    pub fn finish(mut self) -> Cluster {
        self.feed(1000);
        let all = alerts().iter().sum::<u64>() + self.strays;
        self.decided(all);
        let committed = self.cluster.output().committed();
        assert_eq!(consumed(&committed), all, "each once: {:#?}", committed.partitions);
        for (partition, decided) in &committed.partitions {
            let balanced =
                decided.books.iter().all(|book| book.consumed == book.decided + book.repeated + book.dead_lettered);
            assert!(balanced, "{partition}: {decided:?}");
        }
        let filters = committed.producers.values().flat_map(|counts| &counts.filters);
        filters.for_each(|book| assert_eq!(book.decided, book.passed + book.rejected + book.failed, "{book:?}"));
        let (results, documents) = expected();
        assert_same(results, &by_pass(self.cluster.output().results()));
        assert_complete(documents, &Documents::of_mongodb(self.cluster.servers.address(Server::Mongodb)));
        self.cluster
    }
}

/// Chance with a seed, which it says, and which `BOOM_SEED` sets.
#[derive(Debug)]
pub struct Chance(Pcg64);

impl Chance {
    /// With a seed of its own.
    #[expect(
        clippy::print_stderr,
        clippy::new_without_default,
        reason = "the seed is what repeats a failure; it says something"
    )]
    pub fn new() -> Self {
        let set = std::env::var("BOOM_SEED").ok().map(|seed| seed.parse().expect("BOOM_SEED is a number"));
        let seed = set.unwrap_or_else(rand::random);
        eprintln!("BOOM_SEED={seed}");
        Self(Pcg64::seed_from_u64(seed))
    }

    /// A number below that.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }
}

/// Says what was measured.
#[expect(clippy::print_stderr, reason = "a measurement is there to be read")]
pub fn report(what: &str, took: Duration) {
    eprintln!("{what}: {:.2} s", took.as_secs_f64());
}

/// How long something took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}
