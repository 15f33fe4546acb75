//! Whole filters: the real ones, many together, what they read, their budget, their time.
#![allow(clippy::print_stdout, reason = "what is skipped is said aloud")]

mod common;

use std::path::PathBuf;

use boom_filter::{Budget, EvalError, FilterSet, Outcome, Program, Rules};
use common::{NOW, answer, document, program};
use serde_json::{Value, json};

/// A real filter, when it is there.
fn shared(name: &str) -> Option<String> {
    let root = std::env::var("BOOM_SHARED")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = root.join("filters").join(name);
    std::fs::read_to_string(&path).map_err(|e| println!("SKIPPED: {} is not here: {e}", path.display())).ok()
}

fn young_transient() -> Value {
    serde_json::from_str(include_str!("data/young_transient.json")).expect("the filter is JSON")
}

fn alert() -> Value {
    json!({
        "_id": {"$numberLong": "2695378462115010012"}, "objectId": "ZTF20aaaaaaa",
        "candidate": {
            "jd": 2459000.75, "jdstarthist": 2458990.5, "magpsf": 18.25, "sigmapsf": 0.0625, "magap": 18.5, "rb": 0.75, "drb": 0.9375,
            "fwhm": 2.5, "nbad": 0, "isdiffpos": true, "ssdistnr": -999.0, "ssmagnr": -999.0, "sgscore1": 0.125, "distpsnr1": 3.0,
            "srmag": 20.0, "ndethist": 7
        },
        "prv_candidates": [
            {"jd": 2459000.0, "magpsf": 18.75, "sigmapsf": 0.125, "isdiffpos": true, "ssdistnr": -999.0},
            {"jd": 2458999.5, "diffmaglim": 20.5}
        ],
        "fp_hists": [{"jd": 2458999.75, "snr": 6.0, "procstatus": "0", "mag": 19.0, "magerr": 0.25}],
        "LSST": {"prv_candidates": [], "fp_hists": []}
    })
}

#[test]
fn cats150_passes_and_rejects_as_its_author_meant() {
    let Some(text) = shared("cats150.json") else { return };
    let filter = Program::parse(&text, Rules::Filter).expect("cats150 keeps the rules of a filter");
    assert_eq!(
        answer(&filter.evaluate(&document(&alert()), NOW)),
        json!({"document": {
            "_id": {"$numberLong": "2695378462115010012"}, "objectId": "ZTF20aaaaaaa",
            "annotations": {
                "mag": {"$numberDouble": "18.25"}, "jd": {"$numberDouble": "2459000.75"}, "age": {"$numberDouble": "10.25"},
                "drb": {"$numberDouble": "0.94"}, "nb_detections": {"$numberInt": "7"}
            }
        }})
    );
    let mut bogus = alert();
    bogus["candidate"]["drb"] = json!(0.25);
    assert_eq!(answer(&filter.evaluate(&document(&bogus), NOW)), json!({"rejected": true}));
    let mut star = alert();
    star["candidate"]["sgscore1"] = json!(0.99);
    star["candidate"]["distpsnr1"] = json!(0.5);
    assert_eq!(answer(&filter.evaluate(&document(&star), NOW)), json!({"rejected": true}));
    let mut first_seen = alert();
    first_seen["prv_candidates"] = json!([]);
    first_seen["fp_hists"] = json!([]);
    assert_eq!(answer(&filter.evaluate(&document(&first_seen), NOW)), json!({"rejected": true}));
}

#[test]
fn the_lsst_filter_passes_what_it_selects() {
    let Some(text) = shared("lsst.json") else { return };
    let filter = Program::parse(&text, Rules::Filter).expect("the filter keeps the rules of a filter");
    let alert = json!({"_id": 1, "objectId": "313", "candidate": {"reliability": 0.9, "snr": 12.0, "magpsf": 17.125}});
    assert_eq!(
        answer(&filter.evaluate(&document(&alert), NOW)),
        json!({"document": {"_id": {"$numberInt": "1"}, "objectId": "313", "annotations": {"mag_now": {"$numberDouble": "17.12"}}}})
    );
}

#[test]
fn a_filter_fails_with_its_place_and_the_value_seen() {
    let filter = program(&young_transient(), Rules::Filter);
    let mut broken = alert();
    broken["prv_candidates"][0]["jd"] = json!("yesterday");
    let Outcome::Failed(error) = filter.evaluate(&document(&broken), NOW) else { panic!("a string is no time") };
    assert_eq!(
        error.to_string(),
        "[1].$project.seen_before.$anyElementTrue.$map.in.$and[0].$gt[0].$abs.$subtract: \
         `$subtract` cannot take \"yesterday\" (string) from 2459000.75 (double)"
    );
}

