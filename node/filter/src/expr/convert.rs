//! Types: their names, and conversions between them, with MongoDB's refusals.

use super::date::instant;
use super::date_text::{self, NoDate};
use super::{Call, Form, Operator, row, shaped};
use crate::decimal::Decimal;
use crate::eval::{Cx, EvalError, Out};
use crate::number::{double, general, int};
use crate::number_text;
use crate::raw;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$convert", Form::Named(&["input", "to", "onError", "onNull"], 2), convert),
    row("$isNumber", 1, 1, |cx, call| Ok(Value::Bool(call.arg(cx, 0)?.is_number()))),
    row("$toBool", 1, 1, |cx, call| to(cx, call, raw::BOOL)),
    row("$toDate", 1, 1, |cx, call| to(cx, call, raw::DATE)),
    row("$toDecimal", 1, 1, |cx, call| to(cx, call, raw::DECIMAL)),
    row("$toDouble", 1, 1, |cx, call| to(cx, call, raw::DOUBLE)),
    row("$toInt", 1, 1, |cx, call| to(cx, call, raw::INT32)),
    row("$toLong", 1, 1, |cx, call| to(cx, call, raw::INT64)),
    row("$toObjectId", 1, 1, |cx, call| to(cx, call, raw::OBJECT_ID)),
    row("$toString", 1, 1, |cx, call| to(cx, call, raw::STRING)),
    row("$type", 1, 1, |cx, call| Ok(Value::Text(call.arg(cx, 0)?.type_name()))),
];

/// Why a value was not converted.
enum Failure {
    /// It cannot be: what `onError` is for.
    Impossible,
    /// We do not, though MongoDB may.
    Unread,
    /// The year of a date is out of range, which `onError` does not catch.
    Year,
    Ended(EvalError),
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Failure {
        Failure::Ended(error)
    }
}

/// `$toInt` and its like.
fn to<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, kind: u8) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    if value.is_nullish() {
        return Ok(Value::Null);
    }
    let found = converted(cx, value, kind);
    settled(cx, call, (value, kind), found)
}

fn settled<'a>(
    cx: &Cx<'a, '_>,
    call: &Call,
    (value, kind): (Value<'a>, u8),
    found: Result<Value<'a>, Failure>,
) -> Out<'a> {
    match found {
        Ok(found) => Ok(found),
        Err(Failure::Impossible) => {
            let name = NAMES.iter().find(|(_, byte)| *byte == kind).map_or("this type", |(name, _)| name);
            call.refuse(cx, format_args!("cannot convert {} to {name}", value.shown()))
        }
        Err(Failure::Unread) => date_text::unread(cx, call, value),
        Err(Failure::Year) => call.refuse(cx, "writes the years 0 to 9999 alone"),
        Err(Failure::Ended(error)) => Err(error),
    }
}

fn convert<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (value, to) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    let kind = if to.is_nullish() { None } else { Some(kind(cx, call, to)?) };
    if value.is_nullish() {
        return if call.given(3) { call.arg(cx, 3) } else { Ok(Value::Null) };
    }
    let Some(kind) = kind else { return Ok(Value::Null) };
    match converted(cx, value, kind) {
        Err(Failure::Impossible) if call.given(2) => call.arg(cx, 2),
        found => settled(cx, call, (value, kind), found),
    }
}

/// The types by the name and the number that `to` may give.
const NAMES: [(&str, u8); 22] = [
    ("double", raw::DOUBLE),
    ("string", raw::STRING),
    ("object", raw::DOCUMENT),
    ("array", raw::ARRAY),
    ("binData", raw::BINARY),
    ("undefined", raw::UNDEFINED),
    ("objectId", raw::OBJECT_ID),
    ("bool", raw::BOOL),
    ("date", raw::DATE),
    ("null", raw::NULL),
    ("regex", raw::REGEX),
    ("dbPointer", raw::DB_POINTER),
    ("javascript", raw::CODE),
    ("symbol", raw::SYMBOL),
    ("javascriptWithScope", raw::CODE_WITH_SCOPE),
    ("int", raw::INT32),
    ("timestamp", raw::TIMESTAMP),
    ("long", raw::INT64),
    ("decimal", raw::DECIMAL),
    ("minKey", raw::MIN_KEY),
    ("maxKey", raw::MAX_KEY),
    ("missing", 0),
];

