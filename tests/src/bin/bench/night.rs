//! A night whose rate goes up tenfold and down again on one stream, while another one is steady, on two nodes with real servers: what the
//! quotas do, how old the queues become, and how long an alert of the steady stream takes. Printed as a table and drawn as a picture.

mod picture;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use boom_plan::quota::Stage;
use boom_tests::cluster::{Cluster, Layout, Stream};
use boom_tests::kafka::Topic;
use boom_tests::scenario::consumed;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::latency::{difference, histogram, quantile_of};
use crate::packets::Packets;
use crate::send::Sender;
use crate::setting::Setting;

/// The streams, the first of which floods.
const STREAMS: [&str; 2] = ["flood", "steady"];
const PARTITIONS: i32 = 8;

/// Quick to shrink too, so that the end of the night shows it; an operator's cluster rests for 90 s.
const SCALING: &str = "[scaling]\nrest_ms = 10000\nstep_ms = 3000\n";

/// So far the alerts of the second stream are from those of the first, and those of the night from those before it.
const OTHERS: u64 = 10_000_000;
const WARM_UP: u64 = 5_000_000;

/// Without an alert more for so long the cluster stands still, and says why.
const PATIENCE: Duration = Duration::from_secs(120);

/// A night of 50, 500 and 50 alerts a second.
#[derive(Debug, Parser)]
#[command(name = "bench night")]
struct Options {
    /// Nodes.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Alerts a second of the stream that floods: before, amid and after.
    #[arg(long, num_args = 3, default_values_t = [50, 500, 50])]
    rates: Vec<u64>,
    /// Seconds of each.
    #[arg(long, num_args = 3, default_values_t = [30, 40, 50])]
    seconds: Vec<u64>,
    /// Alerts a second of the steady stream.
    #[arg(long, default_value_t = 20)]
    steady: u64,
    /// Where the picture goes.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// What is seen once a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    pub(crate) at: f64,
    /// Alerts a second that were sent, and that were decided.
    pub(crate) sent: f64,
    pub(crate) decided: f64,
    /// How long the oldest alert waits that is not decided, seconds: flood, steady.
    pub(crate) behind: [f64; 2],
    /// Workers of all nodes, by stage.
    pub(crate) workers: [f64; 3],
    /// Alerts a second that nodes did for each other.
    pub(crate) given: f64,
    /// Of the steady stream, over the last five seconds, ms.
    pub(crate) p99: f64,
}

/// Runs the night.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let options = Options::parse_from(std::iter::once(&"night".to_owned()).chain(arguments));
    let folder = tempfile::tempdir().context("making a temporary directory")?;
    let setting = Setting::make(folder.path())?;
    println!("{setting}");
    let cluster = cluster(&setting, options.nodes)?;
    let sent = [0, 1].map(|_| Arc::new(AtomicU64::new(0)));
    warm_up(&cluster, &setting, &sent)?;
    let before = Metrics::of(&cluster).latency(STREAMS[1]);
    let schedules = [
        options.rates.iter().zip(&options.seconds).map(|(rate, seconds)| (*rate, *seconds)).collect(),
        vec![(options.steady, options.seconds.iter().sum())],
    ];
    let senders: Vec<_> =
        (0..2).map(|stream| send(&cluster, &setting, (stream, 0), schedules[stream].clone(), &sent[stream])).collect();
    let is_sent = || senders.iter().all(std::thread::JoinHandle::is_finished);
    let samples = timer()?.block_on(watch(&cluster, &sent, is_sent))?;
    for sender in senders {
        sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
    }
    let all = sent.iter().map(|sent| sent.load(Ordering::Relaxed)).sum();
    let committed = cluster.output().committed();
    let (decided, books) = (consumed(&committed), committed.partitions.values().flat_map(|decided| &decided.books));
    let repeated: u64 = books.map(|book| book.repeated + book.dead_lettered).sum();
    println!("{}", table(&samples));
    println!("{all} alerts were sent, {decided} are decided, {repeated} of them repeats or dead letters");
    if (decided, repeated) != (all, 0) {
        bail!("not each alert is decided once");
    }
    let steady = difference(&before, &Metrics::of(&cluster).latency(STREAMS[1]));
    let worst = samples.iter().map(|sample| sample.p99).fold(0.0, f64::max);
    println!(
        "the steady stream over the whole night: p50 {:.0} ms, p99 {:.0} ms; worst five seconds: p99 {worst:.0} ms",
        quantile_of(&steady, 0.5) * 1e3,
        quantile_of(&steady, 0.99) * 1e3
    );
    if let Some(path) = &options.svg {
        picture::draw(&samples, path)?;
        println!("the picture is {}", path.display());
    }
    Ok(())
}

