//! `$regexMatch`, `$regexFind`, `$regexFindAll`.
//!
//! A constant pattern is compiled with the program; a computed one at each evaluation, at the budget's expense. What a pattern may be is
//! decided in `pcre`.

use std::borrow::Cow;

use regex::Regex;

use super::{Call, Extra, Form, Node, Operator, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::pcre;
use crate::raw;
use crate::value::Value;

const ARGS: Form = Form::Named(&["input", "regex", "options"], 2);

pub(super) static OPERATORS: &[Operator] = &[
    shaped("$regexFind", ARGS, find).prepared(prepare),
    shaped("$regexFindAll", ARGS, find_all).prepared(prepare),
    shaped("$regexMatch", ARGS, |cx, call| matches(cx, call).map(Value::Bool)).prepared(prepare).deciding(matches),
];

/// Steps that compiling a computed pattern costs, and those for each byte of it.
const COMPILE: (u64, u64) = (2000, 50);

fn prepare(args: &[Node]) -> Result<Extra, String> {
    let constant = |at: usize| match args.get(at) {
        Some(Node::Constant(constant)) => Some(constant.value()),
        Some(Node::Absent) | None => Some(Value::Missing),
        _ => None,
    };
    match (constant(1), constant(2)) {
        (Some(pattern), Some(options)) => Ok(Extra::Pattern(compiled(pattern, options)?.map(Box::new))),
        _ => Ok(Extra::None),
    }
}

/// Compiles a pattern; none for null.
fn compiled(pattern: Value<'_>, options: Value<'_>) -> Result<Option<Regex>, String> {
    let given = match options {
        Value::Text(text) => Some(text),
        options if options.is_nullish() => None,
        other => return Err(format!("needs a string for its options, and this is {}", other.shown())),
    };
    let (pattern, own) = match pattern {
        Value::Text(text) => (text, ""),
        Value::Other(raw::REGEX, bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "needs a pattern in UTF-8".to_owned())?;
            let mut parts = text.split('\0');
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        }
        pattern if pattern.is_nullish() => {
            return pcre::compile("", given.unwrap_or_default()).map(|_| None);
        }
        other => return Err(format!("needs a string or a regular expression, and this is {}", other.shown())),
    };
    if given.is_some() && !own.is_empty() {
        return Err("takes the options of the regular expression itself or `options`, not both".to_owned());
    }
    pcre::compile(pattern, given.unwrap_or(own)).map(Some)
}

/// The text and the pattern; `None` where either is null.
fn operands<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<Option<(&'a str, Cow<'a, Regex>)>, EvalError> {
    let input = call.arg(cx, 0)?;
    let pattern = if let Extra::Pattern(pattern) = &call.extra {
        pattern.as_deref().map(Cow::Borrowed)
    } else {
        let (pattern, options) = (call.arg(cx, 1)?, call.arg(cx, 2)?);
        let length = match pattern {
            Value::Text(text) => text.len(),
            Value::Other(_, bytes) => bytes.len(),
            _ => 0,
        };
        cx.place = call.place;
        cx.charge(COMPILE.0 + COMPILE.1 * length as u64)?;
        match compiled(pattern, options) {
            Ok(pattern) => pattern.map(Cow::Owned),
            Err(reason) => return call.refuse(cx, reason).map(|_| None),
        }
    };
    match input {
        Value::Text(text) => {
            cx.place = call.place;
            cx.charge(1 + text.len() as u64 / 16)?;
            Ok(pattern.map(|pattern| (text, pattern)))
        }
        input if input.is_nullish() => Ok(None),
        other => call.refuse(cx, format_args!("works on a string, not on {}", other.shown())).map(|_| None),
    }
}

fn matches<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<bool, EvalError> {
    Ok(operands(cx, call)?.is_some_and(|(text, pattern)| pattern.is_match(text)))
}

fn find<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some((text, pattern)) = operands(cx, call)? else { return Ok(Value::Null) };
    match found(cx, text, &pattern, (0, 0))? {
        Some((value, _)) => Ok(value),
        None => Ok(Value::Null),
    }
}

/// A byte of the text and the code point that begins there.
type At = (usize, usize);
/// A match as a document, and where it begins and ends.
type Match<'a> = Option<(Value<'a>, (At, At))>;

/// The first match from there on.
fn found<'a>(cx: &mut Cx<'a, '_>, text: &'a str, pattern: &Regex, from: At) -> Result<Match<'a>, EvalError> {
    cx.charge(1 + (text.len() - from.0) as u64 / 4)?;
    let Some(groups) = pattern.captures_at(text, from.0) else { return Ok(None) };
    let Some(whole) = groups.get(0) else { return Ok(None) };
    let begin = (whole.start(), from.1 + text[from.0..whole.start()].chars().count());
    let end = (whole.end(), begin.1 + whole.as_str().chars().count());
    let captures = groups
        .iter()
        .skip(1)
        .map(|group| group.map_or(Value::Null, |group| Value::Text(&text[group.range()])))
        .collect();
    let captures = cx.array(captures)?;
    let (matched, idx) = (Value::Text(&text[whole.range()]), Value::Int32(begin.1 as i32));
    let value = cx.object(vec![("match", matched), ("idx", idx), ("captures", captures)])?;
    Ok(Some((value, (begin, end))))
}

fn find_all<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut all = Vec::new();
    if let Some((text, pattern)) = operands(cx, call)? {
        let mut from = (0, 0);
        while let Some((value, (begin, end))) = found(cx, text, &pattern, from)? {
            all.push(value);
            from = match text[begin.0..].chars().next() {
                // Behind an empty match, the next is looked for one character on.
                Some(c) if begin.0 == end.0 => (begin.0 + c.len_utf8(), begin.1 + 1),
                _ => end,
            };
            if from.0 >= text.len() {
                break;
            }
        }
    }
    cx.array(all)
}
