//! Sharing, reordering and compiling change no answer: each filter alone is compared with all together, and a pipeline with others that
//! must say the same. `PROPTEST_CASES` sets how many cases are tried.

mod bind;
#[path = "../common/mod.rs"]
mod common;
mod generate;

use boom_filter::{Budget, EvalError, FilterSet, Outcome, Program, Rules, Scratch};
use bson::{Bson, Document, RawDocumentBuf};
use common::NOW;
use generate::Case;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

/// Everything that a caller sees of an outcome.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Passed(Vec<u8>),
    Rejected,
    Failed(EvalError),
}

impl From<&Outcome> for Seen {
    fn from(outcome: &Outcome) -> Seen {
        match outcome {
            Outcome::Passed(document) => Seen::Passed(document.as_bytes().to_vec()),
            Outcome::Rejected => Seen::Rejected,
            Outcome::Failed(error) => Seen::Failed(error.clone()),
        }
    }
}

impl Seen {
    /// Without the place, for pipelines that are written otherwise.
    fn placeless(&self) -> Result<Option<&[u8]>, &str> {
        match self {
            Seen::Passed(bytes) => Ok(Some(bytes)),
            Seen::Rejected => Ok(None),
            Seen::Failed(error) => Err(&error.fault().message),
        }
    }

    /// With the fields in alphabetical order, level by level.
    fn with_sorted_fields(&self) -> Seen {
        match self {
            Seen::Passed(bytes) => {
                let document = Document::from_reader(&bytes[..]).expect("what passes is BSON");
                let Bson::Document(sorted) = sorted(document.into()) else { return self.clone() };
                Seen::Passed(sorted.to_vec().expect("a document can be written"))
            }
            other => other.clone(),
        }
    }

    fn is_spent(&self) -> bool {
        matches!(self, Seen::Failed(EvalError::Budget(_)))
    }
}

fn sorted(value: Bson) -> Bson {
    match value {
        Bson::Document(document) => {
            let mut fields: Vec<_> = document.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Bson::Document(fields.into_iter().collect())
        }
        Bson::Array(items) => items.into_iter().map(sorted).collect::<Vec<_>>().into(),
        other => other,
    }
}

fn parsed(pipeline: &Value) -> Option<Program> {
    Program::parse(&pipeline.to_string(), Rules::None).ok()
}

/// The answers of a set, each program called back exactly once.
fn together(set: &FilterSet, alert: &RawDocumentBuf, scratch: &mut Scratch) -> Vec<Seen> {
    let mut all = vec![None; set.len()];
    set.evaluate(alert, NOW, scratch, |at, outcome| {
        assert!(all[at].replace(Seen::from(outcome)).is_none(), "program {at} was called back twice");
    });
    all.into_iter().map(|seen| seen.expect("every program is called back")).collect()
}

fn alone(program: &Program, alert: &RawDocumentBuf, budget: Budget) -> Seen {
    let set = FilterSet::with_budget(vec![program.clone()], budget);
    together(&set, alert, &mut set.scratch()).remove(0)
}

fn run(pipeline: &Value, alert: &RawDocumentBuf) -> Option<Seen> {
    parsed(pipeline).map(|program| alone(&program, alert, Budget::default()))
}

/// The same answer, wherever an error stands; what ran out of budget says nothing.
fn agree(one: &Seen, other: &Seen) -> Result<(), TestCaseError> {
    if !one.is_spent() && !other.is_spent() {
        prop_assert_eq!(one.placeless(), other.placeless());
    }
    Ok(())
}

fn prepared(case: &Case) -> (Vec<Program>, Vec<RawDocumentBuf>, Budget) {
    let budget = Budget { steps: case.budget.0, bytes: case.budget.1 };
    (case.filters.iter().filter_map(parsed).collect(), case.alerts.iter().map(common::document).collect(), budget)
}

/// Each program alone on each alert.
fn expected(programs: &[Program], alerts: &[RawDocumentBuf], budget: Budget) -> Vec<Vec<Seen>> {
    alerts.iter().map(|alert| programs.iter().map(|program| alone(program, alert, budget)).collect()).collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, max_shrink_iters: 4096, ..ProptestConfig::default() }
}

