//! `$project`, `$addFields`, `$set` and `$unset`: first a flat list of paths, then the tree that is applied.

use super::json::Json;
use super::{MAX_PROBLEMS, Parser};
use crate::expr::Node;
use crate::project::{Mode, Projection, Step};
use crate::stage::Stage;

const COLLISION: &str = "this path collides with another one of this stage: a field cannot be kept or computed both whole and in part, or twice";

/// What a specification says of one path.
enum What {
    Include,
    Exclude,
    Compute(Node),
}

struct Entry {
    /// Where it stands in the JSON.
    path: String,
    parts: Vec<String>,
    what: What,
}

impl Parser {
    /// `$project`.
    pub(super) fn project(&mut self, json: &Json) -> Option<Stage> {
        let entries = self.entries(json, false)?;
        let is_id = |entry: &Entry| entry.parts == ["_id"];
        let includes = entries
            .iter()
            .any(|e| matches!(e.what, What::Compute(_)) || (!is_id(e) && matches!(e.what, What::Include)));
        let excludes = entries.iter().any(|e| !is_id(e) && matches!(e.what, What::Exclude));
        if includes && excludes {
            for entry in entries.iter().filter(|e| !is_id(e) && matches!(e.what, What::Exclude)) {
                self.problem_at(&entry.path, "a $project either includes and computes fields or excludes them; only `_id` may be excluded beside others");
            }
            return None;
        }
        let id = entries.iter().find(|e| is_id(e)).map(|e| matches!(e.what, What::Exclude));
        let mode = if excludes || (!includes && id == Some(true)) { Mode::Exclude } else { Mode::Include };
        let mut projection = Projection::default();
        if mode == Mode::Include && !entries.iter().any(|e| e.parts[0] == "_id") {
            let name = self.path(&["_id"])[0];
            projection.leaves.push(name);
        }
        if let Some(entry) = entries.iter().find(|e| e.parts.len() > 1 && e.parts[0] == "_id").filter(|_| id.is_some())
        {
            self.problem_at(&entry.path.clone(), COLLISION);
        }
        let kept = entries.into_iter().filter(|e| match e.what {
            What::Include => mode == Mode::Include,
            What::Exclude => mode == Mode::Exclude,
            What::Compute(_) => true,
        });
        self.build(&mut projection, kept.collect(), mode);
        if mode == Mode::Include {
            self.access.end();
        }
        Some(Stage::Project(mode, projection))
    }

    /// `$addFields` and `$set`.
    pub(super) fn add_fields(&mut self, json: &Json) -> Option<Stage> {
        let entries = self.entries(json, true)?;
        let made: Vec<_> = entries.iter().map(|e| e.parts[0].clone()).collect();
        let mut projection = Projection::default();
        self.build(&mut projection, entries, Mode::Add);
        made.iter().for_each(|name| self.access.shadow(name));
        Some(Stage::Project(Mode::Add, projection))
    }

    /// `$unset`: a name or a list of them.
    pub(super) fn unset(&mut self, json: &Json) -> Option<Stage> {
        let list = match json {
            Json::Array(items) if !items.is_empty() => items.as_slice(),
            Json::Text(_) => std::slice::from_ref(json),
            other => {
                self.problem(format!("takes a field's name or a list of them, and this is {}", other.shown()));
                return None;
            }
        };
        let mut entries = Vec::new();
        for (at, item) in list.iter().enumerate() {
            let entry = self.at_index(at, |p| {
                let Json::Text(name) = item else {
                    p.problem(format!("takes a field's name, and this is {}", item.shown()));
                    return None;
                };
                let parts = p.components(name)?.into_iter().map(str::to_owned).collect();
                Some(Entry { path: p.path.clone(), parts, what: What::Exclude })
            });
            entries.push(entry?);
        }
        let mut projection = Projection::default();
        self.build(&mut projection, entries, Mode::Exclude);
        Some(Stage::Project(Mode::Exclude, projection))
    }

