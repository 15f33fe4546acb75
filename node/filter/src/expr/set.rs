//! Arrays as sets, and the quantifiers over an array.

use super::{Call, Form, Operator, row};
use crate::eval::{Cx, Out};
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$allElementsTrue", 1, 1, |cx, call| quantify(cx, call, false)),
    row("$anyElementTrue", 1, 1, |cx, call| quantify(cx, call, true)),
    Operator { name: "$setUnion", form: Form::Commutative, apply: union },
];

/// `$anyElementTrue` (until one is true) and `$allElementsTrue` (until one is false).
fn quantify<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, until: bool) -> Out<'a> {
    let array = call.arg(cx, 0)?;
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    let mut items = cx.items(array);
    while let Some(item) = cx.next(&mut items)? {
        if item.is_true() == until {
            return Ok(Value::Bool(until));
        }
    }
    Ok(Value::Bool(!until))
}

fn union<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut all = Vec::new();
    for arg in &call.args {
        let array = arg.eval(cx)?;
        if array.is_nullish() {
            return Ok(Value::Null);
        }
        if !array.is_array() {
            return call.no_array(cx, array);
        }
        all.extend(cx.elements(array)?);
    }
    cx.place = call.place;
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