/// Alone within this budget, the program has an answer.
fn suffices(program: &Program, alert: &RawDocumentBuf, budget: Budget) -> bool {
    !alone(program, alert, budget).is_spent()
}

/// The least of what suffices, below what is known to.
fn least(mut enough: u64, suffices: impl Fn(u64) -> bool) -> u64 {
    let mut too_little = None;
    while too_little.map_or(0, |n| n + 1) < enough {
        let middle = too_little.map_or(0, |n: u64| n + 1).midpoint(enough).min(enough - 1);
        if suffices(middle) { enough = middle } else { too_little = Some(middle) }
    }
    enough
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn filters_together_answer_as_each_alone(case in generate::case()) {
        let (programs, alerts, budget) = prepared(&case);
        let expected = expected(&programs, &alerts, budget);
        let set = FilterSet::with_budget(programs, budget);
        let mut scratch = set.scratch();
        for at in (0..alerts.len()).chain((0..alerts.len()).rev()) {
            prop_assert_eq!(&together(&set, &alerts[at], &mut scratch), &expected[at]);
        }
    }

    #[test]
    fn order_and_duplicates_change_no_answer(case in generate::case(), order in prop::collection::vec(any::<Index>(), 1..12)) {
        let (programs, alerts, budget) = prepared(&case);
        prop_assume!(!programs.is_empty());
        let expected = expected(&programs, &alerts, budget);
        let order: Vec<usize> = order.iter().map(|at| at.index(programs.len())).collect();
        let set = FilterSet::with_budget(order.iter().map(|at| programs[*at].clone()).collect(), budget);
        let other = FilterSet::with_budget(programs, budget);
        let mut scratch = other.scratch();
        for (alert, expected) in alerts.iter().zip(&expected) {
            together(&other, alert, &mut scratch);
            let of_order: Vec<Seen> = order.iter().map(|at| expected[*at].clone()).collect();
            prop_assert_eq!(together(&set, alert, &mut scratch), of_order);
        }
    }

    #[test]
    fn filters_that_are_not_asked_change_no_answer(case in generate::case(), masks in prop::collection::vec(any::<u16>(), 1..4)) {
        let (programs, alerts, budget) = prepared(&case);
        let expected = expected(&programs, &alerts, budget);
        let set = FilterSet::with_budget(programs, budget);
        let mut scratch = set.scratch();
        for mask in masks {
            for (alert, expected) in alerts.iter().zip(&expected) {
                let mut seen = vec![None; set.len()];
                let asked = |at: usize| mask & (1 << (at % 16)) != 0;
                set.evaluate_where(alert, (NOW, &mut scratch), asked, |at, outcome| seen[at] = Some(Seen::from(outcome)));
                let of_asked: Vec<Option<Seen>> = expected.iter().enumerate().map(|(at, e)| asked(at).then(|| e.clone())).collect();
                prop_assert_eq!(seen, of_asked);
            }
        }
    }

    #[test]
    fn a_budget_ends_at_the_same_step_alone_and_together(case in generate::case(), of in any::<Index>(), first in any::<bool>()) {
        let (programs, alerts, _) = prepared(&case);
        prop_assume!(!programs.is_empty());
        let (program, alert, whole) = (of.get(&programs), &alerts[0], Budget::default());
        prop_assume!(suffices(program, alert, whole));
        let steps = least(whole.steps, |steps| suffices(program, alert, Budget { steps, ..whole }));
        let bytes = least(whole.bytes, |bytes| suffices(program, alert, Budget { bytes, ..whole }));
        let mut order = programs.clone();
        if first { order.insert(0, program.clone()) } else { order.push(program.clone()) }
        let place = if first { 0 } else { order.len() - 1 };
        let short = |n: u64| n.saturating_sub(1);
        for budget in [(steps, whole.bytes), (short(steps), whole.bytes), (whole.steps, bytes), (whole.steps, short(bytes))] {
            let budget = Budget { steps: budget.0, bytes: budget.1 };
            let set = FilterSet::with_budget(order.clone(), budget);
            prop_assert_eq!(&together(&set, alert, &mut set.scratch())[place], &alone(program, alert, budget));
        }
    }

    #[test]
    fn a_pipeline_is_its_first_stages_and_then_the_rest(case in generate::single(), cut in any::<Index>()) {
        let (stages, alert) = (case.filters[0].as_array().expect("a pipeline is an array"), common::document(&case.alerts[0]));
        let (first, rest) = stages.split_at(cut.index(stages.len() + 1));
        let (Some(whole), Some(halfway)) = (run(&json!(stages), &alert), run(&json!(first), &alert)) else { return Ok(()) };
        let parts = match &halfway {
            Seen::Passed(bytes) => {
                let between = RawDocumentBuf::from_bytes(bytes.clone()).expect("what passes on is BSON");
                run(&json!(rest), &between)
            }
            other => Some(other.clone()),
        };
        // As in MongoDB a `$match` or `$skip` moves ahead of what is computed, and the clauses of a leading `$match` have an order of
        // their own: which of them fails or rejects first is another matter.
        let moves = |stage: &Value| ["$match", "$skip", "$limit", "$sort"].iter().any(|name| stage.get(name).is_some());
        let ordered = rest.iter().any(moves);
        let fails = [&whole, &parts.clone().unwrap_or(Seen::Rejected)].iter().any(|seen| matches!(seen, Seen::Failed(_)));
        // What a stage takes out leaves a place, in documents and in arrays, which what is written does not have.
        let takes_out = first.iter().any(|stage| ["$project", "$unset"].iter().any(|name| stage.get(name).is_some()));
        if let Some(parts) = parts && !(ordered && fails) && !takes_out {
            agree(&whole.with_sorted_fields(), &parts.with_sorted_fields())?;
        }
    }

    #[test]
    fn the_names_of_variables_do_not_matter(case in generate::single()) {
        let (pipeline, alert) = (&case.filters[0], common::document(&case.alerts[0]));
        if let Some(seen) = run(pipeline, &alert) {
            let other = run(&bind::renamed(pipeline), &alert);
            agree(&seen, &other.expect("it parses under any names"))?;
        }
    }

    #[test]
    fn a_loop_is_its_body_point_by_point(body in generate::of_a_point(), alert in generate::short_alert(), name in prop::sample::select(vec!["prv_candidates", "fp_hists", "odd"])) {
        let Some(points) = alert[name].as_array().map(Vec::len) else { return Ok(()) };
        let (body, alert) = (bind::close_within(&body, &["p"]), common::document(&alert));
        let at_each = |body: &Value| -> Vec<Value> {
            let point = |at: usize| json!({"$arrayElemAt": [format!("${name}"), at]});
            (0..points).map(|at| json!({"$let": {"vars": {"p": point(at)}, "in": body}})).collect()
        };
        let project = |e: Value| json!([{"$project": {"_id": 0, "r": e}}]);
        let looped = |operator: &str, body: &str, e: &Value| json!({operator: {"input": format!("${name}"), "as": "p", body: e}});
        let kept = json!({"$cond": [body, ["$$p"], []]});
        let pairs = [
            (looped("$map", "in", &body), json!(at_each(&body))),
            (looped("$filter", "cond", &body), json!({"$concatArrays": at_each(&kept)})),
            (json!({"$anyElementTrue": looped("$map", "in", &body)}), json!({"$anyElementTrue": [at_each(&body)]})),
            (json!({"$sum": looped("$map", "in", &body)}), json!({"$sum": [at_each(&body)]})),
            (json!({"$size": looped("$filter", "cond", &body)}), json!({"$size": [{"$concatArrays": at_each(&kept)}]})),
        ];
        for (whole, parts) in pairs {
            if let (Some(whole), Some(parts)) = (run(&project(whole), &alert), run(&project(parts), &alert)) {
                agree(&whole, &parts)?;
            }
        }
    }

    #[test]
    fn clauses_in_many_matches_are_clauses_in_one(clauses in prop::collection::vec(generate::clause(), 1..5), alerts in generate::case()) {
        let before = json!({"$addFields": {"made": {"$add": [1, 1]}}});
        let with = |leading: &[Value], matches: Vec<Value>| json!([leading, &matches].concat());
        let split: Vec<Value> = clauses.iter().map(|clause| json!({"$match": clause})).collect();
        for alert in alerts.alerts.iter().map(common::document) {
            for leading in [&[][..], std::slice::from_ref(&before)] {
                let one = run(&with(leading, vec![json!({"$match": {"$and": clauses}})]), &alert);
                let Some((one, many)) = one.zip(run(&with(leading, split.clone()), &alert)) else { continue };
                // Behind another stage, what can move ahead of it of one clause is tried before the rest of another.
                let fails = [&one, &many].iter().any(|seen| matches!(seen, Seen::Failed(_)));
                if leading.is_empty() || !fails {
                    agree(&one, &many)?;
                }
            }
        }
    }

    #[test]
    fn conditions_that_are_looked_at_beforehand_change_no_answer(clauses in prop::collection::vec(generate::condition(), 1..7), alerts in generate::case()) {
        let Some(program) = parsed(&json!([{"$match": {"$and": clauses}}])) else { return Ok(()) };
        for alert in alerts.alerts.iter().map(common::document) {
            // With so few steps nothing is looked at beforehand.
            let few = Budget { steps: 300, ..Budget::default() };
            agree(&alone(&program, &alert, few), &alone(&program, &alert, Budget::default()))?;
        }
    }

    #[test]
    fn the_order_of_clauses_that_cannot_fail_does_not_matter(
        (clauses, shuffled) in prop::collection::vec(generate::infallible(), 1..6).prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle())),
        of in prop::sample::select(vec!["$and", "$or", "$nor"]), alerts in generate::case(),
    ) {
        for alert in alerts.alerts.iter().map(common::document) {
            let one = run(&json!([{"$match": {of: clauses}}]), &alert);
            let other = run(&json!([{"$match": {of: shuffled}}]), &alert);
            if let (Some(one), Some(other)) = (one, other) {
                agree(&one, &other)?;
            }
        }
    }
}

