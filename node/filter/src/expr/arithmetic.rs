//! Arithmetic: narrowest result type, null for null, an error for what is no number.
//!
//! All as in MongoDB 6.

use std::cmp::Ordering;

use super::quick::Quick;
use super::{Call, Form, Operator, row, shaped};
use crate::compare::doubles;
use crate::decimal::{Decimal, Toward};
use crate::eval::{Cx, Out};
use crate::number::{self, Rounding, Sum, double, int, integral, narrow};
use crate::raw;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$abs", 1, 1, abs).on_doubles(|cx, call| match call.args[0].quick(cx) {
        Quick::Double(x) => Quick::Double(x.abs()),
        _ => Quick::Other,
    }),
    shaped("$add", Form::Commutative, add),
    row("$ceil", 1, 1, |cx, call| whole(cx, call, f64::ceil, Toward::Up)),
    row("$divide", 2, 2, divide).on_doubles(|cx, call| match call.args[0].quick_pair(&call.args[1], cx) {
        Some((a, b)) if b != 0.0 => Quick::Double(a / b),
        _ => Quick::Other,
    }),
    row("$exp", 1, 1, |cx, call| real(cx, call, Domain::Any, (f64::exp, Decimal::exp))),
    row("$floor", 1, 1, |cx, call| whole(cx, call, f64::floor, Toward::Down)),
    row("$ln", 1, 1, |cx, call| real(cx, call, Domain::Positive, (f64::ln, Decimal::ln))),
    row("$log", 2, 2, log),
    row("$log10", 1, 1, |cx, call| real(cx, call, Domain::Positive, (f64::log10, Decimal::log10))),
    row("$mod", 2, 2, modulo),
    shaped("$multiply", Form::Commutative, multiply),
    row("$pow", 2, 2, pow),
    row("$round", 1, 2, |cx, call| round(cx, call, Rounding::HalfEven)),
    row("$sqrt", 1, 1, |cx, call| real(cx, call, Domain::NotNegative, (f64::sqrt, Decimal::sqrt))),
    row("$subtract", 2, 2, subtract).on_doubles(|cx, call| match call.args[0].quick_pair(&call.args[1], cx) {
        Some((a, b)) => Quick::Double(a - b),
        None => Quick::Other,
    }),
    row("$trunc", 1, 2, |cx, call| round(cx, call, Rounding::TowardZero)),
];

pub(super) fn not_numeric<'a>(cx: &Cx<'_, '_>, call: &Call, value: Value<'_>) -> Out<'a> {
    call.refuse(cx, format_args!("works on numbers, not on {}", value.shown()))
}

/// The numbers that an operator takes; NaN is always among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Domain {
    Any,
    Positive,
    NotNegative,
    Finite,
    /// From -1 to 1.
    Unit,
    /// 1 and above.
    FromOne,
}

impl Domain {
    /// What is needed, when the number is not among them. `order` compares the number with a double.
    fn refuses(self, order: impl Fn(f64) -> Ordering) -> Option<&'static str> {
        let (holds, needs) = match self {
            Domain::Any => (true, ""),
            Domain::Positive => (order(0.0).is_gt(), "needs a positive number"),
            Domain::NotNegative => (order(0.0).is_ge(), "needs a number that is not negative"),
            Domain::Finite => {
                (order(f64::INFINITY).is_ne() && order(f64::NEG_INFINITY).is_ne(), "needs a finite number")
            }
            Domain::Unit => (order(-1.0).is_ge() && order(1.0).is_le(), "needs a number from -1 to 1"),
            Domain::FromOne => (order(1.0).is_ge(), "needs a number from 1 up"),
        };
        (!holds && order(f64::NAN).is_ne()).then_some(needs)
    }
}

/// A function on doubles, and the same on decimals.
pub(super) type Functions = (fn(f64) -> f64, fn(Decimal) -> Decimal);

