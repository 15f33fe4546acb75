//! The stages of a pipeline over one document: it passes on, changed or not, or it ends there.
//!
//! From the first stage on that may make several documents of one, `many` runs them.

use crate::eval::{Cx, EvalError, Place};
use crate::expr::Node;
use crate::gate;
use crate::many::{self, Many};
use crate::plan::{NO_SLOT, StagePlan};
use crate::project::{Mode, Projection};
use crate::query::Query;
use crate::redact::Redact;
use crate::value::Value;

/// One compiled stage.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Match(Query),
    Project(Mode, Projection),
    /// `$replaceRoot` and `$replaceWith`.
    Replace(Place, Node),
    /// `$limit` (which is at least 1): nothing to do for one document.
    Pass,
    /// `$skip` of at least 1: one document is always skipped.
    Skip,
    /// `$count` under this name.
    Count(Box<str>),
    Redact(Redact),
    /// Of several documents, or makes them.
    Many(Many),
}

/// Runs the stages, with where their answers are remembered and how many of the first clauses are known to hold; none when the document does not pass, the first where there are several.
pub(crate) fn run<'a>(
    cx: &mut Cx<'a, '_>,
    stages: &'a [(Place, Stage)],
    (plans, held): (&'a [StagePlan], usize),
) -> Result<Option<Value<'a>>, EvalError> {
    for (at, (place, stage)) in stages.iter().enumerate() {
        cx.place = *place;
        let plan = plans.get(at);
        match stage {
            Stage::Match(query) => {
                if !matches(
                    cx,
                    query,
                    (plan.map_or(&[], |plan| &plan.clauses), *place),
                    if at == 0 { held } else { 0 },
                )? {
                    return Ok(None);
                }
            }
            Stage::Project(mode, projection) => {
                let included = plan.map_or(NO_SLOT, |plan| plan.included);
                cx.document = match plan {
                    Some(plan) if plan.whole != NO_SLOT => {
                        cx.remembered(plan.whole, *place, |cx| projection.apply(cx, (*mode, included)))?
                    }
                    _ => projection.apply(cx, (*mode, included))?,
                };
                // Whether the stage was run or remembered.
                cx.place = *place;
            }
            Stage::Replace(place, node) => {
                let value = node.eval(cx)?;
                if !value.is_document() {
                    return Err(
                        cx.refuse(*place, format!("the new root must be a document, and this is {}", value.shown()))
                    );
                }
                cx.document = value;
            }
            Stage::Redact(redact) => {
                let document = redact.apply(cx)?;
                if document.is_missing() {
                    return Ok(None);
                }
                cx.document = document;
            }
            Stage::Many(_) => {
                let document = cx.document;
                return Ok(many::run(cx, &stages[at..], vec![document])?.into_iter().next());
            }
            Stage::Pass => {}
            Stage::Skip => return Ok(None),
            Stage::Count(name) => cx.document = cx.object(vec![(name, Value::Int32(1))])?,
        }
    }
    Ok(Some(cx.document))
}

/// Whether the stage's document matches; clauses that other programs have too are remembered.
fn matches<'a>(
    cx: &mut Cx<'a, '_>,
    query: &'a Query,
    (slots, place): (&[u32], Place),
    held: usize,
) -> Result<bool, EvalError> {
    let document = cx.document;
    let clauses = match query {
        Query::All(clauses) => {
            cx.charge(1)?;
            clauses.as_slice()
        }
        _ => std::slice::from_ref(query),
    };
    cx.charge(held as u64 * gate::STEPS)?;
    for (number, clause) in clauses.iter().enumerate().skip(held) {
        let holds = match slots.get(number) {
            Some(slot) if *slot != NO_SLOT => {
                cx.remembered(*slot, place, |cx| clause.matches(cx, document).map(Value::Bool))?.is_true()
            }
            _ => {
                let holds = clause.matches(cx, document)?;
                cx.place = place;
                holds
            }
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}