#[test]
fn most_generated_filters_say_something() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut passed, mut rejected, mut failed, mut spent, mut refused) = (0, 0, 0, 0, 0);
    for _ in 0..200 {
        let case = generate::case().new_tree(&mut runner).expect("a case can be generated").current();
        let (programs, alerts, budget) = prepared(&case);
        refused += case.filters.len() - programs.len();
        for seen in expected(&programs, &alerts, budget).into_iter().flatten() {
            match seen {
                Seen::Passed(_) => passed += 1,
                Seen::Rejected => rejected += 1,
                Seen::Failed(EvalError::Budget(_)) => spent += 1,
                Seen::Failed(_) => failed += 1,
            }
        }
    }
    let seen = format!("{passed} passed, {rejected} rejected, {failed} failed, {spent} spent, {refused} refused");
    assert!([passed, rejected, failed, spent].iter().all(|n| *n > 100) && refused < 500, "{seen}");
}

#[test]
fn an_element_that_is_an_array_of_points_is_one_in_a_loop_too() {
    let alert = common::document(&json!({"s": [{"jd": 15.0}, [{"jd": 1}], 3, [], {"jd": [2]}]}));
    for body in
        [json!({"$and": ["$$p.jd"]}), json!({"$gt": ["$$p.jd", 2]}), json!({"$isArray": "$$p.jd"}), json!("$$p.jd")]
    {
        let each: Vec<Value> =
            (0..5).map(|at| json!({"$let": {"vars": {"p": {"$arrayElemAt": ["$s", at]}}, "in": body}})).collect();
        let looped = json!({"$map": {"input": "$s", "as": "p", "in": body}});
        let of = |e: Value| run(&json!([{"$project": {"r": e}}]), &alert).expect("it is a pipeline");
        assert_eq!(of(looped), of(json!(each)), "{body}");
    }
}