fn cluster(setting: &Setting, nodes: usize) -> anyhow::Result<Cluster> {
    let mut environment = vec![("BOOM_NODE__NODE__CORES", "2".to_owned())];
    environment.push(("BOOM_NODE__NODE__CATALOGS", format!("{:?}", setting.catalogs.display().to_string())));
    if let [models, ..] = setting.models.as_slice() {
        environment.push(("BOOM_NODE__NODE__MODELS", format!("[{:?}]", models.display().to_string())));
    }
    let streams = STREAMS.map(|name| Stream::new(name, "ZTF", &topic(name))).to_vec();
    let (filters, coordination) = (setting.filters[0].clone(), SCALING);
    let mut cluster =
        Cluster::start(Layout { coordinators: 1, nodes, streams, filters, environment, coordination, hand_over: true });
    for name in STREAMS {
        Topic::make(cluster.kafka(), &topic(name), PARTITIONS);
    }
    (0..nodes).for_each(|node| cluster.start_node(node));
    let all = PARTITIONS as usize * STREAMS.len();
    cluster.wait("all partitions have an owner", |cluster| cluster.partitions().iter().sum::<usize>() == all);
    Ok(cluster)
}

fn topic(stream: &str) -> String {
    format!("ztf_{stream}")
}

/// The first alerts of a node find connections, models and collections that nobody has used: they are decided before the night begins.
fn warm_up(cluster: &Cluster, setting: &Setting, sent: &[Arc<AtomicU64>; 2]) -> anyhow::Result<()> {
    for (stream, sent) in sent.iter().enumerate() {
        let sender = send(cluster, setting, (stream, WARM_UP), vec![(50, 4)], sent);
        sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
    }
    let all = sent.iter().map(|sent| sent.load(Ordering::Relaxed)).sum::<u64>();
    cluster.wait("the first alerts are decided", |cluster| consumed(&cluster.output().committed()) == all);
    Ok(())
}

/// Sends to a stream's topic, each rate for so many seconds, and counts.
fn send(
    cluster: &Cluster,
    setting: &Setting,
    (stream, first): (usize, u64),
    schedule: Vec<(u64, u64)>,
    sent: &Arc<AtomicU64>,
) -> std::thread::JoinHandle<anyhow::Result<()>> {
    let (brokers, packets, sent) = (cluster.kafka().to_owned(), setting.packets.clone(), Arc::clone(sent));
    std::thread::spawn(move || {
        let mut packets = Packets::open(packets.as_deref())?;
        packets.skip(first + stream as u64 * OTHERS);
        let mut sender = Sender::open(&brokers, &topic(STREAMS[stream]), PARTITIONS)?;
        let timer = timer()?;
        for (rate, seconds) in schedule {
            let packets = (0..rate * seconds).map(|_| {
                sent.fetch_add(1, Ordering::Relaxed);
                packets.packet()
            });
            timer.block_on(sender.paced(packets, rate as f64))?;
        }
        Ok(())
    })
}

/// What has been counted until now.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: f64,
    sent: f64,
    decided: f64,
    given: f64,
}

impl Counted {
    fn of(metrics: &Metrics, sent: &[Arc<AtomicU64>; 2], began: Instant) -> Self {
        let given =
            Stage::ALL.map(|stage| metrics.sum(&format!("boom_node_handover_given_total{{stage=\"{stage}\"}}")));
        Self {
            at: began.elapsed().as_secs_f64(),
            sent: sent.iter().map(|sent| sent.load(Ordering::Relaxed)).sum::<u64>() as f64,
            decided: metrics.sum("boom_node_alerts_total"),
            given: given.iter().sum(),
        }
    }
}

