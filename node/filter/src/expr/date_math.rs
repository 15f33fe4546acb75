//! Arithmetic with dates: `$dateAdd`, `$dateSubtract`, `$dateDiff`, `$dateTrunc`.
//!
//! Days and longer units are counted in local time, hours and shorter ones in elapsed time, as in MongoDB.

use super::date::{date, zone, zone_at};
use super::{Call, Form, Operator, shaped};
use crate::calendar::{self, DAY};
use crate::eval::{Cx, EvalError, Out};
use crate::number::integral;
use crate::value::Value;
use crate::zone::Zone;

const DIFF: &[&str] = &["startDate", "endDate", "unit", "timezone", "startOfWeek"];
const TRUNC: &[&str] = &["date", "unit", "binSize", "timezone", "startOfWeek"];
const ADD: &[&str] = &["startDate", "unit", "amount", "timezone"];

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$dateAdd", Form::Named(ADD, 3), |cx, call| shift(cx, call, 1)).prepared(|args| zone_at(args, 3)),
    shaped("$dateDiff", Form::Named(DIFF, 3), difference).prepared(|args| zone_at(args, 3)),
    shaped("$dateSubtract", Form::Named(ADD, 3), |cx, call| shift(cx, call, -1)).prepared(|args| zone_at(args, 3)),
    shaped("$dateTrunc", Form::Named(TRUNC, 2), truncate).prepared(|args| zone_at(args, 3)),
];

/// A unit of time: so many months, so many days, or so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Months(i64),
    Days(i64),
    Milliseconds(i64),
}

const WEEK: Unit = Unit::Days(7);

fn unit(cx: &Cx<'_, '_>, call: &Call, value: Value<'_>) -> Result<Unit, EvalError> {
    let name = if let Value::Text(name) = value { name } else { "" };
    Ok(match name {
        "year" => Unit::Months(12),
        "quarter" => Unit::Months(3),
        "month" => Unit::Months(1),
        "week" => WEEK,
        "day" => Unit::Days(1),
        "hour" => Unit::Milliseconds(3_600_000),
        "minute" => Unit::Milliseconds(60_000),
        "second" => Unit::Milliseconds(1000),
        "millisecond" => Unit::Milliseconds(1),
        _ => {
            let allowed = "year, quarter, month, week, day, hour, minute, second or millisecond";
            let message = format_args!("needs a unit ({allowed}), and this is {}", value.shown());
            return call.refuse(cx, message).map(|_| WEEK);
        }
    })
}

/// The day that weeks begin with, 0 for Sunday, when weeks are the unit; `None` for null.
fn start_of_week<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, value: Value<'a>) -> Result<i64, EvalError> {
    const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    if !call.given(4) {
        return Ok(0);
    }
    let name = if let Value::Text(name) = value { name } else { "" };
    let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name) || day[..3].eq_ignore_ascii_case(name));
    match found {
        Some(day) => Ok(day as i64),
        None => {
            call.refuse(cx, format_args!("needs the name of a day for `startOfWeek`, and this is {}", value.shown()))?;
            Ok(0)
        }
    }
}

/// The first arguments; none where one of them is null, behind which MongoDB evaluates nothing.
fn values<'a, const N: usize>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<Option<[Value<'a>; N]>, EvalError> {
    let mut all = [Value::Null; N];
    for (at, value) in all.iter_mut().enumerate() {
        *value = call.arg(cx, at)?;
        if value.is_nullish() {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// The argument that says what day weeks begin with; not evaluated where weeks are not the unit.
fn week_of<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, unit: Value<'_>) -> Out<'a> {
    if matches!(unit, Value::Text("week")) { call.arg(cx, 4) } else { Ok(Value::Missing) }
}

/// Whether the written argument is null where weeks are the unit.
fn no_week(call: &Call, unit: Value<'_>, start: Value<'_>) -> bool {
    call.given(4) && start.is_nullish() && matches!(unit, Value::Text("week"))
}

fn in_range<'a>(cx: &Cx<'_, '_>, call: &Call, found: Option<i64>) -> Out<'a> {
    match found {
        Some(ms) => Ok(Value::Date(ms)),
        None => call.refuse(cx, "gives a date that is out of range"),
    }
}

fn shift<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, sign: i64) -> Out<'a> {
    let Some([start, unit_name, amount]) = values(cx, call)? else { return Ok(Value::Null) };
    let Some(zone) = zone(cx, call, 3)? else { return Ok(Value::Null) };
    let (start, unit) = (date(cx, call, start)?, unit(cx, call, unit_name)?);
    let Some(count) = integral(amount) else {
        return call.refuse(cx, format_args!("needs a whole amount, and this is {}", amount.shown()));
    };
    let found = count.checked_mul(sign).and_then(|count| add(start, unit, count, &zone));
    // MongoDB takes a second too many from what lies before 1970 and is no whole second.
    let borrowed = start < 0 && start % 1000 != 0 && unit != Unit::Milliseconds(1);
    let found = found.and_then(|ms| if borrowed { ms.checked_sub(1000) } else { Some(ms) });
    in_range(cx, call, found)
}

/// So many units after an instant; none when that is out of range.
fn add(ms: i64, unit: Unit, count: i64, zone: &Zone) -> Option<i64> {
    // More than this is out of range in any unit, and less than it cannot overflow below.
    const FAR: u128 = 1 << 64;
    let (civil, offset) = zone.local(ms);
    let local = match unit {
        Unit::Milliseconds(size) => return i64::try_from(i128::from(ms) + i128::from(size) * i128::from(count)).ok(),
        Unit::Days(size) => {
            i128::from(ms) + i128::from(offset) * 1000 + i128::from(size) * i128::from(count) * i128::from(DAY)
        }
        Unit::Months(size) => {
            let months =
                i64::try_from(i128::from(size) * i128::from(count)).ok().filter(|m| m.unsigned_abs() < 1 << 40)?;
            let month = civil.month + months;
            let day = civil.day.min(calendar::month_length(civil.year, month));
            i128::from(calendar::days(civil.year, month, day)) * i128::from(DAY) + i128::from(civil.time())
        }
    };
    if local.unsigned_abs() > FAR {
        return None;
    }
    zone.instant(local, zone.summer(ms))
}

fn difference<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some([start, end, unit_name]) = values(cx, call)? else { return Ok(Value::Null) };
    let week = week_of(cx, call, unit_name)?;
    if no_week(call, unit_name, week) {
        return Ok(Value::Null);
    }
    let Some(zone) = zone(cx, call, 3)? else { return Ok(Value::Null) };
    let (start, end) = (date(cx, call, start)?, date(cx, call, end)?);
    let unit = unit(cx, call, unit_name)?;
    let first = if unit == WEEK { start_of_week(cx, call, week)? } else { 0 };
    match boundaries((start, end), unit, &zone, first) {
        Some(count) => Ok(Value::Int64(count)),
        None => call.refuse(cx, "gives a number that is no long"),
    }
}

