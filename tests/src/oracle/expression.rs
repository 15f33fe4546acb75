//! Random expressions, by the kind of value that is wanted: constants, paths that the document has, operators by their table, and those
//! that bind variables.

use boom_filter::{Outcome, Program, Rules};
use bson::{Bson, Document, RawDocumentBuf, doc};

use super::constants;
use super::grammar::Grammar;
use super::json;
use super::operators::{Argument, Kind, Often, Operator};
use super::paths::{Seen, fits, look};
use super::random::Random;

/// Expressions nest so deep, and no deeper.
const DEPTH: usize = 5;
/// In so many of a hundred places stands something of another kind than is wanted.
const WILD: u32 = 3;

/// Makes parts of one pipeline for one document.
#[derive(Debug)]
pub(crate) struct Generator<'g> {
    pub(crate) random: Random,
    pub(crate) grammar: &'g Grammar,
    /// What the next stage sees.
    pub(crate) document: Document,
    /// What paths and variables give there.
    seen: Vec<Seen>,
    /// How many variables are bound.
    bound: usize,
    /// So many more operators may be used.
    room: usize,
}

impl<'g> Generator<'g> {
    pub(crate) fn new(random: Random, grammar: &'g Grammar, document: Document) -> Self {
        let mut generator = Self { random, grammar, document: Document::new(), seen: Vec::new(), bound: 0, room: 0 };
        generator.see(document);
        generator
    }

    /// Takes what the next stage sees.
    pub(crate) fn see(&mut self, document: Document) {
        self.seen.clear();
        for (name, value) in &document {
            look(&format!("${name}"), value, &mut self.seen);
        }
        self.document = document;
    }

    /// An expression of any kind; where some operators are asked for, with one of them.
    pub(crate) fn any_expression(&mut self) -> Bson {
        self.room = if self.random.percent(15) { 24 } else { 8 };
        let kinds = [Kind::Any, Kind::Number, Kind::Bool, Kind::Text, Kind::Array, Kind::Object, Kind::Date];
        let kind = match self.grammar.wanted(&mut self.random) {
            Some(operator) if self.random.percent(80) => return self.call(operator, Kind::Any, 0),
            _ => *self.random.of(&kinds),
        };
        self.expression(kind, 0)
    }

    /// An expression that is true or false, mostly.
    pub(crate) fn condition(&mut self) -> Bson {
        self.room = 8;
        self.expression(Kind::Bool, 1)
    }

    /// An expression that gives such a value.
    pub(crate) fn expression(&mut self, kind: Kind, depth: usize) -> Bson {
        let kind = if self.random.percent(WILD) { Kind::Any } else { kind };
        let leaf = depth >= DEPTH || self.room == 0 || self.random.percent(10 + 14 * depth as u32);
        if leaf || constants::is_word(kind) && !self.random.percent(8) {
            return self.leaf(kind);
        }
        self.room -= 1;
        match self.random.below(24) {
            0 => self.map(kind, depth),
            1 => self.filter(kind, depth),
            2 => self.reduce(kind, depth),
            3 => self.bind(kind, depth),
            4 => self.switch(kind, depth),
            5 | 6 => self.built(kind, depth),
            _ => match self.grammar.giving(kind, &mut self.random) {
                Some(operator) => self.call(operator, kind, depth),
                None => self.leaf(kind),
            },
        }
    }

    /// A constant, a path or a variable.
    fn leaf(&mut self, kind: Kind) -> Bson {
        match self.random.below(40) {
            0 => return Bson::Null,
            1 => return Bson::String("$missing".to_owned()),
            2 if self.random.percent(40) => return Bson::String("$$REMOVE".to_owned()),
            3 if kind == Kind::Object => return Bson::String((*self.random.of(&["$$ROOT", "$$CURRENT"])).to_owned()),
            4 => return self.literal(kind),
            5..=27 => {
                if let Some(path) = self.path(kind) {
                    return Bson::String(path);
                }
            }
            _ => {}
        }
        constants::written(&mut self.random, kind)
    }

    /// A path or a variable of that kind.
    fn path(&mut self, kind: Kind) -> Option<String> {
        if constants::is_word(kind) {
            return None;
        }
        let fitting: Vec<usize> = (0..self.seen.len()).filter(|at| fits(&self.seen[*at].value, kind)).collect();
        // Variables are the last, and there for being used.
        let from = if self.random.percent(50) { fitting.len().saturating_sub(6) } else { 0 };
        (!fitting.is_empty()).then(|| {
            let at = from + self.random.below(fitting.len() - from);
            self.seen[fitting[at]].text.clone()
        })
    }

