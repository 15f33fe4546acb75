//! Trigonometry and hyperbolic functions: a double, or a decimal for a decimal.

use std::f64::consts::{LN_2, PI};

use super::arithmetic::{Domain, not_numeric, real};
use super::{Call, Operator, row};
use crate::decimal::Decimal;
use crate::eval::{Cx, Out};
use crate::number::approximate;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$acos", 1, 1, |cx, call| real(cx, call, Domain::Unit, (f64::acos, Decimal::acos))),
    row("$acosh", 1, 1, |cx, call| real(cx, call, Domain::FromOne, (acosh, Decimal::acosh))),
    row("$asin", 1, 1, |cx, call| real(cx, call, Domain::Unit, (f64::asin, Decimal::asin))),
    row("$asinh", 1, 1, |cx, call| real(cx, call, Domain::Any, (asinh, Decimal::asinh))),
    row("$atan", 1, 1, |cx, call| real(cx, call, Domain::Any, (f64::atan, Decimal::atan))),
    row("$atan2", 2, 2, atan2),
    row("$atanh", 1, 1, |cx, call| real(cx, call, Domain::Unit, (atanh, Decimal::atanh))),
    row("$cos", 1, 1, |cx, call| real(cx, call, Domain::Finite, (f64::cos, Decimal::cos))),
    row("$cosh", 1, 1, |cx, call| real(cx, call, Domain::Any, (f64::cosh, Decimal::cosh))),
    row("$degreesToRadians", 1, 1, |cx, call| {
        real(cx, call, Domain::Any, (|x| x * (PI / 180.0), Decimal::degrees_to_radians))
    }),
    row("$radiansToDegrees", 1, 1, |cx, call| {
        real(cx, call, Domain::Any, (|x| x * (180.0 / PI), Decimal::radians_to_degrees))
    }),
    row("$sin", 1, 1, |cx, call| real(cx, call, Domain::Finite, (f64::sin, Decimal::sin))),
    row("$sinh", 1, 1, |cx, call| real(cx, call, Domain::Any, (f64::sinh, Decimal::sinh))),
    row("$tan", 1, 1, |cx, call| real(cx, call, Domain::Finite, (f64::tan, Decimal::tan))),
    row("$tanh", 1, 1, |cx, call| real(cx, call, Domain::Any, (f64::tanh, Decimal::tanh))),
];

fn atan2<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut numbers = [Value::Missing; 2];
    for (at, number) in numbers.iter_mut().enumerate() {
        *number = call.arg(cx, at)?;
        if number.is_nullish() {
            return Ok(Value::Null);
        }
        if !number.is_number() {
            return not_numeric(cx, call, *number);
        }
    }
    let [a, b] = numbers;
    match Decimal::pair(a, b) {
        Some((a, b)) => cx.decimal(a.atan2(b)),
        None => Ok(Value::Double(approximate(a).atan2(approximate(b)))),
    }
}

// The inverse hyperbolic functions of the C library, formula by formula: those of Rust's own round otherwise in the last digit.

const LARGE: f64 = 268_435_456.0;

fn asinh(x: f64) -> f64 {
    let t = x.abs();
    let y = if !x.is_finite() || t < 1.0 / LARGE {
        return x;
    } else if t > LARGE {
        t.ln() + LN_2
    } else if t > 2.0 {
        (2.0 * t + 1.0 / ((x * x + 1.0).sqrt() + t)).ln()
    } else {
        let square = x * x;
        (t + square / (1.0 + (1.0 + square).sqrt())).ln_1p()
    };
    y.copysign(x)
}

fn acosh(x: f64) -> f64 {
    if !x.is_finite() {
        x
    } else if x > LARGE {
        x.ln() + LN_2
    } else if x > 2.0 {
        (2.0 * x - 1.0 / (x + (x * x - 1.0).sqrt())).ln()
    } else {
        let t = x - 1.0;
        (t + (2.0 * t + t * t).sqrt()).ln_1p()
    }
}

fn atanh(x: f64) -> f64 {
    let t = x.abs();
    let y = if t < 1.0 / LARGE {
        return x;
    } else if t < 0.5 {
        let twice = t + t;
        0.5 * (twice + twice * t / (1.0 - t)).ln_1p()
    } else {
        0.5 * ((t + t) / (1.0 - t)).ln_1p()
    };
    y.copysign(x)
}
