//! The whole system by the clock: packets in memory go through the very pipeline of `boom-node standalone`, with its embedded store and its
//! files, and tables say what an alert costs.
//!
//! `deploy/dev bench cluster [ALERTS]` is the same for a node of a cluster with real servers (`cluster.rs`), `deploy/dev
//! bench fleet [NODES]` what a coordinator costs with many nodes (`fleet.rs`), `deploy/dev bench handover [ALERTS]` what it costs to hand work
//! over to another node (`handover.rs`), `deploy/dev bench capacity` how many nodes a night of LSST takes (`capacity.rs`), and
//! `deploy/dev bench night` what a cluster does when the rate goes up tenfold and down again (`night.rs`).
//!
//! `deploy/dev bench --seconds N [--workers 1,2] [--alerts 2000,20000]`. Every row is a process of its
//! own, so that its memory is its own; `BOOM_NODE__INPUT__BATCH` and the like change its configuration. Here is the order of the rows and their printing; `row` measures one, `packets` makes the input.

#![deny(unsafe_code)]
#![allow(clippy::print_stdout, reason = "printing tables is what this program is for")]

mod allocations;
mod capacity;
mod cluster;
mod fleet;
mod handover;
mod latency;
mod night;
mod packets;
mod row;
mod send;
mod setting;
mod usage;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use row::{Length, Row};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    seconds: u64,
    workers: Vec<usize>,
    alerts: Vec<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == "row"
    {
        println!("{}", row::measure(&Row::parse(rest)?)?);
        return Ok(());
    }
    match arguments.split_first() {
        Some((first, rest)) if first == "cluster" => return cluster::run(rest),
        Some((first, rest)) if first == "fleet" => return fleet::run(rest),
        Some((first, rest)) if first == "handover" => return handover::run(rest),
        Some((first, rest)) if first == "capacity" => return capacity::run(rest),
        Some((first, rest)) if first == "night" => return night::run(rest),
        _ => {}
    }
    let options = options(&arguments)?;
    let folder = tempfile::tempdir().context("making a temporary directory")?;
    let setting = setting::Setting::make(folder.path())?;
    println!("{setting}");
    let mut measured = Vec::new();
    for filters in setting.filters.iter().take(1 + usize::from(!setting.models.is_empty())) {
        measured.extend(speed(&options, &setting, filters, &[], folder.path())?);
    }
    if !setting.models.is_empty() {
        measured.extend(speed(&options, &setting, &setting.filters[0], &setting.models, folder.path())?);
    }
    println!("\nSpeed, {} s a row\n{}", options.seconds, speed_table(&measured));
    println!("\nCPU µs an alert, by stage and by thread\n{}", cost_table(&measured));
    println!("\nTwo workers against one\n{}", scaling_table(&measured));
    let mut memory = Vec::new();
    for alerts in &options.alerts {
        let row = setting.row(&setting.filters[0], &[], 2, Length::Alerts(*alerts));
        memory.push((row.name(), run(&row, folder.path())?));
    }
    println!("\nPeak memory, two workers\n{}", speed_table(&memory));
    Ok(())
}

fn options(arguments: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { seconds: 10, workers: vec![1, 2], alerts: vec![2_000, 20_000] };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().with_context(|| format!("{name} wants a value"))?;
        let wrong = || format!("{name} {value}: numbers are wanted");
        match name.as_str() {
            "--seconds" => options.seconds = value.parse().with_context(wrong)?,
            "--workers" => options.workers = numbers(value).with_context(wrong)?,
            "--alerts" => options.alerts = numbers(value).with_context(wrong)?,
            _ => bail!("{name} is not known: --seconds, --workers and --alerts are"),
        }
    }
    Ok(options)
}

/// The one number that a bench may be given.
fn count<T: std::str::FromStr>(arguments: &[String], usage: &str, otherwise: T) -> anyhow::Result<T> {
    match arguments {
        [] => Ok(otherwise),
        [number] => number.parse().map_err(|_| anyhow::anyhow!("{number}: a number is wanted: bench {usage}")),
        _ => bail!("bench {usage}"),
    }
}

fn numbers<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, T::Err> {
    text.split(',').filter(|part| !part.is_empty()).map(str::parse).collect()
}

/// Rows of one setting with each number of workers.
fn speed(
    options: &Options,
    setting: &setting::Setting,
    filters: &Path,
    models: &[PathBuf],
    folder: &Path,
) -> anyhow::Result<Vec<(String, Value)>> {
    let mut rows = Vec::new();
    for workers in &options.workers {
        let row = setting.row(filters, models, *workers, Length::Seconds(options.seconds));
        rows.push((row.name(), run(&row, folder)?));
    }
    Ok(rows)
}

/// Measures a row in a process of its own.
fn run(row: &Row, folder: &Path) -> anyhow::Result<Value> {
    let out = tempfile::tempdir_in(folder)?;
    let program = std::env::current_exe()?;
    let output = Command::new(program).arg("row").args(row.arguments()).arg("--out").arg(out.path()).output()?;
    if !output.status.success() {
        bail!("{}: {}", row.name(), String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what {} measured", row.name()))
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn number(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or(f64::NAN)
}

fn speed_table(rows: &[(String, Value)]) -> Table {
    let mut table = table([
        "row",
        "alerts",
        "alerts/s",
        "alerts/s a CPU",
        "ms CPU/alert",
        "p50 ms",
        "p99 ms",
        "results",
        "allocations/alert",
        "KB allocated/alert",
        "peak MB",
        "anonymous MB at the end",
    ]);
    for (name, row) in rows {
        let whole = |field: &str| format!("{:.0}", number(row, field));
        let cpu = number(row, "cpu_micros");
        table.add_row([
            name.clone(),
            whole("alerts"),
            whole("rate"),
            format!("{:.0}", 1e6 / cpu),
            format!("{:.2}", cpu / 1e3),
            format!("{:.0}", number(row, "p50_ms")),
            format!("{:.0}", number(row, "p99_ms")),
            whole("passed"),
            whole("allocations"),
            whole("allocated_kb"),
            whole("peak_mb"),
            whole("anonymous_mb"),
        ]);
    }
    table
}

fn cost_table(rows: &[(String, Value)]) -> Table {
    let mut table = table(["row", "part", "µs CPU/alert"]);
    for (name, row) in rows {
        for (part, cost) in row["cost"].as_object().into_iter().flatten() {
            table.add_row([name.clone(), part.clone(), format!("{:.0}", cost.as_f64().unwrap_or(f64::NAN))]);
        }
    }
    table
}

fn scaling_table(rows: &[(String, Value)]) -> Table {
    let mut table = table(["setting", "alerts/s with one", "with two", "times"]);
    let of = |workers: u64| rows.iter().filter(move |row| row.1["workers"].as_u64() == Some(workers));
    for ((_, one), (_, two)) in of(1).zip(of(2)) {
        let (slow, fast) = (number(one, "rate"), number(two, "rate"));
        let setting = one["setting"].as_str().unwrap_or_default().to_owned();
        table.add_row([setting, format!("{slow:.0}"), format!("{fast:.0}"), format!("{:.2}", fast / slow)]);
    }
    table
}
