//! Expressions: what they are once compiled, and the table of operators. One file per family holds what its operators do.
//!
//! Parsing is in `parse::expression`; an operator's row here says what arguments the parser gives it.

mod accumulate;
mod arithmetic;
mod array;
mod astronomy;
mod convert;
mod date;
mod date_math;
mod date_text;
mod field;
mod logic;
mod object;
mod pattern;
mod percentile;
pub(crate) mod pick;
mod quick;
mod search;
mod set;
mod sizes;
mod text;
mod trigonometry;
mod zip;

use crate::eval::{Cx, EvalError, Name, Out, Place};
use crate::lanes::Body;
use crate::moc::SkyMap;
use crate::raw;
use crate::value::{UNSEEN, Value};
use crate::zone::Zone;

pub(crate) use array::SortKey;
pub(crate) use object::set as set_field;
pub(crate) use quick::Quick;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Constant(Constant),
    /// A path into the stage's document; no names: the document itself.
    Path(Box<[Name]>),
    /// A path into a variable.
    Variable(u32, Box<[Name]>),
    /// `$$NOW`.
    Now,
    /// An argument that was not written.
    Absent,
    Array(Box<[Node]>),
    Object(Box<[(Box<str>, Node)]>),
    Call(Call),
}

/// A constant, owned by the program.
#[derive(Debug, Clone)]
pub(crate) enum Constant {
    Scalar(Value<'static>),
    Text(Box<str>),
    /// Type byte and BSON bytes of whatever is larger.
    Bytes(u8, Box<[u8]>),
}

impl Constant {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Constant::Scalar(value) => *value,
            Constant::Text(text) => Value::Text(text),
            Constant::Bytes(raw::DOCUMENT, bytes) => Value::RawDocument(UNSEEN, bytes),
            Constant::Bytes(raw::ARRAY, bytes) => Value::RawArray(UNSEEN, bytes),
            Constant::Bytes(kind, bytes) => Value::Other(*kind, bytes),
        }
    }
}

/// An operator with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operator: &'static Operator,
    /// The call's number in its program.
    pub(crate) number: u32,
    pub(crate) place: Place,
    pub(crate) args: Box<[Node]>,
    /// The first of the variables that the operator binds.
    pub(crate) slot: u32,
    pub(crate) extra: Extra,
}

/// What an operator has besides expressions, prepared when the program is parsed. Boxed, since most have none: small trees are fast trees.
#[derive(Debug, Clone)]
pub(crate) enum Extra {
    None,
    /// What `$sortArray` sorts by.
    Sort(Box<SortKey>),
    /// A constant regular expression; none for null.
    Pattern(Option<Box<regex::Regex>>),
    /// A constant time zone.
    Zone(Box<Zone>),
    /// Where `$boom.inMoc` looks.
    Map(SkyMap),
    /// The body of `$map` and `$filter` in lane form.
    Lanes(Box<Body>),
}

impl Extra {
    /// The body of a loop in lane form.
    pub(crate) fn body(&self) -> Option<&Body> {
        match self {
            Extra::Lanes(body) => Some(body),
            _ => None,
        }
    }
}

/// What an operator does.
type Apply = for<'a> fn(&mut Cx<'a, '_>, &'a Call) -> Out<'a>;
/// What an operator that gives a boolean does.
type Decide = for<'a> fn(&mut Cx<'a, '_>, &'a Call) -> Result<bool, EvalError>;
/// What prepares an operator whose arguments were parsed, or says what is wrong with them.
type Prepare = fn(&[Node]) -> Result<Extra, String>;

