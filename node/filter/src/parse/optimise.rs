//! The order in which MongoDB really runs the stages and clauses of a pipeline, which decides between an error and a rejection.
//!
//! As its optimiser does: a `$match` moves ahead of the stages that pass on unchanged what it looks at (under the name that it has there),
//! in part where only some of its clauses can; `$skip` and `$limit` move ahead of what is computed document by document; an `$expr` is
//! preceded by what follows from it for single fields. The rules, and their gaps, are those of mongod 6.0.

use super::Parser;
use super::query_order::{all, flattened, never};
use crate::eval::{Name, Place};
use crate::expr::{Call, Constant, Extra, Form, Node};
use crate::lanes::Body;
use crate::many::Many;
use crate::project::{Gaps, Mode, Projection, Step};
use crate::query::{Comparison, Part, Query, Test, finite};
use crate::raw;
use crate::stage::Stage;
use crate::value::Value;

type Path = Vec<Name>;

/// Which paths a stage changes.
enum Changes {
    /// These, or paths within or around them.
    Only(Vec<Path>),
    /// All but these.
    AllBut(Vec<Path>),
}

/// What a stage does to the paths of a document: changes, and new names for old paths.
struct Effect {
    changes: Changes,
    renames: Vec<(Path, Path)>,
}

impl Parser {
    /// The stages in the order in which they are run, with `$match` stages joined that follow each other.
    pub(super) fn optimised(&mut self, mut stages: Vec<(Place, Stage)>) -> Vec<(Place, Stage)> {
        let mut at = 0;
        while at + 1 < stages.len() {
            let (first, second) = (&stages[at].1, &stages[at + 1].1);
            let swaps = matches!(first, Stage::Project(..) | Stage::Replace(..))
                && matches!(second, Stage::Pass | Stage::Skip | Stage::Many(Many::Limit(_) | Many::Skip(_)));
            let sorts = |stage: &Stage| matches!(stage, Stage::Many(Many::Sort(_)));
            let moved = match second {
                // The later of two orders stands.
                second if sorts(first) && sorts(second) => {
                    stages.remove(at);
                    true
                }
                _ if swaps => {
                    stages.swap(at, at + 1);
                    true
                }
                Stage::Match(_) => self.advance(&mut stages, at),
                _ => false,
            };
            at = if moved { at.saturating_sub(1) } else { at + 1 };
        }
        // One document by one key has nothing to be sorted; by several keys it may meet arrays that stand beside each other.
        let makes_several = |stage: &Stage| matches!(stage, Stage::Many(Many::Unwind(_) | Many::Group(_)));
        let mut several = false;
        stages.retain(|(_, stage)| {
            several |= makes_several(stage);
            several || !matches!(stage, Stage::Many(Many::Sort(by)) if by.keys.len() < 2)
        });
        for (_, stage) in &mut stages {
            if let Stage::Match(query) = stage {
                *query = flattened(std::mem::replace(query, Query::All(Vec::new())));
            }
        }
        if let Some((_, Stage::Match(query))) = stages.first_mut() {
            self.order(query);
        }
        // Whether the document is still made of bytes that no stage has changed.
        let mut unchanged = true;
        for (_, stage) in &mut stages {
            match stage {
                Stage::Match(query) => cheap_first(query),
                Stage::Project(Mode::Include, projection) if !projection.computes => {
                    projection.gaps = if unchanged { Gaps::None } else { Gaps::LeftByComputed };
                }
                Stage::Project(Mode::Add, projection) if projection.order.is_empty() => {}
                Stage::Project(Mode::Exclude, _)
                | Stage::Pass
                | Stage::Skip
                | Stage::Many(Many::Sort(_) | Many::Limit(_) | Many::Skip(_)) => {}
                _ => unchanged = false,
            }
        }
        stages
    }

    /// Moves the `$match` behind a stage ahead of it, as far as that is allowed; whether anything moved.
    fn advance(&mut self, stages: &mut Vec<(Place, Stage)>, at: usize) -> bool {
        if let Stage::Match(first) = &mut stages[at].1 {
            let first = std::mem::replace(first, Query::All(Vec::new()));
            if let (_, Stage::Match(second)) = stages.remove(at + 1) {
                stages[at].1 = Stage::Match(joined([first, second]));
            }
            return true;
        }
        let grouped = matches!(stages[at].1, Stage::Many(Many::Group(_)));
        let Some(effect) = self.effect(&stages[at].1) else { return false };
        let (place, Stage::Match(query)) = stages.remove(at + 1) else { return false };
        let changed = match effect.changes {
            Changes::Only(paths) => paths,
            Changes::AllBut(mut kept) => {
                kept.extend(effect.renames.iter().map(|(new, _)| new.clone()));
                let is_kept = |path: &Path| kept.iter().any(|kept| path.starts_with(kept));
                reads_of(&query).0.into_iter().filter(|path| !is_kept(path)).collect()
            }
        };
        let (ahead, behind) =
            split(query, &|query| (!grouped || !asks_existence(query)) && is_independent(query, &changed));
        if let Some(behind) = behind {
            stages.insert(at + 1, (place, Stage::Match(behind)));
        }
        let Some(mut ahead) = ahead else { return false };
        self.rename_query(&mut ahead, &effect.renames);
        stages.insert(at, (place, Stage::Match(ahead)));
        true
    }

