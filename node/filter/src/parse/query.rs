//! The query language of `$match`, to a compiled query whose clauses stand in the order in which MongoDB tries them.

use super::json::Json;
use super::query_order::{all, any, flattened};
use super::{Parser, optimise, suggestion};
use crate::bits::Bits;
use crate::decimal::Decimal;
use crate::query::{Comparison, Element, Part, Pattern, Query, Test};
use crate::raw;
use crate::value::Value;

const COMPARISONS: [&str; 6] = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"];
const UNDEFINED: &str = "nothing compares with undefined; write null, which missing and undefined values are equal to";
pub(crate) const LOGICAL: [&str; 5] = ["$and", "$or", "$nor", "$expr", "$comment"];
pub(crate) const OPERATORS: [&str; 21] = [
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
    "$all",
    "$elemMatch",
    "$size",
    "$type",
    "$mod",
    "$bitsAllSet",
    "$bitsAllClear",
    "$bitsAnySet",
    "$bitsAnyClear",
    "$regex",
    "$options",
];
const TYPES: [(&str, i32, u8); 21] = [
    ("double", 1, raw::DOUBLE),
    ("string", 2, raw::STRING),
    ("object", 3, raw::DOCUMENT),
    ("array", 4, raw::ARRAY),
    ("binData", 5, raw::BINARY),
    ("undefined", 6, raw::UNDEFINED),
    ("objectId", 7, raw::OBJECT_ID),
    ("bool", 8, raw::BOOL),
    ("date", 9, raw::DATE),
    ("null", 10, raw::NULL),
    ("regex", 11, raw::REGEX),
    ("dbPointer", 12, raw::DB_POINTER),
    ("javascript", 13, raw::CODE),
    ("javascriptWithScope", 15, raw::CODE_WITH_SCOPE),
    ("symbol", 14, raw::SYMBOL),
    ("int", 16, raw::INT32),
    ("timestamp", 17, raw::TIMESTAMP),
    ("long", 18, raw::INT64),
    ("decimal", 19, raw::DECIMAL),
    ("minKey", -1, raw::MIN_KEY),
    ("maxKey", 127, raw::MAX_KEY),
];

impl Parser {
    /// A query document; none when a problem was reported.
    pub(super) fn query(&mut self, json: &Json) -> Option<Query> {
        let Json::Object(fields) = json else {
            self.problem(format!("takes an object with conditions, and this is {}", json.shown()));
            return None;
        };
        let clauses: Vec<_> = fields.iter().map(|(key, value)| self.at_key(key, |p| p.clause(key, value))).collect();
        let clauses: Option<Vec<_>> = clauses.into_iter().collect();
        // The conditions on one path stand beside the others.
        Some(all(clauses?.into_iter().flatten().collect()))
    }

    /// One key of a query document: no clause of a comment, several of a path with several operators.
    fn clause(&mut self, key: &str, value: &Json) -> Option<Vec<Query>> {
        match key {
            "$comment" => Some(Vec::new()),
            "$expr" if self.in_element => {
                self.problem("`$expr` looks at the whole document and cannot stand in an `$elemMatch`; use `$filter` in an `$expr`");
                None
            }
            "$expr" => {
                let node = self.expression(value)?;
                let mut queries = match optimise::hint(&node) {
                    Some(Query::All(hints)) => hints,
                    hint => hint.into_iter().collect(),
                };
                queries.push(Query::Expr(Box::new(node)));
                Some(vec![all(queries)])
            }
            "$and" | "$or" | "$nor" => {
                let Json::Array(items) = value else {
                    self.problem(format!("takes a list of queries, and this is {}", value.shown()));
                    return None;
                };
                if items.is_empty() {
                    self.problem("needs at least one query in its list");
                    return None;
                }
                let queries: Vec<_> =
                    items.iter().enumerate().map(|(at, item)| self.at_index(at, |p| p.query(item))).collect();
                let queries: Option<Vec<_>> = queries.into_iter().collect();
                let queries = queries?;
                Some(vec![match key {
                    "$and" => all(queries),
                    "$or" => any(queries),
                    _ => Query::Not(Box::new(any(queries))),
                }])
            }
            key if refused(key).is_some() => {
                self.problem(format!("`{key}` is refused: {}", refused(key).unwrap_or_default()));
                None
            }
            key if key.starts_with('$') => {
                let hint = suggestion(key, LOGICAL.into_iter());
                self.problem(format!("`{key}` is no query operator for a whole document{hint}"));
                None
            }
            path => {
                let parts = self.components(path)?;
                let path = self.query_path(&parts);
                let element = self.in_elements(&parts, |p| p.condition(value))?;
                // A lone `$all` is a list of its own.
                Some(match element {
                    Element::All(elements) if !value.is_lone("$all") => {
                        elements.into_iter().map(|element| self.lift(element, &path)).collect()
                    }
                    element => vec![self.lift(element, &path)],
                })
            }
        }
    }

