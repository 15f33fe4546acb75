//! Every path of the alert that a program reads is told with its place in the JSON, and nothing that its stages have made.
#![allow(clippy::unwrap_used, reason = "in a test the panic is the message")]

use boom_filter::{FilterFile, Program, Rules};

fn paths(pipeline: &str) -> Vec<(String, String)> {
    let program = Program::parse(pipeline, Rules::None).unwrap();
    program.paths().iter().map(|read| (read.place.clone(), read.path.clone())).collect()
}

fn told(pipeline: &str, expected: &[(&str, &str)]) {
    let found = paths(pipeline);
    let found: Vec<_> = found.iter().map(|(place, path)| (place.as_str(), path.as_str())).collect();
    assert_eq!(found, expected, "{pipeline}");
}

#[test]
fn a_path_is_told_whole_with_its_place() {
    told(
        r#"[{"$match": {"candidate.drb": {"$gt": 0.5}, "$or": [{"a.b.c": 1}, {"$expr": {"$lt": ["$candidate.magpsf", 19]}}]}}]"#,
        &[
            ("[0].$match.candidate.drb", "candidate.drb"),
            ("[0].$match.$or[0].a.b.c", "a.b.c"),
            ("[0].$match.$or[1].$expr.$lt[0]", "candidate.magpsf"),
        ],
    );
    told(r#"[{"$sort": {"candidate.jd": 1}}]"#, &[("[0].$sort.candidate.jd", "candidate.jd")]);
    told(
        r#"[{"$project": {"_id": 0, "candidate": {"jd": 1}, "x": "$$ROOT.objectId"}}]"#,
        &[("[0].$project.x", "objectId"), ("[0].$project.candidate.jd", "candidate.jd")],
    );
}

#[test]
fn what_a_stage_has_made_is_not_of_the_alert() {
    told(r#"[{"$set": {"mine": 1}}, {"$match": {"mine": 1, "mine.x": 2}}]"#, &[]);
    told(r#"[{"$project": {"_id": 0, "a": 1}}, {"$match": {"b": 1}}]"#, &[("[0].$project.a", "a")]);
}

#[test]
fn a_variable_over_a_series_stands_for_its_points() {
    let map = |input: &str| {
        format!(r#"[{{"$set": {{"x": {{"$map": {{"input": {input}, "as": "p", "in": "$$p.magpsf"}}}}}}}}]"#)
    };
    for input in [
        r#""$prv_candidates""#,
        r#""$$ROOT.prv_candidates""#,
        r#"{"$ifNull": ["$prv_candidates", []]}"#,
        r#"{"$slice": [{"$filter": {"input": "$prv_candidates", "cond": true}}, 3]}"#,
        r#"{"$sortArray": {"input": "$prv_candidates", "sortBy": 1}}"#,
    ] {
        let found = paths(&map(input));
        let last = found.last().unwrap();
        let expected = ("[0].$set.x.$map.in".to_owned(), "prv_candidates.magpsf".to_owned());
        assert_eq!(*last, expected, "{input}");
    }
    for input in [r#"["$a", "$b"]"#, r#"{"$concatArrays": ["$a", "$b"]}"#] {
        assert!(paths(&map(input)).iter().all(|(_, path)| path != "magpsf" && !path.ends_with(".magpsf")), "{input}");
    }
    told(
        r#"[{"$set": {"x": {"$sortArray": {"input": "$fp_hists", "sortBy": {"jd": 1}}}}}]"#,
        &[("[0].$set.x.$sortArray.sortBy.jd", "fp_hists.jd"), ("[0].$set.x.$sortArray.input", "fp_hists")],
    );
}

#[test]
fn variables_are_followed_through_one_another() {
    told(
        r#"[{"$set": {"x": {"$let": {"vars": {"last": {"$last": "$fp_hists"}}, "in": {"$map": {"input": "$a", "as": "last", "in": "$$last.y"}}}}}}]"#,
        &[
            ("[0].$set.x.$let.vars.last.$last", "fp_hists"),
            ("[0].$set.x.$let.in.$map.input", "a"),
            ("[0].$set.x.$let.in.$map.in", "a.y"),
        ],
    );
    told(
        r#"[{"$set": {"x": {"$reduce": {"input": "$a", "initialValue": 0, "in": {"$add": ["$$value.n", "$$this.n"]}}}}}]"#,
        &[("[0].$set.x.$reduce.input", "a"), ("[0].$set.x.$reduce.in.$add[1]", "a.n")],
    );
}

#[test]
fn the_elements_of_an_elem_match_are_of_their_series() {
    told(
        r#"[{"$match": {"prv_candidates": {"$elemMatch": {"magpsf": {"$lt": 18}, "x": {"$elemMatch": {"y": 1}}}}}}]"#,
        &[
            ("[0].$match.prv_candidates", "prv_candidates"),
            ("[0].$match.prv_candidates.$elemMatch.magpsf", "prv_candidates.magpsf"),
            ("[0].$match.prv_candidates.$elemMatch.x", "prv_candidates.x"),
            ("[0].$match.prv_candidates.$elemMatch.x.$elemMatch.y", "prv_candidates.x.y"),
        ],
    );
    told(r#"[{"$set": {"a": []}}, {"$match": {"a": {"$elemMatch": {"b": 1}}}}]"#, &[]);
}

#[test]
fn a_place_in_a_filter_document_begins_with_its_pipeline() {
    let pipeline = r#"[{"$match": {"a": 1}}]"#;
    let bare = FilterFile::parse(pipeline, Rules::None, &["ZTF"]).unwrap();
    assert_eq!(bare.place("[0].$match.a"), "[0].$match.a");
    let whole = FilterFile::parse(&format!(r#"{{"pipeline": {pipeline}}}"#), Rules::None, &["ZTF"]).unwrap();
    assert_eq!(whole.place("[0].$match.a"), "pipeline[0].$match.a");
}
