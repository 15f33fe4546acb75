//! Filter files on disk, and what a filter may see. What a file says is read by `boom_filter`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use boom_filter::{Dialect, FilterFile, Problem, Rules};
use boom_sky::alert::Alert;
use boom_sky::survey::{SURVEYS, Survey};
use serde_json::Value;

/// Reads and compiles the file; the inner error is all that is wrong with the filter.
///
/// # Errors
/// The file can not be read.
pub(crate) fn read(path: &Path, rules: Rules, dialect: &Dialect) -> anyhow::Result<Result<FilterFile, Vec<Problem>>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading the filter {}", path.display()))?;
    let surveys: Vec<&str> = SURVEYS.iter().map(|survey| survey.name).collect();
    Ok(FilterFile::parse_in(&text, rules, &surveys, dialect))
}

/// The access programmes of a survey that the filter may see; `None` for all.
pub(crate) fn programs<'f>(filter: &'f FilterFile, survey: &Survey) -> Option<&'f [u8]> {
    survey.access?;
    Some(filter.permissions.as_ref()?.get(survey.name).map_or(&[], Vec::as_slice))
}

/// The stages as they are written; what is wrong with them was found before.
///
/// # Errors
/// The file can not be read any more.
pub(crate) fn stages(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading the filter {}", path.display()))?;
    let mut value: Value = serde_json::from_str(&text)?;
    let stages = if value.is_array() { value } else { value["pipeline"].take() };
    match stages {
        Value::Array(stages) => Ok(stages),
        _ => Ok(Vec::new()),
    }
}

/// The name of a stage.
pub(crate) fn stage_name(stage: &Value) -> &str {
    stage.as_object().and_then(|fields| fields.keys().next()).map_or("", String::as_str)
}

/// Whether the stages can make several documents of one.
pub(crate) fn multiplies(stages: &[Value]) -> bool {
    stages.iter().any(|stage| stage_name(stage) == "$unwind")
}

/// Says all that is wrong with a filter.
pub(crate) fn report(path: &Path, problems: &[Problem]) -> io::Result<()> {
    let mut err = io::stderr().lock();
    problems.iter().try_for_each(|problem| writeln!(err, "{}: {problem}", path.display()))
}

/// Why the filter never sees the alert.
pub(crate) fn unseen(filter: &FilterFile, alert: &Alert) -> Option<String> {
    let name = alert.survey.name;
    if let Some(survey) = filter.survey.as_ref().filter(|survey| *survey != name) {
        return Some(format!("the filter is one for {survey}, the alert one of {name}"));
    }
    let programs = programs(filter, alert.survey)?;
    let program = alert.head.program;
    (!programs.contains(&program))
        .then(|| format!("the filter never sees this alert: its permissions for {name} are {programs:?}, the alert is of programme {program}"))
}
