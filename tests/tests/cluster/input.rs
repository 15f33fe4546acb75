//! What comes from a survey's Kafka: a night as it should be, malformed packets, repeats, a topic that is made again.

use boom_tests::scenario::Scenario;

#[test]
fn a_topic_that_is_deleted_and_made_again_is_reported_and_read_from_its_beginning() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(600);
    scenario.wait_for(600);
    scenario.make_topic_anew();
    // What comes now has offsets that were decided before, and is decided all the same.
    let cluster = scenario.finish();
    let counted = |node| cluster.node_metric(node, "boom_node_partitions_made_anew_total").unwrap();
    assert_eq!(counted(0) + counted(1), 8.0, "for each of its partitions, once");
}

#[test]
fn a_night_goes_through_a_cluster_as_through_standalone() {
    Scenario::begin(2).finish();
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
