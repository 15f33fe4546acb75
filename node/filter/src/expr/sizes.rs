//! How many bytes a value has as BSON: `$binarySize`, `$bsonSize`.

use super::{Call, Operator, row};
use crate::eval::{Cx, Out};
use crate::raw;
use crate::value::Value;

pub(super) static OPERATORS: &[Operator] = &[row("$binarySize", 1, 1, binary), row("$bsonSize", 1, 1, document)];

fn size<'a>(bytes: usize) -> Value<'a> {
    Value::Int32(i32::try_from(bytes).unwrap_or(i32::MAX))
}

fn binary<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    match call.arg(cx, 0)? {
        value if value.is_nullish() => Ok(Value::Null),
        Value::Text(text) => Ok(size(text.len())),
        // A length of four bytes and a subtype stand before the data.
        Value::Other(raw::BINARY, bytes) => Ok(size(bytes.len().saturating_sub(5))),
        value => call.refuse(cx, format_args!("works on a string or binary data, not on {}", value.shown())),
    }
}

fn document<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    match call.arg(cx, 0)? {
        value if value.is_nullish() => Ok(Value::Null),
        Value::RawDocument(_, bytes) => Ok(size(bytes.len())),
        value if value.is_document() => {
            cx.place = call.place;
            Ok(size(cx.write(value)?.len()))
        }
        value => call.refuse(cx, format_args!("works on a document, not on {}", value.shown())),
    }
}
