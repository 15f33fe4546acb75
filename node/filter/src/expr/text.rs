//! Strings: joining, cutting, splitting, trimming, case, length.
//!
//! What is cut out of a string is borrowed from it. Searching and replacing is in `search`, regular expressions in `pattern`.

use std::cmp::Ordering;

use bumpalo::collections::String as Text;

use super::{Call, Form, Operator, row, shaped};
use crate::calendar::Civil;
use crate::decimal::Decimal;
use crate::eval::{Cx, EvalError, Out};
use crate::number::{general, int, whole};
use crate::raw;
use crate::value::Value;

const TRIM: Form = Form::Named(&["input", "chars"], 1);

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$concat", Form::Associative, concat),
    shaped("$ltrim", TRIM, |cx, call| trim(cx, call, (true, false))),
    shaped("$rtrim", TRIM, |cx, call| trim(cx, call, (false, true))),
    row("$split", 2, 2, split),
    row("$strLenBytes", 1, 1, |cx, call| length(cx, call, str::len)),
    row("$strLenCP", 1, 1, |cx, call| length(cx, call, |text| text.chars().count())),
    row("$strcasecmp", 2, 2, compare_caseless),
    row("$substr", 3, 3, substring_bytes),
    row("$substrBytes", 3, 3, substring_bytes),
    row("$substrCP", 3, 3, substring),
    row("$toLower", 1, 1, |cx, call| cased(cx, call, u8::is_ascii_uppercase, str::make_ascii_lowercase)),
    row("$toUpper", 1, 1, |cx, call| cased(cx, call, u8::is_ascii_lowercase, str::make_ascii_uppercase)),
    shaped("$trim", TRIM, |cx, call| trim(cx, call, (true, true))),
];

/// A string of so many bytes, charged before it is allocated.
pub(super) fn built<'a>(cx: &mut Cx<'a, '_>, call: &Call, bytes: usize) -> Result<Text<'a>, EvalError> {
    cx.place = call.place;
    cx.charge(bytes as u64 / 64)?;
    cx.charge_bytes(bytes.saturating_add(16))?;
    Ok(Text::with_capacity_in(bytes, cx.arena))
}

/// The value as the string that MongoDB makes of numbers and dates too, where an operator takes them; nothing is an empty string.
fn coerced<'a>(cx: &mut Cx<'a, '_>, call: &Call, value: Value<'a>) -> Result<&'a str, EvalError> {
    let text = match value {
        Value::Text(text) => return Ok(text),
        value if value.is_nullish() => return Ok(""),
        Value::Int32(n) => n.to_string(),
        Value::Int64(n) => n.to_string(),
        Value::Double(x) if x.is_infinite() => if x > 0.0 { "inf" } else { "-inf" }.to_owned(),
        Value::Double(x) if x.is_nan() => "nan".to_owned(),
        Value::Double(x) => general(x),
        Value::Date(ms) => super::date_text::iso(ms).unwrap_or_default(),
        Value::Timestamp(t) => timestamp(t),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).to_string(),
        Value::Other(raw::CODE | raw::SYMBOL, bytes) => {
            let body = bytes.get(4..bytes.len().saturating_sub(1)).unwrap_or_default();
            String::from_utf8_lossy(body).into_owned()
        }
        _ => String::new(),
    };
    let plain = matches!(value, Value::Other(raw::CODE | raw::SYMBOL, _));
    if text.is_empty() && !plain {
        return call
            .refuse(cx, format_args!("works on strings, numbers and dates, not on {}", value.shown()))
            .map(|_| "");
    }
    let Value::Text(text) = cx.text(&text)? else { return Ok("") };
    Ok(text)
}

/// A timestamp as MongoDB prints it: `Jul 14 02:40:00:2`.
fn timestamp(t: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let c = Civil::of(i128::from(t >> 32) * 1000);
    let month = MONTHS[(c.month - 1) as usize];
    format!("{month} {:2} {:02}:{:02}:{:02}:{}", c.day, c.hour, c.minute, c.second, t & 0xffff_ffff)
}

/// The string that an argument must be; `None` for null.
fn string<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize) -> Result<Option<&'a str>, EvalError> {
    let value = call.arg(cx, at)?;
    text(cx, call, value)
}

/// The string that a value must be; `None` for null.
pub(super) fn text<'a>(cx: &Cx<'a, '_>, call: &Call, value: Value<'a>) -> Result<Option<&'a str>, EvalError> {
    match value {
        Value::Text(text) => Ok(Some(text)),
        value if value.is_nullish() => Ok(None),
        value => call.refuse(cx, format_args!("works on strings, not on {}", value.shown())).map(|_| None),
    }
}

fn concat<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (mut parts, mut bytes) = (Vec::with_capacity(call.args.len()), 0_usize);
    for at in 0..call.args.len() {
        let Some(part) = string(cx, call, at)? else { return Ok(Value::Null) };
        bytes = bytes.saturating_add(part.len());
        parts.push(part);
    }
    let mut all = built(cx, call, bytes)?;
    parts.iter().for_each(|part| all.push_str(part));
    Ok(Value::Text(all.into_bump_str()))
}

