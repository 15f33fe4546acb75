//! Streams that share a node. A test program of its own: a flood takes the whole machine.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::{Duration, Instant};

use boom_node::source::simulator::SimulatedSurvey;
use boom_tests::cluster::{Cluster, Layout, Stream};
use boom_tests::kafka::Topic;
use boom_tests::night::Night;
use boom_tests::scenario::{by_form, filters, report};
use boom_tests::shared::shared;

/// How often alerts of the steady stream come: the next ones when those before are decided.
const ROUNDS: usize = 12;

/// And how many of them.
const ALERTS: usize = 4;

/// Alerts of a stream that are decided and committed.
fn decided(cluster: &Cluster, stream: &str, survey: &str) -> u64 {
    let series = format!("boom_node_books_consumed_total{{stream=\"{stream}\",survey=\"{survey}\"}}");
    cluster.node_metric(0, &series).unwrap_or_default() as u64
}

#[test]
fn a_steady_stream_does_not_wait_for_the_backlog_of_another_one() {
    let Some(models) = shared("models") else { return };
    let environment = vec![("BOOM_NODE__NODE__MODELS", format!("[{:?}]", models.display().to_string()))];
    let streams = vec![Stream::new("flood", "ZTF", "ztf_flood"), Stream::new("steady", "LSST", "lsst_steady")];
    let layout = Layout {
        coordinators: 1,
        nodes: 1,
        streams,
        filters: filters(),
        environment,
        coordination: "",
        hand_over: false,
    };
    let mut cluster = Cluster::start(layout);
    let mut topics =
        [("ztf_flood", 8), ("lsst_steady", 4)].map(|(name, count)| Topic::make(cluster.kafka(), name, count));
    let backlog = by_form(8_000, 20_000);
    let mut flood = Night::new(SimulatedSurvey::Ztf, backlog, 5, 8);
    let mut steady = Night::new(SimulatedSurvey::Lsst, (ROUNDS * ALERTS) as u64, 5, 4);
    flood.write(&mut topics[0], usize::MAX);
    cluster.start_node(0);
    cluster.wait("the flood is on its way", |cluster| decided(cluster, "flood", "ZTF") > backlog / 20);

    let before = decided(&cluster, "flood", "ZTF");
    let mut slowest = Duration::ZERO;
    for round in 1..=ROUNDS {
        let sent = Instant::now();
        steady.send_upto(&topics[1], round * ALERTS);
        let all = (round * ALERTS) as u64;
        cluster
            .wait("the alerts of the steady stream are decided", |cluster| decided(cluster, "steady", "LSST") == all);
        slowest = slowest.max(sent.elapsed());
    }
    report("beside a flood, the slowest alerts of a steady stream were decided after", slowest);
    let done = decided(&cluster, "flood", "ZTF");
    assert!(done < backlog * 7 / 10, "the flood was at {before}, and is at {done} of {backlog}");
    cluster.wait("the backlog is decided", |cluster| decided(cluster, "flood", "ZTF") == backlog);
}