    fn literal(&mut self, kind: Kind) -> Bson {
        let constant = if self.random.percent(20) {
            Bson::String("$a".to_owned())
        } else {
            constants::constant(&mut self.random, kind)
        };
        Bson::Document(doc! {"$literal": constant})
    }

    /// An array or a document that is written out.
    fn built(&mut self, kind: Kind, depth: usize) -> Bson {
        let element = element(kind);
        match kind {
            Kind::Object | Kind::Any => {
                let names = self.random.some(&["a", "b", "c", "x"], 50);
                names
                    .into_iter()
                    .map(|name| (name.to_owned(), self.expression(Kind::Any, depth + 1)))
                    .collect::<Document>()
                    .into()
            }
            Kind::Array | Kind::Numbers | Kind::Texts | Kind::Documents => {
                let length = self.random.below(4);
                (0..length).map(|_| self.expression(element, depth + 1)).collect()
            }
            _ => self.leaf(kind),
        }
    }

    /// A call of an operator, as its row says.
    fn call(&mut self, operator: &'g Operator, wanted: Kind, depth: usize) -> Bson {
        let kind = |argument: &Argument| match argument.kind {
            Kind::Same => wanted,
            Kind::ListOfSame => list(wanted),
            kind => kind,
        };
        let mut values = Vec::new();
        for argument in &operator.arguments {
            let times = match argument.often {
                Often::Once => 1,
                Often::Perhaps => usize::from(self.random.percent(50)),
                Often::Several => 1 + self.random.below(3),
            };
            for _ in 0..times {
                values.push((argument.name.clone(), self.argument(kind(argument), depth + 1)));
            }
            // What stands in a list may be left out at its end only.
            if times == 0 && !operator.named {
                break;
            }
        }
        if operator.named {
            return Bson::Document(doc! {operator.name: values.into_iter().collect::<Document>()});
        }
        let single = values.len() == 1 && !matches!(values[0].1, Bson::Array(_)) && self.random.percent(70);
        let written = if single { values.remove(0).1 } else { values.into_iter().map(|(_, value)| value).collect() };
        Bson::Document(doc! {operator.name: written})
    }

    fn argument(&mut self, kind: Kind, depth: usize) -> Bson {
        match kind {
            Kind::SortBy => self.sort_by(),
            Kind::Arrays => (0..1 + self.random.below(3)).map(|_| self.expression(Kind::Array, depth)).collect(),
            kind => self.expression(kind, depth),
        }
    }

    fn sort_by(&mut self) -> Bson {
        let direction = |random: &mut Random| if random.percent(50) { 1 } else { -1 };
        if self.random.percent(40) {
            return direction(&mut self.random).into();
        }
        let names: Vec<&str> = self.random.some(&["a", "b", "c", "a.b", "jd", "magpsf"], 40);
        let names = if names.is_empty() { vec!["d"] } else { names };
        names.into_iter().map(|name| (name.to_owned(), direction(&mut self.random).into())).collect::<Document>().into()
    }

    /// What the expression gives, where it depends on no variable: what a variable that is bound to it is like.
    fn sample(&self, expression: &Bson) -> Option<Bson> {
        if let Bson::String(text) = expression {
            return self.seen.iter().find(|seen| seen.text == *text).map(|seen| seen.value.clone());
        }
        let pipeline = [doc! {"$replaceWith": {"r": expression.clone()}}];
        let program = Program::parse(&json::pipeline(&pipeline), Rules::None).ok()?;
        let document = RawDocumentBuf::try_from(&self.document).ok()?;
        let Outcome::Passed(result) = program.evaluate(&document, 0) else { return None };
        Document::try_from(result.as_ref()).ok()?.remove("r")
    }

    /// Generates with these variables bound.
    fn binding(&mut self, variables: &[(&str, Option<Bson>)], body: Kind, depth: usize) -> Bson {
        let before = self.seen.len();
        for (name, value) in variables {
            look(&format!("$${name}"), value.as_ref().unwrap_or(&Bson::Null), &mut self.seen);
        }
        self.bound += 1;
        let expression = self.expression(body, depth);
        self.bound -= 1;
        self.seen.truncate(before);
        expression
    }

