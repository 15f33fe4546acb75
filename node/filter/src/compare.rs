//! MongoDB's order of values: first by type, then within the type; numbers of all types together, NaN below every number.
//!
//! Total and transitive, so that sets and sorts may rely on it. Large values charge the evaluation's budget.

use std::cmp::Ordering;

use crate::decimal::Decimal;
use crate::eval::{Cx, EvalError};
use crate::raw;
use crate::value::{Elements, Fields, Value};

/// The rank of a value's type in MongoDB's order.
#[inline]
pub(crate) fn rank(value: Value<'_>) -> u8 {
    match value {
        Value::MinKey => 0,
        Value::Missing | Value::Undefined => 1,
        Value::Null => 2,
        Value::Int32(_) | Value::Int64(_) | Value::Double(_) | Value::Other(raw::DECIMAL, _) => 3,
        Value::Text(_) | Value::Other(raw::SYMBOL, _) => 4,
        Value::RawDocument(..) | Value::Document(..) => 5,
        Value::RawArray(..) | Value::Array(..) => 6,
        Value::Other(raw::BINARY, _) => 7,
        Value::ObjectId(_) => 8,
        Value::Bool(_) => 9,
        Value::Date(_) => 10,
        Value::Timestamp(_) => 11,
        Value::Other(raw::REGEX, _) => 12,
        Value::Other(raw::DB_POINTER, _) => 13,
        Value::Other(raw::CODE, _) => 14,
        Value::Other(..) => 15,
        Value::MaxKey => 16,
    }
}

/// NaN is below every number and equal to itself; -0 equals 0.
#[inline]
pub(crate) fn doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Exact: a long is never rounded to a double.
fn long_and_double(a: i64, b: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() || b < -LIMIT {
        return Ordering::Greater;
    }
    if b >= LIMIT {
        return Ordering::Less;
    }
    let whole = b.trunc();
    a.cmp(&(whole as i64)).then_with(|| doubles(0.0, b - whole))
}

fn numbers(a: Value<'_>, b: Value<'_>) -> Ordering {
    use Value::{Double, Int32, Int64};
    match (a, b) {
        (Double(a), Double(b)) => doubles(a, b),
        (Int32(a), Int32(b)) => a.cmp(&b),
        (Int64(a), Int64(b)) => a.cmp(&b),
        (Int32(a), Int64(b)) => i64::from(a).cmp(&b),
        (Int64(a), Int32(b)) => a.cmp(&i64::from(b)),
        (Int32(a), Double(b)) => doubles(f64::from(a), b),
        (Double(a), Int32(b)) => doubles(a, f64::from(b)),
        (Int64(a), Double(b)) => long_and_double(a, b),
        (Double(a), Int64(b)) => long_and_double(b, a).reverse(),
        (Value::Other(_, a), Double(b)) => Decimal::read(a).compare_double(b),
        (Double(a), Value::Other(_, b)) => Decimal::read(b).compare_double(a).reverse(),
        (a, b) => match (Decimal::of(a), Decimal::of(b)) {
            (Some(a), Some(b)) => a.compare(b),
            _ => Ordering::Equal,
        },
    }
}

fn text<'a>(value: Value<'a>) -> &'a [u8] {
    match value {
        Value::Text(s) => s.as_bytes(),
        Value::Other(_, bytes) => bytes.get(4..bytes.len().saturating_sub(1)).unwrap_or_default(),
        _ => &[],
    }
}

/// The order of two values that hold no others.
fn scalars(a: Value<'_>, b: Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(&b),
        (Value::Date(a), Value::Date(b)) => a.cmp(&b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(&b),
        (Value::ObjectId(a), Value::ObjectId(b)) => a.cmp(&b),
        (Value::Other(raw::BINARY, a), Value::Other(raw::BINARY, b)) => {
            a.len().cmp(&b.len()).then_with(|| a[4..].cmp(&b[4..]))
        }
        (a, b) if rank(a) == 4 => text(a).cmp(text(b)),
        (Value::Other(ka, a), Value::Other(kb, b)) => ka.cmp(&kb).then_with(|| a.cmp(b)),
        _ => Ordering::Equal,
    }
}

