//! Nodes that leave, come and give stages more or fewer workers, as their operators want it.

use std::time::Duration;

use boom_tests::boomctl::Boomctl;
use boom_tests::cluster::End;
use boom_tests::scenario::{Scenario, by_form, report, timed};

#[test]
fn nodes_that_leave_and_join_while_alerts_flow_lose_and_repeat_nothing() {
    let mut scenario = Scenario::begin(2);
    let rounds = by_form(4, 12);
    for round in 0..rounds {
        scenario.feed(900 / rounds);
        let node = round as usize % 2;
        scenario.cluster.end_node(node, End::Terminate);
        scenario.wait_for((round + 1) * 700 / rounds);
        scenario.cluster.start_node(node);
    }
    report("the last one has joined: all partitions owned after", scenario.wait_for_owners());
    scenario.finish();
}

#[test]
fn a_rolling_upgrade_ends_every_process_in_turn() {
    let mut scenario = Scenario::begin(2);
    for node in 0..2 {
        scenario.feed(150);
        let ((), left) = timed(|| scenario.cluster.end_node(node, End::Terminate));
        let owned = scenario.wait_for_owners();
        report("SIGTERM of a node: it has left after", left);
        report("its partitions are owned again after", owned);
        assert!(left < Duration::from_secs(10) && owned < Duration::from_secs(2), "{left:?}, then {owned:?}");
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
fn quotas_that_an_operator_orders_hold_within_a_second_while_alerts_flow() {
    let mut scenario = Scenario::begin(2);
    let boomctl = Boomctl::new(&scenario.cluster.addresses());
    for (quota, permille) in [("1", 100), ("2", 300), ("1", 500), ("2", 700)] {
        scenario.feed(200);
        boomctl.text(&["override", "enrich", "--node", "n0", quota]);
        let wanted = format!("boom_node_stage_quota{{stage=\"enrich\"}} {quota}.0");
        let followed = scenario.cluster.wait("the node follows", |cluster| cluster.node_metrics(0).contains(&wanted));
        report(&format!("{quota} workers ordered for a stage: they are the node's after"), followed);
        assert!(followed < Duration::from_secs(1), "{followed:?}");
        scenario.wait_for(permille);
    }
    scenario.finish();
}
