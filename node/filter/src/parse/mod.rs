//! From JSON to a compiled program, or to all of its problems at once.
//!
//! Here: the parser's state, places, problems and names. `json` reads, `stages`, `query`, `projection` and `expression` compile, `fold` and `optimise` do what MongoDB's
//! optimiser does.

mod expression;
mod extension;
mod field;
mod fold;
pub(crate) mod json;
mod literal;
mod many;
mod optimise;
pub(crate) mod paths;
mod projection;
mod query;
mod query_order;
mod stages;
mod variables;

use std::collections::{BTreeMap, HashMap};

use crate::dialect::Dialect;
pub(crate) use query::{LOGICAL, OPERATORS as QUERY_OPERATORS};
pub(crate) use stages::STAGES;

use crate::eval::{Name, Place};
use crate::reads::Access;
use crate::stage::Stage;
use crate::texts::Texts;
use json::Json;

/// Longer pipelines are refused: what is written by a person is far shorter.
const MAX_JSON: usize = 1 << 20;
/// More regular expressions than this are refused: each may be large once compiled.
const MAX_PATTERNS: u32 = 100;
/// More problems than this are not listed.
const MAX_PROBLEMS: usize = 50;

/// One thing that is wrong with a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is in the JSON, such as `[2].$project.annotations.$round[1]`; empty for the pipeline as a whole.
    pub path: String,
    /// What was found there and what is allowed.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() { "pipeline" } else { &self.path };
        write!(f, "{path}: {}", self.message)
    }
}

/// What parsing gives: the stages with what their evaluation needs.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) stages: Vec<(Place, Stage)>,
    pub(crate) names: Vec<Box<str>>,
    pub(crate) places: Texts,
    pub(crate) variables: u32,
    /// How many calls there are: their numbers are below this.
    pub(crate) calls: u32,
    pub(crate) access: Access,
    /// The paths of the alert that are read.
    pub(crate) paths: paths::ReadPaths,
}

/// How a program is written. Nothing of it is needed to evaluate the program.
pub(crate) struct Source {
    /// The program's one way of being written: equal text, equal program.
    pub(crate) canonical: String,
    /// What the rules of a filter look at.
    pub(crate) stages: Vec<Json>,
}

/// Compiles a pipeline.
pub(crate) fn parse(text: &str, dialect: &Dialect) -> Result<(Parsed, Source), Vec<Problem>> {
    let whole = |message: String| vec![Problem { path: String::new(), message }];
    if text.len() > MAX_JSON {
        return Err(whole(format!("the pipeline has {} bytes, at most {MAX_JSON} are allowed", text.len())));
    }
    let json: Json = serde_json::from_str(text).map_err(|e| whole(format!("this is not JSON: {e}")))?;
    let mut parser = Parser { dialect: dialect.clone(), ..Parser::default() };
    let json = parser.resolve(json);
    let stages = parser.stages(&json);
    if !parser.problems.is_empty() {
        return Err(parser.problems);
    }
    let mut canonical = String::new();
    json.write(&mut canonical);
    for (name, digest) in &parser.maps {
        // No JSON: two maps of one name make two programs.
        canonical.push_str(&format!("\n{name} {digest}"));
    }
    let source = Source { canonical, stages: if let Json::Array(stages) = json { stages } else { Vec::new() } };
    Ok((parser.parsed(stages), source))
}

/// The state of parsing one pipeline.
#[derive(Default)]
pub(crate) struct Parser {
    path: String,
    problems: Vec<Problem>,
    names: Vec<Box<str>>,
    known: HashMap<String, Name>,
    places: Texts,
    /// Bound variables, innermost last; a variable's slot is its place here.
    scope: Vec<String>,
    variables: u32,
    calls: u32,
    patterns: u32,
    access: Access,
    dialect: Dialect,
    /// The sky maps that are named, each with the digest of its content.
    maps: BTreeMap<String, String>,
    noted: paths::Noted,
    /// Within the input of `$map` and its like: the documents of a series are looked into.
    iterated: bool,
    /// Behind a stage that may give several documents.
    many: bool,
    /// Within what is never evaluated: what always fails there is no problem.
    unreached: bool,
    /// Within an operator whose arguments MongoDB does not prepare: what always fails there fails on the alert.
    unprepared: bool,
    /// Within `$elemMatch`: paths begin in an element.
    in_element: bool,
}

