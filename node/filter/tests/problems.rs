//! What is wrong with a pipeline is said all at once, each with its path, what was found, what is allowed and the nearest name.

mod common;

use boom_filter::Rules::{Filter, None};
use common::problems;
use serde_json::json;

#[test]
fn a_misspelt_operator_is_named_with_its_path_and_the_nearest_one() {
    let found = problems(
        r#"[{"$match": {}}, {"$project": {"objectId": 1, "annotations": {"m": {"$ruond": ["$a", 1]}}}}]"#,
        Filter,
    );
    assert!(
        found.starts_with(
            "[1].$project.annotations.m.$ruond: `$ruond` is no operator; did you mean `$round`? allowed are `$abs`, "
        ),
        "{found}"
    );
}

#[test]
fn all_problems_are_listed_at_once() {
    let found = problems(
        r#"[{"$match": {"a": {"$gtt": 1}, "$or": []}}, {"$lookup": {}}, {"$project": {"x": {"$round": ["$a", {"$abs": [1, 2]}]}, "y": "$$nope"}}]"#,
        None,
    );
    let places: Vec<&str> = found.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["[0].$match.a.$gtt", "[0].$match.$or", "[1].$lookup", "[2].$project.x.$round[1].$abs", "[2].$project.y"]
    );
}

