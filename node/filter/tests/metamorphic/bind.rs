//! Variables in generated expressions: what is unbound becomes a field of the alert, what is bound can be renamed.

use serde_json::{Map, Value, json};

/// Variables in scope, innermost last: the name, and what it is called in what is written.
type Scope = Vec<(String, String)>;

struct Binder {
    scope: Scope,
    /// The number of the next variable, when all are renamed.
    fresh: Option<usize>,
}

/// The expression with every variable that is not bound turned into the field of that name.
pub(crate) fn close(value: &Value) -> Value {
    Binder { scope: Vec::new(), fresh: None }.walk(value)
}

/// As [`close`], with these variables bound.
pub(crate) fn close_within(value: &Value, bound: &[&str]) -> Value {
    let scope = bound.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
    Binder { scope, fresh: None }.walk(value)
}

/// The same pipeline with every variable of `$let`, `$map` and `$filter` called by a name that no other has.
pub(crate) fn renamed(value: &Value) -> Value {
    Binder { scope: Vec::new(), fresh: Some(0) }.walk(value)
}

impl Binder {
    fn name(&mut self, name: &str) -> String {
        match &mut self.fresh {
            None => name.to_owned(),
            Some(number) => {
                *number += 1;
                format!("v{number}")
            }
        }
    }

    fn within(&mut self, bound: &[(String, String)], value: &Value) -> Value {
        let length = self.scope.len();
        self.scope.extend_from_slice(bound);
        let value = self.walk(value);
        self.scope.truncate(length);
        value
    }

    fn walk(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.path(text)),
            Value::Array(items) => items.iter().map(|item| self.walk(item)).collect(),
            Value::Object(fields) => match fields.iter().next() {
                Some((operator, Value::Object(args))) if fields.len() == 1 => match operator.as_str() {
                    "$let" => self.bind_let(args),
                    "$map" => self.bind_over("$map", "in", args),
                    "$filter" => self.bind_over("$filter", "cond", args),
                    "$reduce" => self.bind_reduce(args),
                    _ => json!({ operator: self.walk(&fields[operator]) }),
                },
                _ => Value::Object(fields.iter().map(|(key, value)| (key.clone(), self.walk(value))).collect()),
            },
            other => other.clone(),
        }
    }

    fn path(&self, text: &str) -> String {
        let Some(path) = text.strip_prefix("$$") else { return text.to_owned() };
        let (name, rest) = path.split_at(path.find('.').unwrap_or(path.len()));
        if matches!(name, "ROOT" | "CURRENT" | "NOW" | "REMOVE") {
            return text.to_owned();
        }
        match self.scope.iter().rev().find(|(known, _)| known == name) {
            Some((_, called)) => format!("$${called}{rest}"),
            None => format!("$candidate{rest}"),
        }
    }

    fn bind_let(&mut self, args: &Map<String, Value>) -> Value {
        let vars = args["vars"].as_object().expect("the generator writes an object");
        let values: Vec<(String, Value)> = vars.iter().map(|(name, value)| (name.clone(), self.walk(value))).collect();
        let bound: Vec<(String, String)> = values.iter().map(|(name, _)| (name.clone(), self.name(name))).collect();
        let inner = self.within(&bound, &args["in"]);
        let vars: Map<String, Value> =
            bound.into_iter().zip(values).map(|((_, called), (_, value))| (called, value)).collect();
        json!({"$let": {"vars": vars, "in": inner}})
    }

    fn bind_over(&mut self, operator: &str, body: &str, args: &Map<String, Value>) -> Value {
        let input = self.walk(&args["input"]);
        let name = args.get("as").and_then(Value::as_str).unwrap_or("this").to_owned();
        let called = self.name(&name);
        let inner = self.within(&[(name, called.clone())], &args[body]);
        json!({operator: {"input": input, "as": called, body: inner}})
    }

    fn bind_reduce(&mut self, args: &Map<String, Value>) -> Value {
        let (input, first) = (self.walk(&args["input"]), self.walk(&args["initialValue"]));
        let bound = ["this", "value"].map(|name| (name.to_owned(), name.to_owned()));
        let inner = self.within(&bound, &args["in"]);
        json!({"$reduce": {"input": input, "initialValue": first, "in": inner}})
    }
}
