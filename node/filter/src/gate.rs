//! The first conditions of all programs side by side in memory: most alerts fail most filters there, before anything else of them is read.
//!
//! A condition is here when it is among the first clauses of a leading `$match` and compares a field of the alert, or of a document in
//! it, with a finite number: it cannot fail, and what it decides is what its `$match` decides. Whatever is no number goes the usual way.

use crate::expr::Constant;
use crate::parse::Parsed;
use crate::query::{Comparison, Query, Test, finite};
use crate::raw;
use crate::stage::Stage;
use crate::view::{NONE, Shapes, Views};

/// A program never has more conditions here.
const MOST: usize = 8;
/// A budget of fewer steps could end within the conditions.
pub(crate) const LEAST_STEPS: u64 = 64;
/// What a condition costs, here as well as in its `$match`.
pub(crate) const STEPS: u64 = 2;

/// The first conditions of the programs of a set.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    conditions: Vec<Condition>,
    /// Where the conditions of each program end.
    ends: Vec<u32>,
    /// The fields that are compared, by their slots: of the alert, or of a document in the alert.
    fields: Vec<(u16, u16)>,
}

#[derive(Debug, Clone, Copy)]
struct Condition {
    constant: f64,
    field: u32,
    comparison: Comparison,
}

/// The compared numbers of one alert, read when they are first asked for.
pub(crate) type Numbers = Vec<Option<Option<f64>>>;

impl Gates {
    /// Adds the conditions of the next program.
    pub(crate) fn add(&mut self, parsed: &Parsed, shapes: &Shapes) {
        if let Some((_, Stage::Match(query))) = parsed.stages.first() {
            let clauses = match query {
                Query::All(clauses) => clauses.as_slice(),
                one => std::slice::from_ref(one),
            };
            for clause in clauses.iter().take(MOST) {
                let Some(condition) = self.condition(clause, parsed, shapes) else { break };
                self.conditions.push(condition);
            }
        }
        self.ends.push(self.conditions.len() as u32);
    }

    fn condition(&mut self, clause: &Query, parsed: &Parsed, shapes: &Shapes) -> Option<Condition> {
        let Query::Field(path, Test::Compare(comparison, Constant::Scalar(constant))) = clause else { return None };
        let slot = |kind: u16, at: usize| {
            let slot = shapes.slot(usize::from(kind), &parsed.names[path[at].name as usize]);
            (slot != NONE).then_some(slot)
        };
        let first = slot(0, 0)?;
        let field = match path.len() {
            1 => (first, NONE),
            2 => (first, slot(shapes.below(0, first)?, 1)?),
            _ => return None,
        };
        let constant = finite(*constant)?;
        let known = self.fields.iter().position(|known| *known == field);
        let field = known.unwrap_or_else(|| {
            self.fields.push(field);
            self.fields.len() - 1
        });
        Some(Condition { constant, field: field as u32, comparison: *comparison })
    }

    /// Begins with another alert.
    pub(crate) fn begin(&self, numbers: &mut Numbers) {
        numbers.clear();
        numbers.resize(self.fields.len(), None);
    }

    /// How many conditions of the program, from the first on, are known to hold; none when one is known to be false.
    #[inline]
    pub(crate) fn hold(
        &self,
        program: usize,
        (shapes, root): (&Shapes, &[u8]),
        (views, numbers): (&mut Views, &mut Numbers),
    ) -> Option<usize> {
        let first = if program == 0 { 0 } else { self.ends[program - 1] as usize };
        let conditions = &self.conditions[first..self.ends[program] as usize];
        for (held, condition) in conditions.iter().enumerate() {
            let known = &mut numbers[condition.field as usize];
            let number = match *known {
                Some(number) => number,
                None => *known.insert(read(self.fields[condition.field as usize], (shapes, root), views)),
            };
            match number {
                Some(number) if condition.comparison.holds(number, condition.constant) => {}
                Some(_) => return None,
                None => return Some(held),
            }
        }
        Some(conditions.len())
    }
}

/// The double or int there; none for anything else.
fn read((first, second): (u16, u16), (shapes, root): (&Shapes, &[u8]), views: &mut Views) -> Option<f64> {
    let mut cell = views.cell(shapes, root, 0, first).ok()?;
    if second != NONE {
        if cell.kind != raw::DOCUMENT || cell.nested == crate::value::UNSEEN {
            return None;
        }
        cell = views.cell(shapes, root, cell.nested, second).ok()?;
    }
    let bytes = root.get(cell.at as usize..cell.end as usize)?;
    match cell.kind {
        raw::DOUBLE => bytes.try_into().ok().map(f64::from_le_bytes),
        raw::INT32 => bytes.try_into().ok().map(|bytes| f64::from(i32::from_le_bytes(bytes))),
        _ => None,
    }
}
