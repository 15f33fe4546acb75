//! What a node shows Prometheus. The numbers are read from where they are measured when they are asked for; nothing is counted here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boom_plan::id::Partition;
use boom_plan::quota;
use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use super::load::Meter;
use crate::handover::Owner;
use crate::handover::owner::Counts as HandedOver;
use crate::pipeline::Pools;
use crate::source::kafka::Waiting;
use crate::stage::filter::Filters;
use crate::stats::{Stage, StageStats, Stats};
use crate::tally::{Answers, Fates, Tally};

/// Bounds of the buckets of latencies, seconds.
const BUCKETS: [f64; 23] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0,
    5.0, 10.0, 60.0,
];

/// A registry that reads all of a node.
pub(super) fn registry(
    meter: Meter,
    stats: Arc<Stats>,
    (pools, owner): (Arc<Pools>, Option<Arc<Owner>>),
    filters: watch::Receiver<Arc<Filters>>,
) -> Registry {
    let mut registry = Registry::with_prefix("boom_node");
    registry.register_collector(Box::new(Node { meter, stats, pools, owner, filters }));
    registry
}

#[derive(Debug)]
struct Node {
    meter: Meter,
    stats: Arc<Stats>,
    pools: Arc<Pools>,
    owner: Option<Arc<Owner>>,
    filters: watch::Receiver<Arc<Filters>>,
}

type Encoded = Result<(), std::fmt::Error>;

impl Collector for Node {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        let held = self.membership(&mut encoder)?;
        let tally = self.stats.tally();
        self.books(&mut encoder, &tally)?;
        self.answers(&mut encoder, &tally)?;
        self.source(&mut encoder)?;
        self.stages(&mut encoder)?;
        self.pools(&mut encoder)?;
        self.handed_over(&mut encoder)?;
        self.partitions(&mut encoder, &held)?;
        let process = self.meter.process();
        gauge(&mut encoder, "memory", "Resident memory", Some(Unit::Bytes), process.memory_bytes as f64)?;
        gauge(
            &mut encoder,
            "cpu_cores",
            "Cores that the process keeps busy",
            None,
            f64::from(process.cpu_permille) / 1e3,
        )
    }
}

