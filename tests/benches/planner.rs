//! What a plan costs, by the size of the cluster.
//!
//! `cargo bench -p boom-tests --bench planner`. Each time is the median of several plans, of one thread; a plan that changes nothing is the most
//! frequent one by far.

#![allow(clippy::print_stdout, reason = "a benchmark speaks on standard output")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use boom_plan::assign::assign;
use boom_plan::facts::Facts;
use boom_plan::fleet::{Fleet, LiveTopic, Observation};
use boom_plan::id::{Offset, ProducerName, Sequence, Term};
use boom_plan::lease::Timing;
use boom_plan::message::{HoldState, Holding, NodeInfo, Register, Report};
use boom_plan::orders::{Orders, Stream};
use boom_plan::plan::Plan;
use boom_plan::scale::{Load, Memory, Policy, scale};
use boom_plan::time::{Span, Time};
use comfy_table::Table;

/// Nodes, partitions, streams.
const SIZES: [(u64, u32, u32); 5] =
    [(10, 100, 2), (100, 500, 5), (100, 1_000, 10), (300, 3_000, 20), (1_000, 10_000, 50)];
/// Plans of which the median is taken.
const PLANS: usize = 9;

fn main() {
    let mut table = Table::new();
    table.set_header([
        "nodes",
        "partitions",
        "streams",
        "from nothing",
        "unchanged",
        "a node dies",
        "a node joins",
        "lags spread",
    ]);
    for (nodes, partitions, streams) in SIZES {
        let mut fleet = fleet(nodes, partitions, streams);
        let nothing = Plan::empty(Term(1));
        let (placed, from_nothing) = planned(&fleet, &nothing);
        settle(&mut fleet, &placed);
        let (same, unchanged) = planned(&fleet, &placed);
        assert_eq!(same, placed, "a plan is a fixed point");
        let times = [death(&fleet, &placed), join(&fleet, &placed, nodes), lags(&fleet, &placed)];
        let sizes = [nodes.to_string(), partitions.to_string(), streams.to_string()];
        let cells = [from_nothing, unchanged].into_iter().chain(times).map(milliseconds);
        table.add_row(sizes.into_iter().chain(cells));
    }
    println!("{table}");
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// The plan, and how long it takes.
fn planned(fleet: &Fleet, current: &Plan) -> (Plan, Duration) {
    let (memory, policy) = (Memory::default(), Policy::default());
    let plan = || {
        let decision = scale(&Load::of(fleet, current, &memory), &policy, Time(0));
        assign(&Facts::of(fleet, &decision.quotas, current.version), current)
    };
    let timed = |_| {
        let start = Instant::now();
        drop(std::hint::black_box(plan()));
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..PLANS).map(timed).collect();
    times.sort();
    (plan(), times[PLANS / 2])
}

fn who(node: u64) -> ProducerName {
    format!("n{node}#1").parse().expect("it is a name")
}

fn register(fleet: &mut Fleet, node: u64) {
    let info = NodeInfo { cores: 8, ..NodeInfo::default() };
    let (holds, stages, erased) = Default::default();
    let report = Report { who: who(node), sequence: Sequence(1), seen: None, leaving: false, holds, stages, erased };
    fleet.apply(Observation::Registered(Register { info, ended: None, report }), Time(0));
}

fn list(fleet: &mut Fleet, partitions: u32, streams: u32, end: impl Fn(u32) -> u64) {
    let per_stream = partitions / streams;
    let topic = |stream: u32| {
        let ends = (0..per_stream).map(|number| (number, Some(Offset(end(stream * per_stream + number))))).collect();
        LiveTopic { topic: format!("t{stream}").parse().expect("it is a name"), ends }
    };
    let topics = (0..streams).map(topic).collect();
    fleet.apply(Observation::TopicsListed { cluster: "kafka".to_owned(), topics }, Time(0));
}

fn fleet(nodes: u64, partitions: u32, streams: u32) -> Fleet {
    let mut fleet = Fleet::new(Timing::default(), Span(15_000));
    let stream = |number: u32| {
        let topics = format!("t{number}").parse().expect("it is a pattern");
        let stream = Stream::new("ZTF", "kafka", topics);
        (format!("s{number}").parse().expect("it is a name"), stream)
    };
    let orders = Orders { streams: (0..streams).map(stream).collect(), ..Orders::default() };
    fleet.apply(Observation::Ordered(orders), Time(0));
    (0..nodes).for_each(|node| register(&mut fleet, node));
    list(&mut fleet, partitions, streams, |_| 0);
    fleet
}

/// All nodes run what the plan gives them.
fn settle(fleet: &mut Fleet, plan: &Plan) {
    let mut held: BTreeMap<&ProducerName, BTreeMap<_, _>> = BTreeMap::new();
    for (partition, entry) in &plan.owners {
        let holding = Holding { state: HoldState::Running, next: Some(Offset(0)), behind: None, until: None };
        let owner = entry.state.owner().expect("all are owned");
        held.entry(owner).or_default().insert(partition.clone(), holding);
    }
    for (who, holds) in held {
        let seen = Some(plan.version);
        let (stages, erased) = Default::default();
        let report = Report { who: who.clone(), sequence: Sequence(2), seen, leaving: false, holds, stages, erased };
        fleet.apply(Observation::Reported(report), Time(0));
    }
}

fn death(fleet: &Fleet, plan: &Plan) -> Duration {
    let mut fleet = fleet.clone();
    let holds = fleet.members()[&who(0)].holds.clone();
    let (stages, erased) = Default::default();
    let report = Report { who: who(0), sequence: Sequence(3), seen: None, leaving: false, holds, stages, erased };
    fleet.apply(Observation::Left(report), Time(0));
    planned(&fleet, plan).1
}

fn join(fleet: &Fleet, plan: &Plan, nodes: u64) -> Duration {
    let mut fleet = fleet.clone();
    register(&mut fleet, nodes);
    planned(&fleet, plan).1
}

/// A tenth of the partitions lags behind.
fn lags(fleet: &Fleet, plan: &Plan) -> Duration {
    let mut fleet = fleet.clone();
    let streams = fleet.orders().streams.len() as u32;
    list(&mut fleet, plan.owners.len() as u32, streams, |number| if number % 10 == 0 { 20_000 } else { 0 });
    planned(&fleet, plan).1
}
