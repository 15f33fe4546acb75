//! A commit that is on its way when its node is stopped, is killed, or has to give partitions back: between the results that are written and
//! Kafka's word that they count.

use std::time::Duration;

use boom_tests::cluster::{Cluster, Detours, End};
use boom_tests::proxy::{Moment, Proxy};
use boom_tests::scenario::{Scenario, report};
use rustix::process::Signal;

/// A cluster of two nodes, of which the first one runs and reaches Kafka through a proxy.
fn begin() -> (Scenario, Proxy) {
    let mut cluster = Scenario::cluster(1, 2);
    let proxy = Proxy::to_kafka(cluster.kafka());
    cluster.detour(0, Detours { kafka: Some(proxy.address()), ..Detours::default() });
    (Scenario::with(cluster, 1), proxy)
}

/// Feeds until the transaction that comes after so many is held there. So many alerts are in it that some have passed filters.
fn hold(scenario: &mut Scenario, proxy: &Proxy, moment: Moment, after: u32) {
    proxy.hold_at(moment, after);
    scenario.feed_until(12, 25, || proxy.is_held());
}

#[test]
fn a_commit_that_arrives_after_its_partitions_have_moved_is_refused() {
    arrives_too_late(Moment::Commit, |scenario, proxy| {
        // By the fence the open transaction is over: nobody waits until its time is up, 60 s.
        scenario.feed(300);
        let took = scenario.wait_for(250);
        assert!(took < Duration::from_secs(30), "{took:?}");
        proxy.mend();
        scenario.cluster.signal_node(0, Signal::CONT);
    });
}

#[test]
fn a_transaction_that_begins_after_its_partitions_have_moved_is_refused() {
    arrives_too_late(Moment::Begin, |scenario, proxy| {
        scenario.feed(300);
        scenario.wait_for(250);
        // The thread that commits goes on where it stood, before anybody has looked at the time.
        proxy.mend();
        scenario.cluster.signal_node(0, Signal::CONT);
    });
}

/// A node stands still amid a transaction until its partitions are another's, then the transaction goes on.
fn arrives_too_late(moment: Moment, go_on: impl Fn(&mut Scenario, &Proxy)) {
    let (mut scenario, proxy) = begin();
    scenario.cluster.start_node(1);
    scenario.wait_for_owners();
    hold(&mut scenario, &proxy, moment, 3);
    scenario.cluster.signal_node(0, Signal::STOP);
    let taken = scenario.cluster.wait("the other one has all partitions", |cluster| {
        cluster.node_metric(1, "boom_node_partitions") == Some(12.0)
    });
    report("stopped amid a transaction: its partitions owned after", taken);
    go_on(&mut scenario, &proxy);
    scenario.cluster.wait("it goes on as another incarnation", |cluster| cluster.log(0).contains("goes on as"));
    scenario.finish();
}

#[test]
fn a_node_that_is_killed_before_its_commit_arrives_leaves_neither_results_nor_progress() {
    let (mut scenario, proxy) = begin();
    // The fourth commit, then the fifth of another process: what a commit consists of is never halfway.
    for after in [3, 4] {
        hold(&mut scenario, &proxy, Moment::Commit, after);
        scenario.cluster.end_node(0, End::Kill);
        proxy.cut();
        proxy.mend();
        scenario.cluster.start_node(0);
        scenario.wait_for_owners();
    }
    scenario.finish();
}

#[test]
fn a_partition_is_released_after_its_last_commit_and_not_before() {
    let (mut scenario, proxy) = begin();
    hold(&mut scenario, &proxy, Moment::Commit, 3);
    scenario.cluster.start_node(1);
    scenario.cluster.wait("the first one is to release some", |cluster| cluster.log(0).contains(" release "));
    scenario.pass(Duration::from_secs(2));
    assert_eq!(scenario.cluster.partitions(), [12, 0], "nothing is released before it is committed");
    proxy.mend();
    let moved = scenario.cluster.wait("the other one has its part", |cluster| cluster.partitions()[1] > 0);
    report("a commit that was held: its partitions are the other node's after", moved);
    scenario.finish();
}

#[test]
fn who_waits_for_an_open_transaction_ends_it_when_its_producer_is_dead() {
    let (mut scenario, proxy) = begin();
    hold(&mut scenario, &proxy, Moment::Commit, 3);
    scenario.cluster.start_node(1);
    // Of the partitions that nobody had the other node gets some: it reads the progress, in which a transaction is open.
    scenario.topics[0].grow(16);
    let waits = |cluster: &Cluster| cluster.log(1).contains("a transaction of another producer is open");
    scenario.cluster.wait("the other node waits for it", waits);
    scenario.cluster.end_node(0, End::Kill);
    scenario.feed(200);
    let took = scenario.wait_for(200);
    report("killed amid a commit for which the other node waits: alerts decided after", took);
    assert!(took < Duration::from_secs(30), "{took:?}: its time, 60 s, has ended it");
    proxy.cut();
    proxy.mend();
    scenario.cluster.start_node(0);
    scenario.finish();
}
