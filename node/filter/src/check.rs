//! The rules of a filter (DOMAIN: at least one `$match`; the last stage a `$project` that keeps `objectId`; `_id` and `objectId` are
//! never removed or overwritten: an `$unwind` keeps them in each of its documents, a `$group` by `_id` may gather those again). They look at the pipeline as it was written.

use crate::parse::Problem;
use crate::parse::json::Json;

const KEPT: [&str; 2] = ["_id", "objectId"];

/// All rules that the pipeline breaks.
pub(crate) fn rules(stages: &[Json]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |path: String, message: &str| problems.push(Problem { path, message: message.to_owned() });
    let named: Vec<(&str, &Json)> = stages.iter().filter_map(stage).collect();
    if !named.iter().any(|(name, _)| *name == "$match") {
        report(String::new(), "a filter needs at least one $match");
    }
    match named.last() {
        Some(("$project", Json::Object(_))) => {}
        Some((name, _)) => {
            let path = format!("[{}].{name}", named.len() - 1);
            report(path, "the last stage of a filter is a $project, which says what its subscribers receive");
        }
        None => report(String::new(), "a filter needs stages: a $match, and a $project as the last"),
    }
    for (at, (name, value)) in named.iter().enumerate() {
        let path = format!("[{at}].{name}");
        match (*name, value) {
            ("$project", Json::Object(fields)) => project(&path, fields, &mut report),
            ("$addFields" | "$set", Json::Object(fields)) => {
                for (key, _) in fields.iter().filter(|(key, _)| is_kept(key)) {
                    report(format!("{path}.{key}"), "a filter does not overwrite `_id` and `objectId`");
                }
            }
            ("$unset", Json::Text(key)) if is_kept(key) => {
                report(path, "a filter does not remove `_id` and `objectId`")
            }
            ("$unset", Json::Array(keys)) => {
                for (index, _) in
                    keys.iter().enumerate().filter(|(_, key)| matches!(key, Json::Text(key) if is_kept(key)))
                {
                    report(format!("{path}[{index}]"), "a filter does not remove `_id` and `objectId`");
                }
            }
            ("$unwind", Json::Object(fields)) => {
                for (key, name) in fields.iter().filter(|(key, _)| key == "includeArrayIndex") {
                    if matches!(name, Json::Text(name) if is_kept(name)) {
                        report(format!("{path}.{key}"), "a filter does not overwrite `_id` and `objectId`");
                    }
                }
            }
            ("$group", Json::Object(fields)) if keeps_ids(fields) => {}
            ("$group", _) => report(
                path,
                "this stage removes `_id` and `objectId`, which a filter keeps: group by \"_id\": \"$_id\", and add \"objectId\": {\"$first\": \"$objectId\"}",
            ),
            ("$count" | "$sortByCount" | "$bucket" | "$replaceRoot" | "$replaceWith", _) => {
                report(path, "this stage removes `_id` and `objectId`, which a filter keeps");
            }
            _ => {}
        }
    }
    problems
}

fn stage(json: &Json) -> Option<(&str, &Json)> {
    match json {
        Json::Object(fields) => fields.first().map(|(name, value)| (name.as_str(), value)),
        _ => None,
    }
}

fn is_kept(key: &str) -> bool {
    key.split('.').next().is_some_and(|first| KEPT.contains(&first))
}

/// Whether a `$group` gathers the documents of the alert under its own ids.
fn keeps_ids(fields: &[(String, Json)]) -> bool {
    let is =
        |key: &str, wanted: &dyn Fn(&Json) -> bool| fields.iter().any(|(name, value)| name == key && wanted(value));
    let path = |value: &Json, path: &str| matches!(value, Json::Text(text) if text == path);
    is("_id", &|value| path(value, "$_id"))
        && is("objectId", &|value| match value {
            Json::Object(accumulator) => {
                matches!(accumulator.as_slice(), [(name, value)] if (name == "$first" || name == "$last") && path(value, "$objectId"))
            }
            _ => false,
        })
}

fn flag(value: &Json) -> Option<bool> {
    matches!(
        value,
        Json::Bool(_) | Json::Int(_) | Json::Long(_) | Json::Double(_) | Json::Other(crate::raw::DECIMAL, _)
    )
    .then(|| value.constant().value().is_true())
}

/// A `$project` neither excludes nor computes the ids, and one that includes fields includes `objectId`.
fn project(path: &str, fields: &[(String, Json)], report: &mut impl FnMut(String, &str)) {
    for (key, value) in fields.iter().filter(|(key, _)| is_kept(key)) {
        match flag(value) {
            Some(true) if KEPT.contains(&key.as_str()) => {}
            Some(false) => report(format!("{path}.{key}"), "a filter does not remove `_id` and `objectId`"),
            _ => report(
                format!("{path}.{key}"),
                "a filter does not overwrite `_id` and `objectId`; write 1 to keep them",
            ),
        }
    }
    let excludes = excludes(fields);
    if !excludes && !fields.iter().any(|(key, _)| key == "objectId") {
        report(path.to_owned(), "this stage removes `objectId`, which a filter keeps: add \"objectId\": 1");
    }
}

/// Whether a `$project` only takes fields away. `_id` may be kept by one that does, and alone it decides.
fn excludes(fields: &[(String, Json)]) -> bool {
    let (ids, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(key, value)| key == "_id" && flag(value).is_some());
    if others.is_empty() {
        return ids.iter().all(|(_, value)| flag(value) == Some(false));
    }
    others.iter().all(|(_, value)| takes_away(value))
}

fn takes_away(value: &Json) -> bool {
    match value {
        Json::Object(inner) if inner.first().is_some_and(|(name, _)| !name.starts_with('$')) => {
            inner.iter().all(|(_, value)| takes_away(value))
        }
        value => flag(value) == Some(false),
    }
}
