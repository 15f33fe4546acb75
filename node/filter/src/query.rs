//! The query language of `$match`: what a compiled query is, and whether a document matches it.
//!
//! Paths go through arrays as MongoDB's do: into each document of an array, and by index; a value matches when it, or an element of it,
//! does. Parsing is in `parse::query`.

use std::cmp::Ordering;

use crate::bits::Bits;
use crate::compare::rank;
use crate::decimal::Decimal;
use crate::eval::{Cx, EvalError, Name};
use crate::expr::{Constant, Node, Quick};
use crate::number::{integral, whole};
use crate::raw;
use crate::value::{Fields, Value};
use crate::write::type_byte;

/// A compiled query.
#[derive(Debug, Clone)]
pub(crate) enum Query {
    All(Vec<Query>),
    Any(Vec<Query>),
    Not(Box<Query>),
    /// Some value at the path passes the test.
    Field(QueryPath, Test),
    Expr(Box<Node>),
    /// What follows from an `$expr` for one field: true wherever the `$expr` may be, also on every array.
    Hint(Box<[Name]>, Comparison, Constant),
}

/// A dotted path: its names, each with the index that it also is.
pub(crate) type QueryPath = Box<[Part]>;

/// One component of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) name: Name,
    pub(crate) index: Option<u32>,
}

/// A condition on one value, as `$elemMatch` lays it on an element.
#[derive(Debug, Clone)]
pub(crate) enum Element {
    All(Vec<Element>),
    Not(Box<Element>),
    Test(Test),
}

/// A test of one value.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Compare(Comparison, Constant),
    In(Vec<Constant>, Vec<Pattern>),
    Exists,
    /// Of one of these type bytes.
    Type(Vec<u8>),
    Size(i64),
    Bits(Bits),
    Mod(i64, i64),
    Regex(Pattern),
    /// Some element of the array meets the conditions.
    AnyElement(Box<Element>),
    /// Some element of the array, a document, matches the query.
    AnyDocument(Box<Query>),
}

/// A regular expression, and itself as a value: a stored regular expression that is the same matches too.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) regex: regex::Regex,
    pub(crate) written: Constant,
}

/// The comparisons that match within one type only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Query {
    /// Whether the document matches.
    pub(crate) fn matches<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>) -> Result<bool, EvalError> {
        cx.charge(1)?;
        match self {
            Query::All(queries) => {
                for query in queries {
                    if !query.matches(cx, document)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Query::Any(queries) => {
                for query in queries {
                    if query.matches(cx, document)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Query::Not(query) => Ok(!query.matches(cx, document)?),
            Query::Field(path, Test::Compare(comparison, Constant::Scalar(constant))) => {
                cx.charge(1)?;
                if let (Quick::Double(a) | Quick::Int(a), Some(b)) = (cx.quick_parts(document, path), finite(*constant))
                {
                    return Ok(comparison.holds(a, b));
                }
                self.slow(cx, document)
            }
            Query::Field(..) => self.slow(cx, document),
            Query::Expr(node) => node.is_true(cx),
            Query::Hint(path, comparison, constant) => hints(cx, document, path, (*comparison, constant.value())),
        }
    }
}

impl Query {
    /// The test of a field, of whatever type and through arrays.
    fn slow<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>) -> Result<bool, EvalError> {
        match self {
            Query::Field(path, test) => test.at(cx, document, path),
            _ => Ok(false),
        }
    }
}

/// The finite number that a constant is exactly.
pub(crate) fn finite(constant: Value<'_>) -> Option<f64> {
    match constant {
        Value::Double(x) if x.is_finite() => Some(x),
        Value::Int32(n) => Some(f64::from(n)),
        _ => None,
    }
}

impl Comparison {
    /// Whether a number compares so with a finite one; NaN does with none.
    #[inline]
    pub(crate) fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Comparison::Eq => a == b,
            Comparison::Gt => a > b,
            Comparison::Gte => a >= b,
            Comparison::Lt => a < b,
            Comparison::Lte => a <= b,
        }
    }
}

