//! Arrays as sets, and the quantifiers over an array.

use super::{Call, Form, Node, Operator, deciding, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::lanes::Loop;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    deciding("$allElementsTrue", 1, 1, |cx, call| quantify(cx, call, false)),
    deciding("$anyElementTrue", 1, 1, |cx, call| quantify(cx, call, true)),
    shaped("$setUnion", Form::Commutative, union),
];

/// `$anyElementTrue` (until one is true) and `$allElementsTrue` (until one is false).
fn quantify<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, until: bool) -> Result<bool, EvalError> {
    if let Node::Call(inner) = &call.args[0]
        && inner.operator.form == Form::Map
    {
        return quantify_map(cx, call, inner, until);
    }
    let array = call.arg(cx, 0)?;
    if !array.is_array() {
        call.no_array(cx, array)?;
    }
    let mut items = cx.items(array);
    while let Some(item) = cx.next(&mut items)? {
        if item.is_true() == until {
            return Ok(until);
        }
    }
    Ok(!until)
}

/// A quantifier over a `$map`, without its array. Every element is visited, since MongoDB would meet an error in a later one.
fn quantify_map<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, map: &'a Call, until: bool) -> Result<bool, EvalError> {
    let input = map.arg(cx, 0)?;
    if input.is_nullish() {
        call.no_array(cx, Value::Null)?;
    }
    if !input.is_array() {
        map.no_array(cx, input)?;
    }
    if let Some(lanes) = Loop::of(cx, map, input)? {
        let count = lanes.count(cx)?;
        return Ok(if until { count > 0 } else { count == lanes.points });
    }
    let (mut items, mut found) = (cx.items(input), false);
    while let Some(item) = cx.next(&mut items)? {
        cx.variables[map.slot as usize] = item;
        found |= map.args[1].is_true(cx)? == until;
    }
    Ok(found == until)
}

fn union<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some(mut all) = call.gather(cx)? else { return Ok(Value::Null) };
    cx.sort(&mut all, |cx, a, b| cx.compare(*a, *b))?;
    let mut set: Vec<Value<'a>> = Vec::with_capacity(all.len());
    for value in all {
        let known = match set.last() {
            Some(last) => cx.compare(*last, value)?.is_eq(),
            None => false,
        };
        if !known {
            set.push(value);
        }
    }
    cx.array(set)
}
