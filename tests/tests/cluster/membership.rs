//! Nodes that leave and come as their operators want it.

use boom_tests::cluster::End;
use boom_tests::scenario::{Scenario, by_form, report};

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
