//! The promises of a cluster, with real processes on real servers that are killed, stopped and cut off while a night goes through: nothing
//! is lost, nothing comes twice, results are those of standalone, and the books balance.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use boom_tests::cluster::End;
use boom_tests::kafka::Topic;
use boom_tests::scenario::{Scenario, report};
use boom_tests::servers::Server;
use rustix::process::{Pid, Signal, kill_process};

/// What nodes have begun to read so far.
fn starts(scenario: &Scenario, nodes: usize) -> usize {
    (0..nodes).map(|node| scenario.cluster.log(node).matches(" start ").count()).sum()
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
fn kill_9_of_a_node_at_any_moment_loses_and_repeats_nothing() {
    let mut scenario = Scenario::begin(2);
    for (moment, node) in [(150, 0), (350, 1), (600, 0)] {
        scenario.feed(250);
        scenario.wait_for(moment);
        scenario.cluster.end_node(node, End::Kill);
        scenario.cluster.start_node(node);
        report("kill -9 of a node, started again: all partitions owned after", scenario.wait_for_owners());
    }
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
fn an_owner_that_was_stopped_beyond_its_lease_can_neither_emit_nor_move_progress() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(400);
    scenario.wait_for(150);
    scenario.cluster.signal_node(0, Signal::STOP);
    let taken = scenario.cluster.wait("the other one has all partitions", |cluster| {
        cluster.node_metric(1, "boom_node_partitions") == Some(12.0)
    });
    report("SIGSTOP of an owner: its partitions owned after", taken);
    scenario.feed(200);
    scenario.wait_for(500);
    scenario.cluster.signal_node(0, Signal::CONT);
    scenario.cluster.wait("it goes on as another incarnation", |cluster| cluster.log(0).contains("goes on as"));
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
    let mut scenario = Scenario::begin(2);
    scenario.feed(500);
    scenario.wait_for(200);
    scenario.cluster.servers.kill(Server::Kafka).unwrap();
    scenario.cluster.servers.restart(Server::Kafka).unwrap();
    report("Kafka killed and started: alerts decided after", scenario.wait_for(500));
    scenario.finish();
}

#[test]
fn mongodb_that_is_killed_and_started_loses_and_repeats_nothing() {
    let mut scenario = Scenario::begin(2);
    scenario.feed(500);
    scenario.wait_for(200);
    scenario.cluster.servers.kill(Server::Mongodb).unwrap();
    scenario.cluster.servers.restart(Server::Mongodb).unwrap();
    report("MongoDB killed and started: alerts decided after", scenario.wait_for(500));
    scenario.finish();
}

#[test]
fn a_rolling_upgrade_ends_every_process_in_turn() {
    let mut scenario = Scenario::begin(2);
    for node in 0..2 {
        scenario.feed(150);
        scenario.cluster.end_node(node, End::Terminate);
        report("SIGTERM of a node: all partitions owned after", scenario.wait_for_owners());
        scenario.cluster.start_node(node);
    }
    for coordinator in 0..3 {
        scenario.feed(150);
        scenario.cluster.restart_coordinator(coordinator, End::Terminate);
        scenario.cluster.wait("one leads", |cluster| cluster.leader().is_some());
    }
    scenario.finish();
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
fn a_machine_that_stands_still_for_some_seconds_loses_and_repeats_nothing() {
    let mut scenario = Scenario::begin(2);
    for (moment, still) in [(100, 3), (300, 4), (500, 3)] {
        scenario.feed(250);
        scenario.wait_for(moment);
        let processes = scenario.cluster.processes();
        let all = |signal| processes.iter().for_each(|(name, process)| send(name, *process, signal));
        all(Signal::STOP);
        let since = Instant::now();
        scenario.cluster.wait("the machine stands still", |_| since.elapsed() > Duration::from_secs(still));
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
        let since = Instant::now();
        scenario.cluster.wait("Kafka stands still", |_| since.elapsed() > Duration::from_secs(still));
        scenario.cluster.servers.go_on(Server::Kafka).unwrap();
    }
    scenario.finish();
}

fn send(name: &str, process: u32, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(process, signal).unwrap_or_else(|error| panic!("{name}: {error}"));
}