#[test]
fn a_stage_that_leaves_the_alert_is_refused_with_its_reason() {
    assert_eq!(
        problems(r#"[{"$lookup": {"from": "x"}}]"#, None),
        "[0].$lookup: `$lookup` is refused: a filter sees one alert and reads no collection; use the joined fields prv_candidates, \
         prv_nondetections, fp_hists, cross_matches, aliases, LSST.* and ZTF.*"
    );
    assert_eq!(
        problems(r#"[{"$out": "x"}]"#, None),
        "[0].$out: `$out` is refused: a filter writes nowhere; what it passes on is sent to its stream"
    );
    assert_eq!(
        problems(r#"[{"$facet": {}}]"#, None),
        "[0].$facet: `$facet` is refused: a filter has one answer for an alert; compute all of it in one $project"
    );
}

#[test]
fn what_is_no_pipeline_is_a_problem_of_the_whole() {
    assert_eq!(problems("{", None), "pipeline: this is not JSON: EOF while parsing an object at line 1 column 1");
    assert_eq!(
        problems(r#"{"$match": {}}"#, None),
        r#"pipeline: a pipeline is a list of stages, and this is {"$match":{}}"#
    );
    assert_eq!(
        problems(r#"[{"$match": {}, "$project": {}}]"#, None),
        "[0]: a stage is an object with one key, and this has 2"
    );
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(problems(&deep, None), "pipeline: this is not JSON: recursion limit exceeded at line 1 column 128");
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    assert_eq!(
        problems(r#"[{"$match": {"a": 1, "a": 2}}]"#, None),
        "[0].$match.a: this key is there twice; MongoDB would take only one of them"
    );
}

#[test]
fn arguments_are_counted_and_named() {
    assert_eq!(
        problems(r#"[{"$project": {"r": {"$subtract": ["$a"]}}}]"#, None),
        "[0].$project.r.$subtract: `$subtract` takes 2 arguments, and here are 1"
    );
    assert_eq!(
        problems(r#"[{"$project": {"r": {"$map": {"input": "$a", "as": "A", "on": 1}}}}]"#, None),
        "[0].$project.r.$map.on: `on` is no argument here; did you mean `in`? allowed are `as`, `in`, `input`\n[0].$project.r.$map: `in` is missing"
    );
    assert_eq!(
        problems(r#"[{"$project": {"r": {"$cond": {"if": 1, "then": 2}}}}]"#, None),
        "[0].$project.r.$cond: `else` is missing"
    );
}

#[test]
fn a_constant_that_always_fails_is_refused_as_mongodb_does() {
    assert_eq!(
        problems(r#"[{"$project": {"r": {"$divide": [1, 0]}}}]"#, None),
        "[0].$project.r.$divide: this always fails: `$divide` cannot divide 1 (int) by zero"
    );
}

#[test]
fn a_literal_that_is_none_is_a_problem_at_its_place() {
    for (literal, shown) in [
        (json!({ "$numberDecimal": "1.5x" }), "\"1.5x\" is no `$numberDecimal` of Extended JSON"),
        (
            json!({ "$numberDecimal": "1.00000000000000000000000000000000001" }),
            "is no `$numberDecimal` of Extended JSON",
        ),
        (json!({ "$binary": { "base64": "?", "subType": "00" } }), "is no `$binary` of Extended JSON"),
        (json!({ "$uuid": "1" }), "is no `$uuid` of Extended JSON"),
        (json!({ "$timestamp": { "t": -1, "i": 1 } }), "is no `$timestamp` of Extended JSON"),
        (json!({ "$symbol": 1 }), "is no `$symbol` of Extended JSON"),
    ] {
        let found = problems(&json!([{ "$match": { "a": { "$gt": literal } } }]).to_string(), None);
        assert!(found.starts_with("[0].$match.a.$gt: ") && found.ends_with(shown), "{found}");
    }
}

#[test]
fn a_mask_of_bits_that_is_none_is_a_problem() {
    for mask in [json!(-1), json!(1.5), json!("x"), json!([1.5]), json!([-1]), json!([4_294_967_296_i64]), json!(null)]
    {
        let found = problems(&json!([{ "$match": { "a": { "$bitsAllSet": mask } } }]).to_string(), None);
        assert!(found.starts_with("[0].$match.a.$bitsAllSet: takes "), "{mask}: {found}");
    }
}

#[test]
fn including_and_excluding_do_not_mix_and_paths_do_not_collide() {
    assert_eq!(
        problems(r#"[{"$project": {"a": 1, "b": {"c": 0}}}]"#, None),
        "[0].$project.b.c: a $project either includes and computes fields or excludes them; only `_id` may be excluded beside others"
    );
    let collision = problems(r#"[{"$project": {"a": 1, "a.b": 1}}]"#, None);
    assert!(collision.starts_with("[0].$project.a.b: this path collides with another one"), "{collision}");
}

#[test]
fn a_filter_has_a_match() {
    assert_eq!(problems(r#"[{"$project": {"objectId": 1}}]"#, Filter), "pipeline: a filter needs at least one $match");
}

#[test]
fn a_filter_ends_with_a_project_that_keeps_object_id() {
    assert_eq!(
        problems(r#"[{"$match": {}}]"#, Filter),
        "[0].$match: the last stage of a filter is a $project, which says what its subscribers receive"
    );
    assert_eq!(
        problems(r#"[{"$match": {}}, {"$project": {"annotations": {"x": "$a"}}}]"#, Filter),
        "[1].$project: this stage removes `objectId`, which a filter keeps: add \"objectId\": 1"
    );
    assert_eq!(problems(r#"[{"$match": {}}, {"$project": {"prv_candidates": 0}}]"#, Filter), "");
}

#[test]
fn a_filter_never_removes_or_overwrites_the_ids() {
    let broken =
        |stage: &str| problems(&format!(r#"[{{"$match": {{}}}}, {stage}, {{"$project": {{"objectId": 1}}}}]"#), Filter);
    assert_eq!(
        broken(r#"{"$project": {"objectId": 1, "_id": 0}}"#),
        "[1].$project._id: a filter does not remove `_id` and `objectId`"
    );
    assert_eq!(
        broken(r#"{"$unset": ["x", "objectId"]}"#),
        "[1].$unset[1]: a filter does not remove `_id` and `objectId`"
    );
    assert_eq!(
        broken(r#"{"$set": {"_id": "$candid"}}"#),
        "[1].$set._id: a filter does not overwrite `_id` and `objectId`"
    );
    assert_eq!(
        broken(r#"{"$project": {"objectId": "$x"}}"#),
        "[1].$project.objectId: a filter does not overwrite `_id` and `objectId`; write 1 to keep them"
    );
    assert_eq!(
        broken(r#"{"$count": "n"}"#),
        "[1].$count: this stage removes `_id` and `objectId`, which a filter keeps"
    );
    assert_eq!(broken(r#"{"$addFields": {"n": 1}}"#), "");
}

#[test]
fn a_filter_may_unwind_and_gather_its_alert_again_under_its_ids() {
    let with = |stage: &str| {
        problems(
            &format!(r#"[{{"$match": {{}}}}, {{"$unwind": "$a"}}, {stage}, {{"$project": {{"objectId": 1}}}}]"#),
            Filter,
        )
    };
    assert_eq!(with(r#"{"$group": {"_id": "$_id", "objectId": {"$first": "$objectId"}, "n": {"$sum": 1}}}"#), "");
    assert!(
        with(r#"{"$group": {"_id": "$band", "objectId": {"$first": "$objectId"}}}"#)
            .starts_with("[2].$group: this stage removes")
    );
    assert!(with(r#"{"$group": {"_id": "$_id", "n": {"$sum": 1}}}"#).starts_with("[2].$group: this stage removes"));
    assert!(with(r#"{"$sortByCount": "$band"}"#).starts_with("[2].$sortByCount: this stage removes"));
    assert!(
        with(r#"{"$unwind": {"path": "$b", "includeArrayIndex": "objectId"}}"#)
            .starts_with("[2].$unwind.includeArrayIndex: a filter does not overwrite")
    );
}

#[test]
fn every_other_stage_of_mongodb_is_refused_with_what_to_use_instead() {
    for stage in [
        "$facet",
        "$lookup",
        "$graphLookup",
        "$unionWith",
        "$out",
        "$merge",
        "$geoNear",
        "$sample",
        "$bucketAuto",
        "$setWindowFields",
        "$densify",
        "$fill",
        "$documents",
        "$collStats",
        "$indexStats",
        "$planCacheStats",
        "$search",
        "$searchMeta",
        "$changeStream",
        "$currentOp",
        "$listSessions",
        "$listLocalSessions",
    ] {
        let found = problems(&format!(r#"[{{"{stage}": {{}}}}]"#), None);
        assert!(found.starts_with(&format!("[0].{stage}: `{stage}` is refused: ")), "{found}");
    }
    assert!(
        problems(r#"[{"$unwnd": "$a"}]"#, None)
            .starts_with("[0].$unwnd: `$unwnd` is no stage; did you mean `$unwind`?")
    );
    for operator in ["$jsonSchema", "$text", "$where", "$near", "$geoWithin", "$geoIntersects", "$nearSphere"] {
        for query in [format!(r#"{{"{operator}": 1}}"#), format!(r#"{{"a": {{"{operator}": 1}}}}"#)] {
            let found = problems(&format!(r#"[{{"$match": {query}}}]"#), None);
            assert!(found.contains(&format!("{operator}: `{operator}` is refused: ")), "{found}");
        }
    }
}
