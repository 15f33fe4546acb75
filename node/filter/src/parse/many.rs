//! The stages over several documents: `$unwind`, `$group`, `$sort`, `$sortByCount`, `$bucket`, and `$redact`.

use super::json::Json;
use super::{Parser, suggestion};
use crate::eval::Place;
use crate::expr::{Call, Constant, Extra, Node, operator};
use crate::many::{Accumulator, Fold, Group, Many, Pick, Rank, SortBy, Unwind};
use crate::redact::{DECISIONS, Redact};
use crate::stage::Stage;

const ACCUMULATORS: [&str; 20] = [
    "$addToSet",
    "$avg",
    "$bottom",
    "$bottomN",
    "$count",
    "$first",
    "$firstN",
    "$last",
    "$lastN",
    "$max",
    "$maxN",
    "$mergeObjects",
    "$min",
    "$minN",
    "$push",
    "$stdDevPop",
    "$stdDevSamp",
    "$sum",
    "$top",
    "$topN",
];

impl Parser {
    /// `$unwind`: a path, or `{path, includeArrayIndex, preserveNullAndEmptyArrays}`.
    pub(super) fn unwind(&mut self, json: &Json) -> Option<Stage> {
        let (path, index, preserve) = match json {
            Json::Text(_) => (json, None, None),
            _ => {
                let [path, index, preserve] =
                    self.named(json, ["path", "includeArrayIndex", "preserveNullAndEmptyArrays"], 1)?;
                (path?, index, preserve)
            }
        };
        let Json::Text(path) = path else {
            self.problem(format!("takes a path that begins with a dollar sign, and this is {}", path.shown()));
            return None;
        };
        let Some(path) = path.strip_prefix('$') else {
            self.problem(format!("takes a path that begins with a dollar sign; write \"${path}\""));
            return None;
        };
        let index = match index {
            None => None,
            Some(index) => Some(self.at_key("includeArrayIndex", |p| p.index_name(index, path))?),
        };
        let preserve = match preserve {
            None => false,
            Some(Json::Bool(preserve)) => *preserve,
            Some(other) => {
                let message = format!("takes true or false, and this is {}", other.shown());
                self.at_key("preserveNullAndEmptyArrays", |p| p.problem(message));
                return None;
            }
        };
        let parts = self.components(path)?;
        let before = std::mem::replace(&mut self.iterated, true);
        let names = self.path(&parts);
        self.iterated = before;
        if let Some(index) = &index {
            let first = self.names[index[0] as usize].clone();
            self.access.shadow(&first);
        }
        self.many = true;
        Some(Stage::Many(Many::Unwind(Unwind { path: names.into(), index, preserve })))
    }

    fn index_name(&mut self, json: &Json, path: &str) -> Option<Box<[crate::eval::Name]>> {
        let Json::Text(name) = json else {
            self.problem(format!("takes a field's name, and this is {}", json.shown()));
            return None;
        };
        let parts = self.components(name)?;
        // A mongod 6.0.5 crashes on it.
        if path.starts_with(&format!("{name}.")) || name.starts_with(&format!("{path}.")) {
            self.problem("an index within the unwound field, or around it, has no meaning; name another field");
            return None;
        }
        if parts.len() > 1 {
            self.access.read(&parts[..1]);
        }
        Some(parts.iter().map(|part| self.name(part)).collect())
    }

    /// `$sort`.
    pub(super) fn sort(&mut self, value: &Json) -> Option<Stage> {
        self.sort_by(value, 1).map(|by| Stage::Many(Many::Sort(by)))
    }

