//! Loops over a series of the alert, 64 points at a time: the bodies of `$map` and `$filter` that compare and compute with numbers.
//!
//! A lane is a point. What a body makes of a lane is either known here, and then it is the very answer of the long way, or it is not,
//! and then the long way is taken for that point. Nothing here fails, and nothing is assumed: a type that is not a number, an operator
//! that would refuse its operand, all that has no lane form is "not known".

mod column;
mod compile;
mod evaluate;

pub(crate) use column::Columns;

use crate::eval::{Cx, EvalError, Name};
use crate::expr::Call;
use crate::value::Value;

/// How many points are looked at together: the bits of a mask.
pub(crate) const WIDTH: usize = 64;

/// The body of a loop in lane form.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    form: Form,
    /// Steps that a point costs.
    cost: u64,
}

#[derive(Debug, Clone)]
enum Form {
    Test(Test),
    Number(Number),
}

/// A condition on each lane.
#[derive(Debug, Clone)]
enum Test {
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
    Compare(Relation, Number, Number),
    /// The field is this boolean.
    Is(Name, bool),
    /// The field is this text of at most seven bytes, packed.
    Text(Name, u64),
    /// The field is true in MongoDB's sense.
    Truth(Name),
    /// Not known here.
    Opaque,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
}

/// A number on each lane, or one for all.
#[derive(Debug, Clone)]
enum Number {
    /// A field of the point.
    Field(Name),
    Constant(f64, bool),
    /// A path into the stage's document.
    Path(Box<[Name]>),
    /// A path into a variable that is not the loop's.
    Variable(u32, Box<[Name]>),
    Unary(Unary, Box<Number>),
    Binary(Binary, Box<[Number; 2]>),
    IfNull(Box<[Number; 2]>),
    Opaque,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unary {
    Abs,
    Sqrt,
    Ln,
    Log10,
    Exp,
    Floor,
    Ceil,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Pow,
}

/// A loop at work: the series, how many points it has, and the call whose body is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loop<'a> {
    pub(crate) series: u32,
    pub(crate) points: usize,
    body: &'a Body,
    call: &'a Call,
}

impl<'a> Loop<'a> {
    /// The loop of a call over its evaluated input; none when it has no lane form or the input is no series of the alert.
    pub(crate) fn of(cx: &mut Cx<'a, '_>, call: &'a Call, input: Value<'a>) -> Result<Option<Loop<'a>>, EvalError> {
        let (Some(body), Some((series, points))) = (call.extra.body(), cx.series(input)) else { return Ok(None) };
        cx.charge((points as u64 + 1) * body.cost)?;
        Ok(Some(Loop { series, points, body, call }))
    }

    /// Calls for each point whether the body is true for it, in order.
    pub(crate) fn each_truth(
        &self,
        cx: &mut Cx<'a, '_>,
        mut visit: impl FnMut(&mut Cx<'a, '_>, usize, bool) -> Result<bool, EvalError>,
    ) -> Result<(), EvalError> {
        for first in (0..self.points).step_by(WIDTH) {
            let (yes, no) = self.truths(cx, first);
            for lane in 0..WIDTH.min(self.points - first) {
                let bit = 1 << lane;
                let truth = if (yes | no) & bit != 0 { yes & bit != 0 } else { self.long_truth(cx, first + lane)? };
                if !visit(cx, first + lane, truth)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// For how many points the body is true.
    pub(crate) fn count(&self, cx: &mut Cx<'a, '_>) -> Result<usize, EvalError> {
        let mut count = 0;
        for first in (0..self.points).step_by(WIDTH) {
            let (yes, no) = self.truths(cx, first);
            count += yes.count_ones() as usize;
            let mut unknown = live(self.points - first) & !(yes | no);
            while unknown != 0 {
                count += usize::from(self.long_truth(cx, first + unknown.trailing_zeros() as usize)?);
                unknown &= unknown - 1;
            }
        }
        Ok(count)
    }

    /// The body's value for each point, in order.
    pub(crate) fn values(&self, cx: &mut Cx<'a, '_>) -> Result<Vec<Value<'a>>, EvalError> {
        cx.charge_bytes(self.points * size_of::<Value<'_>>())?;
        let mut all = Vec::with_capacity(self.points);
        for first in (0..self.points).step_by(WIDTH) {
            let lanes = WIDTH.min(self.points - first);
            match &self.body.form {
                Form::Test(_) => {
                    let (yes, no) = self.truths(cx, first);
                    for lane in 0..lanes {
                        let known = (yes | no) >> lane & 1 != 0;
                        all.push(if known { Value::Bool(yes >> lane & 1 != 0) } else { self.long(cx, first + lane)? });
                    }
                }
                Form::Number(number) => {
                    let column = number.on(cx, (self.series, first), lanes);
                    for lane in 0..lanes {
                        let value = column.value(lane);
                        all.push(match value {
                            Some(value) => value,
                            None => self.long(cx, first + lane)?,
                        });
                    }
                }
            }
        }
        Ok(all)
    }

    fn truths(&self, cx: &mut Cx<'a, '_>, first: usize) -> (u64, u64) {
        let lanes = WIDTH.min(self.points - first);
        match &self.body.form {
            Form::Test(test) => test.on(cx, (self.series, first), live(lanes)),
            Form::Number(number) => number.on(cx, (self.series, first), lanes).truth(live(lanes)),
        }
    }

    /// The point as the loop's variable.
    fn bind(&self, cx: &mut Cx<'a, '_>, point: usize) -> Result<(), EvalError> {
        cx.variables[self.call.slot as usize] = cx.point(self.series, point)?;
        Ok(())
    }

    fn long(&self, cx: &mut Cx<'a, '_>, point: usize) -> Result<Value<'a>, EvalError> {
        self.bind(cx, point)?;
        self.call.args[1].eval(cx)
    }

    fn long_truth(&self, cx: &mut Cx<'a, '_>, point: usize) -> Result<bool, EvalError> {
        self.bind(cx, point)?;
        self.call.args[1].is_true(cx)
    }
}

/// The mask of so many lanes.
fn live(lanes: usize) -> u64 {
    if lanes >= WIDTH { u64::MAX } else { (1 << lanes) - 1 }
}
