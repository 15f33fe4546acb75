//! What the tests share: documents from Extended JSON, and answers as one text.
#![allow(dead_code, unreachable_pub, reason = "each test file takes what it needs")]

use boom_filter::{Outcome, Problem, Program, Rules};
use bson::{Bson, RawDocumentBuf};
use serde_json::{Value, json};

/// The alert's time in the tests.
pub const NOW: i64 = 1_600_000_000_000;

/// A document from Extended JSON.
pub fn document(json: &Value) -> RawDocumentBuf {
    let bson = Bson::try_from(json.clone()).expect("the test's document is Extended JSON");
    RawDocumentBuf::try_from(bson.as_document().expect("the test's document is one")).expect("it can be written")
}

/// An outcome in the form of the tables: a document in canonical Extended JSON, rejected, or an error.
pub fn answer(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Passed(document) => {
            let document = bson::Document::try_from(document.as_ref()).expect("what passes on is valid BSON");
            json!({ "document": Bson::Document(document).into_canonical_extjson() })
        }
        Outcome::Rejected => json!({ "rejected": true }),
        Outcome::Failed(_) => json!({ "error": true }),
    }
}

/// A program, or the panic that lists its problems.
pub fn program(json: &Value, rules: Rules) -> Program {
    Program::parse(&json.to_string(), rules).unwrap_or_else(|problems| panic!("{}", listed(&problems)))
}

/// All problems of a pipeline, one a line.
pub fn problems(text: &str, rules: Rules) -> String {
    match Program::parse(text, rules) {
        Ok(_) => String::new(),
        Err(problems) => listed(&problems),
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
