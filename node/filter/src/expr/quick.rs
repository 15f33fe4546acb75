//! The short way for what filters do most: arithmetic and comparisons on doubles that lie in the alert.
//!
//! It gives the very answer of the long way, or none; it never fails, and asks for nothing that is remembered: its steps are its own. A number in a register costs a fraction of a value in memory.

use super::{Call, Constant, Node};
use crate::eval::{Cx, Name};
use crate::query::Part;
use crate::raw;
use crate::value::{UNSEEN, Value};
use crate::view::NONE;

/// What an operator does to doubles alone.
pub(crate) type Double = for<'a> fn(&mut Cx<'a, '_>, &'a Call) -> Quick;

/// A number, or something that takes the long way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Quick {
    Double(f64),
    /// An int (every int is a double exactly): good for comparing, not for arithmetic, whose result would be an int.
    Int(f64),
    Other,
}

impl Node {
    /// The number that the expression gives, if it can be had the short way.
    #[inline]
    pub(super) fn quick<'a>(&'a self, cx: &mut Cx<'a, '_>) -> Quick {
        match self {
            Node::Constant(Constant::Scalar(value)) => number(*value),
            // What can not be paid takes the long way, which can not be paid either.
            Node::Path(names) if cx.charge(1).is_ok() => cx.quick_document(names),
            Node::Variable(slot, names) if cx.charge(1).is_ok() => cx.quick_variable(*slot, names),
            Node::Call(call) => match call.operator.double {
                Some(double) if cx.charge(1).is_ok() => {
                    let number = double(cx, call);
                    cx.place = call.place;
                    number
                }
                _ => Quick::Other,
            },
            _ => Quick::Other,
        }
    }

    /// Two numbers, of which at least one is a double.
    pub(super) fn quick_pair<'a>(&'a self, other: &'a Node, cx: &mut Cx<'a, '_>) -> Option<(f64, f64)> {
        match (self.quick(cx), other.quick(cx)) {
            (Quick::Double(a), Quick::Double(b) | Quick::Int(b)) | (Quick::Int(a), Quick::Double(b)) => Some((a, b)),
            _ => None,
        }
    }
}

fn number(value: Value<'_>) -> Quick {
    match value {
        Value::Double(x) => Quick::Double(x),
        Value::Int32(n) => Quick::Int(f64::from(n)),
        _ => Quick::Other,
    }
}

/// These charge nothing: whoever asks does.
impl<'a> Cx<'a, '_> {
    /// The number at a path of the stage's document.
    #[inline]
    pub(crate) fn quick_document(&mut self, names: &'a [Name]) -> Quick {
        self.quick_in(self.document, names.iter().copied())
    }

    /// The number at a path of a variable.
    #[inline]
    pub(crate) fn quick_variable(&mut self, slot: u32, names: &'a [Name]) -> Quick {
        self.quick_in(self.variables[slot as usize], names.iter().copied())
    }

    /// The number at a path of a query.
    #[inline]
    pub(crate) fn quick_parts(&mut self, document: Value<'a>, path: &'a [Part]) -> Quick {
        self.quick_in(document, path.iter().map(|part| part.name))
    }

    #[inline]
    fn quick_in(&mut self, mut value: Value<'a>, mut names: impl ExactSizeIterator<Item = Name>) -> Quick {
        // Through the part of a document that a stage has made.
        while let Value::Document(_, fields) = value {
            let Some(name) = names.next() else { return Quick::Other };
            if fields.len() > 16 {
                return Quick::Other;
            }
            let name = self.name(name);
            let Some((_, inner)) = fields.iter().find(|(n, _)| *n == name) else { return Quick::Other };
            value = *inner;
        }
        match value {
            Value::RawDocument(view, _) if names.len() > 0 => self.quick_path(view, names),
            value if names.len() == 0 => number(value),
            _ => Quick::Other,
        }
    }

    /// The number at a path of a viewed document, through documents whose fields are all located.
    #[inline]
    fn quick_path(&mut self, mut view: u32, names: impl ExactSizeIterator<Item = Name>) -> Quick {
        let width = self.frame.names.len();
        let last = names.len() - 1;
        for (at, name) in names.enumerate() {
            if view == UNSEEN {
                return Quick::Other;
            }
            let kind = usize::from(self.views.kind(view));
            let slot = self.frame.table[kind * width + name as usize];
            if slot == NONE {
                return Quick::Other;
            }
            let Ok(cell) = self.views.cell(self.frame.shapes, self.root, view, slot) else {
                return Quick::Other;
            };
            if at == last {
                let bytes = self.root.get(cell.at as usize..cell.end as usize).unwrap_or_default();
                return match cell.kind {
                    raw::DOUBLE => bytes.try_into().map_or(Quick::Other, |b| Quick::Double(f64::from_le_bytes(b))),
                    raw::INT32 => {
                        bytes.try_into().map_or(Quick::Other, |b| Quick::Int(f64::from(i32::from_le_bytes(b))))
                    }
                    _ => Quick::Other,
                };
            }
            if cell.kind != raw::DOCUMENT {
                return Quick::Other;
            }
            view = cell.nested;
        }
        Quick::Other
    }
}
