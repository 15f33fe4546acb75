//! Booleans, comparisons and conditionals, `$let` and `$literal`.
//!
//! `$and`, `$or`, `$cond`, `$ifNull` and `$switch` evaluate no more than they need, from left to right, as MongoDB does.

use std::cmp::Ordering;

use super::{Call, Form, MANY, Operator, row};
use crate::eval::{Cx, Out};
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$and", 0, MANY, |cx, call| decide(cx, call, false)),
    row("$or", 0, MANY, |cx, call| decide(cx, call, true)),
    row("$not", 1, 1, not),
    row("$eq", 2, 2, |cx, call| ordered(cx, call, Ordering::is_eq)),
    row("$ne", 2, 2, |cx, call| ordered(cx, call, Ordering::is_ne)),
    row("$gt", 2, 2, |cx, call| ordered(cx, call, Ordering::is_gt)),
    row("$gte", 2, 2, |cx, call| ordered(cx, call, Ordering::is_ge)),
    row("$lt", 2, 2, |cx, call| ordered(cx, call, Ordering::is_lt)),
    row("$lte", 2, 2, |cx, call| ordered(cx, call, Ordering::is_le)),
    row("$cmp", 2, 2, cmp),
    Operator { name: "$cond", form: Form::Cond, apply: cond },
    row("$ifNull", 2, MANY, if_null),
    Operator { name: "$switch", form: Form::Switch, apply: switch },
    Operator { name: "$let", form: Form::Let, apply: bind },
    Operator { name: "$literal", form: Form::Literal, apply: |cx, call| call.arg(cx, 0) },
];

/// `$and` (until one is false) and `$or` (until one is true).
fn decide<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, until: bool) -> Out<'a> {
    for arg in &call.args {
        if arg.eval(cx)?.is_true() == until {
            return Ok(Value::Bool(until));
        }
    }
    Ok(Value::Bool(!until))
}

fn not<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    Ok(Value::Bool(!call.arg(cx, 0)?.is_true()))
}

fn ordered<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, holds: fn(Ordering) -> bool) -> Out<'a> {
    let (a, b) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    cx.place = call.place;
    Ok(Value::Bool(holds(cx.compare(a, b)?)))
}

fn cmp<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (a, b) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    cx.place = call.place;
    Ok(Value::Int32(cx.compare(a, b)? as i32))
}

fn cond<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    if call.arg(cx, 0)?.is_true() { call.arg(cx, 1) } else { call.arg(cx, 2) }
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
        if branch[0].eval(cx)?.is_true() {
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
