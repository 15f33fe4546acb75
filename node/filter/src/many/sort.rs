//! `$sort`, and the sorting of `$top` and its like: a key for each document, then a stable sort.
//!
//! Through an array MongoDB sorts by the lowest of its elements (the highest where descending); an empty array counts as undefined, a
//! missing field as null. With several keys it is the first of the combined keys of one array's elements; two arrays beside each other
//! cannot be sorted by.

use std::cmp::Ordering;

use crate::eval::{Cx, EvalError};
use crate::query::Part;
use crate::value::Value;

/// The paths to sort by.
#[derive(Debug, Clone)]
pub(crate) struct SortBy {
    /// Each descending when set.
    pub(crate) keys: Box<[(Box<[Part]>, bool)]>,
}

/// What is known of one key on the way to its values.
#[derive(Debug, Clone, Copy)]
enum Track<'a> {
    Found(Value<'a>),
    Path(Value<'a>, &'a [Part]),
}

impl SortBy {
    /// Sorts documents.
    pub(super) fn sort<'a>(&'a self, cx: &mut Cx<'a, '_>, documents: &mut Vec<Value<'a>>) -> Result<(), EvalError> {
        let mut keys = Vec::with_capacity(documents.len());
        for document in documents.iter() {
            let tracks = self.keys.iter().map(|(path, _)| Track::Path(*document, path)).collect();
            keys.push(self.key(cx, tracks)?);
        }
        let order = self.order(cx, &keys)?;
        *documents = order.into_iter().map(|at| documents[at]).collect();
        Ok(())
    }

    /// The first of the keys that the values give, of which one may be an array.
    pub(super) fn key_of<'a>(
        &'a self,
        cx: &mut Cx<'a, '_>,
        values: Vec<Value<'a>>,
    ) -> Result<Vec<Value<'a>>, EvalError> {
        if values.iter().filter(|value| value.is_array()).count() > 1 {
            return Err(parallel(cx));
        }
        self.key(cx, values.into_iter().map(|value| Track::Path(value, &[])).collect())
    }

    fn key<'a>(&'a self, cx: &mut Cx<'a, '_>, tracks: Vec<Track<'a>>) -> Result<Vec<Value<'a>>, EvalError> {
        cx.charge_bytes(self.keys.len() * size_of::<Value<'_>>())?;
        let mut key = None;
        self.expand(cx, tracks, &mut key)?;
        Ok(key.unwrap_or_default())
    }

    /// The places of the keys in their order.
    pub(super) fn order<'a>(&self, cx: &mut Cx<'a, '_>, keys: &[Vec<Value<'a>>]) -> Result<Vec<usize>, EvalError> {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        cx.sort(&mut order, |cx, a, b| self.compare(cx, &keys[*a], &keys[*b]))?;
        Ok(order)
    }

    pub(super) fn compare<'a>(
        &self,
        cx: &mut Cx<'a, '_>,
        a: &[Value<'a>],
        b: &[Value<'a>],
    ) -> Result<Ordering, EvalError> {
        for ((_, down), (a, b)) in self.keys.iter().zip(a.iter().zip(b)) {
            let order = cx.compare(*a, *b)?;
            if order.is_ne() {
                return Ok(if *down { order.reverse() } else { order });
            }
        }
        Ok(Ordering::Equal)
    }

    /// Walks all keys on to the first array, and goes on with each of its elements; `best` is the first key so far. As deep as a path.
    fn expand<'a>(
        &self,
        cx: &mut Cx<'a, '_>,
        mut tracks: Vec<Track<'a>>,
        best: &mut Option<Vec<Value<'a>>>,
    ) -> Result<(), EvalError> {
        cx.charge(tracks.len() as u64)?;
        let mut array: Option<Value<'a>> = None;
        for track in &mut tracks {
            *track = walk(cx, *track)?;
            let Track::Path(found, _) = track else { continue };
            if array.is_some_and(|array| !is_same(array, *found)) {
                return Err(parallel(cx));
            }
            array = Some(*found);
        }
        let Some(array) = array else {
            let key = tracks.iter().map(|track| if let Track::Found(value) = track { *value } else { Value::Null });
            let key: Vec<_> = key.collect();
            let first = match best {
                Some(best) => self.compare(cx, &key, best)?.is_lt(),
                None => true,
            };
            if first {
                *best = Some(key);
            }
            return Ok(());
        };
        let all = cx.elements(array)?;
        let elements: &[Value<'a>] = if all.is_empty() { &[Value::Undefined] } else { &all };
        for element in elements {
            let within = tracks.iter().map(|track| match *track {
                Track::Path(_, []) => Track::Found(*element),
                Track::Path(_, path) => match path[0].index.and_then(|index| all.get(index as usize)) {
                    Some(indexed) => Track::Path(*indexed, &path[1..]),
                    None if element.is_document() => Track::Path(*element, path),
                    None => Track::Found(Value::Null),
                },
                found => found,
            });
            self.expand(cx, within.collect(), best)?;
        }
        Ok(())
    }
}

/// Follows a path to its value, or to the first array on the way, with what is left of the path.
fn walk<'a>(cx: &mut Cx<'a, '_>, track: Track<'a>) -> Result<Track<'a>, EvalError> {
    let Track::Path(mut value, mut path) = track else { return Ok(track) };
    while !value.is_array() {
        let Some((part, rest)) = path.split_first() else {
            return Ok(Track::Found(if value.is_missing() { Value::Null } else { value }));
        };
        value = cx.field(value, part.name)?;
        path = rest;
        if value.is_missing() {
            return Ok(Track::Found(Value::Null));
        }
    }
    Ok(Track::Path(value, path))
}

/// Whether two arrays are one, not only equal.
fn is_same(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        (Value::RawArray(_, a), Value::RawArray(_, b)) => std::ptr::eq(a, b),
        (Value::Array(_, a), Value::Array(_, b)) => std::ptr::eq(a, b),
        _ => false,
    }
}

fn parallel(cx: &Cx<'_, '_>) -> EvalError {
    cx.refuse(cx.place, "cannot sort by two arrays that stand beside each other")
}
