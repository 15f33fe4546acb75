//! Many programs over one alert: located fields are shared by all, and programs that are written alike are evaluated once.
//!
//! Programs are alike when their canonical texts are. What different programs have in common is found by `plan`.

use std::collections::HashMap;
use std::sync::Arc;

use bson::{RawDocument, RawDocumentBuf};
use bumpalo::Bump;

use crate::eval::{Budget, Common, Cx, EvalError, Fault, Frame, Place};
use crate::gate::{self, Gates, Numbers};
use crate::plan::{self, Plan};
use crate::program::Program;
use crate::raw;
use crate::reads::{Access, Reads};
use crate::stage::{self, Stage};
use crate::view::{Shapes, Views};

/// Alerts larger than this are refused: positions are kept in 32 bits, and no survey's alert is near it.
pub(crate) const MAX_DOCUMENT: usize = 64 << 20;
/// An arena that had to grow beyond this is given back after the alert.
const KEPT_ARENA: usize = 4 << 20;

/// What a program makes of a document.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It passes, and this is what it passes on: the first document, where an `$unwind` makes several. A filter answers once for an alert;
    /// [`Program::evaluate_all`] gives all.
    Passed(RawDocumentBuf),
    /// It does not pass.
    Rejected,
    /// There is no answer.
    Failed(EvalError),
}

/// A set of programs that are evaluated together.
#[derive(Debug)]
pub struct FilterSet {
    distinct: Vec<Distinct>,
    /// For each program its place among the distinct ones.
    members: Vec<usize>,
    gates: Gates,
    shapes: Shapes,
    /// How many answers are remembered for an alert.
    slots: usize,
    reads: Reads,
    budget: Budget,
    /// By which a scratch is known to be this set's.
    token: Arc<()>,
}

#[derive(Debug)]
struct Distinct {
    program: Program,
    /// The program's stages once more, made when nothing else was: what is read together lies together in memory, which is what many
    /// different programs wait for.
    stages: Vec<(Place, Stage)>,
    table: Box<[u16]>,
    plan: Plan,
    members: Vec<usize>,
}

/// What evaluations reuse from alert to alert. One per thread; with another set than the one that made it, it starts anew.
#[derive(Debug, Default)]
pub struct Scratch {
    arena: Bump,
    views: Views,
    numbers: Numbers,
    token: Arc<()>,
}

impl FilterSet {
    /// Compiles the set. Programs keep their index in `programs`.
    pub fn new(programs: Vec<Program>) -> FilterSet {
        FilterSet::with_budget(programs, Budget::default())
    }

    /// As [`FilterSet::new`], with another budget for each program and alert.
    pub fn with_budget(programs: Vec<Program>, budget: Budget) -> FilterSet {
        let (mut known, mut distinct, mut members) = (HashMap::new(), Vec::<Distinct>::new(), Vec::new());
        let (mut shapes, mut reads) = (Shapes::new(), Reads::default());
        for (index, program) in programs.into_iter().enumerate() {
            let at = *known.entry(program.digest()).or_insert_with(|| {
                program.parsed().access.want(&mut shapes, &program.parsed().names);
                reads.merge(program.reads());
                distinct.push(Distinct {
                    program,
                    stages: Vec::new(),
                    table: Box::new([]),
                    plan: Plan::default(),
                    members: Vec::new(),
                });
                distinct.len() - 1
            });
            distinct[at].members.push(index);
            members.push(at);
        }
        let mut gates = Gates::default();
        let (plans, slots) = plan::plans(distinct.iter().map(|entry| entry.program.parsed()));
        for (entry, plan) in distinct.iter_mut().zip(plans) {
            entry.table = Access::table(&shapes, &entry.program.parsed().names);
            entry.plan = plan;
            entry.stages = entry.program.parsed().stages.clone();
            gates.add(entry.program.parsed(), &shapes);
        }
        FilterSet { distinct, members, gates, shapes, slots, reads, budget, token: Arc::new(()) }
    }

    /// How many programs the set has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the set has no programs.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many different programs the set has: what an alert costs.
    pub fn distinct(&self) -> usize {
        self.distinct.len()
    }

    /// What any of the programs reads.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The reusable state of an evaluating thread.
    pub fn scratch(&self) -> Scratch {
        Scratch { token: self.token.clone(), ..Scratch::default() }
    }

