//! What the policy does to nodes under load: bursts, steps, random loads, loads that are too much.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::fleet::{LiveTopic, Observation};
use crate::id::Offset;
use crate::lease::Timing;
use crate::orders::{Orders, Stream};
use crate::quota::{Quota, share_out};

/// Milliseconds of a step of the modelled node.
const STEP: u64 = 50;

static NOTHING: BTreeSet<String> = BTreeSet::new();

/// A node whose stages work as fast as their workers and its cores let them; alerts are a fluid.
struct Node {
    cores: u32,
    /// Worker time an alert, milliseconds.
    costs: BTreeMap<Stage, f64>,
    /// What waits: since when, and how many alerts.
    queues: BTreeMap<Stage, VecDeque<(u64, f64)>>,
    /// Worker time and alerts since the last report.
    done: BTreeMap<Stage, (f64, f64)>,
    quotas: Option<NodeQuotas>,
    limits: BTreeMap<Stage, Limits>,
    memory: Memory,
    now: u64,
    /// Every change of the quotas.
    changes: Vec<(u64, NodeQuotas)>,
}

impl Node {
    fn new(cores: u32, costs: [f64; 3]) -> Self {
        Self::bounded(cores, costs, BTreeMap::new())
    }

    fn bounded(cores: u32, costs: [f64; 3], limits: BTreeMap<Stage, Limits>) -> Self {
        let costs = Stage::ALL.into_iter().zip(costs).collect();
        let (queues, done, memory) = Default::default();
        let mut node = Self { cores, costs, queues, done, quotas: None, limits, memory, now: 0, changes: Vec::new() };
        node.decide(None);
        node
    }

    fn decide(&mut self, stages: Option<&BTreeMap<Stage, StageLoad>>) -> Decision {
        let name: NodeId = "n".parse().unwrap();
        let current = self.quotas.clone();
        let node = NodeLoad {
            cores: self.cores,
            ordered: None,
            limits: Some(&self.limits),
            labels: Some(&NOTHING),
            takes: true,
            current: current.as_ref(),
            stages,
            behind: Span(0),
        };
        let nodes = BTreeMap::from([(name.clone(), node)]);
        let load = Load { nodes, arriving: 0, waiting: 0, memory: &self.memory };
        let decision = scale(&load, &Policy::default(), Time(self.now));
        let quotas = decision.quotas[&name].clone();
        assert!(quotas.within_capacity() && Stage::ALL.iter().all(|stage| quotas.workers(*stage) > 0), "{quotas}");
        if self.quotas.as_ref() != Some(&quotas) {
            self.changes.push((self.now, quotas.clone()));
        }
        self.memory.clone_from(&decision.memory);
        self.quotas = Some(quotas);
        decision
    }

    fn workers(&self, stage: Stage) -> u32 {
        self.quotas.as_ref().map_or(0, |quotas| quotas.workers(stage))
    }

    /// Lets alerts come and be worked on, and reports each second.
    fn run(&mut self, seconds: u64, rate: impl Fn(u64) -> f64) {
        let until = self.now + seconds * 1000;
        while self.now < until {
            let came = rate(self.now) * STEP as f64 / 1e3;
            self.queues.entry(Stage::Ingest).or_default().push_back((self.now, came));
            self.work();
            self.now += STEP;
            if self.now.is_multiple_of(1000) {
                let loads = self.report();
                self.decide(Some(&loads));
            }
        }
    }

