//! `$unwind`: a document for each element of one of its arrays.

use super::Feed;
use crate::eval::{Cx, EvalError, Items, Name, Out};
use crate::project::fields_with_views;
use crate::value::Value;

/// A compiled `$unwind`.
#[derive(Debug, Clone)]
pub(crate) struct Unwind {
    pub(crate) path: Box<[Name]>,
    /// `includeArrayIndex`.
    pub(crate) index: Option<Box<[Name]>>,
    /// `preserveNullAndEmptyArrays`.
    pub(crate) preserve: bool,
}

/// An `$unwind` under way.
pub(super) struct Unwinding<'a> {
    unwind: &'a Unwind,
    fields: Vec<(&'a str, Value<'a>)>,
    items: Items<'a>,
    index: i64,
}

impl Unwind {
    /// The documents that it makes of one. Arrays on the way to the path end it: it goes through documents alone.
    pub(super) fn open<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>) -> Result<Feed<'a>, EvalError> {
        let mut value = document;
        for name in &self.path {
            value = if value.is_document() { cx.field(value, *name)? } else { Value::Missing };
        }
        let one = |document| Ok(Feed::Documents(vec![document].into_iter()));
        if value.is_array() {
            let mut items = cx.items(value);
            if cx.next(&mut items.clone())?.is_some() {
                let fields = fields_with_views(cx, document)?;
                return Ok(Feed::Unwinding(Unwinding { unwind: self, fields, items, index: 0 }));
            }
            items = cx.items(Value::Missing);
            if self.preserve {
                let fields = fields_with_views(cx, document)?;
                let empty = Unwinding { unwind: self, fields, items, index: 0 };
                return one(empty.document(cx, Some(Value::Missing), Value::Null)?);
            }
        } else if self.preserve || !value.is_nullish() {
            if self.index.is_none() {
                return one(document);
            }
            let fields = fields_with_views(cx, document)?;
            let items = cx.items(Value::Missing);
            let whole = Unwinding { unwind: self, fields, items, index: 0 };
            return one(whole.document(cx, None, Value::Null)?);
        }
        Ok(Feed::Documents(Vec::new().into_iter()))
    }
}

impl<'a> Unwinding<'a> {
    /// The document of the next element.
    pub(super) fn next(&mut self, cx: &mut Cx<'a, '_>) -> Result<Option<Value<'a>>, EvalError> {
        let Some(item) = cx.next(&mut self.items)? else { return Ok(None) };
        let index = Value::Int64(self.index);
        self.index += 1;
        self.document(cx, Some(item), index).map(Some)
    }

    /// The document with this element in the array's place, when one is given, and with the index.
    fn document(&self, cx: &mut Cx<'a, '_>, element: Option<Value<'a>>, index: Value<'a>) -> Out<'a> {
        cx.charge(1 + self.fields.len() as u64 / 16)?;
        cx.charge_bytes(self.fields.len() * size_of::<(&str, Value<'_>)>())?;
        let mut fields = self.fields.clone();
        if let Some(element) = element {
            set(cx, &mut fields, &self.unwind.path, element)?;
        }
        if let Some(path) = &self.unwind.index {
            set(cx, &mut fields, path, index)?;
        }
        cx.object_of_places(&fields)
    }
}

/// Sets what is at a path; a missing value removes it. What on the way is no document becomes one.
fn set<'a>(
    cx: &mut Cx<'a, '_>,
    fields: &mut Vec<(&'a str, Value<'a>)>,
    path: &'a [Name],
    value: Value<'a>,
) -> Result<(), EvalError> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    let name = cx.name(*first);
    let value = if rest.is_empty() {
        value
    } else {
        let old = fields.iter().find(|(n, _)| *n == name).map_or(Value::Missing, |(_, old)| *old);
        let mut inner = if old.is_document() { fields_with_views(cx, old)? } else { Vec::new() };
        set(cx, &mut inner, rest, value)?;
        cx.object_of_places(&inner)?
    };
    crate::expr::set_field(cx, fields, name, value)
}
