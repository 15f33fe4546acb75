//! Expressions: paths, variables, constants, operators with their arguments.
//!
//! Constants are folded in `fold`, variables bound in `variables`.

use super::fold::picked;
use super::json::{Json, array_constant, document_constant};
use super::{Parser, suggestion};
use crate::eval::Name;
use crate::expr::{Call, Constant, Extra, Form, Node, Operator, SortKey, operator};
use crate::lanes::Body;
use crate::value::Value;

/// Operators whose arguments MongoDB takes as they are written: nothing in them is folded, or refused because it always fails.
const UNPREPARED: [&str; 7] = ["$firstN", "$getField", "$lastN", "$maxN", "$minN", "$setField", "$unsetField"];

/// Paths of more components are refused.
pub(super) const MAX_PATH: usize = 100;

impl Parser {
    /// Compiles an expression; none when a problem was reported.
    pub(super) fn expression(&mut self, json: &Json) -> Option<Node> {
        match json {
            Json::Text(text) if text.starts_with("$$") => self.variable(&text[2..]),
            Json::Text(text) if text.starts_with('$') => self.field(&text[1..]),
            Json::Array(items) => {
                let nodes = self.expressions(items)?;
                Some(match constants(&nodes) {
                    Some(constants) => Node::Constant(array_constant(&constants)),
                    None => Node::Array(nodes.into()),
                })
            }
            Json::Object(fields) => self.object(fields),
            other => Some(Node::Constant(other.constant())),
        }
    }

    pub(super) fn expressions(&mut self, items: &[Json]) -> Option<Vec<Node>> {
        let nodes: Vec<_> =
            items.iter().enumerate().map(|(at, item)| self.at_index(at, |p| p.expression(item))).collect();
        nodes.into_iter().collect()
    }

    fn object(&mut self, fields: &[(String, Json)]) -> Option<Node> {
        if let [(name, value)] = fields
            && name.starts_with('$')
        {
            return self.at_key(name, |p| p.operator(name, value));
        }
        let mut nodes = Vec::new();
        let mut sound = true;
        for (name, value) in fields {
            let fault = match name {
                name if name.is_empty() => Some("a name in a document that is built here is not empty"),
                name if name.starts_with('$') => Some("an operator stands alone in its object"),
                name if name.contains('.') => {
                    Some("a name in a document that is built here has no dots; nest documents instead")
                }
                _ => None,
            };
            let node = self.at_key(name, |p| {
                if let Some(fault) = fault {
                    p.problem(fault);
                }
                p.expression(value)
            });
            sound &= fault.is_none();
            nodes.push((name.as_str().into(), node?));
        }
        if !sound {
            return None;
        }
        let constant = |(name, node): &(Box<str>, Node)| match node {
            Node::Constant(constant) => Some((name.clone(), constant.clone())),
            _ => None,
        };
        let constants: Option<Vec<(Box<str>, Constant)>> = nodes.iter().map(constant).collect();
        Some(match constants {
            Some(constants) => Node::Constant(document_constant(&constants)),
            None => Node::Object(nodes.into()),
        })
    }