    fn work(&mut self) {
        let waits =
            |node: &Self, stage| node.queues.get(&stage).into_iter().flatten().map(|(_, count)| count).sum::<f64>();
        let active: BTreeMap<Stage, f64> = Stage::ALL
            .into_iter()
            .map(|stage| {
                let wanted = waits(self, stage) * self.costs[&stage] / STEP as f64;
                (stage, wanted.min(f64::from(self.workers(stage))))
            })
            .collect();
        let speed = (f64::from(self.cores) / active.values().sum::<f64>().max(1e-9)).min(1.0);
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            let mut left = active[&stage] * speed * STEP as f64 / self.costs[&stage];
            let done = self.done.entry(stage).or_default();
            // Workers that wait for a core are as busy as those that have one.
            *done = (done.0 + active[&stage] * STEP as f64, done.1 + left);
            let mut moved = Vec::new();
            let queue = self.queues.entry(stage).or_default();
            while let Some((_, count)) = queue.front_mut() {
                let part = count.min(left);
                *count -= part;
                left -= part;
                moved.push(part);
                if *count > 1e-9 {
                    break;
                }
                queue.pop_front();
            }
            if let Some(next) = Stage::ALL.get(place + 1) {
                self.queues.entry(*next).or_default().push_back((self.now, moved.iter().sum()));
            }
        }
    }

    fn age(&self, stage: Stage) -> u64 {
        let oldest = self.queues.get(&stage).and_then(|queue| queue.iter().find(|(_, count)| *count > 1e-6));
        oldest.map_or(0, |(since, _)| self.now - since)
    }

    fn report(&mut self) -> BTreeMap<Stage, StageLoad> {
        let done = std::mem::take(&mut self.done);
        let load = |stage| {
            let (busy, count) = done.get(&stage).copied().unwrap_or_default();
            let share = busy / f64::from(self.workers(stage).max(1));
            let (age, busy) = (Span(self.age(stage)), share.round().min(1000.0) as u16);
            (stage, StageLoad { age, busy, rate: count as u32, ..StageLoad::default() })
        };
        Stage::ALL.into_iter().map(load).collect()
    }

    /// Changes from that time on.
    fn changes_since(&self, from: u64) -> Vec<String> {
        self.changes.iter().filter(|(at, _)| *at >= from).map(|(at, quotas)| format!("{at}: {quotas}")).collect()
    }
}

#[test]
fn a_stage_that_is_late_gets_what_it_needs_within_seconds_and_gives_it_back_slowly() {
    let mut node = Node::new(16, [0.5, 10.0, 0.5]);
    node.run(900, |_| 50.0);
    assert_eq!(node.quotas.as_ref().unwrap().to_string().matches("1 (").count(), 3, "at rest: {:?}", node.quotas);
    node.run(5, |_| 500.0);
    assert!(node.workers(Stage::Enrich) >= 6, "500 alerts of 10 ms are five workers: {:?}", node.quotas);
    node.run(10, |_| 500.0);
    assert!(node.age(Stage::Enrich) < 250, "{} ms", node.age(Stage::Enrich));
    let grown = node.workers(Stage::Enrich);
    node.run(70, |_| 50.0);
    assert_eq!(node.workers(Stage::Enrich), grown, "not before it has rested");
    node.run(120, |_| 50.0);
    assert!(node.workers(Stage::Enrich) < grown, "{:?}", node.quotas);
}

#[test]
fn visits_that_come_again_and_again_move_nothing() {
    let mut node = Node::new(16, [0.3, 6.0, 0.4]);
    let visits = |now: u64| if now % 39_000 < 5_000 { 2_000.0 } else { 0.0 };
    node.run(39 * 10, visits);
    let since = node.now;
    node.run(39 * 40, visits);
    assert_eq!(node.changes_since(since), Vec::<String>::new());
    let mut slow = Node::new(4, [0.3, 6.0, 0.4]);
    slow.run(39 * 10, visits);
    let since = slow.now;
    slow.run(39 * 40, visits);
    assert_eq!(slow.changes_since(since), Vec::<String>::new(), "nor where they are too much");
}

