//! Arithmetic: narrowest result type, null for null, an error for what is no number.
//!
//! Decimal128 is refused here with an error; everything else is as in MongoDB 6.

use super::quick::Quick;
use super::{Call, Form, Operator, row, shaped};
use crate::eval::{Cx, Out};
use crate::number::{self, Rounding, Sum, double, int, integral, narrow};
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$abs", 1, 1, abs).on_doubles(|cx, call| match call.args[0].quick(cx) {
        Quick::Double(x) => Quick::Double(x.abs()),
        _ => Quick::Other,
    }),
    shaped("$add", Form::Commutative, add),
    row("$ceil", 1, 1, |cx, call| whole(cx, call, f64::ceil)),
    row("$divide", 2, 2, divide).on_doubles(|cx, call| match call.args[0].quick_pair(&call.args[1], cx) {
        Some((a, b)) if b != 0.0 => Quick::Double(a / b),
        _ => Quick::Other,
    }),
    row("$exp", 1, 1, |cx, call| real(cx, call, |x| Ok(x.exp()))),
    row("$floor", 1, 1, |cx, call| whole(cx, call, f64::floor)),
    row("$ln", 1, 1, |cx, call| real(cx, call, |x| positive(x, x.ln()))),
    row("$log", 2, 2, log),
    row("$log10", 1, 1, |cx, call| real(cx, call, |x| positive(x, x.log10()))),
    row("$mod", 2, 2, modulo),
    shaped("$multiply", Form::Commutative, multiply),
    row("$pow", 2, 2, pow),
    row("$round", 1, 2, |cx, call| round(cx, call, Rounding::HalfEven)),
    row("$sqrt", 1, 1, |cx, call| real(cx, call, root)),
    row("$subtract", 2, 2, subtract).on_doubles(|cx, call| match call.args[0].quick_pair(&call.args[1], cx) {
        Some((a, b)) => Quick::Double(a - b),
        None => Quick::Other,
    }),
    row("$trunc", 1, 2, |cx, call| round(cx, call, Rounding::TowardZero)),
    row("$sin", 1, 1, |cx, call| real(cx, call, |x| finite(x, x.sin()))),
    row("$cos", 1, 1, |cx, call| real(cx, call, |x| finite(x, x.cos()))),
    row("$tan", 1, 1, |cx, call| real(cx, call, |x| finite(x, x.tan()))),
    row("$asin", 1, 1, |cx, call| real(cx, call, |x| within(x, x.asin()))),
    row("$acos", 1, 1, |cx, call| real(cx, call, |x| within(x, x.acos()))),
    row("$atan", 1, 1, |cx, call| real(cx, call, |x| Ok(x.atan()))),
    row("$atan2", 2, 2, atan2),
    row("$degreesToRadians", 1, 1, |cx, call| real(cx, call, |x| Ok(x * (std::f64::consts::PI / 180.0)))),
    row("$radiansToDegrees", 1, 1, |cx, call| real(cx, call, |x| Ok(x * (180.0 / std::f64::consts::PI)))),
];

fn positive(x: f64, y: f64) -> Result<f64, &'static str> {
    if x <= 0.0 { Err("needs a positive number") } else { Ok(y) }
}

fn finite(x: f64, y: f64) -> Result<f64, &'static str> {
    if x.is_infinite() { Err("needs a finite number") } else { Ok(y) }
}

fn within(x: f64, y: f64) -> Result<f64, &'static str> {
    if x.abs() > 1.0 { Err("needs a number from -1 to 1") } else { Ok(y) }
}

fn root(x: f64) -> Result<f64, &'static str> {
    if x < 0.0 { Err("needs a number that is not negative") } else { Ok(x.sqrt()) }
}

fn not_numeric<'a>(cx: &Cx<'_, '_>, call: &Call, value: Value<'_>) -> Out<'a> {
    call.refuse(cx, format_args!("works on numbers (int, long, double), not on {}", value.shown()))
}

/// Any operator of one number that gives a double.
fn real<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, f: impl Fn(f64) -> Result<f64, &'static str>) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    match double(value) {
        Some(x) => match f(x) {
            Ok(y) => Ok(Value::Double(y)),
            Err(needs) => call.refuse(cx, format_args!("{needs}, and this is {}", value.shown())),
        },
        None if value.is_nullish() => Ok(Value::Null),
        None => not_numeric(cx, call, value),
    }
}

