//! Why a `$match` rejects: each of its clauses, and of an expression each part, is asked alone, and those that say no are told with the
//! values that they saw.

use serde_json::{Map, Value, json};

use super::evaluate::{On, short, shown};

/// A clause that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    /// Its path into the JSON.
    pub(super) path: String,
    /// What it saw, and what it wanted.
    pub(super) message: String,
}

/// Deeper expressions are told as a whole.
const DEEPEST: usize = 40;
/// More clauses are not told.
const MOST: usize = 100;

/// The clauses of a query that reject the document.
pub(super) fn rejecting(on: On<'_>, query: &Value, path: &str) -> Vec<Clause> {
    let mut teller = Teller { on, clauses: Vec::new() };
    teller.query(query, path, 0);
    teller.clauses.truncate(MOST);
    teller.clauses
}

struct Teller<'d> {
    on: On<'d>,
    clauses: Vec<Clause>,
}

impl Teller<'_> {
    fn tell(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.clauses.push(Clause { path: path.into(), message: message.into() });
    }

    fn query(&mut self, query: &Value, path: &str, depth: usize) {
        let Value::Object(clauses) = query else { return };
        for (key, value) in clauses {
            if depth > DEEPEST || self.clauses.len() > MOST {
                return;
            }
            let path = format!("{path}.{key}");
            match self.on.matches(&json!({ key: value })) {
                Ok(true) => {}
                Ok(false) => self.clause(key, value, &path, depth),
                Err(error) => self.tell(path, format!("fails: {error}")),
            }
        }
    }

    fn clause(&mut self, key: &str, value: &Value, path: &str, depth: usize) {
        match (key, value) {
            ("$and" | "$or", Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    self.query(item, &format!("{path}[{at}]"), depth + 1);
                }
            }
            ("$nor", Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    if self.on.matches(item) == Ok(true) {
                        self.tell(
                            format!("{path}[{at}]"),
                            format!("is true, which $nor does not want: {}", short(item)),
                        );
                    }
                }
            }
            ("$expr", expression) => self.expression(expression, path, depth + 1),
            (field, Value::Object(tests)) if tests.keys().next().is_some_and(|first| first.starts_with('$')) => {
                self.tests(field, tests, path);
            }
            (field, value) => {
                let seen = self.field(field);
                self.tell(path, format!("{field} = {seen}, wanted {}", short(value)));
            }
        }
    }

    /// The operators below a path, one by one.
    fn tests(&mut self, field: &str, tests: &Map<String, Value>, path: &str) {
        let before = self.clauses.len();
        for (operator, value) in tests.iter().filter(|(operator, _)| *operator != "$options") {
            let mut alone = json!({ operator: value });
            if let (Some(options), "$regex") = (tests.get("$options"), operator.as_str()) {
                alone["$options"] = options.clone();
            }
            if self.on.matches(&json!({ field: alone })) == Ok(false) {
                let seen = self.field(field);
                self.tell(
                    format!("{path}.{operator}"),
                    format!("{field} = {seen}, wanted {operator} {}", short(value)),
                );
            }
        }
        if self.clauses.len() == before {
            let seen = self.field(field);
            self.tell(path, format!("{field} = {seen}, wanted {}", short(&Value::Object(tests.clone()))));
        }
    }

    /// The value at a path of a query, in which a number may be an index.
    fn field(&self, path: &str) -> String {
        let mut parts = path.split('.');
        let mut expression = json!(format!("${}", parts.next().unwrap_or_default()));
        for part in parts {
            let inner = match part.parse::<i32>() {
                Ok(index) => {
                    json!({"$cond": [{"$isArray": "$$at"}, {"$arrayElemAt": ["$$at", index]}, format!("$$at.{part}")]})
                }
                Err(_) => json!(format!("$$at.{part}")),
            };
            expression = match expression.as_str() {
                Some(text) if inner.is_string() => json!(format!("{text}.{part}")),
                _ => json!({"$let": {"vars": {"at": expression}, "in": inner}}),
            };
        }
        self.seen(&expression)
    }

    fn seen(&self, expression: &Value) -> String {
        self.on.value(expression).map_or_else(|error| format!("an error ({error})"), shown)
    }

    /// Why an expression is not true.
    fn expression(&mut self, expression: &Value, path: &str, depth: usize) {
        let Some((operator, arguments)) = call(expression) else {
            let message = format!("{} = {}, wanted true", short(expression), self.seen(expression));
            return self.tell(path, message);
        };
        let path = format!("{path}.{operator}");
        let arguments: Vec<&Value> = arguments.as_array().map_or_else(|| vec![arguments], |list| list.iter().collect());
        match operator {
            _ if depth > DEEPEST || self.clauses.len() > MOST => {}
            "$and" | "$or" => {
                for (at, argument) in arguments.iter().enumerate() {
                    match self.on.is_true(argument) {
                        Ok(true) => {}
                        Ok(false) => self.expression(argument, &format!("{path}[{at}]"), depth + 1),
                        Err(error) => self.tell(format!("{path}[{at}]"), format!("fails: {error}")),
                    }
                }
            }
            "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte" | "$in" if arguments.len() == 2 => {
                let (left, right) = (self.operand(arguments[0]), self.operand(arguments[1]));
                self.tell(path, format!("{left}, wanted {operator} {right}"));
            }
            "$not" => {
                let seen = arguments.first().map_or_else(String::new, |argument| self.operand(argument));
                self.tell(path, format!("{seen}, wanted not true"));
            }
            "$anyElementTrue" | "$allElementsTrue" => {
                let counted = arguments.first().map_or_else(String::new, |argument| self.elements(argument));
                self.tell(path, counted);
            }
            _ => {
                let message = format!("{} = {}, wanted true", short(expression), self.seen(expression));
                self.tell(path, message);
            }
        }
    }

    /// How many elements of an array are true.
    fn elements(&self, array: &Value) -> String {
        let count = |array: Value| self.seen(&json!({"$size": array}));
        let all = count(array.clone());
        let good = count(json!({"$filter": {"input": array, "cond": "$$this"}}));
        format!("{good} of {all} elements are true")
    }

    /// An operand with the value that it has; of a constant the constant alone.
    fn operand(&self, expression: &Value) -> String {
        match expression {
            Value::String(text) if text.starts_with('$') => {
                format!("{} = {}", text.strip_prefix('$').unwrap_or(text), self.seen(expression))
            }
            Value::Object(_) | Value::Array(_) => format!("{} = {}", short(expression), self.seen(expression)),
            constant => short(constant),
        }
    }
}