/// Any operator of one number that gives a double, or a decimal for a decimal.
pub(super) fn real<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, domain: Domain, functions: Functions) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let refused = match (double(value), value) {
        (Some(x), _) => match domain.refuses(|bound| doubles(x, bound)) {
            None => return Ok(Value::Double(functions.0(x))),
            refused => refused,
        },
        (None, Value::Other(raw::DECIMAL, bytes)) => {
            let decimal = Decimal::read(bytes);
            match domain.refuses(|bound| decimal.compare_double(bound)) {
                None if decimal.is_nan() && domain == Domain::Positive => return Ok(Value::Double(f64::NAN)),
                None => return cx.decimal(functions.1(decimal)),
                refused => refused,
            }
        }
        (None, value) if value.is_nullish() => return Ok(Value::Null),
        (None, value) => return not_numeric(cx, call, value),
    };
    call.refuse(cx, format_args!("{}, and this is {}", refused.unwrap_or_default(), value.shown()))
}

fn abs<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    match call.arg(cx, 0)? {
        Value::Double(x) => Ok(Value::Double(x.abs())),
        Value::Int32(n) => Ok(narrow(i64::from(n).abs())),
        Value::Int64(n) => match n.checked_abs() {
            Some(n) => Ok(Value::Int64(n)),
            None => call.refuse(cx, format_args!("cannot take the absolute value of {n} (long)")),
        },
        Value::Other(raw::DECIMAL, bytes) => cx.decimal(Decimal::read(bytes).abs()),
        value if value.is_nullish() => Ok(Value::Null),
        value => not_numeric(cx, call, value),
    }
}

fn whole<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, f: fn(f64) -> f64, toward: Toward) -> Out<'a> {
    match call.arg(cx, 0)? {
        Value::Double(x) => Ok(Value::Double(f(x))),
        value @ (Value::Int32(_) | Value::Int64(_)) => Ok(value),
        Value::Other(raw::DECIMAL, bytes) => cx.decimal(Decimal::read(bytes).to_whole(toward)),
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
    if !date {
        return cx.total(&sum);
    }
    if let Some(total) = sum.decimal() {
        return Ok(Value::Date(total.to_long()));
    }
    match sum.long() {
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
        (Date(a), b) if b.is_number() => {
            let ms = match b {
                Value::Other(raw::DECIMAL, b) => Some(Decimal::read(b).to_long()),
                b => integral(b).or_else(|| number::whole(number::approximate(b).trunc())),
            };
            // MongoDB adds the negated number.
            let ms = ms.and_then(i64::checked_neg).and_then(|ms| a.checked_add(ms));
            ms.map_or_else(|| call.refuse(cx, out_of_range), |ms| Ok(Date(ms)))
        }
        (a, b) if a.is_nullish() || b.is_nullish() => Ok(Value::Null),
        (a, b) => match (double(a), double(b)) {
            (Some(a), Some(b)) => Ok(Double(a - b)),
            _ if let Some((a, b)) = Decimal::pair(a, b) => cx.decimal(a.subtract(b)),
            _ => call.refuse(cx, format_args!("cannot take {} from {}", b.shown(), a.shown())),
        },
    }
}

fn multiply<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    // The product of the whole numbers so far, or the double that it has become.
    let (mut whole, mut real, mut long) = (Some(1_i64), 1.0_f64, false);
    // All of them, from the first decimal on.
    let mut decimal: Option<Decimal> = None;
    for arg in &call.args {
        let value = arg.eval(cx)?;
        match value {
            Value::Other(raw::DECIMAL, bytes) => {
                let product =
                    decimal.unwrap_or_else(|| whole.map_or_else(|| Decimal::from_double(real), Decimal::from));
                decimal = Some(product.multiply(Decimal::read(bytes)));
            }
            value if let (Some(product), Some(factor)) = (decimal, Decimal::of(value)) => {
                decimal = Some(product.multiply(factor));
            }
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
    if let Some(product) = decimal {
        return cx.decimal(product);
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
    match (a.is_number(), b.is_number()) {
        (true, true) => f(cx, a, b),
        _ if a.is_nullish() || b.is_nullish() => Ok(Value::Null),
        (false, _) => not_numeric(cx, call, a),
        _ => not_numeric(cx, call, b),
    }
}

fn divide<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |cx, a, b| {
        if let Some((a, b)) = Decimal::pair(a, b)
            && !b.is_zero()
        {
            return cx.decimal(a.divide(b));
        }
        let divisor = number::approximate(b);
        if divisor == 0.0 {
            return call.refuse(cx, format_args!("cannot divide {} by zero", a.shown()));
        }
        Ok(Value::Double(number::approximate(a) / divisor))
    })
}

