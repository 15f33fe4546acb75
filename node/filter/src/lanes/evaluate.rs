//! What a body gives on the lanes of a chunk: masks of those for which it is known to be true and to be false, and numbers.

use bumpalo::Bump;

use super::{Binary, Number, Relation, Test, Unary, live};
use crate::eval::Cx;
use crate::expr::Quick;
use crate::value::Value;

/// Where a chunk is: its series, and its first point.
type At = (u32, usize);

/// Numbers on lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    x: Side<'a>,
    double: u64,
    int: u64,
    /// Null or missing.
    nullish: u64,
    /// Known to be above every number in MongoDB's order.
    above: u64,
}

#[derive(Debug, Clone, Copy)]
enum Side<'a> {
    One(f64),
    Many(&'a [f64]),
}

const UNKNOWN: Column<'static> = Column { x: Side::One(0.0), double: 0, int: 0, nullish: 0, above: 0 };

impl Side<'_> {
    fn at(&self, lane: usize) -> f64 {
        match self {
            Side::One(x) => *x,
            Side::Many(x) => x.get(lane).copied().unwrap_or_default(),
        }
    }
}

impl<'a> Column<'a> {
    fn numeric(&self) -> u64 {
        self.double | self.int
    }

    /// The value on a lane, when it is known.
    pub(super) fn value(&self, lane: usize) -> Option<Value<'a>> {
        let bit = 1 << lane;
        if self.double & bit != 0 {
            Some(Value::Double(self.x.at(lane)))
        } else if self.int & bit != 0 {
            Some(Value::Int32(self.x.at(lane) as i32))
        } else {
            (self.nullish & bit != 0).then_some(Value::Null)
        }
    }

    /// The lanes on which the number is true, and on which it is false.
    pub(super) fn truth(&self, live: u64) -> (u64, u64) {
        let numeric = self.numeric() & live;
        let nought = match self.x {
            Side::One(x) => {
                if x == 0.0 {
                    numeric
                } else {
                    0
                }
            }
            Side::Many(x) => bits(x, |x| x == 0.0) & numeric,
        };
        (numeric & !nought, nought | self.nullish & live)
    }
}

/// The mask of the lanes for which this holds.
#[inline(always)]
fn bits(x: &[f64], holds: impl Fn(f64) -> bool) -> u64 {
    x.iter().enumerate().fold(0, |mask, (lane, x)| mask | u64::from(holds(*x)) << lane)
}

#[inline(always)]
fn pairs(a: &[f64], b: &[f64], holds: impl Fn(f64, f64) -> bool) -> u64 {
    a.iter().zip(b).enumerate().fold(0, |mask, (lane, (a, b))| mask | u64::from(holds(*a, *b)) << lane)
}

impl Test {
    /// The live lanes on which the test is known to hold, and to fail.
    pub(super) fn on<'a>(&'a self, cx: &mut Cx<'a, '_>, at: At, live: u64) -> (u64, u64) {
        match self {
            Test::All(tests) => {
                let (mut yes, mut no) = (live, 0);
                for test in tests {
                    if yes == 0 {
                        break;
                    }
                    let (holds, fails) = test.on(cx, at, yes);
                    no |= fails;
                    yes = holds;
                }
                (yes, no)
            }
            Test::Any(tests) => {
                let (mut yes, mut no) = (0, live);
                for test in tests {
                    if no == 0 {
                        break;
                    }
                    let (holds, fails) = test.on(cx, at, no);
                    yes |= holds;
                    no = fails;
                }
                (yes, no)
            }
            Test::Not(test) => {
                let (yes, no) = test.on(cx, at, live);
                (no, yes)
            }
            Test::Compare(relation, a, b) => {
                let lanes = (64 - live.leading_zeros()) as usize;
                let (a, b) = (a.on(cx, at, lanes), b.on(cx, at, lanes));
                relation.on(&a, &b, live)
            }
            Test::Is(name, wanted) => match cx.column(at, *name) {
                Some(chunk) => {
                    let yes = if *wanted { chunk.yes } else { chunk.no };
                    (yes & live, chunk.known() & !yes & live)
                }
                None => (0, 0),
            },
            Test::Text(name, text) => match cx.column(at, *name) {
                Some(chunk) => {
                    let same = chunk.texts.iter().enumerate().fold(0, |m, (at, t)| m | u64::from(t == text) << at);
                    let yes = same & chunk.short;
                    (yes & live, chunk.known() & !yes & live)
                }
                None => (0, 0),
            },
            Test::Truth(name) => match cx.column(at, *name) {
                Some(chunk) => {
                    let nought = bits(chunk.numbers, |x| x == 0.0) & (chunk.double | chunk.int);
                    let no = chunk.no | nought | chunk.nullish;
                    (chunk.known() & !no & live, no & live)
                }
                None => (0, 0),
            },
            Test::Opaque => (0, 0),
        }
    }
}