    /// Splits a dotted path; a problem when a component is empty.
    pub(super) fn components<'p>(&mut self, path: &'p str) -> Option<Vec<&'p str>> {
        let parts: Vec<&str> = path.split('.').collect();
        let fault = if path.is_empty() {
            "`$` alone is no path; name a field, or write {\"$literal\": \"$\"}".to_owned()
        } else if parts.iter().any(|part| part.is_empty()) {
            format!("the path `{path}` has an empty component")
        } else if parts.len() > MAX_PATH {
            format!("the path has {} components, at most {MAX_PATH} are allowed", parts.len())
        } else if let Some(part) = parts.iter().find(|part| part.starts_with('$')) {
            format!("`{part}` in the path `{path}` must not begin with a dollar sign")
        } else {
            return Some(parts);
        };
        self.problem(fault);
        None
    }

    /// Notes a path into the stage's document, and numbers its names.
    pub(super) fn path(&mut self, parts: &[&str]) -> Vec<Name> {
        self.access.read(parts);
        self.note(parts);
        let names: Vec<Name> = parts.iter().map(|part| self.name(part)).collect();
        self.access.paths.push((names.clone(), self.iterated));
        names
    }

    fn field(&mut self, path: &str) -> Option<Node> {
        let parts = self.components(path)?;
        if let Some(slot) = self.scope.iter().rposition(|name| name == "CURRENT") {
            return Some(self.in_variable(slot, &parts));
        }
        Some(Node::Path(self.path(&parts).into()))
    }

    fn in_variable(&mut self, slot: usize, parts: &[&str]) -> Node {
        self.note_in_variable(slot, parts);
        let names: Vec<Name> = parts.iter().map(|part| self.name(part)).collect();
        if !names.is_empty() {
            self.access.fields.push(names.clone());
        }
        Node::Variable(slot as u32, names.into())
    }

    fn variable(&mut self, path: &str) -> Option<Node> {
        let parts = self.components(path)?;
        let (variable, rest) = (parts[0], &parts[1..]);
        if let Some(slot) = self.scope.iter().rposition(|name| name == variable) {
            return Some(self.in_variable(slot, rest));
        }
        match variable {
            "ROOT" | "CURRENT" => Some(Node::Path(self.path(rest).into())),
            "REMOVE" => Some(Node::Constant(Constant::Scalar(Value::Missing))),
            "NOW" => Some(Node::Now),
            "CLUSTER_TIME" | "USER_ROLES" | "SEARCH_META" => {
                self.problem(format!(
                    "`$${variable}` is of a MongoDB server; a filter sees one alert, whose time is `$$NOW`"
                ));
                None
            }
            _ => {
                let scope: Vec<String> = self.scope.clone();
                let known = scope.iter().map(String::as_str).chain(["ROOT", "CURRENT", "REMOVE", "NOW"]);
                let known = known.filter(|name| !name.is_empty());
                let hint = suggestion(variable, known);
                self.problem(format!("unknown variable `$${variable}`{hint}"));
                None
            }
        }
    }

    fn operator(&mut self, name: &str, value: &Json) -> Option<Node> {
        if self.is_switched_off(name) {
            return None;
        }
        let Some(operator) = operator(name) else {
            let reason = match refused(name) {
                Some(reason) => format!("is refused: {reason}"),
                None => format!("is no operator{}", suggestion(name, self.operator_names())),
            };
            self.problem(format!("`{name}` {reason}"));
            return None;
        };
        let call = Call {
            operator,
            number: self.call_number(),
            place: self.place(),
            args: Box::new([]),
            slot: self.scope.len() as u32,
            extra: Extra::None,
        };
        let outer = self.unprepared;
        self.unprepared |= UNPREPARED.contains(&name);
        let node = self.call(call, value);
        self.unprepared = outer;
        node
    }

    /// An operator with its arguments.
    fn call(&mut self, mut call: Call, value: &Json) -> Option<Node> {
        let operator = call.operator;
        let name = operator.name;
        match operator.form {
            Form::Literal => return Some(Node::Constant(value.constant())),
            Form::Args(min, max) => call.args = self.arguments(operator, value, min, max)?.into(),
            Form::Associative => return self.grouped(call, value, false),
            Form::Commutative => return self.grouped(call, value, true),
            Form::Cond => call.args = self.cond(operator, value)?.into(),
            Form::Switch => {
                call.args = self.switch(value)?.into();
                return Some(if call.args.len() == 1 && !self.unprepared { picked(call) } else { Node::Call(call) });
            }
            Form::Let => call.args = self.bindings(value)?.into(),
            Form::Date => call.args = self.date_and_zone(operator, value)?.into(),
            Form::Named(names, required) => call.args = self.named_arguments(value, names, required)?.into(),
            Form::Field(names) => call.args = self.field_arguments(value, names)?.into(),
            Form::Zip => call.args = self.zip(value)?.into(),
            Form::Filter | Form::Map => {
                call.args = self.over_array(operator, value)?.into();
                call.extra =
                    Body::of(&call.args[1], call.slot).map_or(Extra::None, |body| Extra::Lanes(Box::new(body)));
            }
            Form::Reduce => call.args = self.over_array(operator, value)?.into(),
            Form::InMoc => {
                let (map, args) = self.in_moc(value)?;
                call.extra = Extra::Map(map);
                call.args = args.into();
            }
            Form::SortArray => {
                let [input, by] = self.named(value, ["input", "sortBy"], 2)?;
                self.note_sort_key(input, by);
                call.args = Box::new([self.at_key("input", |p| p.iterating(input?))?]);
                call.extra = Extra::Sort(Box::new(self.at_key("sortBy", |p| p.sort_key(by?))?));
            }
        }
        if name.starts_with("$regex") && !self.one_more_pattern() {
            return None;
        }
        if let Some(prepare) = operator.prepare {
            match prepare(&call.args) {
                Ok(extra) => call.extra = extra,
                Err(_) if self.unreached || self.unprepared => {}
                Err(reason) => {
                    self.problem(format!("`{name}` {reason}"));
                    return None;
                }
            }
        }
        Some(self.folded(call))
    }

    /// A date, alone or in a list, or `{date, timezone}`.
    fn date_and_zone(&mut self, operator: &Operator, value: &Json) -> Option<Vec<Node>> {
        match value {
            Json::Object(fields) if !fields.first().is_some_and(|(name, _)| name.starts_with('$')) => {
                self.named_arguments(value, &["date", "timezone"], 1)
            }
            other => self.arguments(operator, other, 1, 1),
        }
    }

    pub(super) fn arguments(&mut self, operator: &Operator, value: &Json, min: usize, max: usize) -> Option<Vec<Node>> {
        let nodes = match value {
            Json::Array(items) => self.expressions(items)?,
            single => vec![self.expression(single)?],
        };
        if (min..=max).contains(&nodes.len()) {
            return Some(nodes);
        }
        let allowed = match (min, max) {
            (min, max) if min == max => min.to_string(),
            (min, usize::MAX) => format!("at least {min}"),
            (min, max) => format!("{min} to {max}"),
        };
        self.problem(format!("`{}` takes {allowed} arguments, and here are {}", operator.name, nodes.len()));
        None
    }

    /// An expression whose array's documents are looked into.
    pub(super) fn iterating(&mut self, json: &Json) -> Option<Node> {
        let before = std::mem::replace(&mut self.iterated, true);
        let node = self.expression(json);
        self.iterated = before;
        node
    }

    /// The named arguments of an operator; the first `required` must be there.
    pub(super) fn named<'j, const N: usize>(
        &mut self,
        value: &'j Json,
        names: [&str; N],
        required: usize,
    ) -> Option<[Option<&'j Json>; N]> {
        self.named_list(value, &names, required)?.try_into().ok()
    }

    pub(super) fn named_list<'j>(
        &mut self,
        value: &'j Json,
        names: &[&str],
        required: usize,
    ) -> Option<Vec<Option<&'j Json>>> {
        let Json::Object(fields) = value else {
            self.problem(format!("takes an object with {}, and this is {}", listed(names), value.shown()));
            return None;
        };
        let mut sound = true;
        for (key, _) in fields {
            if !names.contains(&key.as_str()) {
                sound = false;
                let hint = suggestion(key, names.iter().copied());
                self.at_key(key, |p| p.problem(format!("`{key}` is no argument here{hint}")));
            }
        }
        let find = |name: &&str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let given: Vec<_> = names.iter().map(find).collect();
        for (name, value) in names.iter().zip(&given).take(required) {
            if value.is_none() {
                sound = false;
                self.problem(format!("`{name}` is missing"));
            }
        }
        sound.then_some(given)
    }

    /// The arguments of [`Form::Named`].
    fn named_arguments(&mut self, value: &Json, names: &[&'static str], required: usize) -> Option<Vec<Node>> {
        let given = self.named_list(value, names, required)?;
        let nodes: Vec<_> = names
            .iter()
            .zip(given)
            .map(|(name, json)| match json {
                Some(json) => self.at_key(name, |p| p.expression(json)),
                None => Some(Node::Absent),
            })
            .collect();
        nodes.into_iter().collect()
    }

    fn cond(&mut self, operator: &Operator, value: &Json) -> Option<Vec<Node>> {
        if !matches!(value, Json::Object(_)) {
            return self.arguments(operator, value, 3, 3);
        }
        let names = ["if", "then", "else"];
        let given = self.named(value, names, 3)?;
        let nodes: Vec<_> =
            names.iter().zip(given).map(|(name, json)| self.at_key(name, |p| p.expression(json?))).collect();
        nodes.into_iter().collect()
    }

    pub(super) fn switch(&mut self, value: &Json) -> Option<Vec<Node>> {
        let [branches, default] = self.named(value, ["branches", "default"], 1)?;
        let Some(Json::Array(branches)) = branches else {
            self.at_key("branches", |p| p.problem("takes a list of {case, then}"));
            return None;
        };
        let mut nodes = Vec::new();
        if branches.is_empty() {
            self.at_key("branches", |p| p.problem("needs at least one branch"));
            return None;
        }
        // A branch that is always taken is the default of those before it.
        let mut last = match default {
            Some(default) => Some(self.at_key("default", |p| p.expression(default))?),
            None => None,
        };
        let (before, mut decided) = (self.unreached, false);
        for (at, branch) in branches.iter().enumerate() {
            let [case, then] = self.at_key("branches", |p| p.at_index(at, |p| p.branch(branch)))?;
            match case {
                Node::Constant(constant) if decided || !constant.value().is_true() => {}
                Node::Constant(_) => (decided, last) = (true, Some(then)),
                case if !decided => nodes.extend([case, then]),
                _ => {}
            }
        }
        self.unreached = before;
        nodes.extend(last);
        if nodes.is_empty() && !self.unreached && !self.unprepared {
            self.problem("this always fails: no branch is ever true, and there is no default");
        }
        Some(nodes)
    }

    /// One branch of a `$switch`. MongoDB does not look for what always fails in what is never reached: the value of a branch whose case is
    /// never true, and all branches behind one whose case always is.
    fn branch(&mut self, json: &Json) -> Option<[Node; 2]> {
        let [case, then] = self.named(json, ["case", "then"], 2)?;
        let case = self.at_key("case", |p| p.expression(case?))?;
        let before = self.unreached;
        let taken = if let Node::Constant(constant) = &case { Some(constant.value().is_true()) } else { None };
        self.unreached |= taken == Some(false);
        let then = self.at_key("then", |p| p.expression(then?));
        self.unreached = before || taken == Some(true);
        Some([case, then?])
    }

    fn sort_key(&mut self, json: &Json) -> Option<SortKey> {
        let Json::Object(fields) = json else {
            // Here MongoDB takes no fraction, where it sorts by fields it does.
            if crate::number::integral(json.constant().value()).is_none() {
                self.problem(format!("takes 1 (ascending) or -1 (descending), and this is {}", json.shown()));
                return None;
            }
            return self.direction(json).map(SortKey::Whole);
        };
        if fields.is_empty() {
            self.problem("needs at least one field to sort by");
            return None;
        }
        let mut paths = Vec::new();
        for (path, value) in fields {
            let parsed = self.at_key(path, |p| {
                let parts = p.components(path)?;
                let names: Vec<Name> = parts.iter().map(|part| p.name(part)).collect();
                p.access.fields.push(names.clone());
                Some((names.into(), p.direction(value)?))
            });
            paths.push(parsed?);
        }
        Some(SortKey::Paths(paths.into()))
    }

    /// 1 or -1; true for descending.
    pub(super) fn direction(&mut self, json: &Json) -> Option<bool> {
        // A fraction is cut off, as in MongoDB.
        let direction = match json.constant().value() {
            Value::Double(x) => crate::number::whole(x.trunc()),
            Value::Other(crate::raw::DECIMAL, bytes) => crate::decimal::Decimal::read(bytes).truncated(),
            value => crate::number::integral(value),
        };
        match direction {
            Some(1) => Some(false),
            Some(-1) => Some(true),
            _ => {
                self.problem(format!("takes 1 (ascending) or -1 (descending), and this is {}", json.shown()));
                None
            }
        }
    }
}