impl<'a> Cx<'a, '_> {
    /// MongoDB's order of two values.
    #[inline]
    pub(crate) fn compare(&mut self, a: Value<'a>, b: Value<'a>) -> Result<Ordering, EvalError> {
        if let (Value::Double(a), Value::Double(b)) = (a, b) {
            return Ok(doubles(a, b));
        }
        self.compare_nested(a, b, 0)
    }

    fn compare_nested(&mut self, a: Value<'a>, b: Value<'a>, depth: u32) -> Result<Ordering, EvalError> {
        let (left, right) = (rank(a), rank(b));
        if left != right {
            return Ok(left.cmp(&right));
        }
        match left {
            3 => Ok(numbers(a, b)),
            5 => self.compare_documents(a, b, depth + 1),
            6 => self.compare_arrays(a, b, depth + 1),
            4 | 7 | 14 | 15 => {
                self.charge(1 + text(a).len().min(text(b).len()) as u64 / 64)?;
                Ok(scalars(a, b))
            }
            _ => Ok(scalars(a, b)),
        }
    }

    fn compare_documents(&mut self, a: Value<'a>, b: Value<'a>, depth: u32) -> Result<Ordering, EvalError> {
        self.check_depth(depth)?;
        let (mut left, mut right) = (Fields::of(a), Fields::of(b));
        loop {
            self.charge(1)?;
            let (a, b) = (self.sound(left.next())?, self.sound(right.next())?);
            let ((a_name, a), (b_name, b)) = match (a, b) {
                (None, None) => return Ok(Ordering::Equal),
                (None, Some(_)) => return Ok(Ordering::Less),
                (Some(_), None) => return Ok(Ordering::Greater),
                (Some(a), Some(b)) => (a, b),
            };
            let order = rank(a).cmp(&rank(b)).then_with(|| a_name.as_bytes().cmp(b_name.as_bytes()));
            let order = if order.is_eq() { self.compare_nested(a, b, depth)? } else { order };
            if order.is_ne() {
                return Ok(order);
            }
        }
    }

    fn compare_arrays(&mut self, a: Value<'a>, b: Value<'a>, depth: u32) -> Result<Ordering, EvalError> {
        self.check_depth(depth)?;
        let (mut left, mut right) = (Elements::of(a), Elements::of(b));
        loop {
            self.charge(1)?;
            let order = match (self.sound(left.next())?, self.sound(right.next())?) {
                (None, None) => return Ok(Ordering::Equal),
                (None, Some(_)) => return Ok(Ordering::Less),
                (Some(_), None) => return Ok(Ordering::Greater),
                (Some(a), Some(b)) => self.compare_nested(a, b, depth)?,
            };
            if order.is_ne() {
                return Ok(order);
            }
        }
    }

    /// Sorts, stably, by an order that may fail. A merge sort of our own: the standard library's may panic on an order that breaks off.
    pub(crate) fn sort<T: Copy>(
        &mut self,
        items: &mut Vec<T>,
        mut order: impl FnMut(&mut Self, &T, &T) -> Result<Ordering, EvalError>,
    ) -> Result<(), EvalError> {
        let mut width = 1;
        while width < items.len() {
            let mut merged = Vec::with_capacity(items.len());
            for pair in items.chunks(2 * width) {
                let (mut left, mut right) = pair.split_at(width.min(pair.len()));
                while let (Some(a), Some(b)) = (left.first(), right.first()) {
                    self.charge(1)?;
                    let side = if order(self, a, b)?.is_gt() { &mut right } else { &mut left };
                    merged.push(side[0]);
                    *side = &side[1..];
                }
                merged.extend_from_slice(left);
                merged.extend_from_slice(right);
            }
            *items = merged;
            width *= 2;
        }
        Ok(())
    }
}