    /// Paths with their directions, at least so many.
    fn sort_by(&mut self, value: &Json, least: usize) -> Option<SortBy> {
        let Json::Object(fields) = value else {
            self.problem(format!("takes an object with a path each, and this is {}", value.shown()));
            return None;
        };
        if fields.len() < least {
            self.problem("needs at least one field to sort by");
            return None;
        }
        let mut keys = Vec::new();
        for (path, direction) in fields {
            let key = self.at_key(path, |p| {
                if matches!(direction, Json::Object(_)) {
                    p.problem("`$meta` is of a server's search; sort by a field");
                    return None;
                }
                let parts = p.components(path)?;
                Some((p.query_path(&parts).into(), p.direction(direction)?))
            });
            keys.push(key?);
        }
        Some(SortBy { keys: keys.into() })
    }

    /// `$group`.
    pub(super) fn group(&mut self, json: &Json) -> Option<Stage> {
        let Json::Object(fields) = json else {
            self.problem(format!("takes an object with `_id` and accumulators, and this is {}", json.shown()));
            return None;
        };
        if !fields.iter().any(|(key, _)| key == "_id") {
            self.problem("needs an `_id`: the expression whose equal values make a group; null for one group");
            return None;
        }
        let (mut id, mut accumulators) = (None, Vec::new());
        for (name, value) in fields {
            self.at_key(name, |p| {
                if name == "_id" {
                    id = p.group_id(value);
                } else if name.contains('.') || name.starts_with('$') {
                    p.problem("a field that is made here has a name without dots and dollar signs");
                } else if let Some(accumulator) = p.accumulator(value) {
                    accumulators.push((name.as_str().into(), accumulator));
                }
            });
        }
        self.access.end();
        self.many = true;
        Some(Stage::Many(Many::Group(Group { id: id?, fields: accumulators.into(), keyed: true })))
    }

