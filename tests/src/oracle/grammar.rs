//! What is generated: the rows of the table that the language has, those that a run asks for first.

use boom_filter::{Problem, Program, Rules};
use bson::doc;

use super::json;
use super::operators::{Kind, Operator, operators};
use super::random::Random;
use super::{query, stages};

/// What pipelines are made of.
#[derive(Debug)]
pub struct Grammar {
    operators: Vec<Operator>,
    /// Places of the operators that are asked for.
    wanted: Vec<usize>,
    pub(crate) stages: Vec<&'static str>,
    pub(crate) query: Vec<&'static str>,
    /// What the tables have and the language has not.
    pub absent: Vec<&'static str>,
}

impl Grammar {
    /// Everything that the language has; `only` are operators, stages and query operators that are to be in most pipelines.
    pub fn new(only: &[String]) -> Self {
        let mut absent = Vec::new();
        let mut has = |name: &'static str, program: String| {
            let known = is_known(name, &program);
            if !known && !absent.contains(&name) {
                absent.push(name);
            }
            known
        };
        let rows = operators().into_iter();
        let operators: Vec<_> =
            rows.filter(|row| has(row.name, json::pipeline(&[doc! {"$project": {"r": {row.name: []}}}]))).collect();
        let query: Vec<_> = query::OPERATORS
            .into_iter()
            .filter(|name| has(name, json::pipeline(&[doc! {"$match": {"a": {*name: 1}}}])))
            .collect();
        let stages: Vec<_> =
            stages::STAGES.into_iter().filter(|name| has(name, json::pipeline(&[doc! {*name: 1}]))).collect();
        let asked = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
        let narrowed = |all: Vec<&'static str>| {
            let some: Vec<_> = all.iter().copied().filter(|name| asked(name)).collect();
            if some.is_empty() { all } else { some }
        };
        let wanted = if only.is_empty() {
            Vec::new()
        } else {
            (0..operators.len()).filter(|at| asked(operators[*at].name)).collect()
        };
        Self { wanted, operators, query: narrowed(query), stages: narrowed(stages), absent }
    }

    /// One of the operators that are asked for.
    pub(crate) fn wanted(&self, random: &mut Random) -> Option<&Operator> {
        (!self.wanted.is_empty()).then(|| &self.operators[*random.of(&self.wanted)])
    }

    /// One of the operators that give such a value.
    pub(crate) fn giving(&self, kind: Kind, random: &mut Random) -> Option<&Operator> {
        let gives = |row: &&Operator| match row.gives {
            Kind::Same => true,
            gives => {
                kind == Kind::Any
                    || gives == kind
                    || (gives == Kind::Int && kind == Kind::Number)
                    || (kind == Kind::Array
                        && matches!(gives, Kind::Numbers | Kind::Texts | Kind::Documents | Kind::Pairs))
            }
        };
        let all: Vec<&Operator> = self.operators.iter().filter(gives).collect();
        (!all.is_empty()).then(|| *random.of(&all))
    }
}

/// Whether the parser knows the name, whatever else it says of it.
fn is_known(name: &str, program: &str) -> bool {
    let unknown = |problem: &Problem| {
        problem.message.starts_with(&format!("`{name}` is no "))
            || problem.message.starts_with(&format!("`{name}` is not supported"))
    };
    Program::parse(program, Rules::None).err().is_none_or(|problems| !problems.iter().any(unknown))
}
