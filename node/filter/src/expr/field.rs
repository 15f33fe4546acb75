//! One field of a document, by a name that may hold dots and dollar signs: `$getField`, `$setField`, `$unsetField`.

use super::{Call, Form, Operator, shaped};
use crate::eval::{Cx, Out};
use crate::value::Value;

/// The arguments are `[input, name]`, then the value to set; the name is a constant string.
pub(super) static OPERATORS: &[Operator] = &[
    shaped("$getField", Form::Field(&["field", "input"]), get),
    shaped("$setField", Form::Field(&["field", "input", "value"]), |cx, call| change(cx, call, true)),
    shaped("$unsetField", Form::Field(&["field", "input"]), |cx, call| change(cx, call, false)),
];

fn get<'a>(cx: &mut Cx<'a, '_>, call: &'a Call) -> Out<'a> {
    let (input, name) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    match (input, name) {
        (Value::Null | Value::Undefined, _) => Ok(Value::Null),
        (input, Value::Text(name)) => {
            let value = cx.field_named(input, name)?;
            cx.viewed(input, name, value)
        }
        _ => Ok(Value::Missing),
    }
}

fn change<'a>(cx: &mut Cx<'a, '_>, call: &'a Call, sets: bool) -> Out<'a> {
    let (input, name) = (call.arg(cx, 0)?, call.arg(cx, 1)?);
    if input.is_nullish() {
        return Ok(Value::Null);
    }
    if !input.is_document() {
        return call.refuse(cx, format_args!("works on a document, not on {}", input.shown()));
    }
    let value = if sets { call.arg(cx, 2)? } else { Value::Missing };
    cx.place = call.place;
    let mut fields = cx.places(input)?;
    if let Value::Text(name) = name {
        super::set_field(cx, &mut fields, name, value)?;
    }
    cx.object_of_places(&fields)
}
