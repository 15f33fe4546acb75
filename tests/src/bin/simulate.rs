//! Runs the simulation of the control plane (`boom_tests::simulation`) over many seeds, or one again.
//!
//! `cargo run --release -p boom-tests --bin simulate -- --seeds 1000 --nodes 100 --partitions 500`
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "what it finds is what it is for")]

use std::num::NonZeroUsize;
use std::time::Instant;

use boom_tests::simulation::{Counts, Failed, Keep, Seeds, Size, run, run_all};
use clap::Parser;

/// Runs the simulation of the control plane.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them; by default one of chance, which is printed.
    #[arg(long, conflicts_with = "seed")]
    first: Option<u64>,
    /// Run this seed alone, and print all that happens in it.
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = Size::default().nodes, value_parser = at_least_one)]
    nodes: usize,
    #[arg(long, default_value_t = Size::default().coordinators, value_parser = at_least_one)]
    coordinators: usize,
    #[arg(long, default_value_t = Size::default().partitions)]
    partitions: u32,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<NonZeroUsize>().map(NonZeroUsize::get).map_err(|error| error.to_string())
}

fn main() {
    let Arguments { seeds, first, seed, nodes, coordinators, partitions } = Arguments::parse();
    let size = Size { coordinators, nodes, partitions };
    let failed = match seed {
        Some(seed) => replay(seed, size),
        None => {
            let first = first.unwrap_or_else(|| u64::from(rand::random::<u32>()));
            all(Seeds { first, count: seeds }, size)
        }
    };
    std::process::exit(i32::from(failed));
}

fn replay(seed: u64, size: Size) -> bool {
    let outcome = run(seed, size, Keep::All);
    print!("{}{}", outcome.history, outcome.counts);
    if let Some(failure) = &outcome.failure {
        println!("seed {seed} failed: {failure}");
    }
    outcome.failure.is_some()
}

fn all(seeds: Seeds, size: Size) -> bool {
    let Size { coordinators, nodes, partitions } = size;
    println!("{seeds}: {coordinators} coordinators, {nodes} nodes, {partitions} partitions");
    let start = Instant::now();
    let result = run_all(seeds, size);
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(counts) => {
            print!("{counts}");
            println!("{} seeds in {seconds:.1} s, {:.0} a second", seeds.count, seeds.count as f64 / seconds);
            missed(&counts);
            false
        }
        Err(Failed { seed, tried, failure, history }) => {
            print!("{history}");
            println!("seed {seed}, after {tried} others, failed: {failure}");
            println!("again: --seed {seed} --coordinators {coordinators} --nodes {nodes} --partitions {partitions}");
            true
        }
    }
}

fn missed(counts: &Counts) {
    let missed = counts.missed();
    if !missed.is_empty() {
        println!("never met: {}", missed.join(", "));
    }
}