    fn group_id(&mut self, json: &Json) -> Option<Node> {
        if let Json::Object(fields) = json {
            for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with('$')) {
                if matches!(
                    value,
                    Json::Bool(_)
                        | Json::Int(_)
                        | Json::Long(_)
                        | Json::Double(_)
                        | Json::Other(crate::raw::DECIMAL, _)
                ) {
                    self.at_key(name, |p| {
                        p.problem(
                            "1 does not include a field here; write its path, such as \"$band\", or {\"$literal\": 1}",
                        )
                    });
                    return None;
                }
            }
        }
        self.expression(json)
    }

    fn accumulator(&mut self, json: &Json) -> Option<Accumulator> {
        let Json::Object(fields) = json else {
            self.problem(format!("takes an accumulator, such as {{\"$sum\": 1}}, and this is {}", json.shown()));
            return None;
        };
        let [(name, value)] = fields.as_slice() else {
            self.problem(format!("takes one accumulator, and here are {}", fields.len()));
            return None;
        };
        self.at_key(name, |p| {
            let place = p.place();
            match name.as_str() {
                "$count" => {
                    if !matches!(value, Json::Object(fields) if fields.is_empty()) {
                        p.problem("takes {}");
                        return None;
                    }
                    Some(Accumulator::Count)
                }
                "$firstN" => p.pick(value, place, Pick::First),
                "$lastN" => p.pick(value, place, Pick::Last),
                "$maxN" => p.pick(value, place, Pick::Max),
                "$minN" => p.pick(value, place, Pick::Min),
                "$top" => p.rank(value, place, (true, false)),
                "$topN" => p.rank(value, place, (true, true)),
                "$bottom" => p.rank(value, place, (false, false)),
                "$bottomN" => p.rank(value, place, (false, true)),
                name if ACCUMULATORS.contains(&name) => p.fold(name, value, place),
                "$accumulator" => {
                    p.problem("`$accumulator` is refused: no JavaScript is run");
                    None
                }
                name => {
                    let hint = suggestion(name, ACCUMULATORS.into_iter());
                    p.problem(format!("`{name}` is no accumulator{hint}"));
                    None
                }
            }
        })
    }

    fn fold(&mut self, name: &str, value: &Json, place: Place) -> Option<Accumulator> {
        if matches!(value, Json::Array(_)) {
            self.problem(format!("`{name}` takes one expression here, and this is a list"));
            return None;
        }
        let node = self.expression(value)?;
        let fold = match name {
            "$first" => Fold::First,
            "$last" => Fold::Last,
            "$push" => Fold::Push,
            "$addToSet" => Fold::AddToSet,
            _ => {
                let (operator, slot) = (operator(name)?, self.slots(1));
                let args = Box::new([Node::Variable(slot, Box::new([]))]);
                Fold::Operator(Call { operator, number: self.call_number(), place, args, slot, extra: Extra::None })
            }
        };
        Some(Accumulator::Fold(fold, node))
    }

    fn pick(&mut self, value: &Json, place: Place, pick: Pick) -> Option<Accumulator> {
        let [n, input] = self.named(value, ["n", "input"], 2)?;
        let n = self.at_key("n", |p| p.expression(n?))?;
        let input = self.at_key("input", |p| p.expression(input?))?;
        Some(Accumulator::Pick(place, pick, n, input))
    }

    fn rank(&mut self, value: &Json, place: Place, (top, many): (bool, bool)) -> Option<Accumulator> {
        let [by, output, n] = if many {
            self.named(value, ["sortBy", "output", "n"], 3)?
        } else {
            let [by, output] = self.named(value, ["sortBy", "output"], 2)?;
            [by, output, None]
        };
        let by = self.at_key("sortBy", |p| p.sort_by(by?, 0))?;
        let output = self.at_key("output", |p| p.expression(output?))?;
        let n = match n {
            None => None,
            Some(n) => Some(self.at_key("n", |p| p.expression(n))?),
        };
        let keys = by.keys.iter().map(|(path, _)| Node::Path(path.iter().map(|part| part.name).collect())).collect();
        Some(Accumulator::Rank(Rank { place, top, n, by, keys, output }))
    }

    /// The first of so many variables that nothing else uses.
    fn slots(&mut self, count: u32) -> u32 {
        let slot = self.scope.len() as u32;
        self.variables = self.variables.max(slot + count);
        slot
    }

    /// `$count` of several documents.
    pub(super) fn counted(&mut self, name: &str) -> Stage {
        let id = Node::Constant(Constant::Scalar(crate::value::Value::Null));
        Stage::Many(Many::Group(Group { id, fields: Box::new([(name.into(), Accumulator::Count)]), keyed: false }))
    }

    /// `$sortByCount`: a `$group`, then a `$sort`.
    pub(super) fn sort_by_count(&mut self, json: &Json) -> Option<Vec<Stage>> {
        let is_expression = match json {
            Json::Text(path) => path.starts_with('$'),
            Json::Object(fields) => fields.first().is_some_and(|(key, _)| key.starts_with('$')),
            _ => false,
        };
        if !is_expression {
            self.problem(format!("takes a path, such as \"$band\", or an operator, and this is {}", json.shown()));
            return None;
        }
        let id = self.expression(json)?;
        self.access.end();
        self.many = true;
        let fields = Box::new([("count".into(), Accumulator::Count)]);
        let by = SortBy { keys: Box::new([(self.query_path(&["count"]).into(), true)]) };
        Some(vec![Stage::Many(Many::Group(Group { id, fields, keyed: true })), Stage::Many(Many::Sort(by))])
    }

    /// `$bucket`: a `$group` by a `$switch` over the boundaries, then a `$sort`.
    pub(super) fn bucket(&mut self, json: &Json) -> Option<Vec<Stage>> {
        let [by, boundaries, default, output] = self.named(json, ["groupBy", "boundaries", "default", "output"], 2)?;
        let (by, boundaries) = (by?, boundaries?);
        let is_expression = match by {
            Json::Text(path) => path.starts_with('$'),
            Json::Object(fields) => fields.first().is_some_and(|(key, _)| key.starts_with('$')),
            _ => false,
        };
        if !is_expression {
            let message =
                format!("takes a path, such as \"$candidate.magpsf\", or an operator, and this is {}", by.shown());
            self.at_key("groupBy", |p| p.problem(message));
            return None;
        }
        self.at_key("groupBy", |p| p.expression(by))?;
        let object = |fields: Vec<(&str, Json)>| {
            Json::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let call = |name: &str, args: [Json; 2]| object(vec![(name, Json::Array(args.into()))]);
        let Json::Array(bounds) = boundaries else {
            self.at_key("boundaries", |p| p.problem("takes a list of constants"));
            return None;
        };
        if bounds.len() < 2 {
            self.at_key("boundaries", |p| p.problem("needs at least two boundaries"));
            return None;
        }
        let mut branches = Vec::new();
        for (at, pair) in bounds.windows(2).enumerate() {
            let rises = self.at_key("boundaries", |p| {
                p.at_index(at + 1, |p| {
                    if p.kind(&pair[0])? != p.kind(&pair[1])? {
                        p.problem("the boundaries are of one type");
                        return None;
                    }
                    p.rises(&call("$lt", [pair[0].clone(), pair[1].clone()]))
                })
            });
            rises?;
            let within =
                call("$and", [call("$gte", [by.clone(), pair[0].clone()]), call("$lt", [by.clone(), pair[1].clone()])]);
            branches.push(object(vec![("case", within), ("then", pair[0].clone())]));
        }
        let mut switch = vec![("branches", Json::Array(branches))];
        if let Some(default) = default {
            let outside = object(vec![(
                "$or",
                Json::Array(vec![
                    call("$lt", [default.clone(), bounds[0].clone()]),
                    call("$gte", [default.clone(), bounds[bounds.len() - 1].clone()]),
                ]),
            )]);
            self.at_key("default", |p| p.rises(&outside))?;
            switch.push(("default", default.clone()));
        }
        let mut group = vec![("_id", object(vec![("$switch", object(switch))]))];
        let counted = object(vec![("$sum", Json::Int(1))]);
        match output {
            None => group.push(("count", counted)),
            Some(Json::Object(fields)) => group.extend(fields.iter().map(|(key, value)| (key.as_str(), value.clone()))),
            Some(other) => {
                self.at_key("output", |p| {
                    p.problem(format!("takes an object with accumulators, and this is {}", other.shown()))
                });
                return None;
            }
        }
        let group = self.group(&object(group))?;
        let by = SortBy { keys: Box::new([(self.query_path(&["_id"]).into(), false)]) };
        Some(vec![group, Stage::Many(Many::Sort(by))])
    }

    /// The place of a constant's type in the order of types; numbers are of one type. None for what is no constant.
    fn kind(&mut self, json: &Json) -> Option<u8> {
        match self.expression(json)? {
            Node::Constant(constant) => Some(crate::compare::rank(constant.value())),
            _ => {
                self.problem("takes constants");
                None
            }
        }
    }

    /// A problem unless the comparison of constants is true.
    fn rises(&mut self, comparison: &Json) -> Option<()> {
        match self.expression(comparison)? {
            Node::Constant(constant) if constant.value().is_true() => Some(()),
            Node::Constant(_) => {
                self.problem("the boundaries rise, and the default lies outside of them");
                None
            }
            _ => {
                self.problem("takes constants");
                None
            }
        }
    }

    /// `$redact`.
    pub(super) fn redact(&mut self, json: &Json, place: Place) -> Option<Stage> {
        let depth = self.scope.len();
        self.access.read(&[]);
        self.scope.push("CURRENT".to_owned());
        self.scope.extend(DECISIONS.iter().map(|(name, _)| (*name).to_owned()));
        self.variables = self.variables.max(self.scope.len() as u32);
        let node = self.expression(json);
        self.scope.truncate(depth);
        Some(Stage::Redact(Redact { place, node: node?, slot: depth as u32 }))
    }
}