fn modulo<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |cx, a, b| {
        if let Some((a, b)) = Decimal::pair(a, b)
            && !b.is_zero()
        {
            return cx.decimal(a.modulo(b));
        }
        let (x, y) = (number::approximate(a), number::approximate(b));
        if y == 0.0 {
            return call.refuse(cx, format_args!("cannot take {} modulo zero", a.shown()));
        }
        if matches!(a, Value::Double(_)) || (matches!(b, Value::Double(_)) && int(b).is_none()) {
            return Ok(Value::Double(x % y));
        }
        let (Some(n), Some(m)) = (integral(a), integral(b)) else {
            return Ok(Value::Double(x % y));
        };
        let rest = n.checked_rem(m).unwrap_or_default();
        let as_int = matches!(a, Value::Int32(_)) && !matches!(b, Value::Int64(_));
        Ok(if as_int { narrow(rest) } else { Value::Int64(rest) })
    })
}

fn pow<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    pair(cx, call, |cx, a, b| {
        let decimals = Decimal::pair(a, b);
        let (x, y) = (number::approximate(a), number::approximate(b));
        let zero = decimals.map_or(x == 0.0, |(a, _)| a.is_zero());
        if zero && decimals.map_or(y < 0.0, |(_, b)| b.is_negative()) {
            return call.refuse(cx, "cannot raise zero to a negative power");
        }
        if let Some((a, b)) = decimals {
            return cx.decimal(a.power(b));
        }
        let real = Value::Double(x.powf(y));
        if matches!(a, Value::Double(_)) || matches!(b, Value::Double(_)) {
            return Ok(real);
        }
        let (Some(base), Some(power)) = (integral(a), integral(b)) else { return Ok(real) };
        let exact = match base {
            0 if power > 0 => Some(0),
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
        if let Some((a, base)) = Decimal::pair(a, b)
            && a.compare_double(0.0).is_gt()
            && base.compare_double(0.0).is_gt()
            && base.compare_double(1.0).is_ne()
        {
            return cx.decimal(a.logarithm(base));
        }
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

fn round<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, rounding: Rounding) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    if value.is_nullish() {
        return Ok(Value::Null);
    }
    if !value.is_number() {
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
    if let Value::Other(raw::DECIMAL, bytes) = value {
        let toward = if rounding == Rounding::HalfEven { Toward::Nearest } else { Toward::Zero };
        let decimal = Decimal::read(bytes);
        return if decimal.is_infinite() { Ok(value) } else { cx.decimal(decimal.to_place(place as i32, toward)) };
    }
    if let Value::Double(x) = value {
        return Ok(Value::Double(number::round_double(x, place, rounding)));
    }
    if place >= 0 {
        return Ok(value);
    }
    match integral(value).and_then(|n| number::round_whole(n, place, rounding)) {
        Some(n) if matches!(value, Value::Int64(_)) => Ok(Value::Int64(n)),
        // MongoDB widens an int that grew too large, but lets one that grew too small wrap around.
        Some(n) if n > i64::from(i32::MAX) => Ok(Value::Int64(n)),
        Some(n) => Ok(Value::Int32(n as i32)),
        None => call.refuse(cx, format_args!("gives no long for {} at place {place}", value.shown())),
    }
}