    /// A path of which each component may also be an index.
    pub(super) fn query_path(&mut self, parts: &[&str]) -> Vec<Part> {
        let names = self.path(parts);
        let part = |(name, part): (_, &&str)| Part {
            name,
            index: part.parse().ok().filter(|n: &u32| n.to_string() == **part),
        };
        names.into_iter().zip(parts).map(part).collect()
    }

    /// Lays a condition on the values of a path.
    fn lift(&mut self, element: Element, path: &[Part]) -> Query {
        match element {
            Element::Test(test) => Query::Field(path.into(), test),
            Element::Not(element) => match self.lift(*element, path) {
                Query::Not(query) => *query,
                query => Query::Not(Box::new(query)),
            },
            Element::All(elements) => {
                let queries = elements.into_iter().map(|element| self.lift(element, path)).collect();
                all(queries)
            }
        }
    }

    /// What stands beside a path: a value to be equal to, or operators.
    fn condition(&mut self, json: &Json) -> Option<Element> {
        match json {
            Json::Regex(pattern, options) => self.regex(pattern, options).map(|r| Element::Test(Test::Regex(r))),
            Json::Object(fields) if fields.first().is_some_and(|(key, _)| key.starts_with('$')) => {
                self.operators(fields)
            }
            Json::Undefined => {
                self.problem(UNDEFINED);
                None
            }
            value => Some(Element::Test(Test::Compare(Comparison::Eq, value.constant()))),
        }
    }

    fn operators(&mut self, fields: &[(String, Json)]) -> Option<Element> {
        let options = fields.iter().find(|(key, _)| key == "$options").map(|(_, value)| value);
        if options.is_some() && !fields.iter().any(|(key, _)| key == "$regex") {
            self.problem("`$options` needs a `$regex` beside it");
        }
        let tests = fields.iter().filter(|(key, _)| key != "$options");
        let tests: Vec<_> =
            tests.map(|(key, value)| self.at_key(key, |p| p.query_operator(key, value, options))).collect();
        let mut tests = tests.into_iter().collect::<Option<Vec<_>>>()?;
        Some(if tests.len() == 1 { tests.remove(0) } else { Element::All(tests) })
    }

