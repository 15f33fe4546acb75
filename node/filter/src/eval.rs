//! The state of one evaluation: the alert, the variables, the arena, the budget; and the error that ends it.
//!
//! What each operator does is in `expr`, `query` and `stage`; here is what they all need: fields, elements, building values, charging.

use std::sync::Arc;

use bumpalo::Bump;

use crate::expr::Call;
use crate::lanes::Columns;
use crate::plan::{NO_SLOT, Plan};
use crate::raw::{self, Malformed};
use crate::texts::Texts;
use crate::value::{Elements, Fields, MAX_DEPTH, UNSEEN, Value};
use crate::view::{NONE, Shapes, Views};

/// What one evaluation of one program on one document may use. Counted, never timed, so that a replay ends in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Evaluated expressions, visited elements and compared parts.
    pub steps: u64,
    /// Bytes of computed values and of the resulting document.
    pub bytes: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { steps: 1_000_000, bytes: 16 << 20 }
    }
}

/// What went wrong, and where in the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path into the pipeline's JSON, such as `[1].$project.age.$round[0]`.
    pub place: String,
    /// What was found there, with the values seen.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Why a program has no answer for a document. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// An operator met a value that it refuses, as MongoDB's would.
    #[error("{0}")]
    Operand(Arc<Fault>),
    /// The evaluation used up its [`Budget`].
    #[error("{0}")]
    Budget(Arc<Fault>),
    /// The document itself is not BSON.
    #[error("{0}")]
    Document(Arc<Fault>),
}

impl EvalError {
    /// The place and the message.
    pub fn fault(&self) -> &Fault {
        match self {
            EvalError::Operand(fault) | EvalError::Budget(fault) | EvalError::Document(fault) => fault,
        }
    }
}

/// What an expression gives.
pub(crate) type Out<'a> = Result<Value<'a>, EvalError>;
/// A name in the program's own list.
pub(crate) type Name = u32;
/// A path in the program's own list of places.
pub(crate) type Place = u32;

/// What a program brings to an evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) names: &'a [Box<str>],
    pub(crate) places: &'a Texts,
    pub(crate) shapes: &'a Shapes,
    /// Slot of each name in each kind: `kind * names.len() + name`.
    pub(crate) table: &'a [u16],
    pub(crate) variables: u32,
    /// What is remembered of the program.
    pub(crate) plan: &'a Plan,
}

/// What was found out about one alert so far, for all programs of a set.
#[derive(Debug)]
pub(crate) struct Common<'a> {
    pub(crate) columns: Columns<'a>,
    answers: &'a mut [Answer<'a>],
}

impl<'a> Common<'a> {
    /// Nothing found out yet; room for so many answers.
    pub(crate) fn new(arena: &'a Bump, slots: usize) -> Common<'a> {
        Common { columns: Columns::default(), answers: arena.alloc_slice_fill_copy(slots, Answer::UNKNOWN) }
    }
}

/// A remembered answer, and what it cost.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    known: bool,
    steps: u64,
    bytes: u64,
    value: Value<'a>,
}

impl Answer<'_> {
    const UNKNOWN: Answer<'static> = Answer { known: false, steps: 0, bytes: 0, value: Value::Missing };
}

/// One evaluation of one program on one document. `'a` is what values borrow from, `'s` the scratch.
pub(crate) struct Cx<'a, 's> {
    pub(crate) arena: &'a Bump,
    pub(crate) views: &'s mut Views,
    /// What the programs of a set share of one alert.
    pub(crate) common: &'s mut Common<'a>,
    pub(crate) frame: Frame<'a>,
    pub(crate) root: &'a [u8],
    /// The document that the stage sees: `$$ROOT` and `$$CURRENT`.
    pub(crate) document: Value<'a>,
    pub(crate) variables: &'a mut [Value<'a>],
    /// `$$NOW`, milliseconds since 1970: the alert's time.
    pub(crate) now: i64,
    /// Where the evaluation is, for errors that no operator raises.
    pub(crate) place: Place,
    budget: Budget,
}

