//! What a run measures of itself: rates, stage latencies, the cost of filters. Only numbers; how they are shown is elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use boom_plan::quota;
use hdrhistogram::Histogram;

use crate::source::kafka::Counters;
use crate::stage::filter::Filters;
use crate::tally::Tally;

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
    /// From when the broker took it, or else from arrival, to committed.
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

/// The stages that have pools are timed too.
impl From<quota::Stage> for Stage {
    fn from(stage: quota::Stage) -> Self {
        match stage {
            quota::Stage::Ingest => Self::Ingest,
            quota::Stage::Enrich => Self::Enrich,
            quota::Stage::Filter => Self::Filter,
        }
    }
}

/// Latencies of one stage, in microseconds, and the time spent working in it.
#[derive(Debug, Clone)]
pub struct StageStats {
    /// How long batches took, waiting included; every alert of a batch counts.
    pub latency: Histogram<u64>,
    /// The sum of it over all alerts.
    pub spent: Duration,
    /// Time on compute threads.
    pub busy: Duration,
    /// Alerts that went through.
    pub alerts: u64,
    /// Alerts of other nodes that were worked on.
    pub taken: u64,
}

impl Default for StageStats {
    fn default() -> Self {
        Self {
            latency: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are constants that fit"),
            spent: Duration::ZERO,
            busy: Duration::ZERO,
            alerts: 0,
            taken: 0,
        }
    }
}

/// Longer latencies count as this one, microseconds.
const LONGEST: u64 = 3_600_000_000;

impl StageStats {
    fn add(&mut self, alerts: usize, latency: Duration, busy: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST);
        self.latency.saturating_record_n(micros, alerts as u64);
        self.spent += latency.saturating_mul(u32::try_from(alerts).unwrap_or(u32::MAX));
        self.busy += busy;
        self.alerts += alerts as u64;
    }
}

/// What a stage has done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Alerts that went through.
    pub alerts: u64,
    /// How long they took, waiting included, in sum.
    pub spent: Duration,
    /// Time on compute threads.
    pub busy: Duration,
    /// Alerts of other nodes that were worked on.
    pub taken: u64,
}

/// Time that a filter took, and of how many alerts, by name and version.
type FilterCosts = BTreeMap<(String, String), (Duration, u64)>;

/// What a run measured.
#[derive(Debug)]
pub struct Stats {
    stages: Mutex<Vec<StageStats>>,
    streams: Mutex<BTreeMap<String, StageStats>>,
    filters: Mutex<FilterCosts>,
    tally: Mutex<Tally>,
    /// Batches under way.
    pub in_flight: AtomicU64,
    /// What readers of Kafka have seen.
    pub source: Arc<Counters>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            stages: Mutex::new(Stage::ALL.iter().map(|_| StageStats::default()).collect()),
            streams: Mutex::default(),
            filters: Mutex::default(),
            tally: Mutex::default(),
            in_flight: AtomicU64::new(0),
            source: Arc::default(),
        }
    }
}

impl Stats {
    /// Records that `alerts` alerts took `latency` in a stage, of which they were worked on for `busy`.
    pub fn record(&self, stage: Stage, alerts: usize, latency: Duration, busy: Duration) {
        held(&self.stages)[stage as usize].add(alerts, latency, busy);
    }

    /// Records that so many alerts of other nodes were worked on for `busy`.
    pub fn record_help(&self, stage: Stage, alerts: usize, busy: Duration) {
        let stage = &mut held(&self.stages)[stage as usize];
        stage.busy += busy;
        stage.taken += alerts as u64;
    }

    /// Records how long an alert of a stream took from Kafka's timestamp to the committed result.
    pub fn record_stream(&self, stream: &str, latency: Duration) {
        held(&self.streams).entry(stream.to_owned()).or_default().add(1, latency, Duration::ZERO);
    }

    /// From Kafka's timestamp to the committed result, by stream.
    pub fn streams(&self) -> BTreeMap<String, StageStats> {
        held(&self.streams).clone()
    }

    /// Records time spent in each filter, and how many alerts it was asked about.
    pub fn record_filters(&self, filters: &Filters, spent: &[Duration], asked: &[u64]) {
        let mut costs = held(&self.filters);
        for (filter, (spent, asked)) in filters.list().iter().zip(spent.iter().zip(asked)) {
            let total = costs.entry((filter.name.to_string(), filter.version().to_owned())).or_default();
            total.0 += *spent;
            total.1 += asked;
        }
    }

    /// Counts what a commit has brought.
    pub fn count(&self, brought: &Tally) {
        held(&self.tally).add(brought);
    }

    /// What this run has committed.
    pub fn tally(&self) -> Tally {
        held(&self.tally).clone()
    }

    /// What was measured of a stage.
    pub fn stage(&self, stage: Stage) -> StageStats {
        held(&self.stages)[stage as usize].clone()
    }

    /// What a stage has done, without the latencies one by one.
    pub fn totals(&self, stage: Stage) -> Totals {
        let stages = held(&self.stages);
        let StageStats { spent, busy, alerts, taken, .. } = stages[stage as usize];
        Totals { alerts, spent, busy, taken }
    }

    /// The mean time that a version of a filter took on an alert.
    pub fn filter_cost(&self, filter: &str, version: &str) -> Option<Duration> {
        let (spent, asked) = *held(&self.filters).get(&(filter.to_owned(), version.to_owned()))?;
        u32::try_from(asked).ok().filter(|asked| *asked > 0).map(|asked| spent / asked)
    }

    /// A counter's value.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

fn held<T>(measured: &Mutex<T>) -> MutexGuard<'_, T> {
    measured.lock().expect("nobody panics with the statistics")
}
