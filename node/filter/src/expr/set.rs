//! Arrays as sets, and the quantifiers over an array.

use super::{Call, Extra, Form, MANY, Node, Operator, deciding, row, shaped};
use crate::eval::{Cx, EvalError, Out};
use crate::lanes::Loop;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[
    deciding("$allElementsTrue", 1, 1, |cx, call| quantify(cx, call, false)),
    deciding("$anyElementTrue", 1, 1, |cx, call| quantify(cx, call, true)),
    row("$setDifference", 2, 2, difference),
    deciding("$setEquals", 2, MANY, equals).prepared(arrays),
    shaped("$setIntersection", Form::Commutative, intersection),
    deciding("$setIsSubset", 2, 2, is_subset).prepared(|args| arrays(&args[1..])),
    shaped("$setUnion", Form::Commutative, union),
];

/// MongoDB looks at these when it prepares the pipeline: a constant among them is an array.
fn arrays(args: &[Node]) -> Result<Extra, String> {
    for arg in args {
        if let Node::Constant(constant) = arg
            && !constant.value().is_array()
        {
            return Err(format!("works on an array, not on {}", constant.value().shown()));
        }
    }
    Ok(Extra::None)
}

/// `$anyElementTrue` (until one is true) and `$allElementsTrue` (until one is false).
fn quantify<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, until: bool) -> Result<bool, EvalError> {
    if let Node::Call(inner) = &call.args[0]
        && inner.operator.form == Form::Map
    {
        return quantify_map(cx, call, inner, until);
    }
    let array = call.arg(cx, 0)?;
    if !array.is_array() {
        call.no_array(cx, array)?;
    }
    let mut items = cx.items(array);
    while let Some(item) = cx.next(&mut items)? {
        if item.is_true() == until {
            return Ok(until);
        }
    }
    Ok(!until)
}

/// A quantifier over a `$map`, without its array. Every element is visited, since MongoDB would meet an error in a later one.
fn quantify_map<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, map: &'a Call, until: bool) -> Result<bool, EvalError> {
    let input = map.arg(cx, 0)?;
    if input.is_nullish() {
        call.no_array(cx, Value::Null)?;
    }
    if !input.is_array() {
        map.no_array(cx, input)?;
    }
    if let Some(lanes) = Loop::of(cx, map, input)? {
        let count = lanes.count(cx)?;
        return Ok(if until { count > 0 } else { count == lanes.points });
    }
    let (mut items, mut found) = (cx.items(input), false);
    while let Some(item) = cx.next(&mut items)? {
        cx.variables[map.slot as usize] = item;
        found |= map.args[1].is_true(cx)? == until;
    }
    Ok(found == until)
}

/// The elements as a set: in MongoDB's order, each once.
fn set<'a>(cx: &mut Cx<'a, '_>, mut all: Vec<Value<'a>>) -> Result<Vec<Value<'a>>, EvalError> {
    cx.sort(&mut all, |cx, a, b| cx.compare(*a, *b))?;
    let mut set: Vec<Value<'a>> = Vec::with_capacity(all.len());
    for value in all {
        let known = match set.last() {
            Some(last) => cx.compare(*last, value)?.is_eq(),
            None => false,
        };
        if !known {
            set.push(value);
        }
    }
    Ok(set)
}

/// The set of an argument, which must be an array.
fn set_of<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, at: usize) -> Result<Vec<Value<'a>>, EvalError> {
    let array = call.arg(cx, at)?;
    if !array.is_array() {
        call.no_array(cx, array)?;
    }
    let all = cx.elements(array)?;
    cx.place = call.place;
    set(cx, all)
}

/// Whether a sorted set holds a value.
fn holds<'a>(cx: &mut Cx<'a, '_>, set: &[Value<'a>], value: Value<'a>) -> Result<bool, EvalError> {
    let (mut low, mut high) = (0, set.len());
    while low < high {
        cx.charge(1)?;
        let middle = usize::midpoint(low, high);
        match cx.compare(set[middle], value)? {
            std::cmp::Ordering::Equal => return Ok(true),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(false)
}

fn union<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let Some(all) = call.gather(cx)? else { return Ok(Value::Null) };
    let set = set(cx, all)?;
    cx.array(set)
}

/// What the first has and the second has not: in the order of the first, each once.
fn difference<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (left, right) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    if left.is_nullish() || right.is_nullish() {
        return Ok(Value::Null);
    }
    for side in [left, right] {
        if !side.is_array() {
            return call.no_array(cx, side);
        }
    }
    let (left, right) = (cx.elements(left)?, cx.elements(right)?);
    cx.place = call.place;
    let right = set(cx, right)?;
    let mut order: Vec<usize> = (0..left.len()).collect();
    cx.sort(&mut order, |cx, a, b| cx.compare(left[*a], left[*b]))?;
    let (mut kept, mut last) = (Vec::new(), None);
    for at in order {
        // The sort is stable: of equal elements the first comes first.
        let again = match last {
            Some(last) => cx.compare(last, left[at])?.is_eq(),
            None => false,
        };
        last = Some(left[at]);
        if !again && !holds(cx, &right, left[at])? {
            kept.push(at);
        }
    }
    kept.sort_unstable();
    cx.array(kept.into_iter().map(|at| left[at]).collect())
}

fn intersection<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let mut common: Option<Vec<Value<'a>>> = None;
    for at in 0..call.args.len() {
        let array = call.arg(cx, at)?;
        if array.is_nullish() {
            return Ok(Value::Null);
        }
        if !array.is_array() {
            return call.no_array(cx, array);
        }
        let all = cx.elements(array)?;
        cx.place = call.place;
        let other = set(cx, all)?;
        common = Some(match common {
            None => other,
            Some(common) => {
                // Of two that are equal and not alike, the one of the smaller set stays, as in MongoDB.
                let (small, large) = if common.len() > other.len() { (other, common) } else { (common, other) };
                let mut both = Vec::new();
                for value in small {
                    if holds(cx, &large, value)? {
                        both.push(value);
                    }
                }
                both
            }
        });
    }
    cx.array(common.unwrap_or_default())
}

fn equals<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<bool, EvalError> {
    let (first, mut equal) = (set_of(cx, call, 0)?, true);
    for at in 1..call.args.len() {
        let other = set_of(cx, call, at)?;
        equal &= first.len() == other.len();
        for (a, b) in first.iter().zip(other) {
            equal = equal && cx.compare(*a, b)?.is_eq();
        }
        // As MongoDB, which looks at no further argument.
        if !equal {
            break;
        }
    }
    Ok(equal)
}

fn is_subset<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Result<bool, EvalError> {
    let (left, right) = (set_of(cx, call, 0)?, set_of(cx, call, 1)?);
    for value in left {
        if !holds(cx, &right, value)? {
            return Ok(false);
        }
    }
    Ok(true)
}
