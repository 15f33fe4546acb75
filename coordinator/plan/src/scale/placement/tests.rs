//! Where stages are worked on, in fleets of nodes that can different things.

use proptest::prelude::*;

use super::*;
use crate::message::StageLoad;
use crate::quota::NodeQuotas;
use crate::scale::{Decision, Memory, scale};

/// A fleet whose nodes have 8 cores and report what a test says.
struct Fleet {
    policy: Policy,
    labels: BTreeMap<NodeId, BTreeSet<String>>,
    ordered: BTreeMap<NodeId, BTreeMap<Stage, u32>>,
    /// The nodes whose enrichment is late.
    late: BTreeSet<NodeId>,
    /// The nodes that have not said anything since the last plan.
    silent: BTreeSet<NodeId>,
    gone: BTreeSet<NodeId>,
    /// The nodes from which this leader has not heard.
    unheard: BTreeSet<NodeId>,
    quotas: BTreeMap<NodeId, NodeQuotas>,
    memory: Memory,
    now: Time,
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

impl Fleet {
    fn new(requires: &[&str], prefers: &[&str], labels: &[(&str, &[&str])]) -> Self {
        let wishes = Wishes { requires: set(requires), prefers: set(prefers) };
        let placement = Placement([(Stage::Enrich, wishes)].into());
        let labels = labels.iter().map(|(name, labels)| (id(name), set(labels))).collect();
        let (late, silent, gone, unheard) = Default::default();
        let (ordered, quotas, memory) = Default::default();
        let policy = Policy { placement, ..Policy::default() };
        Self { policy, labels, ordered, late, silent, gone, unheard, quotas, memory, now: Time(0) }
    }

    fn step(&mut self, later: u64) -> Decision {
        self.now = self.now + Span(later);
        let idle = BTreeMap::new();
        let load = StageLoad { age: Span(9_000), busy: 1000, ..StageLoad::default() };
        let late = BTreeMap::from([(Stage::Enrich, load)]);
        let node = |(name, labels)| {
            let stages = if self.late.contains(name) { &late } else { &idle };
            let is_heard = !self.unheard.contains(name);
            let node = NodeLoad {
                cores: 8,
                labels: is_heard.then_some(labels),
                takes: is_heard,
                ordered: self.ordered.get(name),
                limits: None,
                current: self.quotas.get(name),
                stages: (is_heard && !self.silent.contains(name)).then_some(stages),
                behind: Span(0),
            };
            (name.clone(), node)
        };
        let nodes = self.labels.iter().filter(|(name, _)| !self.gone.contains(*name)).map(node).collect();
        let load = Load { nodes, arriving: 0, waiting: 0, memory: &self.memory };
        let decision = scale(&load, &self.policy, self.now);
        assert!(decision.quotas.values().all(NodeQuotas::within_capacity), "{:?}", decision.quotas);
        let works = |quotas: &NodeQuotas| quotas.workers(Stage::Enrich) > 0;
        assert!(decision.quotas.values().any(works), "somebody works: {:?}", decision.quotas);
        (self.quotas, self.memory) = (decision.quotas.clone(), decision.memory.clone());
        decision
    }

