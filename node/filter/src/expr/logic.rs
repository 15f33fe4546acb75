//! Booleans, comparisons and conditionals, `$let` and `$literal`.
//!
//! `$and`, `$or`, `$cond`, `$ifNull` and `$switch` evaluate no more than they need, from left to right, as MongoDB does.

use std::cmp::Ordering;

use super::quick::Quick;
use super::{Call, Form, MANY, Operator, deciding, row, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    deciding("$and", 0, MANY, |cx, call| decide(cx, call, false)),
    deciding("$or", 0, MANY, |cx, call| decide(cx, call, true)),
    deciding("$not", 1, 1, not),
    deciding("$eq", 2, 2, |cx, call| ordered(cx, call, Ordering::is_eq)),
    deciding("$ne", 2, 2, |cx, call| ordered(cx, call, Ordering::is_ne)),
    deciding("$gt", 2, 2, |cx, call| ordered(cx, call, Ordering::is_gt)),
    deciding("$gte", 2, 2, |cx, call| ordered(cx, call, Ordering::is_ge)),
    deciding("$lt", 2, 2, |cx, call| ordered(cx, call, Ordering::is_lt)),
    deciding("$lte", 2, 2, |cx, call| ordered(cx, call, Ordering::is_le)),
    row("$cmp", 2, 2, cmp),
    shaped("$cond", Form::Cond, cond),
    row("$ifNull", 2, MANY, if_null),
    shaped("$switch", Form::Switch, switch),
    shaped("$let", Form::Let, bind),
    shaped("$literal", Form::Literal, |cx, call| call.arg(cx, 0)),
];

/// `$and` (until one is false) and `$or` (until one is true).
fn decide<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, until: bool) -> Result<bool, EvalError> {
    for arg in &call.args {
        if arg.is_true(cx)? == until {
            return Ok(until);
        }
    }
    Ok(!until)
}

fn not<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<bool, EvalError> {
    Ok(!call.args[0].is_true(cx)?)
}

fn ordered<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, holds: fn(Ordering) -> bool) -> Result<bool, EvalError> {
    let [a, b] = &*call.args else { return Ok(false) };
    if let (Quick::Double(a) | Quick::Int(a), Quick::Double(b) | Quick::Int(b)) = (a.quick(cx), b.quick(cx)) {
        return Ok(holds(crate::compare::doubles(a, b)));
    }
    let (a, b) = (a.eval(cx)?, b.eval(cx)?);
    cx.place = call.place;
    Ok(holds(cx.compare(a, b)?))
}

fn cmp<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (a, b) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    cx.place = call.place;
    Ok(Value::Int32(cx.compare(a, b)? as i32))
}

fn cond<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    if call.args[0].is_true(cx)? { call.arg(cx, 1) } else { call.arg(cx, 2) }
}

fn if_null<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut value = Value::Missing;
    for arg in &call.args {
        value = arg.eval(cx)?;
        if !value.is_nullish() {
            break;
        }
    }
    Ok(value)
}

fn switch<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let branches = call.args.chunks_exact(2);
    let default = branches.remainder().first();
    for branch in branches {
        if branch[0].is_true(cx)? {
            return branch[1].eval(cx);
        }
    }
    match default {
        Some(default) => default.eval(cx),
        None => call.refuse(cx, "found no branch that is true, and has no default"),
    }
}

fn bind<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some((body, variables)) = call.args.split_last() else { return Ok(Value::Missing) };
    for (at, variable) in variables.iter().enumerate() {
        cx.variables[call.slot as usize + at] = variable.eval(cx)?;
    }
    body.eval(cx)
}