    fn query_operator(&mut self, key: &str, value: &Json, options: Option<&Json>) -> Option<Element> {
        let compare = |comparison| Some(Element::Test(Test::Compare(comparison, value.constant())));
        let not = |element| Element::Not(Box::new(element));
        if *value == Json::Undefined && COMPARISONS.contains(&key) {
            self.problem(UNDEFINED);
            return None;
        }
        if matches!(value, Json::Regex(..)) && COMPARISONS.contains(&key) && key != "$eq" {
            self.problem(format!(
                "`{key}` does not compare with a regular expression; use `$regex`, in a `$not` or alone"
            ));
            return None;
        }
        match key {
            "$eq" => compare(Comparison::Eq),
            "$ne" => compare(Comparison::Eq).map(not),
            "$gt" => compare(Comparison::Gt),
            "$gte" => compare(Comparison::Gte),
            "$lt" => compare(Comparison::Lt),
            "$lte" => compare(Comparison::Lte),
            "$in" => self.among(value).map(Element::Test),
            "$nin" => self.among(value).map(|test| not(Element::Test(test))),
            "$exists" if value.constant().value().is_true() => Some(Element::Test(Test::Exists)),
            "$exists" => Some(not(Element::Test(Test::Exists))),
            "$not" => match value {
                Json::Object(fields) if fields.first().is_some_and(|(key, _)| key.starts_with('$')) => {
                    self.operators(fields).map(not)
                }
                Json::Regex(..) => self.condition(value).map(not),
                other => {
                    self.problem(format!("takes operators or a regular expression, and this is {}", other.shown()));
                    None
                }
            },
            "$all" => self.every(value),
            "$elemMatch" => self.elem_match(value).map(Element::Test),
            "$size" => self.length(value).map(|n| Element::Test(Test::Size(n))),
            "$type" => self.types(value).map(|types| Element::Test(Test::Type(types))),
            "$mod" => self.modulo(value).map(Element::Test),
            "$bitsAllSet" | "$bitsAllClear" | "$bitsAnySet" | "$bitsAnyClear" => {
                match Bits::parse(key, &value.constant()) {
                    Ok(bits) => Some(Element::Test(Test::Bits(bits))),
                    Err(needs) => {
                        self.problem(format!("{needs}, and this is {}", value.shown()));
                        None
                    }
                }
            }
            "$regex" => {
                let (pattern, own) = match value {
                    Json::Text(pattern) => (pattern.as_str(), ""),
                    Json::Regex(pattern, options) => (pattern.as_str(), options.as_str()),
                    other => {
                        self.problem(format!("takes a pattern, and this is {}", other.shown()));
                        return None;
                    }
                };
                let options = match options {
                    None => own,
                    Some(Json::Text(options)) => options,
                    Some(other) => {
                        self.problem(format!("`$options` takes letters, and this is {}", other.shown()));
                        return None;
                    }
                };
                self.regex(pattern, options).map(|r| Element::Test(Test::Regex(r)))
            }
            _ => {
                match refused(key) {
                    Some(reason) => self.problem(format!("`{key}` is refused: {reason}")),
                    None => {
                        let hint = suggestion(key, OPERATORS.into_iter());
                        self.problem(format!("`{key}` is no query operator{hint}"));
                    }
                }
                None
            }
        }
    }