/// Why an operator of MongoDB is refused, and what to use instead.
fn refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "$rand" | "$sampleRate" => {
            "a filter gives the same answer each time; to sample, compare `$mod` of a number of the alert's own, such as its candid"
        }
        "$function" | "$accumulator" | "$where" => "no JavaScript is run; write it with operators",
        "$meta" => "text scores and index keys are of a MongoDB server's searches; a filter sees one alert",
        "$toHashedIndexKey" => "hashed indexes are of a MongoDB server; compare the value itself",
        "$shift" | "$rank" | "$denseRank" | "$documentNumber" | "$expMovingAvg" | "$linearFill" | "$locf"
        | "$derivative" | "$integral" | "$covariancePop" | "$covarianceSamp" => {
            "windows run over many documents; a filter sees one alert: use `$map` and `$reduce` over its series"
        }
        "$push" | "$addToSet" | "$top" | "$topN" | "$bottom" | "$bottomN" => {
            "it gathers many documents in `$group`; over an alert's own series use `$map`, `$setUnion` or `$sortArray`"
        }
        _ => return None,
    })
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The constants that they are; none where one is no constant.
fn constants(nodes: &[Node]) -> Option<Vec<Constant>> {
    nodes
        .iter()
        .map(|node| match node {
            Node::Constant(constant) => Some(constant.clone()),
            _ => None,
        })
        .collect()
}
