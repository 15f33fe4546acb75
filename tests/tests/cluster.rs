//! The promises of a cluster, with real processes on real servers that are killed: nothing lost, nothing twice, the same as in standalone.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use boom_node::source::simulator::SimulatedSurvey;
use boom_tests::cluster::{Cluster, Layout, Stream};
use boom_tests::kafka::Topic;
use boom_tests::night::{Night, assert_same, by_pass, standalone};
use boom_tests::shared::repository;

#[test]
fn a_night_goes_through_a_cluster_as_through_standalone() {
    let streams = vec![Stream::new("ztf", "ZTF", "ztf_night"), Stream::new("lsst", "LSST", "lsst_night")];
    let filters = repository().join("deploy/filters");
    let layout = Layout { coordinators: 3, nodes: 2, streams, filters: filters.clone(), node: String::new() };
    let mut cluster = Cluster::start(layout);
    let topics = [Topic::make(cluster.kafka(), "ztf_night", 8), Topic::make(cluster.kafka(), "lsst_night", 4)];
    cluster.start_nodes();
    let mut nights = [Night::new(SimulatedSurvey::Ztf, 2000, 5, 8), Night::new(SimulatedSurvey::Lsst, 1000, 6, 4)];
    for (night, topic) in nights.iter_mut().zip(&topics) {
        night.write(topic, usize::MAX);
    }
    cluster.wait("all is decided", |cluster| {
        let decided = |committed: boom_node::sink::kafka::Committed| -> u64 {
            committed.partitions.values().flat_map(|decided| &decided.books).map(|book| book.consumed).sum()
        };
        decided(cluster.output().committed()) == 3000
    });
    let found = by_pass(cluster.output().results());
    let packets: Vec<_> = nights.iter().flat_map(|night| &night.packets).collect();
    assert_same(&standalone(&packets, &filters, &cluster.directory().join("standalone")), &found);
}
