//! `boomctl filter eval`: a pipeline on any documents.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use boom_filter::{Outcome, Program, Rules};
use boom_sky::units::Jd;
use bson::{Bson, Document, RawDocumentBuf};
use clap::Args;
use serde_json::{Value, json};

use super::INVALID;
use super::file::{self, report};
use crate::output;

/// Run a pipeline on documents: canonical Extended JSON, one a line.
///
/// For each it prints one line: {"document": …} with what the pipeline gives (canonical Extended JSON), {"rejected": true}, or {"error": "…"}.
/// $$NOW is the document's candidate.jd, or the present where it has none.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A pipeline, or a document {survey, permissions, pipeline}
    pipeline: PathBuf,
    /// Documents, one a line; - is standard input
    #[arg(value_name = "DOCS.jsonl")]
    documents: PathBuf,
    /// Leave out the rules of a filter ($match, last $project, objectId)
    #[arg(long)]
    no_rules: bool,
    /// The answer is JSON always
    #[arg(long = "json", hide = true)]
    _json: bool,
}

impl EvalArgs {
    /// Runs it.
    ///
    /// # Errors
    /// A file can not be read, or the answer not be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let rules = if self.no_rules { Rules::None } else { Rules::Filter };
        let program = match file::read(&self.pipeline, rules)? {
            Ok(filter) => filter.program,
            Err(problems) => {
                report(&self.pipeline, &problems)?;
                return Ok(ExitCode::from(INVALID));
            }
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let mut reader = open(&self.documents)?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            if read.with_context(|| format!("reading {}", self.documents.display()))? == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            if !line.trim_ascii().is_empty() {
                output::line(&answer(&program, &line, now))?;
            }
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("reading the documents {}", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

/// What the pipeline makes of one line.
fn answer(program: &Program, line: &[u8], now: i64) -> Value {
    let evaluated = read(line).and_then(|document| {
        let now = document.get_document("candidate").ok().and_then(|candidate| candidate.get_f64("jd").ok());
        let raw =
            RawDocumentBuf::try_from(&document).map_err(|error| format!("the line is not a document: {error}"))?;
        Ok((raw, now))
    });
    let outcome = match evaluated {
        Ok((document, jd)) => program.evaluate(&document, jd.map_or(now, |jd| Jd(jd).unix_millis())),
        Err(error) => return json!({ "error": error }),
    };
    match outcome {
        Outcome::Passed(document) => match Document::try_from(document.as_ref()) {
            Ok(document) => json!({"document": output::canonical(document)}),
            Err(error) => {
                json!({"error": format!("the resulting document can not be read: {error}")})
            }
        },
        Outcome::Rejected => json!({"rejected": true}),
        Outcome::Failed(error) => json!({"error": error.to_string()}),
    }
}

fn read(line: &[u8]) -> Result<Document, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("the line is not JSON: {error}"))?;
    match Bson::try_from(value) {
        Ok(Bson::Document(document)) => Ok(document),
        Ok(other) => Err(format!("the line is not a document but {:?}", other.element_type())),
        Err(error) => Err(format!("the line is not Extended JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(text: &str) -> Program {
        Program::parse(text, Rules::None).expect("it is a pipeline")
    }

    #[test]
    fn the_answer_keeps_the_types_of_the_numbers() {
        let program =
            program(r#"[{"$match": {"a": {"$gt": 1}}}, {"$project": {"a": 1, "b": {"$add": ["$a", 1]}, "_id": 0}}]"#);
        let answer = |line: &str| answer(&program, line.as_bytes(), 0).to_string();
        assert_eq!(
            answer(r#"{"_id": {"$numberInt": "1"}, "a": {"$numberLong": "9007199254740993"}}"#),
            r#"{"document":{"a":{"$numberLong":"9007199254740993"},"b":{"$numberLong":"9007199254740994"}}}"#
        );
        assert_eq!(
            answer(r#"{"_id": 1, "a": {"$numberDouble": "1.5"}}"#),
            r#"{"document":{"a":{"$numberDouble":"1.5"},"b":{"$numberDouble":"2.5"}}}"#
        );
        assert_eq!(answer(r#"{"a": 1}"#), r#"{"rejected":true}"#);
    }

    #[test]
    fn a_line_that_is_no_document_is_an_error_of_its_own() {
        let program = program(r#"[{"$match": {}}]"#);
        for (line, said) in
            [("{", "not JSON"), ("[1]", "not a document"), (r#"{"a": {"$numberInt": "x"}}"#, "not Extended JSON")]
        {
            let answer = answer(&program, line.as_bytes(), 0);
            assert!(answer["error"].as_str().is_some_and(|error| error.contains(said)), "{answer}");
        }
    }

    #[test]
    fn an_operator_that_refuses_a_value_is_an_error_with_its_place() {
        let program = program(r#"[{"$project": {"a": {"$sqrt": "$a"}}}]"#);
        let answer = answer(&program, br#"{"a": "x"}"#, 0);
        assert!(answer["error"].as_str().is_some_and(|error| error.contains("$sqrt")), "{answer}");
    }
}
