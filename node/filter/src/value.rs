//! The values that expressions see: borrowed from the alert's bytes, from the program's constants or from the evaluation's arena.
//!
//! What a value is, and how it is read from BSON. Their order is in `compare`, their numbers in `number`.

use crate::decimal::Decimal;
use crate::raw::{self, Malformed};

/// "No view": the document or array is read by walking its bytes.
pub(crate) const UNSEEN: u32 = u32::MAX;

/// A BSON value, or the absence of one. `Copy`, 24 bytes; whatever is large is borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// No such field.
    Missing,
    Null,
    Undefined,
    MinKey,
    MaxKey,
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Double(f64),
    /// Milliseconds since 1970.
    Date(i64),
    Timestamp(u64),
    ObjectId([u8; 12]),
    Text(&'a str),
    /// A document's own bytes, and its view (or [`UNSEEN`]).
    RawDocument(u32, &'a [u8]),
    /// An array's own bytes, and its series (or [`UNSEEN`]).
    RawArray(u32, &'a [u8]),
    /// A computed document with its depth; no field is missing.
    Document(u8, &'a [(&'a str, Value<'a>)]),
    /// A computed array with its depth; no element is missing.
    Array(u8, &'a [Value<'a>]),
    /// Binary, regular expression, code, symbol, pointer, decimal128: its type byte and its bytes.
    Other(u8, &'a [u8]),
}

/// Computed values may nest this deep; MongoDB's own bound for documents is 180.
pub(crate) const MAX_DEPTH: u8 = 150;

impl<'a> Value<'a> {
    /// Reads the value of this type from its bytes.
    #[inline]
    pub(crate) fn read(kind: u8, bytes: &'a [u8]) -> Result<Value<'a>, Malformed> {
        Ok(match kind {
            raw::DOUBLE => Value::Double(f64::from_le_bytes(word(bytes)?)),
            raw::INT32 => Value::Int32(i32::from_le_bytes(word(bytes)?)),
            raw::INT64 => Value::Int64(i64::from_le_bytes(word(bytes)?)),
            raw::BOOL => Value::Bool(bytes.first() != Some(&0)),
            raw::STRING => Value::Text(text(bytes)?),
            raw::DOCUMENT if raw::is_framed(bytes) => Value::RawDocument(UNSEEN, bytes),
            raw::ARRAY if raw::is_framed(bytes) => Value::RawArray(UNSEEN, bytes),
            raw::NULL => Value::Null,
            raw::UNDEFINED => Value::Undefined,
            raw::DATE => Value::Date(i64::from_le_bytes(word(bytes)?)),
            raw::TIMESTAMP => Value::Timestamp(u64::from_le_bytes(word(bytes)?)),
            raw::OBJECT_ID => Value::ObjectId(word(bytes)?),
            raw::MIN_KEY => Value::MinKey,
            raw::MAX_KEY => Value::MaxKey,
            raw::BINARY
            | raw::REGEX
            | raw::DB_POINTER
            | raw::CODE
            | raw::SYMBOL
            | raw::CODE_WITH_SCOPE
            | raw::DECIMAL => Value::Other(kind, bytes),
            _ => return Err(Malformed),
        })
    }

    /// Missing, null or undefined.
    #[inline]
    pub(crate) fn is_nullish(self) -> bool {
        matches!(self, Value::Missing | Value::Null | Value::Undefined)
    }

    #[inline]
    pub(crate) fn is_missing(self) -> bool {
        matches!(self, Value::Missing)
    }

    #[inline]
    pub(crate) fn is_array(self) -> bool {
        matches!(self, Value::Array(..) | Value::RawArray(..))
    }

    #[inline]
    pub(crate) fn is_document(self) -> bool {
        matches!(self, Value::Document(..) | Value::RawDocument(..))
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Value::Int32(_) | Value::Int64(_) | Value::Double(_) | Value::Other(raw::DECIMAL, _))
    }

    /// MongoDB's truth: false, null, undefined, missing and nought are false, all else (also "", [] and NaN) is true.
    #[inline]
    pub(crate) fn is_true(self) -> bool {
        match self {
            Value::Missing | Value::Null | Value::Undefined => false,
            Value::Bool(b) => b,
            Value::Int32(n) => n != 0,
            Value::Int64(n) => n != 0,
            Value::Double(x) => x != 0.0,
            Value::Other(raw::DECIMAL, bytes) => !Decimal::read(bytes).is_zero(),
            _ => true,
        }
    }

    /// How deep the computed part of the value nests.
    #[inline]
    pub(crate) fn depth(self) -> u8 {
        match self {
            Value::Document(depth, _) | Value::Array(depth, _) => depth,
            _ => 0,
        }
    }

    /// The name that `$type` gives.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Value::Missing => "missing",
            Value::Null => "null",
            Value::Undefined => "undefined",
            Value::MinKey => "minKey",
            Value::MaxKey => "maxKey",
            Value::Bool(_) => "bool",
            Value::Int32(_) => "int",
            Value::Int64(_) => "long",
            Value::Double(_) => "double",
            Value::Date(_) => "date",
            Value::Timestamp(_) => "timestamp",
            Value::ObjectId(_) => "objectId",
            Value::Text(_) => "string",
            Value::RawDocument(..) | Value::Document(..) => "object",
            Value::RawArray(..) | Value::Array(..) => "array",
            Value::Other(raw::BINARY, _) => "binData",
            Value::Other(raw::REGEX, _) => "regex",
            Value::Other(raw::DB_POINTER, _) => "dbPointer",
            Value::Other(raw::CODE, _) => "javascript",
            Value::Other(raw::SYMBOL, _) => "symbol",
            Value::Other(raw::CODE_WITH_SCOPE, _) => "javascriptWithScope",
            Value::Other(..) => "decimal",
        }
    }

    /// The value as an error message shows it: short, with its type.
    pub(crate) fn shown(self) -> String {
        match self {
            Value::Missing => "nothing (the field is missing)".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Bool(b) => b.to_string(),
            Value::Int32(n) => format!("{n} (int)"),
            Value::Int64(n) => format!("{n} (long)"),
            Value::Double(x) => format!("{x} (double)"),
            Value::Other(raw::DECIMAL, bytes) => format!("{} (decimal)", Decimal::read(bytes)),
            Value::Text(s) if s.chars().nth(40).is_none() => format!("{s:?} (string)"),
            Value::Text(s) => format!("{:?}… (string)", s.chars().take(40).collect::<String>()),
            Value::Array(_, items) => format!("an array of {}", items.len()),
            other => format!("a value of type {}", other.type_name()),
        }
    }
}

fn word<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed)
}

