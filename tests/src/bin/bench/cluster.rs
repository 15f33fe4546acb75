//! A cluster of one node by the clock, with etcd, Kafka and MongoDB on the same machine: how many alerts a second from empty, and how long an
//! alert takes at half of that.
//!
//! The alerts are in Kafka when the node starts; the rate is from the first partition that it has to the last committed result. At half the
//! rate latencies are from Kafka's timestamp to the committed result, out of the node's own histogram.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use boom_tests::cluster::{Cluster, Layout, Stream};
use boom_tests::eventually::within_every;
use boom_tests::kafka::Topic;
use comfy_table::Table;

use crate::latency::{difference, histogram, quantile_of};
use crate::packets::Packets;
use crate::send::Sender;
use crate::setting::Setting;
use crate::usage::Used;

const TOPIC: &str = "ztf_bench";
const PARTITIONS: i32 = 8;

/// Without a commit for so long the cluster stands still, and says why.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the node is asked: its metrics take CPU time too.
const POLL: Duration = Duration::from_millis(100);

/// How long the second part sends.
const HALF: Duration = Duration::from_secs(30);

/// Runs the bench with so many alerts (20,000 when nothing is said).
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let alerts: u64 = crate::count(arguments, "cluster [ALERTS]", 20_000)?;
    let folder = tempfile::tempdir().context("making a temporary directory")?;
    let setting = Setting::make(folder.path())?;
    println!("{setting}");
    let mut environment = vec![("BOOM_NODE__NODE__CATALOGS", format!("{:?}", setting.catalogs.display().to_string()))];
    if let [models, ..] = setting.models.as_slice() {
        environment.push(("BOOM_NODE__NODE__MODELS", format!("[{:?}]", models.display().to_string())));
    }
    let streams = vec![Stream::new("ztf", "ZTF", TOPIC)];
    let filters = setting.filters[0].clone();
    let mut cluster = Cluster::start(Layout {
        coordinators: 1,
        nodes: 1,
        streams,
        filters,
        environment,
        coordination: "",
        hand_over: false,
    });
    Topic::make(cluster.kafka(), TOPIC, PARTITIONS);
    let mut sender = Sender::open(cluster.kafka(), TOPIC, PARTITIONS)?;
    let mut packets = Packets::open(setting.packets.as_deref())?;
    for _ in 0..alerts {
        sender.send(&packets.packet())?;
    }
    sender.finish()?;

    let before = usage(&cluster);
    cluster.start_node(0);
    cluster.wait("it has a partition", |cluster| cluster.partitions()[0] > 0);
    let began = Instant::now();
    done(&cluster, alerts);
    let rate = alerts as f64 / began.elapsed().as_secs_f64();
    let after = usage(&cluster);
    println!("\n{alerts} alerts from empty: {rate:.0} alerts/s\n{}", table(&before, &after, alerts));

    // Made before: what a survey does for them is not the broker's.
    let paced: Vec<Vec<u8>> = (0..(rate / 2.0 * HALF.as_secs_f64()) as u64).map(|_| packets.packet()).collect();
    let start = end_to_end(&cluster)?;
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(sender.paced(&paced, rate / 2.0))?;
    let sent = paced.len() as u64;
    done(&cluster, alerts + sent);
    let latency = difference(&start, &end_to_end(&cluster)?);
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|quantile| quantile_of(&latency, quantile) * 1e3);
    println!("\n{sent} alerts at {:.0} alerts/s: p50 {p50:.0} ms, p95 {p95:.0} ms, p99 {p99:.0} ms", rate / 2.0);
    let node = |usage: &[Used]| usage.iter().find(|used| used.name == "n0").map_or(Used::default(), Clone::clone);
    let cpu = node(&after).cpu_seconds * 1e3 / alerts as f64;
    let memory = node(&usage(&cluster)).peak_mb;
    println!(
        "alerts_per_s={rate:.0} cpu_ms_per_alert={cpu:.2} p50_ms={p50:.0} p99_ms={p99:.0} node_rss_mb={memory:.0}"
    );
    Ok(())
}

/// Waits until so many alerts are committed.
fn done(cluster: &Cluster, alerts: u64) {
    let mut committed = 0;
    while committed < alerts {
        let before = committed;
        let is_more = || {
            committed = cluster.node_metric(0, "boom_node_alerts_total").unwrap_or_default() as u64;
            committed > before
        };
        let what = || format!("{before} of {alerts} alerts are committed, and one more\n{}", cluster.logs());
        within_every(POLL, PATIENCE, is_more, what);
    }
}

fn usage(cluster: &Cluster) -> Vec<Used> {
    cluster.processes().into_iter().map(|(name, process)| Used::of(&name, process)).collect()
}

fn table(before: &[Used], after: &[Used], alerts: u64) -> Table {
    let mut table = crate::table(["process", "CPU s", "ms CPU/alert", "peak MB"]);
    for used in after {
        let former = before.iter().find(|former| former.name == used.name).map_or(0.0, |former| former.cpu_seconds);
        let cpu = used.cpu_seconds - former;
        table.add_row([
            used.name.clone(),
            format!("{cpu:.1}"),
            format!("{:.2}", cpu * 1e3 / alerts as f64),
            format!("{:.0}", used.peak_mb),
        ]);
    }
    table
}

/// How long alerts took, from Kafka's timestamp to the committed result.
fn end_to_end(cluster: &Cluster) -> anyhow::Result<Vec<(f64, f64)>> {
    let text = cluster.node_metrics(0);
    let buckets = histogram(&text, "boom_node_stage_latency_seconds", "stage=\"end_to_end\"");
    if buckets.is_empty() { bail!("the node exports no latencies:\n{text}") } else { Ok(buckets) }
}
