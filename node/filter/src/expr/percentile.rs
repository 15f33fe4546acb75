//! `$percentile` and `$median` over one array, with the meaning of MongoDB 7: the element at the rank, no interpolation.
//!
//! NaN and what is no number are passed over; the results are doubles.

use super::{Call, Extra, Form, Node, Operator, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::number::approximate;
use crate::value::{Elements, Value};

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$median", Form::Named(&["input", "method"], 2), |cx, call| {
        let Some(sorted) = samples(cx, call)? else { return Ok(Value::Null) };
        Ok(at_rank(&sorted, 0.5))
    })
    .prepared(check),
    shaped("$percentile", Form::Named(&["input", "p", "method"], 3), percentile).prepared(check),
];

/// Looks at the constant arguments: `p`, when it is there, and `method`.
fn check(args: &[Node]) -> Result<Extra, String> {
    if let [_, p, _] = args
        && !matches!(p, Node::Constant(p) if shares(p.value()).is_some())
    {
        return Err("`p` takes a constant list of at least one number from 0 to 1".to_owned());
    }
    match args.last() {
        Some(Node::Constant(c)) if matches!(c.value(), Value::Text("approximate")) => Ok(Extra::None),
        _ => Err("`method` takes \"approximate\"".to_owned()),
    }
}

/// The numbers from 0 to 1 of a constant list; none when it is empty or holds anything else.
fn shares(list: Value<'_>) -> Option<Vec<f64>> {
    if !list.is_array() {
        return None;
    }
    let (mut items, mut all) = (Elements::of(list), Vec::new());
    while let Some(item) = items.next().ok()? {
        all.push(Some(approximate(item)).filter(|p| item.is_number() && (0.0..=1.0).contains(p))?);
    }
    (!all.is_empty()).then_some(all)
}

fn percentile<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let list = call.arg(cx, 1)?;
    let Some(shares) = shares(list) else {
        return call.refuse(cx, "takes a list of numbers from 0 to 1");
    };
    let sorted = samples(cx, call)?;
    let all = shares.iter().map(|p| sorted.as_ref().map_or(Value::Null, |sorted| at_rank(sorted, *p)));
    cx.array(all.collect())
}

/// The numbers of the input in their order; none when there are none. A lone number stands for itself.
fn samples<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<Option<Vec<f64>>, EvalError> {
    let input = call.arg(cx, 0)?;
    if input.is_number() {
        return Ok(Some(vec![approximate(input)]));
    }
    if !input.is_array() {
        return Ok(None);
    }
    let (mut items, mut all) = (cx.items(input), Vec::new());
    while let Some(item) = cx.next(&mut items)? {
        let x = approximate(item);
        if !x.is_nan() {
            all.push(x);
        }
    }
    cx.charge(all.len() as u64)?;
    cx.charge_bytes(all.len() * size_of::<f64>())?;
    all.sort_by(|a, b| a.total_cmp(b));
    Ok((!all.is_empty()).then_some(all))
}

fn at_rank<'a>(sorted: &[f64], share: f64) -> Value<'a> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    Value::Double(sorted[rank.clamp(1, sorted.len()) - 1])
}