    /// What a stage does to paths; none where no `$match` moves ahead of it.
    fn effect(&mut self, stage: &Stage) -> Option<Effect> {
        let mut effect = Effect { changes: Changes::Only(Vec::new()), renames: Vec::new() };
        let mut paths = Vec::new();
        effect.changes = match stage {
            Stage::Many(Many::Sort(_)) => Changes::Only(paths),
            Stage::Many(Many::Unwind(unwind)) => {
                paths.push(unwind.path.to_vec());
                paths.extend(unwind.index.iter().map(|index| index.to_vec()));
                Changes::Only(paths)
            }
            Stage::Many(Many::Group(group)) if group.keyed => {
                let id = self.name("_id");
                self.computed(&group.id, vec![id], &mut Vec::new(), &mut effect.renames);
                Changes::AllBut(paths)
            }
            Stage::Project(Mode::Include, projection) => {
                self.projected(projection, &[], &mut paths, (&mut Vec::new(), &mut effect.renames));
                Changes::AllBut(paths)
            }
            Stage::Project(Mode::Exclude, projection) => {
                self.projected(projection, &[], &mut paths, (&mut Vec::new(), &mut effect.renames));
                Changes::Only(paths)
            }
            Stage::Project(Mode::Add, projection) => {
                self.projected(projection, &[], &mut Vec::new(), (&mut paths, &mut effect.renames));
                Changes::Only(paths)
            }
            _ => return None,
        };
        Some(effect)
    }

    /// Collects the named, the computed and the renamed paths of a projection.
    fn projected(
        &mut self,
        projection: &Projection,
        prefix: &[Name],
        named: &mut Vec<Path>,
        (computed, renames): (&mut Vec<Path>, &mut Vec<(Path, Path)>),
    ) {
        let below = |name: &Name| -> Path { prefix.iter().copied().chain([*name]).collect() };
        named.extend(projection.leaves.iter().map(below));
        for (name, child) in &projection.children {
            self.projected(child, &below(name), named, (computed, renames));
        }
        for step in &projection.order {
            if let Step::Compute(name, node) = step {
                self.computed(node, below(name), computed, renames);
            }
        }
    }

    /// A field path of one name only gives that field a new name; so do the fields of a document that is built, and of a `$map`'s.
    fn computed(&mut self, node: &Node, path: Path, computed: &mut Vec<Path>, renames: &mut Vec<(Path, Path)>) {
        match node {
            Node::Path(names) if names.len() == 1 => renames.push((path, names.to_vec())),
            Node::Object(fields) => {
                for (name, node) in fields {
                    let name = self.name(name);
                    let path = path.iter().copied().chain([name]).collect();
                    self.computed(node, path, computed, renames);
                }
            }
            Node::Call(Call { operator, args, slot, .. }) if operator.form == Form::Map => {
                let (Some(Node::Path(input)), Some(body)) = (args.first(), args.get(1)) else {
                    return computed.push(path);
                };
                let Node::Object(fields) = body else { return computed.push(path) };
                if input.len() != 1 {
                    return computed.push(path);
                }
                for (name, node) in fields {
                    let new = path.iter().copied().chain([self.name(name)]).collect();
                    match node {
                        Node::Variable(variable, names) if variable == slot && names.len() == 1 => {
                            renames.push((new, vec![input[0], names[0]]));
                        }
                        _ => computed.push(new),
                    }
                }
            }
            _ => computed.push(path),
        }
    }

    fn rename_query(&mut self, query: &mut Query, renames: &[(Path, Path)]) {
        if renames.is_empty() {
            return;
        }
        match query {
            Query::All(queries) | Query::Any(queries) => {
                queries.iter_mut().for_each(|query| self.rename_query(query, renames));
            }
            Query::Not(query) => self.rename_query(query, renames),
            Query::Expr(node) => rename_node(node, renames),
            Query::Hint(path, ..) => rename_path(path, renames),
            Query::Field(path, _) => {
                let mut names: Box<[Name]> = path.iter().map(|part| part.name).collect();
                rename_path(&mut names, renames);
                let part = |name: &Name| {
                    let text = &*self.names[*name as usize];
                    Part { name: *name, index: text.parse().ok().filter(|n: &u32| n.to_string() == text) }
                };
                *path = names.iter().map(part).collect();
            }
        }
    }
}

