//! The filter language against a real MongoDB: random pipelines on random documents, for as long as one likes.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "it reports to whoever started it")]

use boom_tests::mongod::Mongod;
use boom_tests::oracle::{INTENDED, Report, Settings, alerts, run};
use clap::Parser;

/// Compares the filter language with the MongoDB that MONGOD names.
#[derive(Debug, Parser)]
struct Arguments {
    /// Pairs of a pipeline and a document
    #[arg(long, default_value_t = 100_000)]
    cases: u64,
    /// The seed of a run that is to be repeated [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
    /// Stages and operators that most pipelines are to have
    #[arg(long, value_delimiter = ',', value_name = "OPERATOR")]
    only: Vec<String>,
    /// Use one core for it and for the server
    #[arg(long)]
    one_core: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let workers = if arguments.one_core { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    println!("seed {seed}");
    let settings = Settings { seed, cases: arguments.cases, only: arguments.only };
    let server = Mongod::start()?;
    let report = runtime.block_on(async { run(&server.client().await?, settings, alerts()).await })?;
    print(&report);
    std::process::exit(i32::from(!report.disagreements.is_empty()));
}

fn print(report: &Report) {
    let seconds = report.elapsed.as_secs_f64();
    println!("{} pairs in {seconds:.1} s, {:.0} a second", report.pairs, report.pairs as f64 / seconds);
    println!("{:.1} % without an error; MongoDB's answers: {:?}", 100.0 * report.without_error(), report.answers);
    for (name, (pairs, sound)) in &report.operators {
        println!("{name:<20} {pairs:>8} {:>5.1} % without an error", 100.0 * *sound as f64 / *pairs as f64);
    }
    println!("not in the language: {}", report.absent.join(" "));
    for intended in INTENDED {
        let count = report.intended.get(intended.name).copied().unwrap_or_default();
        println!("intended, {count} times: {} ({})", intended.name, intended.reason);
    }
    println!("{} distinct disagreements", report.disagreements.len());
    for (signature, (count, line)) in &report.disagreements {
        println!("{count:>6} {signature}\n       {line}");
    }
}
