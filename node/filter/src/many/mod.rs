//! Stages over several documents: from the first stage that may give more than one (`$unwind`) or that looks at all of them (`$group`,
//! `$sort` by several keys) to the end of the pipeline.
//!
//! Stages up to one that needs all documents are run document by document, the first to its end before the second begins, so that a
//! `$limit` that has its documents evaluates no further one: as MongoDB, which pulls. What one stage makes of one document is `stage`'s.
//! Every document costs at least a step and the bytes of what is new in it, so the budget bounds their number.

mod accumulate;
mod group;
mod sort;
mod unwind;

use crate::eval::{Cx, EvalError, Place};
use crate::stage::{self, Stage};
use crate::value::Value;

pub(crate) use accumulate::{Accumulator, Fold, Pick, Rank};
pub(crate) use group::Group;
pub(crate) use sort::SortBy;
pub(crate) use unwind::Unwind;
use unwind::Unwinding;

/// A stage that makes several documents of one, or that sees several.
#[derive(Debug, Clone)]
pub(crate) enum Many {
    Unwind(Unwind),
    Group(Group),
    Sort(SortBy),
    Limit(u64),
    Skip(u64),
}

/// Runs stages over documents; all documents that come out.
pub(crate) fn run<'a>(
    cx: &mut Cx<'a, '_>,
    stages: &'a [(Place, Stage)],
    mut documents: Vec<Value<'a>>,
) -> Result<Vec<Value<'a>>, EvalError> {
    let mut rest = stages;
    loop {
        let gathers = |stage: &(Place, Stage)| matches!(stage.1, Stage::Many(Many::Group(_) | Many::Sort(_)));
        let end = rest.iter().position(gathers).unwrap_or(rest.len());
        documents = stream(cx, &rest[..end], documents)?;
        let Some((place, stage)) = rest.get(end) else { return Ok(documents) };
        cx.place = *place;
        match stage {
            Stage::Many(Many::Group(group)) => documents = group.apply(cx, &documents)?,
            Stage::Many(Many::Sort(by)) => by.sort(cx, &mut documents)?,
            _ => {}
        }
        rest = &rest[end + 1..];
    }
}

/// Where documents come from, and the stage that they go to next.
struct Source<'a> {
    next: usize,
    feed: Feed<'a>,
}

enum Feed<'a> {
    Documents(std::vec::IntoIter<Value<'a>>),
    Unwinding(Unwinding<'a>),
}

/// Runs stages that see one document after the other.
fn stream<'a>(
    cx: &mut Cx<'a, '_>,
    stages: &'a [(Place, Stage)],
    documents: Vec<Value<'a>>,
) -> Result<Vec<Value<'a>>, EvalError> {
    let mut seen = vec![0_u64; stages.len()];
    let mut sources = vec![Source { next: 0, feed: Feed::Documents(documents.into_iter()) }];
    let mut passed = Vec::new();
    while let Some(source) = sources.last_mut() {
        let next = source.next;
        let document = match &mut source.feed {
            Feed::Documents(documents) => documents.next(),
            Feed::Unwinding(unwinding) => {
                cx.place = stages[next - 1].0;
                unwinding.next(cx)?
            }
        };
        match document {
            None => drop(sources.pop()),
            Some(document) => {
                cx.charge(1)?;
                if let Some(document) = forward(cx, (stages, next), document, (&mut sources, &mut seen))? {
                    cx.charge_bytes(size_of::<Value<'_>>())?;
                    passed.push(document);
                }
            }
        }
    }
    Ok(passed)
}

/// Takes one document through the stages, up to an `$unwind`, which becomes a source of its own.
fn forward<'a>(
    cx: &mut Cx<'a, '_>,
    (stages, from): (&'a [(Place, Stage)], usize),
    mut document: Value<'a>,
    (sources, seen): (&mut Vec<Source<'a>>, &mut [u64]),
) -> Result<Option<Value<'a>>, EvalError> {
    for (at, (place, stage)) in stages.iter().enumerate().skip(from) {
        cx.place = *place;
        match stage {
            Stage::Many(Many::Limit(limit)) => {
                seen[at] += 1;
                if seen[at] >= *limit {
                    // All sources feed this limit: none of them is asked again.
                    sources.clear();
                }
            }
            Stage::Many(Many::Skip(skipped)) => {
                seen[at] += 1;
                if seen[at] <= *skipped {
                    return Ok(None);
                }
            }
            Stage::Many(Many::Unwind(unwind)) => {
                sources.push(Source { next: at + 1, feed: unwind.open(cx, document)? });
                return Ok(None);
            }
            Stage::Many(Many::Group(_) | Many::Sort(_)) => {}
            _ => {
                cx.document = document;
                match stage::run(cx, &stages[at..=at], (&[], 0))? {
                    Some(changed) => document = changed,
                    None => return Ok(None),
                }
            }
        }
    }
    Ok(Some(document))
}
