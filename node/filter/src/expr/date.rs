//! Dates: their parts, dates from parts, timestamps.
//!
//! The calendar is in `calendar`, time zones in `zone`, text in `date_text`, arithmetic in `date_math`.

use super::{Call, Extra, Form, Node, Operator, row, shaped};
use crate::calendar::{self, Civil, DAY};
use crate::eval::{Cx, EvalError, Out};
use crate::number::{int, integral};
use crate::value::Value;
use crate::zone::Zone;

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$dateFromParts", Form::Named(PARTS, 0), from_parts).prepared(check_parts),
    shaped("$dateToParts", Form::Named(&["date", "timezone", "iso8601"], 1), to_parts)
        .prepared(|args| zone_at(args, 1)),
    part("$dayOfMonth", |cx, call| of(cx, call, |c| c.day)),
    part("$dayOfWeek", |cx, call| of(cx, call, |c| c.day_of_week())),
    part("$dayOfYear", |cx, call| of(cx, call, |c| c.day_of_year())),
    part("$hour", |cx, call| of(cx, call, |c| c.hour)),
    part("$isoDayOfWeek", |cx, call| of(cx, call, |c| c.iso_day_of_week())),
    part("$isoWeek", |cx, call| of(cx, call, |c| c.iso_week().1)),
    part("$isoWeekYear", iso_week_year),
    part("$millisecond", |cx, call| of(cx, call, |c| c.millisecond)),
    part("$minute", |cx, call| of(cx, call, |c| c.minute)),
    part("$month", |cx, call| of(cx, call, |c| c.month)),
    part("$second", |cx, call| of(cx, call, |c| c.second)),
    row("$tsIncrement", 1, 1, |cx, call| timestamp(cx, call, |t| t & 0xffff_ffff)),
    row("$tsSecond", 1, 1, |cx, call| timestamp(cx, call, |t| t >> 32)),
    part("$week", |cx, call| of(cx, call, |c| c.week())),
    part("$year", |cx, call| of(cx, call, |c| c.year)),
];

const fn part(name: &'static str, apply: super::Apply) -> Operator {
    shaped(name, Form::Date, apply).prepared(|args| zone_at(args, 1))
}

/// Prepares the time zone, where it is written down and known; what is not known fails on the alert, as in MongoDB.
pub(super) fn zone_at(args: &[Node], at: usize) -> Result<Extra, String> {
    let Some(Node::Constant(constant)) = args.get(at) else { return Ok(Extra::None) };
    let Value::Text(name) = constant.value() else { return Ok(Extra::None) };
    Ok(Zone::find(name).map_or(Extra::None, |zone| Extra::Zone(Box::new(zone))))
}

/// The time zone that this argument names, UTC when it was not written; `None` for null.
pub(super) fn zone<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize) -> Result<Option<Zone>, EvalError> {
    if !call.given(at) {
        return Ok(Some(Zone::UTC));
    }
    if let Extra::Zone(zone) = &call.extra {
        return Ok(Some((**zone).clone()));
    }
    let name = call.arg(cx, at)?;
    zone_named(cx, call, name)
}

/// The time zone of a computed name.
fn zone_named(cx: &mut Cx<'_, '_>, call: &Call, name: Value<'_>) -> Result<Option<Zone>, EvalError> {
    if name.is_nullish() {
        return Ok(None);
    }
    // What reading a zone from the database costs.
    cx.charge(200)?;
    let zone = if let Value::Text(text) = name { Zone::find(text) } else { None };
    if zone.is_none() {
        call.refuse(
            cx,
            format_args!("needs a time zone such as \"America/New_York\" or \"+05:30\", and this is {}", name.shown()),
        )?;
    }
    Ok(zone)
}

/// The milliseconds of a date, a timestamp or an ObjectId.
pub(super) fn date(cx: &Cx<'_, '_>, call: &Call, value: Value<'_>) -> Result<i64, EvalError> {
    match instant(value) {
        Some(ms) => Ok(ms),
        None => call.refuse(cx, format_args!("works on a date, not on {}", value.shown())).map(|_| 0),
    }
}

/// The milliseconds that a date, a timestamp or an ObjectId stands for.
pub(super) fn instant(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Date(ms) => Some(ms),
        Value::Timestamp(t) => Some((t >> 32) as i64 * 1000),
        Value::ObjectId([a, b, c, d, ..]) => Some(i64::from(i32::from_be_bytes([a, b, c, d])) * 1000),
        _ => None,
    }
}

/// The local time of the operator's `[date, timezone]`; `None` where either is null.
fn local<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<Option<Civil>, EvalError> {
    let value = call.arg(cx, 0)?;
    if value.is_nullish() {
        return Ok(None);
    }
    let ms = date(cx, call, value)?;
    Ok(zone(cx, call, 1)?.map(|zone| zone.local(ms).0))
}

fn of<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, part: fn(&Civil) -> i64) -> Out<'a> {
    Ok(local(cx, call)?.map_or(Value::Null, |civil| Value::Int32(part(&civil) as i32)))
}

fn iso_week_year<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    Ok(local(cx, call)?.map_or(Value::Null, |civil| Value::Int64(civil.iso_week().0)))
}

