//! A deterministic simulation of the control plane: the real state machines of coordinators and nodes under a virtual clock, with an
//! etcd, a Kafka and a network that delays, drops, repeats and reorders; processes crash, pause and come back, clocks drift.
//!
//! A seed is a whole history. After every step: at most one owner that may commit, nothing granted that another may still commit, no
//! plan of an old term taken, each alert passed once. After the faults: everything is owned and read again, within a bound.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod coordinators;
mod etcd;
mod faults;
mod kafka;
mod nodes;
mod random;
mod world;

use world::{Counts, World};

/// How many seeds a test run takes; `BOOM_SEEDS=FROM..TO` takes others.
const SEEDS: std::ops::Range<u64> = 0..400;

fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("BOOM_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("BOOM_SEEDS is FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

/// Runs a seed; a failure names it and what happened last.
fn run(seed: u64) -> Counts {
    let mut world = World::new(seed);
    if let Err(failure) = world.run() {
        panic!("seed {seed} (BOOM_SEEDS={seed}..{}): {failure}\n{}", seed + 1, world.history());
    }
    world.counts
}

#[test]
fn whatever_fails_one_owner_commits_and_afterwards_everything_is_owned() {
    let mut total = Counts::default();
    for seed in seeds() {
        total.add(&run(seed));
    }
    println!("{total:?}");
    if seeds() == SEEDS {
        assert!(total.met_everything(), "the simulation should meet what it is there for: {total:?}");
    }
}

#[test]
fn a_seed_is_a_whole_history() {
    let history = |seed| {
        let mut world = World::new(seed);
        world.run().unwrap();
        (world.history(), world.counts)
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7).1, history(8).1);
}