impl<'a, 's> Cx<'a, 's> {
    pub(crate) fn new(
        arena: &'a Bump,
        (views, common): (&'s mut Views, &'s mut Common<'a>),
        frame: Frame<'a>,
        root: &'a [u8],
        (now, budget): (i64, Budget),
    ) -> Cx<'a, 's> {
        let variables = arena.alloc_slice_fill_copy(frame.variables as usize, Value::Missing);
        Cx {
            arena,
            views,
            common,
            frame,
            root,
            document: Value::RawDocument(0, root),
            variables,
            now,
            place: 0,
            budget,
        }
    }

    #[inline]
    pub(crate) fn name(&self, name: Name) -> &'a str {
        &self.frame.names[name as usize]
    }

    /// Where the answer of a call is remembered.
    #[inline]
    pub(crate) fn slot(&self, call: &Call) -> Option<u32> {
        self.frame.plan.calls.get(call.number as usize).copied().filter(|slot| *slot != NO_SLOT)
    }

    /// The remembered answer, for what it cost; else what `evaluate` gives, which is then remembered. With a budget that does not
    /// suffice it is evaluated, so that it ends where it would end alone.
    pub(crate) fn remembered(
        &mut self,
        slot: u32,
        place: Place,
        evaluate: impl FnOnce(&mut Self) -> Out<'a>,
    ) -> Out<'a> {
        let answer = self.common.answers[slot as usize];
        let before = self.budget;
        if answer.known && answer.steps <= before.steps && answer.bytes <= before.bytes {
            self.budget = Budget { steps: before.steps - answer.steps, bytes: before.bytes - answer.bytes };
            self.place = place;
            return Ok(answer.value);
        }
        let value = evaluate(self)?;
        self.place = place;
        let (steps, bytes) = (before.steps - self.budget.steps, before.bytes - self.budget.bytes);
        self.common.answers[slot as usize] = Answer { known: true, steps, bytes, value };
        Ok(value)
    }

    fn fault(&self, place: Place, message: String) -> Arc<Fault> {
        Arc::new(Fault { place: self.frame.places.get(place), message })
    }

    /// An operator refuses what it met.
    #[cold]
    pub(crate) fn refuse(&self, place: Place, message: impl Into<String>) -> EvalError {
        EvalError::Operand(self.fault(place, message.into()))
    }

    #[cold]
    fn spent(&self, what: &str) -> EvalError {
        let message = format!("the evaluation used up its budget of {what}; do less for one alert");
        EvalError::Budget(self.fault(self.place, message))
    }

    #[cold]
    fn broken(&self) -> EvalError {
        EvalError::Document(self.fault(self.place, "the document read here is not valid BSON".to_owned()))
    }

    /// Takes steps from the budget.
    #[inline]
    pub(crate) fn charge(&mut self, steps: u64) -> Result<(), EvalError> {
        match self.budget.steps.checked_sub(steps) {
            Some(rest) => {
                self.budget.steps = rest;
                Ok(())
            }
            None => Err(self.spent("steps")),
        }
    }

    /// Takes bytes from the budget.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), EvalError> {
        match self.budget.bytes.checked_sub(bytes as u64) {
            Some(rest) => {
                self.budget.bytes = rest;
                Ok(())
            }
            None => Err(self.spent("bytes")),
        }
    }

    /// Refuses values that nest too deep to be walked.
    pub(crate) fn check_depth(&self, depth: u32) -> Result<(), EvalError> {
        if depth < 2 * u32::from(MAX_DEPTH) {
            return Ok(());
        }
        Err(self.refuse(self.place, format!("values that nest deeper than {MAX_DEPTH} are refused")))
    }

    /// Turns broken BSON into this evaluation's error.
    #[inline]
    pub(crate) fn sound<T>(&self, read: Result<T, Malformed>) -> Result<T, EvalError> {
        read.map_err(|Malformed| self.broken())
    }

    /// The field of a document; missing when there is none or the value is no document.
    #[inline]
    pub(crate) fn field(&mut self, value: Value<'a>, name: Name) -> Out<'a> {
        match value {
            Value::RawDocument(view, bytes) => {
                if view != UNSEEN {
                    let kind = usize::from(self.views.kind(view));
                    let slot = self.frame.table[kind * self.frame.names.len() + name as usize];
                    if slot != NONE {
                        return self.cell(view, slot);
                    }
                }
                let name = self.name(name);
                self.field_named(Value::RawDocument(view, bytes), name)
            }
            Value::Document(..) => {
                let name = self.name(name);
                self.field_named(value, name)
            }
            _ => Ok(Value::Missing),
        }
    }

    #[inline]
    fn cell(&mut self, view: u32, slot: u16) -> Out<'a> {
        let found = self.views.cell(self.frame.shapes, self.root, view, slot);
        let cell = self.sound(found)?;
        self.read(cell.kind, cell.at, cell.end, cell.nested)
    }

    #[inline]
    fn read(&self, kind: u8, at: u32, end: u32, nested: u32) -> Out<'a> {
        if kind == 0 {
            return Ok(Value::Missing);
        }
        let value = self.sound(Value::read(kind, &self.root[at as usize..end as usize]))?;
        Ok(match value {
            Value::RawDocument(_, bytes) => Value::RawDocument(nested, bytes),
            Value::RawArray(_, bytes) => Value::RawArray(nested, bytes),
            value => value,
        })
    }

    /// The field of that name, found by walking.
    pub(crate) fn field_named(&mut self, value: Value<'a>, name: &str) -> Out<'a> {
        match value {
            Value::Document(_, fields) => {
                self.charge(fields.len() as u64 / 16)?;
                Ok(fields.iter().find(|(n, _)| *n == name).map_or(Value::Missing, |(_, v)| *v))
            }
            Value::RawDocument(_, bytes) => {
                self.charge(bytes.len() as u64 / 256)?;
                match self.sound(raw::find(bytes, name.as_bytes()))? {
                    Some(e) => self.sound(Value::read(e.kind, &bytes[e.at..e.end])),
                    None => Ok(Value::Missing),
                }
            }
            _ => Ok(Value::Missing),
        }
    }

    /// Where the wanted field of a viewed document lies in the alert, for projections that keep the input's order.
    pub(crate) fn position(&mut self, value: Value<'a>, name: Name) -> Result<Option<(u32, Value<'a>)>, EvalError> {
        let Value::RawDocument(view, _) = value else { return Ok(None) };
        if view == UNSEEN {
            return Ok(None);
        }
        let kind = usize::from(self.views.kind(view));
        let slot = self.frame.table[kind * self.frame.names.len() + name as usize];
        if slot == NONE {
            return Ok(None);
        }
        let found = self.views.cell(self.frame.shapes, self.root, view, slot);
        let cell = self.sound(found)?;
        Ok(Some((cell.at, self.read(cell.kind, cell.at, cell.end, cell.nested)?)))
    }

    /// A field found by walking a viewed document, with the view that the document's own field has.
    pub(crate) fn viewed(&mut self, document: Value<'a>, name: &str, value: Value<'a>) -> Out<'a> {
        let Value::RawDocument(view, _) = document else { return Ok(value) };
        if view == UNSEEN {
            return Ok(value);
        }
        let slot = self.frame.shapes.slot(usize::from(self.views.kind(view)), name);
        if slot == NONE { Ok(value) } else { self.cell(view, slot) }
    }

    /// The elements of an array, with their views where the alert's series have them.
    #[inline]
    pub(crate) fn items(&self, array: Value<'a>) -> Items<'a> {
        match array {
            Value::RawArray(series, _) if series != UNSEEN => {
                let (at, end) = self.views.members(series);
                Items::Series(at, end)
            }
            other => Items::Plain(Elements::of(other)),
        }
    }

    /// The series that an array is, and how many points it has.
    pub(crate) fn series(&self, array: Value<'a>) -> Option<(u32, usize)> {
        match array {
            Value::RawArray(series, _) if series != UNSEEN => {
                let (at, end) = self.views.members(series);
                Some((series, (end - at) as usize))
            }
            _ => None,
        }
    }

    /// A point of a series.
    pub(crate) fn point(&self, series: u32, at: usize) -> Out<'a> {
        let member = self.views.member(self.views.members(series).0 + at as u32);
        self.read(member.kind, member.at, member.end, member.view)
    }

    /// The next element; one step.
    #[inline]
    pub(crate) fn next(&mut self, items: &mut Items<'a>) -> Result<Option<Value<'a>>, EvalError> {
        self.charge(1)?;
        match items {
            Items::Plain(elements) => self.sound(elements.next()),
            Items::Series(at, end) if at == end => Ok(None),
            Items::Series(at, _) => {
                let member = self.views.member(*at);
                *at += 1;
                self.read(member.kind, member.at, member.end, member.view).map(Some)
            }
        }
    }

    /// All elements of an array, as values.
    pub(crate) fn elements(&mut self, array: Value<'a>) -> Result<Vec<Value<'a>>, EvalError> {
        let (mut items, mut all) = (self.items(array), Vec::new());
        while let Some(item) = self.next(&mut items)? {
            all.push(item);
        }
        self.charge_bytes(all.len() * size_of::<Value<'_>>())?;
        Ok(all)
    }

    /// All fields of a document, as values; those of a viewed document keep their views.
    pub(crate) fn fields(&mut self, document: Value<'a>) -> Result<Vec<(&'a str, Value<'a>)>, EvalError> {
        let (mut fields, mut all) = (Fields::of(document), Vec::new());
        while let Some(field) = self.sound(fields.next())? {
            self.charge(1)?;
            all.push(field);
        }
        self.charge_bytes(all.len() * size_of::<(&str, Value<'_>)>())?;
        Ok(all)
    }

    /// As [`Cx::fields`], with the places of fields that stages have removed: a field that comes back takes its old place.
    pub(crate) fn places(&mut self, document: Value<'a>) -> Result<Vec<(&'a str, Value<'a>)>, EvalError> {
        let Value::Document(_, fields) = document else { return self.fields(document) };
        self.charge(fields.len() as u64)?;
        self.charge_bytes(size_of_val(fields))?;
        Ok(fields.to_vec())
    }

    fn deeper(&self, deepest: u8) -> Result<u8, EvalError> {
        if deepest < MAX_DEPTH {
            return Ok(deepest + 1);
        }
        Err(self.refuse(self.place, format!("values that nest deeper than {MAX_DEPTH} are refused")))
    }

    /// A computed array; missing elements become null, as in MongoDB's own arrays.
    pub(crate) fn array(&mut self, mut items: Vec<Value<'a>>) -> Out<'a> {
        self.charge_bytes(items.len() * size_of::<Value<'_>>() + 16)?;
        for item in &mut items {
            if item.is_missing() {
                *item = Value::Null;
            }
        }
        self.array_of_places(&items)
    }

    /// A computed array in which a missing element keeps its place, as in what MongoDB's stages pass on.
    pub(crate) fn array_of_places(&mut self, items: &[Value<'a>]) -> Out<'a> {
        let depth = items.iter().map(|item| item.depth()).max().unwrap_or_default();
        Ok(Value::Array(self.deeper(depth)?, self.arena.alloc_slice_copy(items)))
    }

    /// A computed document; missing fields are left out.
    pub(crate) fn object(&mut self, mut fields: Vec<(&'a str, Value<'a>)>) -> Out<'a> {
        fields.retain(|(_, value)| !value.is_missing());
        self.object_of_places(&fields)
    }

    /// A computed document in which a missing field keeps its place, as in what MongoDB's stages pass on.
    pub(crate) fn object_of_places(&mut self, fields: &[(&'a str, Value<'a>)]) -> Out<'a> {
        self.charge_bytes(size_of_val(fields) + 16)?;
        let depth = fields.iter().map(|(_, v)| v.depth()).max().unwrap_or_default();
        Ok(Value::Document(self.deeper(depth)?, self.arena.alloc_slice_copy(fields)))
    }

    /// A computed string.
    pub(crate) fn text(&mut self, text: &str) -> Out<'a> {
        self.charge_bytes(text.len() + 16)?;
        Ok(Value::Text(self.arena.alloc_str(text)))
    }
}

/// The elements of an array, in order.
#[derive(Debug, Clone)]
pub(crate) enum Items<'a> {
    Plain(Elements<'a>),
    Series(u32, u32),
}
