//! The first conditions of all programs side by side in memory: most alerts fail most filters there, before anything else of them is read.
//!
//! A condition is here when it is among the first clauses of a leading `$match` and compares a field of the alert, or the distance of two
//! of them, with a constant. Only what is certain is said here: that a clause before which all hold is false, so that the program
//! rejects, or that the first ones hold. Whatever is of a type that is not looked at goes the usual way. `compile` finds the conditions,
//! `read` reads what they compare.

mod compile;
mod read;

use crate::query::Comparison;
use crate::view::{Shapes, Views};
use read::Operand;
pub(crate) use read::Seen;

/// A program never has more conditions here.
const MOST: usize = 24;
/// A budget of fewer steps could end within the conditions: none of them takes more than 16.
pub(crate) const LEAST_STEPS: u64 = 16 * (MOST as u64 + 1);
/// What a plain condition costs, here as well as in its `$match`.
pub(crate) const STEPS: u64 = 2;

/// The first conditions of the programs of a set.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    conditions: Vec<Condition>,
    programs: Vec<Span>,
    operands: Vec<Operand>,
}

/// Where the conditions of a program end, and how many of its first clauses are plain: one comparison with a finite number.
#[derive(Debug, Clone, Copy)]
struct Span {
    end: u32,
    plain: u32,
}

/// A clause, or one of the alternatives of a clause.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Condition {
    constant: f64,
    operand: u16,
    asks: Asks,
    /// How many conditions that follow are alternatives to this one.
    alternatives: u8,
}

/// What is asked of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// A comparison of the query language with the finite number: no other type meets it.
    Number(Comparison),
    /// That it is this boolean.
    Bool(bool),
    /// That it is null or missing.
    Null,
    /// A comparison of expressions with the number, between types too.
    Order(Comparison),
}

/// What was read of one alert, when it was first asked for.
pub(crate) type Numbers = Vec<Option<Seen>>;

impl Gates {
    /// Begins with another alert.
    pub(crate) fn begin(&self, numbers: &mut Numbers) {
        numbers.clear();
        numbers.resize(self.operands.len(), None);
    }

    /// How many clauses of the program, from the first on, are known to hold; none when it is known to reject.
    #[inline]
    pub(crate) fn hold(
        &self,
        program: usize,
        alert: (&Shapes, &[u8]),
        (views, numbers): (&mut Views, &mut Numbers),
    ) -> Option<usize> {
        let first = if program == 0 { 0 } else { self.programs[program - 1].end as usize };
        let span = self.programs[program];
        let conditions = &self.conditions[first..span.end as usize];
        let (mut at, mut held) = (0, 0);
        while let Some(condition) = conditions.get(at) {
            let next = at + 1 + usize::from(condition.alternatives);
            let clause = conditions.get(at..next).unwrap_or_default();
            match self.clause(clause, alert, (views, numbers)) {
                Some(true) => held += 1,
                Some(false) => return None,
                None => break,
            }
            at = next;
        }
        Some(held.min(span.plain as usize))
    }

    /// Whether one of the alternatives holds, as far as that is known.
    #[inline]
    fn clause(
        &self,
        alternatives: &[Condition],
        alert: (&Shapes, &[u8]),
        (views, numbers): (&mut Views, &mut Numbers),
    ) -> Option<bool> {
        for condition in alternatives {
            let operand = usize::from(condition.operand);
            let seen = match numbers[operand] {
                Some(seen) => seen,
                None => *numbers[operand].insert(self.operands[operand].read(alert, views)),
            };
            if condition.holds(seen)? {
                return Some(true);
            }
        }
        Some(false)
    }
}

impl Condition {
    /// Whether the condition holds for what was seen; none when that is not for here to say.
    #[inline]
    fn holds(&self, seen: Seen) -> Option<bool> {
        match (self.asks, seen) {
            (_, Seen::Other) => None,
            (Asks::Number(comparison), Seen::Double(x) | Seen::Int(x)) => Some(comparison.holds(x, self.constant)),
            (Asks::Order(_), Seen::Double(x) | Seen::Int(x)) if x.is_nan() => None,
            (Asks::Order(comparison), Seen::Double(x) | Seen::Int(x)) => Some(comparison.holds(x, self.constant)),
            // Null and missing are below every number.
            (Asks::Order(comparison), Seen::Null) => Some(matches!(comparison, Comparison::Lt | Comparison::Lte)),
            (Asks::Order(_), Seen::Bool(_)) => None,
            (Asks::Bool(wanted), Seen::Bool(found)) => Some(wanted == found),
            (Asks::Null, seen) => Some(matches!(seen, Seen::Null)),
            (Asks::Number(_) | Asks::Bool(_), _) => Some(false),
        }
    }
}
