//! Folding: calls on constants become constants, as MongoDB's optimiser does.
//!
//! What always fails is a problem here, as MongoDB refuses the whole pipeline for it, but not within what is never reached.

use super::Parser;
use super::json::Json;
use crate::eval::{Budget, Common, Cx, EvalError, Frame};
use crate::expr::{Call, Constant, Extra, Node};
use crate::plan::Plan;
use crate::texts::Texts;
use crate::value::Value;
use crate::view::{Shapes, Views};

/// Operators that MongoDB leaves to be evaluated where all of their arguments are constants: what always fails in them fails when it is
/// reached, not before.
const NEVER_FOLDED: [&str; 19] = [
    "$filter",
    "$firstN",
    "$getField",
    "$lastN",
    "$let",
    "$map",
    "$maxN",
    "$minN",
    "$reduce",
    "$regexFind",
    "$regexFindAll",
    "$regexMatch",
    "$replaceAll",
    "$replaceOne",
    "$setEquals",
    "$setField",
    "$sortArray",
    "$unsetField",
    "$zip",
];

impl Parser {
    /// Operators whose arguments may be grouped at will: what they have of their own kind among their arguments is merged into them, and
    /// constants that stand beside each other are folded into one, as MongoDB does. Where their order does not matter either
    /// (`commutative`), all constants are moved to the end first.
    pub(super) fn grouped(&mut self, mut call: Call, value: &Json, commutative: bool) -> Option<Node> {
        let nodes = self.arguments(call.operator, value, 0, usize::MAX)?;
        let several = nodes.len() > 1 && !self.unprepared;
        // A lone argument may be an array that is gone through.
        let merged = nodes.into_iter().flat_map(|node| match node {
            Node::Call(inner) if several && inner.args.len() > 1 && std::ptr::eq(inner.operator, call.operator) => {
                inner.args.into_vec()
            }
            node => vec![node],
        });
        let mut args: Vec<Node> = merged.collect();
        if self.unprepared {
            call.args = args.into();
            return Some(Node::Call(call));
        }
        if commutative {
            args.sort_by_key(is_constant);
        }
        if !args.iter().all(is_constant) {
            args = self.runs_folded(&call, args);
        }
        call.args = args.into();
        Some(self.folded(call))
    }

    /// The arguments with each run of constants folded into one.
    fn runs_folded(&mut self, call: &Call, args: Vec<Node>) -> Vec<Node> {
        let (mut others, mut run) = (Vec::with_capacity(args.len()), Vec::new());
        for node in args {
            if is_constant(&node) {
                run.push(node);
            } else {
                self.end_run(call, &mut run, &mut others);
                others.push(node);
            }
        }
        self.end_run(call, &mut run, &mut others);
        others
    }

    fn end_run(&mut self, call: &Call, run: &mut Vec<Node>, others: &mut Vec<Node>) {
        if run.len() < 2 {
            others.append(run);
            return;
        }
        let args = std::mem::take(run).into();
        let (operator, number, place) = (call.operator, self.call_number(), call.place);
        match self.folded(Call { operator, number, place, args, slot: 0, extra: Extra::None }) {
            Node::Call(part) => others.extend(part.args),
            folded => others.push(folded),
        }
    }

    /// Replaces a call on constants by its value, and `$and`/`$or` that a constant decides.
    pub(super) fn folded(&mut self, call: Call) -> Node {
        if self.unprepared {
            return Node::Call(call);
        }
        let decided = match call.operator.name {
            "$and" => Some(false),
            "$or" => Some(true),
            _ => None,
        };
        if let Some(until) = decided {
            let decides = |node: &Node| matches!(node, Node::Constant(c) if c.value().is_true() == until);
            if call.args.iter().any(decides) {
                return Node::Constant(Constant::Scalar(Value::Bool(until)));
            }
        }
        let of_nothing = matches!(call.args.first(), Some(Node::Constant(c)) if c.value().is_nullish());
        if call.operator.name == "$indexOfArray" && of_nothing {
            return Node::Constant(Constant::Scalar(Value::Null));
        }
        let constant = |node: &Node| matches!(node, Node::Constant(_) | Node::Absent);
        if NEVER_FOLDED.contains(&call.operator.name) || !call.args.iter().all(constant) {
            return picked(call);
        }
        match evaluate_constant(&call, self.variables) {
            Ok(constant) => return Node::Constant(constant),
            // As in MongoDB, which refuses the whole pipeline.
            Err(EvalError::Operand(fault)) if !self.unreached => {
                self.problem(format!("this always fails: {}", fault.message));
            }
            _ => {}
        }
        Node::Call(call)
    }
}

fn is_constant(node: &Node) -> bool {
    matches!(node, Node::Constant(_))
}

/// The argument that constants pick, of `$cond` and `$ifNull`; the only one that is left of a `$let` or a `$switch`.
pub(super) fn picked(mut call: Call) -> Node {
    if call.operator.name == "$ifNull" {
        let is_null = |node: &Node| matches!(node, Node::Constant(constant) if constant.value().is_nullish());
        let mut args = Vec::from(call.args);
        let nulls = args.iter().take_while(|node| is_null(node)).count().min(args.len() - 1);
        args.drain(..nulls);
        if args.len() == 1 {
            return args.swap_remove(0);
        }
        call.args = args.into();
    }
    let first = match call.args.first() {
        Some(Node::Constant(constant)) => Some(constant.value()),
        _ => None,
    };
    let at = match (call.operator.name, first) {
        ("$cond", Some(condition)) => Some(if condition.is_true() { 1 } else { 2 }),
        ("$ifNull", Some(first)) if !first.is_nullish() => Some(0),
        ("$let" | "$switch", _) if call.args.len() == 1 => Some(0),
        _ => None,
    };
    match at {
        Some(at) => Vec::from(call.args).swap_remove(at),
        None => Node::Call(call),
    }
}

/// The value of a call on constants; an error when it fails or is too large to be kept.
fn evaluate_constant(call: &Call, variables: u32) -> Result<Constant, EvalError> {
    let (arena, shapes, mut views, plan) = (bumpalo::Bump::new(), Shapes::new(), Views::default(), Plan::default());
    let mut common = Common::new(&arena, 0);
    let places = Texts::default();
    let frame = Frame { names: &[], places: &places, shapes: &shapes, table: &[], variables, plan: &plan };
    let budget = Budget { steps: 10_000, bytes: 1 << 16 };
    let mut cx = Cx::new(&arena, (&mut views, &mut common), frame, &[5, 0, 0, 0, 0], (0, budget));
    match (call.operator.apply)(&mut cx, call)? {
        Value::Missing => Ok(Constant::Scalar(Value::Missing)),
        value => cx.constant(value),
    }
}