/// How many boundaries of units lie between two instants.
fn boundaries((start, end): (i64, i64), unit: Unit, zone: &Zone, first: i64) -> Option<i64> {
    let ((from, from_offset), (to, to_offset)) = (zone.local(start), zone.local(end));
    let later = from_offset - to_offset;
    Some(match unit {
        Unit::Months(size) => {
            let months = |c: &calendar::Civil| (c.year * 12 + c.month - 1).div_euclid(size);
            months(&to) - months(&from)
        }
        Unit::Days(1) => to.days - from.days,
        Unit::Days(_) => {
            let weeks = |c: &calendar::Civil| (c.days + 4 - first).div_euclid(7);
            weeks(&to) - weeks(&from)
        }
        Unit::Milliseconds(3_600_000) => (to.days - from.days) * 24 + to.hour - from.hour + later / 3600,
        Unit::Milliseconds(60_000) => {
            ((to.days - from.days) * 24 + to.hour - from.hour) * 60 + to.minute - from.minute + later / 60
        }
        Unit::Milliseconds(1) => end.checked_sub(start)?,
        Unit::Milliseconds(size) => end.div_euclid(size) - start.div_euclid(size),
    })
}

fn truncate<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some([value, unit_name]) = values(cx, call)? else { return Ok(Value::Null) };
    let size = call.arg(cx, 2)?;
    let week = week_of(cx, call, unit_name)?;
    let no_size = call.given(2) && size.is_nullish();
    if no_size || no_week(call, unit_name, week) {
        return Ok(Value::Null);
    }
    let Some(zone) = zone(cx, call, 3)? else { return Ok(Value::Null) };
    let ms = date(cx, call, value)?;
    let unit = unit(cx, call, unit_name)?;
    let bin = if call.given(2) { integral(size).filter(|n| *n > 0) } else { Some(1) };
    let Some(bin) = bin else {
        return call.refuse(cx, format_args!("needs a whole `binSize` above 0, and this is {}", size.shown()));
    };
    let first = if unit == WEEK { start_of_week(cx, call, week)? } else { 0 };
    if !matches!(unit, Unit::Milliseconds(_)) && bin > 100_000_000_000 {
        return call.refuse(cx, format_args!("needs a `binSize` of at most 100000000000, and this is {bin}"));
    }
    let found = bin_start(ms, (unit, bin), &zone, first);
    in_range(cx, call, found)
}

/// The beginning of the bin that an instant lies in; bins are counted from the year 2000 in local time.
fn bin_start(ms: i64, (unit, bin): (Unit, i64), zone: &Zone, first: i64) -> Option<i64> {
    let midnight = calendar::days(2000, 1, 1);
    // The first such day of the week from then on: 2000-01-01 was a Saturday.
    let midnight = if unit == WEEK { midnight + (first + 1) % 7 } else { midnight };
    let reference = zone.instant(i128::from(midnight) * i128::from(DAY), false)?;
    let (civil, _) = zone.local(ms);
    let floor = |n: i64| n.div_euclid(bin) * bin;
    match unit {
        Unit::Milliseconds(size) => {
            let size = size.checked_mul(bin)?;
            let past = ms.checked_sub(reference)?;
            reference.checked_add(past.div_euclid(size).checked_mul(size)?)
        }
        Unit::Days(size) => add(reference, unit, floor((civil.days - midnight).div_euclid(size)), zone),
        Unit::Months(size) => {
            let months = (civil.year - 2000) * 12 + civil.month - 1;
            add(reference, unit, floor(months.div_euclid(size)), zone)
        }
    }
}
