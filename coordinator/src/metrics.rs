//! What Prometheus is told. What happens is counted when it happens; what is so is looked up when it is asked for.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use boom_plan::fleet::{Lag, Standing};
use boom_plan::message::Refusal;
use boom_proto::v1::EventKind;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::control::View;
use crate::service::{behind, partitions, standing};

/// Labels and their values; of enumerations, streams and nodes, which are bounded.
type Labels = Vec<(&'static str, String)>;

type Unsigned = Gauge<u64, AtomicU64>;

/// What is counted.
#[derive(Debug, Default)]
pub struct Counters {
    events: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    commits: Counter,
    /// Sessions of nodes that are open.
    pub sessions: Gauge,
}

impl Counters {
    /// Something happened.
    pub fn event(&self, kind: EventKind) {
        let name = kind.as_str_name().trim_start_matches("EVENT_KIND_").to_lowercase();
        self.events.get_or_create(&vec![("kind", name)]).inc();
        if kind == EventKind::Committed {
            self.commits.inc();
        }
    }

    /// A node was refused.
    pub fn refused(&self, why: Refusal) {
        let why = match why {
            Refusal::NotLeading => "not_leading",
            Refusal::NotRegistered => "not_registered",
            Refusal::Over => "over",
            Refusal::Superseded => "superseded",
        };
        self.refused.get_or_create(&vec![("why", why.to_owned())]).inc();
    }
}

/// What is looked up.
#[derive(Debug, Default)]
struct Gauges {
    leader: Unsigned,
    term: Unsigned,
    version: Unsigned,
    etcd_away: Unsigned,
    nodes: Family<Labels, Unsigned>,
    partitions: Family<Labels, Unsigned>,
    lag: Family<Labels, Unsigned>,
    lag_unknown: Family<Labels, Unsigned>,
    behind: Family<Labels, Gauge<f64, AtomicU64>>,
    quota: Family<Labels, Unsigned>,
    saturated: Unsigned,
    wanted_nodes: Unsigned,
}

/// All metrics of a coordinator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Held while they are set and read, so that one scrape sees one state.
    gauges: Mutex<Gauges>,
}

impl Metrics {
    /// With these counters.
    pub fn new(counters: &Counters) -> Self {
        let (mut all, gauges) = (Registry::with_prefix("boom"), Gauges::default());
        all.register(
            "plan_saturated",
            "1 if no node that works on some stage has a worker to spare and it is late",
            gauges.saturated.clone(),
        );
        all.register(
            "plan_wanted_nodes",
            "How many nodes would do, while the fleet is saturated; else 0",
            gauges.wanted_nodes.clone(),
        );
        let registry = all.sub_registry_with_prefix("coordinator");
        registry.register("events", "What happened, by kind", counters.events.clone());
        registry.register("refused", "What nodes said that was not taken, by reason", counters.refused.clone());
        registry.register("plan_commits", "Plans that this coordinator has committed", counters.commits.clone());
        registry.register("sessions", "Open sessions of nodes", counters.sessions.clone());
        registry.register("leader", "1 if this coordinator leads", gauges.leader.clone());
        registry.register("term", "The term in which it leads, 0 if it does not", gauges.term.clone());
        registry.register("plan_version", "The version of the plan, 0 if it does not lead", gauges.version.clone());
        registry.register("etcd_away", "1 if etcd does not answer", gauges.etcd_away.clone());
        registry.register("nodes", "Incarnations of nodes, by what the leader knows of them", gauges.nodes.clone());
        registry.register("partitions", "Partitions in the plan, by state", gauges.partitions.clone());
        registry.register("lag_alerts", "Alerts that wait in Kafka, by stream", gauges.lag.clone());
        registry.register(
            "lag_unknown_partitions",
            "Partitions whose lag is not known, by stream",
            gauges.lag_unknown.clone(),
        );
        registry.register_with_unit(
            "lag",
            "How long ago Kafka took the oldest alert that is not decided, by stream, as owners say",
            Unit::Seconds,
            gauges.behind.clone(),
        );
        registry.register("quota_workers", "Workers by the plan, by node and stage", gauges.quota.clone());
        Self { registry: all, gauges: Mutex::new(gauges) }
    }

    /// The text of a scrape.
    pub fn text(&self, view: Option<&View>, is_etcd_away: bool) -> String {
        // A gauge is set or not set: there is no half.
        let gauges = self.gauges.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        gauges.set(view, is_etcd_away);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a text takes everything that is written to it");
        text
    }
}

impl Gauges {
    fn set(&self, view: Option<&View>, is_etcd_away: bool) {
        self.leader.set(view.is_some().into());
        self.term.set(view.map_or(0, |view| view.term.0));
        self.version.set(view.map_or(0, |view| view.plan.version.0));
        self.etcd_away.set(is_etcd_away.into());
        for family in [&self.nodes, &self.partitions, &self.lag, &self.lag_unknown, &self.quota] {
            family.clear();
        }
        self.behind.clear();
        let saturated = view.and_then(|view| view.saturated);
        self.saturated.set(saturated.is_some().into());
        self.wanted_nodes.set(saturated.map_or(0, |saturated| saturated.wants_nodes));
        let Some(view) = view else { return };
        let set = |family: &Family<Labels, Unsigned>, labels: Labels, value: u64| {
            family.get_or_create(&labels).set(value);
        };
        for (name, of) in STANDINGS {
            set(&self.nodes, vec![("standing", name.to_owned())], standing(view, &[of]).into());
        }
        for (state, count) in ["owned", "revoking", "unplaced"].into_iter().zip(partitions(view)) {
            set(&self.partitions, vec![("state", state.to_owned())], count.into());
        }
        for stream in view.fleet.orders().streams.keys() {
            let Lag { alerts, unknown } = view.fleet.lag(Some(stream));
            set(&self.lag, vec![("stream", stream.to_string())], alerts);
            set(&self.lag_unknown, vec![("stream", stream.to_string())], unknown.into());
            if let Some(behind) = behind(view, stream) {
                self.behind.get_or_create(&vec![("stream", stream.to_string())]).set(behind.as_secs_f64());
            }
        }
        for (node, quotas) in &view.plan.quotas {
            for (stage, quota) in &quotas.stages {
                let labels = vec![("node", node.to_string()), ("stage", stage.to_string())];
                set(&self.quota, labels, quota.workers.into());
            }
        }
    }
}

const STANDINGS: [(&str, Standing); 6] = [
    ("awaited", Standing::Awaited),
    ("live", Standing::Live),
    ("suspect", Standing::Suspect),
    ("superseded", Standing::Superseded),
    ("ended", Standing::Ended),
    ("dead", Standing::Dead),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_says_so_and_counts_what_happened() {
        let counters = Counters::default();
        let metrics = Metrics::new(&counters);
        counters.event(EventKind::Committed);
        counters.event(EventKind::SteppedDown);
        counters.refused(Refusal::NotLeading);
        let text = metrics.text(None, true);
        for line in [
            "boom_coordinator_leader 0",
            "boom_coordinator_etcd_away 1",
            "boom_coordinator_plan_commits_total 1",
            "boom_coordinator_events_total{kind=\"stepped_down\"} 1",
            "boom_coordinator_refused_total{why=\"not_leading\"} 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
