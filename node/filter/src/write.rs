//! Values to BSON bytes: the document that a program passes on, and constants when a program is compiled.
//!
//! What is borrowed from the alert is copied as it stands.

use crate::eval::{Cx, EvalError};
use crate::expr::Constant;
use crate::raw;
use crate::value::Value;

/// The BSON type that a value is written as; a missing one as null.
pub(crate) fn type_byte(value: Value<'_>) -> u8 {
    match value {
        Value::Missing | Value::Null => raw::NULL,
        Value::Undefined => raw::UNDEFINED,
        Value::MinKey => raw::MIN_KEY,
        Value::MaxKey => raw::MAX_KEY,
        Value::Bool(_) => raw::BOOL,
        Value::Int32(_) => raw::INT32,
        Value::Int64(_) => raw::INT64,
        Value::Double(_) => raw::DOUBLE,
        Value::Date(_) => raw::DATE,
        Value::Timestamp(_) => raw::TIMESTAMP,
        Value::ObjectId(_) => raw::OBJECT_ID,
        Value::Text(_) => raw::STRING,
        Value::RawDocument(..) | Value::Document(..) => raw::DOCUMENT,
        Value::RawArray(..) | Value::Array(..) => raw::ARRAY,
        Value::Other(kind, _) => kind,
    }
}

/// Writes a value that holds no computed ones; its own nesting is bounded by the depth that values carry.
fn scalar(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Bool(b) => out.push(u8::from(b)),
        Value::Int32(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::Int64(n) | Value::Date(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::Timestamp(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::Double(x) => out.extend_from_slice(&x.to_le_bytes()),
        Value::ObjectId(id) => out.extend_from_slice(&id),
        Value::Text(s) => {
            out.extend_from_slice(&(s.len() as i32 + 1).to_le_bytes());
            out.extend_from_slice(s.as_bytes());
            out.push(0);
        }
        Value::RawDocument(_, bytes) | Value::RawArray(_, bytes) | Value::Other(_, bytes) => {
            out.extend_from_slice(bytes)
        }
        _ => {}
    }
}

/// Writes `{ fields }` as a document: a length, what `body` writes, a nought.
fn framed<E>(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out)?;
    out.push(0);
    let length = (out.len() - start) as i32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

fn header(out: &mut Vec<u8>, kind: u8, name: &str) {
    out.push(kind);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
}

impl<'a> Cx<'a, '_> {
    /// The bytes of a document; charges its size to the budget.
    pub(crate) fn write(&mut self, document: Value<'a>) -> Result<Vec<u8>, EvalError> {
        let mut out = Vec::with_capacity(256);
        self.write_value(&mut out, document)?;
        Ok(out)
    }

    /// A value as a constant; missing becomes null.
    pub(crate) fn constant(&mut self, value: Value<'a>) -> Result<Constant, EvalError> {
        let mut bytes = Vec::new();
        Ok(match value {
            Value::Text(text) => Constant::Text(text.into()),
            Value::Null | Value::Missing => Constant::Scalar(Value::Null),
            Value::Undefined => Constant::Scalar(Value::Undefined),
            Value::MinKey => Constant::Scalar(Value::MinKey),
            Value::MaxKey => Constant::Scalar(Value::MaxKey),
            Value::Bool(b) => Constant::Scalar(Value::Bool(b)),
            Value::Int32(n) => Constant::Scalar(Value::Int32(n)),
            Value::Int64(n) => Constant::Scalar(Value::Int64(n)),
            Value::Double(x) => Constant::Scalar(Value::Double(x)),
            Value::Date(ms) => Constant::Scalar(Value::Date(ms)),
            Value::Timestamp(t) => Constant::Scalar(Value::Timestamp(t)),
            Value::ObjectId(id) => Constant::Scalar(Value::ObjectId(id)),
            Value::Document(..)
            | Value::Array(..)
            | Value::RawDocument(..)
            | Value::RawArray(..)
            | Value::Other(..) => {
                self.write_value(&mut bytes, value)?;
                Constant::Bytes(type_byte(value), bytes.into())
            }
        })
    }

    fn write_element(&mut self, out: &mut Vec<u8>, name: &str, value: Value<'a>) -> Result<(), EvalError> {
        self.charge_bytes(name.len() + 2)?;
        header(out, type_byte(value), name);
        self.write_value(out, value)
    }

    fn write_value(&mut self, out: &mut Vec<u8>, value: Value<'a>) -> Result<(), EvalError> {
        let size = match value {
            Value::RawDocument(_, b) | Value::RawArray(_, b) | Value::Other(_, b) => b.len(),
            Value::Text(s) => s.len(),
            _ => 16,
        };
        self.charge_bytes(size)?;
        match value {
            Value::Document(_, fields) => {
                let mut there = fields.iter().filter(|(_, value)| !value.is_missing());
                framed(out, |out| there.try_for_each(|(name, value)| self.write_element(out, name, *value)))
            }
            Value::Array(_, items) => framed(out, |out| {
                let mut digits = Digits::default();
                let mut there = items.iter().filter(|item| !item.is_missing());
                there.try_for_each(|item| self.write_element(out, digits.next(), *item))
            }),
            value => {
                scalar(out, value);
                Ok(())
            }
        }
    }
}

/// The names "0", "1", … of an array's elements, without allocating.
#[derive(Default)]
struct Digits {
    text: String,
    count: u32,
}

impl Digits {
    fn next(&mut self) -> &str {
        use std::fmt::Write;
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{}", self.count);
        self.count += 1;
        &self.text
    }
}

/// The bytes of a constant document (its fields) or array (its elements under the names "0", "1", …).
pub(crate) fn constant<'a>(fields: impl Iterator<Item = (&'a str, Value<'a>)>) -> Vec<u8> {
    let mut out = Vec::new();
    let written: Result<(), std::convert::Infallible> = framed(&mut out, |out| {
        for (name, value) in fields {
            header(out, type_byte(value), name);
            scalar(out, value);
        }
        Ok(())
    });
    match written {
        Ok(()) => out,
        Err(never) => match never {},
    }
}