    /// Evaluates all programs on one document. `now_ms` is the alert's time, milliseconds since 1970. `each` is called once for every
    /// program, by its index; programs that are alike follow each other.
    pub fn evaluate(
        &self,
        document: &RawDocument,
        now_ms: i64,
        scratch: &mut Scratch,
        each: impl FnMut(usize, &Outcome),
    ) {
        self.evaluate_where(document, (now_ms, scratch), |_| true, each);
    }

    /// As [`FilterSet::evaluate`], for the programs that are enabled: the others cost nothing and are not called back.
    pub fn evaluate_where(
        &self,
        document: &RawDocument,
        (now_ms, scratch): (i64, &mut Scratch),
        enabled: impl Fn(usize) -> bool,
        mut each: impl FnMut(usize, &Outcome),
    ) {
        let bytes = document.as_bytes();
        if bytes.len() > MAX_DOCUMENT || !raw::is_framed(bytes) {
            let message =
                format!("the document of {} bytes is not valid BSON of at most {MAX_DOCUMENT} bytes", bytes.len());
            let outcome = Outcome::Failed(EvalError::Document(Arc::new(Fault { place: "alert".to_owned(), message })));
            (0..self.members.len()).filter(|index| enabled(*index)).for_each(|index| each(index, &outcome));
            return;
        }
        if !Arc::ptr_eq(&scratch.token, &self.token) {
            *scratch = self.scratch();
        }
        scratch.views.begin(&self.shapes, bytes);
        self.gates.begin(&mut scratch.numbers);
        let mut next = 0;
        while next < self.distinct.len() {
            next = self.evaluate_from(next, bytes, (now_ms, scratch), &enabled, &mut each);
            if scratch.arena.allocated_bytes() > KEPT_ARENA {
                scratch.arena = Bump::new();
            } else {
                scratch.arena.reset();
            }
        }
    }

    /// Evaluates programs from this one on, as far as the arena suffices; the next one. What is remembered lives in the arena: it is
    /// found out again behind the break, which changes no answer.
    fn evaluate_from(
        &self,
        first: usize,
        bytes: &[u8],
        (now_ms, scratch): (i64, &mut Scratch),
        enabled: &impl Fn(usize) -> bool,
        each: &mut impl FnMut(usize, &Outcome),
    ) -> usize {
        let mut common = Common::new(&scratch.arena, self.slots);
        let gated = self.budget.steps >= gate::LEAST_STEPS;
        for (at, entry) in self.distinct.iter().enumerate().skip(first) {
            let mut wanted = entry.members.iter().filter(|index| enabled(**index)).peekable();
            if wanted.peek().is_none() {
                continue;
            }
            let mut held = 0;
            if gated {
                let state = (&mut scratch.views, &mut scratch.numbers);
                let Some(known) = self.gates.hold(at, (&self.shapes, bytes), state) else {
                    wanted.for_each(|index| each(*index, &Outcome::Rejected));
                    continue;
                };
                held = known;
            }
            let frame = self.frame(entry);
            let views = (&mut scratch.views, &mut common);
            let outcome = outcome(Cx::new(&scratch.arena, views, frame, bytes, (now_ms, self.budget)), entry, held);
            wanted.for_each(|index| each(*index, &outcome));
            if scratch.arena.allocated_bytes() > KEPT_ARENA {
                return at + 1;
            }
        }
        self.distinct.len()
    }

    fn frame<'a>(&'a self, entry: &'a Distinct) -> Frame<'a> {
        let parsed = entry.program.parsed();
        Frame {
            names: &parsed.names,
            places: &parsed.places,
            shapes: &self.shapes,
            table: &entry.table,
            variables: parsed.variables,
            plan: &entry.plan,
        }
    }
}

/// What a program says, of which so many first clauses are known to hold.
fn outcome<'a>(mut cx: Cx<'a, '_>, entry: &'a Distinct, held: usize) -> Outcome {
    match stage::run(&mut cx, &entry.stages, (&entry.plan.stages, held)) {
        Ok(None) => Outcome::Rejected,
        Ok(Some(document)) => match cx.write(document) {
            Ok(bytes) => passed(bytes),
            Err(error) => Outcome::Failed(error),
        },
        Err(error) => Outcome::Failed(error),
    }
}

fn passed(bytes: Vec<u8>) -> Outcome {
    match RawDocumentBuf::from_bytes(bytes) {
        Ok(document) => Outcome::Passed(document),
        Err(error) => {
            let message = format!("the resulting document is not valid BSON: {error}");
            Outcome::Failed(EvalError::Document(Arc::new(Fault { place: "result".to_owned(), message })))
        }
    }
}