/// One row of the table of operators.
pub(crate) struct Operator {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) apply: Apply,
    /// The same as `apply`, for an operator that always gives a boolean.
    pub(crate) decide: Option<Decide>,
    /// The operator on doubles alone.
    pub(crate) double: Option<quick::Double>,
    /// What looks at the arguments when the program is parsed.
    pub(crate) prepare: Option<Prepare>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// How an operator's arguments are written in JSON, and in which order the operator gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A list of at least and at most so many; a single one may stand without its list.
    Args(usize, usize),
    /// Any number of arguments, which may be grouped at will: constants beside each other are folded into one.
    Associative,
    /// As `Associative`, and the order of the arguments does not matter either.
    Commutative,
    /// `$cond`: `[if, then, else]` as a list or by name.
    Cond,
    /// `$filter`: `[input, cond, limit?]`.
    Filter,
    /// `$map`: `[input, in]`.
    Map,
    /// `$reduce`: `[input, initialValue, in]`; binds this and value.
    Reduce,
    /// `$let`: `[vars…, in]`.
    Let,
    /// `$switch`: `[case, then, …, default?]`.
    Switch,
    /// `$sortArray`: `[input]`.
    SortArray,
    /// An object of these names, the first so many required: the operator gets them in this order, [`Node::Absent`] for what is not there.
    Named(&'static [&'static str], usize),
    /// A date, alone or as `{date, timezone}`: `[date, timezone]`.
    Date,
    /// `$getField` and its like, with their named arguments: `[input, name, value?]`.
    Field(&'static [&'static str]),
    /// `$zip`: `[longest, input…, default…]`.
    Zip,
    /// `$boom.inMoc`: `[map, ra, dec]`, the map as its name and the digest of its content.
    InMoc,
    /// `$literal`: nothing is evaluated.
    Literal,
}

const MANY: usize = usize::MAX;

/// A row whose arguments are a list.
const fn row(name: &'static str, min: usize, max: usize, apply: Apply) -> Operator {
    shaped(name, Form::Args(min, max), apply)
}

/// A row whose arguments have a form of their own.
const fn shaped(name: &'static str, form: Form, apply: Apply) -> Operator {
    Operator { name, form, apply, decide: None, double: None, prepare: None }
}

/// A row of an operator that always gives a boolean.
const fn deciding(name: &'static str, min: usize, max: usize, decide: Decide) -> Operator {
    let apply: Apply = |cx, call| match call.operator.decide {
        Some(decide) => decide(cx, call).map(Value::Bool),
        None => Ok(Value::Missing),
    };
    Operator { name, form: Form::Args(min, max), apply, decide: Some(decide), double: None, prepare: None }
}

impl Operator {
    /// Adds what the operator does to doubles alone.
    const fn on_doubles(mut self, double: quick::Double) -> Operator {
        self.double = Some(double);
        self
    }

    /// Adds what looks at the arguments when the program is parsed.
    const fn prepared(mut self, prepare: Prepare) -> Operator {
        self.prepare = Some(prepare);
        self
    }

    /// Adds the same as `apply` that gives a boolean.
    const fn deciding(mut self, decide: Decide) -> Operator {
        self.decide = Some(decide);
        self
    }
}

static FAMILIES: &[&[Operator]] = &[
    accumulate::OPERATORS,
    arithmetic::OPERATORS,
    array::OPERATORS,
    astronomy::OPERATORS,
    convert::OPERATORS,
    date::OPERATORS,
    date_math::OPERATORS,
    date_text::OPERATORS,
    field::OPERATORS,
    logic::OPERATORS,
    object::OPERATORS,
    pattern::OPERATORS,
    percentile::OPERATORS,
    pick::OPERATORS,
    search::OPERATORS,
    set::OPERATORS,
    sizes::OPERATORS,
    text::OPERATORS,
    trigonometry::OPERATORS,
    zip::OPERATORS,
];

/// All operators.
pub(crate) fn operators() -> impl Iterator<Item = &'static Operator> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// The operator of that name, with its `$`.
pub(crate) fn operator(name: &str) -> Option<&'static Operator> {
    operators().find(|operator| operator.name == name)
}

impl Node {
    /// Evaluates the expression. The nesting of programs is bounded when they are parsed.
    pub(crate) fn eval<'a>(&'a self, cx: &mut Cx<'a, '_>) -> Out<'a> {
        cx.charge(1)?;
        match self {
            Node::Constant(constant) => Ok(constant.value()),
            Node::Path(names) => {
                let document = cx.document;
                walk(cx, document, names)
            }
            Node::Variable(slot, names) => {
                let value = cx.variables[*slot as usize];
                walk(cx, value, names)
            }
            Node::Call(call) => call.eval(cx),
            Node::Array(nodes) => {
                let items = nodes.iter().map(|node| node.eval(cx)).collect::<Result<Vec<_>, _>>()?;
                cx.array(items)
            }
            Node::Object(fields) => {
                let mut all = Vec::with_capacity(fields.len());
                for (name, node) in fields {
                    all.push((&**name, node.eval(cx)?));
                }
                cx.object_of_places(&all)
            }
            Node::Absent => Ok(Value::Missing),
            Node::Now => Ok(Value::Date(cx.now)),
        }
    }
}

