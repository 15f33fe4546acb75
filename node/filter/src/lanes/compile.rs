//! From the body of a loop to its lane form.

use super::{Binary, Body, Form, Number, Relation, Test, Unary};
use crate::expr::{Call, Constant, Node};
use crate::raw;
use crate::value::{Elements, Value};

/// A body with more parts than this takes the long way, so that a point never costs more than its steps say.
const MAX_PARTS: u64 = 1000;
/// `$in` with a longer list takes the long way.
const MAX_LIST: usize = 16;

impl Body {
    /// The lane form of a body over the variable in this slot; none when all of it would be opaque.
    pub(crate) fn of(body: &Node, slot: u32) -> Option<Body> {
        let mut compiler = Compiler { slot, parts: 1, known: false };
        let form = match compiler.number(body) {
            Number::Opaque => Form::Test(compiler.test(body)),
            number => Form::Number(number),
        };
        (compiler.known && compiler.parts <= MAX_PARTS).then_some(Body { form, cost: compiler.parts })
    }
}

struct Compiler {
    slot: u32,
    parts: u64,
    /// Whether anything of the point is looked at in lane form.
    known: bool,
}

impl Compiler {
    fn test(&mut self, node: &Node) -> Test {
        self.parts += 1;
        match node {
            Node::Call(call) => match (call.operator.name, &*call.args) {
                ("$and", args) => Test::All(args.iter().map(|arg| self.test(arg)).collect()),
                ("$or", args) => Test::Any(args.iter().map(|arg| self.test(arg)).collect()),
                ("$not", [arg]) => Test::Not(Box::new(self.test(arg))),
                ("$in", [wanted, Node::Constant(Constant::Bytes(raw::ARRAY, list))]) => self.among(wanted, list),
                (name, [a, b]) => match relation(name) {
                    Some(relation) => self.compare(relation, a, b),
                    None => Test::Opaque,
                },
                _ => Test::Opaque,
            },
            node => self.field(node).map_or(Test::Opaque, Test::Truth),
        }
    }

    fn among(&mut self, wanted: &Node, list: &[u8]) -> Test {
        let (mut items, mut tests) = (Elements::of(Value::RawArray(crate::value::UNSEEN, list)), Vec::new());
        while let Ok(Some(item)) = items.next() {
            let test = match (item, self.field(wanted)) {
                (Value::Double(x), Some(_)) if !x.is_nan() => self.equal(wanted, x, false),
                (Value::Int32(n), Some(_)) => self.equal(wanted, f64::from(n), true),
                (Value::Text(text), Some(field)) => packed(text).map_or(Test::Opaque, |text| Test::Text(field, text)),
                _ => Test::Opaque,
            };
            tests.push(test);
            if tests.len() > MAX_LIST {
                return Test::Opaque;
            }
        }
        Test::Any(tests.into())
    }

    fn equal(&mut self, field: &Node, x: f64, int: bool) -> Test {
        self.parts += 1;
        Test::Compare(Relation::Eq, self.number(field), Number::Constant(x, int))
    }

    fn compare(&mut self, relation: Relation, a: &Node, b: &Node) -> Test {
        if matches!(relation, Relation::Eq | Relation::Ne)
            && let Some(test) = self.same(a, b).or_else(|| self.same(b, a))
        {
            return if relation == Relation::Ne { Test::Not(Box::new(test)) } else { test };
        }
        match (self.number(a), self.number(b)) {
            (Number::Opaque, _) | (_, Number::Opaque) => Test::Opaque,
            (a, b) => Test::Compare(relation, a, b),
        }
    }

    /// A field that is a boolean or a short text.
    fn same(&mut self, field: &Node, constant: &Node) -> Option<Test> {
        let Node::Constant(constant) = constant else { return None };
        match constant {
            Constant::Scalar(Value::Bool(wanted)) => Some(Test::Is(self.field(field)?, *wanted)),
            Constant::Text(text) => Some(Test::Text(self.field(field)?, packed(text)?)),
            _ => None,
        }
    }

    /// The loop's variable and one name.
    fn field(&mut self, node: &Node) -> Option<u32> {
        match node {
            Node::Variable(slot, names) if *slot == self.slot && names.len() == 1 => {
                self.known = true;
                Some(names[0])
            }
            _ => None,
        }
    }

    fn number(&mut self, node: &Node) -> Number {
        self.parts += 1;
        match node {
            Node::Constant(Constant::Scalar(Value::Double(x))) => Number::Constant(*x, false),
            Node::Constant(Constant::Scalar(Value::Int32(n))) => Number::Constant(f64::from(*n), true),
            Node::Path(names) if !names.is_empty() => Number::Path(names.clone()),
            Node::Variable(slot, names) if *slot != self.slot && !self.is_inner(*slot) => {
                Number::Variable(*slot, names.clone())
            }
            Node::Variable(..) => self.field(node).map_or(Number::Opaque, Number::Field),
            Node::Call(call) => self.computed(call),
            _ => Number::Opaque,
        }
    }

    /// Variables that are bound within the body have slots behind the loop's own.
    fn is_inner(&self, slot: u32) -> bool {
        slot > self.slot
    }

    fn computed(&mut self, call: &Call) -> Number {
        match &*call.args {
            [a] => match unary(call.operator.name) {
                Some(unary) => match self.number(a) {
                    Number::Opaque => Number::Opaque,
                    a => Number::Unary(unary, Box::new(a)),
                },
                None => Number::Opaque,
            },
            [a, b] => {
                let wanted = (binary(call.operator.name), call.operator.name == "$ifNull");
                if wanted == (None, false) {
                    return Number::Opaque;
                }
                match (self.number(a), self.number(b)) {
                    (Number::Opaque, _) | (_, Number::Opaque) => Number::Opaque,
                    (a, b) => match wanted.0 {
                        Some(binary) => Number::Binary(binary, Box::new([a, b])),
                        None => Number::IfNull(Box::new([a, b])),
                    },
                }
            }
            _ => Number::Opaque,
        }
    }
}

fn relation(name: &str) -> Option<Relation> {
    Some(match name {
        "$eq" => Relation::Eq,
        "$ne" => Relation::Ne,
        "$gt" => Relation::Gt,
        "$gte" => Relation::Gte,
        "$lt" => Relation::Lt,
        "$lte" => Relation::Lte,
        _ => return None,
    })
}

fn unary(name: &str) -> Option<Unary> {
    Some(match name {
        "$abs" => Unary::Abs,
        "$sqrt" => Unary::Sqrt,
        "$ln" => Unary::Ln,
        "$log10" => Unary::Log10,
        "$exp" => Unary::Exp,
        "$floor" => Unary::Floor,
        "$ceil" => Unary::Ceil,
        _ => return None,
    })
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        "$add" => Binary::Add,
        "$subtract" => Binary::Subtract,
        "$multiply" => Binary::Multiply,
        "$divide" => Binary::Divide,
        "$pow" => Binary::Pow,
        _ => return None,
    })
}

/// A text of at most seven bytes in one word, its length in the last byte.
pub(super) fn packed(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() > 7 {
        return None;
    }
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    word[7] = bytes.len() as u8;
    Some(u64::from_le_bytes(word))
}