#[test]
fn a_set_gives_each_program_the_answer_that_it_gives_alone() {
    let mut pipelines: Vec<Value> = (0..20)
        .map(|n| {
            let mut filter = young_transient();
            filter[0]["$match"]["candidate.drb"] = json!({"$gt": f64::from(n) * 0.05});
            filter
        })
        .collect();
    pipelines.push(json!([{"$match": {"prv_candidates.0.magpsf": {"$lt": 19}}}, {"$project": {"objectId": 1, "m": "$prv_candidates.magpsf"}}]));
    pipelines.push(json!([{"$addFields": {"n": {"$size": "$prv_candidates"}}}]));
    pipelines.push(json!([{"$project": {"r": {"$divide": [1, "$candidate.nbad"]}}}]));
    let programs: Vec<Program> = pipelines.iter().map(|p| program(p, Rules::None)).collect();
    let set = FilterSet::new(programs.clone());
    let mut scratch = set.scratch();
    for _ in 0..3 {
        let mut together = vec![Value::Null; programs.len()];
        set.evaluate(&document(&alert()), NOW, &mut scratch, |index, outcome| together[index] = answer(outcome));
        let alone: Vec<Value> = programs.iter().map(|p| answer(&p.evaluate(&document(&alert()), NOW))).collect();
        assert_eq!(together, alone);
    }
}

#[test]
fn a_scratch_of_another_set_changes_no_answer() {
    let first = FilterSet::new(vec![program(&young_transient(), Rules::Filter)]);
    let other = json!([{"$project": {"b": "$fp_hists.snr", "a": "$prv_candidates.jd", "c": "$candidate.rb"}}]);
    let second = FilterSet::new(vec![program(&other, Rules::None)]);
    let mut scratch = first.scratch();
    first.evaluate(&document(&alert()), NOW, &mut scratch, |_, _| {});
    let (mut strange, mut own) = (Value::Null, Value::Null);
    second.evaluate(&document(&alert()), NOW, &mut scratch, |_, outcome| strange = answer(outcome));
    second.evaluate(&document(&alert()), NOW, &mut second.scratch(), |_, outcome| own = answer(outcome));
    assert_eq!(strange, own);
}

#[test]
fn copies_of_a_filter_are_evaluated_once_however_they_are_spaced() {
    let text = young_transient().to_string();
    let spaced = serde_json::to_string_pretty(&young_transient()).unwrap();
    let programs: Vec<Program> =
        [&text, &spaced, &text].iter().map(|t| Program::parse(t, Rules::Filter).expect("a filter of ours")).collect();
    assert_eq!(programs[0].version(), programs[1].version());
    assert_eq!(programs[0].version().len(), 16);
    let set = FilterSet::new(programs);
    assert_eq!((set.len(), set.distinct()), (3, 1));
    let mut called = Vec::new();
    set.evaluate(&document(&alert()), NOW, &mut set.scratch(), |index, _| called.push(index));
    assert_eq!(called, [0, 1, 2]);
    called.clear();
    set.evaluate_where(
        &document(&alert()),
        (NOW, &mut set.scratch()),
        |index| index == 1,
        |index, _| called.push(index),
    );
    assert_eq!(called, [1]);
}

