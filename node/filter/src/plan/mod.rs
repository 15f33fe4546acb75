//! What the programs of a set have in common: expressions, clauses and stages that are evaluated once per alert and remembered.
//!
//! Two things are the same when they are written alike and see the same document: the alert, or what equal stages made of it. A thing is
//! remembered only where that saves work: when it stands in two places that are not both within a larger thing that is remembered. Only
//! the answer is shared, and with it what it cost, so that a program's budget ends where it would end alone. Errors are never shared:
//! whoever meets one evaluates anew, and reports its own place.

mod found;
mod walk;

use crate::parse::Parsed;
use found::{Found, Spot};

/// "Not remembered" among slots.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// Where the answers of one program's parts are remembered.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By the call's number; empty when none is remembered.
    pub(crate) calls: Box<[u32]>,
    /// By the stage's number; empty when none is remembered.
    pub(crate) stages: Box<[StagePlan]>,
}

/// Where the answers of one stage are remembered.
#[derive(Debug, Clone)]
pub(crate) struct StagePlan {
    /// The document that the stage makes.
    pub(crate) whole: u32,
    /// What a `$project` keeps of its document, before it computes.
    pub(crate) included: u32,
    /// Whether each clause of a `$match` holds.
    pub(crate) clauses: Box<[u32]>,
}

/// The plans of programs that are evaluated together, and how many answers are remembered.
pub(crate) fn plans<'p>(programs: impl Iterator<Item = &'p Parsed>) -> (Vec<Plan>, usize) {
    let programs: Vec<&Parsed> = programs.collect();
    let mut found = Found::default();
    for (number, parsed) in programs.iter().enumerate() {
        walk::walk(&mut found, parsed, number as u32);
    }
    let slots = found.slots();
    let mut plans: Vec<Plan> = programs.iter().map(|_| Plan::default()).collect();
    let mut used = 0;
    for (entry, slot) in found.entries.iter().zip(slots) {
        let Some(slot) = slot else { continue };
        used = used.max(slot as usize + 1);
        let (plan, parsed) = (&mut plans[entry.program as usize], programs[entry.program as usize]);
        plan.note(parsed, entry.place, slot);
    }
    (plans, used)
}

impl Plan {
    fn note(&mut self, parsed: &Parsed, place: Spot, slot: u32) {
        if let Spot::Call(number) = place {
            if self.calls.is_empty() {
                self.calls = vec![NO_SLOT; parsed.calls as usize].into();
            }
            self.calls[number as usize] = slot;
            return;
        }
        if self.stages.is_empty() {
            self.stages =
                vec![StagePlan { whole: NO_SLOT, included: NO_SLOT, clauses: Box::new([]) }; parsed.stages.len()]
                    .into();
        }
        match place {
            Spot::Clause(stage, clause) => {
                let stage = &mut self.stages[stage as usize];
                let mut clauses = std::mem::take(&mut stage.clauses).into_vec();
                clauses.resize(clauses.len().max(clause as usize + 1), NO_SLOT);
                clauses[clause as usize] = slot;
                stage.clauses = clauses.into();
            }
            Spot::Stage(stage) => self.stages[stage as usize].whole = slot,
            Spot::Included(stage) => self.stages[stage as usize].included = slot,
            Spot::Call(_) => {}
        }
    }
}