impl Relation {
    /// NaN is below every number; beside one on the right nothing is known here.
    fn on(self, a: &Column<'_>, b: &Column<'_>, live: u64) -> (u64, u64) {
        let (mut both, below, above) = (
            a.numeric() & b.numeric() & live,
            (a.nullish & b.numeric() | a.numeric() & b.above) & live,
            (a.above & b.numeric() | a.numeric() & b.nullish) & live,
        );
        both &= match b.x {
            Side::One(x) => {
                if x.is_nan() {
                    0
                } else {
                    u64::MAX
                }
            }
            Side::Many(x) => !bits(x, f64::is_nan),
        };
        let holds = match self {
            Relation::Eq => compared(a.x, b.x, |a, b| a == b),
            Relation::Ne => compared(a.x, b.x, |a, b| a != b),
            Relation::Gt => compared(a.x, b.x, |a, b| a > b),
            Relation::Gte => compared(a.x, b.x, |a, b| a >= b),
            Relation::Lt => !compared(a.x, b.x, |a, b| a >= b),
            Relation::Lte => !compared(a.x, b.x, |a, b| a > b),
        };
        let (when_below, when_above) = match self {
            Relation::Eq => (0, 0),
            Relation::Ne => (below, above),
            Relation::Gt | Relation::Gte => (0, above),
            Relation::Lt | Relation::Lte => (below, 0),
        };
        let yes = holds & both | when_below | when_above;
        (yes, (both | below | above) & !yes)
    }
}

#[inline(always)]
fn compared(a: Side<'_>, b: Side<'_>, holds: impl Fn(f64, f64) -> bool) -> u64 {
    match (a, b) {
        (Side::Many(a), Side::One(b)) => bits(a, |a| holds(a, b)),
        (Side::One(a), Side::Many(b)) => bits(b, |b| holds(a, b)),
        (Side::Many(a), Side::Many(b)) => pairs(a, b, holds),
        (Side::One(a), Side::One(b)) => {
            if holds(a, b) {
                u64::MAX
            } else {
                0
            }
        }
    }
}

impl Number {
    /// The numbers on so many lanes.
    pub(super) fn on<'a>(&'a self, cx: &mut Cx<'a, '_>, at: At, lanes: usize) -> Column<'a> {
        match self {
            Number::Field(name) => match cx.column(at, *name) {
                Some(chunk) => Column {
                    x: Side::Many(chunk.numbers),
                    double: chunk.double,
                    int: chunk.int,
                    nullish: chunk.nullish,
                    above: chunk.above,
                },
                None => UNKNOWN,
            },
            Number::Constant(x, int) => one(*x, *int),
            Number::Path(names) => quick(cx.quick_document(names)),
            Number::Variable(slot, names) => quick(cx.quick_variable(*slot, names)),
            Number::Unary(unary, of) => {
                let of = of.on(cx, at, lanes);
                unary.on(cx.arena, &of, lanes)
            }
            Number::Binary(binary, sides) => {
                let (a, b) = (sides[0].on(cx, at, lanes), sides[1].on(cx, at, lanes));
                binary.on(cx.arena, &a, &b, lanes)
            }
            Number::IfNull(sides) => {
                let a = sides[0].on(cx, at, lanes);
                if a.nullish == 0 {
                    return a;
                }
                let b = sides[1].on(cx, at, lanes);
                let take = |lane: usize| if a.nullish >> lane & 1 != 0 { b.x.at(lane) } else { a.x.at(lane) };
                let blend = |a: u64, b: u64, nullish: u64| a & !nullish | b & nullish;
                Column {
                    x: Side::Many(cx.arena.alloc_slice_fill_with(lanes, take)),
                    double: blend(a.double, b.double, a.nullish),
                    int: blend(a.int, b.int, a.nullish),
                    nullish: a.nullish & b.nullish,
                    above: blend(a.above, b.above, a.nullish),
                }
            }
            Number::Opaque => UNKNOWN,
        }
    }
}