fn split<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (value, separator) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    if value.is_nullish() || separator.is_nullish() {
        return Ok(Value::Null);
    }
    let (Some(whole), Some(separator)) = (text(cx, call, value)?, text(cx, call, separator)?) else {
        return Ok(Value::Null);
    };
    if separator.is_empty() {
        return call.refuse(cx, "needs a separator that is not empty");
    }
    cx.place = call.place;
    cx.charge(whole.len() as u64 / 16)?;
    let mut all = Vec::new();
    for part in whole.split(separator) {
        cx.charge(1)?;
        cx.charge_bytes(size_of::<Value<'_>>())?;
        all.push(Value::Text(part));
    }
    cx.array(all)
}

fn length<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, of: fn(&str) -> usize) -> Out<'a> {
    match call.arg(cx, 0)? {
        Value::Text(text) => {
            cx.charge(text.len() as u64 / 64)?;
            Ok(Value::Int32(of(text) as i32))
        }
        value => call.refuse(cx, format_args!("works on a string, not on {}", value.shown())),
    }
}

fn compare_caseless<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let first = call.arg(cx, 0)?;
    let first = coerced(cx, call, first)?;
    let second = call.arg(cx, 1)?;
    let second = coerced(cx, call, second)?;
    cx.charge(first.len().min(second.len()) as u64 / 16)?;
    let upper = |text: &'a str| text.bytes().map(|b| b.to_ascii_uppercase());
    Ok(Value::Int32(match upper(first).cmp(upper(second)) {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }))
}

fn cased<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, other: fn(&u8) -> bool, change: fn(&mut str)) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let text = coerced(cx, call, value)?;
    cx.charge(text.len() as u64 / 64)?;
    if !text.bytes().any(|b| other(&b)) {
        return Ok(Value::Text(text));
    }
    let mut copy = built(cx, call, text.len())?;
    copy.push_str(text);
    change(&mut copy);
    Ok(Value::Text(copy.into_bump_str()))
}

/// A number as MongoDB makes a long of it: what follows the point is cut off.
fn long<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize) -> Result<i64, EvalError> {
    let value = call.arg(cx, at)?;
    let found = match value {
        Value::Int32(n) => Some(i64::from(n)),
        Value::Int64(n) => Some(n),
        Value::Double(x) => whole(x.trunc()),
        Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).truncated(),
        _ => None,
    };
    match found {
        Some(n) => Ok(n),
        None => call
            .refuse(cx, format_args!("needs a number within the range of a long, and this is {}", value.shown()))
            .map(|_| 0),
    }
}

fn substring_bytes<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let (start, length) = (long(cx, call, 1)?, long(cx, call, 2)?);
    let text = coerced(cx, call, value)?;
    let Ok(start) = usize::try_from(start) else {
        return call.refuse(cx, format_args!("needs a start that is not negative, and this is {start}"));
    };
    if start >= text.len() {
        return Ok(Value::Text(""));
    }
    let end = usize::try_from(length).map_or(text.len(), |length| start.saturating_add(length).min(text.len()));
    match text.get(start..end) {
        Some(part) => Ok(Value::Text(part)),
        None => call.refuse(cx, format_args!("cuts a character of {} in two", Value::Text(text).shown())),
    }
}

fn substring<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    let text = coerced(cx, call, value)?;
    let mut bounds = [0; 2];
    for (at, bound) in bounds.iter_mut().enumerate() {
        let value = call.arg(cx, at + 1)?;
        match int(value).and_then(|n| usize::try_from(n).ok()) {
            Some(n) => *bound = n,
            None => {
                return call
                    .refuse(cx, format_args!("needs whole 32-bit numbers from 0 on, and this is {}", value.shown()));
            }
        }
    }
    cx.charge(text.len() as u64 / 16)?;
    let byte_of = |text: &str, count: usize| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let rest = &text[byte_of(text, bounds[0])..];
    Ok(Value::Text(&rest[..byte_of(rest, bounds[1])]))
}

/// What is trimmed when no characters are given.
const BLANKS: &[char] = &[
    '\0', ' ', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{a0}', '\u{1680}', '\u{2000}', '\u{2001}', '\u{2002}',
    '\u{2003}', '\u{2004}', '\u{2005}', '\u{2006}', '\u{2007}', '\u{2008}', '\u{2009}', '\u{200a}',
];

fn trim<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, (left, right): (bool, bool)) -> Out<'a> {
    let Some(whole) = string(cx, call, 0)? else { return Ok(Value::Null) };
    let chars: Vec<char>;
    let chars = if call.given(1) {
        let Some(text) = string(cx, call, 1)? else { return Ok(Value::Null) };
        cx.charge((text.len() as u64 / 16).saturating_mul(1 + whole.len() as u64 / 16))?;
        cx.charge_bytes(4 * text.len())?;
        chars = text.chars().collect();
        &*chars
    } else {
        BLANKS
    };
    cx.charge(whole.len() as u64 / 16)?;
    let whole = if left { whole.trim_start_matches(chars) } else { whole };
    Ok(Value::Text(if right { whole.trim_end_matches(chars) } else { whole }))
}
