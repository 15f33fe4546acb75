//! Types: their names, and conversions between them, with MongoDB's refusals.

use super::{Call, Operator, row};
use crate::decimal::Decimal;
use crate::eval::{Cx, Out};
use crate::number::general;
use crate::raw;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$isNumber", 1, 1, |cx, call| Ok(Value::Bool(call.arg(cx, 0)?.is_number()))),
    row("$toBool", 1, 1, to_bool),
    row("$toDecimal", 1, 1, to_decimal),
    row("$toDouble", 1, 1, to_double),
    row("$toInt", 1, 1, |cx, call| to_whole(cx, call, i64::from(i32::MIN)..=i64::from(i32::MAX))),
    row("$toLong", 1, 1, |cx, call| to_whole(cx, call, i64::MIN..=i64::MAX)),
    row("$toString", 1, 1, to_string),
    row("$type", 1, 1, |cx, call| Ok(Value::Text(call.arg(cx, 0)?.type_name()))),
];

fn unsupported<'a>(cx: &Cx<'_, '_>, call: &Call, value: Value<'_>) -> Out<'a> {
    call.refuse(cx, format_args!("cannot convert {}", value.shown()))
}

fn to_bool<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    match call.arg(cx, 0)? {
        value if value.is_nullish() => Ok(Value::Null),
        value => Ok(Value::Bool(value.is_true())),
    }
}

fn to_decimal<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    match call.arg(cx, 0)? {
        value @ Value::Other(raw::DECIMAL, _) => Ok(value),
        value if value.is_nullish() => Ok(Value::Null),
        value => match Decimal::converted(value) {
            Some(decimal) => cx.decimal(decimal),
            None => unsupported(cx, call, value),
        },
    }
}

fn to_double<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    match value {
        Value::Double(_) => Ok(value),
        Value::Int32(n) => Ok(Value::Double(f64::from(n))),
        Value::Int64(n) | Value::Date(n) => Ok(Value::Double(n as f64)),
        Value::Bool(b) => Ok(Value::Double(f64::from(u8::from(b)))),
        Value::Text(text) => match parse_double(text) {
            Some(x) => Ok(Value::Double(x)),
            None => unsupported(cx, call, value),
        },
        Value::Other(raw::DECIMAL, bytes) => match Decimal::read(bytes).to_double_within() {
            Some(x) => Ok(Value::Double(x)),
            None => unsupported(cx, call, value),
        },
        value if value.is_nullish() => Ok(Value::Null),
        value => unsupported(cx, call, value),
    }
}

/// A decimal number without blanks around it; what rounds to infinity or to nought is out of range.
fn parse_double(text: &str) -> Option<f64> {
    let x: f64 = text.parse().ok()?;
    let digits = text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| (b'1'..=b'9').contains(&b));
    let out_of_range = digits && (x == 0.0 || x.is_infinite());
    (!out_of_range).then_some(x)
}

fn to_whole<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, range: std::ops::RangeInclusive<i64>) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let whole = match value {
        Value::Int32(n) => Some(i64::from(n)),
        Value::Int64(n) => Some(n),
        Value::Bool(b) => Some(i64::from(b)),
        Value::Double(x) => crate::number::whole(x.trunc()),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).truncated(),
        Value::Date(ms) if *range.end() == i64::MAX => Some(ms),
        Value::Text(text) => text.parse().ok(),
        value if value.is_nullish() => return Ok(Value::Null),
        _ => None,
    };
    // A double is cut off only after it was found to be within range, so 2147483647.9 is too large for an int.
    let within = whole.is_some_and(|n| range.contains(&n)) && !overshoots(value, &range);
    match whole {
        Some(n) if within && *range.end() == i64::MAX => Ok(Value::Int64(n)),
        Some(n) if within => Ok(Value::Int32(n as i32)),
        _ => unsupported(cx, call, value),
    }
}

fn overshoots(value: Value<'_>, range: &std::ops::RangeInclusive<i64>) -> bool {
    matches!(value, Value::Double(x) if x > *range.end() as f64 || x < *range.start() as f64)
}

fn to_string<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let text = match value {
        Value::Text(_) => return Ok(value),
        value if value.is_nullish() => return Ok(Value::Null),
        Value::Bool(b) => b.to_string(),
        Value::Int32(n) => n.to_string(),
        Value::Int64(n) => n.to_string(),
        Value::Double(x) => general(x),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).to_string(),
        Value::ObjectId(id) => bson::oid::ObjectId::from_bytes(id).to_hex(),
        Value::Date(ms) => match iso_date(ms) {
            Some(text) => text,
            None => return unsupported(cx, call, value),
        },
        value => return unsupported(cx, call, value),
    };
    cx.text(&text)
}

/// `2020-01-01T00:00:00.500Z`, for the years 0 to 9999.
fn iso_date(ms: i64) -> Option<String> {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Howard Hinnant's civil-from-days, with years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000))
}