/// The clauses of both; an `$expr` that has hints is a list within the list, and goes behind the others.
fn joined(queries: [Query; 2]) -> Query {
    let (mut joined, mut run) = (Vec::new(), Vec::new());
    for query in queries {
        let clauses = if let Query::All(clauses) = query { clauses } else { vec![query] };
        for clause in clauses {
            match clause {
                Query::Hint(..) => run.push(clause),
                Query::Expr(_) if !run.is_empty() => {
                    run.push(clause);
                    joined.push(Query::All(std::mem::take(&mut run)));
                }
                clause => {
                    joined.append(&mut run);
                    joined.push(clause);
                }
            }
        }
        joined.append(&mut run);
    }
    all(joined)
}

fn rename_path(path: &mut Box<[Name]>, renames: &[(Path, Path)]) {
    if let Some((new, old)) = renames.iter().find(|(new, _)| path.starts_with(new)) {
        *path = old.iter().chain(&path[new.len()..]).copied().collect();
    }
}

fn rename_node(node: &mut Node, renames: &[(Path, Path)]) {
    match node {
        Node::Path(path) => rename_path(path, renames),
        Node::Array(nodes) => nodes.iter_mut().for_each(|node| rename_node(node, renames)),
        Node::Object(fields) => fields.iter_mut().for_each(|(_, node)| rename_node(node, renames)),
        Node::Call(call) => {
            call.args.iter_mut().for_each(|node| rename_node(node, renames));
            // The lane form holds the paths of the body.
            if matches!(call.extra, Extra::Lanes(_)) {
                let body = call.args.get(1).and_then(|body| Body::of(body, call.slot));
                call.extra = body.map_or(Extra::None, |body| Extra::Lanes(Box::new(body)));
            }
        }
        _ => {}
    }
}

/// The paths that a query looks at, and whether it looks at the whole document.
fn reads_of(query: &Query) -> (Vec<Path>, bool) {
    let mut reads = (Vec::new(), false);
    query_reads(query, &mut reads);
    reads
}

fn query_reads(query: &Query, reads: &mut (Vec<Path>, bool)) {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().for_each(|query| query_reads(query, reads)),
        Query::Not(query) => query_reads(query, reads),
        // What is behind an index may be in any element, or under that name.
        Query::Field(path, _) => {
            let first = path.iter().take(1);
            let names = path.iter().skip(1).take_while(|part| part.index.is_none());
            reads.0.push(first.chain(names).map(|part| part.name).collect());
        }
        Query::Hint(path, ..) => reads.0.push(path.to_vec()),
        Query::Expr(node) => node_reads(node, reads),
    }
}

fn node_reads(node: &Node, reads: &mut (Vec<Path>, bool)) {
    match node {
        Node::Path(path) if path.is_empty() => reads.1 = true,
        Node::Path(path) => reads.0.push(path.to_vec()),
        Node::Array(nodes) => nodes.iter().for_each(|node| node_reads(node, reads)),
        Node::Object(fields) => fields.iter().for_each(|(_, node)| node_reads(node, reads)),
        Node::Call(call) => call.args.iter().for_each(|node| node_reads(node, reads)),
        _ => {}
    }
}

/// Whether a query looks at nothing that is changed. MongoDB does not ask it of conditions on an array as such.
fn is_independent(query: &Query, changed: &[Path]) -> bool {
    let (paths, whole) = reads_of(query);
    let touches = |path: &Path| changed.iter().any(|other| path.starts_with(other) || other.starts_with(path));
    !whole && is_movable(query) && !paths.iter().any(touches)
}

fn is_movable(query: &Query) -> bool {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().all(is_movable),
        Query::Not(query) => is_movable(query),
        Query::Field(_, test) => !test.of_whole_arrays() && !never(query),
        Query::Expr(_) | Query::Hint(..) => true,
    }
}

fn asks_existence(query: &Query) -> bool {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().any(asks_existence),
        Query::Not(query) => asks_existence(query),
        Query::Field(_, test) => matches!(test, Test::Exists),
        Query::Expr(_) | Query::Hint(..) => false,
    }
}

