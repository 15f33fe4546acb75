//! Quotas that follow the load of a real node. A test program of its own: it takes the whole machine, and nothing that counts seconds may run
//! beside it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Instant;

use boom_node::source::simulator::SimulatedSurvey;
use boom_tests::boomctl::Boomctl;
use boom_tests::cluster::{Cluster, Layout, Stream};
use boom_tests::kafka::Topic;
use boom_tests::night::Night;
use boom_tests::scenario::{by_form, consumed, filters, report};
use boom_tests::shared::shared;

/// Quick to shrink too, so that a test need not wait for a minute and a half.
const SCALING: &str = "[scaling]\nrest_ms = 3000\nstep_ms = 1000\nyields_ms = 1000\n";

/// Workers of a stage, as the node has them.
fn workers(cluster: &Cluster, stage: &str) -> u32 {
    let quota = cluster.node_metric(0, &format!("boom_node_stage_quota{{stage=\"{stage}\"}}"));
    quota.unwrap_or_default() as u32
}

#[test]
fn quotas_follow_the_load_and_go_back_when_it_is_over() {
    let Some(models) = shared("models") else { return };
    // Two workers can enrich at once on two cores, in place of one.
    let environment = vec![
        ("BOOM_NODE__NODE__MODELS", format!("[{:?}]", models.display().to_string())),
        ("BOOM_NODE__NODE__CORES", "2".to_owned()),
    ];
    let streams = vec![Stream::new("ztf", "ZTF", "ztf_flood")];
    let layout = Layout {
        coordinators: 1,
        nodes: 1,
        streams,
        filters: filters(),
        environment,
        coordination: SCALING,
        hand_over: false,
    };
    let mut cluster = Cluster::start(layout);
    let mut topic = Topic::make(cluster.kafka(), "ztf_flood", 8);
    let alerts = by_form(8_000, 20_000);
    let mut night = Night::new(SimulatedSurvey::Ztf, alerts, 5, 8);
    cluster.start_node(0);
    cluster.wait("it owns all partitions", |cluster| cluster.partitions() == [8]);
    cluster.wait("it has its share", |cluster| workers(cluster, "enrich") == 2);
    cluster.wait("a worker for each stage is enough", |cluster| workers(cluster, "enrich") == 1);

    let flood = Instant::now();
    night.send_upto(&topic, usize::MAX);
    cluster.wait("enrichment gets another worker", |cluster| workers(cluster, "enrich") == 2);
    report("in a flood of alerts: another worker for enrichment after", flood.elapsed());
    topic.flush();
    let decided = cluster.wait("all alerts are decided", |cluster| consumed(&cluster.output().committed()) == alerts);
    report("all alerts decided after", decided);
    let why = Boomctl::new(&cluster.addresses()).text(&["events"]);
    assert!(why.contains("enrich 2 (its queue was"), "the events say why:\n{why}");
    let rested = cluster.wait("enrichment gives it back", |cluster| workers(cluster, "enrich") == 1);
    report("the flood is over: one worker again after", rested);
}