impl Node {
    /// Whether the expression is true: as [`Node::eval`], without making a value of every boolean.
    pub(crate) fn is_true<'a>(&'a self, cx: &mut Cx<'a, '_>) -> Result<bool, EvalError> {
        if let Node::Call(call) = self
            && let Some(decide) = call.operator.decide
        {
            cx.charge(1)?;
            if let Some(slot) = cx.slot(call) {
                return Ok(cx.remembered(slot, call.place, |cx| decide(cx, call).map(Value::Bool))?.is_true());
            }
            let holds = decide(cx, call);
            cx.place = call.place;
            return holds;
        }
        Ok(self.eval(cx)?.is_true())
    }
}

/// Follows a path as expressions do: through documents by name, through the documents of an array one by one.
fn walk<'a>(cx: &mut Cx<'a, '_>, mut value: Value<'a>, names: &'a [Name]) -> Out<'a> {
    for (at, name) in names.iter().enumerate() {
        if value.is_array() {
            let (mut items, mut found) = (cx.items(value), Vec::new());
            while let Some(item) = cx.next(&mut items)? {
                if item.is_document() {
                    let inner = walk(cx, item, &names[at..])?;
                    if !inner.is_missing() {
                        found.push(inner);
                    }
                }
            }
            return cx.array(found);
        }
        value = cx.field(value, *name)?;
        if value.is_missing() {
            return Ok(value);
        }
    }
    Ok(value)
}

impl Node {
    /// The call of this operator that the expression is.
    fn call(&self, operator: &str) -> Option<&Call> {
        match self {
            Node::Call(call) if call.operator.name == operator => Some(call),
            _ => None,
        }
    }
}

impl Call {
    /// Evaluates the call, unless what it gives is remembered.
    fn eval<'a>(&'a self, cx: &mut Cx<'a, '_>) -> Out<'a> {
        if let Some(slot) = cx.slot(self) {
            return cx.remembered(slot, self.place, |cx| (self.operator.apply)(cx, self));
        }
        let value = (self.operator.apply)(cx, self);
        // Behind a call the evaluation is at this call, whether its parts were evaluated or remembered.
        cx.place = self.place;
        value
    }

    /// Evaluates one argument; missing when it was not given.
    fn arg<'a>(&'a self, cx: &mut Cx<'a, '_>, at: usize) -> Out<'a> {
        self.args.get(at).map_or(Ok(Value::Missing), |node| node.eval(cx))
    }

    /// Whether the argument was written.
    fn given(&self, at: usize) -> bool {
        self.args.get(at).is_some_and(|node| !matches!(node, Node::Absent))
    }

    /// An error of this operator.
    fn refuse<'a>(&self, cx: &Cx<'_, '_>, message: impl std::fmt::Display) -> Out<'a> {
        Err(self.error(cx, message))
    }

    fn error(&self, cx: &Cx<'_, '_>, message: impl std::fmt::Display) -> EvalError {
        cx.refuse(self.place, format!("`{}` {message}", self.operator.name))
    }

    /// The elements of all arguments, which are arrays, one behind the other; `None` where an argument is null or missing.
    fn gather<'a>(&'a self, cx: &mut Cx<'a, '_>) -> Result<Option<Vec<Value<'a>>>, EvalError> {
        let mut all = Vec::new();
        for arg in &self.args {
            let array = arg.eval(cx)?;
            if array.is_nullish() {
                return Ok(None);
            }
            if !array.is_array() {
                return self.no_array(cx, array).map(|_| None);
            }
            all.extend(cx.elements(array)?);
        }
        cx.place = self.place;
        Ok(Some(all))
    }

    /// An error: an argument is no array.
    fn no_array<'a>(&self, cx: &Cx<'_, '_>, value: Value<'_>) -> Out<'a> {
        self.refuse(cx, format_args!("works on an array, not on {}", value.shown()))
    }
}
