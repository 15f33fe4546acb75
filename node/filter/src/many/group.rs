//! `$group`: the documents of one key become one, in the order in which the keys first appear (MongoDB promises no order).

use super::accumulate::Accumulator;
use crate::eval::{Cx, EvalError, Out};
use crate::expr::Node;
use crate::value::Value;

/// A compiled `$group`, `$count` or `$sortByCount`.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: Node,
    pub(crate) fields: Box<[(Box<str>, Accumulator)]>,
    /// Whether the documents have their key as `_id`; `$count` has none.
    pub(crate) keyed: bool,
}

impl Group {
    /// A document for each key.
    pub(super) fn apply<'a>(
        &'a self,
        cx: &mut Cx<'a, '_>,
        documents: &[Value<'a>],
    ) -> Result<Vec<Value<'a>>, EvalError> {
        let mut keys = Vec::with_capacity(documents.len());
        for document in documents {
            cx.document = *document;
            let key = self.key(cx)?;
            keys.push(key);
        }
        let mut all = Vec::new();
        for members in groups(cx, &keys)? {
            let (key, members) = (keys[members[0]], members.into_iter().map(|at| documents[at]).collect::<Vec<_>>());
            let mut fields = Vec::with_capacity(self.fields.len() + 1);
            if self.keyed {
                fields.push(("_id", key));
            }
            for (name, accumulator) in &self.fields {
                let value = accumulator.value(cx, key, &members)?;
                fields.push((name, if value.is_missing() { Value::Null } else { value }));
            }
            all.push(cx.object(fields)?);
        }
        Ok(all)
    }

    /// The key of the document at hand: a missing one is null, also the only field of a key that is a document.
    fn key<'a>(&'a self, cx: &mut Cx<'a, '_>) -> Out<'a> {
        if let Node::Object(fields) = &self.id
            && let [(name, node)] = &**fields
        {
            let value = node.eval(cx)?;
            return cx.object(vec![(&**name, if value.is_missing() { Value::Null } else { value })]);
        }
        let key = self.id.eval(cx)?;
        Ok(if key.is_missing() { Value::Null } else { key })
    }
}

/// The places of equal keys together, in their order; the groups by their first place.
fn groups<'a>(cx: &mut Cx<'a, '_>, keys: &[Value<'a>]) -> Result<Vec<Vec<usize>>, EvalError> {
    cx.charge_bytes(keys.len() * (size_of::<Value<'_>>() + 2 * size_of::<usize>()))?;
    let mut order: Vec<usize> = (0..keys.len()).collect();
    cx.sort(&mut order, |cx, a, b| cx.compare(keys[*a], keys[*b]))?;
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in order {
        match groups.last_mut() {
            Some(group) if cx.compare(keys[group[0]], keys[at])?.is_eq() => group.push(at),
            _ => groups.push(vec![at]),
        }
    }
    groups.sort_unstable_by_key(|group| group[0]);
    Ok(groups)
}