impl Node {
    /// Gives the partitions that the node has not let go of.
    fn membership(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<BTreeSet<Partition>, std::fmt::Error> {
        let shared = &self.meter.shared;
        let (lease, gate, held) = {
            let node = shared.node();
            (node.lease(), node.gate(), node.holds().keys().cloned().collect::<BTreeSet<_>>())
        };
        let left = lease.map_or(0, |until| until.since(shared.clock.now()).0);
        gauge(encoder, "lease", "How long the node may act as owner", Some(Unit::Seconds), left as f64 / 1e3)?;
        gauge(encoder, "term", "The term of the leader that it listens to", None, gate.term().0 as f64)?;
        let version = gate.version().map_or(0, |version| version.0);
        gauge(encoder, "plan_version", "The newest plan that it has taken", None, version as f64)?;
        gauge(encoder, "partitions", "Partitions that it has not let go of", None, held.len() as f64)?;
        Ok(held)
    }

    /// The books of this process: what it has committed, counted after it was.
    fn books(&self, encoder: &mut DescriptorEncoder<'_>, tally: &Tally) -> Encoded {
        let help = "Alerts that are committed, dead letters included";
        counter(encoder, "alerts", help, tally.consumed())?;
        let columns: [(&str, &str, Column<Fates>); 4] = [
            ("books_consumed", "Alerts taken in, by stream and survey; all that follow add up to it", |of| of.consumed),
            ("books_decided", "Alerts that every filter has judged", |of| of.decided),
            ("books_repeated", "Alerts whose candid had come from elsewhere before", |of| of.repeated),
            ("books_dead_lettered", "Alerts that gave no document", |of| of.dead_lettered),
        ];
        for (name, help, column) in columns {
            let series = tally.alerts.iter().map(|((stream, survey), fates)| {
                ([("stream", stream.clone()), ("survey", survey.clone())], column(fates))
            });
            counters(encoder, name, help, series)?;
        }
        let reasons = tally.dead_letters.iter().map(|(reason, letters)| ([("reason", *reason)], *letters));
        counters(encoder, "dead_letters", "Alerts that went to the dead letters, by reason", reasons)?;
        gauge(encoder, "batches", "Batches under way", None, Stats::get(&self.stats.in_flight) as f64)
    }

    /// What the filters said that there are now: one that is removed takes its series away.
    fn answers(&self, encoder: &mut DescriptorEncoder<'_>, tally: &Tally) -> Encoded {
        let filters = Arc::clone(&self.filters.borrow());
        let names: BTreeSet<&Arc<str>> = filters.list().iter().map(|filter| &filter.name).collect();
        let columns: [(&str, &str, Column<Answers>); 3] = [
            ("filter_passed", "Alerts that a filter let through", |of| of.passed),
            ("filter_rejected", "Alerts that a filter did not let through", |of| of.rejected),
            ("filter_failed", "Alerts on which a filter failed", |of| of.failed),
        ];
        for (name, help, column) in columns {
            let series = names.iter().map(|filter| {
                let answers = tally.filters.get(*filter).copied().unwrap_or_default();
                ([("filter", filter.to_string())], column(&answers))
            });
            counters(encoder, name, help, series)?;
        }
        Ok(())
    }

    /// What the readers of Kafka have seen.
    fn source(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let counts = self.stats.source.get();
        let counted = [
            ("source_removed", "Records that retention had removed before they were read", counts.removed),
            ("source_made_anew", "Partitions of topics that were deleted and made anew", counts.made_anew),
            ("source_missing", "Partitions that were not there", counts.missing),
            ("source_pauses", "How often reading of a stream was paused, since its queue was full", counts.pauses),
            ("source_group_failures", "Failed commits of the consumers' group", counts.group_failures),
            ("source_renewals", "New clients of Kafka after one that heard nothing any more", counts.renewals),
        ];
        for (name, help, count) in counted {
            counter(encoder, name, help, count)?;
        }
        let waiting = self.stats.source.waiting();
        let (alerts, bytes) =
            ("Alerts that wait to be taken by the stages", "Bytes of the alerts that wait to be taken");
        by_stream(encoder, ("stream_queue_alerts", alerts, None), &waiting, |of| of.packets)?;
        by_stream(encoder, ("stream_queue", bytes, Some(&Unit::Bytes)), &waiting, |of| of.bytes)
    }

    fn stages(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let help = "How long an alert took in a stage; end_to_end: from Kafka's timestamp to the committed result";
        let stages = Stage::ALL.map(|stage| (stage.name().replace(' ', "_"), self.stats.stage(stage)));
        latencies(encoder, ("stage_latency", help), "stage", stages)?;
        let help = "From Kafka's timestamp to the committed result";
        latencies(encoder, ("stream_latency", help), "stream", self.stats.streams())?;
        let mut busy = encoder.encode_descriptor(
            "stage_busy",
            "Time on compute threads",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        for stage in quota::Stage::ALL {
            let seconds = self.stats.totals(stage.into()).busy.as_secs_f64();
            ConstCounter::new(seconds).encode(busy.encode_family(&[("stage", stage.to_string())])?)?;
        }
        Ok(())
    }

    fn pools(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let loads = self.meter.loads();
        let of = |encoder: &mut DescriptorEncoder<'_>,
                  name,
                  help,
                  unit: Option<&Unit>,
                  value: &dyn Fn(quota::Stage) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            for stage in quota::Stage::ALL {
                ConstGauge::new(value(stage)).encode(family.encode_family(&[("stage", stage.to_string())])?)?;
            }
            Ok::<(), std::fmt::Error>(())
        };
        let pool = |stage| self.pools.of(stage);
        let busy = |stage| loads.get(&stage).map_or(0.0, |load| f64::from(load.busy) / 1e3);
        of(encoder, "stage_busy_ratio", "Share of its workers' time that was work, in the last second", None, &busy)?;
        of(encoder, "stage_quota", "Batches that a stage may work on at once", None, &|s| pool(s).workers() as f64)?;
        of(encoder, "stage_queue_alerts", "Alerts that wait", None, &|s| pool(s).queue().alerts as f64)?;
        let age = |stage| pool(stage).queue().age.as_secs_f64();
        of(encoder, "stage_queue_age", "How long the oldest has waited", Some(&Unit::Seconds), &age)
    }

    /// What was handed over to other nodes, and done for them.
    fn handed_over(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let Some(owner) = &self.owner else { return Ok(()) };
        gauge(encoder, "handover_reachable", "Whether work can be handed over", None, f64::from(owner.is_reachable()))?;
        let columns: [(&str, &str, Column<HandedOver>); 6] = [
            ("handover_given", "Alerts that other nodes did for this one", |of| of.given),
            ("handover_bytes_out", "Bytes of tasks that went out", |of| of.bytes_out),
            ("handover_bytes_back", "Bytes of answers that came back", |of| of.bytes_back),
            ("handover_withdrawn", "Tasks that nobody took in time", |of| of.withdrawn),
            ("handover_refused", "Tasks that another node refused", |of| of.refused),
            ("handover_overdue", "Tasks that were taken and not answered in time", |of| of.overdue),
        ];
        let label = |stage: quota::Stage| [("stage", stage.to_string())];
        for (name, help, column) in columns {
            let series = quota::Stage::ALL.map(|stage| (label(stage), column(&owner.counts(stage))));
            counters(encoder, name, help, series)?;
        }
        let taken = quota::Stage::ALL.map(|stage| (label(stage), self.stats.totals(stage.into()).taken));
        counters(encoder, "handover_taken", "Alerts that this node did for others", taken)
    }

    /// Of the partitions that the node has: one that it lets go of takes its series away.
    fn partitions(&self, encoder: &mut DescriptorEncoder<'_>, held: &BTreeSet<Partition>) -> Encoded {
        let progress = self.meter.shared.positions().progress();
        let next = |partition: &Partition| progress.get(&partition.to_string()).map(|next| *next as f64);
        let lags = self.meter.lags();
        let alerts = |partition: &Partition| lags.get(partition).map(|lag| lag.alerts as f64);
        let behind = |partition: &Partition| Some(lags.get(partition)?.behind?.as_secs_f64());
        let (wait, since) =
            ("Alerts in Kafka that are not decided", "How long ago Kafka took the first alert of the lag");
        by_partition(encoder, ("partition_next", "The offset of the next alert, as committed", None), held, &next)?;
        by_partition(encoder, ("lag_alerts", wait, None), held, &alerts)?;
        by_partition(encoder, ("lag", since, Some(&Unit::Seconds)), held, &behind)
    }
}

/// Histograms of latencies, each with a label.
fn latencies(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    label: &'static str,
    measured: impl IntoIterator<Item = (String, StageStats)>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (value, StageStats { latency, spent, .. }) in measured {
        let (labels, buckets) = ([(label, value)], buckets(&latency));
        let mut encoder = family.encode_family(&labels)?;
        encoder.encode_histogram::<NoLabelSet>(spent.as_secs_f64(), latency.len(), &buckets, None)?;
    }
    Ok(())
}

/// A number of a row of counts.
type Column<T> = fn(&T) -> u64;

fn by_stream(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    waiting: &BTreeMap<String, Waiting>,
    value: Column<Waiting>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (stream, of) in waiting {
        let labels = [("stream", stream.as_str())];
        ConstGauge::new(value(of) as f64).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn by_partition(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    held: &BTreeSet<Partition>,
    value: &dyn Fn(&Partition) -> Option<f64>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (partition, value) in held.iter().filter_map(|partition| Some((partition, value(partition)?))) {
        let labels = [
            ("stream", partition.stream.to_string()),
            ("topic", partition.topic.to_string()),
            ("partition", partition.number.to_string()),
        ];
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> Encoded {
    ConstCounter::new(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = (L, u64)>,
) -> Encoded {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in series {
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<Unit>, value: f64) -> Encoded {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?)
}

/// How many values lie in each bucket, the last without an end.
fn buckets(latency: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut below = 0;
    let mut buckets = Vec::with_capacity(BUCKETS.len() + 1);
    for bound in BUCKETS {
        let micros = (bound * 1e6) as u64;
        buckets.push((bound, latency.count_between(below, micros)));
        below = micros + 1;
    }
    buckets.push((f64::MAX, latency.count_between(below, u64::MAX)));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_in_one_bucket() {
        let mut latency = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        for micros in [1, 999, 1000, 30_000, 700_000, 2_000_000_000] {
            latency.record(micros).unwrap();
        }
        let buckets = buckets(&latency);
        assert_eq!(buckets.iter().map(|bucket| bucket.1).sum::<u64>(), 6);
        assert_eq!((buckets[0], buckets.last().unwrap().1), ((0.001, 3), 1));
    }
}
