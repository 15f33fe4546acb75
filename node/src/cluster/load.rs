//! What a node carries: measured about once a second, for the leader and for metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use boom_plan::id::{Offset, Partition};
use boom_plan::message::{HandOver, Position, StageLoad};
use boom_plan::node::Event;
use boom_plan::quota::Stage;
use boom_plan::time::Span;
use boom_proto::v1::{LoadReport, ProcessLoad};

use super::Shared;
use crate::handover::Owner;
use crate::pipeline::Pools;
use crate::positions::{Lag, Window};
use crate::stats::{Stats, Totals};

/// Measures.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) shared: Shared,
    stats: Arc<Stats>,
    pools: Arc<Pools>,
    owner: Option<Arc<Owner>>,
    /// What the stages had done when they were measured last, and when.
    before: Arc<Mutex<Before>>,
}

#[derive(Debug)]
struct Before {
    at: Instant,
    stages: BTreeMap<Stage, Totals>,
    /// Alerts that others had done.
    given: BTreeMap<Stage, u64>,
    loads: BTreeMap<Stage, StageLoad>,
    cpu_seconds: f64,
    process: ProcessLoad,
}

impl Meter {
    pub(super) fn new(shared: Shared, stats: Arc<Stats>, pools: Arc<Pools>, owner: Option<Arc<Owner>>) -> Self {
        let (stages, given, loads, process) = Default::default();
        let before = Before { at: Instant::now(), stages, given, loads, cpu_seconds: 0.0, process };
        Self { shared, stats, pools, owner, before: Arc::new(Mutex::new(before)) }
    }

    /// How far the partitions are, and what the stages carry since the last time.
    pub(super) fn measure(&self) -> Event {
        let mut before = self.before.lock().expect("nobody panics with the measurements");
        let seconds = before.at.elapsed().as_secs_f64().max(1e-3);
        before.at = Instant::now();
        let mut stages = BTreeMap::new();
        for stage in Stage::ALL {
            let done = self.stats.totals(stage.into());
            let former = before.stages.insert(stage, done).unwrap_or_default();
            let taken = done.taken - former.taken;
            let hand_over = self.hand_over(stage, taken, &mut before.given, seconds);
            stages.insert(stage, StageLoad { hand_over, ..self.load(stage, former, done, seconds) });
        }
        let usage = usage();
        let cpu = usage.0 - before.cpu_seconds;
        before.cpu_seconds = usage.0;
        before.process = ProcessLoad { cpu_permille: (cpu / seconds * 1e3).round() as u32, memory_bytes: usage.1 };
        before.loads.clone_from(&stages);
        let lags = self.lags();
        let position = |(source, next): (String, u64)| {
            let partition: Partition = source.parse().ok()?;
            let behind = lags.get(&partition).and_then(|lag| lag.behind);
            let behind = behind.map(|behind| Span(u64::try_from(behind.as_millis()).unwrap_or(u64::MAX)));
            Some((partition, Position { next: Offset(next), behind, until: None }))
        };
        let inputs = self.shared.positions();
        let mut positions: BTreeMap<_, _> = inputs.undecided().into_iter().filter_map(position).collect();
        // Of a window nothing need be committed: there may be nothing in it.
        let window = |(source, Window { from, until }): (String, Window)| {
            let (next, until) = (Offset(from), Some(Offset(until)));
            Some((source.parse::<Partition>().ok()?, Position { next, behind: None, until }))
        };
        positions.extend(inputs.windows().into_iter().filter_map(window));
        Event::Measured { positions, stages }
    }

    fn load(&self, stage: Stage, before: Totals, done: Totals, seconds: f64) -> StageLoad {
        let pool = self.pools.of(stage);
        let queue = pool.queue();
        let alerts = (done.alerts - before.alerts) as f64;
        let busy = (done.busy - before.busy).as_secs_f64() / (seconds * pool.workers().max(1) as f64);
        let latency = if alerts > 0.0 { (done.spent - before.spent).as_secs_f64() / alerts } else { 0.0 };
        StageLoad {
            queue: u32::try_from(queue.alerts).unwrap_or(u32::MAX),
            age: Span(u64::try_from(queue.age.as_millis()).unwrap_or(u64::MAX)),
            rate: (alerts / seconds).round() as u32,
            busy: (busy * 1e3).round() as u16,
            latency: Span((latency * 1e3).round() as u64),
            hand_over: HandOver::default(),
        }
    }

    /// What others did for a stage, and it for them, since the last time.
    fn hand_over(&self, stage: Stage, taken: u64, given: &mut BTreeMap<Stage, u64>, seconds: f64) -> HandOver {
        let rate = |alerts: u64| (alerts as f64 / seconds).round() as u32;
        let Some(owner) = &self.owner else { return HandOver::default() };
        let (why, hindrance) = owner.said(stage);
        let done = owner.counts(stage).given;
        let before = given.insert(stage, done).unwrap_or_default();
        HandOver { given: rate(done - before), taken: rate(taken), why, hindrance }
    }

    /// The share of a core and the memory that the process took when it was measured last.
    pub(super) fn process(&self) -> ProcessLoad {
        self.before.lock().expect("nobody panics with the measurements").process
    }

    /// The load of the stages when it was measured last.
    pub(super) fn loads(&self) -> BTreeMap<Stage, StageLoad> {
        self.before.lock().expect("nobody panics with the measurements").loads.clone()
    }

    /// How far behind the partitions are now, as far as that is known.
    pub(super) fn lags(&self) -> BTreeMap<Partition, Lag> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let lags = self.shared.positions().lags(i64::try_from(now).unwrap_or(i64::MAX)).into_iter();
        lags.filter_map(|(source, lag)| Some((source.parse().ok()?, lag))).collect()
    }

    /// Adds to a report what only shells look at.
    pub(super) fn complete(&self, report: &mut LoadReport) {
        report.process = Some(self.process());
    }
}

/// Processor time of this process, seconds, and its resident memory, bytes; 0 where the system does not say.
fn usage() -> (f64, u64) {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in brackets, may have spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let time = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or_default();
    ((time(11) + time(12)) / ticks, pages * rustix::param::page_size() as u64)
}
