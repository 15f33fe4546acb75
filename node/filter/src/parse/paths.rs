//! Which paths of the alert a program reads, each with its place in the JSON: what a check against a survey's documents looks at.
//!
//! What stages have made is not of the alert. A variable over a series of the alert stands for its points, as far as its input says so.

use super::Parser;
use super::json::Json;
use crate::texts::Texts;

/// A path of the alert that a program reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPath {
    /// Where it is read, such as `[0].$match.candidate.drb`.
    pub place: String,
    /// The dotted path, such as `candidate.drb`; of a point of a series `prv_candidates.magpsf`.
    pub path: String,
}

/// The paths that a program reads, in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct ReadPaths {
    places: Texts,
    paths: Texts,
}

impl ReadPaths {
    fn push(&mut self, place: &str, path: &str) {
        self.places.push(place);
        self.paths.push(path);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<ReadPath> {
        self.places.iter().zip(self.paths.iter()).map(|(place, path)| ReadPath { place, path }).collect()
    }

    /// In no more room than they take.
    pub(super) fn shrunk(mut self) -> ReadPaths {
        self.places.shrink();
        self.paths.shrink();
        self
    }
}

/// What is noted while parsing.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) list: ReadPaths,
    /// What of the alert each bound variable stands for.
    variables: Vec<Option<String>>,
    /// Within `$elemMatch`: what its elements are, if they are of the alert.
    element: Option<Option<String>>,
}

impl Parser {
    /// Notes a path into the stage's document.
    pub(super) fn note(&mut self, parts: &[&str]) {
        let place = self.path.clone();
        self.note_at(place, parts);
    }

    /// The same, read at another place than the current one.
    pub(super) fn note_at(&mut self, place: String, parts: &[&str]) {
        if let Some(path) = self.of_alert(parts) {
            self.noted.list.push(&place, &path);
        }
    }

    /// The path of the alert that a path into the stage's document is.
    fn of_alert(&self, parts: &[&str]) -> Option<String> {
        match &self.noted.element {
            _ if parts.is_empty() => None,
            Some(element) => Some(format!("{}.{}", element.as_ref()?, parts.join("."))),
            None => self.access.is_of_alert(parts).then(|| parts.join(".")),
        }
    }

    /// Notes a path into a variable.
    pub(super) fn note_in_variable(&mut self, slot: usize, parts: &[&str]) {
        if !parts.is_empty()
            && let Some(Some(of)) = self.noted.variables.get(slot)
        {
            let path = format!("{of}.{}", parts.join("."));
            self.noted.list.push(&self.path, &path);
        }
    }

    /// The innermost variable stands for this, or for nothing of the alert.
    pub(super) fn note_variable(&mut self, slot: usize, source: Option<String>) {
        if self.noted.variables.len() <= slot {
            self.noted.variables.resize(slot + 1, None);
        }
        self.noted.variables[slot] = source;
    }

    /// Notes the fields of the points that `$sortArray` sorts by.
    pub(super) fn note_sort_key(&mut self, input: Option<&Json>, by: Option<&Json>) {
        let Some(source) = input.and_then(|input| self.source(input)) else { return };
        let Some(Json::Object(keys)) = by else { return };
        for (key, _) in keys {
            let place = format!("{}.sortBy.{key}", self.path);
            self.noted.list.push(&place, &format!("{source}.{key}"));
        }
    }

    /// Runs where the elements at a path are looked into.
    pub(super) fn in_elements<T>(&mut self, parts: &[&str], f: impl FnOnce(&mut Parser) -> T) -> T {
        let element = Some(self.of_alert(parts));
        let outer = std::mem::replace(&mut self.noted.element, element);
        let result = f(self);
        self.noted.element = outer;
        result
    }

    /// What of the alert an expression's value, or its elements, are.
    pub(super) fn source(&self, json: &Json) -> Option<String> {
        match json {
            Json::Text(text) if text.starts_with("$$") => {
                let mut parts = text[2..].split('.');
                let variable = parts.next()?;
                let rest: Vec<&str> = parts.collect();
                match self.scope.iter().rposition(|name| name == variable) {
                    Some(slot) => {
                        let of = self.noted.variables.get(slot)?.as_ref()?;
                        Some(if rest.is_empty() { of.clone() } else { format!("{of}.{}", rest.join(".")) })
                    }
                    None if matches!(variable, "ROOT" | "CURRENT") => self.of_alert(&rest),
                    None => None,
                }
            }
            Json::Text(text) if self.scope.iter().all(|name| name != "CURRENT") => {
                self.of_alert(&text.strip_prefix('$')?.split('.').collect::<Vec<_>>())
            }
            Json::Object(fields) => match fields.as_slice() {
                [(operator, value)] => self.source_of_call(operator, value),
                _ => None,
            },
            _ => None,
        }
    }

    fn source_of_call(&self, operator: &str, value: &Json) -> Option<String> {
        let named = |name: &str| match value {
            Json::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        };
        match (operator, value) {
            ("$filter" | "$sortArray" | "$firstN" | "$lastN", _) => self.source(named("input")?),
            ("$ifNull" | "$slice" | "$arrayElemAt", Json::Array(args)) => self.source(args.first()?),
            ("$first" | "$last" | "$reverseArray", Json::Array(args)) => self.source(args.first()?),
            ("$first" | "$last" | "$reverseArray", single) => self.source(single),
            _ => None,
        }
    }
}
