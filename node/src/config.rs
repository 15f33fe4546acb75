//! Configuration: the commented defaults, a TOML file over them, the environment over both. Parsed once, at the edge, with all problems at
//! once; nothing here opens what it names.

use std::collections::BTreeMap;
use std::path::Path;

use boom_sky::crossmatch::{DistanceRule, MatchRule};
use boom_sky::survey::Survey;
use serde::Deserialize;
use toml::{Table, Value};

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
}

/// How packets are taken in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Input {
    /// Bytes that one packet may have.
    pub max_packet_bytes: usize,
    /// Packets that travel together.
    pub batch: usize,
    /// Batches that may be under way at once.
    pub batches_in_flight: usize,
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

/// Everything that is wrong with a configuration, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration can not be used:\n  {}", .0.join("\n  "))]
pub struct Problems(pub Vec<String>);

impl Config {
    /// The configuration from a file (its text and where it stands) and the environment.
    ///
    /// # Errors
    /// All that is wrong with either, each with its place.
    pub fn load(
        file: Option<(&Path, &str)>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut table: Table = DEFAULT.parse().expect("the defaults are TOML");
        if let Some((path, text)) = file {
            match text.parse::<Table>() {
                Ok(own) => overlay(&mut table, own),
                Err(error) => problems.push(format!("{}: {}", path.display(), error.to_string().trim_end())),
            }
        }
        for (name, text) in environment {
            if let Some(path) = name.strip_prefix(PREFIX) {
                let value = format!("x = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("x"));
                let path = path.to_lowercase();
                set(&mut table, &path.split("__").collect::<Vec<_>>(), value.unwrap_or(Value::String(text)));
            }
        }
        let sections = (
            section(&mut table, "input", &mut problems),
            section(&mut table, "models", &mut problems),
            section(&mut table, "filters", &mut problems),
            section(&mut table, "simulator", &mut problems),
            section(&mut table, "crossmatch", &mut problems),
        );
        problems.extend(
            table
                .keys()
                .map(|key| format!("`{key}` is not known: input, models, filters, simulator and crossmatch are")),
        );
        let (Some(input), Some(models), Some(filters), Some(simulator), Some(crossmatch)) = sections else {
            return Err(Problems(problems));
        };
        let config = Self { input, models, filters, simulator, crossmatch };
        config.check(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    fn check(&self, problems: &mut Vec<String>) {
        let mut range = |name: &str, value: usize, low: usize, high: usize| {
            if !(low..=high).contains(&value) {
                problems.push(format!("`{name}` is {value}: {low} to {high} is possible"));
            }
        };
        range("input.max_packet_bytes", self.input.max_packet_bytes, 1024, 1 << 30);
        range("input.batch", self.input.batch, 1, 10_000);
        range("input.batches_in_flight", self.input.batches_in_flight, 1, 1024);
        if !self.filters.sky_maps.is_empty() && !self.filters.extensions {
            problems.push("`filters.sky_maps` is of no use while `filters.extensions` is false".to_owned());
        }
        let surveys = self.crossmatch.iter().flat_map(|rule| &rule.surveys).chain(self.filters.permissions.keys());
        for survey in surveys.filter(|survey| Survey::by_name(survey).is_none()) {
            problems.push(format!("`{survey}` is no survey: ZTF, LSST, DECam and WINTER are"));
        }
    }
}

/// Takes one section out of the table; unknown keys and wrong types are problems.
fn section<T: for<'de> Deserialize<'de>>(table: &mut Table, name: &str, problems: &mut Vec<String>) -> Option<T> {
    let value = table.remove(name)?;
    let mut unknown = |path: serde_ignored::Path<'_>| problems.push(format!("`{name}.{path}` is not known"));
    match serde_ignored::deserialize(value, &mut unknown) {
        Ok(read) => Some(read),
        Err(error) => {
            problems.push(format!("`{name}`: {}", error.to_string().trim_end()));
            None
        }
    }
}

fn overlay(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => overlay(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

fn set(table: &mut Table, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return;
    }
    let inner = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        set(inner, rest, value);
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
        assert_eq!(config.input.batches_in_flight, 8);
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