fn abs<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    match call.arg(cx, 0)? {
        Value::Double(x) => Ok(Value::Double(x.abs())),
        Value::Int32(n) => Ok(narrow(i64::from(n).abs())),
        Value::Int64(n) => match n.checked_abs() {
            Some(n) => Ok(Value::Int64(n)),
            None => call.refuse(cx, format_args!("cannot take the absolute value of {n} (long)")),
        },
        value if value.is_nullish() => Ok(Value::Null),
        value => not_numeric(cx, call, value),
    }
}

fn whole<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, f: fn(f64) -> f64) -> Out<'a> {
    match call.arg(cx, 0)? {
        Value::Double(x) => Ok(Value::Double(f(x))),
        value @ (Value::Int32(_) | Value::Int64(_)) => Ok(value),
        value if value.is_nullish() => Ok(Value::Null),
        value => not_numeric(cx, call, value),
    }
}

fn add<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (mut sum, mut date) = (Sum::default(), false);
    for arg in &call.args {
        match arg.eval(cx)? {
            Value::Date(_) if date => {
                return call.refuse(cx, "takes only one date, and this is the second");
            }
            Value::Date(ms) => {
                date = true;
                sum.add(Value::Int64(ms));
            }
            value if sum.add(value) => {}
            value if value.is_nullish() => return Ok(Value::Null),
            value => {
                return call.refuse(cx, format_args!("works on numbers and dates, not on {}", value.shown()));
            }
        }
    }
    match sum.long() {
        _ if !date => Ok(sum.value()),
        Some(ms) => Ok(Value::Date(ms)),
        None => call.refuse(cx, "gives a date that is out of range"),
    }
}

fn subtract<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    use Value::{Date, Double, Int32, Int64};
    let (a, b) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    if let (Double(a), Double(b)) = (a, b) {
        return Ok(Double(a - b));
    }
    let out_of_range = "gives a date that is out of range";
    match (a, b) {
        (Int32(a), Int32(b)) => Ok(narrow(i64::from(a) - i64::from(b))),
        (Int32(_) | Int64(_), Int32(_) | Int64(_)) => {
            let (x, y) = (integral(a).unwrap_or_default(), integral(b).unwrap_or_default());
            Ok(x.checked_sub(y).map_or(Double(x as f64 - y as f64), Int64))
        }
        (Date(a), Date(b)) => a.checked_sub(b).map_or_else(|| call.refuse(cx, out_of_range), |ms| Ok(Int64(ms))),
        (Date(a), b) if double(b).is_some() => {
            let ms = integral(b).or_else(|| number::whole(number::approximate(b).trunc()));
            ms.and_then(|ms| a.checked_sub(ms)).map_or_else(|| call.refuse(cx, out_of_range), |ms| Ok(Date(ms)))
        }
        (a, b) if a.is_nullish() || b.is_nullish() => Ok(Value::Null),
        (a, b) => match (double(a), double(b)) {
            (Some(a), Some(b)) => Ok(Double(a - b)),
            _ => call.refuse(cx, format_args!("cannot take {} from {}", b.shown(), a.shown())),
        },
    }
}

fn multiply<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    // The product of the whole numbers so far, or the double that it has become.
    let (mut whole, mut real, mut long) = (Some(1_i64), 1.0_f64, false);
    for arg in &call.args {
        let value = arg.eval(cx)?;
        match value {
            Value::Int32(_) | Value::Int64(_) => {
                long |= matches!(value, Value::Int64(_));
                let factor = integral(value).unwrap_or_default();
                whole = whole.and_then(|n| n.checked_mul(factor));
                real *= factor as f64;
            }
            Value::Double(x) => {
                whole = None;
                real *= x;
            }
            value if value.is_nullish() => return Ok(Value::Null),
            value => return not_numeric(cx, call, value),
        }
    }
    Ok(match whole {
        Some(n) if long => Value::Int64(n),
        Some(n) => narrow(n),
        None => Value::Double(real),
    })
}

