//! A coordinator with many nodes by the clock: what their sessions cost it, and how they come back when it dies.
//!
//! Real coordinators with etcd and Kafka on the same machine, and the state machines of nodes over real gRPC, with no alerts: each
//! reports once a second and runs what the plan gives it. The cost is the leader's while nothing changes.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use boom_plan::id::Term;
use boom_plan::message::HoldState;
use boom_tests::coordinator::Coordinator;
use boom_tests::eventually::within_every;
use boom_tests::fake_node::FakeFleet;
use boom_tests::kafka::Topic;
use boom_tests::servers::{Server, Servers};

use crate::usage::Used;

/// Streams, each with a topic.
const STREAMS: usize = 10;
/// Over how many reports of each node the cost is taken.
const REPORTS: u64 = 30;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// Runs the bench with so many nodes (1,000 when nothing is said) and as many partitions.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let nodes: usize = crate::count(arguments, "fleet [NODES]", 1_000)?;
    let servers = Servers::only(&[Server::Etcd, Server::Kafka])?;
    let brokers = servers.address(Server::Kafka);
    let per_topic = nodes.div_ceil(STREAMS);
    let partitions = per_topic * STREAMS;
    for stream in 0..STREAMS {
        Topic::make(brokers, &format!("t{stream}"), i32::try_from(per_topic)?);
    }
    let folder = tempfile::tempdir().context("making a temporary directory")?;
    let toml = configuration(servers.address(Server::Etcd), brokers);
    let mut coordinators: Vec<_> =
        ["c0", "c1", "c2"].iter().map(|name| Coordinator::start(folder.path(), name, &toml)).collect();
    let urls: Vec<String> = coordinators.iter().map(Coordinator::url).collect();

    let began = Instant::now();
    let fleet = FakeFleet::start(nodes, &urls);
    let all_run = || {
        let is_running = |state: &&HoldState| **state == HoldState::Running;
        fleet.seen().map(|seen| seen.holds.values().filter(is_running).count()).sum::<usize>() == partitions
    };
    let what = || format!("{partitions} partitions run on {nodes} nodes");
    within_every(Duration::from_millis(200), PATIENCE, all_run, what);
    println!(
        "{nodes} nodes run {partitions} partitions of {STREAMS} streams after {:.1} s",
        began.elapsed().as_secs_f64()
    );

    let leads = |coordinator: &Coordinator| coordinator.metric("boom_coordinator_leader") == Some(1.0);
    let leader = coordinators.iter().position(leads).context("one leads")?;
    let (before, start) = (Used::of("", coordinators[leader].process()), Instant::now());
    let acknowledged = fleet.acknowledged();
    let reported = || fleet.acknowledged() >= acknowledged + REPORTS * nodes as u64;
    within_every(POLL, PATIENCE, reported, || format!("each node has reported {REPORTS} times"));
    let after = Used::of("", coordinators[leader].process());
    let cores = (after.cpu_seconds - before.cpu_seconds) / start.elapsed().as_secs_f64();
    let rate = (fleet.acknowledged() - acknowledged) as f64 / start.elapsed().as_secs_f64();
    println!("the leader takes {cores:.3} cores for {rate:.0} reports a second, and {:.0} MB at most", after.peak_mb);

    let term = fleet.seen().map(|seen| seen.term).max().unwrap_or_default();
    coordinators.remove(leader).kill();
    let (died, mut came) = (Instant::now(), Vec::new());
    let is_back = || {
        let count = fleet.heard(Term(term.0 + 1));
        came.resize(count, died.elapsed());
        count == nodes
    };
    within_every(POLL, PATIENCE, is_back, || format!("{nodes} nodes are back"));
    let [first, half, last] = [0, nodes / 2, nodes - 1].map(|place| came[place].as_secs_f64());
    let densest = densest(&came, Duration::from_secs(1));
    println!(
        "after the leader's death the first node is back after {first:.1} s, half of them after {half:.1} s, all after {last:.1} s; at most {densest} within a second"
    );
    fleet.vanish();
    println!("nodes={nodes} leader_cores={cores:.3} leader_mb={:.0} all_back_s={last:.1}", after.peak_mb);
    Ok(())
}

fn configuration(etcd: &str, brokers: &str) -> String {
    let stream = |number| {
        format!("[streams.s{number}]\nsurvey = 'ZTF'\ncluster = 'survey'\ntopics = 't{number}'\nstart = 'earliest'\n")
    };
    let streams: String = (0..STREAMS).map(stream).collect();
    format!("[etcd]\nendpoints = ['{etcd}']\n[kafka.survey]\nbrokers = '{brokers}'\n{streams}")
}

/// The most times within so long.
fn densest(times: &[Duration], within: Duration) -> usize {
    let until = |from: &Duration| times.partition_point(|time| *time < *from + within);
    times.iter().enumerate().map(|(place, from)| until(from) - place).max().unwrap_or_default()
}
