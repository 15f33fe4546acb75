//! Filter files: a pipeline, or a document `{survey, permissions, pipeline}`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use boom_filter::{Problem, Program, Rules};
use boom_sky::survey::Survey;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::store;

/// What a file holds.
#[derive(Debug)]
pub(crate) struct FilterFile {
    /// The survey whose alerts it is for; all where there is none.
    pub(crate) survey: Option<&'static Survey>,
    /// Access programmes that it may see, by survey; all where the file does not say.
    pub(crate) permissions: Option<BTreeMap<String, Vec<u8>>>,
    /// The pipeline.
    pub(crate) program: Program,
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
    /// Reads and compiles the file; the inner error is all that is wrong with the filter.
    ///
    /// # Errors
    /// The file can not be read.
    pub(crate) fn read(path: &Path, rules: Rules) -> anyhow::Result<Result<Self, Vec<Problem>>> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("reading the filter {}", path.display()))?;
        Ok(Self::parse(&text, rules))
    }

    /// Compiles the text of a file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn parse(text: &str, rules: Rules) -> Result<Self, Vec<Problem>> {
        if !text.trim_start().starts_with('{') {
            return Ok(Self {
                survey: None,
                permissions: None,
                program: Program::parse(text, rules)?,
            });
        }
        let problem = |path: &str, message: String| Problem { path: path.to_owned(), message };
        let written: Written<'_> = serde_json::from_str(text).map_err(|error| {
            let wanted = "a filter is a list of stages, or a document with `pipeline` and, if wanted, `survey` and `permissions` \
                          ({\"ZTF\": [1]})";
            vec![problem("", format!("{error}; {wanted}"))]
        })?;
        let mut problems = Vec::new();
        let survey = written.survey.and_then(|name| {
            store::survey(&name)
                .map_err(|error| problems.push(problem("survey", format!("`{name}`: {error}"))))
                .ok()
        });
        for name in written.permissions.iter().flat_map(BTreeMap::keys) {
            if let Err(error) = store::survey(name) {
                problems.push(problem(&format!("permissions.{name}"), error));
            }
        }
        match Program::parse(written.pipeline.get(), rules) {
            Ok(program) if problems.is_empty() => {
                Ok(Self { survey, permissions: written.permissions, program })
            }
            Ok(_) => Err(problems),
            Err(own) => {
                problems.extend(
                    own.into_iter()
                        .map(|own| problem(&format!("pipeline{}", own.path), own.message)),
                );
                Err(problems)
            }
        }
    }

    /// The access programmes of a survey that the filter may see; `None` for all.
    pub(crate) fn programs(&self, survey: &Survey) -> Option<&[u8]> {
        survey.access?;
        Some(self.permissions.as_ref()?.get(survey.name).map_or(&[], Vec::as_slice))
    }
}

/// Says all that is wrong with a filter.
pub(crate) fn report(path: &Path, problems: &[Problem]) -> io::Result<()> {
    let mut err = io::stderr().lock();
    problems.iter().try_for_each(|problem| writeln!(err, "{}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str =
        r#"[{"$match": {"candidate.drb": {"$gt": 0.5}}}, {"$project": {"objectId": 1}}]"#;

    #[test]
    fn a_pipeline_and_a_document_with_one_are_the_same_filter() {
        let bare = FilterFile::parse(PIPELINE, Rules::Filter).expect("it is a filter");
        let text = format!(
            r#"{{"survey": "ZTF", "permissions": {{"ZTF": [1, 2]}}, "pipeline": {PIPELINE}}}"#
        );
        let document = FilterFile::parse(&text, Rules::Filter).expect("it is a filter");
        assert_eq!(bare.program.version(), document.program.version());
        let ztf = document.survey.expect("it names its survey");
        assert_eq!((ztf.name, document.programs(ztf)), ("ZTF", Some(&[1, 2][..])));
        assert_eq!(bare.programs(ztf), None);
    }

    #[test]
    fn every_problem_has_its_path() {
        let text =
            r#"{"survey": "HST", "permissions": {"JWST": [1]}, "pipeline": [{"$lookup": {}}]}"#;
        let problems = FilterFile::parse(text, Rules::Filter).expect_err("it is no filter");
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths[..2], ["survey", "permissions.JWST"]);
        assert!(paths[2].starts_with("pipeline[0]"), "{problems:?}");
        let unknown =
            FilterFile::parse(r#"{"pipelines": []}"#, Rules::Filter).expect_err("it is no filter");
        assert!(unknown[0].message.contains("pipelines"), "{unknown:?}");
    }
}