/// Two numbers; null when either is nullish, an error when either is no number.
fn pair<'a>(
    cx: &mut Cx<'a, '_>,
    call: &'a Call,
    f: impl FnOnce(&mut Cx<'a, '_>, Value<'a>, Value<'a>) -> Out<'a>,
) -> Out<'a> {
    let (a, b) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    match (double(a), double(b)) {
        (Some(_), Some(_)) => f(cx, a, b),
        _ if a.is_nullish() || b.is_nullish() => Ok(Value::Null),
        (None, _) => not_numeric(cx, call, a),
        _ => not_numeric(cx, call, b),
    }
}

fn divide<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |cx, a, b| {
        let divisor = number::approximate(b);
        if divisor == 0.0 {
            return call.refuse(cx, format_args!("cannot divide {} by zero", a.shown()));
        }
        Ok(Value::Double(number::approximate(a) / divisor))
    })
}

fn modulo<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |cx, a, b| {
        let (x, y) = (number::approximate(a), number::approximate(b));
        if y == 0.0 {
            return call.refuse(cx, format_args!("cannot take {} modulo zero", a.shown()));
        }
        if matches!(a, Value::Double(_)) {
            return Ok(Value::Double(x % y));
        }
        let (Some(n), Some(m)) = (integral(a), integral(b)) else {
            return Ok(Value::Double(x % y));
        };
        let rest = n.checked_rem(m).unwrap_or_default();
        let as_int = matches!(a, Value::Int32(_))
            && (matches!(b, Value::Int32(_)) || (matches!(b, Value::Double(_)) && int(b).is_some()));
        Ok(if as_int { narrow(rest) } else { Value::Int64(rest) })
    })
}

fn pow<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |cx, a, b| {
        let (x, y) = (number::approximate(a), number::approximate(b));
        if x == 0.0 && y < 0.0 {
            return call.refuse(cx, "cannot raise zero to a negative power");
        }
        let real = Value::Double(x.powf(y));
        if matches!(a, Value::Double(_)) || matches!(b, Value::Double(_)) {
            return Ok(real);
        }
        let (Some(base), Some(power)) = (integral(a), integral(b)) else { return Ok(real) };
        let exact = match base {
            1 => Some(1),
            -1 => Some(if power % 2 == 0 { 1 } else { -1 }),
            base => u32::try_from(power).ok().and_then(|power| base.checked_pow(power)),
        };
        let long = matches!(a, Value::Int64(_)) || matches!(b, Value::Int64(_));
        Ok(match exact {
            Some(n) if long => Value::Int64(n),
            Some(n) => narrow(n),
            None => real,
        })
    })
}

fn log<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |cx, a, b| {
        let (x, base) = (number::approximate(a), number::approximate(b));
        if x <= 0.0 {
            return call.refuse(cx, format_args!("needs a positive number, and this is {}", a.shown()));
        }
        if base <= 0.0 || base == 1.0 {
            return call.refuse(cx, format_args!("needs a positive base other than 1, and this is {}", b.shown()));
        }
        Ok(Value::Double(x.ln() / base.ln()))
    })
}

fn atan2<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |_, a, b| Ok(Value::Double(number::approximate(a).atan2(number::approximate(b)))))
}

fn round<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, rounding: Rounding) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    if value.is_nullish() {
        return Ok(Value::Null);
    }
    if double(value).is_none() {
        return not_numeric(cx, call, value);
    }
    let mut place = 0;
    if call.args.len() > 1 {
        let given = call.arg(cx, 1)?;
        if given.is_nullish() {
            return Ok(Value::Null);
        }
        match integral(given) {
            Some(n) if (-20..=100).contains(&n) => place = n,
            _ => {
                return call
                    .refuse(cx, format_args!("needs a whole place from -20 to 100, and this is {}", given.shown()));
            }
        }
    }
    if let Value::Double(x) = value {
        return Ok(Value::Double(number::round_double(x, place, rounding)));
    }
    if place >= 0 {
        return Ok(value);
    }
    match integral(value).and_then(|n| number::round_whole(n, place, rounding)) {
        Some(n) if matches!(value, Value::Int64(_)) => Ok(Value::Int64(n)),
        Some(n) => Ok(narrow(n)),
        None => call.refuse(cx, format_args!("gives no long for {} at place {place}", value.shown())),
    }
}