fn one(x: f64, int: bool) -> Column<'static> {
    let (double, int) = if int { (0, u64::MAX) } else { (u64::MAX, 0) };
    Column { x: Side::One(x), double, int, nullish: 0, above: 0 }
}

fn quick(number: Quick) -> Column<'static> {
    match number {
        Quick::Double(x) => one(x, false),
        Quick::Int(x) => one(x, true),
        Quick::Other => UNKNOWN,
    }
}

impl Unary {
    /// Lanes that the operator would refuse are not known; null gives null.
    fn on<'a>(self, arena: &'a Bump, of: &Column<'a>, lanes: usize) -> Column<'a> {
        let numeric = of.numeric();
        // A whole number stays one, or becomes a long: the long way tells.
        let (double, int) = match self {
            Unary::Abs => (of.double, 0),
            Unary::Floor | Unary::Ceil => (of.double, of.int),
            Unary::Exp => (numeric, 0),
            Unary::Sqrt => (numeric & !compared(of.x, Side::One(0.0), |x, nought| x < nought), 0),
            Unary::Ln | Unary::Log10 => (numeric & !compared(of.x, Side::One(0.0), |x, nought| x <= nought), 0),
        };
        let f: fn(f64) -> f64 = match self {
            Unary::Abs => return Column { x: mapped(arena, of.x, lanes, f64::abs), double, int, above: 0, ..*of },
            Unary::Sqrt => f64::sqrt,
            Unary::Ln => f64::ln,
            Unary::Log10 => f64::log10,
            Unary::Exp => f64::exp,
            Unary::Floor => f64::floor,
            Unary::Ceil => f64::ceil,
        };
        Column { x: mapped(arena, of.x, lanes, f), double, int, above: 0, ..*of }
    }
}

#[inline(always)]
fn mapped<'a>(arena: &'a Bump, x: Side<'a>, lanes: usize, f: impl Fn(f64) -> f64) -> Side<'a> {
    match x {
        Side::One(x) => Side::One(f(x)),
        Side::Many(x) => Side::Many(arena.alloc_slice_fill_iter(x.iter().take(lanes).map(|x| f(*x)))),
    }
}

#[inline(always)]
fn zipped<'a>(arena: &'a Bump, a: Side<'a>, b: Side<'a>, f: impl Fn(f64, f64) -> f64) -> Side<'a> {
    match (a, b) {
        (Side::One(a), Side::One(b)) => Side::One(f(a, b)),
        (Side::Many(a), Side::One(b)) => Side::Many(arena.alloc_slice_fill_iter(a.iter().map(|a| f(*a, b)))),
        (Side::One(a), Side::Many(b)) => Side::Many(arena.alloc_slice_fill_iter(b.iter().map(|b| f(a, *b)))),
        (Side::Many(a), Side::Many(b)) => {
            let lanes = a.len().min(b.len());
            Side::Many(arena.alloc_slice_fill_with(lanes, |lane| f(a[lane], b[lane])))
        }
    }
}

impl Binary {
    fn on<'a>(self, arena: &'a Bump, a: &Column<'a>, b: &Column<'a>, lanes: usize) -> Column<'a> {
        let both = a.numeric() & b.numeric();
        let nullish = a.nullish & (b.numeric() | b.nullish) | b.nullish & a.numeric();
        let x = match self {
            // As the long way's sum, which begins with nought.
            Binary::Add => zipped(arena, a.x, b.x, |a, b| a + b + 0.0),
            Binary::Subtract => zipped(arena, a.x, b.x, |a, b| a - b),
            Binary::Multiply => zipped(arena, a.x, b.x, |a, b| a * b),
            Binary::Divide => zipped(arena, a.x, b.x, |a, b| a / b),
            Binary::Pow => zipped(arena, a.x, b.x, f64::powf),
        };
        let double = match self {
            // Division by nought is refused.
            Binary::Divide => both & !compared(b.x, Side::One(0.0), |b, nought| b == nought),
            // Two whole numbers give a whole number: the long way. Nought to a negative power is refused.
            Binary::Pow => both & (a.double | b.double) & !compared(a.x, Side::One(0.0), |a, nought| a == nought),
            // How a sum overflows is the long way's to say.
            Binary::Add => both & (a.double | b.double) & compared(x, Side::One(0.0), |x, _| x.is_finite()),
            _ => both & (a.double | b.double),
        };
        Column { x, double: double & live(lanes), int: 0, nullish, above: 0 }
    }
}
