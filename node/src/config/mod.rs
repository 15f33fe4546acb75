//! The configuration of a node: its keys, and which values are possible. Parsed once, at the edge; nothing here opens what it names.

mod cluster;

use std::collections::BTreeMap;
use std::path::Path;

use boom_client::channel::Config as Coordinators;
use boom_client::kafka::Connection;
use boom_client::settings::{Problems, Settings};
use boom_plan::lease::Timing;
use boom_sky::crossmatch::{DistanceRule, MatchRule};
use boom_sky::survey::Survey;
use serde::Deserialize;

pub use self::cluster::{HandOver, MongoDb, Node, Output, Schemas};
use self::cluster::{RawCoordinators, RawLeases};

/// The defaults, as a file that one can copy and change.
pub const DEFAULT: &str = include_str!("default.toml");

/// Variables with this prefix replace what the files say.
const PREFIX: &str = "BOOM_NODE__";

/// The configuration of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How packets are taken in.
    pub input: Input,
    /// How models are run.
    pub models: Models,
    /// What filters may see.
    pub filters: Filters,
    /// The simulated night.
    pub simulator: Simulator,
    /// What is asked of each catalog.
    pub crossmatch: Vec<Crossmatch>,
    /// The node of a cluster.
    pub node: Node,
    /// Where coordinators are.
    pub coordinators: Coordinators,
    /// How long leases last.
    pub leases: Timing,
    /// Kafka clusters by name.
    pub kafka: BTreeMap<String, Connection>,
    /// Where results go.
    pub output: Output,
    /// The schema registry.
    pub schemas: Schemas,
    /// Where documents are kept.
    pub mongodb: MongoDb,
    /// How work is handed over to other nodes.
    pub handover: HandOver,
}

/// How packets are taken in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Input {
    /// Bytes that one packet may have.
    pub max_packet_bytes: usize,
    /// Packets that travel together.
    pub batch: usize,
    /// Batches that may be under way at once, if that is said: [`Input::batches_in_flight`] is asked.
    batches_in_flight: usize,
    /// How long packets wait for others while batches are under way, milliseconds.
    pub batch_wait_ms: u64,
}

impl Input {
    /// Batches that may be under way at once on a node with so many threads that compute: while one of a thread's three is computed, the others are on
    /// their way to the store and to Kafka.
    pub fn batches_in_flight(&self, threads: usize) -> usize {
        match self.batches_in_flight {
            0 => (3 * threads).max(6),
            said => said,
        }
    }
}

/// How models are run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Models {
    /// Library of ONNX Runtime; empty for the environment's.
    pub onnxruntime: String,
}

/// What filters may see.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Filters {
    /// Access programmes by survey, where a filter does not say.
    pub permissions: BTreeMap<String, Vec<u8>>,
    /// A filter that fails on so many alerts in a row is not asked any more; 0: never.
    pub suspend_after: u64,
    /// Whether filters may use the extensions, whose names begin with `$boom.`.
    pub extensions: bool,
    /// Directory with sky maps for `$boom.inMoc`; empty: none.
    pub sky_maps: String,
}

/// The simulated night.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Simulator {
    /// `ztf` or `lsst`.
    pub survey: String,
    /// How many alerts.
    pub alerts: u64,
    /// Over how many nights.
    pub nights: u32,
    /// What makes it the same night again.
    pub seed: u64,
}

/// What is asked of one catalog.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Crossmatch {
    /// Its name.
    pub catalog: String,
    /// Surveys whose alerts are matched; none: all.
    #[serde(default)]
    pub surveys: Vec<String>,
    /// How far a row may lie.
    pub radius_arcsec: f64,
    /// Columns that a match carries; none: all.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Keep at most so many; 0: all.
    #[serde(default)]
    pub max_results: usize,
    /// Physical distance rule.
    #[serde(default)]
    pub distance: Option<Distance>,
}

/// A physical distance rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Distance {
    /// Column with the redshift.
    pub redshift: String,
    /// Greatest projected distance, kpc.
    pub distance_max: f64,
    /// Greatest distance below z = 0.01, arcsec.
    pub distance_max_near: f64,
}

impl Crossmatch {
    /// The rule as the matching takes it.
    pub fn rule(&self) -> MatchRule {
        MatchRule {
            catalog: self.catalog.clone(),
            radius_arcsec: self.radius_arcsec,
            projection: self.columns.clone(),
            max_results: (self.max_results > 0).then_some(self.max_results),
            distance: self.distance.as_ref().map(|distance| DistanceRule {
                redshift: distance.redshift.clone(),
                distance_max: distance.distance_max,
                distance_max_near: distance.distance_max_near,
            }),
        }
    }
}

