//! Random queries, as `$match` has them: paths that the document has, values near those that are there.

use bson::{Bson, Document, doc};

use super::documents::{NAMES, int, regex, scalar, value};
use super::expression::Generator;
use super::paths::is_plain;
use super::random::Random;

/// The operators on a path's value. `$options` goes with `$regex`.
pub(crate) const OPERATORS: [&str; 20] = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$exists",
    "$not",
    "$size",
    "$type",
    "$mod",
    "$regex",
    "$all",
    "$elemMatch",
    "$bitsAllSet",
    "$bitsAllClear",
    "$bitsAnySet",
    "$bitsAnyClear",
];
const TYPES: [&str; 12] =
    ["double", "string", "object", "array", "bool", "date", "null", "int", "long", "decimal", "number", "objectId"];
const PATTERNS: [&str; 10] = ["^a", "a", "b$", "[A-Z]", "^$", ".", "\\d", "a|b", "ZTF", "é"];

impl Generator<'_> {
    /// A query of the document that the stage sees.
    pub(crate) fn query(&mut self) -> Document {
        let mut paths = Vec::new();
        look("", &self.document, &mut paths);
        self.query_on(&paths, 0)
    }

    fn query_on(&mut self, paths: &[(String, Bson)], depth: usize) -> Document {
        let clauses = 1 + self.random.below(3);
        let mut query = Document::new();
        for _ in 0..clauses {
            match self.random.below(20) {
                0 | 1 if depth < 2 => {
                    let name = *self.random.of(&["$and", "$or", "$nor", "$or"]);
                    let queries: Vec<Document> =
                        (0..1 + self.random.below(3)).map(|_| self.query_on(paths, depth + 1)).collect();
                    query.insert(name, queries);
                }
                2 | 3 if depth < 3 => {
                    query.insert("$expr", self.condition());
                }
                4 if self.random.percent(20) => {
                    query.insert("$comment", "why");
                }
                _ => {
                    let (path, value) = self.place(paths);
                    query.insert(path, self.test(&value, depth));
                }
            }
        }
        query
    }

    /// A path, mostly one that is there, with what is there.
    fn place(&mut self, paths: &[(String, Bson)]) -> (String, Bson) {
        if !paths.is_empty() && !self.random.percent(8) {
            return self.random.of(paths).clone();
        }
        let length = 1 + self.random.below(3);
        let mut path = (*self.random.of(&NAMES)).to_owned();
        for _ in 1..length {
            path += ".";
            path += *self.random.of(&["a", "b", "0", "1", "c"]);
        }
        (path, Bson::Null)
    }

    /// What stands beside a path.
    fn test(&mut self, value: &Bson, depth: usize) -> Bson {
        match self.random.below(10) {
            0 => {
                let value = self.near(value);
                // A document that begins with a dollar sign would be taken for operators.
                if matches!(&value, Bson::Document(document) if document.keys().next().is_some_and(|key| key.starts_with('$')))
                {
                    return Bson::Document(doc! {"$eq": value});
                }
                value
            }
            1 => regex(&mut self.random),
            2 => {
                let mut both = self.operator(value, depth);
                both.extend(self.operator(value, depth));
                Bson::Document(both)
            }
            _ => Bson::Document(self.operator(value, depth)),
        }
    }

    /// One operator with its argument.
    fn operator(&mut self, value: &Bson, depth: usize) -> Document {
        let name = *self.random.of(&self.grammar.query);
        let argument = match name {
            "$in" | "$nin" | "$all" => self.list(value, depth, name == "$all"),
            "$exists" => {
                (*self.random.of(&[Bson::Boolean(true), Bson::Boolean(false), Bson::Int32(1), Bson::Null])).clone()
            }
            "$not" if depth > 3 => return doc! {"$exists": true},
            "$not" => match self.random.below(8) {
                0 => regex(&mut self.random),
                _ => Bson::Document(self.operator(value, depth + 1)),
            },
            "$size" => self.size(value),
            "$type" => self.types(),
            "$mod" => Bson::Array(vec![int(&mut self.random), int(&mut self.random)]),
            "$regex" => return self.regex(),
            "$elemMatch" => self.elem_match(value, depth),
            name if name.starts_with("$bits") => self.bits(),
            _ => self.near(value),
        };
        doc! {name: argument}
    }

    /// The value itself, or one that is not far from it.
    fn near(&mut self, there: &Bson) -> Bson {
        let random = &mut self.random;
        match (random.below(10), there) {
            (0, _) => value(random, 1),
            (1, _) => scalar(random),
            (2 | 3, Bson::Int32(n)) => Bson::Int32(n.wrapping_add(random.between(-1, 1) as i32)),
            (4, Bson::Int32(n)) => Bson::Double(f64::from(*n)),
            (5, Bson::Int32(n)) => Bson::Int64(i64::from(*n)),
            (2, Bson::Int64(n)) => Bson::Int64(n.wrapping_add(1)),
            (3, Bson::Int64(n)) => Bson::Double(*n as f64),
            (2 | 3, Bson::Double(x)) => Bson::Double(x + random.unit() - 0.5),
            (4, Bson::Double(x)) => Bson::Int32(*x as i32),
            (5, Bson::Double(x)) => Bson::Int64(*x as i64),
            (2..=5, Bson::Array(items)) if !items.is_empty() => random.of(items).clone(),
            (_, there) => there.clone(),
        }
    }

    fn list(&mut self, value: &Bson, depth: usize, all: bool) -> Bson {
        let matching = all && self.random.percent(20);
        if matching && depth < 3 {
            return vec![Bson::Document(doc! {"$elemMatch": self.elem_match(value, depth)})].into();
        }
        let length = self.random.below(4);
        let one = |generator: &mut Self| match generator.random.below(12) {
            0 => regex(&mut generator.random),
            1..=6 => generator.near(value),
            _ => scalar(&mut generator.random),
        };
        (0..length).map(|_| one(self)).collect()
    }

    fn size(&mut self, value: &Bson) -> Bson {
        let length = value.as_array().map_or(1, Vec::len) as i32;
        match self.random.below(6) {
            0 => int(&mut self.random),
            1 => Bson::Double(f64::from(length)),
            2 => Bson::Int64(2),
            _ => Bson::Int32(length),
        }
    }

    fn types(&mut self) -> Bson {
        let one = |random: &mut Random| -> Bson {
            if random.percent(20) { Bson::Int32(random.between(1, 19) as i32) } else { (*random.of(&TYPES)).into() }
        };
        if self.random.percent(70) {
            return one(&mut self.random);
        }
        (0..1 + self.random.below(3)).map(|_| one(&mut self.random)).collect()
    }

    fn regex(&mut self) -> Document {
        let mut pair = doc! {"$regex": *self.random.of(&PATTERNS)};
        if self.random.percent(40) {
            pair.insert("$options", *self.random.of(&["", "i", "m", "s", "x", "im"]));
        }
        pair
    }

    fn elem_match(&mut self, value: &Bson, depth: usize) -> Bson {
        let items = value.as_array().filter(|items| !items.is_empty());
        let item = items.map_or(Bson::Null, |items| self.random.of(items).clone());
        if depth > 2 {
            return Bson::Document(doc! {"$exists": true});
        }
        match &item {
            Bson::Document(document) if self.random.percent(80) => {
                let mut paths = Vec::new();
                look("", document, &mut paths);
                let (path, value) = self.place(&paths);
                Bson::Document(doc! {path: self.test(&value, depth + 1)})
            }
            _ => {
                let mut both = self.operator(&item, depth + 1);
                if self.random.percent(30) {
                    both.extend(self.operator(&item, depth + 1));
                }
                Bson::Document(both)
            }
        }
    }

    fn bits(&mut self) -> Bson {
        match self.random.below(4) {
            0 => (0..self.random.below(3)).map(|_| Bson::Int32(self.random.between(0, 70) as i32)).collect(),
            1 => int(&mut self.random),
            2 => Bson::Int64(1 << self.random.below(40)),
            _ => Bson::Int32(self.random.between(0, 15) as i32),
        }
    }
}

/// Notes the paths of queries below a document: into arrays by index and through their documents.
fn look(prefix: &str, document: &Document, paths: &mut Vec<(String, Bson)>) {
    for (name, value) in document.iter().filter(|(name, _)| is_plain(name)) {
        inside(format!("{prefix}{name}"), value, paths);
    }
}

fn inside(path: String, value: &Bson, paths: &mut Vec<(String, Bson)>) {
    if paths.len() > 300 {
        return;
    }
    paths.push((path.clone(), value.clone()));
    match value {
        Bson::Document(document) => look(&format!("{path}."), document, paths),
        Bson::Array(items) => {
            for (at, item) in items.iter().enumerate().take(2) {
                inside(format!("{path}.{at}"), item, paths);
                if let Bson::Document(document) = item {
                    look(&format!("{path}."), document, paths);
                }
            }
        }
        _ => {}
    }
}