fn timestamp<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, part: fn(u64) -> u64) -> Out<'a> {
    match call.arg(cx, 0)? {
        Value::Timestamp(t) => Ok(Value::Int64(part(t) as i64)),
        value if value.is_nullish() => Ok(Value::Null),
        value => call.refuse(cx, format_args!("works on a timestamp, not on {}", value.shown())),
    }
}

fn to_parts<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let Some(zone) = zone(cx, call, 1)? else { return Ok(Value::Null) };
    let iso = match call.arg(cx, 2)? {
        Value::Bool(iso) => iso,
        Value::Missing if !call.given(2) => false,
        other if other.is_nullish() => return Ok(Value::Null),
        other => return call.refuse(cx, format_args!("needs a boolean for iso8601, and this is {}", other.shown())),
    };
    if value.is_nullish() {
        return Ok(Value::Null);
    }
    let civil = zone.local(date(cx, call, value)?).0;
    let (iso_year, iso_week) = civil.iso_week();
    let first = if iso {
        [("isoWeekYear", iso_year), ("isoWeek", iso_week), ("isoDayOfWeek", civil.iso_day_of_week())]
    } else {
        [("year", civil.year), ("month", civil.month), ("day", civil.day)]
    };
    let rest =
        [("hour", civil.hour), ("minute", civil.minute), ("second", civil.second), ("millisecond", civil.millisecond)];
    cx.object(first.into_iter().chain(rest).map(|(name, n)| (name, Value::Int32(n as i32))).collect())
}

const PARTS: &[&str] = &[
    "year",
    "month",
    "day",
    "isoWeekYear",
    "isoWeek",
    "isoDayOfWeek",
    "hour",
    "minute",
    "second",
    "millisecond",
    "timezone",
];
const ZONE: usize = 10;

/// Either a year or an ISO year, and no parts of the other kind.
fn check_parts(args: &[Node]) -> Result<Extra, String> {
    let given = |at: std::ops::Range<usize>| args[at].iter().any(|node| !matches!(node, Node::Absent));
    match (given(0..1), given(3..4)) {
        (false, false) => Err("needs a `year` or an `isoWeekYear`".to_owned()),
        (true, _) if given(3..6) => {
            Err("takes either the parts of a year or those of an ISO year, not both".to_owned())
        }
        (_, true) if given(0..3) => {
            Err("takes either the parts of an ISO year or those of a year, not both".to_owned())
        }
        _ => zone_at(args, ZONE),
    }
}

fn from_parts<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    // In MongoDB's order, on which it depends whether there is an error or null.
    let Some([hour, minute, second, millisecond]) = part_values(cx, call, 6)? else { return Ok(Value::Null) };
    let Some(zone) = zone(cx, call, ZONE)? else { return Ok(Value::Null) };
    let iso = call.given(3);
    let first = if iso { 3 } else { 0 };
    let Some([year, month, day]) = part_values(cx, call, first)? else { return Ok(Value::Null) };
    if !(1..=9999).contains(&year) {
        return call.refuse(cx, format_args!("needs a `{}` from 1 to 9999, and this is {year}", PARTS[first]));
    }
    let days =
        if iso { calendar::iso_year(year) + (month - 1) * 7 + day - 1 } else { calendar::days(year, month, day) };
    let seconds = i128::from(second) + i128::from(hour * 3600 + minute * 60);
    let local = i128::from(days) * i128::from(DAY) + seconds * 1000 + i128::from(millisecond);
    // MongoDB counts microseconds here.
    let found = millisecond.checked_mul(1000).and_then(|_| zone.instant(local, false));
    match found {
        Some(ms) => Ok(Value::Date(ms)),
        None => call.refuse(cx, "gives a date that is out of range"),
    }
}

/// The parts from there on; `None` where one is null.
fn part_values<'a, const N: usize>(
    cx: &mut Cx<'a, '_>,
    call: &'a Call,
    first: usize,
) -> Result<Option<[i64; N]>, EvalError> {
    let mut values = [0; N];
    for (at, value) in values.iter_mut().enumerate() {
        match part_value(cx, call, first + at)? {
            Some(n) => *value = n,
            None => return Ok(None),
        }
    }
    Ok(Some(values))
}

/// A part of a date, within the bounds of its kind; `None` for null.
fn part_value<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize) -> Result<Option<i64>, EvalError> {
    if !call.given(at) {
        return Ok(Some(i64::from(at < 6)));
    }
    let (value, name) = (call.arg(cx, at)?, PARTS[at]);
    if value.is_nullish() {
        return Ok(None);
    }
    let long = at >= 8 || matches!(name, "year" | "isoWeekYear");
    let whole = if long { integral(value) } else { int(value).map(i64::from) };
    let bounds = match name {
        "year" | "isoWeekYear" | "second" | "millisecond" => i64::MIN..=i64::MAX,
        _ => i64::from(i16::MIN)..=i64::from(i16::MAX),
    };
    if whole.is_none_or(|n| !bounds.contains(&n)) {
        let allowed = match name {
            "year" | "isoWeekYear" | "second" | "millisecond" => String::new(),
            _ => format!(" from {} to {}", bounds.start(), bounds.end()),
        };
        call.refuse(cx, format_args!("needs a whole `{name}`{allowed}, and this is {}", value.shown()))?;
    }
    Ok(whole)
}
