//! Fields that a filter reads and that no alert has: the check of a filter's paths against the documents of surveys.

use boom_filter::FilterFile;
use boom_sky::fields::{DocumentSchema, Unknown};
use boom_sky::survey::{SURVEYS, Survey};
use serde_json::{Value, json};

use crate::store::names;

/// A field that is unknown, and where it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The path into the file's JSON.
    pub(crate) path: String,
    /// What is read there, and what there is.
    pub(crate) message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Warning {
    /// As an object.
    pub(crate) fn json(&self) -> Value {
        json!({"path": self.path, "message": self.message})
    }
}

/// The surveys whose documents the filter is checked against: its own, else the one that was asked for, else all.
pub(crate) fn surveys(filter: &FilterFile, asked: Option<&'static Survey>) -> Vec<&'static Survey> {
    let own = filter.survey.as_deref().and_then(Survey::by_name);
    own.or(asked).map_or_else(|| SURVEYS.to_vec(), |survey| vec![survey])
}

/// Every field that is read and that no alert of these surveys has.
pub(crate) fn unknown(filter: &FilterFile, surveys: &[&'static Survey]) -> Vec<Warning> {
    let schemas: Vec<_> = surveys.iter().map(|survey| survey.document_schema()).collect();
    let mut warnings = Vec::new();
    for read in filter.program.paths() {
        let found: Result<Vec<_>, ()> = schemas
            .iter()
            .map(|schema| schema.find(&read.path).err().map(|unknown| (*schema, unknown)).ok_or(()))
            .collect();
        let Ok(unknown) = found else { continue };
        let warning = Warning { path: filter.place(&read.place), message: message(&read.path, &unknown, surveys) };
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

/// What is read, in which surveys it is unknown, and the nearest that there is.
fn message(path: &str, unknown: &[(&DocumentSchema, Unknown<'_>)], surveys: &[&Survey]) -> String {
    let whose = if surveys.len() == SURVEYS.len() { "any survey".to_owned() } else { names(surveys) };
    let first = &unknown[0].1;
    let nearest = unknown.iter().filter_map(|(schema, unknown)| nearest(schema, unknown)).min();
    let hint = match nearest {
        Some((_, name)) => format!("; did you mean `{name}`?"),
        None if first.allowed.is_empty() && !first.within.is_empty() => {
            format!("; `{}` is a value without fields", first.within)
        }
        None => String::new(),
    };
    format!("no alert of {whose} has the field `{path}`{hint} (boomctl schema {} lists them)", surveys[0].name)
}

/// The nearest name beside the unknown one, with its distance; else a field of that very name elsewhere.
fn nearest(schema: &DocumentSchema, unknown: &Unknown<'_>) -> Option<(usize, String)> {
    let within =
        |name: &str| if unknown.within.is_empty() { name.to_owned() } else { format!("{}.{name}", unknown.within) };
    let (written, near) = (unknown.name.to_lowercase(), (unknown.name.len() / 3).max(1));
    let distance = |name: &str| strsim::damerau_levenshtein(&written, &name.to_lowercase());
    let beside = unknown.allowed.iter().map(|name| (distance(name), within(name))).min();
    if unknown.allowed.is_empty() {
        return None;
    }
    beside.filter(|(distance, _)| *distance <= near).or_else(|| {
        let paths = schema.paths().into_iter();
        let same = paths.filter(|(path, field)| field.name == unknown.name && !path.contains('*'));
        same.map(|(path, _)| (near + 1, path))
            .min_by_key(|(_, path)| (path.matches('.').count(), !path.starts_with("candidate.")))
    })
}

#[cfg(test)]
mod tests {
    use boom_filter::Rules;

    use super::*;

    fn warnings(text: &str, survey: Option<&str>) -> Vec<String> {
        let names: Vec<&str> = SURVEYS.iter().map(|survey| survey.name).collect();
        let filter = FilterFile::parse(text, Rules::None, &names).expect("it is a filter");
        let surveys = surveys(&filter, survey.and_then(Survey::by_name));
        unknown(&filter, &surveys).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelt_field_is_told_with_its_place_and_the_nearest_name() {
        let found = warnings(r#"{"survey": "ZTF", "pipeline": [{"$match": {"candidate.magpfs": {"$lt": 18}}}]}"#, None);
        assert_eq!(
            found,
            [
                "pipeline[0].$match.candidate.magpfs: no alert of ZTF has the field `candidate.magpfs`; did you mean `candidate.magpsf`? \
              (boomctl schema ZTF lists them)"
            ]
        );
        let found = warnings(r#"[{"$match": {"magpsf": 1}}]"#, Some("ZTF"));
        assert!(found[0].contains("did you mean `candidate.magpsf`?"), "{found:?}");
        let found = warnings(r#"[{"$match": {"candidate.magpsf.x": 1}}]"#, Some("ZTF"));
        assert!(found[0].contains("`candidate.magpsf` is a value without fields"), "{found:?}");
    }

    #[test]
    fn a_point_of_a_series_is_looked_up_too() {
        let pipeline =
            r#"[{"$set": {"x": {"$filter": {"input": "$prv_nondetections", "as": "p", "cond": "$$p.magpsf"}}}}]"#;
        assert!(warnings(pipeline, Some("ZTF"))[0].contains("`prv_nondetections.magpsf`"));
    }

    #[test]
    fn a_field_of_one_survey_is_known_to_a_filter_of_all() {
        let pipeline = r#"[{"$match": {"candidate.drb": 1, "candidate.reliability": 1, "candidate.nothing": 1}}]"#;
        let found = warnings(pipeline, None);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("no alert of any survey has the field `candidate.nothing`"), "{found:?}");
        assert_eq!(warnings(pipeline, Some("lsst")).len(), 2);
    }
}
