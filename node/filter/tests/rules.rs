//! The rules of a filter: what keeps them is accepted and keeps the ids of every alert, what could break them is refused.

mod common;

use boom_filter::{Outcome, Program, Rules};
use common::NOW;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The problems of a filter with this stage in its middle.
fn middle(stage: &Value) -> String {
    let pipeline = json!([{"$match": {}}, stage, {"$project": {"objectId": 1}}]);
    common::problems(&pipeline.to_string(), Rules::Filter)
}

#[test]
fn a_filter_without_a_match_is_refused() {
    let without = [
        json!([]),
        json!([{"$project": {"objectId": 1}}]),
        json!([{"$addFields": {"a": 1}}, {"$sort": {"a": 1}}, {"$project": {"objectId": 1}}]),
        json!([{"$project": {"objectId": 1, "m": {"$literal": {"$match": {}}}}}]),
    ];
    for pipeline in without {
        let problems = common::problems(&pipeline.to_string(), Rules::Filter);
        assert!(problems.contains("$match"), "{pipeline}: {problems}");
    }
    assert_eq!(common::problems(r#"[{"$match": {}}, {"$project": {"objectId": 1}}]"#, Rules::Filter), "");
    assert_eq!(
        common::problems(r#"[{"$set": {"a": 1}}, {"$match": {"a": 1}}, {"$project": {"objectId": 1}}]"#, Rules::Filter),
        ""
    );
}

#[test]
fn a_filter_ends_with_a_project_that_keeps_the_object() {
    let ended = |stage: &Value| common::problems(&json!([{"$match": {}}, stage]).to_string(), Rules::Filter);
    for kept in [
        json!({"objectId": 1}),
        json!({"objectId": true, "annotations": {"a": "$candidate.jd"}}),
        json!({"_id": 1, "objectId": 1}),
        json!({"candidate": 0}),
        json!({"candidate": {"jd": 0}}),
        json!({"candidate.jd": false, "_id": 1}),
    ] {
        assert_eq!(ended(&json!({"$project": kept})), "", "{kept}");
    }
    for lost in [
        json!({"_id": 1}),
        json!({"candidate": 1}),
        json!({"candidate": {"_id": 1}}),
        json!({"annotations": {"objectId": "$objectId"}}),
        json!({"objectId": 0}),
        json!({"objectId": 0.0, "candidate": 0}),
        json!({"objectId": null}),
        json!({"objectId.x": 1}),
        json!({"objectId": {"x": 1}}),
        json!({"objectID": 1}),
    ] {
        assert!(ended(&json!({"$project": lost})).contains("objectId"), "{lost}");
    }
    for last in [
        json!({"$match": {}}),
        json!({"$set": {"a": 1}}),
        json!({"$limit": 1}),
        json!({"$unset": "a"}),
        json!({"$sort": {"a": 1}}),
    ] {
        assert!(ended(&last).contains("the last stage of a filter is a $project"), "{last}");
    }
}

#[test]
fn no_stage_removes_or_overwrites_the_ids() {
    for id in ["_id", "objectId"] {
        let (inner, doubled) = (format!("{id}.x"), format!("${id}"));
        let project = |key: &str, value: Value| {
            let mut fields = serde_json::Map::from_iter([("candidate".to_owned(), json!(1))]);
            if !key.starts_with("objectId") {
                fields.insert("objectId".to_owned(), json!(1));
            }
            fields.insert(key.to_owned(), value);
            json!({ "$project": fields })
        };
        for stage in [
            project(id, json!(0)),
            project(id, json!("$candidate")),
            project(id, json!(doubled)),
            project(id, json!({"$literal": 1})),
            project(id, json!("$$REMOVE")),
            project(id, json!({"x": 1})),
            project(&inner, json!(1)),
            json!({"$project": {id: 0}}),
            json!({"$project": {inner.as_str(): 0}}),
            json!({"$addFields": {id: "x"}}),
            json!({"$addFields": {id: doubled}}),
            json!({"$addFields": {"a": 1, inner.as_str(): 1}}),
            json!({"$set": {id: "$$REMOVE"}}),
            json!({"$set": {id: {"x": 1}}}),
            json!({"$unset": id}),
            json!({"$unset": inner}),
            json!({"$unset": ["candidate", inner]}),
            json!({"$unwind": {"path": "$candidate", "includeArrayIndex": id}}),
        ] {
            let problems = middle(&stage);
            assert!(problems.starts_with("[1].$"), "{stage}: {problems}");
        }
    }
    for stage in [
        json!({"$replaceRoot": {"newRoot": "$candidate"}}),
        json!({"$replaceRoot": {"newRoot": {"$mergeObjects": ["$$ROOT", {"objectId": "x"}]}}}),
        json!({"$replaceWith": "$$ROOT"}),
        json!({"$count": "objectId"}),
        json!({"$group": {"_id": "$objectId"}}),
        json!({"$sortByCount": "$objectId"}),
        json!({"$lookup": {"from": "a", "localField": "b", "foreignField": "c", "as": "objectId"}}),
        json!({"$project": {"candidate": 1}}),
    ] {
        assert_ne!(middle(&stage), "", "{stage}");
    }
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "_id",
        "objectId",
        "objectId.x",
        "_id.x",
        "a",
        "a.b",
        "a._id",
        "a.objectId",
        "objectIds",
        "x",
    ])
}

fn value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(0),
        json!(1),
        json!(true),
        json!(false),
        json!("$a"),
        json!("$$REMOVE"),
        json!("$$ROOT"),
        json!({"b": 1}),
        json!({"b": 0}),
        json!({"_id": 1}),
        json!({"objectId": 0}),
        json!({"$literal": 1}),
        json!(null),
        json!([]),
        json!("$_id"),
        json!(-1.5),
        json!({"c": "$a"}),
    ])
}

fn stage() -> impl Strategy<Value = Value> {
    let fields = || prop::collection::btree_map(key(), value(), 1..4).prop_map(|fields| json!(fields));
    prop_oneof![
        4 => fields().prop_map(|fields| json!({"$project": fields})),
        2 => fields().prop_map(|fields| json!({"$addFields": fields})),
        1 => key().prop_map(|key| json!({"$unset": key})),
        1 => prop::collection::vec(key(), 1..3).prop_map(|keys| json!({"$unset": keys})),
        1 => value().prop_map(|value| json!({"$replaceWith": value})),
        1 => (key(), key()).prop_map(|(path, index)| json!({"$unwind": {"path": format!("${path}"), "includeArrayIndex": index}})),
        1 => (key(), value()).prop_map(|(key, value)| json!({"$group": {"_id": value, key: {"$first": "$a"}}})),
        1 => key().prop_map(|key| json!({"$sort": {key: 1}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_accepted_keeps_the_ids(stages in prop::collection::vec(stage(), 0..3), last in prop::collection::btree_map(key(), value(), 1..4)) {
        let pipeline = json!([&[json!({"$match": {}})], &stages[..], &[json!({"$project": last})]].concat());
        if let Ok(filter) = Program::parse(&pipeline.to_string(), Rules::Filter) {
            let alert = common::document(&json!({"_id": 7, "objectId": "ZTF20aaaaaaa", "a": [{"b": 1, "_id": 2, "objectId": 3}], "x": 1}));
            if let Outcome::Passed(result) = filter.evaluate(&alert, NOW) {
                prop_assert_eq!(result.get_str("objectId").ok(), Some("ZTF20aaaaaaa"), "{}", pipeline);
                prop_assert_eq!(result.get_i32("_id").ok(), Some(7), "{}", pipeline);
            }
        }
    }
}
