//! Processes that end by kill -9: nodes, the leader, the servers.

use std::time::Duration;

use boom_tests::cluster::End;
use boom_tests::scenario::{Chance, Scenario, by_form, report};
use boom_tests::servers::Server;

use crate::starts;

#[test]
fn kill_9_of_a_node_at_any_moment_loses_and_repeats_nothing() {
    let mut chance = Chance::new();
    let mut scenario = Scenario::begin(2);
    let kills = by_form(3, 10);
    for kill in 1..=kills {
        let (moment, node) = (Duration::from_millis(chance.below(3000)), chance.below(2) as usize);
        scenario.feed_during(moment, 900 / kills);
        report(&format!("kill -9 number {kill}: of node {node} behind"), moment);
        scenario.cluster.end_node(node, End::Kill);
        scenario.cluster.start_node(node);
        // Every second time the next one dies too before all is well again.
        if chance.below(2) == 0 {
            report("kill -9 of a node, started again: all partitions owned after", scenario.wait_for_owners());
        }
    }
    report("after the last kill -9: all partitions owned after", scenario.wait_for_owners());
    scenario.finish();
}

#[test]
fn the_partitions_of_a_dead_node_are_read_again_within_ten_seconds() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(500);
    scenario.wait_for(200);
    scenario.cluster.end_node(0, End::Kill);
    let took = scenario.wait_for_owners();
    report("kill -9 of a node that stays away: all partitions owned after", took);
    assert!(took < Duration::from_secs(10), "{took:?}");
    scenario.finish();
}

#[test]
fn kill_9_of_the_leader_moves_no_partition_and_stops_no_work() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(300);
    scenario.wait_for(100);
    let (leader, before) = (scenario.cluster.leader().unwrap(), starts(&scenario, 2));
    scenario.cluster.restart_coordinator(leader, End::Kill);
    let took = scenario.cluster.wait("another one leads", |cluster| cluster.leader().is_some());
    report("kill -9 of the leader: another leads after", took);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let scenario_starts = starts(&scenario, 2);
    assert_eq!(scenario_starts, before, "no partition has moved");
    let cluster = scenario.finish();
    assert!((0..2).all(|node| !cluster.log(node).contains("is over")), "no incarnation has ended");
}

#[test]
fn kill_9_of_the_leader_and_of_a_node_at_once() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(400);
    scenario.wait_for(150);
    let leader = scenario.cluster.leader().unwrap();
    scenario.cluster.end_node(1, End::Kill);
    scenario.cluster.restart_coordinator(leader, End::Kill);
    report("kill -9 of the leader and of a node: all partitions owned after", scenario.wait_for_owners());
    scenario.finish();
}

#[test]
fn etcd_that_is_killed_and_started_changes_nothing_for_the_work_that_runs() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(300);
    scenario.wait_for(100);
    scenario.cluster.servers.kill(Server::Etcd).unwrap();
    scenario.feed(200);
    scenario.cluster.servers.restart(Server::Etcd).unwrap();
    report(
        "etcd killed and started: a leader after",
        scenario.cluster.wait("one leads", |cluster| cluster.leader().is_some()),
    );
    scenario.finish();
}

#[test]
fn kafka_that_is_killed_and_started_loses_and_repeats_nothing() {
    kill_and_start(Server::Kafka);
}

#[test]
fn mongodb_that_is_killed_and_started_loses_and_repeats_nothing() {
    kill_and_start(Server::Mongodb);
}

/// A night in which a server is killed and started.
fn kill_and_start(server: Server) {
    let mut scenario = Scenario::begin(2);
    scenario.feed(500);
    scenario.wait_for(200);
    scenario.cluster.servers.kill(server).unwrap();
    scenario.cluster.servers.restart(server).unwrap();
    report(&format!("{} killed and started: alerts decided after", server.name()), scenario.wait_for(500));
    scenario.finish();
}
