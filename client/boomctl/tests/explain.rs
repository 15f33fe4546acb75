//! `boomctl filter check` and `explain`, run as one runs them.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

mod common;

use std::fs;

use common::{ZtfPacket, boomctl, error, json_lines};
use serde_json::{Value, json};
use tempfile::TempDir;

fn write(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

fn filter(limit: f64) -> Value {
    json!([
        {"$match": {"candidate.magpsf": {"$lt": 19}, "candidate.fid": 2}},
        {"$set": {"recent": {"$size": {"$filter": {"input": "$prv_candidates", "as": "p", "cond": {"$lt": ["$$p.magpsf", limit]}}}}}},
        {"$match": {"$expr": {"$gte": ["$recent", 2]}}},
        {"$project": {"objectId": 1, "annotations": {"recent": "$recent", "root": {"$sqrt": {"$subtract": ["$candidate.magpsf", 18]}}}}},
    ])
}

fn explain(filter: &Value, packet: &ZtfPacket) -> Value {
    let directory = TempDir::new().unwrap();
    let filter = write(&directory, "filter.json", filter.to_string());
    let alert = write(&directory, "alert.avro", packet.bytes());
    let output = boomctl(&["filter", "explain", "--json", &filter, &alert]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    json_lines(&output).remove(0)
}

fn outcomes(answer: &Value) -> Vec<&str> {
    answer["stages"].as_array().unwrap().iter().map(|stage| stage["outcome"].as_str().unwrap()).collect()
}

#[test]
fn an_unknown_field_is_a_warning_and_with_strict_a_problem() {
    let directory = TempDir::new().unwrap();
    let pipeline = json!([{"$match": {"candidate.magpfs": {"$lt": 19}}}, {"$project": {"objectId": 1}}]);
    let file = write(&directory, "f.json", json!({"survey": "ZTF", "pipeline": pipeline}).to_string());
    let said = "pipeline[0].$match.candidate.magpfs: no alert of ZTF has the field `candidate.magpfs`; did you mean `candidate.magpsf`?";
    let warned = boomctl(&["filter", "check", &file]);
    assert_eq!(warned.status.code(), Some(0));
    assert!(error(&warned).contains(&format!("warning: {said}")), "{}", error(&warned));
    let refused = boomctl(&["filter", "check", "--strict", &file]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(error(&refused).contains(said) && !error(&refused).contains("warning"), "{}", error(&refused));
    let listed = json_lines(&boomctl(&["filter", "check", "--json", &file])).remove(0);
    assert_eq!(listed["problems"], json!([]));
    assert_eq!(listed["warnings"][0]["path"], "pipeline[0].$match.candidate.magpfs");
    let strict = json_lines(&boomctl(&["filter", "check", "--json", "--strict", &file])).remove(0);
    assert_eq!((strict["problems"].as_array().unwrap().len(), &strict["warnings"]), (1, &json!([])));
    // A bare pipeline is of every survey, or of the one that is named.
    let bare = write(
        &directory,
        "bare.json",
        json!([{"$match": {"candidate.reliability": 1}}, {"$project": {"objectId": 1}}]).to_string(),
    );
    assert_eq!(boomctl(&["filter", "check", "--strict", &bare]).status.code(), Some(0));
    assert_eq!(boomctl(&["filter", "check", "--strict", "--survey", "ZTF", &bare]).status.code(), Some(2));
}

#[test]
fn an_alert_that_passes_is_followed_to_what_is_passed_on() {
    let answer = explain(&filter(19.5), &ZtfPacket { magnitude: 18.25, ..ZtfPacket::default() });
    assert_eq!(outcomes(&answer), ["passed", "changed", "passed", "changed"]);
    assert_eq!(answer["stages"][1]["changes"]["new"], json!(["recent"]));
    assert_eq!(answer["result"]["annotations"], json!({"recent": 2, "root": 0.5}));
    assert_eq!(answer["series"], json!(["prv_candidates"]));
    assert!(answer["measured"]["steps"].as_u64().unwrap() <= answer["cost"]["steps"].as_u64().unwrap(), "{answer}");
}

#[test]
fn the_clause_that_rejects_is_told_with_the_values_that_it_saw() {
    let answer = explain(&filter(19.5), &ZtfPacket { magnitude: 19.5, ..ZtfPacket::default() });
    assert_eq!(outcomes(&answer), ["rejected", "not reached", "not reached", "not reached"]);
    let clauses = answer["stages"][0]["clauses"].as_array().unwrap();
    assert_eq!(clauses.len(), 1, "the other clause is true: {clauses:?}");
    assert_eq!(clauses[0]["path"], "[0].$match.candidate.magpsf.$lt");
    assert_eq!(clauses[0]["message"], "candidate.magpsf = 19.5, wanted $lt 19");
    let answer = explain(&filter(18.5), &ZtfPacket { magnitude: 18.25, ..ZtfPacket::default() });
    assert_eq!(outcomes(&answer), ["passed", "changed", "rejected", "not reached"]);
    assert_eq!(answer["stages"][2]["clauses"][0]["message"], "recent = 1, wanted $gte 2");
}

#[test]
fn a_stage_that_fails_is_told_with_its_place() {
    let answer = explain(&filter(19.5), &ZtfPacket { magnitude: 17.0, ..ZtfPacket::default() });
    assert_eq!(outcomes(&answer), ["passed", "changed", "passed", "failed"]);
    assert_eq!(answer["stages"][3]["error"]["path"], "[3].$project.annotations.root.$sqrt");
    assert_eq!(answer["passed"], false);
}

#[test]
fn people_get_lines_and_any_document_will_do() {
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "filter.json", filter(19.5).to_string());
    let document = r#"{"candidate": {"jd": {"$numberDouble": "2460000.5"}, "magpsf": {"$numberDouble": "18.5"}, "fid": {"$numberInt": "1"}}}"#;
    let alert = write(&directory, "alert.json", document);
    let output = boomctl(&["filter", "explain", &file, &alert]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in
        ["is rejected", "candidate.fid = 1, wanted 2", "cutouts  none", "steps", "passes where candidate.magpsf < 19"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let alone = boomctl(&["filter", "explain", &file]);
    assert!(
        String::from_utf8(alone.stdout).unwrap().contains("computes recent"),
        "without an alert it tells what it does"
    );
}

#[test]
fn properties_are_those_that_the_filter_may_know_of() {
    let pipeline = json!([{"$match": {}}, {"$project": {"objectId": 1, "annotations": {"s": "$properties.stationary", "rock": "$properties.rock"}}}]);
    let directory = TempDir::new().unwrap();
    let file = write(&directory, "filter.json", pipeline.to_string());
    let alert = write(&directory, "alert.avro", ZtfPacket::default().bytes());
    let answer = json_lines(&boomctl(&["filter", "test", &file, &alert])).remove(0);
    assert_eq!(answer["annotations"], json!({"s": true, "rock": false}), "two detections, ten days apart");
}

#[test]
fn the_examples_of_the_documents_are_filters_without_a_warning() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/filters.md");
    let text = fs::read_to_string(path).unwrap();
    let directory = TempDir::new().unwrap();
    let examples: Vec<_> = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 2, "one for ZTF and one for LSST");
    for example in examples {
        let file = write(&directory, "example.json", example);
        let output = boomctl(&["filter", "check", "--strict", &file]);
        assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    }
}
