//! Filter files: a pipeline, or a document `{survey, permissions, pipeline}`. Text in, filter or all problems out; no file is opened here.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::parse::{Problem, suggestion};
use crate::program::{Program, Rules};

/// What a filter file holds.
#[derive(Debug, Clone)]
pub struct FilterFile {
    /// The survey whose alerts it is for, spelt as the surveys are; every one where there is none.
    pub survey: Option<String>,
    /// Access programmes that it may see, by survey, where the file says.
    pub permissions: Option<BTreeMap<String, Vec<u8>>>,
    /// The pipeline.
    pub program: Program,
    /// Whether the pipeline stands in a document.
    in_document: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    survey: Option<String>,
    permissions: Option<BTreeMap<String, Vec<u8>>>,
    #[serde(borrow)]
    pipeline: &'a RawValue,
}

impl FilterFile {
    /// Where in the file a place in the pipeline is.
    pub fn place(&self, place: &str) -> String {
        if self.in_document { format!("pipeline{place}") } else { place.to_owned() }
    }

    /// Compiles the text of a file; `surveys` are the names that there are.
    ///
    /// # Errors
    /// All that is wrong with it, each with its path into the JSON.
    pub fn parse(text: &str, rules: Rules, surveys: &[&str]) -> Result<Self, Vec<Problem>> {
        Self::parse_in(text, rules, surveys, &Dialect::default())
    }

    /// As [`FilterFile::parse`], in a dialect: with the extensions that it has.
    ///
    /// # Errors
    /// All that is wrong with it, each with its path into the JSON.
    pub fn parse_in(text: &str, rules: Rules, surveys: &[&str], dialect: &Dialect) -> Result<Self, Vec<Problem>> {
        if !text.trim_start().starts_with('{') {
            let program = Program::parse_in(text, rules, dialect)?;
            return Ok(Self { survey: None, permissions: None, program, in_document: false });
        }
        let problem = |path: String, message: String| Problem { path, message };
        let written: Written<'_> = serde_json::from_str(text).map_err(|error| {
            let wanted = "a filter is a list of stages, or a document with `pipeline` and, if wanted, `survey` and \
                          `permissions` ({\"ZTF\": [1]})";
            let what = if error.is_syntax() || error.is_eof() { "it is not JSON: " } else { "" };
            vec![problem(String::new(), format!("{what}{error}; {wanted}"))]
        })?;
        let mut problems = Vec::new();
        let mut known = |name: &str, path: String| {
            let spelt = surveys.iter().find(|survey| survey.eq_ignore_ascii_case(name));
            if spelt.is_none() {
                problems
                    .push(problem(path, format!("`{name}` is no survey{}", suggestion(name, surveys.iter().copied()))));
            }
            spelt.map(|survey| (*survey).to_owned())
        };
        let survey = written.survey.and_then(|name| known(&name, "survey".to_owned()));
        let permissions = written.permissions.map(|named| {
            let spelt = named.into_iter();
            spelt
                .filter_map(|(name, programs)| Some((known(&name, format!("permissions.{name}"))?, programs)))
                .collect()
        });
        match Program::parse_in(written.pipeline.get(), rules, dialect) {
            Ok(program) if problems.is_empty() => Ok(Self { survey, permissions, program, in_document: true }),
            Ok(_) => Err(problems),
            Err(own) => {
                let own = own.into_iter();
                problems.extend(own.map(|own| problem(format!("pipeline{}", own.path), own.message)));
                Err(problems)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURVEYS: &[&str] = &["ZTF", "LSST"];
    const PIPELINE: &str = r#"[{"$match": {"candidate.drb": {"$gt": 0.5}}}, {"$project": {"objectId": 1}}]"#;

    #[test]
    fn a_pipeline_and_a_document_with_one_are_the_same_filter() {
        let bare = FilterFile::parse(PIPELINE, Rules::Filter, SURVEYS).expect("it is a filter");
        let text = format!(r#"{{"survey": "ztf", "permissions": {{"ZTF": [1, 2]}}, "pipeline": {PIPELINE}}}"#);
        let document = FilterFile::parse(&text, Rules::Filter, SURVEYS).expect("it is a filter");
        assert_eq!(bare.program.version(), document.program.version());
        assert_eq!(document.survey.as_deref(), Some("ZTF"), "a survey is spelt in one way");
        assert_eq!(document.permissions.expect("the file says")["ZTF"], [1, 2]);
        assert_eq!((bare.survey, bare.permissions), (None, None));
    }

    #[test]
    fn every_problem_has_its_path() {
        let text = r#"{"survey": "HST", "permissions": {"JWST": [1]}, "pipeline": [{"$lookup": {}}]}"#;
        let problems = FilterFile::parse(text, Rules::Filter, SURVEYS).expect_err("it is no filter");
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths[..2], ["survey", "permissions.JWST"]);
        assert!(paths[2].starts_with("pipeline[0]"), "{problems:?}");
        let unknown = FilterFile::parse(r#"{"pipelines": []}"#, Rules::Filter, SURVEYS).expect_err("it is no filter");
        assert!(unknown[0].message.contains("pipelines"), "{unknown:?}");
        let broken = FilterFile::parse("{\"pipeline\": [}", Rules::Filter, SURVEYS).expect_err("it is no filter");
        assert!(broken[0].message.contains("not JSON") && broken[0].message.contains("line 1"), "{broken:?}");
    }
}
