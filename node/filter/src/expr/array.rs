//! Arrays: elements, slices, `$map`, `$filter`, `$reduce`, sorting, membership.
//!
//! Elements of the alert's own series are visited in place, through their views.

use std::cmp::Ordering;

use super::{Call, Extra, Form, Operator, deciding, row, shaped};
use crate::eval::{Cx, EvalError, Name, Out};
use crate::lanes::Loop;
use crate::number::{double, int};
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    row("$arrayElemAt", 2, 2, element_at),
    shaped("$concatArrays", Form::Associative, concat),
    shaped("$filter", Form::Filter, filter),
    row("$first", 1, 1, |cx, call| end(cx, call, true)),
    deciding("$in", 2, 2, contains),
    deciding("$isArray", 1, 1, |cx, call| Ok(call.arg(cx, 0)?.is_array())),
    row("$last", 1, 1, |cx, call| end(cx, call, false)),
    shaped("$map", Form::Map, map),
    row("$range", 2, 3, range),
    shaped("$reduce", Form::Reduce, reduce),
    row("$reverseArray", 1, 1, reverse),
    row("$size", 1, 1, size),
    row("$slice", 2, 3, slice),
    shaped("$sortArray", Form::SortArray, sort),
];

/// What `$sortArray` sorts by.
#[derive(Debug, Clone)]
pub(crate) enum SortKey {
    /// The elements themselves; descending when set.
    Whole(bool),
    /// Paths into the elements, each descending when set.
    Paths(Box<[(Box<[Name]>, bool)]>),
}

fn map<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let input = call.arg(cx, 0)?;
    if input.is_nullish() {
        return Ok(Value::Null);
    }
    if !input.is_array() {
        return call.no_array(cx, input);
    }
    if let Some(lanes) = Loop::of(cx, call, input)? {
        let all = lanes.values(cx)?;
        cx.place = call.place;
        return cx.array(all);
    }
    let (mut items, mut all) = (cx.items(input), Vec::new());
    while let Some(item) = cx.next(&mut items)? {
        cx.variables[call.slot as usize] = item;
        all.push(call.arg(cx, 1)?);
    }
    cx.place = call.place;
    cx.array(all)
}

fn filter<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let input = call.arg(cx, 0)?;
    if input.is_nullish() {
        return Ok(Value::Null);
    }
    if !input.is_array() {
        return call.no_array(cx, input);
    }
    // An empty array stays as it is, whatever the limit.
    if cx.next(&mut cx.items(input))?.is_none() {
        return Ok(input);
    }
    let limit = call.arg(cx, 2)?;
    let limit = match int(limit) {
        _ if limit.is_nullish() => usize::MAX,
        Some(n) if n > 0 => n as usize,
        _ => {
            return call.refuse(cx, format_args!("needs a whole limit above 0, and this is {}", limit.shown()));
        }
    };
    if let Some(lanes) = Loop::of(cx, call, input)? {
        let mut all = Vec::new();
        lanes.each_truth(cx, |cx, at, holds| {
            if holds {
                all.push(cx.point(lanes.series, at)?);
            }
            Ok(all.len() < limit)
        })?;
        cx.place = call.place;
        return cx.array(all);
    }
    let (mut items, mut all) = (cx.items(input), Vec::new());
    while let Some(item) = cx.next(&mut items)? {
        cx.variables[call.slot as usize] = item;
        if call.args[1].is_true(cx)? {
            all.push(item);
            if all.len() >= limit {
                break;
            }
        }
    }
    cx.place = call.place;
    cx.array(all)
}

fn reduce<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let input = call.arg(cx, 0)?;
    if input.is_nullish() {
        return Ok(Value::Null);
    }
    if !input.is_array() {
        return call.no_array(cx, input);
    }
    let (mut items, mut value) = (cx.items(input), call.arg(cx, 1)?);
    while let Some(item) = cx.next(&mut items)? {
        cx.variables[call.slot as usize] = item;
        cx.variables[call.slot as usize + 1] = value;
        value = call.arg(cx, 2)?;
    }
    Ok(value)
}

fn size<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    if let Some(filter) = call.args[0].call("$filter")
        && filter.args.len() == 2
        && filter.extra.body().is_some()
    {
        let input = filter.arg(cx, 0)?;
        if let Some(lanes) = Loop::of(cx, filter, input)? {
            return Ok(Value::Int32(lanes.count(cx)? as i32));
        }
    }
    let array = call.arg(cx, 0)?;
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    Ok(Value::Int32(count(cx, array)? as i32))
}

fn count<'a>(cx: &mut Cx<'a, '_>, array: Value<'a>) -> Result<usize, EvalError> {
    if let Value::Array(_, items) = array {
        return Ok(items.len());
    }
    let (mut items, mut count) = (cx.items(array), 0);
    while cx.next(&mut items)?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn end<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, first: bool) -> Out<'a> {
    let array = call.arg(cx, 0)?;
    if array.is_nullish() {
        return Ok(Value::Null);
    }
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    nth(cx, array, if first { 0 } else { -1 })
}

