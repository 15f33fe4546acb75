//! Processes that stand still for a while and go on: an owner, Kafka, the whole machine.

use std::time::Duration;

use boom_tests::scenario::{Scenario, report};
use boom_tests::servers::Server;
use rustix::process::{Pid, Signal, kill_process};

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
    let mut scenario = Scenario::begin(2);
    for (moment, still) in [(100, 3), (300, 4), (500, 3)] {
        scenario.feed(250);
        scenario.wait_for(moment);
        let processes = scenario.cluster.processes();
        let all = |signal| processes.iter().for_each(|(name, process)| send(name, *process, signal));
        all(Signal::STOP);
        scenario.pass(Duration::from_secs(still));
        all(Signal::CONT);
    }
    scenario.finish();
}

#[test]
fn kafka_that_answers_nothing_for_some_seconds_loses_and_repeats_nothing() {
    let mut scenario = Scenario::begin(2);
    for (moment, still) in [(100, 3), (300, 5), (500, 3)] {
        scenario.feed(250);
        scenario.wait_for(moment);
        scenario.cluster.servers.stop(Server::Kafka).unwrap();
        scenario.pass(Duration::from_secs(still));
        scenario.cluster.servers.go_on(Server::Kafka).unwrap();
    }
    scenario.finish();
}

fn send(name: &str, process: u32, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(process, signal).unwrap_or_else(|error| panic!("{name}: {error}"));
}
