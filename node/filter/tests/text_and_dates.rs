//! What strings, patterns and dates may cost, what is refused, and where they differ from MongoDB on purpose.

mod common;

use boom_filter::{Budget, EvalError, FilterSet, Outcome, Rules};
use common::{NOW, answer, document, problems, program};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What an expression gives on a document.
fn value(expression: &Value, on: &Value) -> Value {
    let pipeline = json!([{ "$project": { "_id": 0, "r": expression } }]);
    answer(&program(&pipeline, Rules::None).evaluate(&document(on), NOW))["document"]["r"].clone()
}

/// The error of an expression on a document.
fn failure(expression: &Value, on: &Value) -> EvalError {
    let pipeline = json!([{ "$project": { "_id": 0, "r": expression } }]);
    match program(&pipeline, Rules::None).evaluate(&document(on), NOW) {
        Outcome::Failed(error) => error,
        other => panic!("{expression} gives {:?}", answer(&other)),
    }
}

/// The problems of an expression, without their place.
fn problem(expression: &Value) -> String {
    let found = problems(&json!([{ "$project": { "r": expression } }]).to_string(), Rules::None);
    found.split_once(": ").map(|(_, message)| message.to_owned()).unwrap_or(found)
}

/// Doubles a string so many times.
fn doubled(times: usize) -> Value {
    json!({ "$reduce": { "input": { "$range": [0, times] }, "initialValue": "$s", "in": { "$concat": ["$$value", "$$value"] } } })
}

#[test]
fn a_string_that_doubles_ends_at_the_budget() {
    let error = failure(&doubled(60), &json!({ "s": "0123456789abcdef" }));
    assert!(matches!(error, EvalError::Budget(_)), "{error}");
}

#[test]
fn replacing_that_would_grow_without_bound_ends_at_the_budget() {
    // A megabyte of `a`, each of which would become a kilobyte.
    let grown = json!({ "$let": { "vars": { "long": doubled(20) }, "in":
        { "$replaceAll": { "input": "$$long", "find": "a", "replacement": { "$substrCP": ["$$long", 0, 1024] } } } } });
    let error = failure(&grown, &json!({ "s": "a" }));
    assert!(matches!(error, EvalError::Budget(_)), "{error}");
}

#[test]
fn splitting_into_too_many_parts_ends_at_the_budget() {
    let error = failure(&json!({ "$size": { "$split": [doubled(20), "a"] } }), &json!({ "s": "a" }));
    assert!(matches!(error, EvalError::Budget(_)), "{error}");
}

#[test]
fn computed_patterns_are_paid_for() {
    let many = json!({ "$map": { "input": { "$range": [0, 10_000] }, "in": { "$regexMatch": { "input": "abc", "regex": "$p" } } } });
    let error = failure(&many, &json!({ "p": "[a-z]{20}" }));
    assert!(matches!(error, EvalError::Budget(_)), "{error}");
    let text = json!({ "$regexFind": { "input": "$s", "regex": { "$concat": ["(", "$s", ")"] } } });
    assert_eq!(value(&text, &json!({ "s": "ab" }))["captures"], json!(["ab"]));
}

#[test]
fn a_pattern_that_backtracks_elsewhere_is_linear_here() {
    let on = json!({ "s": "a".repeat(30_000) });
    assert_eq!(value(&json!({ "$regexMatch": { "input": "$s", "regex": "^(a+)+$|(a|aa)+b" } }), &on), json!(true));
    assert_eq!(value(&json!({ "$regexMatch": { "input": "$s", "regex": "(a|a)*b" } }), &on), json!(false));
}