/// What `docs/capacity.md` takes an alert of LSST to cost, and what it says a node of 4 cores is enough for.
#[test]
fn the_largest_visit_of_lsst_after_a_quiet_hour_is_through_within_a_minute_while_the_next_one_comes() {
    let mut node = Node::new(4, [0.7, 2.2, 0.6]);
    node.run(3600, |_| 20.0);
    let (begin, waits) = (node.now, |node: &Node| node.queues.values().flatten().map(|(_, count)| count).sum::<f64>());
    node.run(30, |now| if now < begin + 5_000 { 8_000.0 } else { 0.0 });
    assert!(waits(&node) > 0.0, "the node has little time left");
    node.run(30, |now| if (39_000..44_000).contains(&(now - begin)) { 2_000.0 } else { 0.0 });
    assert!(waits(&node) <= 10_000.0, "{} wait: {:?}", waits(&node), node.changes_since(begin));
}

#[test]
fn without_a_policy_each_stage_has_its_share_and_orders_hold_with_one() {
    let loads = BTreeMap::from([(Stage::Ingest, StageLoad { age: Span(9_000), busy: 1000, ..StageLoad::default() })]);
    let ordered = BTreeMap::from([(Stage::Enrich, 3)]);
    let current = share_out(8, &Shares::default(), &ordered);
    let quotas = |ordered, policy: &Policy| {
        let node = NodeLoad {
            cores: 8,
            ordered,
            limits: None,
            labels: Some(&NOTHING),
            takes: true,
            current: Some(&current),
            stages: Some(&loads),
            behind: Span(0),
        };
        let nodes = BTreeMap::from([("n".parse().unwrap(), node)]);
        let load = Load { nodes, arriving: 0, waiting: 0, memory: &Memory::default() };
        scale(&load, policy, Time(0)).quotas.into_values().next().unwrap().to_string()
    };
    let fixed = Policy { follows: false, ..Policy::default() };
    assert_eq!(quotas(None, &fixed), "ingest 2, enrich 6, filter 2 of 10 workers");
    assert_eq!(quotas(Some(&ordered), &fixed), "ingest 4, enrich 3 (ordered), filter 3 of 10 workers");
    assert_eq!(quotas(Some(&ordered), &Policy::default()), "ingest 4, enrich 3 (ordered), filter 3 of 10 workers");
}

#[test]
fn what_waits_before_a_node_counts_for_its_slowest_stage_alone() {
    let load = |busy| StageLoad { busy, ..StageLoad::default() };
    let quotas = |enrich, behind| {
        let loads =
            BTreeMap::from([(Stage::Ingest, load(300)), (Stage::Enrich, load(enrich)), (Stage::Filter, load(100))]);
        let one = |stage| (stage, Quota { workers: 1, reason: QuotaReason::Share });
        let stages = Stage::ALL.into_iter().map(one).collect();
        let current = NodeQuotas { capacity: 10, stages, streams: BTreeMap::new() };
        let node = NodeLoad {
            cores: 8,
            ordered: None,
            limits: None,
            labels: Some(&NOTHING),
            takes: true,
            current: Some(&current),
            stages: Some(&loads),
            behind,
        };
        let nodes = BTreeMap::from([("n".parse().unwrap(), node)]);
        let load = Load { nodes, arriving: 0, waiting: 0, memory: &Memory::default() };
        scale(&load, &Policy::default(), Time(0)).quotas.into_values().next().unwrap().to_string()
    };
    let late = "ingest 1, enrich 2 (its queue was 500 ms old, over 250 ms), filter 1 of 10 workers";
    assert_eq!(quotas(900, Span(500)), late);
    let as_it_was = "ingest 1, enrich 1, filter 1 of 10 workers";
    assert_eq!(quotas(900, Span(200)), as_it_was);
    assert_eq!(quotas(700, Span(60_000)), as_it_was, "it waits for something else than workers");
}

