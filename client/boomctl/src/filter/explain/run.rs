//! An alert through a pipeline, stage by stage: what the beginning of the pipeline makes of it, ever longer.

use std::time::{Duration, Instant};

use boom_filter::{FilterSet, Outcome, Program};
use bson::{Document, RawDocumentBuf};
use serde_json::{Value, json};

use super::clauses::{Clause, rejecting};
use super::evaluate::On;
use crate::output;

/// Evaluations that are timed.
const EVALUATIONS: u32 = 5000;
/// They stop after this.
const LONGEST: Duration = Duration::from_secs(2);

/// What became of an alert in a stage.
#[derive(Debug)]
pub(super) enum Fate {
    /// It goes on as it was.
    Passed,
    /// It goes on changed: fields that are new, gone and different.
    Changed {
        new: Vec<String>,
        gone: Vec<String>,
        different: Vec<String>,
    },
    Rejected(Vec<Clause>),
    /// The place in the pipeline, and what is wrong.
    Failed(String, String),
    /// A stage before ended it.
    NotReached,
}

/// What became of an alert.
#[derive(Debug)]
pub(super) struct Run {
    /// One for each stage.
    pub(super) fates: Vec<Fate>,
    /// How many documents come into each stage; of several the first is followed.
    pub(super) documents: Vec<usize>,
    /// What is passed on at the end.
    pub(super) result: Option<Document>,
    /// Mean time of an evaluation, µs, and of how many.
    pub(super) time: (f64, u32),
    /// Steps of the budget.
    pub(super) steps: u64,
}

impl Run {
    /// Runs it.
    pub(super) fn new(on: On<'_>, pipeline: &[Value], program: &Program) -> Self {
        let documents = (0..pipeline.len()).map(|at| on.count(&pipeline[..at])).collect();
        let mut run =
            Self { fates: Vec::new(), documents, result: None, time: time(on, program), steps: on.steps(program) };
        let mut document = on.document.to_owned();
        let mut at = 0;
        while at < pipeline.len() {
            // Stages that stand together: clauses of neighbouring $match stages are tried in one order.
            let end =
                at + 1 + pipeline[at + 1..].iter().take_while(|next| is_match(&pipeline[at]) && is_match(next)).count();
            let before = On { document: &document, ..on };
            let ended = match on.run(&pipeline[..end]) {
                Ok(Outcome::Passed(after)) => {
                    run.fates.extend((at..end).map(|_| change(&document, &after)));
                    document = after;
                    false
                }
                Ok(Outcome::Rejected) => {
                    let fates = (at..end).map(|stage| Fate::Rejected(clauses(before, &pipeline[stage], stage)));
                    run.fates.extend(fates.map(|fate| match fate {
                        Fate::Rejected(clauses) if clauses.is_empty() && end - at > 1 => Fate::Passed,
                        fate => fate,
                    }));
                    true
                }
                Ok(Outcome::Failed(error)) => {
                    let fault = error.fault();
                    run.fates.push(Fate::Failed(fault.place.clone(), fault.message.clone()));
                    true
                }
                Err(problem) => {
                    run.fates.push(Fate::Failed(format!("[{at}]"), problem));
                    true
                }
            };
            if ended {
                run.fates.extend((run.fates.len()..pipeline.len()).map(|_| Fate::NotReached));
                return run;
            }
            at = end;
        }
        run.result = Document::try_from(document.as_ref()).ok();
        run
    }

    /// Whether the alert passes.
    pub(super) fn passed(&self) -> bool {
        self.result.is_some()
    }
}

fn is_match(stage: &Value) -> bool {
    stage.get("$match").is_some()
}

fn clauses(before: On<'_>, stage: &Value, at: usize) -> Vec<Clause> {
    stage.get("$match").map_or_else(Vec::new, |query| rejecting(before, query, &format!("[{at}].$match")))
}

fn change(before: &RawDocumentBuf, after: &RawDocumentBuf) -> Fate {
    if before == after {
        return Fate::Passed;
    }
    let read = |document: &RawDocumentBuf| Document::try_from(document.as_ref()).unwrap_or_default();
    let (before, after) = (read(before), read(after));
    let new = after.keys().filter(|name| !before.contains_key(name)).cloned().collect();
    let gone = before.keys().filter(|name| !after.contains_key(name)).cloned().collect();
    let differs =
        |(name, value): (&String, &bson::Bson)| before.get(name).is_some_and(|was| was != value).then(|| name.clone());
    Fate::Changed { new, gone, different: after.iter().filter_map(differs).collect() }
}

/// The mean time of an evaluation, in microseconds.
fn time(on: On<'_>, program: &Program) -> (f64, u32) {
    let set = FilterSet::new(vec![program.clone()]);
    let mut scratch = set.scratch();
    let begin = Instant::now();
    let mut evaluations = 0;
    while evaluations < EVALUATIONS && begin.elapsed() < LONGEST {
        set.evaluate(on.document, on.now, &mut scratch, |_, outcome| {
            std::hint::black_box(outcome);
        });
        evaluations += 1;
    }
    (begin.elapsed().as_secs_f64() * 1e6 / f64::from(evaluations.max(1)), evaluations)
}

impl Fate {
    /// In a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Changed { .. } => "changed",
            Self::Rejected(_) => "rejected",
            Self::Failed(..) => "failed",
            Self::NotReached => "not reached",
        }
    }

    /// What there is to say of it, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let listed = |verb: &str, names: &[String]| (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")));
        match self {
            Self::Passed | Self::NotReached => Vec::new(),
            Self::Changed { new, gone, different } => {
                let parts = [listed("new:", new), listed("changed:", different), listed("gone:", gone)];
                parts.into_iter().flatten().collect()
            }
            Self::Rejected(clauses) => {
                clauses.iter().map(|clause| format!("{}: {}", clause.path, clause.message)).collect()
            }
            Self::Failed(place, message) => vec![format!("{place}: {message}")],
        }
    }

    /// As an object.
    pub(super) fn json(&self) -> Value {
        let mut answer = json!({"outcome": self.word()});
        match self {
            Self::Passed | Self::NotReached => {}
            Self::Changed { new, gone, different } => {
                answer["changes"] = json!({"new": new, "gone": gone, "different": different});
            }
            Self::Rejected(clauses) => {
                let clause = |clause: &Clause| json!({"path": clause.path, "message": clause.message});
                answer["clauses"] = clauses.iter().map(clause).collect();
            }
            Self::Failed(place, message) => answer["error"] = json!({"path": place, "message": message}),
        }
        answer
    }
}

/// What is passed on, as Extended JSON.
pub(super) fn result(run: &Run) -> Value {
    run.result.clone().map_or(Value::Null, output::relaxed)
}
