//! `boomctl filter`, run as one runs it.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{CANDID, OBJECT, ZtfPacket, boomctl, boomctl_with, error, json_lines};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Passes what is brighter than 19 mag, and says what the filter saw of the light curve.
fn pipeline() -> Value {
    json!([
        {"$match": {"candidate.magpsf": {"$lt": 19}, "cross_matches": {}, "LSST.prv_candidates": []}},
        {"$project": {"objectId": 1, "annotations": {
            "points": {"$size": "$prv_candidates"},
            "limits": {"$size": "$prv_nondetections"},
            "scores": "$classifications",
            "root": {"$sqrt": {"$subtract": ["$candidate.magpsf", 18.0]}},
        }}},
    ])
}

fn write(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn a_filter_is_tried_on_packets_a_line_each() {
    let directory = TempDir::new().unwrap();
    let filter = write(&directory, "filter.json", pipeline().to_string());
    let bright = write(&directory, "bright.avro", ZtfPacket { magnitude: 18.25, ..ZtfPacket::default() }.bytes());
    let faint =
        write(&directory, "faint.avro", ZtfPacket { candid: 8, magnitude: 19.5, ..ZtfPacket::default() }.bytes());
    let failing =
        write(&directory, "failing.avro", ZtfPacket { candid: 9, magnitude: 17.0, ..ZtfPacket::default() }.bytes());
    let broken = write(&directory, "broken.avro", b"Obj\x01");
    let output = boomctl(&["filter", "test", &filter, &bright, &faint, &failing, &broken]);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let lines = json_lines(&output);
    let annotations = json!({"points": 2, "limits": 1, "scores": {}, "root": 0.5});
    assert_eq!(lines[0], json!({"candid": CANDID, "objectId": OBJECT, "passed": true, "annotations": annotations}));
    assert_eq!(lines[1], json!({"candid": 8, "objectId": OBJECT, "passed": false, "annotations": {}}));
    assert_eq!(lines[2]["candid"], 9);
    assert!(lines[2]["error"].as_str().unwrap().contains("$sqrt"), "{}", lines[2]);
    assert!(lines[3]["error"].as_str().unwrap().contains("broken.avro"), "{}", lines[3]);
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_filter_does_not_see_points_that_are_older_than_a_year() {
    let directory = TempDir::new().unwrap();
    let filter = write(&directory, "filter.json", pipeline().to_string());
    let old = ZtfPacket { magnitude: 18.25, earlier: 2_460_000.5 - 365.0, ..ZtfPacket::default() };
    let output = boomctl(&["filter", "test", &filter, &write(&directory, "old.avro", old.bytes())]);
    assert_eq!(json_lines(&output)[0]["annotations"]["points"], 1);
}

#[test]
fn a_filter_without_the_permission_never_sees_the_alert() {
    let directory = TempDir::new().unwrap();
    let text = |programs: &[u8]| {
        json!({"survey": "ZTF", "permissions": {"ZTF": programs}, "pipeline": pipeline()}).to_string()
    };
    let (may, may_not) = (write(&directory, "may.json", text(&[1, 2])), write(&directory, "may_not.json", text(&[1])));
    let packet = ZtfPacket { magnitude: 18.25, program: 2, ..ZtfPacket::default() };
    let alert = write(&directory, "partner.avro", packet.bytes());
    assert_eq!(json_lines(&boomctl(&["filter", "test", &may, &alert]))[0]["passed"], true);
    let answer = json_lines(&boomctl(&["filter", "test", &may_not, &alert])).remove(0);
    assert!(answer["error"].as_str().unwrap().contains("programme 2"), "{answer}");
}

#[test]
fn an_invalid_filter_is_refused_with_all_of_its_problems() {
    let directory = TempDir::new().unwrap();
    let text = json!([{"$match": {"a": {"$near": 1}}}, {"$lookup": {}}, {"$project": {"objectId": 1}}]).to_string();
    let (filter, alert) =
        (write(&directory, "bad.json", text), write(&directory, "alert.avro", ZtfPacket::default().bytes()));
    for arguments in
        [&["filter", "test", &filter, &alert][..], &["filter", "check", &filter], &["filter", "eval", &filter, "-"]]
    {
        let output = boomctl(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(error(&output).contains("$near") && error(&output).contains("[1].$lookup"), "{}", error(&output));
        assert!(output.stdout.is_empty());
    }
    let listed = json_lines(&boomctl(&["filter", "check", &filter, "--json"])).remove(0);
    assert_eq!(listed["problems"].as_array().unwrap().len(), 2, "{listed}");
}

#[test]
fn a_pipeline_runs_on_documents_from_standard_input() {
    let directory = TempDir::new().unwrap();
    let pipeline = json!([{"$match": {"a": {"$gte": 0}}}, {"$project": {"_id": 0, "r": {"$sqrt": "$a"}}}]).to_string();
    let pipeline = write(&directory, "pipeline.json", pipeline);
    let documents = concat!(
        r#"{"a": {"$numberInt": "4"}}"#,
        "\n\n",
        r#"{"a": {"$numberInt": "-4"}}"#,
        "\n",
        r#"{"a": {"#,
        "\n",
        r#"{"a": {"$numberDouble": "NaN"}}"#,
        "\n",
        r#"{"a": {"$numberDouble": "Infinity"}}"#,
    );
    let output = boomctl_with(&["filter", "eval", "--no-rules", &pipeline, "-"], documents);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let lines = json_lines(&output);
    assert_eq!(lines[0], json!({"document": {"r": {"$numberDouble": "2.0"}}}));
    assert_eq!(lines[1], json!({"rejected": true}));
    assert!(lines[2]["error"].as_str().unwrap().contains("not JSON"), "{}", lines[2]);
    assert_eq!(lines[3], json!({"rejected": true}));
    assert_eq!(lines[4], json!({"document": {"r": {"$numberDouble": "Infinity"}}}));
    assert_eq!(lines.len(), 5);
    // With the rules of a filter the same pipeline is refused: it loses objectId.
    let refused = boomctl_with(&["filter", "eval", &pipeline, "-"], documents);
    assert_eq!(refused.status.code(), Some(2));
    assert!(error(&refused).contains("objectId"), "{}", error(&refused));
}

#[test]
fn real_filters_have_an_answer_for_every_real_alert() {
    let shared = std::env::var_os("BOOM_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let (alerts, filter) = (shared.join("alerts/ztf"), shared.join("filters/cats150.json"));
    if !alerts.is_dir() || !filter.is_file() {
        eprintln!(
            "SKIPPED: {} or {} is not here: set BOOM_SHARED to where the shared data is",
            alerts.display(),
            filter.display()
        );
        return;
    }
    let mut arguments = vec!["filter".to_owned(), "test".to_owned(), filter.display().to_string()];
    arguments.extend(fs::read_dir(&alerts).unwrap().map(|entry| entry.unwrap().path().display().to_string()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = boomctl(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
    let lines = json_lines(&output);
    assert_eq!(lines.len(), arguments.len() - 3);
    assert!(lines.iter().all(|line| line["passed"].is_boolean()), "{lines:?}");
}
