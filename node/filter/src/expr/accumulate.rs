//! Accumulators used as expressions: over the elements of one array, or over several arguments.
//!
//! What is no number is passed over by sums and means, null and missing by `$min` and `$max`.

use super::{Call, Form, MANY, Node, Operator, row, shaped};
use crate::decimal::Decimal;
use crate::eval::{Cx, EvalError, Out};
use crate::number::{Sum, approximate};
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$avg", 0, MANY, avg),
    shaped("$max", Form::Commutative, |cx, call| extreme(cx, call, true)),
    shaped("$min", Form::Commutative, |cx, call| extreme(cx, call, false)),
    row("$stdDevPop", 0, MANY, |cx, call| deviation(cx, call, 0)),
    row("$stdDevSamp", 0, MANY, |cx, call| deviation(cx, call, 1)),
    shaped("$sum", Form::Commutative, sum),
];

/// Calls for each value: the elements of a lone array argument, else the arguments. Null and missing may be left out.
fn each<'a>(
    cx: &mut Cx<'a, '_>,
    call: &'a Call,
    mut visit: impl FnMut(&mut Cx<'a, '_>, Value<'a>) -> Result<(), EvalError>,
) -> Result<(), EvalError> {
    if let [Node::Path(names)] = &*call.args
        && cx.each_number(names, &mut visit)?
    {
        return Ok(());
    }
    if let [arg] = &*call.args {
        let value = arg.eval(cx)?;
        if !value.is_array() {
            return visit(cx, value);
        }
        let mut items = cx.items(value);
        while let Some(item) = cx.next(&mut items)? {
            visit(cx, item)?;
        }
        return Ok(());
    }
    for arg in &call.args {
        let value = arg.eval(cx)?;
        visit(cx, value)?;
    }
    Ok(())
}

fn sum<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut sum = Sum::default();
    each(cx, call, |_, value| {
        sum.add(value);
        Ok(())
    })?;
    cx.total(&sum)
}

fn avg<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (mut sum, mut count) = (Sum::default(), 0_u64);
    each(cx, call, |_, value| {
        count += u64::from(sum.add(value));
        Ok(())
    })?;
    if let Some(total) = sum.decimal() {
        return cx.decimal(total.divide(Decimal::from(count as i64)));
    }
    Ok(if count == 0 { Value::Null } else { Value::Double(sum.double() / count as f64) })
}

fn extreme<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, largest: bool) -> Out<'a> {
    let mut best = Value::Null;
    each(cx, call, |cx, value| {
        if value.is_nullish() {
            return Ok(());
        }
        let order = cx.compare(value, best)?;
        if best.is_nullish() || if largest { order.is_gt() } else { order.is_lt() } {
            best = value;
        }
        Ok(())
    })?;
    Ok(best)
}

/// Welford's running mean and sum of squares, as MongoDB computes it.
fn deviation<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, lost: u64) -> Out<'a> {
    let (mut count, mut mean, mut squares) = (0_u64, 0.0, 0.0);
    each(cx, call, |_, value| {
        if value.is_number() {
            let x = approximate(value);
            count += 1;
            let delta = x - mean;
            if delta != 0.0 {
                mean += delta / count as f64;
                squares += delta * (x - mean);
            }
        }
        Ok(())
    })?;
    Ok(if count <= lost { Value::Null } else { Value::Double((squares / (count - lost) as f64).sqrt()) })
}
