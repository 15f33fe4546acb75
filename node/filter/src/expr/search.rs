//! Strings in strings: where they are, and replacing them.

use super::text::{built, text};
use super::{Call, Form, Operator, row, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::number::int;
use crate::value::Value;

const REPLACE: Form = Form::Named(&["input", "find", "replacement"], 3);

pub(super) static OPERATORS: &[Operator] = &[
    row("$indexOfBytes", 2, 4, index_bytes),
    row("$indexOfCP", 2, 4, index),
    shaped("$replaceAll", REPLACE, |cx, call| replace(cx, call, usize::MAX)),
    shaped("$replaceOne", REPLACE, |cx, call| replace(cx, call, 1)),
];

/// The string, what is looked for, and between which indexes; `None` for null.
type Operands<'a> = Option<(&'a str, &'a str, usize, usize)>;

fn operands<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<Operands<'a>, EvalError> {
    let whole = call.arg(cx, 0)?;
    let Some(whole) = text(cx, call, whole)? else { return Ok(None) };
    let Value::Text(wanted) = call.arg(cx, 1)? else {
        return call.refuse(cx, "needs a string to look for").map(|_| None);
    };
    let mut bounds = [0, usize::MAX];
    for (at, bound) in bounds.iter_mut().enumerate().take(call.args.len() - 2) {
        let value = call.arg(cx, at + 2)?;
        match int(value).and_then(|n| usize::try_from(n).ok()) {
            Some(n) => *bound = n,
            None => {
                let message = format_args!("needs whole 32-bit indexes from 0 on, and this is {}", value.shown());
                call.refuse(cx, message)?;
            }
        }
    }
    cx.place = call.place;
    cx.charge((whole.len() + wanted.len()) as u64 / 16)?;
    Ok(Some((whole, wanted, bounds[0], bounds[1])))
}

fn found<'a>(at: Option<usize>) -> Value<'a> {
    Value::Int32(at.map_or(-1, |at| at as i32))
}

fn index_bytes<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some((whole, wanted, start, end)) = operands(cx, call)? else { return Ok(Value::Null) };
    let within = whole.as_bytes().get(start..end.min(whole.len()));
    let at = within.and_then(|within| memchr::memmem::find(within, wanted.as_bytes()));
    Ok(found(at.map(|at| start + at)))
}

/// The index in code points; the end bounds where the match begins, as in MongoDB.
fn index<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some((whole, wanted, start, end)) = operands(cx, call)? else { return Ok(Value::Null) };
    if whole.is_empty() && wanted.is_empty() && start == 0 {
        return Ok(Value::Int32(0));
    }
    let mut points = whole.char_indices();
    let Some((from, _)) = points.nth(start) else { return Ok(found(None)) };
    let at = whole[from..].find(wanted).map(|at| start + whole[from..from + at].chars().count());
    // A match at the very end has no code point of its own.
    let count = whole.chars().count();
    Ok(found(at.filter(|at| *at < end.min(count))))
}

fn replace<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, most: usize) -> Out<'a> {
    let mut texts = [""; 3];
    let mut null = false;
    for (at, slot) in texts.iter_mut().enumerate() {
        let value = call.arg(cx, at)?;
        match text(cx, call, value)? {
            Some(text) => *slot = text,
            None => null = true,
        }
    }
    if null {
        return Ok(Value::Null);
    }
    let [whole, wanted, replacement] = texts;
    cx.place = call.place;
    cx.charge(1 + (whole.len() + wanted.len()) as u64 / 16)?;
    let count = whole.matches(wanted).take(most).count();
    cx.charge(count as u64)?;
    let bytes = (whole.len() - count * wanted.len()).saturating_add(count.saturating_mul(replacement.len()));
    let (mut out, mut done) = (built(cx, call, bytes)?, 0);
    for (at, found) in whole.match_indices(wanted).take(most) {
        out.push_str(&whole[done..at]);
        out.push_str(replacement);
        done = at + found.len();
    }
    out.push_str(&whole[done..]);
    Ok(Value::Text(out.into_bump_str()))
}
