//! Tables of (pipeline, document, expected) under `cases/`, whose expectations are what a mongod 6.0.5 answered. `error` stands for an
//! error of the evaluation as well as for a pipeline that is refused. The form is what a differential test against a mongod reads.

mod common;

use boom_filter::{Outcome, Program, Rules};
use common::{NOW, answer, document};
use serde_json::{Value, json};

fn check(table: &str) {
    let mut failed = Vec::new();
    for (line, case) in table.lines().enumerate() {
        let case: Value = serde_json::from_str(case).expect("a line of the table is JSON");
        if let Some(all) = case["expect"].get("documents") {
            let program = common::program(&case["pipeline"], Rules::None);
            let found = program.evaluate_all(&document(&case["document"]), NOW).expect("the table expects documents");
            let found: Vec<_> = found.into_iter().map(|d| answer(&Outcome::Passed(d)).to_string()).collect();
            let expected: Vec<_> = all
                .as_array()
                .expect("a list")
                .iter()
                .map(|d| answer(&Outcome::Passed(common::document(d))).to_string())
                .collect();
            assert_eq!(found, expected, "line {}: {}", line + 1, case["pipeline"]);
            let first = program.evaluate(&document(&case["document"]), NOW);
            assert_eq!(Some(&answer(&first).to_string()), expected.first(), "the outcome is the first document");
            continue;
        }
        let found = match Program::parse(&case["pipeline"].to_string(), Rules::None) {
            Ok(program) => answer(&program.evaluate(&document(&case["document"]), NOW)),
            Err(_) => json!({ "error": true }),
        };
        let mut expected = case["expect"].clone();
        if let Some(document) = expected.get("document") {
            // Read and written again, so that a number is spelt alike.
            expected = answer(&Outcome::Passed(common::document(document)));
        }
        // As text, so that the order of fields counts.
        let (found, expected) = (found.to_string(), expected.to_string());
        if found != expected {
            let (line, pipeline, document) = (line + 1, &case["pipeline"], &case["document"]);
            failed.push(format!("line {line}: {pipeline} on {document}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(failed.is_empty(), "{} cases differ:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn arithmetic_gives_mongodb_s_numbers_and_types() {
    check(include_str!("cases/arithmetic.jsonl"));
}

#[test]
fn accumulators_pass_over_what_is_no_number() {
    check(include_str!("cases/accumulators.jsonl"));
}

#[test]
fn arrays_are_cut_sorted_mapped_and_reduced_as_in_mongodb() {
    check(include_str!("cases/arrays.jsonl"));
}

#[test]
fn decimals_compute_compare_and_convert_as_in_mongodb() {
    check(include_str!("cases/decimals.jsonl"));
}

#[test]
fn numbers_of_all_types_go_together_as_in_mongodb() {
    check(include_str!("cases/numbers.jsonl"));
}

#[test]
fn bits_are_tested_in_numbers_and_binary_data_as_in_mongodb() {
    check(include_str!("cases/bits.jsonl"));
}

#[test]
fn literals_of_rarer_types_compare_and_pass_through_as_in_mongodb() {
    check(include_str!("cases/literals.jsonl"));
}

#[test]
fn logic_compares_across_types_and_evaluates_no_more_than_mongodb() {
    check(include_str!("cases/logic.jsonl"));
}

#[test]
fn objects_and_types_convert_as_in_mongodb() {
    check(include_str!("cases/objects_and_types.jsonl"));
}

#[test]
fn queries_go_through_arrays_and_tell_missing_from_null_as_in_mongodb() {
    check(include_str!("cases/queries.jsonl"));
}

#[test]
fn projections_keep_the_order_of_fields_as_in_mongodb() {
    check(include_str!("cases/projections.jsonl"));
}

#[test]
fn strings_are_joined_cut_searched_and_replaced_as_in_mongodb() {
    check(include_str!("cases/strings.jsonl"));
}

#[test]
fn patterns_match_as_pcre_does() {
    check(include_str!("cases/patterns.jsonl"));
}

#[test]
fn conversions_succeed_and_fail_as_in_mongodb() {
    check(include_str!("cases/conversions.jsonl"));
}

#[test]
fn dates_have_the_parts_that_mongodb_gives_them_in_every_zone() {
    check(include_str!("cases/date_parts.jsonl"));
}

#[test]
fn dates_are_written_and_read_as_in_mongodb() {
    check(include_str!("cases/date_text.jsonl"));
}

#[test]
fn dates_are_shifted_counted_and_truncated_as_in_mongodb() {
    check(include_str!("cases/date_arithmetic.jsonl"));
}

#[test]
fn fields_sets_and_picked_elements_are_those_of_mongodb() {
    check(include_str!("cases/objects_and_sets.jsonl"));
}

#[test]
fn documents_are_unwound_grouped_sorted_and_cut_as_in_mongodb() {
    check(include_str!("cases/documents.jsonl"));
}

#[test]
fn clauses_and_stages_run_in_mongodb_s_order() {
    check(include_str!("cases/order.jsonl"));
}
