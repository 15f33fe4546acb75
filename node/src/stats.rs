//! What a run measures of itself: rates, stage latencies, the cost of filters. Only numbers; how they are shown is elsewhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

/// A part of an alert's way that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Packet to alert.
    Ingest,
    /// Claims and light curves.
    Store,
    /// Matches, scores, properties, documents.
    Enrich,
    /// Filters.
    Filter,
    /// From decided to committed.
    Emit,
    /// From arrival to committed.
    EndToEnd,
}

impl Stage {
    /// All of them, in an alert's order.
    pub const ALL: [Self; 6] = [Self::Ingest, Self::Store, Self::Enrich, Self::Filter, Self::Emit, Self::EndToEnd];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Store => "store",
            Self::Enrich => "enrich",
            Self::Filter => "filter",
            Self::Emit => "emit",
            Self::EndToEnd => "end to end",
        }
    }
}

/// Latencies of one stage, in microseconds, and the time spent working in it.
#[derive(Debug, Clone)]
pub struct StageStats {
    /// How long batches took, waiting included; every alert of a batch counts.
    pub latency: Histogram<u64>,
    /// Time on compute threads.
    pub busy: Duration,
    /// Alerts that went through.
    pub alerts: u64,
}

/// What a run measured.
#[derive(Debug)]
pub struct Stats {
    stages: Mutex<Vec<StageStats>>,
    filters: Mutex<Vec<(Duration, u64)>>,
    /// Alerts and dead letters that are committed by this run.
    pub committed: AtomicU64,
    /// Dead letters of this run.
    pub dead: AtomicU64,
    /// Filter results of this run.
    pub passed: AtomicU64,
    /// Batches under way.
    pub in_flight: AtomicU64,
}

impl Stats {
    /// Nothing measured yet, for so many filters.
    pub fn new(filters: usize) -> Self {
        let stage = || StageStats {
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are constants that fit"),
            busy: Duration::ZERO,
            alerts: 0,
        };
        Self {
            stages: Mutex::new(Stage::ALL.iter().map(|_| stage()).collect()),
            filters: Mutex::new(vec![(Duration::ZERO, 0); filters]),
            committed: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// Records that `alerts` alerts took `latency` in a stage, of which they were worked on for `busy`.
    pub fn record(&self, stage: Stage, alerts: usize, latency: Duration, busy: Duration) {
        let mut stages = self.stages.lock().expect("nobody panics with the statistics");
        let stats = &mut stages[stage as usize];
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, 3_600_000_000);
        stats.latency.saturating_record_n(micros, alerts as u64);
        stats.busy += busy;
        stats.alerts += alerts as u64;
    }

    /// Records time spent in each filter, and how many alerts it was asked about.
    pub fn record_filters(&self, spent: &[Duration], asked: &[u64]) {
        let mut filters = self.filters.lock().expect("nobody panics with the statistics");
        for (total, (spent, asked)) in filters.iter_mut().zip(spent.iter().zip(asked)) {
            total.0 += *spent;
            total.1 += asked;
        }
    }

    /// What was measured of a stage.
    pub fn stage(&self, stage: Stage) -> StageStats {
        self.stages.lock().expect("nobody panics with the statistics")[stage as usize].clone()
    }

    /// The mean time that a filter took on an alert.
    pub fn filter_cost(&self, filter: usize) -> Option<Duration> {
        let filters = self.filters.lock().expect("nobody panics with the statistics");
        let (spent, asked) = *filters.get(filter)?;
        u32::try_from(asked).ok().filter(|asked| *asked > 0).map(|asked| spent / asked)
    }

    /// A counter's value.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