/// Looks once a second until all is sent and decided.
async fn watch(
    cluster: &Cluster,
    sent: &[Arc<AtomicU64>; 2],
    is_sent: impl Fn() -> bool,
) -> anyhow::Result<Vec<Sample>> {
    let (began, mut moved) = (Instant::now(), Instant::now());
    let mut samples = Vec::new();
    let metrics = Metrics::of(cluster);
    let mut before = Counted::of(&metrics, sent, began);
    let mut latencies = vec![metrics.latency(STREAMS[1])];
    let mut due = tokio::time::interval(Duration::from_secs(1));
    due.tick().await;
    loop {
        due.tick().await;
        let metrics = Metrics::of(cluster);
        let now = Counted::of(&metrics, sent, began);
        latencies.push(metrics.latency(STREAMS[1]));
        let recent = difference(&latencies[latencies.len().saturating_sub(6)], &latencies[latencies.len() - 1]);
        let seconds = now.at - before.at;
        samples.push(Sample {
            at: now.at,
            sent: (now.sent - before.sent) / seconds,
            decided: (now.decided - before.decided) / seconds,
            behind: STREAMS.map(|stream| metrics.behind(stream)),
            workers: Stage::ALL.map(|stage| metrics.sum(&format!("boom_node_stage_quota{{stage=\"{stage}\"}}"))),
            given: (now.given - before.given) / seconds,
            p99: quantile_of(&recent, 0.99) * 1e3,
        });
        if now.decided > before.decided {
            moved = Instant::now();
        }
        before = now;
        if is_sent() && now.decided >= now.sent {
            return Ok(samples);
        }
        if moved.elapsed() > PATIENCE {
            bail!("{} of {} alerts are decided, and no more come\n{}", now.decided, now.sent, cluster.logs());
        }
    }
}

/// What all nodes export, asked for once.
struct Metrics(Vec<String>);

impl Metrics {
    fn of(cluster: &Cluster) -> Self {
        Self((0..cluster.nodes()).map(|node| cluster.node_metrics(node)).collect())
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|text| text.lines())
    }

    /// A metric of all nodes.
    fn sum(&self, name: &str) -> f64 {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok();
        self.lines().filter_map(value).sum()
    }

    /// How long the oldest alert of a stream waits, seconds.
    fn behind(&self, stream: &str) -> f64 {
        let label = format!("stream=\"{stream}\"");
        let mine = |line: &str| {
            let (labels, lag) = line.strip_prefix("boom_node_lag_seconds{")?.split_once("} ")?;
            labels.contains(&label).then_some(lag.parse::<f64>().ok()?)
        };
        self.lines().filter_map(mine).fold(0.0, f64::max)
    }

    /// How long alerts of a stream took.
    fn latency(&self, stream: &str) -> Vec<(f64, f64)> {
        let label = format!("stream=\"{stream}\"");
        let all = self.0.iter().map(|text| histogram(text, "boom_node_stream_latency_seconds", &label));
        let all = all.filter(|histogram| !histogram.is_empty());
        let both = |a: Vec<(f64, f64)>, b: Vec<(f64, f64)>| a.iter().zip(b).map(|(a, b)| (a.0, a.1 + b.1)).collect();
        all.reduce(both).unwrap_or_default()
    }
}

/// Waits for times, on this thread.
fn timer() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}

fn table(samples: &[Sample]) -> comfy_table::Table {
    let header = [
        "s",
        "sent/s",
        "decided/s",
        "flood waits s",
        "steady waits s",
        "ingest",
        "enrich",
        "filter",
        "handed over/s",
        "steady p99 ms",
    ];
    let mut table = crate::table(header);
    for rows in samples.chunks(4) {
        let mean = |of: fn(&Sample) -> f64| rows.iter().map(of).sum::<f64>() / rows.len() as f64;
        let most = |of: fn(&Sample) -> f64| rows.iter().map(of).fold(0.0, f64::max);
        let last = &rows[rows.len() - 1];
        table.add_row([
            format!("{:.0}", last.at),
            format!("{:.0}", mean(|sample| sample.sent)),
            format!("{:.0}", mean(|sample| sample.decided)),
            format!("{:.2}", most(|sample| sample.behind[0])),
            format!("{:.2}", most(|sample| sample.behind[1])),
            format!("{:.0}", last.workers[0]),
            format!("{:.0}", last.workers[1]),
            format!("{:.0}", last.workers[2]),
            format!("{:.0}", mean(|sample| sample.given)),
            format!("{:.0}", last.p99),
        ]);
    }
    table
}
