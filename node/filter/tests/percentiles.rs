//! `$percentile` and `$median`, which a mongod 6 does not have: held to their definition in MongoDB 7.

mod common;

use boom_filter::{Program, Rules};
use common::{NOW, answer, document};
use proptest::prelude::*;
use serde_json::{Value, json};

fn result(expression: &Value, input: &Value) -> Value {
    let pipeline = json!([{ "$project": { "_id": 0, "r": expression } }]);
    let program = Program::parse(&pipeline.to_string(), Rules::None).expect("a pipeline");
    answer(&program.evaluate(&document(&json!({ "a": input })), NOW))["document"]["r"].take()
}

fn median(input: &Value) -> Value {
    result(&json!({ "$median": { "input": "$a", "method": "approximate" } }), input)
}

fn double(x: f64) -> Value {
    answer(&boom_filter::Outcome::Passed(document(&json!({ "r": { "$numberDouble": format!("{x:?}") } }))))["document"]
        ["r"]
        .take()
}

#[test]
fn the_median_is_the_lower_middle_element_as_a_double() {
    assert_eq!(median(&json!([3, 1, 2])), double(2.0));
    assert_eq!(median(&json!([4, 1, 3, 2])), double(2.0));
    assert_eq!(median(&json!([{ "$numberDecimal": "7.5" }])), double(7.5));
    assert_eq!(median(&json!(5)), double(5.0));
}

#[test]
fn the_median_of_no_number_is_null() {
    for input in
        [json!(null), json!([]), json!("x"), json!(["x", null]), json!([{ "$numberDouble": "NaN" }]), json!({})]
    {
        assert_eq!(median(&input), json!(null), "{input}");
    }
}

#[test]
fn nan_is_passed_over_and_infinities_are_at_the_ends() {
    let special = |name: &str| json!({ "$numberDouble": name });
    let input = json!([special("NaN"), special("Infinity"), 1, "x", special("-Infinity")]);
    let ends = json!({ "$percentile": { "input": "$a", "p": [0, 0.5, 1.0], "method": "approximate" } });
    assert_eq!(result(&ends, &input), json!([special("-Infinity"), double(1.0), special("Infinity")]));
    assert_eq!(result(&ends, &json!([])), json!([null, null, null]));
}

#[test]
fn arguments_that_mongodb_refuses_are_problems() {
    for expression in [
        json!({ "$percentile": { "input": "$a", "p": [], "method": "approximate" } }),
        json!({ "$percentile": { "input": "$a", "p": [1.5], "method": "approximate" } }),
        json!({ "$percentile": { "input": "$a", "p": ["x"], "method": "approximate" } }),
        json!({ "$percentile": { "input": "$a", "p": 0.5, "method": "approximate" } }),
        json!({ "$percentile": { "input": "$a", "p": "$a", "method": "approximate" } }),
        json!({ "$percentile": { "input": "$a", "p": [0.5], "method": "exact" } }),
        json!({ "$median": { "input": "$a" } }),
        json!({ "$median": { "input": "$a", "method": "$a" } }),
        json!({ "$median": "$a" }),
    ] {
        let pipeline = json!([{ "$project": { "r": expression } }]).to_string();
        assert!(Program::parse(&pipeline, Rules::None).is_err(), "{pipeline}");
    }
}

proptest! {
    #[test]
    fn a_percentile_has_its_share_of_the_elements_at_or_below_it(
        mut all in prop::collection::vec(-50_i32..50, 1..40), share in 0.0_f64..=1.0,
    ) {
        let expression = json!({ "$percentile": { "input": "$a", "p": [share], "method": "approximate" } });
        let found = result(&expression, &json!(all));
        all.sort_unstable();
        let rank = (0..all.len()).find(|rank| (rank + 1) as f64 >= all.len() as f64 * share).unwrap_or(all.len() - 1);
        prop_assert_eq!(found, json!([double(f64::from(all[rank]))]));
    }
}
