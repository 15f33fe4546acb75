//! Real alerts of every survey through the whole job: scores, documents, filters, permissions.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test the panic is the message")]

use std::path::Path;

use boom_sky::survey::Survey;
use boom_store::documents::Store;
use boom_tests::node::Standalone;
use boom_tests::output::ledger;
use boom_tests::shared::shared;
use bson::Document;

fn document(bytes: &[u8]) -> Document {
    Document::try_from(bson::RawDocument::from_bytes(bytes).unwrap()).unwrap()
}

fn alert(store: &Store, candid: i64) -> Document {
    document(&store.alerts(candid).unwrap()[0].1)
}

/// The scores of every real ZTF packet, as a run with this environment stores them, are the expected ones.
fn scores_agree(environment: &[(&str, &str)]) {
    let (Some(alerts), Some(models)) = (shared("alerts/ztf"), shared("models")) else { return };
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(models.join("expected_scores.json")).unwrap()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut command = Standalone::new(out.path()).with("--input", alerts).with("--models", models);
    for (name, value) in environment {
        command = command.environment(name, value);
    }
    command.run().expect(0).says(&["model btsbot is left out"]);
    let store = Store::open(&out.path().join("store"), false).unwrap();
    let mut compared = 0;
    for (candid, scores) in expected.as_object().unwrap() {
        let stored = alert(&store, candid.parse().unwrap());
        let classifications = stored.get_document("classifications").unwrap();
        if scores.get("no_score").is_some() {
            assert!(classifications.is_empty(), "{candid} has {classifications}");
            let reason = stored.get_document("unscored").unwrap().get_str("acai_h").unwrap();
            assert!(reason.contains("template"), "{reason}");
            continue;
        }
        for (name, score) in scores.as_object().unwrap() {
            let Some(score) = score.as_f64() else { continue };
            let found = classifications.get_f64(name).unwrap();
            assert!((found - score).abs() < 1e-4, "{candid} {name}: {found}, expected {score}");
            compared += 1;
        }
    }
    assert_eq!(compared, 138, "six scores of each of the 23 packets that have a triplet");
}

#[test]
fn scores_of_the_pure_rust_runtime_agree_with_the_expected_ones() {
    scores_agree(&[]);
}

#[test]
fn scores_of_onnx_runtime_agree_with_the_expected_ones() {
    match std::env::var("ORT_DYLIB_PATH") {
        Ok(library) => scores_agree(&[("ORT_DYLIB_PATH", &library)]),
        Err(_) => eprintln!("SKIPPED: ORT_DYLIB_PATH names no library of ONNX Runtime"),
    }
}

#[test]
fn one_run_takes_the_alerts_of_every_survey() {
    let (Some(alerts), Some(schemas)) = (shared("alerts"), shared("schemas")) else { return };
    let out = tempfile::tempdir().unwrap();
    let command = Standalone::new(out.path()).with("--input", alerts).with("--schemas", schemas);
    command.run().expect(0);
    let books = ledger(out.path());
    let counts: Vec<_> = books.partitions.iter().map(|book| (book.survey.as_str(), book.decided)).collect();
    assert_eq!(counts, [("DECam", 1), ("LSST", 1), ("WINTER", 8), ("ZTF", 25)]);
    let store = Store::open(&out.path().join("store"), false).unwrap();
    let survey = Survey::by_name("LSST").unwrap();
    let aux = document(&store.aux(survey, "7912941781254298").unwrap().unwrap());
    assert_eq!(aux.get_array("prv_candidates").unwrap().len(), 1, "the detection itself is in its light curve");
}

/// What a filter says in `out` of the real ZTF alerts, all of programme 1: how many it decided.
fn decided(out: &Path, filter: &str) -> u64 {
    let filters = tempfile::tempdir().unwrap();
    std::fs::write(filters.path().join("mine.json"), filter).unwrap();
    let alerts = shared("alerts/ztf").unwrap();
    Standalone::new(out).with("--input", alerts).with("--filters", filters.path()).run().expect(0);
    ledger(out).filters[0].decided
}

#[test]
fn a_filter_never_sees_alerts_of_programmes_that_it_may_not() {
    if shared("alerts/ztf").is_none() {
        return;
    }
    let pipeline = r#"[{"$match": {}}, {"$project": {"objectId": 1}}]"#;
    let with = |programs: &str| {
        let out = tempfile::tempdir().unwrap();
        decided(out.path(), &format!(r#"{{"permissions": {{"ZTF": {programs}}}, "pipeline": {pipeline}}}"#))
    };
    assert_eq!(with("[1]"), 25);
    assert_eq!(with("[2, 3]"), 0, "what it does not see, it does not decide");
}