impl Config {
    /// The configuration from a file (its text and where it stands) and the environment.
    ///
    /// # Errors
    /// All that is wrong with either, each with its place.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let mut settings = Settings::layered(DEFAULT, file, PREFIX, environment);
        let standalone = (
            settings.section("input"),
            settings.section("models"),
            settings.section("filters"),
            settings.section("simulator"),
            settings.section("crossmatch"),
        );
        let cluster = (
            settings.section("node"),
            settings.section::<RawCoordinators>("coordinators"),
            settings.section::<RawLeases>("leases"),
            settings.section("kafka"),
            settings.section("output"),
            settings.section("mongodb"),
            settings.section("schemas"),
            settings.section("handover"),
        );
        let (
            (Some(input), Some(models), Some(filters), Some(simulator), Some(crossmatch)),
            (
                Some(node),
                Some(coordinators),
                Some(leases),
                Some(kafka),
                Some(output),
                Some(mongodb),
                Some(schemas),
                Some(handover),
            ),
        ) = (standalone, cluster)
        else {
            return Err(settings.finish().err().unwrap_or_else(|| Problems(vec!["a section is missing".to_owned()])));
        };
        let (coordinators, leases) = (coordinators.into(), leases.into());
        #[rustfmt::skip]
        let config = Self {
            input, models, filters, simulator, crossmatch, node, coordinators, leases, kafka, output, mongodb, schemas,
            handover,
        };
        config.check(&mut settings);
        settings.finish().map(|()| config)
    }

    fn check(&self, settings: &mut Settings) {
        settings.range("input.max_packet_bytes", self.input.max_packet_bytes, 1024, 1 << 30);
        settings.range("input.batch", self.input.batch, 1, 10_000);
        settings.range("input.batches_in_flight", self.input.batches_in_flight, 0, 1024);
        settings.range("input.batch_wait_ms", self.input.batch_wait_ms, 0, 10_000);
        settings.range("node.queue_bytes", self.node.queue_bytes, 1 << 20, 1 << 40);
        settings.range("output.partitions", self.output.partitions, 1, 10_000);
        settings.range("schemas.patience_s", self.schemas.patience_s, 1, 3600);
        settings.range("handover.patience_ms", self.handover.patience_ms, 0, 60_000);
        settings.range("handover.deadline_ms", self.handover.deadline_ms, 100, 600_000);
        if let Err(error) = self.leases.check() {
            settings.problems.push(format!("`leases`: {error}"));
        }
        if !self.filters.sky_maps.is_empty() && !self.filters.extensions {
            let problem = "`filters.sky_maps` is of no use while `filters.extensions` is false";
            settings.problems.push(problem.to_owned());
        }
        let surveys = self.crossmatch.iter().flat_map(|rule| &rule.surveys).chain(self.filters.permissions.keys());
        for survey in surveys.filter(|survey| Survey::by_name(survey).is_none()) {
            settings.problems.push(format!("`{survey}` is no survey: ZTF, LSST, DECam and WINTER are"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some((Path::new("boom.toml"), text)), pairs)
    }

    #[test]
    fn a_file_replaces_defaults_and_the_environment_replaces_both() {
        let config = load("[input]\nbatch = 8", &[("BOOM_NODE__INPUT__BATCH", "16"), ("HOME", "/")]).unwrap();
        assert_eq!(config.input.batch, 16);
        assert_eq!([1, 2, 8].map(|threads| config.input.batches_in_flight(threads)), [6, 6, 24]);
        assert_eq!(load("[input]\nbatches_in_flight = 4", &[]).unwrap().input.batches_in_flight(8), 4);
        assert_eq!(config.crossmatch[0].catalog, "NED");
        assert_eq!(load("[input]\nbatch = 8", &[]).unwrap().input.batch, 8);
    }

    #[test]
    fn all_problems_are_listed_at_once_with_their_place() {
        let text = "colour = 1\n[input]\nbatch = 0\nspeed = 3\n[filters]\npermissions = { HST = [1] }";
        let Problems(problems) = load(text, &[("BOOM_NODE__MODELS__FAST", "true")]).unwrap_err();
        let all = problems.join("\n");
        for part in ["`colour`", "`input.speed`", "`input.batch` is 0", "`HST` is no survey", "`models.fast`"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_named_with_its_line() {
        let Problems(problems) = load("[input", &[]).unwrap_err();
        assert!(problems[0].contains("boom.toml") && problems[0].contains("line 1"), "{problems:?}");
    }
}