    fn problem_at(&mut self, path: &str, message: &str) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(super::Problem { path: path.to_owned(), message: message.to_owned() });
        }
    }

    fn entries(&mut self, json: &Json, adds: bool) -> Option<Vec<Entry>> {
        let Json::Object(fields) = json else {
            self.problem(format!("takes an object with a path each, and this is {}", json.shown()));
            return None;
        };
        if fields.is_empty() && !adds {
            self.problem("needs at least one field");
            return None;
        }
        let mut entries = Vec::new();
        let before = self.problems.len();
        self.collect(fields, &[], adds, &mut entries);
        (self.problems.len() == before).then_some(entries)
    }

    fn collect(&mut self, fields: &[(String, Json)], prefix: &[String], adds: bool, entries: &mut Vec<Entry>) {
        for (key, value) in fields {
            self.at_key(key, |p| {
                if key.starts_with('$') {
                    p.problem(format!("`{key}` is no field; an operator stands alone in its object"));
                    return;
                }
                let Some(parts) = p.components(key) else { return };
                if adds && parts.len() > 1 && !prefix.is_empty() {
                    p.problem("a path with dots stands alone, not in a document; nest documents instead");
                    return;
                }
                let parts: Vec<String> = prefix.iter().cloned().chain(parts.into_iter().map(str::to_owned)).collect();
                let what = match value {
                    Json::Object(inner) if inner.is_empty() => {
                        p.problem("an empty document says nothing of this field; write 1, an expression or {\"$literal\": {}}");
                        return;
                    }
                    Json::Object(inner) if inner.len() > 1 || !inner[0].0.starts_with('$') => {
                        p.collect(inner, &parts, adds, entries);
                        return;
                    }
                    Json::Bool(_) | Json::Int(_) | Json::Long(_) | Json::Double(_) | Json::Other(crate::raw::DECIMAL, _) if !adds => {
                        if value.constant().value().is_true() { What::Include } else { What::Exclude }
                    }
                    expression => match p.expression(expression) {
                        Some(node) => What::Compute(node),
                        None => return,
                    },
                };
                entries.push(Entry { path: p.path.clone(), parts, what });
            });
        }
    }

    fn build(&mut self, projection: &mut Projection, entries: Vec<Entry>, mode: Mode) {
        for Entry { path, parts, what } in entries {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            // What is computed into a document needs the rest of that document.
            match what {
                What::Include => {
                    self.access.read(&parts);
                    self.note_at(path.clone(), &parts);
                }
                What::Compute(_) if parts.len() > 1 && mode == Mode::Add => self.access.read(&parts[..1]),
                _ => {}
            }
            let names: Vec<_> = parts.iter().map(|part| self.name(part)).collect();
            self.access.paths.push((names.clone(), false));
            if !insert(projection, &names, what) {
                self.problem_at(&path, COLLISION);
            }
        }
    }
}

/// Puts a path into the tree; false when it collides with one that is there.
fn insert(level: &mut Projection, names: &[crate::eval::Name], what: What) -> bool {
    let Some((name, rest)) = names.split_first() else { return false };
    let taken =
        level.leaves.contains(name) || level.order.iter().any(|s| matches!(s, Step::Compute(n, _) if n == name));
    let child = level.children.iter().position(|(n, _)| n == name);
    if taken || (rest.is_empty() && child.is_some()) {
        return false;
    }
    let computes = matches!(what, What::Compute(_));
    level.computes |= computes;
    if rest.is_empty() {
        match what {
            What::Compute(node) => level.order.push(Step::Compute(*name, node)),
            _ => level.leaves.push(*name),
        }
        return true;
    }
    let at = child.unwrap_or_else(|| {
        level.children.push((*name, Projection::default()));
        level.children.len() - 1
    });
    // Also where nothing is computed within: where there is no such field, its place is made here.
    if !level.order.iter().any(|s| matches!(s, Step::Child(n) if *n == at)) {
        level.order.push(Step::Child(at));
    }
    insert(&mut level.children[at].1, rest, what)
}