    fn enrich(&self, node: &str) -> String {
        self.quotas[&id(node)].stages[&Stage::Enrich].to_string()
    }
}

const CPU_AND_GPU: &[(&str, &[&str])] = &[("cpu", &[]), ("gpu", &["gpu"])];

#[test]
fn a_stage_that_requires_a_label_has_no_workers_without_it_and_the_others_get_them() {
    let mut fleet = Fleet::new(&["gpu"], &[], CPU_AND_GPU);
    fleet.step(1000);
    let quotas: Vec<_> = fleet.quotas.values().map(ToString::to_string).collect();
    let expected = [
        "ingest 5, enrich 0 (the node lacks gpu), filter 5 of 10 workers",
        "ingest 2, enrich 6, filter 2 of 10 workers",
    ];
    assert_eq!(quotas, expected);
}

#[test]
fn a_stage_keeps_its_workers_everywhere_when_no_live_node_has_what_it_requires() {
    let mut fleet = Fleet::new(&["gpu"], &[], CPU_AND_GPU);
    fleet.step(1000);
    fleet.gone.insert(id("gpu"));
    let decision = fleet.step(1000);
    assert_eq!((fleet.enrich("cpu").as_str(), decision.homeless), ("6", [(Stage::Enrich, set(&["gpu"]))].into()));
    fleet.gone.clear();
    let decision = fleet.step(1000);
    assert_eq!((fleet.enrich("cpu").as_str(), decision.homeless), ("0 (the node lacks gpu)", BTreeMap::new()));
}

#[test]
fn the_fleet_is_saturated_when_those_that_have_what_a_stage_requires_are_short_whatever_time_others_have() {
    let mut fleet = Fleet::new(&["gpu"], &[], CPU_AND_GPU);
    fleet.step(1000);
    fleet.late.insert(id("gpu"));
    let decisions: Vec<_> =
        (0..14).map(|_| fleet.step(1000).saturated.map(|saturated| saturated.to_string())).collect();
    let said = "enrich is short of workers on every node that works on it: there are 1, 2 would do".to_owned();
    assert_eq!((&decisions[5], &decisions[13]), (&None, &Some(said)));
    fleet.policy.placement = Placement::default();
    assert_eq!(fleet.step(1000).saturated, None, "the other one may work on it too");
}

#[test]
fn what_an_operator_orders_for_a_node_goes_before_its_labels() {
    let mut fleet = Fleet::new(&["gpu"], &[], CPU_AND_GPU);
    fleet.ordered.insert(id("cpu"), [(Stage::Enrich, 2)].into());
    fleet.step(1000);
    assert_eq!(fleet.enrich("cpu"), "2 (ordered)");
    fleet.ordered = [(id("gpu"), [(Stage::Enrich, 0)].into())].into();
    fleet.step(1000);
    assert_eq!(fleet.enrich("cpu"), "2", "who has the label hands the work over: somebody has to do it");
}

#[test]
fn a_new_leader_leaves_stages_where_they_are_until_everybody_has_come() {
    for (requires, prefers) in [(&["gpu"][..], &[][..]), (&[], &["gpu"])] {
        let mut fleet = Fleet::new(requires, prefers, CPU_AND_GPU);
        fleet.step(1000);
        let before = fleet.enrich("cpu");
        for unheard in [&["gpu"][..], &["cpu", "gpu"], &["cpu"]] {
            (fleet.memory, fleet.unheard) = (Memory::default(), unheard.iter().copied().map(id).collect());
            let decision = fleet.step(1000);
            assert_eq!((fleet.enrich("cpu"), decision.homeless), (before.clone(), BTreeMap::new()), "{unheard:?}");
        }
        fleet.gone.insert(id("gpu"));
        fleet.step(1000);
        assert_eq!(fleet.enrich("cpu"), "6", "nobody may come any more who could do it");
    }
}

#[test]
fn a_stage_that_prefers_a_label_spills_over_when_all_that_have_it_are_short_and_goes_back_after_its_rest() {
    let nodes: &[(&str, &[&str])] = &[("cpu", &[]), ("gpu-0", &["gpu"]), ("gpu-1", &["gpu"])];
    let mut fleet = Fleet::new(&[], &["gpu"], nodes);
    fleet.step(1000);
    let away = "0 (nodes with gpu have workers enough)";
    assert_eq!(fleet.enrich("cpu"), away);
    fleet.late.insert(id("gpu-0"));
    fleet.step(1000);
    assert_eq!(fleet.enrich("cpu"), away, "the other one has time");
    fleet.late.insert(id("gpu-1"));
    fleet.silent.insert(id("gpu-1"));
    fleet.step(1000);
    assert_eq!(fleet.enrich("cpu"), away, "it is not known of the other one");
    fleet.silent.clear();
    fleet.step(1000);
    assert_eq!(fleet.enrich("cpu"), "6", "at once");
    fleet.late.clear();
    fleet.step(1000);
    fleet.step(80_000);
    fleet.late = [id("gpu-0"), id("gpu-1")].into();
    fleet.step(1000);
    fleet.late.clear();
    fleet.step(1000);
    fleet.step(89_000);
    assert_ne!(fleet.enrich("cpu"), away, "a break begins the rest again");
    fleet.step(1000);
    assert_eq!(fleet.enrich("cpu"), away);
}

proptest! {
    /// Whatever is late, silent, unheard or gone: somebody works on a stage, nobody without a required label does while one with it lives, and what
    /// spilled over does not go back before it has rested.
    #[test]
    fn a_stage_that_spilled_over_stays_for_as_long_as_it_must_have_rested(
        labels in prop::collection::vec(prop::sample::subsequence(vec!["gpu", "store"], 0..=2), 2..6),
        steps in prop::collection::vec((1u64..40, any::<u8>(), 0u8..16, 0u8..4, 0u8..8), 1..80),
    ) {
        let names: Vec<String> = (0..labels.len()).map(|node| format!("n{node}")).collect();
        let nodes: Vec<(&str, &[&str])> = names.iter().zip(&labels).map(|(name, labels)| (name.as_str(), labels.as_slice())).collect();
        let mut fleet = Fleet::new(&["store"], &["gpu"], &nodes);
        let some = |bits: u8| names.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, name)| id(name)).collect::<BTreeSet<_>>();
        let mut spilled = None;
        for (seconds, late, silent, gone, unheard) in steps {
            (fleet.late, fleet.silent, fleet.gone) = (some(late), some(silent & late), some(gone));
            if fleet.gone.len() == names.len() {
                fleet.gone.clear();
            }
            fleet.unheard = fleet.quotas.keys().filter(|name| some(unheard).contains(name)).cloned().collect();
            fleet.quotas.retain(|name, _| !fleet.gone.contains(name));
            let before = fleet.quotas.clone();
            fleet.step(seconds * 1000);
            let has = |name: &NodeId, label: &str| fleet.labels[name].contains(label);
            let heard = |(name, _): &(&NodeId, &NodeQuotas)| !fleet.unheard.contains(name);
            let is_met = fleet.quotas.iter().filter(heard).any(|(name, _)| has(name, "store"));
            for (name, quotas) in fleet.quotas.iter().filter(heard) {
                let quota = &quotas.stages[&Stage::Enrich];
                let (lacks, is_refused) = (!has(name, "store"), matches!(quota.reason, QuotaReason::Lacks { .. }));
                let may_be = if is_met { is_refused == lacks } else { !is_refused || !fleet.unheard.is_empty() };
                prop_assert!(may_be, "{}", quotas);
                let worked = before.get(name).is_some_and(|before| before.workers(Stage::Enrich) > 0);
                if worked && matches!(quota.reason, QuotaReason::Elsewhere { .. }) {
                    prop_assert!(spilled.is_none_or(|since| fleet.now.since(since) >= fleet.policy.rest), "{}", quotas);
                }
            }
            let second = fleet.quotas.iter().filter(heard).filter(|(name, _)| has(name, "store") && !has(name, "gpu"));
            let works = second.into_iter().any(|(_, quotas)| quotas.workers(Stage::Enrich) > 0);
            spilled = works.then(|| spilled.unwrap_or(fleet.now));
        }
    }
}