/// The part of a query that may move, and the part that stays.
fn split(query: Query, may_move: &impl Fn(&Query) -> bool) -> (Option<Query>, Option<Query>) {
    if may_move(&query) {
        return (Some(query), None);
    }
    let some = |mut queries: Vec<Query>, joined: fn(Vec<Query>) -> Query| match queries.len() {
        0 => None,
        1 => queries.pop(),
        _ => Some(joined(queries)),
    };
    match query {
        Query::All(queries) => {
            let (mut ahead, mut behind) = (Vec::new(), Vec::new());
            for query in queries {
                let (first, second) = split(query, may_move);
                ahead.extend(first);
                behind.extend(second);
            }
            (some(ahead, Query::All), some(behind, Query::All))
        }
        Query::Not(inner) => match *inner {
            // Neither of them is the one not, and the other not.
            Query::Any(queries) => {
                let (ahead, behind): (Vec<_>, Vec<_>) = queries.into_iter().partition(may_move);
                let not = |query: Query| Query::Not(Box::new(query));
                (some(ahead, Query::Any).map(not), some(behind, Query::Any).map(not))
            }
            other => (None, Some(Query::Not(Box::new(other)))),
        },
        other => (None, Some(other)),
    }
}

/// What follows from an expression for single fields, to be asked before it; none where nothing does.
pub(super) fn hint(node: &Node) -> Option<Query> {
    let Node::Call(call) = node else { return None };
    let comparison = match call.operator.name {
        "$and" => {
            let mut hints: Vec<Query> = call.args.iter().filter_map(hint).collect();
            return if hints.len() > 1 { Some(Query::All(hints)) } else { hints.pop() };
        }
        "$or" => {
            let hints: Option<Vec<Query>> = call.args.iter().map(hint).collect();
            let mut hints = hints?;
            return if hints.len() > 1 { Some(Query::Any(hints)) } else { hints.pop() };
        }
        "$eq" => Comparison::Eq,
        "$gt" => Comparison::Gt,
        "$gte" => Comparison::Gte,
        "$lt" => Comparison::Lt,
        "$lte" => Comparison::Lte,
        _ => return None,
    };
    let (path, comparison, constant) = match &*call.args {
        [Node::Path(path), Node::Constant(constant)] => (path, comparison, constant),
        [Node::Constant(constant), Node::Path(path)] => {
            let mirrored = match comparison {
                Comparison::Gt => Comparison::Lt,
                Comparison::Gte => Comparison::Lte,
                Comparison::Lt => Comparison::Gt,
                Comparison::Lte => Comparison::Gte,
                Comparison::Eq => Comparison::Eq,
            };
            (path, mirrored, constant)
        }
        _ => return None,
    };
    let plain = match constant {
        Constant::Scalar(value) => !matches!(value, Value::Missing | Value::Undefined),
        Constant::Text(_) => true,
        Constant::Bytes(kind, _) => *kind == raw::DOCUMENT,
    };
    (plain && !path.is_empty()).then(|| Query::Hint(path.clone(), comparison, constant.clone()))
}

/// Drops what follows from an expression that stands beside it: where MongoDB asks it behind the expression, it changes no answer.
pub(super) fn drop_implied(queries: &mut Vec<Query>) {
    let mut implied: Vec<(Box<[Name]>, Comparison)> = Vec::new();
    for query in &*queries {
        let Query::Expr(node) = query else { continue };
        let hints = match hint(node) {
            Some(Query::All(hints)) => hints,
            hint => hint.into_iter().collect(),
        };
        implied.extend(hints.into_iter().filter_map(|hint| match hint {
            Query::Hint(path, comparison, _) => Some((path, comparison)),
            _ => None,
        }));
    }
    queries.retain(|query| match query {
        Query::Hint(path, comparison, _) => !implied.iter().any(|(p, c)| p == path && c == comparison),
        _ => true,
    });
}

/// Puts cheap clauses first among those that stand together and cannot fail: among them the order changes no answer.
fn cheap_first(query: &mut Query) {
    match query {
        Query::All(clauses) | Query::Any(clauses) => {
            clauses.iter_mut().for_each(cheap_first);
            clauses.chunk_by_mut(|a, b| !can_fail(a) && !can_fail(b)).for_each(|safe| safe.sort_by_key(cost));
        }
        Query::Not(inner) => cheap_first(inner),
        Query::Field(..) | Query::Expr(_) | Query::Hint(..) => {}
    }
}

/// An expression may refuse its operands; all else of a query only says yes or no.
fn can_fail(query: &Query) -> bool {
    match query {
        Query::All(clauses) | Query::Any(clauses) => clauses.iter().any(can_fail),
        Query::Not(inner) => can_fail(inner),
        Query::Expr(_) => true,
        Query::Field(..) | Query::Hint(..) => false,
    }
}

fn cost(query: &Query) -> usize {
    match query {
        Query::All(clauses) | Query::Any(clauses) => 3 + clauses.iter().map(cost).sum::<usize>(),
        Query::Not(inner) => 1 + cost(inner),
        Query::Field(_, Test::Compare(_, Constant::Scalar(constant))) if finite(*constant).is_some() => 0,
        Query::Field(_, Test::Compare(..) | Test::Exists | Test::Type(_)) | Query::Hint(..) => 1,
        Query::Field(..) | Query::Expr(_) => 3,
    }
}
