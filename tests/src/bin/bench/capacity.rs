//! How many nodes a night of LSST takes, from what an alert was measured to cost: `bench cluster` prints it by process.
//!
//! Nothing is measured here. `docs/capacity.md` says what is assumed, and shows the table.

use clap::Parser;

/// Alerts of a night, and its length in hours.
const NIGHT: (f64, f64) = (10e6, 10.0);
/// Alerts of a usual visit, and seconds from one visit to the next.
const VISIT: (f64, f64) = (10_000.0, 39.0);
/// Alerts of the largest visit, and within how many seconds it is to be through.
const LARGEST: (f64, f64) = (40_000.0, 60.0);

/// How many nodes a night of LSST takes.
#[derive(Debug, Parser)]
#[command(name = "bench capacity")]
struct Costs {
    /// CPU time of a node's networks an alert, milliseconds.
    #[arg(long, default_value_t = 0.6)]
    networks_ms: f64,
    /// The same of all else that a node does.
    #[arg(long, default_value_t = 0.65)]
    node_ms: f64,
    /// The same of MongoDB.
    #[arg(long, default_value_t = 0.75)]
    mongodb_ms: f64,
    /// The same of Kafka.
    #[arg(long, default_value_t = 0.2)]
    kafka_ms: f64,
    /// The share of the cores that is to be used at most, so that alerts do not wait for each other.
    #[arg(long, default_value_t = 0.6)]
    used: f64,
    /// The size of a packet that was measured with, kilobytes: all but the networks costs in proportion to it.
    #[arg(long, default_value_t = 76.0)]
    measured_kb: f64,
    /// The size of a packet of LSST.
    #[arg(long, default_value_t = 176.0)]
    packet_kb: f64,
    /// Cores of a node.
    #[arg(long, value_delimiter = ',', default_values_t = [4, 8, 16])]
    cores: Vec<u32>,
}

impl Costs {
    /// CPU time of node, MongoDB and Kafka an alert of LSST, milliseconds.
    fn of_an_alert(&self) -> [f64; 3] {
        let larger = self.packet_kb / self.measured_kb;
        [self.networks_ms + self.node_ms * larger, self.mongodb_ms * larger, self.kafka_ms * larger]
    }
}

/// Prints the table.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let costs = Costs::parse_from(std::iter::once("bench capacity".to_owned()).chain(arguments.iter().cloned()));
    let [node, mongodb, kafka] = costs.of_an_alert();
    println!(
        "an alert: {node:.2} ms of a node's CPU, {mongodb:.2} ms of MongoDB's, {kafka:.2} ms of Kafka's; at most {:.0} % of a core used",
        costs.used * 100.0
    );
    println!("{}", table(&costs));
    Ok(())
}

/// What comes, and how many alerts a second that are.
fn loads() -> [(&'static str, f64); 3] {
    let mean = NIGHT.0 / (NIGHT.1 * 3600.0);
    let usual = VISIT.0 / VISIT.1;
    [
        ("a night, on average", mean),
        ("a visit, through before the next one", usual),
        ("the largest visit, and the usual one that follows", LARGEST.0 / LARGEST.1 + usual),
    ]
}

fn table(costs: &Costs) -> comfy_table::Table {
    let fixed = ["load", "alerts/s", "Mbit/s", "cores of nodes", "of MongoDB", "of Kafka"].map(str::to_owned);
    let sizes = costs.cores.iter().map(|cores| format!("nodes of {cores}"));
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(fixed.into_iter().chain(sizes));
    for (name, rate) in loads() {
        let cores = |milliseconds: f64| rate * milliseconds / 1e3 / costs.used;
        let all = costs.of_an_alert().map(cores);
        let (of_nodes, numbers) = (all[0], all.map(|cores| format!("{cores:.1}")));
        let front = [name.to_owned(), format!("{rate:.0}"), format!("{:.0}", rate * costs.packet_kb * 8.0 / 1e3)];
        // One more, so that one may be away.
        let nodes = costs.cores.iter().map(|size| format!("{:.0} + 1", (of_nodes / f64::from(*size)).ceil()));
        table.add_row(front.into_iter().chain(numbers).chain(nodes));
    }
    table
}