/// The element at an index, from the end when negative; missing when there is none.
fn nth<'a>(cx: &mut Cx<'a, '_>, array: Value<'a>, index: i64) -> Out<'a> {
    let index = if index < 0 { count(cx, array)? as i64 + index } else { index };
    let Ok(index) = usize::try_from(index) else { return Ok(Value::Missing) };
    if let Value::Array(_, items) = array {
        return Ok(items.get(index).copied().unwrap_or(Value::Missing));
    }
    let mut items = cx.items(array);
    let mut at = 0;
    while let Some(item) = cx.next(&mut items)? {
        if at == index {
            return Ok(item);
        }
        at += 1;
    }
    Ok(Value::Missing)
}

fn element_at<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (array, index) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    if array.is_nullish() || index.is_nullish() {
        return Ok(Value::Null);
    }
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    match int(index) {
        Some(index) => nth(cx, array, i64::from(index)),
        None => call.refuse(cx, format_args!("needs a 32-bit index, and this is {}", index.shown())),
    }
}

fn slice<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (array, second) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    if array.is_nullish() || second.is_nullish() {
        return Ok(Value::Null);
    }
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    let Some(second_int) = int(second).map(i64::from) else {
        return call.refuse(cx, format_args!("needs 32-bit numbers, and this is {}", second.shown()));
    };
    let length = count(cx, array)? as i64;
    let from_end = |at: i64| if at < 0 { (length + at).max(0) } else { at.min(length) };
    let (start, end) = if call.args.len() > 2 {
        let third = call.arg(cx, 2)?;
        match int(third).map(i64::from) {
            _ if third.is_nullish() => return Ok(Value::Null),
            Some(n) if n > 0 => (from_end(second_int), (from_end(second_int) + n).min(length)),
            _ => {
                return call.refuse(cx, format_args!("needs a positive 32-bit count, and this is {}", third.shown()));
            }
        }
    } else if second_int < 0 {
        (from_end(second_int), length)
    } else {
        (0, from_end(second_int))
    };
    let all = cx.elements(array)?;
    cx.place = call.place;
    cx.array(all[start as usize..end as usize].to_vec())
}

fn contains<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<bool, EvalError> {
    let (wanted, array) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    if !array.is_array() {
        call.no_array(cx, array)?;
    }
    cx.place = call.place;
    let mut items = cx.items(array);
    while let Some(item) = cx.next(&mut items)? {
        if cx.compare(wanted, item)?.is_eq() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn concat<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some(all) = call.gather(cx)? else { return Ok(Value::Null) };
    cx.array(all)
}

fn reverse<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let array = call.arg(cx, 0)?;
    if array.is_nullish() {
        return Ok(Value::Null);
    }
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    let mut all = cx.elements(array)?;
    all.reverse();
    cx.array(all)
}

fn range<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut given = [0_i64, 0, 1];
    for (at, bound) in given.iter_mut().enumerate().take(call.args.len()) {
        let value = call.arg(cx, at)?;
        match int(value) {
            Some(n) => *bound = i64::from(n),
            None if double(value).is_some() => {
                return call.refuse(cx, format_args!("needs 32-bit whole numbers, and this is {}", value.shown()));
            }
            None => {
                return call.refuse(cx, format_args!("works on numbers, not on {}", value.shown()));
            }
        }
    }
    let [mut at, end, step] = given;
    if step == 0 {
        return call.refuse(cx, "needs a step that is not zero");
    }
    cx.place = call.place;
    let count = ((end - at) as f64 / step as f64).ceil().max(0.0) as u64;
    cx.charge(count)?;
    cx.charge_bytes(count as usize * size_of::<Value<'_>>())?;
    let mut all = Vec::with_capacity(count as usize);
    while if step > 0 { at < end } else { at > end } {
        all.push(Value::Int32(at as i32));
        at += step;
    }
    cx.array(all)
}

fn sort<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let array = call.arg(cx, 0)?;
    if array.is_nullish() {
        return Ok(Value::Null);
    }
    if !array.is_array() {
        return call.no_array(cx, array);
    }
    cx.place = call.place;
    let all = cx.elements(array)?;
    let by = if let Extra::Sort(by) = &call.extra { Some(&**by) } else { None };
    match by {
        Some(SortKey::Paths(paths)) => sort_by_paths(cx, &all, paths),
        other => {
            let down = matches!(other, Some(SortKey::Whole(true)));
            let mut all = all;
            cx.introsort(&mut all, |cx, a, b| Ok(directed(cx.compare(*a, *b)?, down)))?;
            cx.array(all)
        }
    }
}

fn directed(order: Ordering, down: bool) -> Ordering {
    if down { order.reverse() } else { order }
}

/// Sorts documents by some of their fields; arrays on the way are not walked into, as in MongoDB.
fn sort_by_paths<'a>(cx: &mut Cx<'a, '_>, all: &[Value<'a>], paths: &'a [(Box<[Name]>, bool)]) -> Out<'a> {
    let mut keys = Vec::with_capacity(all.len() * paths.len());
    for item in all {
        for (path, _) in paths {
            let mut value = *item;
            for name in path {
                value = cx.field(value, *name)?;
            }
            keys.push(if value.is_missing() { Value::Null } else { value });
        }
    }
    let mut order: Vec<usize> = (0..all.len()).collect();
    cx.introsort(&mut order, |cx, a, b| {
        for (at, (_, down)) in paths.iter().enumerate() {
            let order = cx.compare(keys[a * paths.len() + at], keys[b * paths.len() + at])?;
            if order.is_ne() {
                return Ok(directed(order, *down));
            }
        }
        Ok(Ordering::Equal)
    })?;
    cx.array(order.into_iter().map(|at| all[at]).collect())
}
