//! Arrays beside each other, and where in an array something is: `$zip`, `$indexOfArray`.

use super::{Call, Extra, Form, Node, Operator, row, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::number::int;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] =
    &[row("$indexOfArray", 2, 4, index_of).prepared(array), shaped("$zip", Form::Zip, zip)];

/// MongoDB looks at a constant array when it prepares the pipeline.
fn array(args: &[Node]) -> Result<Extra, String> {
    match args.first() {
        Some(Node::Constant(constant)) if !constant.value().is_array() && !constant.value().is_nullish() => {
            Err(format!("works on an array, not on {}", constant.value().shown()))
        }
        _ => Ok(Extra::None),
    }
}

/// A bound of the search: a whole number from 0 up.
fn bound<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize, otherwise: usize) -> Result<usize, EvalError> {
    if at >= call.args.len() {
        return Ok(otherwise);
    }
    let value = call.arg(cx, at)?;
    match int(value).and_then(|n| usize::try_from(n).ok()) {
        Some(bound) => Ok(bound),
        None => Err(call.error(cx, format_args!("needs whole bounds from 0 up, and this is {}", value.shown()))),
    }
}

fn index_of<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let array = call.arg(cx, 0)?;
    if array.is_nullish() {
        return Ok(Value::Null);
    }
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    let wanted = call.arg(cx, 1)?;
    let (start, end) = (bound(cx, call, 2, 0)?, bound(cx, call, 3, usize::MAX)?);
    cx.place = call.place;
    let (mut items, mut at) = (cx.items(array), 0);
    while at < end
        && let Some(item) = cx.next(&mut items)?
    {
        if at >= start && cx.compare(item, wanted)?.is_eq() {
            return Ok(Value::Int32(at as i32));
        }
        at += 1;
    }
    Ok(Value::Int32(-1))
}

/// `[longest, input…, default…]`: a constant whether the shorter arrays are filled up, then as many inputs as defaults.
fn zip<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let longest = call.arg(cx, 0)?.is_true();
    let width = (call.args.len() - 1) / 2;
    let mut columns = Vec::with_capacity(width);
    for at in 1..=width {
        let array = call.arg(cx, at)?;
        if array.is_nullish() {
            return Ok(Value::Null);
        }
        if !array.is_array() {
            return call.no_array(cx, array);
        }
        columns.push(cx.elements(array)?);
    }
    let lengths = || columns.iter().map(Vec::len);
    let (shortest, tallest) = (lengths().min().unwrap_or_default(), lengths().max().unwrap_or_default());
    let mut defaults = vec![Value::Null; width];
    if longest && shortest < tallest {
        for (at, default) in defaults.iter_mut().enumerate() {
            *default = call.arg(cx, width + 1 + at)?;
        }
    }
    cx.place = call.place;
    let height = if longest { tallest } else { shortest };
    let mut all = Vec::new();
    for at in 0..height {
        cx.charge(width as u64)?;
        let line = columns.iter().zip(&defaults).map(|(column, default)| column.get(at).copied().unwrap_or(*default));
        let line = line.collect();
        all.push(cx.array(line)?);
    }
    cx.array(all)
}