impl Element {
    fn holds<'a>(&'a self, cx: &mut Cx<'a, '_>, value: Value<'a>) -> Result<bool, EvalError> {
        match self {
            Element::All(all) => {
                for element in all {
                    if !element.holds(cx, value)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Element::Not(element) => Ok(!element.holds(cx, value)?),
            Element::Test(test) => test.holds(cx, value),
        }
    }
}

impl Test {
    /// Whether the test looks at an array as a whole only, never at its elements.
    pub(crate) fn of_whole_arrays(&self) -> bool {
        matches!(self, Test::Size(_) | Test::AnyElement(_) | Test::AnyDocument(_))
    }

    /// Whether some value at the path passes. Arrays end the straight walk.
    fn at<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>, path: &'a [Part]) -> Result<bool, EvalError> {
        let mut value = document;
        for (at, part) in path.iter().enumerate() {
            if value.is_array() {
                return self.through(cx, value, &path[at..]);
            }
            value = cx.field(value, part.name)?;
            if value.is_missing() {
                break;
            }
        }
        self.leaf(cx, value)
    }

    /// The value at the end of a path: its elements, then itself.
    fn leaf<'a>(&'a self, cx: &mut Cx<'a, '_>, value: Value<'a>) -> Result<bool, EvalError> {
        if let Value::Array(_, items) = value
            && items.iter().any(|item| item.is_missing())
        {
            // A query sees what would be written, without the places of what earlier stages have taken out.
            let there = items.iter().copied().filter(|item| !item.is_missing()).collect();
            let array = cx.array(there)?;
            return self.leaf(cx, array);
        }
        if value.is_array() && !self.of_whole_arrays() {
            let mut items = cx.items(value);
            while let Some(item) = cx.next(&mut items)? {
                if self.holds(cx, item)? {
                    return Ok(true);
                }
            }
        }
        self.holds(cx, value)
    }

    /// An array with some of the path left: its documents, and its element of that index.
    fn through<'a>(&'a self, cx: &mut Cx<'a, '_>, array: Value<'a>, path: &'a [Part]) -> Result<bool, EvalError> {
        let Some((part, rest)) = path.split_first() else { return self.leaf(cx, array) };
        let (mut items, mut at) = (cx.items(array), 0_u32);
        while let Some(item) = cx.next(&mut items)? {
            if item.is_missing() {
                continue;
            }
            let here = part.index == Some(at);
            at += 1;
            let document = item.is_document();
            let passes = (document && self.at(cx, item, path)?)
                || (here && rest.is_empty() && self.holds(cx, item)?)
                || (here && !rest.is_empty() && document && self.at(cx, item, rest)?)
                || (here && !rest.is_empty() && item.is_array() && self.through(cx, item, rest)?);
            if passes {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this one value passes.
    fn holds<'a>(&'a self, cx: &mut Cx<'a, '_>, value: Value<'a>) -> Result<bool, EvalError> {
        match self {
            Test::Compare(comparison, constant) => compare(cx, value, *comparison, constant.value()),
            Test::In(constants, patterns) => {
                cx.charge(constants.len() as u64 / 8)?;
                for constant in constants {
                    if compare(cx, value, Comparison::Eq, constant.value())? {
                        return Ok(true);
                    }
                }
                for pattern in patterns {
                    if finds(cx, pattern, value)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::Exists => Ok(!value.is_missing()),
            Test::Type(kinds) => Ok(kinds.iter().any(|kind| is_of_type(value, *kind))),
            Test::Size(size) => {
                if !value.is_array() {
                    return Ok(false);
                }
                Ok(cx.elements(value)?.len() as i64 == *size)
            }
            Test::Bits(bits) => {
                cx.charge(bits.cost())?;
                Ok(bits.hold(value))
            }
            Test::Mod(divisor, rest) => {
                let n = match value {
                    Value::Double(x) => whole(x.trunc()),
                    Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).truncated(),
                    value => integral(value),
                };
                Ok(n.is_some_and(|n| n.checked_rem(*divisor).unwrap_or_default() == *rest))
            }
            Test::Regex(pattern) => finds(cx, pattern, value),
            Test::AnyElement(element) => any(cx, value, |cx, item| element.holds(cx, item)),
            Test::AnyDocument(query) => any(cx, value, |cx, item| {
                Ok(match item {
                    item if item.is_document() => query.matches(cx, item)?,
                    item if item.is_array() => {
                        let document = as_document(cx, item)?;
                        query.matches(cx, document)?
                    }
                    _ => false,
                })
            }),
        }
    }
}

/// Whether the value at a path may meet a comparison of expressions; an array on the way may always.
fn hints<'a>(
    cx: &mut Cx<'a, '_>,
    document: Value<'a>,
    path: &'a [Name],
    (comparison, with): (Comparison, Value<'a>),
) -> Result<bool, EvalError> {
    let mut value = document;
    for name in path {
        value = cx.field(value, *name)?;
        if value.is_array() {
            return Ok(true);
        }
    }
    Ok(beyond(cx.compare(value, with)?, comparison))
}

fn any<'a>(
    cx: &mut Cx<'a, '_>,
    array: Value<'a>,
    mut holds: impl FnMut(&mut Cx<'a, '_>, Value<'a>) -> Result<bool, EvalError>,
) -> Result<bool, EvalError> {
    if !array.is_array() {
        return Ok(false);
    }
    let mut items = cx.items(array);
    while let Some(item) = cx.next(&mut items)? {
        if holds(cx, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An array as the document that `$elemMatch` takes it for: its elements under "0", "1", ….
fn as_document<'a>(cx: &mut Cx<'a, '_>, array: Value<'a>) -> Result<Value<'a>, EvalError> {
    if let Value::RawArray(_, _) = array {
        let (mut fields, mut all) = (Fields::of(array), Vec::new());
        while let Some(field) = cx.sound(fields.next())? {
            cx.charge(1)?;
            all.push(field);
        }
        return cx.object(all);
    }
    let mut all = Vec::new();
    for (at, item) in cx.elements(array)?.into_iter().enumerate() {
        let Value::Text(name) = cx.text(&at.to_string())? else { continue };
        all.push((name, item));
    }
    cx.object(all)
}

fn finds<'a>(cx: &mut Cx<'a, '_>, pattern: &'a Pattern, value: Value<'a>) -> Result<bool, EvalError> {
    let text = match value {
        Value::Text(text) => text,
        Value::Other(raw::SYMBOL, bytes) => cx.sound(crate::value::text(bytes))?,
        Value::Other(raw::REGEX, _) => return compare(cx, value, Comparison::Eq, pattern.written.value()),
        _ => return Ok(false),
    };
    cx.charge(1 + text.len() as u64 / 16)?;
    Ok(pattern.regex.is_match(text))
}

/// A comparison matches only values of the constant's own type; missing counts as null, and NaN equals only NaN.
fn compare<'a>(
    cx: &mut Cx<'a, '_>,
    value: Value<'a>,
    comparison: Comparison,
    with: Value<'a>,
) -> Result<bool, EvalError> {
    use Comparison::{Eq, Gt, Gte, Lt, Lte};
    if let (Value::Double(a), Value::Double(b)) = (value, with) {
        return Ok(match comparison {
            Eq => a == b || (a.is_nan() && b.is_nan()),
            Gt => a > b,
            Lt => a < b,
            Gte => a >= b || (a.is_nan() && b.is_nan()),
            Lte => a <= b || (a.is_nan() && b.is_nan()),
        });
    }
    let (left, right) = (rank(value), rank(with));
    if left != right {
        let both_null = value.is_nullish() && with.is_nullish();
        let extreme = matches!(with, Value::MinKey | Value::MaxKey);
        return Ok(if both_null {
            matches!(comparison, Eq | Gte | Lte)
        } else {
            extreme && beyond(left.cmp(&right), comparison)
        });
    }
    let order = cx.compare(value, with)?;
    if crate::number::approximate(value).is_nan() != crate::number::approximate(with).is_nan() {
        return Ok(false);
    }
    Ok(beyond(order, comparison))
}

fn beyond(order: Ordering, comparison: Comparison) -> bool {
    match comparison {
        Comparison::Eq => order.is_eq(),
        Comparison::Gt => order.is_gt(),
        Comparison::Gte => order.is_ge(),
        Comparison::Lt => order.is_lt(),
        Comparison::Lte => order.is_le(),
    }
}

/// Whether a value is of the type that `$type` means by this byte.
fn is_of_type(value: Value<'_>, kind: u8) -> bool {
    !matches!(value, Value::Missing) && type_byte(value) == kind
}
