//! A deterministic simulation of the control plane: the real state machines of coordinators and nodes under a virtual clock, with an
//! etcd, a Kafka and a network that delays, drops, repeats and reorders; processes crash, pause and come back, clocks drift.
//!
//! A seed is a whole history. After every step: at most one owner that may commit, nothing granted that another may still commit, no
//! plan of an old term taken, nothing moved without need, no quotas beyond what a node has, no stage left to others that nobody works on, each alert
//! passed once. After the faults:
//! everything is owned and read again, within a bound, and then nothing changes any more.

mod checks;
mod coordinators;
mod etcd;
mod faults;
mod kafka;
mod nodes;
mod world;

use std::fmt;
use std::ops::AddAssign;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::World;

/// How large the simulated cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Coordinators.
    pub coordinators: usize,
    /// Nodes.
    pub nodes: usize,
    /// Partitions that are written to at a time.
    pub partitions: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { coordinators: 3, nodes: 4, partitions: 10 }
    }
}

/// How much of a history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The last lines.
    End,
    /// All of it.
    All,
}

/// How often what was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were handled.
    pub steps: u64,
    /// Commits of results and progress.
    pub commits: u64,
    /// Elections that were won.
    pub elections: u64,
    /// Commits of plans that etcd refused.
    pub conflicts: u64,
    /// Plans that were committed.
    pub plans: u64,
    /// Producers that a plan said to fence.
    pub deaths: u64,
    /// Partitions that were revoked.
    pub moves: u64,
    /// Commits that Kafka refused, because their producer was fenced.
    pub fenced: u64,
    /// Orders that a node did not take, because they were old.
    pub stale: u64,
    /// Incarnations that followed another in the same process.
    pub rebirths: u64,
    /// Leaders that stopped to lead.
    pub step_downs: u64,
    /// Stages that got workers, because they were late.
    pub grown: u64,
    /// Stages that gave workers back.
    pub shrunk: u64,
    /// Stages that the labels of a node left to others.
    pub placed: u64,
    /// How often a fleet was called saturated.
    pub saturated: u64,
    /// How long after the last fault all partitions were owned, at most, milliseconds.
    pub recovery: u64,
}

impl Counts {
    fn by_name(&self) -> [(&'static str, u64); 16] {
        [
            ("steps", self.steps),
            ("commits of results", self.commits),
            ("elections", self.elections),
            ("refused plans", self.conflicts),
            ("committed plans", self.plans),
            ("deaths", self.deaths),
            ("moves", self.moves),
            ("fenced commits", self.fenced),
            ("old orders", self.stale),
            ("rebirths", self.rebirths),
            ("leaders that stepped down", self.step_downs),
            ("stages that grew", self.grown),
            ("stages that shrank", self.shrunk),
            ("stages left to others", self.placed),
            ("saturated fleets", self.saturated),
            ("longest recovery, ms", self.recovery),
        ]
    }

    /// What never happened: a simulation that does not meet it shows nothing about it.
    pub fn missed(&self) -> Vec<&'static str> {
        self.by_name().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.commits += other.commits;
        self.elections += other.elections;
        self.conflicts += other.conflicts;
        self.plans += other.plans;
        self.deaths += other.deaths;
        self.moves += other.moves;
        self.fenced += other.fenced;
        self.stale += other.stale;
        self.rebirths += other.rebirths;
        self.step_downs += other.step_downs;
        self.grown += other.grown;
        self.shrunk += other.shrunk;
        self.placed += other.placed;
        self.saturated += other.saturated;
        self.recovery = self.recovery.max(other.recovery);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.by_name() {
            writeln!(f, "{count:>12}  {name}")?;
        }
        Ok(())
    }
}

/// What a seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was met.
    pub counts: Counts,
    /// What did not hold, if something did not.
    pub failure: Option<String>,
    /// What happened, a line each.
    pub history: String,
}

/// Runs a seed.
pub fn run(seed: u64, size: Size, keep: Keep) -> Outcome {
    let mut world = World::new(seed, size, keep);
    let failure = world.run().err();
    Outcome { counts: world.counts, failure, history: world.history() }
}

/// Seeds that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seeds {} to {}", self.first, self.first.wrapping_add(self.count.saturating_sub(1)))
    }
}

/// A seed that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which.
    pub seed: u64,
    /// How many seeds before it went well.
    pub tried: u64,
    /// What did not hold.
    pub failure: String,
    /// The last of what happened.
    pub history: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}\n{}", self.seed, self.failure, self.history)
    }
}

/// Runs seeds on all cores: what was met in all of them.
///
/// # Errors
/// One failed: the first of them, whatever the number of cores.
pub fn run_all(seeds: Seeds, size: Size) -> Result<Counts, Failed> {
    let (next, stop) = (AtomicU64::new(0), AtomicU64::new(seeds.count));
    let met: Mutex<(Counts, Option<Failed>)> = Mutex::default();
    let work = || {
        loop {
            let tried = next.fetch_add(1, Ordering::Relaxed);
            if tried >= stop.load(Ordering::Relaxed) {
                break;
            }
            let seed = seeds.first.wrapping_add(tried);
            let Outcome { counts, failure, history } = run(seed, size, Keep::End);
            let mut met = met.lock().expect("no other thread has panicked");
            met.0 += counts;
            let is_first = met.1.as_ref().is_none_or(|failed| tried < failed.tried);
            if let Some(failure) = failure.filter(|_| is_first) {
                // Those before it still run to their end.
                stop.fetch_min(tried, Ordering::Relaxed);
                met.1 = Some(Failed { seed, tried, failure, history });
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(work);
        }
    });
    let (counts, failed) = met.into_inner().expect("no thread has panicked");
    failed.map_or(Ok(counts), Err)
}
