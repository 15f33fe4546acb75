//! What stages over several documents promise beyond MongoDB's answers: their order, their bounds, and that nothing is read in vain.

mod common;

use boom_filter::{EvalError, Outcome, Rules};
use common::{NOW, document, program};
use serde_json::{Value, json};

fn all(pipeline: &Value, of: &Value) -> Vec<String> {
    let all = program(pipeline, Rules::None).evaluate_all(&document(of), NOW).expect("the pipeline has an answer");
    all.iter()
        .map(|document| format!("{:?}", bson::Document::try_from(document.as_ref()).expect("valid BSON")))
        .collect()
}

#[test]
fn groups_come_in_the_order_in_which_their_keys_first_appear() {
    let groups =
        all(&json!([{"$unwind": "$a"}, {"$group": {"_id": "$a", "n": {"$sum": 1}}}]), &json!({"a": [3, 1, 3, 2, 1.0]}));
    assert_eq!(groups.len(), 3);
    for (group, start) in groups.iter().zip([
        r#"Document({"_id": Int32(3), "n": Int32(2)"#,
        r#"Document({"_id": Int32(1), "n": Int32(2)"#,
        r#"Document({"_id": Int32(2), "n": Int32(1)"#,
    ]) {
        assert!(group.starts_with(start), "{group}");
    }
}

#[test]
fn a_limit_that_has_its_documents_evaluates_no_further_one() {
    let pipeline = json!([{"$unwind": "$a"}, {"$match": {"$expr": {"$gt": [{"$abs": "$a"}, 0]}}}, {"$limit": 2}]);
    assert_eq!(all(&pipeline, &json!({"a": [1, 2, "x"]})).len(), 2);
    let failed = program(&pipeline, Rules::None).evaluate(&document(&json!({"a": [1, "x", 2]})), NOW);
    assert!(matches!(failed, Outcome::Failed(EvalError::Operand(_))), "{failed:?}");
}

#[test]
fn documents_without_end_use_up_the_budget() {
    let series: Vec<i32> = (0..100).collect();
    let pipeline = json!([
        {"$set": {"b": "$a", "c": "$a", "d": "$a", "e": "$a"}},
        {"$unwind": "$a"}, {"$unwind": "$b"}, {"$unwind": "$c"}, {"$unwind": "$d"}, {"$unwind": "$e"},
        {"$group": {"_id": null, "n": {"$sum": 1}}}
    ]);
    let outcome = program(&pipeline, Rules::None).evaluate(&document(&json!({ "a": series })), NOW);
    assert!(matches!(outcome, Outcome::Failed(EvalError::Budget(_))), "{outcome:?}");
}

#[test]
fn behind_a_group_nothing_more_of_the_alert_is_read() {
    let grouped = program(
        &json!([{"$unwind": "$prv_candidates"}, {"$group": {"_id": "$prv_candidates.band", "m": {"$min": "$prv_candidates.magpsf"}}}, {"$match": {"fp_hists": 1}}]),
        Rules::None,
    );
    assert!(grouped.reads().reads("prv_candidates") && !grouped.reads().reads("fp_hists") && !grouped.reads().whole());
}

#[test]
fn a_clause_that_moves_ahead_takes_the_old_names_into_its_loops() {
    let pipeline = json!([
        {"$project": {"limit": "$b", "prv": 1}},
        {"$match": {"$expr": {"$gt": [{"$size": {"$filter": {"input": "$prv", "as": "p", "cond": {"$gt": ["$$p.m", "$limit"]}}}}, 1]}}}
    ]);
    let alert = |b: f64| json!({"b": b, "prv": [{"m": 1.5}, {"m": 2.5}, {"m": 3.5}], "limit": 9.0});
    assert_eq!((all(&pipeline, &alert(2.0)).len(), all(&pipeline, &alert(3.0)).len()), (1, 0));
    let outcome = program(&pipeline, Rules::None).evaluate(&document(&alert(2.0)), NOW);
    assert!(matches!(outcome, Outcome::Passed(_)), "{outcome:?}");
}
