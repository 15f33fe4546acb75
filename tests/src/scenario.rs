//! A night that goes through a cluster while something is broken on purpose, and what must hold at its end whatever was broken.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use boom_client::progress::Committed;
use boom_node::source::simulator::SimulatedSurvey;

use crate::cluster::{Cluster, Layout, Stream};
use crate::kafka::Topic;
use crate::night::{Night, Results, assert_same, by_pass, standalone};
use crate::shared::repository;

/// Alerts of the two streams.
const ALERTS: [u64; 2] = [2000, 1000];

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

fn nights() -> Vec<Night> {
    let night = |survey, stream: usize| Night::new(survey, ALERTS[stream], 5, PARTITIONS[stream]);
    vec![night(SimulatedSurvey::Ztf, 0), night(SimulatedSurvey::Lsst, 1)]
}

fn filters() -> PathBuf {
    repository().join("deploy/filters")
}

/// What standalone makes of the same nights.
fn expected() -> &'static Results {
    static EXPECTED: OnceLock<Results> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let nights = nights();
        let packets: Vec<_> = nights.iter().flat_map(|night| &night.packets).collect();
        standalone(&packets, &filters(), directory.path())
    })
}

/// Alerts that are decided, repeated or dead-lettered.
pub fn consumed(committed: &Committed) -> u64 {
    committed.partitions.values().flat_map(|decided| &decided.books).map(|book| book.consumed).sum()
}

impl Scenario {
    /// A cluster of three coordinators and so many nodes, which have all partitions by now.
    pub fn begin(nodes: usize) -> Self {
        let streams = vec![Stream::new("ztf", "ZTF", TOPICS[0]), Stream::new("lsst", "LSST", TOPICS[1])];
        let layout = Layout { coordinators: 3, nodes, streams, filters: filters(), environment: Vec::new() };
        Self::of(Cluster::start(layout))
    }

    /// The same over a cluster that is there, with no node running yet.
    pub fn of(mut cluster: Cluster) -> Self {
        let make = |stream: usize| Topic::make(cluster.kafka(), TOPICS[stream], PARTITIONS[stream]);
        let topics = vec![make(0), make(1)];
        cluster.start_nodes();
        let scenario = Self { cluster, topics, nights: nights(), strays: 0 };
        scenario.wait_for_owners();
        scenario
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
            night.write(&self.topics[stream], (ALERTS[stream] * permille / 1000) as usize);
        }
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

    /// Says that so many records more than those of the nights are in the topics.
    pub fn strays(&mut self, records: u64) {
        self.strays += records;
    }

    /// Waits until at least so many thousandths of the nights are decided; gives how long it took.
    #[track_caller]
    pub fn wait_for(&self, permille: u64) -> Duration {
        let wanted = ALERTS.iter().sum::<u64>() * permille / 1000;
        self.cluster.wait("alerts are decided", |cluster| consumed(&cluster.output().committed()) >= wanted)
    }

    /// The night ends: everything is decided, exactly once, as in standalone, and the books balance.
    #[track_caller]
    pub fn finish(mut self) -> Cluster {
        self.feed(1000);
        let all = ALERTS.iter().sum::<u64>() + self.strays;
        self.cluster.wait("all is decided", |cluster| consumed(&cluster.output().committed()) >= all);
        let committed = self.cluster.output().committed();
        assert_eq!(consumed(&committed), all, "each once: {:#?}", committed.partitions);
        for (partition, decided) in &committed.partitions {
            let balanced =
                decided.books.iter().all(|book| book.consumed == book.decided + book.repeated + book.dead_lettered);
            assert!(balanced, "{partition}: {decided:?}");
        }
        let filters = committed.producers.values().flat_map(|counts| &counts.filters);
        filters.for_each(|book| assert_eq!(book.decided, book.passed + book.rejected + book.failed, "{book:?}"));
        assert_same(expected(), &by_pass(self.cluster.output().results()));
        self.cluster
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
