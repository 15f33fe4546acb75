//! Processes that stand still for a while and go on: an owner, Kafka, the whole machine.

use std::time::Duration;

use boom_tests::cluster::{Cluster, send};
use boom_tests::scenario::{Scenario, report};
use boom_tests::servers::Server;
use rustix::process::{Pid, Signal};

#[test]
fn an_owner_that_was_stopped_beyond_its_lease_can_neither_emit_nor_move_progress() {
    let mut scenario = Scenario::begin(2);
    // Alerts are on their way while it is stopped: it has batches to commit when it wakes up.
    scenario.feed(100);
    scenario.wait_for(50);
    scenario.feed_during(Duration::from_secs(1), 400);
    scenario.cluster.signal_node(0, Signal::STOP);
    let taken = scenario.cluster.wait("the other one has all partitions", |cluster| {
        cluster.node_metric(1, "boom_node_partitions") == Some(12.0)
    });
    report("SIGSTOP of an owner: its partitions owned after", taken);
    scenario.feed(100);
    scenario.wait_for(550);
    scenario.cluster.signal_node(0, Signal::CONT);
    scenario.cluster.wait("it goes on as another incarnation", |cluster| cluster.log(0).contains("goes on as"));
    scenario.finish();
}

#[test]
fn a_machine_that_stands_still_for_some_seconds_loses_and_repeats_nothing() {
    stand_still([3, 4, 3], |cluster, signal| {
        cluster.processes().iter().for_each(|(_, process)| send(Pid::from_raw(process.cast_signed()).unwrap(), signal));
    });
}

#[test]
fn kafka_that_answers_nothing_for_some_seconds_loses_and_repeats_nothing() {
    stand_still([3, 5, 3], |cluster, signal| match signal {
        Signal::STOP => cluster.servers.stop(Server::Kafka).unwrap(),
        _ => cluster.servers.go_on(Server::Kafka).unwrap(),
    });
}

/// A night in which something stands still for so many seconds each time; `tell` stops it and lets it go on.
fn stand_still(seconds: [u64; 3], tell: impl Fn(&Cluster, Signal)) {
    let mut scenario = Scenario::begin(2);
    for (moment, still) in [100, 300, 500].into_iter().zip(seconds) {
        scenario.feed(250);
        scenario.wait_for(moment);
        tell(&scenario.cluster, Signal::STOP);
        scenario.pass(Duration::from_secs(still));
        tell(&scenario.cluster, Signal::CONT);
    }
    scenario.finish();
}