    fn list<'j>(&mut self, value: &'j Json) -> Option<&'j [Json]> {
        match value {
            Json::Array(items) => Some(items),
            other => {
                self.problem(format!("takes a list, and this is {}", other.shown()));
                None
            }
        }
    }

    fn among(&mut self, value: &Json) -> Option<Test> {
        let (mut constants, mut patterns) = (Vec::new(), Vec::new());
        for (at, item) in self.list(value)?.iter().enumerate() {
            match item {
                Json::Regex(pattern, options) => patterns.push(self.at_index(at, |p| p.regex(pattern, options))?),
                Json::Object(fields) if fields.first().is_some_and(|(key, _)| key.starts_with('$')) => {
                    self.at_index(at, |p| p.problem("a list of values has no operators in it"));
                    return None;
                }
                Json::Undefined => {
                    self.at_index(at, |p| p.problem(UNDEFINED));
                    return None;
                }
                other => constants.push(other.constant()),
            }
        }
        // As MongoDB, which tries it where it tries what is equal.
        let one = self.list(value)?.windows(2).all(|pair| pair[0] == pair[1]);
        if patterns.is_empty() && one && !constants.is_empty() {
            return Some(Test::Compare(Comparison::Eq, constants.swap_remove(0)));
        }
        Some(Test::In(constants, patterns))
    }

    fn every(&mut self, value: &Json) -> Option<Element> {
        let items = self.list(value)?;
        if items.is_empty() {
            return Some(Element::Test(Test::Type(Vec::new())));
        }
        let operator = |json: &Json| match json {
            Json::Object(fields) => fields.first().map(|(key, _)| key.clone()).filter(|key| key.starts_with('$')),
            _ => None,
        };
        let matching = items.iter().filter(|item| operator(item).as_deref() == Some("$elemMatch")).count();
        if items.iter().filter(|item| operator(item).is_some()).count() > matching
            || (matching > 0 && matching < items.len())
        {
            self.problem("takes a list of values, or one of `$elemMatch` alone");
            return None;
        }
        let tests: Vec<_> =
            items.iter().enumerate().map(|(at, item)| self.at_index(at, |p| p.condition(item))).collect();
        tests.into_iter().collect::<Option<Vec<_>>>().map(Element::All)
    }

    fn elem_match(&mut self, value: &Json) -> Option<Test> {
        let Json::Object(fields) = value else {
            self.problem(format!("takes an object, and this is {}", value.shown()));
            return None;
        };
        let of_values = fields.first().is_some_and(|(key, _)| key.starts_with('$') && !LOGICAL.contains(&key.as_str()));
        if of_values {
            return self.operators(fields).map(|element| Test::AnyElement(Box::new(element)));
        }
        // Its paths begin in an element, not in the alert: they are names only.
        let access = std::mem::take(&mut self.access);
        let outer = std::mem::replace(&mut self.in_element, true);
        let query = self.query(value);
        self.in_element = outer;
        self.access = access;
        query.map(|query| Test::AnyDocument(Box::new(flattened(query))))
    }

    fn length(&mut self, value: &Json) -> Option<i64> {
        let number = crate::number::int(value.constant().value()).filter(|n| *n >= 0).map(i64::from);
        if number.is_none() {
            self.problem(format!("takes a whole 32-bit number from 0 up, and this is {}", value.shown()));
        }
        number
    }

    fn modulo(&mut self, value: &Json) -> Option<Test> {
        let number = |json: &Json| match json.constant().value() {
            Value::Double(x) => crate::number::whole(x.trunc()),
            Value::Other(raw::DECIMAL, bytes) => Decimal::read(bytes).truncated(),
            value => crate::number::integral(value),
        };
        if let [divisor, rest] = self.list(value)?
            && let (Some(divisor), Some(rest)) = (number(divisor), number(rest))
            && divisor != 0
        {
            return Some(Test::Mod(divisor, rest));
        }
        self.problem(format!(
            "takes [divisor, remainder] with a divisor that is not zero, and this is {}",
            value.shown()
        ));
        None
    }

    fn types(&mut self, value: &Json) -> Option<Vec<u8>> {
        let items = match value {
            Json::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        let mut types = Vec::new();
        for item in items {
            match item {
                Json::Text(name) if name == "number" => {
                    types.extend([raw::DOUBLE, raw::INT32, raw::INT64, raw::DECIMAL])
                }
                item => {
                    let code = crate::number::int(item.constant().value());
                    let known = TYPES
                        .iter()
                        .find(|(name, number, _)| Some(*number) == code || *item == Json::Text((*name).to_owned()));
                    let Some((_, _, byte)) = known else {
                        let hint =
                            suggestion(item.shown().trim_matches('"'), TYPES.iter().map(|t| t.0).chain(["number"]));
                        self.problem(format!("{} is no type{hint}", item.shown()));
                        return None;
                    };
                    types.push(*byte);
                }
            }
        }
        if types.is_empty() {
            self.problem("needs at least one type");
            return None;
        }
        Some(types)
    }

    fn regex(&mut self, pattern: &str, options: &str) -> Option<Pattern> {
        if !self.one_more_pattern() {
            return None;
        }
        match crate::pcre::compile(pattern, options) {
            Ok(regex) => {
                let written = Json::Regex(pattern.to_owned(), options.to_owned()).constant();
                Some(Pattern { regex, written })
            }
            Err(reason) => {
                self.problem(reason);
                None
            }
        }
    }
}

/// Why an operator of MongoDB's queries is refused.
fn refused(key: &str) -> Option<&'static str> {
    Some(match key {
        "$where" | "$function" => "no JavaScript is run; use $expr",
        "$text" => "it needs a collection's text index; use $regex",
        "$jsonSchema" => {
            "alerts are checked against their survey's schema before filters see them; use $type and $exists"
        }
        "$near" | "$nearSphere" | "$geoWithin" | "$geoIntersects" | "$geoNear" | "$within" | "$maxDistance"
        | "$minDistance" => "it needs GeoJSON; compare ra and dec, or use cross_matches",
        "$sampleRate" | "$rand" => "a filter gives the same answer each time",
        _ => return None,
    })
}