/// The type that `to` names.
fn kind(cx: &Cx<'_, '_>, call: &Call, to: Value<'_>) -> Result<u8, EvalError> {
    let found = match to {
        Value::Text(name) => NAMES.iter().find(|(known, _)| *known == name),
        // As a byte, -1 is minKey.
        to => int(to).and_then(|n| NAMES.iter().find(|(_, byte)| i32::from(*byte as i8) == n)),
    };
    match found {
        Some((_, byte)) => Ok(*byte),
        None => {
            let message = format_args!("needs the name or the number of a type for `to`, and this is {}", to.shown());
            call.refuse(cx, message).map(|_| 0)
        }
    }
}

fn converted<'a>(cx: &mut Cx<'a, '_>, value: Value<'a>, kind: u8) -> Result<Value<'a>, Failure> {
    if let Value::Text(text) = value {
        cx.charge(text.len() as u64 / 16)?;
    }
    match kind {
        raw::BOOL => Ok(Value::Bool(value.is_true())),
        raw::DECIMAL => match value {
            Value::Other(raw::DECIMAL, _) => Ok(value),
            value => Ok(cx.decimal(Decimal::converted(value).ok_or(Failure::Impossible)?)?),
        },
        raw::DOUBLE => to_double(value).map(Value::Double).ok_or(Failure::Impossible),
        raw::INT32 => to_int(value).map(Value::Int32).ok_or(Failure::Impossible),
        raw::INT64 => to_long(value).map(Value::Int64).ok_or(Failure::Impossible),
        raw::DATE => to_date(value).map(Value::Date),
        raw::OBJECT_ID => to_object_id(value).map(Value::ObjectId).ok_or(Failure::Impossible),
        raw::STRING => to_string(cx, value),
        _ => Err(Failure::Impossible),
    }
}

fn to_double(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Date(n) => Some(n as f64),
        Value::Bool(b) => Some(f64::from(u8::from(b))),
        Value::Text(text) => number_text::double(text),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).to_double_within(),
        value => double(value),
    }
}

fn to_int(value: Value<'_>) -> Option<i32> {
    match value {
        Value::Bool(b) => Some(i32::from(b)),
        Value::Int64(n) => i32::try_from(n).ok(),
        // Cut off only after it was found to be within range, so 2147483647.9 is too large.
        Value::Double(x) => (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&x).then_some(x as i32),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).truncated().and_then(|n| i32::try_from(n).ok()),
        Value::Text(text) => text.parse().ok(),
        value => int(value),
    }
}

fn to_long(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Bool(b) => Some(i64::from(b)),
        Value::Int32(n) => Some(i64::from(n)),
        Value::Int64(n) | Value::Date(n) => Some(n),
        Value::Double(x) => crate::number::whole(x.trunc()),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).truncated(),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn to_date(value: Value<'_>) -> Result<i64, Failure> {
    match value {
        Value::Int64(n) => Ok(n),
        Value::Double(x) => crate::number::whole(x.trunc()).ok_or(Failure::Impossible),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).truncated().ok_or(Failure::Impossible),
        Value::Text(text) => date_text::read(text, None).map_err(|e| match e {
            NoDate::Invalid => Failure::Impossible,
            NoDate::Unread => Failure::Unread,
        }),
        value => instant(value).ok_or(Failure::Impossible),
    }
}

fn to_object_id(value: Value<'_>) -> Option<[u8; 12]> {
    match value {
        Value::ObjectId(id) => Some(id),
        Value::Text(text) => bson::oid::ObjectId::parse_str(text).ok().map(|id| id.bytes()),
        _ => None,
    }
}

fn to_string<'a>(cx: &mut Cx<'a, '_>, value: Value<'a>) -> Result<Value<'a>, Failure> {
    let text = match value {
        Value::Text(_) => return Ok(value),
        Value::Bool(b) => b.to_string(),
        Value::Int32(n) => n.to_string(),
        Value::Int64(n) => n.to_string(),
        Value::Double(x) => general(x),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).to_string(),
        Value::ObjectId(id) => bson::oid::ObjectId::from_bytes(id).to_hex(),
        Value::Date(ms) => date_text::iso(ms).ok_or(Failure::Year)?,
        _ => return Err(Failure::Impossible),
    };
    Ok(cx.text(&text)?)
}
