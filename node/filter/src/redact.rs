//! `$redact`: which parts of a document are kept, decided for it and for each document within it.

use crate::eval::{Cx, EvalError, Out, Place};
use crate::expr::Node;
use crate::value::Value;

/// What the expression may give, by the variables' names.
pub(crate) const DECISIONS: [(&str, &str); 3] = [("DESCEND", "descend"), ("PRUNE", "prune"), ("KEEP", "keep")];

/// A compiled `$redact`. Its variables: the document at hand, then the decisions.
#[derive(Debug, Clone)]
pub(crate) struct Redact {
    pub(crate) place: Place,
    pub(crate) node: Node,
    pub(crate) slot: u32,
}

impl Redact {
    /// What is left of the document; missing when nothing is.
    pub(crate) fn apply<'a>(&'a self, cx: &mut Cx<'a, '_>) -> Out<'a> {
        for (at, (_, decision)) in DECISIONS.iter().enumerate() {
            cx.variables[self.slot as usize + 1 + at] = Value::Text(decision);
        }
        let document = cx.document;
        self.document(cx, document, 0)
    }

    fn document<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>, depth: u32) -> Out<'a> {
        cx.check_depth(depth)?;
        cx.variables[self.slot as usize] = document;
        match self.node.eval(cx)? {
            Value::Text("prune") => Ok(Value::Missing),
            Value::Text("keep") => Ok(document),
            Value::Text("descend") => {
                cx.place = self.place;
                let mut fields = crate::project::fields_with_views(cx, document)?;
                for (_, value) in &mut fields {
                    *value = self.within(cx, *value, depth + 1)?;
                }
                cx.object(fields)
            }
            other => Err(self.refused(cx, other)),
        }
    }

    /// A value within a document: documents are decided on, arrays are gone through, all else stays.
    fn within<'a>(&'a self, cx: &mut Cx<'a, '_>, value: Value<'a>, depth: u32) -> Out<'a> {
        cx.check_depth(depth)?;
        if value.is_document() {
            return self.document(cx, value, depth);
        }
        if !value.is_array() {
            return Ok(value);
        }
        let (mut items, mut kept) = (cx.items(value), Vec::new());
        while let Some(item) = cx.next(&mut items)? {
            let item = self.within(cx, item, depth + 1)?;
            if !item.is_missing() {
                kept.push(item);
            }
        }
        cx.array(kept)
    }

    fn refused(&self, cx: &Cx<'_, '_>, value: Value<'_>) -> EvalError {
        let message = format!("`$redact` needs $$DESCEND, $$PRUNE or $$KEEP, and this is {}", value.shown());
        cx.refuse(self.place, message)
    }
}
