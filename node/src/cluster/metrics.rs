//! What a node shows Prometheus. The numbers are read from where they are measured when they are asked for; nothing is counted here.

use std::sync::Arc;

use boom_plan::quota;
use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::Shared;
use super::load::Meter;
use crate::pipeline::Pools;
use crate::stats::{Stage, Stats};

/// Bounds of the buckets of latencies, seconds.
const BUCKETS: [f64; 20] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// A registry that reads all of a node.
pub(super) fn registry(shared: Shared, stats: Arc<Stats>, pools: Arc<Pools>, meter: Meter) -> Registry {
    let mut registry = Registry::with_prefix("boom_node");
    registry.register_collector(Box::new(Node { shared, stats, pools, meter }));
    registry
}

#[derive(Debug)]
struct Node {
    shared: Shared,
    stats: Arc<Stats>,
    pools: Arc<Pools>,
    meter: Meter,
}

type Encoded = Result<(), std::fmt::Error>;

impl Collector for Node {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        self.membership(&mut encoder)?;
        self.counts(&mut encoder)?;
        self.stages(&mut encoder)?;
        self.partitions(&mut encoder)?;
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
    fn membership(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let (lease, gate, owned) = {
            let node = self.shared.node();
            (node.lease(), node.gate(), node.holds().len())
        };
        let left = lease.map_or(0, |until| until.since(self.shared.clock.now()).0);
        gauge(encoder, "lease", "How long the node may act as owner", Some(Unit::Seconds), left as f64 / 1e3)?;
        gauge(encoder, "term", "The term of the leader that it listens to", None, gate.term().0 as f64)?;
        let version = gate.version().map_or(0, |version| version.0);
        gauge(encoder, "plan_version", "The newest plan that it has taken", None, version as f64)?;
        gauge(encoder, "partitions", "Partitions that it has not let go of", None, owned as f64)
    }

    fn counts(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let stats = &self.stats;
        let counted = [
            ("alerts", "Alerts that are committed, dead letters included", &stats.committed),
            ("dead_letters", "Alerts that went to the dead letters", &stats.dead),
            ("filter_passed", "Alerts that a filter let through", &stats.passed),
            ("filter_rejected", "Alerts that a filter did not let through", &stats.rejected),
            ("filter_failed", "Alerts on which a filter failed", &stats.failed),
            ("records_removed", "Records that retention had removed before they were read", &stats.removed),
            ("partitions_made_anew", "Partitions of topics that were deleted and made anew", &stats.made_anew),
            ("partitions_missing", "Partitions that were to be read and are not there", &stats.missing),
        ];
        for (name, help, counter) in counted {
            let counter = ConstCounter::new(Stats::get(counter));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        gauge(encoder, "batches", "Batches under way", None, Stats::get(&stats.in_flight) as f64)
    }

    fn stages(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let help = "How long an alert took in a stage; end_to_end: from Kafka's timestamp to the committed result";
        let mut latency =
            encoder.encode_descriptor("stage_latency", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for stage in Stage::ALL {
            let measured = self.stats.stage(stage);
            let (count, sum) = (measured.latency.len(), measured.spent.as_secs_f64());
            let labels = [("stage", stage.name().replace(' ', "_"))];
            latency.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                sum,
                count,
                &buckets(&measured.latency),
                None,
            )?;
        }
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
        of(encoder, "stage_quota", "Batches that a stage may work on at once", None, &|s| pool(s).workers() as f64)?;
        of(encoder, "stage_queue_alerts", "Alerts that wait", None, &|s| pool(s).queue().alerts as f64)?;
        let age = |stage| pool(stage).queue().age.as_secs_f64();
        of(encoder, "stage_queue_age", "How long the oldest has waited", Some(&Unit::Seconds), &age)
    }

    fn partitions(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let reached = self.stats.all_reached();
        let help = "The offset of the next alert, as committed";
        let mut next = encoder.encode_descriptor("partition_next", help, None, MetricType::Gauge)?;
        for (partition, reached) in &reached {
            ConstGauge::new(reached.next as f64).encode(next.encode_family(&[("partition", partition.clone())])?)?;
        }
        Ok(())
    }
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
