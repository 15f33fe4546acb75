//! `$project`, `$addFields`, `$set`, `$unset`: which fields a stage passes on, and which it computes.
//!
//! As in MongoDB: what is included keeps the input's order, what is computed follows in the order of the specification; paths go
//! through arrays into each of their documents. A field that is removed leaves its place, and takes it again if it comes back.

use crate::eval::{Cx, EvalError, Name, Out};
use crate::expr::Node;
use crate::plan::NO_SLOT;
use crate::value::{Fields, Value};

/// What happens to the fields that are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `$project` of what is named: they are dropped.
    Include,
    /// `$project` or `$unset` of what is dropped: they are kept.
    Exclude,
    /// `$addFields`: they are kept.
    Add,
}

/// One level of a projection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projection {
    /// Included or excluded names.
    pub(crate) leaves: Vec<Name>,
    pub(crate) children: Vec<(Name, Projection)>,
    /// Computed fields and children, in the order of the specification.
    pub(crate) order: Vec<Step>,
    pub(crate) computes: bool,
    /// Of the whole projection: what counts is the outermost level's.
    pub(crate) gaps: Gaps,
}

/// Whether what is included and comes out missing leaves a gap, which the field takes if a later stage makes it again. MongoDB copies
/// the bytes of a document that no stage has changed, so that there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Gaps {
    #[default]
    Left,
    /// But not of a document that lies in the alert.
    LeftByComputed,
    None,
}

/// One step of computing the fields of a level.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Child(usize),
    Compute(Name, Node),
}

type Pairs<'a> = Vec<(&'a str, Value<'a>)>;

