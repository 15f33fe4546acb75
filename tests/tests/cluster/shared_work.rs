//! Work that nodes hand over to each other, and nodes that come and go: what there is of it is done, once, whoever is there to do it.

use std::time::Duration;

use boom_tests::boomctl::Boomctl;
use boom_tests::cluster::{Cluster, End};
use boom_tests::scenario::{Scenario, report, timed};
use boom_tests::servers::Server;

/// Alerts of a stage that other nodes did for this one, or it for them.
fn moved(cluster: &Cluster, node: usize, which: &str, stage: &str) -> f64 {
    let name = format!("boom_node_handover_{which}_total{{stage=\"{stage}\"}}");
    cluster.node_metric(node, &name).unwrap_or_default()
}

fn given(cluster: &Cluster) -> f64 {
    moved(cluster, 0, "given", "enrich")
}

#[test]
fn what_a_node_has_no_workers_for_the_other_one_does_even_when_valkey_or_a_worker_dies_amid_it() {
    let mut scenario = Scenario::of(Scenario::sharing(3));
    let boomctl = Boomctl::new(&scenario.cluster.addresses());
    boomctl.text(&["override", "enrich", "--node", "n0", "0"]);
    scenario.cluster.wait("the node follows", |cluster| {
        cluster.node_metrics(0).contains("boom_node_stage_quota{stage=\"enrich\"} 0")
    });
    scenario.feed(200);
    let first = scenario.cluster.wait("others do its work", |cluster| given(cluster) > 0.0);
    report("a stage without workers: the first batch comes back from another node after", first);
    let status = || boomctl.text(&["status"]);
    scenario.feed(100);
    scenario.cluster.wait("the status says so", |_| status().contains("of n0 gives"));
    let said = status();
    assert!(said.contains("since it has no workers for it"), "{said}");

    scenario.feed(100);
    scenario.cluster.servers.kill(Server::Valkey).unwrap();
    scenario.feed(100);
    let alone = scenario.wait_for(450);
    report("Valkey is dead: the node does its work itself, what there was is decided after", alone);
    scenario
        .cluster
        .wait("the node says so", |cluster| cluster.node_metric(0, "boom_node_handover_reachable") == Some(0.0));
    scenario.cluster.servers.restart(Server::Valkey).unwrap();
    let before = given(&scenario.cluster);
    scenario.feed(150);
    let again = scenario.cluster.wait("others do its work again", |cluster| given(cluster) > before);
    report("Valkey is back: work is handed over again after", again);

    scenario.feed(100);
    scenario.cluster.end_node(1, End::Kill);
    scenario.cluster.start_node(1);
    scenario.feed(100);
    let cluster = scenario.finish();
    let done: f64 = [1, 2].map(|node| moved(&cluster, node, "taken", "enrich")).iter().sum();
    assert!(done > 0.0, "the others have done it");
}

#[test]
fn nodes_come_and_go_from_one_to_four_and_back_while_alerts_flow() {
    let mut scenario = Scenario::with(Scenario::sharing(4), 1);
    let boomctl = Boomctl::new(&scenario.cluster.addresses());
    for node in 1..4 {
        scenario.feed_during(Duration::from_secs(1), 100);
        scenario.cluster.start_node(node);
        let has_work = |cluster: &Cluster| cluster.node_metric(node, "boom_node_partitions").unwrap_or_default() > 0.0;
        let worked = scenario.cluster.wait("the new node has partitions", has_work);
        report("a node joins: it has partitions after", worked);
        assert!(worked < Duration::from_secs(5), "{worked:?}");
    }
    scenario.feed_during(Duration::from_secs(1), 100);
    for node in 1..4 {
        scenario.feed_during(Duration::from_secs(1), 100);
        boomctl.text(&["drain", &format!("n{node}")]);
        let is_empty = |cluster: &Cluster| cluster.node_metric(node, "boom_node_partitions") == Some(0.0);
        let drained = scenario.cluster.wait("the drained node is empty", is_empty);
        report("a node is drained: it is empty after", drained);
        assert!(drained < Duration::from_secs(10), "{drained:?}");
        let ((), left) = timed(|| scenario.cluster.end_node(node, End::Terminate));
        report("it has left after", left);
    }
    scenario.finish();
}
