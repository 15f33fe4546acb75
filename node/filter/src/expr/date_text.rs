//! Dates as text: `$dateToString` and `$dateFromString`, and what `$convert` needs of them.
//!
//! Of the many forms that MongoDB reads without a format, those of ISO 8601 are read here; the others are refused.

use super::date::{date, zone, zone_at};
use super::{Call, Form, Operator, shaped};
use crate::calendar::{self, Civil, DAY};
use crate::eval::{Cx, EvalError, Out};
use crate::scan::Scan;
use crate::value::Value;
use crate::zone::Zone;

const TO: &[&str] = &["date", "format", "timezone", "onNull"];
const FROM: &[&str] = &["dateString", "format", "timezone", "onError", "onNull"];

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$dateFromString", Form::Named(FROM, 1), from_string).prepared(|args| zone_at(args, 2)),
    shaped("$dateToString", Form::Named(TO, 1), to_string).prepared(|args| zone_at(args, 2)),
];

/// What the formats of either operator may have behind a `%`.
const TO_LETTERS: &str = "dGHjLmMSuUVwYzZ%";
const FROM_LETTERS: &str = "dGHLmMSuVYzZ%";

/// The format that was written, checked; `None` for null, the default when there is none.
fn format<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, letters: &str) -> Result<Option<&'a str>, EvalError> {
    let text = match call.arg(cx, 1)? {
        Value::Text(text) => text,
        value if value.is_nullish() => return Ok(None),
        value => {
            call.refuse(cx, format_args!("needs a string for its format, and this is {}", value.shown()))?;
            return Ok(None);
        }
    };
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '%' && !rest.next().is_some_and(|letter| letters.contains(letter)) {
            let allowed: Vec<String> = letters.chars().map(|letter| format!("%{letter}")).collect();
            call.refuse(cx, format_args!("knows the parts {} in a format, not those of {text:?}", allowed.join(" ")))?;
        }
    }
    Ok(Some(text))
}

fn to_string<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let format = if call.given(1) { format(cx, call, TO_LETTERS)? } else { Some("%Y-%m-%dT%H:%M:%S.%LZ") };
    let zone = zone(cx, call, 2)?;
    if value.is_nullish() {
        return if call.given(3) { call.arg(cx, 3) } else { Ok(Value::Null) };
    }
    let (Some(zone), Some(format)) = (zone, format) else { return Ok(Value::Null) };
    let ms = date(cx, call, value)?;
    // No part is longer than six times its letter and its percent sign.
    cx.charge(format.len() as u64 / 8)?;
    cx.charge_bytes(format.len() * 6)?;
    let (civil, offset) = zone.local(ms);
    match formatted(format, &civil, offset) {
        Some(text) => cx.text(&text),
        None => call.refuse(cx, "writes the years 0 to 9999 alone"),
    }
}

/// The date in that format; none for a year that is out of range.
fn formatted(format: &str, civil: &Civil, offset: i64) -> Option<String> {
    let mut out = String::with_capacity(format.len() * 2);
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (number, width) = match rest.next() {
            Some('d') => (civil.day, 2),
            Some('G') => (year(civil.iso_week().0)?, 4),
            Some('H') => (civil.hour, 2),
            Some('j') => (civil.day_of_year(), 3),
            Some('L') => (civil.millisecond, 3),
            Some('m') => (civil.month, 2),
            Some('M') => (civil.minute, 2),
            Some('S') => (civil.second, 2),
            Some('u') => (civil.iso_day_of_week(), 1),
            Some('U') => (civil.week(), 2),
            Some('V') => (civil.iso_week().1, 2),
            Some('w') => (civil.day_of_week(), 1),
            Some('Y') => (year(civil.year)?, 4),
            Some('Z') => (offset / 60, 1),
            Some('z') => {
                let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                out += &format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
                continue;
            }
            other => {
                out.extend(other);
                continue;
            }
        };
        out += &format!("{number:0width$}");
    }
    Some(out)
}

fn year(year: i64) -> Option<i64> {
    (0..=9999).contains(&year).then_some(year)
}

/// `2020-01-01T00:00:00.500Z`; none for a year that is out of range.
pub(super) fn iso(ms: i64) -> Option<String> {
    formatted("%Y-%m-%dT%H:%M:%S.%LZ", &Civil::of(i128::from(ms)), 0)
}

/// Why a text is no date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoDate {
    /// MongoDB refuses it, too.
    Invalid,
    /// MongoDB may read it; we do not.
    Unread,
}

/// What was read of a date.
#[derive(Debug, Default, Clone)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    /// Hour, minute, second, millisecond.
    time: [i64; 4],
    /// Whether there are digits behind the milliseconds: MongoDB cuts them off toward 1970.
    finer: bool,
    /// Seconds east of Greenwich.
    offset: Option<i64>,
}

