//! Variables: `$let`, and the loops `$map`, `$filter` and `$reduce` with what they bind.

use super::Parser;
use super::json::Json;
use crate::expr::{Form, Node, Operator};

impl Parser {
    /// Binds a variable for what follows; a problem when its name is not allowed.
    pub(super) fn bind(&mut self, name: &str) {
        let mut letters = name.chars();
        let first = letters.next().is_some_and(|c| c.is_ascii_lowercase() || !c.is_ascii());
        let rest = letters.all(|c| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii());
        if !(first && rest || name == "CURRENT") {
            self.problem(format!(
                "`{name}` is no name for a variable: it begins with a small letter, then letters, digits and _"
            ));
        }
        self.note_variable(self.scope.len(), None);
        self.scope.push(name.to_owned());
        self.variables = self.variables.max(self.scope.len() as u32);
    }

    pub(super) fn bindings(&mut self, value: &Json) -> Option<Vec<Node>> {
        let [vars, body] = self.named(value, ["vars", "in"], 2)?;
        // MongoDB takes an empty list for no variables too.
        let none = Json::Object(Vec::new());
        let vars = if matches!(vars, Some(Json::Array(items)) if items.is_empty()) { Some(&none) } else { vars };
        let Some(Json::Object(vars)) = vars else {
            self.at_key("vars", |p| p.problem("takes an object with a variable each"));
            return None;
        };
        let depth = self.scope.len();
        let sources: Vec<_> = vars.iter().map(|(_, value)| self.source(value)).collect();
        let mut nodes = Vec::new();
        for (name, value) in vars {
            let node = self.at_key("vars", |p| p.at_key(name, |p| p.iterating(value)));
            nodes.push(node);
            // A place without a name: what comes next must not use this slot, and cannot see this variable yet.
            self.scope.push(String::new());
        }
        self.scope.truncate(depth);
        for ((name, _), source) in vars.iter().zip(sources) {
            self.at_key("vars", |p| p.at_key(name, |p| p.bind(name)));
            self.note_variable(self.scope.len() - 1, source);
        }
        nodes.push(self.at_key("in", |p| p.expression(body?)));
        self.scope.truncate(depth);
        nodes.into_iter().collect()
    }

    /// `$map`, `$filter` and `$reduce`.
    pub(super) fn over_array(&mut self, operator: &Operator, value: &Json) -> Option<Vec<Node>> {
        let reduce = operator.form == Form::Reduce;
        let (body_name, given) = match operator.form {
            Form::Map => {
                let [input, body, name] = self.named(value, ["input", "in", "as"], 2)?;
                ("in", [input, body, name, None])
            }
            Form::Filter => ("cond", self.named(value, ["input", "cond", "as", "limit"], 2)?),
            _ => {
                let [input, initial, body] = self.named(value, ["input", "initialValue", "in"], 3)?;
                ("in", [input, body, None, initial])
            }
        };
        let [input, body, name, extra] = given;
        let name = match name {
            None => "this",
            Some(Json::Text(name)) => name,
            Some(other) => {
                let message = format!("takes the variable's name, and this is {}", other.shown());
                self.at_key("as", |p| p.problem(message));
                return None;
            }
        };
        let source = input.and_then(|input| self.source(input));
        let input = self.at_key("input", |p| p.iterating(input?));
        let extra_name = if reduce { "initialValue" } else { "limit" };
        let extra = extra.map(|json| self.at_key(extra_name, |p| p.expression(json)));
        let depth = self.scope.len();
        self.at_key("as", |p| p.bind(name));
        self.note_variable(depth, source);
        if reduce {
            self.bind("value");
        }
        let body = self.at_key(body_name, |p| p.expression(body?));
        self.scope.truncate(depth);
        let mut nodes = vec![input?];
        match extra {
            Some(extra) if reduce => nodes.extend([extra?, body?]),
            Some(extra) => nodes.extend([body?, extra?]),
            None => nodes.push(body?),
        }
        Some(nodes)
    }
}