/// The text of a BSON string's bytes.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    let body = bytes.get(4..bytes.len().saturating_sub(1)).ok_or(Malformed)?;
    std::str::from_utf8(body).map_err(|_| Malformed)
}

/// Walks the fields of a document of either kind; the places of removed fields are passed over.
#[derive(Debug, Clone)]
pub(crate) enum Fields<'a> {
    Computed(std::slice::Iter<'a, (&'a str, Value<'a>)>),
    Raw(&'a [u8], usize),
}

impl<'a> Fields<'a> {
    /// The fields of a document; none of any other value.
    pub(crate) fn of(value: Value<'a>) -> Fields<'a> {
        match value {
            Value::Document(_, fields) => Fields::Computed(fields.iter()),
            Value::RawDocument(_, bytes) | Value::RawArray(_, bytes) => Fields::Raw(bytes, 4),
            _ => Fields::Computed([].iter()),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<(&'a str, Value<'a>)>, Malformed> {
        match self {
            Fields::Computed(fields) => Ok(fields.find(|(_, value)| !value.is_missing()).copied()),
            Fields::Raw(bytes, at) => {
                let Some(element) = raw::element(bytes, *at)? else { return Ok(None) };
                *at = element.end;
                let name = std::str::from_utf8(&bytes[element.name_at..element.name_end]).map_err(|_| Malformed)?;
                Ok(Some((name, Value::read(element.kind, &bytes[element.at..element.end])?)))
            }
        }
    }
}

/// Walks the elements of an array of either kind, without views.
#[derive(Debug, Clone)]
pub(crate) enum Elements<'a> {
    Computed(std::slice::Iter<'a, Value<'a>>),
    Raw(&'a [u8], usize),
}

impl<'a> Elements<'a> {
    /// The elements of an array; none of any other value.
    pub(crate) fn of(value: Value<'a>) -> Elements<'a> {
        match value {
            Value::Array(_, items) => Elements::Computed(items.iter()),
            Value::RawArray(_, bytes) => Elements::Raw(bytes, 4),
            _ => Elements::Computed([].iter()),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Value<'a>>, Malformed> {
        match self {
            Elements::Computed(items) => Ok(items.next().copied()),
            Elements::Raw(bytes, at) => {
                let Some(element) = raw::element(bytes, *at)? else { return Ok(None) };
                *at = element.end;
                Value::read(element.kind, &bytes[element.at..element.end]).map(Some)
            }
        }
    }
}
