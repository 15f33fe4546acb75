//! From the clauses of a leading `$match` to conditions, as far as they have that form.

use super::read::{Field, Operand};
use super::{Asks, Condition, Gates, MOST, Span};
use crate::eval::Name;
use crate::expr::{Call, Constant, Node};
use crate::parse::Parsed;
use crate::query::{Comparison, Query, QueryPath, Test, finite};
use crate::stage::Stage;
use crate::value::Value;
use crate::view::{NONE, Shapes};

impl Gates {
    /// Adds the conditions of the next program.
    pub(crate) fn add(&mut self, parsed: &Parsed, shapes: &Shapes) {
        let first = self.conditions.len();
        let mut plain = 0;
        if let Some((_, Stage::Match(query))) = parsed.stages.first() {
            let clauses = match query {
                Query::All(clauses) => clauses.as_slice(),
                one => std::slice::from_ref(one),
            };
            let mut all_plain = true;
            for clause in clauses {
                let Some(conditions) = self.conditions_of(clause, parsed, shapes) else { break };
                if self.conditions.len() - first + conditions.len() > MOST {
                    break;
                }
                all_plain &= matches!(conditions[..], [Condition { asks: Asks::Number(_), .. }])
                    && matches!(clause, Query::Field(..));
                plain += u32::from(all_plain);
                self.conditions.extend(conditions);
            }
        }
        self.programs.push(Span { end: self.conditions.len() as u32, plain });
    }

    /// The conditions of which one must hold.
    fn conditions_of(&mut self, clause: &Query, parsed: &Parsed, shapes: &Shapes) -> Option<Vec<Condition>> {
        let alternatives = match clause {
            Query::Any(alternatives) => alternatives.as_slice(),
            one => std::slice::from_ref(one),
        };
        let conditions = alternatives.iter().map(|one| self.condition(one, parsed, shapes));
        let mut conditions = conditions.collect::<Option<Vec<_>>>()?;
        conditions.first_mut()?.alternatives = u8::try_from(alternatives.len() - 1).ok()?;
        Some(conditions)
    }

    fn condition(&mut self, clause: &Query, parsed: &Parsed, shapes: &Shapes) -> Option<Condition> {
        let (operand, asks, constant) = match clause {
            Query::Field(path, Test::Compare(comparison, Constant::Scalar(constant))) => {
                let (asks, constant) = of_query(*comparison, *constant)?;
                (Operand::Field(field(path, parsed, shapes)?), asks, constant)
            }
            Query::Expr(node) => {
                let (operand, comparison, constant) = of_expression(node, parsed, shapes)?;
                (operand, Asks::Order(comparison), constant)
            }
            _ => return None,
        };
        let known = self.operands.iter().position(|known| *known == operand);
        let number = known.unwrap_or_else(|| {
            self.operands.push(operand);
            self.operands.len() - 1
        });
        Some(Condition { constant, operand: u16::try_from(number).ok()?, asks, alternatives: 0 })
    }
}

fn of_query(comparison: Comparison, constant: Value<'_>) -> Option<(Asks, f64)> {
    match (comparison, constant) {
        (Comparison::Eq, Value::Bool(wanted)) => Some((Asks::Bool(wanted), 0.0)),
        (Comparison::Eq, Value::Null) => Some((Asks::Null, 0.0)),
        _ => Some((Asks::Number(comparison), finite(constant)?)),
    }
}

/// A comparison of a field, of the difference or of the distance of two fields with a number.
fn of_expression(node: &Node, parsed: &Parsed, shapes: &Shapes) -> Option<(Operand, Comparison, f64)> {
    let (name, [left, Node::Constant(Constant::Scalar(constant))]) = call(node)? else { return None };
    let comparison = match name {
        "$eq" => Comparison::Eq,
        "$gt" => Comparison::Gt,
        "$gte" => Comparison::Gte,
        "$lt" => Comparison::Lt,
        "$lte" => Comparison::Lte,
        _ => return None,
    };
    let of = |node: &Node| match node {
        Node::Path(names) => named(names, parsed, shapes),
        _ => None,
    };
    let difference = |node: &Node| match call(node)? {
        ("$subtract", [a, b]) => Some((of(a)?, of(b)?)),
        _ => None,
    };
    let operand = match (left, call(left)) {
        (_, Some(("$abs", [inner]))) => difference(inner).map(|(a, b)| Operand::Distance(a, b))?,
        (_, Some(_)) => difference(left).map(|(a, b)| Operand::Difference(a, b))?,
        (path, None) => Operand::Field(of(path)?),
    };
    Some((operand, comparison, finite(*constant)?))
}

fn call(node: &Node) -> Option<(&'static str, &[Node])> {
    match node {
        Node::Call(Call { operator, args, .. }) => Some((operator.name, args)),
        _ => None,
    }
}

fn field(path: &QueryPath, parsed: &Parsed, shapes: &Shapes) -> Option<Field> {
    let names: Vec<Name> = path.iter().map(|part| part.name).collect();
    named(&names, parsed, shapes)
}

/// The slots of a path of one or two names that are located.
fn named(names: &[Name], parsed: &Parsed, shapes: &Shapes) -> Option<Field> {
    let slot = |kind: u16, name: Name| {
        let slot = shapes.slot(usize::from(kind), &parsed.names[name as usize]);
        (slot != NONE).then_some(slot)
    };
    match *names {
        [first] => Some((slot(0, first)?, NONE)),
        [first, second] => {
            let first = slot(0, first)?;
            Some((first, slot(shapes.below(0, first)?, second)?))
        }
        _ => None,
    }
}
