//! Filters from files: one JSON file each, named by it; the built-in ones where no directory is given.
//!
//! A file holds a pipeline, or a document `{survey, permissions, pipeline}`. Every problem of every file is found before a run starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boom_filter::{FilterFile, Rules};
use boom_sky::survey::{SURVEYS, Survey};

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
    let surveys: Vec<&str> = SURVEYS.iter().map(|survey| survey.name).collect();
    let file = FilterFile::parse(text, Rules::Filter, &surveys)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok(Filter {
        name: Arc::from(name),
        survey: file.survey.as_deref().and_then(Survey::by_name),
        permissions: file.permissions.unwrap_or_else(|| permissions.clone()),
        program: file.program,
    })
}