#[test]
fn what_no_linear_engine_can_do_is_refused_with_the_reason() {
    let refused = |pattern: &str| problem(&json!({ "$regexMatch": { "input": "$s", "regex": pattern } }));
    let start = "`$regexMatch` the regular expression is refused: ";
    let linear = "it cannot be searched for in linear time";
    assert_eq!(refused("(a)\\1"), format!("{start}back-references are not to be had: {linear}"));
    assert_eq!(refused("a(?=b)"), format!("{start}look-around is not to be had: {linear}"));
    assert_eq!(refused("(?<!a)b"), format!("{start}look-around is not to be had: {linear}"));
    assert_eq!(refused("(?>a)"), format!("{start}an atomic group is not to be had: {linear}"));
    assert_eq!(refused("a++"), format!("{start}a possessive quantifier is not to be had: {linear}"));
    // A computed pattern is refused on the alert.
    let error = failure(&json!({ "$regexMatch": { "input": "a", "regex": "$p" } }), &json!({ "p": "(a)\\1" }));
    assert!(error.to_string().contains("back-references"), "{error}");
    // And a query refuses the same.
    let found = problems(r#"[{"$match": {"s": {"$regex": "a(?!b)"}}}]"#, Rules::None);
    assert!(found.contains("look-around is not to be had"), "{found}");
}

#[test]
fn operators_of_a_server_or_of_chance_are_refused_with_what_to_use_instead() {
    assert!(problem(&json!({ "$rand": {} })).contains("gives the same answer each time"));
    assert!(problem(&json!({ "$function": {} })).contains("no JavaScript"));
    assert!(problem(&json!({ "$meta": "textScore" })).contains("a filter sees one alert"));
    assert!(problem(&json!({ "$toHashedIndexKey": "$a" })).contains("compare the value itself"));
}

/// MongoDB reads many more forms, some of them wrongly; another answer than its own would be worse than an error.
#[test]
fn dates_in_other_forms_than_iso_8601_are_an_error_that_on_error_does_not_hide() {
    let read = json!({ "$dateFromString": { "dateString": "$s", "onError": "none" } });
    let error = failure(&read, &json!({ "s": "July 4th, 2017" }));
    assert!(error.to_string().contains("reads dates of ISO 8601 alone"), "{error}");
    assert_eq!(value(&read, &json!({ "s": "2017-02-30" })), json!("none"));
    assert_eq!(value(&read, &json!({ "s": "soon" })), json!("none"));
}

/// In MongoDB, `$` also matches before a newline that ends the text, and `\B` takes letters beyond ASCII for none.
#[test]
fn a_dollar_sign_matches_at_the_end_alone() {
    let ends = json!({ "$regexMatch": { "input": "$s", "regex": "a$" } });
    assert_eq!(value(&ends, &json!({ "s": "a\n" })), json!(false));
    assert_eq!(value(&ends, &json!({ "s": "ba" })), json!(true));
}

/// MongoDB cuts characters beyond ASCII in two and gives a string that is none.
#[test]
fn replacing_nothing_puts_the_replacement_between_characters() {
    let spaced = json!({ "$replaceAll": { "input": "$s", "find": "", "replacement": "-" } });
    assert_eq!(value(&spaced, &json!({ "s": "aéb" })), json!("-a-é-b-"));
}

/// The zones are those of the database that is built in: newer than MongoDB 6's own.
#[test]
fn zones_have_the_names_of_the_database_by_case() {
    let hour = json!({ "$hour": { "date": "$d", "timezone": "$z" } });
    let at = |zone: &str| json!({ "d": { "$date": "2020-07-01T12:00:00Z" }, "z": zone });
    assert_eq!(value(&hour, &at("America/New_York")), json!({ "$numberInt": "8" }));
    let error = failure(&hour, &at("america/new_york"));
    assert!(error.to_string().contains("needs a time zone such as"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_date_and_no_zone_is_too_much_for_an_operator(ms: i64, other: i64, amount: i64, zone in 0_usize..6, unit in 0_usize..9) {
        let zone = ["UTC", "+14:00", "-99:99", "America/New_York", "Australia/Lord_Howe", "nowhere"][zone];
        let unit = ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"][unit];
        for expression in [
            json!({ "$dateToParts": { "date": "$d", "timezone": zone, "iso8601": true } }),
            json!({ "$dateToString": { "date": "$d", "timezone": zone, "format": "%m %j %U %V %u %w %z %Z" } }),
            json!({ "$dateAdd": { "startDate": "$d", "unit": unit, "amount": "$n", "timezone": zone } }),
            json!({ "$dateSubtract": { "startDate": "$d", "unit": unit, "amount": "$n", "timezone": zone } }),
            json!({ "$dateDiff": { "startDate": "$d", "endDate": "$e", "unit": unit, "timezone": zone } }),
            json!({ "$dateTrunc": { "date": "$d", "unit": unit, "binSize": "$n", "timezone": zone } }),
            json!({ "$dateFromParts": { "year": 2000, "second": "$n", "millisecond": "$m", "timezone": zone } }),
        ] {
            let pipeline = json!([{ "$project": { "_id": 0, "r": expression } }]);
            let on = json!({ "d": { "$date": { "$numberLong": ms.to_string() } }, "e": { "$date": { "$numberLong": other.to_string() } },
                "n": { "$numberLong": amount.to_string() }, "m": { "$numberLong": other.to_string() } });
            let outcome = program(&pipeline, Rules::None).evaluate(&document(&on), NOW);
            prop_assert!(!matches!(outcome, Outcome::Rejected));
        }
    }

    #[test]
    fn no_pattern_is_too_much_for_the_parser(pattern in "[\\\\\\[\\](){}a-zA-Z0-9^$.*+?|:<>=!#&~ é-]{0,24}", options in "[imsxu]{0,2}", text in ".{0,12}") {
        let expression = json!({ "$regexFindAll": { "input": "$s", "regex": "$p", "options": options } });
        let pipeline = json!([{ "$project": { "_id": 0, "r": expression } }]);
        let outcome = program(&pipeline, Rules::None).evaluate(&document(&json!({ "s": text, "p": pattern })), NOW);
        prop_assert!(!matches!(outcome, Outcome::Rejected));
    }
}

#[test]
fn a_small_budget_stops_a_long_format_before_it_is_written() {
    let pipeline = json!([{ "$project": { "r": { "$dateToString": { "date": "$d", "format": "$f" } } } }]);
    let program = program(&pipeline, Rules::None);
    let on = document(&json!({ "d": { "$date": "2020-01-01T00:00:00Z" }, "f": "%Y".repeat(1000) }));
    let budget = Budget { bytes: 4000, ..Budget::default() };
    let set = FilterSet::with_budget(vec![program], budget);
    let mut stopped = false;
    set.evaluate(&on, NOW, &mut set.scratch(), |_, outcome| {
        stopped = matches!(outcome, Outcome::Failed(EvalError::Budget(_)));
    });
    assert!(stopped, "it stops at the budget");
}