impl Parser {
    /// What is kept of the parsing, in no more room than it takes.
    fn parsed(mut self, stages: Vec<(Place, Stage)>) -> Parsed {
        self.names.shrink_to_fit();
        self.places.shrink();
        self.access.shrink();
        Parsed {
            stages,
            names: self.names,
            places: self.places,
            variables: self.variables,
            calls: self.calls,
            access: self.access,
            paths: self.noted.list.shrunk(),
        }
    }

    /// Reports a problem at the current path.
    fn problem(&mut self, message: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { path: self.path.clone(), message: message.into() });
        }
    }

    /// Runs within `.key` of the current path.
    fn at_key<T>(&mut self, key: &str, f: impl FnOnce(&mut Parser) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        let result = f(self);
        self.path.truncate(length);
        result
    }

    /// Runs within `[index]` of the current path.
    fn at_index<T>(&mut self, index: usize, f: impl FnOnce(&mut Parser) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        let result = f(self);
        self.path.truncate(length);
        result
    }

    /// Counts a regular expression; false, with a problem, when there are too many.
    fn one_more_pattern(&mut self) -> bool {
        self.patterns += 1;
        if self.patterns == MAX_PATTERNS + 1 {
            self.problem(format!("a pipeline has at most {MAX_PATTERNS} regular expressions; join some of them by |"));
        }
        self.patterns <= MAX_PATTERNS
    }

    /// The next call's number.
    fn call_number(&mut self) -> u32 {
        self.calls += 1;
        self.calls - 1
    }

    /// The current path, for errors of the evaluation.
    fn place(&mut self) -> Place {
        match self.places.last() {
            Some((number, last)) if last == self.path => number,
            _ => self.places.push(&self.path),
        }
    }

    /// The number of a name.
    fn name(&mut self, name: &str) -> Name {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let number = self.names.len() as Name;
        self.names.push(name.into());
        self.known.insert(name.to_owned(), number);
        number
    }

    /// Resolves Extended JSON literals, and reports keys that are there twice.
    fn resolve(&mut self, json: Json) -> Json {
        match json {
            Json::Array(items) => {
                let items = items.into_iter().enumerate().map(|(at, item)| self.at_index(at, |p| p.resolve(item)));
                Json::Array(items.collect())
            }
            Json::Object(fields) => {
                let mut seen = std::collections::HashSet::new();
                for (key, _) in &fields {
                    if !seen.insert(key.as_str()) {
                        self.at_key(key, |p| p.problem("this key is there twice; MongoDB would take only one of them"));
                    }
                    if key.contains('\0') {
                        self.problem("a key must not contain a nought");
                    }
                }
                let fields = fields.into_iter().map(|(key, value)| {
                    let value = self.at_key(&key, |p| p.resolve(value));
                    (key, value)
                });
                let fields: Vec<_> = fields.collect();
                match json::literal(&fields) {
                    None => Json::Object(fields),
                    Some(Ok(literal)) => literal,
                    Some(Err(message)) => {
                        self.problem(message);
                        Json::Null
                    }
                }
            }
            other => other,
        }
    }
}

/// Says which names are allowed, and which of them is nearest to the one found.
pub(crate) fn suggestion<'n>(found: &str, allowed: impl Iterator<Item = &'n str>) -> String {
    let mut allowed: Vec<&str> = allowed.collect();
    allowed.sort_unstable();
    let near = allowed.iter().map(|name| (strsim::damerau_levenshtein(found, name), *name)).min();
    let near = near.filter(|(distance, name)| *distance <= (name.len() / 3).max(1));
    let near = near.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default();
    let listed = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    format!("{near} allowed are {listed}").replacen(
        " allowed",
        if near.is_empty() { "; allowed" } else { " allowed" },
        1,
    )
}
