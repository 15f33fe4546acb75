//! The order in which MongoDB tries the clauses of a query, which decides between an error and a rejection.

use std::cmp::Ordering;

use super::{Parser, optimise};
use crate::query::{Comparison, Query, Test};

impl Parser {
    /// In the leading `$match` MongoDB tries clauses by their kind, then by their path, then by what is within them (in later ones as
    /// they are written): which of them comes first decides between an error and a rejection.
    pub(super) fn order(&self, query: &mut Query) {
        match query {
            Query::All(queries) | Query::Any(queries) => {
                queries.iter_mut().for_each(|query| self.order(query));
                optimise::drop_implied(queries);
                queries.sort_by(|a, b| self.precedence(a, b));
            }
            Query::Not(inner) => self.order(inner),
            Query::Field(..) | Query::Expr(_) | Query::Hint(..) => {}
        }
    }

    fn precedence(&self, a: &Query, b: &Query) -> Ordering {
        let path = |query: &Query| match query {
            Query::Field(path, _) => {
                path.iter().map(|part| &*self.names[part.name as usize]).collect::<Vec<_>>().join(".")
            }
            _ => String::new(),
        };
        let order = rank(a).cmp(&rank(b)).then_with(|| path(a).cmp(&path(b)));
        let (left, right) = (parts(a), parts(b));
        let within = || left.iter().zip(right).map(|(a, b)| self.precedence(a, b)).find(|order| order.is_ne());
        order.then_with(|| within().unwrap_or_else(|| left.len().cmp(&right.len())))
    }
}

/// All of them, as they are written.
pub(super) fn all(mut queries: Vec<Query>) -> Query {
    if queries.len() == 1 { queries.remove(0) } else { Query::All(queries) }
}

/// One of them, as they are written.
pub(super) fn any(mut queries: Vec<Query>) -> Query {
    if queries.len() == 1 { queries.remove(0) } else { Query::Any(queries) }
}

/// The query without lists in lists of their kind, which MongoDB takes apart at the end of the outer list; of what never matches nothing
/// else is tried. It does so when all stages are where they stay.
pub(super) fn flattened(query: Query) -> Query {
    match query {
        Query::All(queries) => {
            let mut flat = spread(queries, |query| match query {
                Query::All(inner) => Ok(inner),
                other => Err(other),
            });
            match flat.iter().position(never) {
                Some(never) => flat.swap_remove(never),
                None => all(flat),
            }
        }
        Query::Any(queries) => {
            let mut flat = spread(queries, |query| match query {
                Query::Any(inner) => Ok(inner),
                other => Err(other),
            });
            if flat.iter().any(|query| !never(query)) {
                flat.retain(|query| !never(query));
            }
            any(flat)
        }
        Query::Not(inner) => Query::Not(Box::new(flattened(*inner))),
        other => other,
    }
}

/// The queries, flattened, and behind them what is in those that are lists.
fn spread(queries: Vec<Query>, inside: impl Fn(Query) -> Result<Vec<Query>, Query>) -> Vec<Query> {
    let (mut flat, mut last) = (Vec::new(), Vec::new());
    for query in queries {
        match inside(flattened(query)) {
            Ok(inner) => last.extend(inner),
            Err(other) => flat.push(other),
        }
    }
    flat.extend(last);
    flat
}

/// Whether a query matches nothing: `$all` of an empty list, which is of no type.
pub(super) fn never(query: &Query) -> bool {
    matches!(query, Query::Field(_, Test::Type(types)) if types.is_empty())
}

/// The queries within a query.
fn parts(query: &Query) -> &[Query] {
    match query {
        Query::All(queries) | Query::Any(queries) => queries,
        Query::Not(inner) => std::slice::from_ref(&**inner),
        Query::Field(..) | Query::Expr(_) | Query::Hint(..) => &[],
    }
}

fn rank(query: &Query) -> u8 {
    match query {
        Query::All(_) => 0,
        Query::Any(_) => 1,
        query if never(query) => 32,
        Query::Field(_, test) => match test {
            Test::AnyDocument(_) => 2,
            Test::AnyElement(_) => 3,
            Test::Size(_) => 4,
            Test::Compare(Comparison::Eq, _) => 5,
            Test::Compare(Comparison::Lte, _) => 6,
            Test::Compare(Comparison::Lt, _) => 7,
            Test::Compare(Comparison::Gt, _) => 8,
            Test::Compare(Comparison::Gte, _) => 9,
            Test::Regex(_) => 10,
            Test::Mod(..) => 11,
            Test::Bits(bits) => bits.rank(),
            Test::Exists => 12,
            Test::In(..) => 13,
            Test::Type(_) => 20,
        },
        // A `$nor` of one query is a `$not`.
        Query::Not(inner) if !matches!(**inner, Query::Any(_)) => 18,
        Query::Not(_) => 19,
        Query::Expr(_) => 30,
        Query::Hint(..) => 31,
    }
}