#[test]
fn a_node_of_which_nothing_new_is_known_keeps_what_it_has_and_goes_on_resting() {
    let (name, current): (NodeId, _) = ("n".parse().unwrap(), share_out(8, &Shares::default(), &BTreeMap::new()));
    let rests = BTreeMap::from([((name.clone(), Stage::Enrich), Time(3))]);
    let memory = Memory { rests: rests.clone(), ..Memory::default() };
    let node = NodeLoad {
        cores: 8,
        ordered: None,
        limits: None,
        labels: Some(&NOTHING),
        takes: true,
        current: Some(&current),
        stages: None,
        behind: Span(9_000),
    };
    let load = Load { nodes: BTreeMap::from([(name.clone(), node)]), arriving: 0, waiting: 0, memory: &memory };
    let decision = scale(&load, &Policy::default(), Time(200_000));
    assert_eq!((&decision.quotas[&name], decision.memory.rests), (&current, rests));
}

#[test]
fn what_arrives_is_what_two_listings_differ_by() {
    let mut fleet = Fleet::new(Timing::default(), Span(15_000));
    let stream = Stream::new("ZTF", "k", "t".parse().unwrap());
    let orders = Orders { streams: [("s".parse().unwrap(), stream)].into(), ..Orders::default() };
    fleet.apply(Observation::Ordered(orders), Time(0));
    let mut arriving = |end, now| {
        let ends = BTreeMap::from([(0, Some(Offset(end)))]);
        let topics = vec![LiveTopic { topic: "t".parse().unwrap(), ends }];
        fleet.apply(Observation::TopicsListed { cluster: "k".to_owned(), topics }, Time(now));
        fleet.arriving()
    };
    assert_eq!([arriving(1_000, 0), arriving(3_000, 5_000), arriving(3_000, 10_000)], [0, 400, 0]);
}

#[test]
fn a_fleet_that_is_short_everywhere_for_a_while_says_how_many_nodes_would_do() {
    let late = StageLoad { age: Span(9_000), busy: 1000, rate: 100, ..StageLoad::default() };
    let loads: BTreeMap<Stage, StageLoad> = Stage::ALL.into_iter().map(|stage| (stage, late)).collect();
    let idle = BTreeMap::new();
    let decide = |second: &BTreeMap<Stage, StageLoad>, memory: &Memory, now| {
        let node = |stages| NodeLoad {
            cores: 2,
            ordered: None,
            limits: None,
            labels: Some(&NOTHING),
            takes: true,
            current: None,
            stages: Some(stages),
            behind: Span(0),
        };
        let nodes = [("a".parse().unwrap(), node(&loads)), ("b".parse().unwrap(), node(second))].into();
        let load = Load { nodes, arriving: 300, waiting: 12_000, memory };
        let decision = scale(&load, &Policy::default(), Time(now));
        (decision.saturated.map(|saturated| saturated.to_string()), decision.memory)
    };
    let (first, memory) = decide(&loads, &Memory::default(), 0);
    assert_eq!(first, None);
    let (early, memory) = decide(&loads, &memory, 9_000);
    assert_eq!(early, None);
    let (later, memory) = decide(&loads, &memory, 10_000);
    // 200 alerts a second are done, 300 come, and 200 a second more would be through with what waits in a minute.
    assert_eq!(
        later.as_deref(),
        Some("ingest is short of workers on every node that works on it: there are 2, 5 would do")
    );
    let (relieved, memory) = decide(&idle, &memory, 11_000);
    assert_eq!((relieved, memory.short), (None, None));
}

