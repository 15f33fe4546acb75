//! What the language has: stages and operators with the form of their arguments, from the tables that the parser itself uses.
//!
//! For editors, documents and tests. What a stage or an operator does stands in `docs.txt`, one line each.

mod schema;

pub use schema::json_schema;

use crate::expr::{Form, operators};
use crate::parse::{LOGICAL, QUERY_OPERATORS, STAGES};

/// All that can be written in a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    /// Stages of a pipeline.
    pub stages: Vec<Entry>,
    /// What stands beside paths in a query.
    pub clauses: Vec<Entry>,
    /// What stands below a path in a query.
    pub query_operators: Vec<Entry>,
    /// What stands in expressions.
    pub operators: Vec<Entry>,
}

/// A stage or an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, with the `$`.
    pub name: &'static str,
    /// What it does; empty where that is not told.
    pub doc: &'static str,
    /// How its arguments are written.
    pub arguments: Arguments,
}

/// How arguments are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arguments {
    /// Something of its own.
    Own,
    /// A list of at least and at most so many expressions; a single one may stand without its list.
    List(usize, usize),
    /// An object of these names, the first so many required.
    Named(Vec<&'static str>, usize),
    /// Either a list of so many, or an object of these names, all required.
    ListOrNamed(Vec<&'static str>),
    /// Any value, which is not evaluated.
    Literal,
}

impl std::fmt::Display for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = |names: &[&str], required: usize| {
            let marked = names.iter().enumerate();
            let marked: Vec<_> =
                marked.map(|(at, name)| format!("{name}{}", if at < required { "" } else { "?" })).collect();
            format!("{{{}}}", marked.join(", "))
        };
        match self {
            Self::Own => Ok(()),
            Self::List(1, 1) => f.write_str("x"),
            Self::List(min, usize::MAX) => write!(f, "[x, …] of at least {min}"),
            Self::List(min, max) if min == max => write!(f, "[x, …] of {min}"),
            Self::List(min, max) => write!(f, "[x, …] of {min} to {max}"),
            Self::Named(names, required) => f.write_str(&named(names, *required)),
            Self::ListOrNamed(names) => write!(f, "{} or [{}]", named(names, names.len()), names.join(", ")),
            Self::Literal => f.write_str("any value"),
        }
    }
}

/// What the language has, each list in alphabetical order.
pub fn language() -> Language {
    let own = |names: &[&'static str]| {
        let entries = names.iter().map(|name| Entry { name, doc: doc(name), arguments: Arguments::Own });
        sorted(entries.collect())
    };
    let expressions = operators().map(|operator| Entry {
        name: operator.name,
        doc: doc(operator.name),
        arguments: arguments(operator.form),
    });
    Language {
        stages: own(&STAGES),
        clauses: own(&LOGICAL),
        query_operators: own(&QUERY_OPERATORS),
        operators: sorted(expressions.collect()),
    }
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_unstable_by_key(|entry| entry.name);
    entries
}

fn arguments(form: Form) -> Arguments {
    let named = |names: &[&'static str], required| Arguments::Named(names.to_vec(), required);
    match form {
        Form::Args(min, max) => Arguments::List(min, max),
        Form::Associative | Form::Commutative => Arguments::List(0, usize::MAX),
        Form::Cond => Arguments::ListOrNamed(vec!["if", "then", "else"]),
        Form::Filter => named(&["input", "cond", "as", "limit"], 2),
        Form::Map => named(&["input", "in", "as"], 2),
        Form::Reduce => named(&["input", "initialValue", "in"], 3),
        Form::Let => named(&["vars", "in"], 2),
        Form::Switch => named(&["branches", "default"], 1),
        Form::SortArray => named(&["input", "sortBy"], 2),
        Form::Named(names, required) => named(names, required),
        // A date, or {date, timezone}; a field's name, or {field, input}.
        Form::Date | Form::Field(_) => Arguments::Own,
        Form::Zip => named(&["inputs", "useLongestLength", "defaults"], 1),
        Form::InMoc => named(&["moc", "ra", "dec"], 3),
        Form::Literal => Arguments::Literal,
    }
}

fn doc(name: &str) -> &'static str {
    let rows = include_str!("docs.txt").lines().filter_map(|row| row.split_once('|'));
    rows.map(|(of, doc)| (of.trim(), doc.trim())).find(|(of, _)| *of == name).map_or("", |(_, doc)| doc)
}
