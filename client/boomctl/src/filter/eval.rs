//! `boomctl filter eval`: a pipeline on any documents.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use boom_filter::{FilterSet, Outcome, Program, Rules, Scratch};
use bson::RawDocumentBuf;
use clap::Args;
use serde_json::json;

use super::dialect::DialectArgs;
use super::file::{self, report};
use super::{INVALID, extjson};

/// Output is written in pieces of this size, and whenever there is nothing left to read.
const BUFFER: usize = 1 << 16;

/// Run a pipeline on documents: canonical Extended JSON, one a line.
///
/// For each it prints one line: {"document": …} with what the pipeline gives (canonical Extended JSON), {"rejected": true}, or {"error": "…"}.
/// Where an $unwind gives several documents, the first is the document and "documents": […] beside it are all.
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
    #[command(flatten)]
    dialect: DialectArgs,
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
        let program = match file::read(&self.pipeline, rules, &self.dialect.dialect()?)? {
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
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        let mut evaluator = Evaluator::new(program, file::multiplies(&file::stages(&self.pipeline)?), now);
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.buffer().is_empty() {
                // Who writes the documents may wait for the answers.
                out.flush().context("writing to standard output")?;
            }
            let read = reader.read_until(b'\n', &mut line);
            if read.with_context(|| format!("reading {}", self.documents.display()))? == 0 {
                out.flush().context("writing to standard output")?;
                return Ok(ExitCode::SUCCESS);
            }
            if !line.trim_ascii().is_empty() {
                out.write_all(evaluator.answer(&line)).context("writing to standard output")?;
            }
        }
    }
}

fn open(path: &Path) -> anyhow::Result<BufReader<Box<dyn Read>>> {
    let file: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(|| format!("reading the documents {}", path.display()))?)
    };
    Ok(BufReader::with_capacity(BUFFER, file))
}

/// Answers line by line, with the same memory.
struct Evaluator {
    set: FilterSet,
    /// The program, where it can make several documents of one.
    several: Option<Program>,
    scratch: Scratch,
    now: i64,
    out: Vec<u8>,
}

impl Evaluator {
    fn new(program: Program, multiplies: bool, now: i64) -> Self {
        let several = multiplies.then(|| program.clone());
        let set = FilterSet::new(vec![program]);
        Self { scratch: set.scratch(), set, several, now, out: Vec::new() }
    }

    /// What the pipeline makes of one line, as a line.
    fn answer(&mut self, line: &[u8]) -> &[u8] {
        let Self { set, several, scratch, now, out } = self;
        out.clear();
        let answered = extjson::read(line).and_then(|document| {
            let now = extjson::time(&document).unwrap_or(*now);
            if let Some(program) = several {
                let all = program.evaluate_all(&document, now).map_err(|error| error.to_string())?;
                return answer_all(&all, out);
            }
            let mut answered = Ok(());
            set.evaluate(&document, now, scratch, |_, outcome| answered = self::answer(outcome, out));
            answered
        });
        if let Err(error) = answered {
            out.clear();
            out.extend_from_slice(json!({ "error": error }).to_string().as_bytes());
        }
        out.push(b'\n');
        out
    }
}

/// The first of several documents, and all of them where there are more.
fn answer_all(all: &[RawDocumentBuf], out: &mut Vec<u8>) -> Result<(), String> {
    let [first, more @ ..] = all else {
        out.extend_from_slice(b"{\"rejected\":true}");
        return Ok(());
    };
    out.extend_from_slice(b"{\"document\":");
    extjson::write(first, out)?;
    if !more.is_empty() {
        for (at, document) in all.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b",\"documents\":[" } else { b"," });
            extjson::write(document, out)?;
        }
        out.push(b']');
    }
    out.push(b'}');
    Ok(())
}

fn answer(outcome: &Outcome, out: &mut Vec<u8>) -> Result<(), String> {
    match outcome {
        Outcome::Passed(document) => {
            out.extend_from_slice(b"{\"document\":");
            extjson::write(document, out)?;
            out.push(b'}');
            Ok(())
        }
        Outcome::Rejected => {
            out.extend_from_slice(b"{\"rejected\":true}");
            Ok(())
        }
        Outcome::Failed(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluator(text: &str) -> Evaluator {
        Evaluator::new(Program::parse(text, Rules::None).expect("it is a pipeline"), text.contains("$unwind"), 0)
    }

    fn answer(evaluator: &mut Evaluator, line: &str) -> String {
        let line = evaluator.answer(line.as_bytes());
        std::str::from_utf8(line).expect("JSON is text").trim_end().to_owned()
    }

    #[test]
    fn the_answer_keeps_the_types_of_the_numbers() {
        let mut evaluator =
            evaluator(r#"[{"$match": {"a": {"$gt": 1}}}, {"$project": {"a": 1, "b": {"$add": ["$a", 1]}, "_id": 0}}]"#);
        let mut answer = |line: &str| answer(&mut evaluator, line);
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
    fn several_documents_are_told_beside_the_first() {
        let mut evaluator =
            evaluator(r#"[{"$unwind": "$a"}, {"$match": {"a": {"$gt": "b"}}}, {"$project": {"_id": 0, "a": 1}}]"#);
        let mut answer = |line: &str| answer(&mut evaluator, line);
        assert_eq!(answer(r#"{"a": ["c", "a", "d"]}"#), r#"{"document":{"a":"c"},"documents":[{"a":"c"},{"a":"d"}]}"#);
        assert_eq!(answer(r#"{"a": ["c", "a"]}"#), r#"{"document":{"a":"c"}}"#);
        assert_eq!(answer(r#"{"a": []}"#), r#"{"rejected":true}"#);
    }

    #[test]
    fn a_line_that_is_no_document_is_an_error_of_its_own() {
        let mut evaluator = evaluator(r#"[{"$match": {}}]"#);
        for (line, said) in
            [("{", "not JSON"), ("[1]", "not a document"), (r#"{"a": {"$numberInt": "x"}}"#, "not Extended JSON")]
        {
            let answer = answer(&mut evaluator, line);
            assert!(answer.starts_with(r#"{"error":"#) && answer.contains(said), "{answer}");
        }
    }

    #[test]
    fn an_operator_that_refuses_a_value_is_an_error_with_its_place() {
        let mut evaluator = evaluator(r#"[{"$project": {"a": {"$sqrt": "$a"}}}]"#);
        let answer = answer(&mut evaluator, r#"{"a": "x"}"#);
        assert!(answer.starts_with(r#"{"error":"#) && answer.contains("$sqrt"), "{answer}");
    }
}