impl Parts {
    /// The instant, in the zone of the operator when the text has none. A text with a zone and an operator with one do not go together.
    fn instant(&self, zone: Option<&Zone>) -> Result<i64, NoDate> {
        let natural = [self.year, self.month, self.day];
        let days = match (natural, self.iso_year) {
            ([Some(year), Some(month), Some(day)], None) if self.iso_week.or(self.iso_day).is_none() => {
                if !(1..=12).contains(&month) || !(1..=calendar::month_length(year, month)).contains(&day) {
                    return Err(NoDate::Invalid);
                }
                calendar::days(year, month, day)
            }
            ([None, None, None], Some(year)) => {
                let (week, day) = (self.iso_week.unwrap_or(1), self.iso_day.unwrap_or(1));
                if !(1..=53).contains(&week) || !(1..=7).contains(&day) {
                    return Err(NoDate::Invalid);
                }
                calendar::iso_year(year) + (week - 1) * 7 + day - 1
            }
            _ => return Err(NoDate::Invalid),
        };
        let [hour, minute, second, millisecond] = self.time;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(NoDate::Invalid);
        }
        let local = days * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + millisecond;
        let ms = match (self.offset, zone) {
            (Some(_), Some(_)) => None,
            (Some(offset), None) => Some(local - offset * 1000),
            (None, zone) => zone.unwrap_or(&Zone::UTC).instant(i128::from(local), false),
        };
        ms.map(|ms| if self.finer && ms < 0 { ms + 1 } else { ms }).ok_or(NoDate::Invalid)
    }
}

fn from_string<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let format = if call.given(1) { format(cx, call, FROM_LETTERS)? } else { None };
    let zone = zone(cx, call, 2)?;
    if value.is_nullish() {
        return if call.given(4) { call.arg(cx, 4) } else { Ok(Value::Null) };
    }
    let found = if let Value::Text(text) = value {
        let (Some(zone), true) = (zone, format.is_some() || !call.given(1)) else { return Ok(Value::Null) };
        let zone = call.given(2).then_some(zone);
        cx.charge(text.len() as u64 / 8)?;
        match format {
            Some(format) => by_format(text, format).and_then(|parts| parts.instant(zone.as_ref())),
            None => read(text, zone.as_ref()),
        }
    } else {
        Err(NoDate::Invalid)
    };
    match found {
        Ok(ms) => Ok(Value::Date(ms)),
        Err(NoDate::Invalid) if call.given(3) => call.arg(cx, 3),
        Err(NoDate::Invalid) => call.refuse(cx, format_args!("cannot read a date from {}", value.shown())),
        Err(NoDate::Unread) => unread(cx, call, value),
    }
}

/// An error that no `onError` catches: another answer than MongoDB's would be worse than none.
pub(super) fn unread<'a>(cx: &Cx<'_, '_>, call: &Call, value: Value<'_>) -> Out<'a> {
    let forms = "such as 2020-01-31T23:59:59.999Z; give a format for other forms";
    call.refuse(cx, format_args!("reads dates of ISO 8601 alone, {forms}; this is {}", value.shown()))
}

/// Reads a date of ISO 8601.
pub(super) fn read(text: &str, zone: Option<&Zone>) -> Result<i64, NoDate> {
    // Without a digit there is no date, in whatever form.
    let other = if text.bytes().any(|b| b.is_ascii_digit()) { NoDate::Unread } else { NoDate::Invalid };
    let parts = iso_parts(text.trim_matches([' ', '\t'])).ok_or(other)?;
    parts.instant(zone)
}

/// The parts of a text that has the shape of an ISO 8601 date, whatever the numbers in it.
fn iso_parts(text: &str) -> Option<Parts> {
    let (mut scan, mut parts) = (Scan::new(text), Parts::default());
    let year = scan.exactly(4)?;
    if scan.one(&['W']) || scan.both('-', 'W') {
        (parts.iso_year, parts.iso_week) = (Some(year), Some(scan.exactly(2)?));
        let dash = scan.one(&['-']);
        parts.iso_day = if dash || scan.is_digit() { Some(scan.exactly(1)?) } else { None };
        return (scan.is_end()).then_some(parts);
    }
    let dash = scan.one(&['-']);
    let slash = !dash && scan.one(&['/']);
    parts.year = Some(year);
    parts.month = Some(scan.exactly(2)?);
    let separated = if slash { scan.one(&['/']) } else { dash && scan.one(&['-']) };
    if (dash || slash) && !separated {
        parts.day = Some(1);
        return (dash && scan.is_end()).then_some(parts);
    }
    parts.day = Some(scan.exactly(2)?);
    if scan.is_end() {
        return Some(parts);
    }
    let strict = scan.one(&['T', 't']);
    if strict || scan.blanks() && scan.is_digit() {
        iso_time(&mut scan, &mut parts, dash || slash)?;
    }
    scan.blanks();
    if !scan.is_end() {
        parts.offset = Some(iso_zone(&mut scan)?);
    }
    scan.is_end().then_some(parts)
}

