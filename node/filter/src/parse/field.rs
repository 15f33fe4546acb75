//! Operators whose arguments are written in a way of their own: `$getField`, `$setField`, `$unsetField` and `$zip`.

use super::Parser;
use super::json::Json;
use crate::expr::{Constant, Node};
use crate::value::Value;

impl Parser {
    /// `[input, name, value?]` of an operator whose names are `field`, `input` and perhaps `value`; `$getField` may be given the name
    /// alone.
    pub(super) fn field_arguments(&mut self, value: &Json, names: &[&'static str]) -> Option<Vec<Node>> {
        let alone = match value {
            Json::Object(fields) => fields.first().is_some_and(|(key, _)| key.starts_with('$')),
            _ => true,
        };
        // `$getField` and `$unsetField` have the same names: what stands alone is no object with an `input`.
        if alone && self.path.ends_with("$getField") {
            let name = self.field_name(value)?;
            let parts = [name.as_str()];
            let input = match self.scope.iter().rposition(|name| name == "CURRENT") {
                Some(slot) => Node::Variable(slot as u32, Box::new([])),
                None => {
                    // Only this field of the document is read, and not the whole of it.
                    self.path(&parts);
                    Node::Path(Box::new([]))
                }
            };
            return Some(vec![input, Node::Constant(Constant::Text(name.into()))]);
        }
        let given = self.named_list(value, names, names.len())?;
        let name = self.at_key("field", |p| p.field_name(given[0]?))?;
        let mut nodes = vec![self.at_key("input", |p| p.expression(given[1]?))?];
        nodes.push(Node::Constant(Constant::Text(name.into())));
        if let Some(Some(value)) = given.get(2) {
            nodes.push(self.at_key("value", |p| p.expression(value))?);
        }
        Some(nodes)
    }

    /// A name: a string, or one within `$literal`.
    fn field_name(&mut self, json: &Json) -> Option<String> {
        let inner = match json {
            Json::Object(fields) => match fields.as_slice() {
                [(key, inner)] if key == "$literal" || key == "$const" => inner,
                _ => json,
            },
            Json::Text(text) if text.starts_with('$') => &Json::Null,
            other => other,
        };
        match inner {
            Json::Text(name) if !name.contains('\0') => Some(name.clone()),
            _ => {
                self.problem(format!(
                    "takes a field's name as a constant string (one that begins with a dollar sign as {{\"$literal\": …}}), and this is {}",
                    json.shown()
                ));
                None
            }
        }
    }

    /// `[longest, input…, default…]` of a `$zip`.
    pub(super) fn zip(&mut self, value: &Json) -> Option<Vec<Node>> {
        let [inputs, longest, defaults] = self.named(value, ["inputs", "useLongestLength", "defaults"], 1)?;
        let Some(Json::Array(inputs)) = inputs else {
            self.at_key("inputs", |p| p.problem("takes a list of expressions"));
            return None;
        };
        let longest = match longest {
            None => false,
            Some(Json::Bool(longest)) => *longest,
            Some(other) => {
                self.at_key("useLongestLength", |p| {
                    p.problem(format!("takes true or false, and this is {}", other.shown()))
                });
                return None;
            }
        };
        if inputs.is_empty() {
            self.at_key("inputs", |p| p.problem("needs at least one expression"));
            return None;
        }
        let mut nodes = vec![Node::Constant(Constant::Scalar(Value::Bool(longest)))];
        nodes.extend(self.at_key("inputs", |p| p.expressions(inputs))?);
        let defaults: &[Json] = match defaults {
            None => &[],
            Some(Json::Array(defaults)) => defaults,
            Some(other) => {
                self.at_key("defaults", |p| {
                    p.problem(format!("takes a list of expressions, and this is {}", other.shown()))
                });
                return None;
            }
        };
        let fault = match defaults.len() {
            0 => None,
            _ if !longest => Some("are of use only with \"useLongestLength\": true".to_owned()),
            length if length != inputs.len() => Some(format!("are {length}, and there are {} inputs", inputs.len())),
            _ => None,
        };
        if let Some(fault) = fault {
            self.at_key("defaults", |p| p.problem(fault));
            return None;
        }
        let defaults = self.at_key("defaults", |p| p.expressions(defaults))?;
        let missing = inputs.len() - defaults.len();
        nodes.extend(defaults);
        nodes.extend((0..missing).map(|_| Node::Constant(Constant::Scalar(Value::Null))));
        Some(nodes)
    }
}
