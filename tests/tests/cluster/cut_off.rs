//! A way between a node and a server that breaks, while both of them live, or is slow.

use std::collections::BTreeMap;
use std::time::Duration;

use boom_client::progress::Counts;
use boom_tests::cluster::{Cluster, Detours};
use boom_tests::proxy::Proxy;
use boom_tests::scenario::{Scenario, report};
use boom_tests::servers::Server;

use crate::starts;

/// What the first node has committed, in all of its incarnations.
fn committed(cluster: &Cluster) -> BTreeMap<String, Counts> {
    let mut producers = cluster.output().committed().producers;
    producers.retain(|name, _| name.starts_with("boom-n0-"));
    producers
}

/// How a way breaks.
type Break = fn(&Proxy);

#[test]
fn a_node_cut_off_from_the_coordinators_commits_nothing_beyond_its_lease_and_comes_back() {
    // One of them: a node that is told of another goes there by itself, past any proxy.
    let mut cluster = Scenario::cluster(1, 2);
    let proxy = Proxy::to(&cluster.addresses()[0]);
    cluster.detour(0, Detours { coordinators: Some(vec![proxy.url()]), ..Detours::default() });
    let mut scenario = Scenario::of(cluster);
    scenario.feed(400);
    scenario.wait_for(150);
    proxy.hold();
    let taken = scenario.cluster.wait("the other one has all partitions", |cluster| {
        cluster.node_metric(1, "boom_node_partitions") == Some(12.0)
    });
    report("cut off from the coordinators: its partitions owned after", taken);
    assert!(scenario.cluster.log(0).contains("this incarnation is over"), "it has stopped by its own clock");
    let before = committed(&scenario.cluster);
    assert!(!before.is_empty(), "it had committed something");
    scenario.feed(300);
    scenario.wait_for(650);
    assert_eq!(committed(&scenario.cluster), before, "it commits nothing while it is cut off");
    proxy.mend();
    report(
        "mended: it has partitions again after",
        scenario.cluster.wait("it has partitions again", |cluster| {
            cluster.node_metric(0, "boom_node_partitions").is_some_and(|partitions| partitions > 0.0)
        }),
    );
    scenario.finish();
}

#[test]
fn a_node_cut_off_from_kafka_keeps_its_partitions_and_loses_and_repeats_nothing() {
    let mut cluster = Scenario::cluster(3, 2);
    let proxy = Proxy::to_kafka(cluster.kafka());
    cluster.detour(0, Detours { kafka: Some(proxy.address()), ..Detours::default() });
    let mut scenario = Scenario::of(cluster);
    let before = starts(&scenario, 2);
    let breaks: [(u64, Break, u64); 3] = [(250, Proxy::cut, 4), (500, Proxy::hold, 5), (750, Proxy::cut, 3)];
    for (moment, break_it, seconds) in breaks {
        scenario.feed(100);
        scenario.wait_for(moment - 200);
        break_it(&proxy);
        scenario.feed(150);
        scenario.pass(Duration::from_secs(seconds));
        let decided = committed(&scenario.cluster);
        proxy.mend();
        let goes_on = |cluster: &Cluster| committed(cluster) != decided;
        report("cut off from Kafka and mended: it commits after", scenario.cluster.wait("it goes on", goes_on));
    }
    assert_eq!(starts(&scenario, 2), before, "no partition has moved");
    scenario.finish();
}

#[test]
fn a_mongodb_that_answers_in_two_seconds_slows_the_night_and_loses_and_repeats_nothing() {
    let mut cluster = Scenario::cluster(3, 2);
    let proxy = Proxy::to(cluster.servers.address(Server::Mongodb));
    // Of the replica set it would learn where its members are, past the proxy.
    let mongodb = format!("mongodb://{}/?directConnection=true", proxy.address());
    (0..2).for_each(|node| cluster.detour(node, Detours { mongodb: Some(mongodb.clone()), ..Detours::default() }));
    let mut scenario = Scenario::of(cluster);
    scenario.feed(300);
    scenario.wait_for(300);
    proxy.delay(Duration::from_secs(2));
    scenario.feed(10);
    let took = scenario.wait_for(310);
    report("MongoDB answers in 2 s: 30 alerts are decided after", took);
    assert!(took > Duration::from_secs(2), "{took:?}: it answers sooner than that");
    proxy.delay(Duration::ZERO);
    let cluster = scenario.finish();
    assert!((0..2).all(|node| !cluster.log(node).contains("is over")), "no incarnation has ended");
    assert!(cluster.output().dead_letters().is_empty(), "waiting is no alert's error");
}