/// `hh:mm`, `hh:mm:ss` and `hh:mm:ss.fff`; without colons only behind a date without dashes.
fn iso_time(scan: &mut Scan<'_>, parts: &mut Parts, extended: bool) -> Option<()> {
    parts.time[0] = scan.exactly(2)?;
    let colon = scan.one(&[':']);
    if !colon && extended {
        return None;
    }
    parts.time[1] = scan.exactly(2)?;
    if colon && !scan.one(&[':']) {
        return Some(());
    }
    parts.time[2] = scan.exactly(2)?;
    if extended && scan.one(&['.']) {
        let digits = scan.digits(usize::MAX);
        if digits.is_empty() {
            return None;
        }
        parts.time[3] = fraction(digits);
        parts.finer = digits.bytes().take(6).skip(3).any(|digit| digit != b'0');
    }
    Some(())
}

/// Milliseconds of the digits behind the point; more than three are cut off.
fn fraction(digits: &str) -> i64 {
    digits.bytes().chain(*b"000").take(3).fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0'))
}

fn iso_zone(scan: &mut Scan<'_>) -> Option<i64> {
    if scan.word("UTC") || scan.word("GMT") || scan.one(&['Z', 'z']) {
        return Some(0);
    }
    let sign = scan.sign()?;
    let hours = scan.exactly(2)?;
    let minutes = if scan.one(&[':']) || scan.is_digit() { scan.exactly(2)? } else { 0 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Reads a date by a format that was checked.
fn by_format(text: &str, format: &str) -> Result<Parts, NoDate> {
    let (mut scan, mut parts, mut letters) = (Scan::new(text), Parts::default(), format.chars());
    while let Some(c) = letters.next() {
        let letter = if c == '%' { letters.next() } else { None };
        match letter {
            None | Some('%') => scan.one(&[c]).then_some(()).ok_or(NoDate::Invalid)?,
            Some('z') => parts.offset = Some(zone_by_format(&mut scan)?),
            Some(letter) => part_by_format(&mut scan, &mut parts, letter).ok_or(NoDate::Invalid)?,
        }
    }
    if scan.is_end() { Ok(parts) } else { Err(NoDate::Invalid) }
}

fn part_by_format(scan: &mut Scan<'_>, parts: &mut Parts, letter: char) -> Option<()> {
    match letter {
        'd' => parts.day = Some(scan.upto(2)?),
        'G' => parts.iso_year = Some(scan.upto(4)?),
        'H' => parts.time[0] = scan.upto(2)?,
        'L' => parts.time[3] = fraction(Some(scan.digits(3)).filter(|digits| !digits.is_empty())?),
        'm' => parts.month = Some(scan.upto(2)?),
        'M' => parts.time[1] = scan.exactly(2)?,
        'S' => parts.time[2] = scan.exactly(2)?,
        'u' => parts.iso_day = Some(scan.upto(1)?),
        'V' => parts.iso_week = Some(scan.upto(2)?),
        'Y' => parts.year = Some(scan.upto(4)?),
        'Z' => parts.offset = Some(scan.sign()? * scan.upto(9)? * 60),
        _ => return None,
    }
    Some(())
}

/// `+h`, `+hh`, `+hmm`, `+hhmm`, `+hh:mm`, `Z`, `UTC`, `GMT`; other abbreviations are not read.
fn zone_by_format(scan: &mut Scan<'_>) -> Result<i64, NoDate> {
    if scan.word("UTC") || scan.word("GMT") || scan.one(&['Z', 'z']) {
        return if scan.is_letter() { Err(NoDate::Unread) } else { Ok(0) };
    }
    let Some(sign) = scan.sign() else {
        return Err(if scan.is_letter() { NoDate::Unread } else { NoDate::Invalid });
    };
    let digits = scan.digits(5);
    let number = digits.parse::<i64>().map_err(|_| NoDate::Invalid)?;
    let (hours, minutes) = match digits.len() {
        1 | 2 if scan.one(&[':']) => {
            let minutes = scan.digits(3);
            let length = digits.len() + 1 + minutes.len();
            let minutes = minutes.parse::<i64>().ok().filter(|_| (3..=5).contains(&length));
            (number, minutes.ok_or(NoDate::Unread)?)
        }
        1 | 2 => (number, 0),
        3 | 4 => (number / 100, number % 100),
        _ => return Err(NoDate::Unread),
    };
    Ok(sign * (hours * 3600 + minutes * 60))
}