#[test]
fn a_bounded_stage_says_where_it_would_have_gone_further() {
    let limits = |min, max| [(Stage::Enrich, Limits { min, max })].into();
    let mut node = Node::bounded(16, [0.5, 10.0, 0.5], limits(3, Some(5)));
    assert_eq!(node.quotas.as_ref().unwrap().stages[&Stage::Enrich].to_string(), "5 (wants more, at most 5 ordered)");
    node.run(900, |_| 20.0);
    assert_eq!(node.quotas.as_ref().unwrap().stages[&Stage::Enrich].to_string(), "3 (needs fewer, at least 3 ordered)");
    node.run(60, |_| 900.0);
    assert_eq!(node.quotas.as_ref().unwrap().stages[&Stage::Enrich].to_string(), "5 (wants more, at most 5 ordered)");
    assert!(
        node.quotas.as_ref().unwrap().stages.values().all(|quota| quota.workers <= 5),
        "it is not short: {:?}",
        node.quotas
    );
    node.limits = limits(8, None);
    node.decide(None);
    assert_eq!(node.quotas.as_ref().unwrap().stages[&Stage::Enrich].to_string(), "8 (needs fewer, at least 8 ordered)");
    node.limits.clear();
    node.decide(None);
    assert_eq!(node.quotas.as_ref().unwrap().stages[&Stage::Enrich].to_string(), "8", "as the policy says again");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Loads that change at random: a stage has never more than it may, and never less as long as there is room for what all must have.
    #[test]
    fn a_bounded_stage_stays_within_its_bounds(
        cores in 6u32..24,
        bounds in prop::collection::btree_map(prop::sample::select(&Stage::ALL[..]), (0u32..3, 0u32..6), 0..4),
        loads in prop::collection::vec((1u64..60, 0.0f64..2.0), 1..12),
    ) {
        let limits: BTreeMap<_, _> =
            bounds.into_iter().map(|(stage, (min, more))| (stage, Limits { min, max: Some((min + more).max(1)) })).collect();
        let mut node = Node::bounded(cores, [0.4, 5.0, 0.6], limits.clone());
        for (seconds, load) in loads {
            let rate = load * f64::from(cores) * 1e3 / 6.0;
            node.run(seconds, |_| rate);
        }
        for (at, quotas) in &node.changes {
            for (&stage, limits) in &limits {
                let workers = quotas.workers(stage);
                prop_assert!(workers >= limits.min && Some(workers) <= limits.max, "{}: {} {:?}", at, quotas, limits);
            }
        }
    }


    /// Whatever the costs and the constant load: what was given back is not wanted again after the first minute, and in the end nothing
    /// changes.
    #[test]
    fn under_a_constant_load_quotas_come_to_rest(
        cores in 1u32..24,
        costs in prop::array::uniform3(0.1f64..12.0),
        load in 0.0f64..0.9,
    ) {
        let rate = load * f64::from(cores) * 1e3 / costs.iter().sum::<f64>();
        let mut node = Node::new(cores, costs);
        node.run(700, |_| rate);
        let since = node.now;
        node.run(300, |_| rate);
        prop_assert!(node.changes_since(since).is_empty(), "{:?}", node.changes_since(0));
        for stage in Stage::ALL {
            let settled = node.changes.iter().filter(|(at, _)| *at > 60_000);
            let workers: Vec<u32> = settled.map(|(_, quotas)| quotas.workers(stage)).collect();
            let shrinks = workers.windows(2).position(|pair| pair[1] < pair[0]).unwrap_or(workers.len());
            prop_assert!(workers[shrinks..].is_sorted_by(|a, b| a >= b), "{stage}: {workers:?}");
        }
    }

    /// Loads that change at random, too high ones among them: a stage never shrinks sooner than it may after it has grown.
    #[test]
    fn a_stage_that_grew_keeps_that_for_as_long_as_it_must_have_rested(
        cores in 2u32..24,
        loads in prop::collection::vec((1u64..60, 0.0f64..2.0), 5..20),
    ) {
        let costs = [0.4, 5.0, 0.6];
        let mut node = Node::new(cores, costs);
        for (seconds, load) in loads {
            let rate = load * f64::from(cores) * 1e3 / 6.0;
            node.run(seconds, |_| rate);
        }
        for stage in Stage::ALL {
            let changes: Vec<(u64, u32)> = node.changes.iter().map(|(at, quotas)| (*at, quotas.workers(stage))).collect();
            let mut grown = None;
            for pair in changes.windows(2) {
                if pair[1].1 > pair[0].1 {
                    grown = Some(pair[1].0);
                }
                if let Some(grown) = grown.filter(|_| pair[1].1 < pair[0].1) {
                    prop_assert!(pair[1].0 >= grown + 90_000, "{stage}: {changes:?}");
                }
            }
        }
    }
}