impl Projection {
    /// The document that the stage passes on. What it keeps of its document is remembered in the slot, if that is one.
    pub(crate) fn apply<'a>(&'a self, cx: &mut Cx<'a, '_>, (mode, slot): (Mode, u32)) -> Out<'a> {
        let input = cx.document;
        let mut fields = match mode {
            Mode::Include => {
                let gaps =
                    !matches!((self.gaps, input), (Gaps::None, _) | (Gaps::LeftByComputed, Value::RawDocument(..)));
                let included = |cx: &mut Cx<'a, '_>| self.included(cx, input, gaps);
                let place = cx.place;
                let kept = if slot == NO_SLOT { included(cx)? } else { cx.remembered(slot, place, included)? };
                cx.place = place;
                if !self.computes {
                    return Ok(kept);
                }
                let Value::Document(_, fields) = kept else { return Ok(kept) };
                let mut all = Vec::with_capacity(fields.len() + self.order.len());
                all.extend_from_slice(fields);
                all
            }
            Mode::Exclude => self.exclude(cx, input)?,
            Mode::Add => fields_with_views(cx, input)?,
        };
        if self.computes {
            self.compute(cx, &mut fields)?;
        }
        cx.object_of_places(&fields)
    }

    fn child(&self, cx: &Cx<'_, '_>, name: &str) -> Option<&Projection> {
        self.children.iter().find(|(n, _)| cx.name(*n) == name).map(|(_, child)| child)
    }

    fn is_leaf(&self, cx: &Cx<'_, '_>, name: &str) -> bool {
        self.leaves.iter().any(|leaf| cx.name(*leaf) == name)
    }

    fn include<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>, gaps: bool) -> Result<Pairs<'a>, EvalError> {
        if let Some(fields) = self.include_viewed(cx, document, gaps)? {
            return Ok(fields);
        }
        let (mut fields, mut kept) = (Fields::of(document), Vec::new());
        let cost = 1 + (self.leaves.len() + self.children.len()) as u64 / 16;
        while let Some((name, value)) = cx.sound(fields.next())? {
            cx.charge(cost)?;
            if self.is_leaf(cx, name) {
                kept.push((name, value));
            } else if let Some(child) = self.child(cx, name) {
                let value = child.include_in(cx, value, gaps)?;
                kept.push((name, value));
            }
        }
        Ok(kept)
    }

    /// The included fields of a document whose wanted fields are located, in its own order; none when they are not.
    fn include_viewed<'a>(
        &'a self,
        cx: &mut Cx<'a, '_>,
        document: Value<'a>,
        gaps: bool,
    ) -> Result<Option<Pairs<'a>>, EvalError> {
        let mut found = Vec::with_capacity(self.leaves.len() + self.children.len());
        let leaves = self.leaves.iter().map(|name| (*name, None));
        for (name, child) in leaves.chain(self.children.iter().map(|(name, child)| (*name, Some(child)))) {
            let Some((at, value)) = cx.position(document, name)? else { return Ok(None) };
            if value.is_missing() {
                continue;
            }
            let value = match child {
                None => value,
                Some(child) => child.include_in(cx, value, gaps)?,
            };
            found.push((at, (cx.name(name), value)));
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(Some(found.into_iter().map(|(_, field)| field).collect()))
    }

    fn included<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>, gaps: bool) -> Out<'a> {
        let fields = self.include(cx, document, gaps)?;
        if gaps { cx.object_of_places(&fields) } else { cx.object(fields) }
    }

    fn include_in<'a>(&'a self, cx: &mut Cx<'a, '_>, value: Value<'a>, gaps: bool) -> Out<'a> {
        if value.is_document() {
            return self.included(cx, value, gaps);
        }
        if value.is_array() {
            return in_array(cx, value, gaps, |cx, item| self.include_in(cx, item, gaps));
        }
        Ok(Value::Missing)
    }

    fn exclude<'a>(&'a self, cx: &mut Cx<'a, '_>, document: Value<'a>) -> Result<Pairs<'a>, EvalError> {
        let mut kept = fields_with_views(cx, document)?;
        cx.charge((kept.len() * (self.leaves.len() + self.children.len())) as u64 / 16)?;
        for (name, value) in &mut kept {
            if self.is_leaf(cx, name) {
                *value = Value::Missing;
            } else if let Some(child) = self.child(cx, name) {
                *value = child.exclude_in(cx, *value)?;
            }
        }
        Ok(kept)
    }

    fn exclude_in<'a>(&'a self, cx: &mut Cx<'a, '_>, value: Value<'a>) -> Out<'a> {
        if value.is_document() {
            let fields = self.exclude(cx, value)?;
            return cx.object_of_places(&fields);
        }
        if value.is_array() {
            return in_array(cx, value, true, |cx, item| self.exclude_in(cx, item));
        }
        Ok(value)
    }

    /// Computes this level's fields into `fields`; a field that comes out missing keeps only its place.
    fn compute<'a>(&'a self, cx: &mut Cx<'a, '_>, fields: &mut Pairs<'a>) -> Result<(), EvalError> {
        for step in &self.order {
            let (name, value) = match step {
                Step::Compute(name, node) => (cx.name(*name), node.eval(cx)?),
                Step::Child(at) => {
                    let (name, child) = &self.children[*at];
                    let name = cx.name(*name);
                    let old = fields.iter().find(|(n, _)| *n == name).map_or(Value::Missing, |(_, v)| *v);
                    (name, child.compute_in(cx, old)?)
                }
            };
            crate::expr::set_field(cx, fields, name, value)?;
        }
        Ok(())
    }

    fn compute_in<'a>(&'a self, cx: &mut Cx<'a, '_>, old: Value<'a>) -> Out<'a> {
        if old.is_array() {
            return in_array(cx, old, true, |cx, item| self.compute_in(cx, item));
        }
        if !self.computes {
            return Ok(old);
        }
        let mut fields = if old.is_document() { cx.places(old)? } else { Vec::new() };
        self.compute(cx, &mut fields)?;
        cx.object_of_places(&fields)
    }
}

/// All fields; those that the projection goes into, or that views know, keep their views.
pub(crate) fn fields_with_views<'a>(cx: &mut Cx<'a, '_>, document: Value<'a>) -> Result<Pairs<'a>, EvalError> {
    let mut fields = cx.places(document)?;
    if matches!(document, Value::RawDocument(..)) {
        for (name, value) in &mut fields {
            if value.is_document() || value.is_array() {
                *value = cx.viewed(document, name, *value)?;
            }
        }
    }
    Ok(fields)
}

fn in_array<'a>(
    cx: &mut Cx<'a, '_>,
    array: Value<'a>,
    gaps: bool,
    mut f: impl FnMut(&mut Cx<'a, '_>, Value<'a>) -> Out<'a>,
) -> Out<'a> {
    let (mut items, mut kept) = (cx.items(array), Vec::new());
    while let Some(item) = cx.next(&mut items)? {
        let item = f(cx, item)?;
        if gaps || !item.is_missing() {
            kept.push(item);
        }
    }
    cx.charge_bytes(size_of_val(&*kept) + 16)?;
    cx.array_of_places(&kept)
}
