//! Documents: merging, and turning them into arrays and back.

use super::{Call, MANY, Operator, row};
use crate::eval::{Cx, EvalError, Out};
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$arrayToObject", 1, 1, from_array),
    row("$mergeObjects", 0, MANY, merge),
    row("$objectToArray", 1, 1, to_array),
];

type Pairs<'a> = Vec<(&'a str, Value<'a>)>;

/// Sets a field: in place when it is there, else at the end.
pub(crate) fn set<'a>(
    cx: &mut Cx<'a, '_>,
    fields: &mut Pairs<'a>,
    name: &'a str,
    value: Value<'a>,
) -> Result<(), EvalError> {
    cx.charge(1 + fields.len() as u64 / 16)?;
    match fields.iter_mut().find(|(n, _)| *n == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name, value)),
    }
    Ok(())
}

fn merge<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut all = Vec::new();
    if let [arg] = &*call.args {
        let value = arg.eval(cx)?;
        if value.is_array() {
            let mut items = cx.items(value);
            while let Some(item) = cx.next(&mut items)? {
                merge_one(cx, call, &mut all, item)?;
            }
        } else {
            merge_one(cx, call, &mut all, value)?;
        }
        return cx.object(all);
    }
    for arg in &call.args {
        let value = arg.eval(cx)?;
        merge_one(cx, call, &mut all, value)?;
    }
    cx.object(all)
}

fn merge_one<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, all: &mut Pairs<'a>, value: Value<'a>) -> Result<(), EvalError> {
    if value.is_nullish() {
        return Ok(());
    }
    if !value.is_document() {
        return call.refuse(cx, format_args!("works on documents, not on {}", value.shown())).map(|_| ());
    }
    for (name, value) in cx.fields(value)? {
        set(cx, all, name, value)?;
    }
    Ok(())
}

fn to_array<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let value = call.arg(cx, 0)?;
    if value.is_nullish() {
        return Ok(Value::Null);
    }
    if !value.is_document() {
        return call.refuse(cx, format_args!("works on a document, not on {}", value.shown()));
    }
    let mut all = Vec::new();
    for (name, value) in cx.fields(value)? {
        let pair = cx.object(vec![("k", Value::Text(name)), ("v", value)])?;
        all.push(pair);
    }
    cx.array(all)
}

fn from_array<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let array = call.arg(cx, 0)?;
    if array.is_nullish() {
        return Ok(Value::Null);
    }
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    let (mut items, mut all, mut first) = (cx.items(array), Vec::new(), None);
    while let Some(item) = cx.next(&mut items)? {
        if item.is_document() != *first.get_or_insert(item.is_document()) {
            return call.refuse(cx, "needs elements of one form: all [key, value], or all {k, v}");
        }
        let (key, value) = match key_and_value(cx, item)? {
            Some(pair) => pair,
            None => {
                let message = format!("needs [key, value] or {{k, v}}, and met {}", item.shown());
                return call.refuse(cx, message);
            }
        };
        match key {
            Value::Text(key) if !key.contains('\0') => set(cx, &mut all, key, value)?,
            key => {
                return call
                    .refuse(cx, format_args!("needs keys that are strings without noughts, and met {}", key.shown()));
            }
        }
    }
    cx.object(all)
}

fn key_and_value<'a>(cx: &mut Cx<'a, '_>, item: Value<'a>) -> Result<Option<(Value<'a>, Value<'a>)>, EvalError> {
    if item.is_array() {
        return Ok(match *cx.elements(item)? {
            [key, value] => Some((key, value)),
            _ => None,
        });
    }
    if !item.is_document() {
        return Ok(None);
    }
    Ok(match *cx.fields(item)? {
        [("k", key), ("v", value)] | [("v", value), ("k", key)] => Some((key, value)),
        _ => None,
    })
}
