//! The first, last, smallest or largest few elements of an array: `$firstN`, `$lastN`, `$minN`, `$maxN`.
//!
//! `many::accumulate` picks in the same way from the documents of a group.

use super::{Call, Form, Operator, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::number::integral;
use crate::value::Value;

const FORM: Form = Form::Named(&["n", "input"], 2);

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$firstN", FORM, |cx, call| ends(cx, call, true)),
    shaped("$lastN", FORM, |cx, call| ends(cx, call, false)),
    shaped("$maxN", FORM, |cx, call| extremes(cx, call, true)),
    shaped("$minN", FORM, |cx, call| extremes(cx, call, false)),
];

/// How many to pick: a whole number above 0; none for anything else.
pub(crate) fn how_many(value: Value<'_>) -> Option<usize> {
    integral(value).filter(|n| *n > 0).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// Keeps the `n` smallest of the values that are there, in order, or the largest, the largest first. Among equal ones those that came first
/// are kept, and the largest stand with the last first: as in MongoDB, which fills a set in order.
pub(crate) fn keep_extremes<'a>(
    cx: &mut Cx<'a, '_>,
    values: &mut Vec<Value<'a>>,
    n: usize,
    largest: bool,
) -> Result<(), EvalError> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    for value in values.iter().filter(|value| !value.is_nullish()) {
        if kept.len() == n {
            let edge = if largest { 0 } else { n - 1 };
            let order = cx.compare(kept[edge], *value)?;
            if if largest { order.is_ge() } else { order.is_le() } {
                continue;
            }
            kept.remove(edge);
        }
        let (mut low, mut high) = (0, kept.len());
        while low < high {
            cx.charge(1)?;
            let middle = low.midpoint(high);
            if cx.compare(*value, kept[middle])?.is_lt() { high = middle } else { low = middle + 1 }
        }
        cx.charge(1 + (kept.len() - low) as u64 / 64)?;
        kept.insert(low, *value);
    }
    if largest {
        kept.reverse();
    }
    *values = kept;
    Ok(())
}

fn given<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<(usize, Vec<Value<'a>>), EvalError> {
    let (n, input) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    let Some(count) = how_many(n) else {
        return Err(call.error(cx, format_args!("needs a whole `n` above 0, and this is {}", n.shown())));
    };
    if !input.is_array() {
        return Err(call.error(cx, format_args!("works on an array, not on {}", input.shown())));
    }
    let all = cx.elements(input)?;
    cx.place = call.place;
    Ok((count, all))
}

fn ends<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, first: bool) -> Out<'a> {
    let (n, mut all) = given(cx, call)?;
    if first {
        all.truncate(n);
    } else {
        all.drain(..all.len().saturating_sub(n));
    }
    cx.array(all)
}

fn extremes<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, largest: bool) -> Out<'a> {
    let (n, mut all) = given(cx, call)?;
    keep_extremes(cx, &mut all, n, largest)?;
    cx.array(all)
}
