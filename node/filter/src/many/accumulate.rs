//! The accumulators of `$group`: what becomes of one group's documents.
//!
//! Those that are also operators on arrays (`$sum`, `$mergeObjects`…) are those operators, on the array of the documents' values.

use super::SortBy;
use crate::eval::{Cx, EvalError, Out, Place};
use crate::expr::pick::{how_many, keep_extremes};
use crate::expr::{Call, Node};
use crate::value::Value;

/// A compiled accumulator.
#[derive(Debug, Clone)]
pub(crate) enum Accumulator {
    Count,
    /// The values of an expression that are there, made into one.
    Fold(Fold, Node),
    /// `n` values of an expression.
    Pick(Place, Pick, Node, Node),
    /// By the order of the documents.
    Rank(Rank),
}

/// What is made of all values.
#[derive(Debug, Clone)]
pub(crate) enum Fold {
    First,
    Last,
    Push,
    AddToSet,
    /// An operator on an array, which it finds in its variable.
    Operator(Call),
}

/// Which values are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    First,
    Last,
    Max,
    Min,
}

/// `$top`, `$topN`, `$bottom` and `$bottomN`.
#[derive(Debug, Clone)]
pub(crate) struct Rank {
    pub(crate) place: Place,
    pub(crate) top: bool,
    /// None for one output that stands alone.
    pub(crate) n: Option<Node>,
    /// The directions; the keys themselves are the expressions of the paths, as in MongoDB.
    pub(crate) by: SortBy,
    pub(crate) keys: Box<[Node]>,
    pub(crate) output: Node,
}

impl Accumulator {
    /// What the group's documents give; there is at least one.
    pub(super) fn value<'a>(&'a self, cx: &mut Cx<'a, '_>, key: Value<'a>, members: &[Value<'a>]) -> Out<'a> {
        match self {
            Accumulator::Count => Ok(crate::number::narrow(members.len() as i64)),
            Accumulator::Fold(fold, node) => fold.value(cx, node, members),
            Accumulator::Pick(place, pick, n, input) => {
                let n = count(cx, *place, n, key)?;
                cx.place = *place;
                let mut all = values(cx, input, members)?;
                match pick {
                    Pick::First => all.truncate(n),
                    Pick::Last => drop(all.drain(..all.len().saturating_sub(n))),
                    Pick::Max | Pick::Min => keep_extremes(cx, &mut all, n, *pick == Pick::Max)?,
                }
                cx.array(all)
            }
            Accumulator::Rank(rank) => rank.value(cx, key, members),
        }
    }
}

/// How many to pick: computed once for a group, from the fields of its key.
fn count<'a>(cx: &mut Cx<'a, '_>, place: Place, n: &'a Node, key: Value<'a>) -> Result<usize, EvalError> {
    cx.document = if key.is_document() { key } else { cx.object(Vec::new())? };
    let n = n.eval(cx)?;
    how_many(n).ok_or_else(|| cx.refuse(place, format!("needs a whole `n` above 0, and this is {}", n.shown())))
}

/// The values of an expression on each document, missing ones too.
fn values<'a>(cx: &mut Cx<'a, '_>, node: &'a Node, members: &[Value<'a>]) -> Result<Vec<Value<'a>>, EvalError> {
    cx.charge_bytes(size_of_val(members))?;
    let mut all = Vec::with_capacity(members.len());
    for member in members {
        cx.document = *member;
        all.push(node.eval(cx)?);
    }
    Ok(all)
}

impl Fold {
    fn value<'a>(&'a self, cx: &mut Cx<'a, '_>, node: &'a Node, members: &[Value<'a>]) -> Out<'a> {
        let mut all = values(cx, node, members)?;
        match self {
            Fold::First => return Ok(all.first().copied().unwrap_or(Value::Missing)),
            Fold::Last => return Ok(all.last().copied().unwrap_or(Value::Missing)),
            _ => all.retain(|value| !value.is_missing()),
        }
        match self {
            Fold::AddToSet => {
                let mut order: Vec<usize> = (0..all.len()).collect();
                cx.sort(&mut order, |cx, a, b| cx.compare(all[*a], all[*b]))?;
                let mut firsts: Vec<usize> = Vec::new();
                for at in order {
                    // The sort is stable: of equal values the first comes first.
                    let known = match firsts.last() {
                        Some(last) => cx.compare(all[*last], all[at])?.is_eq(),
                        None => false,
                    };
                    if !known {
                        firsts.push(at);
                    }
                }
                firsts.sort_unstable();
                cx.array(firsts.into_iter().map(|at| all[at]).collect())
            }
            Fold::Operator(call) => {
                cx.variables[call.slot as usize] = cx.array(all)?;
                (call.operator.apply)(cx, call)
            }
            _ => cx.array(all),
        }
    }
}

impl Rank {
    fn value<'a>(&'a self, cx: &mut Cx<'a, '_>, key: Value<'a>, members: &[Value<'a>]) -> Out<'a> {
        let n = match &self.n {
            Some(n) => count(cx, self.place, n, key)?,
            None => 1,
        };
        // All outputs are computed, as in MongoDB, which cannot know which it will keep.
        let outputs = values(cx, &self.output, members)?;
        cx.place = self.place;
        let mut keys = Vec::with_capacity(members.len());
        for member in members {
            cx.document = *member;
            let values = self.keys.iter().map(|node| node.eval(cx)).collect::<Result<Vec<_>, _>>()?;
            keys.push(self.by.key_of(cx, values)?);
        }
        let order = self.by.order(cx, &keys)?;
        let from = if self.top { 0 } else { order.len().saturating_sub(n) };
        let mut kept: Vec<usize> = order[from..].iter().take(n).copied().collect();
        if from > 0 {
            // Of those that are equal to the first kept one, the earliest are kept.
            let is_equal =
                |cx: &mut Cx<'a, '_>, at: usize| Ok(self.by.compare(cx, &keys[at], &keys[order[from]])?.is_eq());
            let (mut start, mut end) = (from, from);
            while start > 0 && is_equal(cx, order[start - 1])? {
                start -= 1;
            }
            while end < order.len() && is_equal(cx, order[end])? {
                end += 1;
            }
            kept = order[start..start + (end - from)].iter().chain(&order[end..]).copied().collect();
        }
        let kept: Vec<_> = kept.into_iter().map(|at| outputs[at]).collect();
        match &self.n {
            None => Ok(kept.first().copied().unwrap_or(Value::Missing)),
            Some(_) => cx.array(kept),
        }
    }
}