    /// An input with an element of it.
    fn input(&mut self, kind: Kind, depth: usize) -> (Bson, Option<Bson>) {
        let input = self.expression(kind, depth);
        let sample = match self.sample(&input) {
            Some(Bson::Array(mut items)) if !items.is_empty() => Some(items.remove(self.random.below(items.len()))),
            _ => None,
        };
        (input, sample)
    }

    /// Its own name, or none: then it is `this`.
    fn name(&mut self) -> Option<&'static str> {
        const NAMES: [&str; 4] = ["v", "w", "x", "y"];
        if self.random.percent(30) { None } else { Some(NAMES[self.bound % NAMES.len()]) }
    }

    fn map(&mut self, kind: Kind, depth: usize) -> Bson {
        if !matches!(kind, Kind::Any | Kind::Array | Kind::Numbers | Kind::Texts | Kind::Documents) {
            return self.reduce(kind, depth);
        }
        let over = *self.random.of(&[Kind::Array, Kind::Documents, Kind::Numbers]);
        let (input, element) = self.input(over, depth + 1);
        let name = self.name();
        let body = self.binding(&[(name.unwrap_or("this"), element)], self::element(kind), depth + 1);
        let mut map = doc! {"input": input};
        if let Some(name) = name {
            map.insert("as", name);
        }
        map.insert("in", body);
        Bson::Document(doc! {"$map": map})
    }

    fn filter(&mut self, kind: Kind, depth: usize) -> Bson {
        if !matches!(kind, Kind::Any | Kind::Array | Kind::Numbers | Kind::Texts | Kind::Documents) {
            return self.bind(kind, depth);
        }
        let (input, element) = self.input(if kind == Kind::Any { Kind::Array } else { kind }, depth + 1);
        let name = self.name();
        let body = self.binding(&[(name.unwrap_or("this"), element)], Kind::Bool, depth + 1);
        let mut filter = doc! {"input": input};
        if let Some(name) = name {
            filter.insert("as", name);
        }
        filter.insert("cond", body);
        if self.random.percent(20) {
            filter.insert("limit", self.expression(Kind::Count, depth + 1));
        }
        Bson::Document(doc! {"$filter": filter})
    }

    fn reduce(&mut self, kind: Kind, depth: usize) -> Bson {
        let over = *self.random.of(&[Kind::Array, Kind::Documents, Kind::Numbers]);
        let (input, element) = self.input(over, depth + 1);
        let initial = self.expression(kind, depth + 1);
        let value = self.sample(&initial);
        let body = self.binding(&[("this", element), ("value", value)], kind, depth + 1);
        Bson::Document(doc! {"$reduce": {"input": input, "initialValue": initial, "in": body}})
    }

    fn bind(&mut self, kind: Kind, depth: usize) -> Bson {
        const NAMES: [&str; 2] = ["p", "q"];
        let count = 1 + self.random.below(2);
        let mut vars = Document::new();
        let mut bound = Vec::new();
        for name in &NAMES[..count] {
            let value = self.expression(Kind::Any, depth + 1);
            bound.push((*name, self.sample(&value)));
            vars.insert(*name, value);
        }
        let body = self.binding(&bound, kind, depth + 1);
        Bson::Document(doc! {"$let": {"vars": vars, "in": body}})
    }

    fn switch(&mut self, kind: Kind, depth: usize) -> Bson {
        let count = 1 + self.random.below(3);
        let mut branch =
            || doc! {"case": self.expression(Kind::Bool, depth + 1), "then": self.expression(kind, depth + 1)};
        let branches: Vec<Document> = (0..count).map(|_| branch()).collect();
        let mut switch = doc! {"branches": branches};
        if self.random.percent(85) {
            switch.insert("default", self.expression(kind, depth + 1));
        }
        Bson::Document(doc! {"$switch": switch})
    }
}

/// What an array of that kind holds.
fn element(kind: Kind) -> Kind {
    match kind {
        Kind::Numbers => Kind::Number,
        Kind::Texts => Kind::Text,
        Kind::Documents => Kind::Object,
        _ => Kind::Any,
    }
}

/// An array that holds that.
fn list(kind: Kind) -> Kind {
    match kind {
        Kind::Number | Kind::Int | Kind::Small | Kind::Count => Kind::Numbers,
        Kind::Text => Kind::Texts,
        Kind::Object => Kind::Documents,
        _ => Kind::Array,
    }
}
