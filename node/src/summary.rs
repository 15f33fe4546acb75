//! What a run shows: a progress bar on a terminal, log lines elsewhere, and a table at the end.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};

use crate::books::Books;
use crate::stats::{Stage, Stats};

/// Without a terminal, a line is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows how a run goes until it is dropped or aborted.
pub async fn watch(stats: Arc<Stats>, expected: Option<u64>, batches_in_flight: usize) {
    let started = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let every = if terminal { Duration::from_millis(200) } else { LOG_EVERY };
    let bar = if terminal { bar(expected) } else { ProgressBar::hidden() };
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let tally = stats.tally();
        let (committed, passed, dead) = (tally.consumed(), tally.passed(), tally.dead());
        let rate = committed as f64 / started.elapsed().as_secs_f64();
        let full = 100 * Stats::get(&stats.in_flight) / batches_in_flight as u64;
        if terminal {
            bar.set_position(committed);
            bar.set_message(format!("{rate:.0} alerts/s · queue {full}% · {passed} passed · {dead} dead letters"));
        } else {
            tracing::info!(
                "{committed} alerts, {rate:.0}/s, queue {full}% full, {passed} results, {dead} dead letters"
            );
        }
    }
}

fn bar(expected: Option<u64>) -> ProgressBar {
    let template = match expected {
        Some(_) => "{elapsed_precise} {bar:30} {pos}/{len} {msg}",
        None => "{elapsed_precise} {spinner} {pos} alerts {msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    expected.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}

/// The tables of a finished run.
pub fn tables(stats: &Stats, books: &Books, elapsed: Duration) -> String {
    let committed = stats.tally().consumed();
    let rate = committed as f64 / elapsed.as_secs_f64().max(1e-9);
    let mut text =
        format!("{committed} alerts in {:.1} s: {rate:.0} alerts/s\n\n{}\n", elapsed.as_secs_f64(), stages(stats));
    if !books.filters.is_empty() {
        text.push_str(&format!("\n{}\n", filter_table(stats, books)));
    }
    text.push_str(&format!("\n{}\n", partitions(books)));
    if !books.dead_letters.is_empty() {
        text.push_str("\nDead letters by reason:\n");
        for (reason, count) in &books.dead_letters {
            text.push_str(&format!("  {count:>8}  {reason}\n"));
        }
    }
    text
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn right_align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn stages(stats: &Stats) -> Table {
    let mut table = table(["stage", "p50 ms", "p95 ms", "p99 ms", "CPU µs/alert"]);
    for stage in Stage::ALL {
        let measured = stats.stage(stage);
        let at = |quantile: f64| format!("{:.1}", measured.latency.value_at_quantile(quantile) as f64 / 1e3);
        let busy = match measured.alerts {
            0 => String::new(),
            _ if measured.busy.is_zero() => String::new(),
            alerts => format!("{:.0}", measured.busy.as_secs_f64() * 1e6 / alerts as f64),
        };
        table.add_row([stage.name().to_owned(), at(0.5), at(0.95), at(0.99), busy]);
    }
    right_align(&mut table);
    table
}

fn filter_table(stats: &Stats, books: &Books) -> Table {
    let mut table = table(["filter", "decided", "passed", "rejected", "failed", "µs/alert"]);
    for book in &books.filters {
        let cost = stats.filter_cost(&book.filter, &book.version);
        let cost = cost.map_or_else(String::new, |cost| format!("{:.1}", cost.as_secs_f64() * 1e6));
        let counts = [book.decided, book.passed, book.rejected, book.failed].map(|count| count.to_string());
        let [decided, passed, rejected, failed] = counts;
        let name = if book.suspended { format!("{} (suspended)", book.filter) } else { book.filter.clone() };
        table.add_row([name, decided, passed, rejected, failed, cost]);
    }
    right_align(&mut table);
    table
}

fn partitions(books: &Books) -> Table {
    let mut table = table(["input", "survey", "consumed", "decided", "repeated", "dead letters"]);
    for book in &books.partitions {
        let counts = [book.consumed, book.decided, book.repeated, book.dead_lettered].map(|count| count.to_string());
        let [consumed, decided, repeated, dead] = counts;
        table.add_row([book.source.clone(), book.survey.clone(), consumed, decided, repeated, dead]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Where the results are, and what to try next.
pub fn next_steps(out: &Path, books: &Books) -> String {
    let out = out.display();
    let mut text = format!(
        "Results:  {out}/results.jsonl   one line per alert and filter\n          {out}/results.avro    with photometry and cutouts\n          {out}/ledger.json     the books\n"
    );
    if books.dead_lettered() > 0 {
        text.push_str(&format!(
            "Dead letters: {} in {out}/dead_letters, each with its reason\n",
            books.dead_lettered()
        ));
    }
    text.push_str(&format!(
        "Try:      head -1 {out}/results.jsonl\n          boomctl object OBJECT_ID --store {out}/store\n          boomctl cutouts CANDID --store {out}/store --png stamps\n"
    ));
    text
}