/// The operator of an expression, and its arguments.
fn call(expression: &Value) -> Option<(&str, &Value)> {
    let (operator, arguments) = expression.as_object().filter(|fields| fields.len() == 1)?.iter().next()?;
    operator.starts_with('$').then_some((operator, arguments))
}

#[cfg(test)]
mod tests {
    use boom_filter::Dialect;
    use bson::{RawDocumentBuf, doc};

    use super::*;

    fn told(query: Value) -> Vec<String> {
        let document = doc! {
            "candidate": {"drb": 0.31, "magpsf": 19.5, "name": "abc"},
            "points": [{"m": 20.0}, {"m": 21.0}],
            "empty": [],
        };
        let document = RawDocumentBuf::try_from(&document).expect("it can be written");
        let clauses = rejecting(On { document: &document, now: 0, dialect: &Dialect::default() }, &query, "[0].$match");
        clauses.into_iter().map(|clause| format!("{}: {}", clause.path, clause.message)).collect()
    }

    #[test]
    fn a_clause_is_told_with_the_value_that_it_saw() {
        assert_eq!(
            told(json!({"candidate.drb": {"$gt": 0.5, "$lt": 2}, "candidate.magpsf": {"$lt": 30}, "nothing": 5})),
            [
                "[0].$match.candidate.drb.$gt: candidate.drb = 0.31, wanted $gt 0.5",
                "[0].$match.nothing: nothing = missing, wanted 5"
            ]
        );
        assert_eq!(
            told(json!({"candidate.name": {"$regex": "X", "$options": "i"}, "points.1.m": 7, "points.m": 8})),
            [
                r#"[0].$match.candidate.name.$regex: candidate.name = "abc", wanted $regex "X""#,
                "[0].$match.points.1.m: points.1.m = 21.0, wanted 7",
                "[0].$match.points.m: points.m = [20.0,21.0], wanted 8",
            ]
        );
    }

    #[test]
    fn of_alternatives_each_is_told_and_of_a_conjunction_those_that_are_false() {
        let query = json!({"$or": [{"candidate.drb": 1}, {"$and": [{"candidate.magpsf": {"$gt": 1}}, {"x": {"$exists": true}}]}]});
        assert_eq!(
            told(query),
            [
                "[0].$match.$or[0].candidate.drb: candidate.drb = 0.31, wanted 1",
                "[0].$match.$or[1].$and[1].x.$exists: x = missing, wanted $exists true",
            ]
        );
        assert_eq!(
            told(json!({"$nor": [{"x": 1}, {"candidate.drb": 0.31}]})),
            [r#"[0].$match.$nor[1]: is true, which $nor does not want: {"candidate.drb":0.31}"#]
        );
    }

    #[test]
    fn an_expression_is_taken_apart() {
        let expression = json!({"$and": [
            {"$gt": ["$candidate.magpsf", 10]},
            {"$lt": [{"$subtract": ["$candidate.magpsf", 1]}, "$candidate.drb"]},
            {"$anyElementTrue": {"$map": {"input": "$points", "as": "p", "in": {"$lt": ["$$p.m", 20.5]}}}},
            {"$allElementsTrue": {"$map": {"input": "$points", "as": "p", "in": {"$lt": ["$$p.m", 20.5]}}}},
            {"$not": ["$candidate.drb"]},
        ]});
        assert_eq!(
            told(json!({"$expr": expression})),
            [
                r#"[0].$match.$expr.$and[1].$lt: {"$subtract":["$candidate.magpsf",1]} = 18.5, wanted $lt candidate.drb = 0.31"#,
                "[0].$match.$expr.$and[3].$allElementsTrue: 1 of 2 elements are true",
                "[0].$match.$expr.$and[4].$not: candidate.drb = 0.31, wanted not true",
            ]
        );
    }
}