#[test]
fn the_order_of_keys_and_the_type_of_a_number_make_another_version() {
    let version = |json: &str| Program::parse(json, Rules::None).expect("a sound pipeline").version().to_owned();
    assert_eq!(version(r#"[{"$match": {"a": 1}}]"#), version("[ {\"$match\":{\"a\":1}} ]"));
    assert_ne!(version(r#"[{"$project": {"a": 1, "b": 1}}]"#), version(r#"[{"$project": {"b": 1, "a": 1}}]"#));
    assert_ne!(version(r#"[{"$set": {"a": 1}}]"#), version(r#"[{"$set": {"a": 1.0}}]"#));
}

#[test]
fn a_program_says_what_it_reads() {
    let paths = |json: Value| program(&json, Rules::None).reads().paths().map(str::to_owned).collect::<Vec<_>>();
    let filter = program(&young_transient(), Rules::Filter);
    assert!(
        filter.reads().reads("prv_candidates") && filter.reads().reads("fp_hists") && filter.reads().reads("candidate")
    );
    assert!(!filter.reads().reads("cross_matches") && !filter.reads().reads("LSST") && !filter.reads().reads("star"));
    let lsst = json!([{"$match": {"LSST.prv_candidates.0": {"$exists": true}}}, {"$project": {"n": {"$size": "$aliases.ZTF"}}}]);
    assert_eq!(paths(lsst.clone()), ["LSST.prv_candidates", "_id", "aliases.ZTF"]);
    let lsst = program(&lsst, Rules::None);
    assert!(lsst.reads().reads_within("LSST", "prv_candidates") && !lsst.reads().reads_within("LSST", "fp_hists"));
    assert!(
        program(&json!([{"$match": {"a": 1}}]), Rules::None).reads().reads("anything"),
        "what is not projected is passed on whole"
    );
    assert!(program(&json!([{"$project": {"n": {"$type": "$$ROOT"}}}]), Rules::None).reads().whole());
    let made = json!([{"$addFields": {"n": {"$size": "$a"}}}, {"$project": {"m": "$n", "k": "$b"}}]);
    assert_eq!(paths(made), ["_id", "a", "b"]);
}

#[test]
fn now_is_the_alert_s_time() {
    let filter = program(&json!([{"$project": {"_id": 0, "now": "$$NOW"}}]), Rules::None);
    assert_eq!(
        answer(&filter.evaluate(&document(&alert()), 5)),
        json!({"document": {"now": {"$date": {"$numberLong": "5"}}}})
    );
}

#[test]
fn what_uses_up_its_budget_fails_with_its_place_and_leaves_the_others_alone() {
    let numbers = json!({"$range": [0, 100_000]});
    let greedy = [
        json!({"$map": {"input": numbers, "as": "a", "in": {"$map": {"input": numbers, "as": "b", "in": {"$add": ["$$a", "$$b"]}}}}}),
        json!({"$range": ["$zero", 2_000_000_000]}),
        json!({"$map": {"input": {"$range": ["$zero", 100_000]}, "in": "$$ROOT"}}),
        json!({"$reduce": {"input": {"$range": ["$zero", 40]}, "initialValue": "$candidate", "in": ["$$value", "$$value"]}}),
        json!({"$reduce": {"input": {"$range": ["$zero", 1000]}, "initialValue": 1, "in": ["$$value"]}}),
    ];
    let mut programs: Vec<Program> =
        greedy.iter().map(|e| program(&json!([{"$project": {"r": e}}]), Rules::None)).collect();
    programs.push(program(&young_transient(), Rules::Filter));
    let set = FilterSet::new(programs);
    let mut alert = alert();
    alert["zero"] = json!(0);
    let mut errors = Vec::new();
    set.evaluate(&document(&alert), NOW, &mut set.scratch(), |index, outcome| match outcome {
        Outcome::Failed(error) => errors.push(error.clone()),
        Outcome::Passed(_) => assert_eq!(index, 5),
        Outcome::Rejected => panic!("nothing rejects here"),
    });
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert!(errors[..4].iter().all(|e| matches!(e, EvalError::Budget(_))), "{errors:?}");
    assert!(errors[4].to_string().ends_with("values that nest deeper than 150 are refused"), "{}", errors[4]);
    assert!(errors.iter().all(|e| e.fault().place.starts_with("[0].$project")), "{errors:?}");
}

#[test]
fn a_budget_is_counted_and_so_ends_in_the_same_place() {
    let filter = program(&young_transient(), Rules::Filter);
    let outcome = |steps| {
        let set = FilterSet::with_budget(vec![filter.clone()], Budget { steps, bytes: 1 << 20 });
        let mut found = Value::Null;
        set.evaluate(&document(&alert()), NOW, &mut set.scratch(), |_, outcome| found = answer(outcome));
        found
    };
    let least =
        (1..10_000).find(|steps| outcome(*steps) != json!({"error": true})).expect("it passes with some budget");
    assert_eq!(outcome(least - 1), json!({"error": true}));
    assert_eq!(outcome(least), outcome(1_000_000));
}

#[test]
fn bytes_that_are_no_document_are_an_error_of_the_alert() {
    let filter = program(&young_transient(), Rules::Filter);
    let mut bytes = document(&alert()).into_bytes();
    let at = bytes.windows(6).position(|w| w == b"magpsf").expect("the alert has a magnitude");
    bytes[at - 1] = 0x66;
    let broken = bson::RawDocument::from_bytes(&bytes).expect("its frame is sound");
    let Outcome::Failed(error) = filter.evaluate(broken, NOW) else { panic!("there is no type 0x66") };
    assert!(matches!(error, EvalError::Document(_)), "{error}");
}

#[test]
fn a_literal_has_one_spelling_in_the_version_of_a_filter() {
    let version = |literal: serde_json::Value| {
        program(&json!([{ "$match": { "a": literal } }]), Rules::None).version().to_owned()
    };
    let binary = json!({ "$binary": { "base64": "ABEiM0RVZneImaq7zN3u/w==", "subType": "04" } });
    assert_eq!(version(binary), version(json!({ "$uuid": "00112233-4455-6677-8899-AABBCCDDEEFF" })));
    assert_eq!(version(json!({ "$numberDecimal": "1e1" })), version(json!({ "$numberDecimal": "+1E+1" })));
    assert_ne!(version(json!({ "$numberDecimal": "10" })), version(json!(10)));
    assert_ne!(version(json!({ "$code": "x" })), version(json!({ "$symbol": "x" })));
}
