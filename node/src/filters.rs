//! Filters from files: one JSON file each, named by it; the built-in ones where no directory is given.
//!
//! A file holds a pipeline, or a document `{survey, permissions, pipeline}`. Every problem of every file is found before a run starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boom_filter::{Program, Rules};
use boom_sky::survey::Survey;
use serde_json::Value;

use crate::stage::filter::Filter;

/// The filters that show what filters are for.
const BUILT_IN: [(&str, &str); 3] = [
    ("young_rising_near_galaxy", include_str!("../../deploy/filters/young_rising_near_galaxy.json")),
    ("variable_outburst", include_str!("../../deploy/filters/variable_outburst.json")),
    ("fast_mover", include_str!("../../deploy/filters/fast_mover.json")),
];

/// A filter file larger than this is a mistake.
const MAX_BYTES: u64 = 4 << 20;

/// Everything that is wrong with the filters, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filters can not be used:\n  {}", .0.join("\n  "))]
pub struct Problems(pub Vec<String>);

/// The filters of a directory, in the order of their names; the built-in ones without a directory.
///
/// # Errors
/// All that is wrong with them, each with its file and the path into its JSON.
pub fn load(directory: Option<&Path>, permissions: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Filter>, Problems> {
    let mut problems = Vec::new();
    let mut filters = Vec::new();
    let texts = match directory {
        None => BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), Ok((*text).to_owned()))).collect(),
        Some(directory) => files(directory).map_err(|problem| Problems(vec![problem]))?,
    };
    for (name, text) in texts {
        let parsed = text.map_err(|problem| vec![problem]).and_then(|text| parse(&name, &text, permissions));
        match parsed {
            Ok(filter) => filters.push(filter),
            Err(own) => problems.extend(own.into_iter().map(|problem| format!("{name}.json: {problem}"))),
        }
    }
    if problems.is_empty() { Ok(filters) } else { Err(Problems(problems)) }
}

type Named = (String, Result<String, String>);

fn files(directory: &Path) -> Result<Vec<Named>, String> {
    let unreadable = |error: std::io::Error| format!("{}: can not be read: {error}", directory.display());
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(format!("{}: there is no .json file in it", directory.display()));
    }
    paths.sort();
    Ok(paths.iter().map(|path| (stem(path), read(path))).collect())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

fn read(path: &Path) -> Result<String, String> {
    let size = path.metadata().map_err(|error| format!("can not be read: {error}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("has {size} bytes, where a filter may have {MAX_BYTES}"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("can not be read: {error}"))
}

/// One filter from its text.
fn parse(name: &str, text: &str, permissions: &BTreeMap<String, Vec<u8>>) -> Result<Filter, Vec<String>> {
    let json: Value = serde_json::from_str(text).map_err(|error| vec![format!("it is not JSON: {error}")])?;
    let Value::Object(mut object) = json else {
        let program = program(text)?;
        return Ok(Filter { name: Arc::from(name), survey: None, permissions: permissions.clone(), program });
    };
    let mut problems = Vec::new();
    let survey = object.remove("survey").and_then(|value| match value.as_str().and_then(Survey::by_name) {
        Some(survey) => Some(survey),
        None => {
            problems.push(format!("survey: {value} is no survey: ZTF, LSST, DECam and WINTER are"));
            None
        }
    });
    let own = object.remove("permissions").map(serde_json::from_value::<BTreeMap<String, Vec<u8>>>);
    let permissions = match own.transpose() {
        Ok(own) => own.unwrap_or_else(|| permissions.clone()),
        Err(error) => {
            problems.push(format!("permissions: {error}: a list of programmes for each survey is wanted, {{\"ZTF\": [1]}}"));
            BTreeMap::new()
        }
    };
    let program = object.remove("pipeline").map(|pipeline| program(&pipeline.to_string()));
    problems.extend(object.keys().map(|key| format!("{key}: it is not known; survey, permissions and pipeline are")));
    match program {
        Some(Ok(program)) if problems.is_empty() => {
            Ok(Filter { name: Arc::from(name), survey, permissions, program })
        }
        Some(Ok(_)) => Err(problems),
        Some(Err(own)) => {
            problems.extend(own.into_iter().map(|problem| format!("pipeline{problem}")));
            Err(problems)
        }
        None => {
            problems.push("pipeline: it is missing: a filter is a list of stages, or a document with `pipeline`".to_owned());
            Err(problems)
        }
    }
}

fn program(text: &str) -> Result<Program, Vec<String>> {
    Program::parse(text, Rules::Filter).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}
