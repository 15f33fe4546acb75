//! What comes from a survey's Kafka: a night as it should be, malformed packets, repeats, a topic that is made again.

use std::collections::BTreeMap;
use std::time::Duration;

use boom_tests::cluster::End;
use boom_tests::kafka::Topic;
use boom_tests::registry::{NOBODYS, Registry, V11, framed};
use boom_tests::scenario::Scenario;

#[test]
fn a_topic_that_is_deleted_and_made_again_is_reported_and_read_from_its_beginning() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(600);
    scenario.wait_for(600);
    scenario.make_topic_anew();
    // What comes now has offsets that were decided before, and is decided all the same.
    let cluster = scenario.finish();
    let counted = |node| cluster.node_metric(node, "boom_node_source_made_anew_total").unwrap();
    assert_eq!(counted(0) + counted(1), 8.0, "for each of its partitions, once");
}

#[test]
fn a_night_goes_through_a_cluster_as_through_standalone() {
    let scenario = Scenario::begin(2);
    let topics: Vec<_> = ["ztf_night", "lsst_night"].map(|name| Topic::of(scenario.cluster.kafka(), name)).into();
    let cluster = scenario.finish();
    // Nobody waits for the offsets of the group: they come to what the progress is by themselves.
    let committed = cluster.output().committed();
    let progress = |stream: &str, topic: &Topic| {
        let of = |number: i32| committed.partitions.get(&format!("{stream}/{}/{number}", topic.name()));
        let all: BTreeMap<_, _> = (0..8).filter_map(|number| Some((number, of(number)?.next))).collect();
        all
    };
    for (stream, topic, partitions) in [("ztf", &topics[0], 8), ("lsst", &topics[1], 4)] {
        let progress = progress(stream, topic);
        assert_eq!(progress.len(), partitions as usize, "alerts are on all partitions");
        cluster.wait("the group's offsets are the progress", |_| topic.group_offsets("boom", partitions) == progress);
    }
    cluster.wait("each node shows the lag of its own partitions, and nothing waits", |cluster| {
        let held = cluster.partitions();
        let shown = |node, name| series(&cluster.node_metrics(node), name);
        held.iter().sum::<usize>() == 12
            && (0..2).all(|node| {
                ["boom_node_lag_alerts", "boom_node_lag_seconds"].map(|name| shown(node, name))
                    == [vec![0.0; held[node]], vec![0.0; held[node]]]
            })
    });
}

/// The values of all series of a metric.
fn series(text: &str, name: &str) -> Vec<f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit(' ').next());
    lines.map(|value| value.parse().unwrap()).collect()
}

#[test]
fn malformed_packets_and_repeats_are_counted_and_hold_nothing_up() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(300);
    scenario.topics[0].write(3, [b"not an alert".as_slice(), b""].into_iter());
    scenario.topics[1].write(0, std::iter::once([0xff; 64].as_slice()));
    // The first packets again, on other partitions: they are known by their candids.
    let repeats = scenario.repeat(20);
    scenario.strays(3 + repeats);
    let cluster = scenario.finish();
    let committed = cluster.output().committed();
    let books = || committed.partitions.values().flat_map(|decided| &decided.books);
    assert_eq!(books().map(|book| book.dead_lettered).sum::<u64>(), 3);
    assert_eq!(books().map(|book| book.repeated).sum::<u64>(), repeats);
    assert_eq!(cluster.output().dead_letters().len(), 3);
}

#[test]
fn lsst_packets_of_two_majors_are_read_with_the_schemas_of_a_registry() {
    let directory = tempfile::tempdir().unwrap();
    let (mut scenario, registry) = Scenario::with_registry(|answers| {
        let registry = Registry::start(answers, true);
        let cluster = Scenario::cluster_with(3, 2, registry.environment(directory.path()));
        (registry, cluster)
    });
    scenario.feed(200);
    scenario.pass(Duration::from_secs(2));
    assert!(registry.asked_for(V11) > 0, "it is away, and asked");
    assert!(scenario.cluster.output().dead_letters().is_empty(), "that it is away is no packet's error");
    registry.is_away(false);
    scenario.wait_for(200);
    scenario.topics[1].write(0, [framed(NOBODYS, b"?"), framed(NOBODYS, b"??")].iter().map(Vec::as_slice));
    scenario.strays(2);
    scenario.feed(200);
    scenario.wait_for(400);
    // What was asked for once is kept: a node that starts while the registry is away reads on.
    registry.is_away(true);
    scenario.cluster.end_node(0, End::Kill);
    scenario.cluster.start_node(0);
    let cluster = scenario.finish();
    let letters = cluster.output().dead_letters();
    let reasons: Vec<String> = letters.iter().map(|letter| letter.header("reason")).collect();
    assert_eq!(reasons, ["unknown_schema"; 2]);
}
