//! Random stages and pipelines. What a stage makes of the document is what the next one is generated for.

use boom_filter::{Outcome, Program, Rules};
use bson::{Bson, Document, RawDocumentBuf, doc};

use super::documents::NAMES;
use super::expression::Generator;
use super::json;
use super::operators::Kind;
use super::random::Random;

/// The stages; those that the language has not are left out of the generated pipelines.
pub(crate) const STAGES: [&str; 16] = [
    "$match",
    "$project",
    "$addFields",
    "$set",
    "$unset",
    "$sort",
    "$limit",
    "$skip",
    "$count",
    "$replaceRoot",
    "$replaceWith",
    "$unwind",
    "$group",
    "$sortByCount",
    "$bucket",
    "$redact",
];
/// Stages whose answer depends on the order of documents, which `$group` leaves open.
const ORDERED: [&str; 4] = ["$limit", "$skip", "$group", "$bucket"];
/// How often a stage is made anew because the document does not come through it.
const TRIES: usize = 3;

impl Generator<'_> {
    /// A pipeline for the document: an expression alone, a query alone, or several stages.
    pub(crate) fn pipeline(&mut self, document: &Document) -> Vec<Document> {
        self.see(document.clone());
        let mut pipeline = match self.random.below(10) {
            0..=3 => vec![self.lone_expression()],
            4 | 5 => vec![doc! {"$match": self.query()}],
            _ => self.stages(document),
        };
        if self.random.percent(3) {
            self.disturb(&mut pipeline);
        }
        pipeline
    }

    fn lone_expression(&mut self) -> Document {
        let passing = |stage: &Document, document: &Document| result(std::slice::from_ref(stage), document).is_some();
        let mut stage = Document::new();
        let document = self.document.clone();
        for _ in 0..TRIES {
            stage = doc! {"$project": {"r": self.any_expression()}};
            if passing(&stage, &document) || self.random.percent(30) {
                break;
            }
        }
        stage
    }

    fn stages(&mut self, document: &Document) -> Vec<Document> {
        let count = 1 + self.random.below(4);
        let mut pipeline = Vec::new();
        for _ in 0..count {
            for attempt in 1..=TRIES {
                let stage = self.stage();
                if ORDERED.iter().any(|name| stage.contains_key(*name)) && pipeline.iter().any(is_unordered) {
                    continue;
                }
                pipeline.push(stage);
                match result(&pipeline, document) {
                    Some(next) => {
                        self.see(next);
                        pipeline.extend(sets_sorted(&pipeline[pipeline.len() - 1]));
                        break;
                    }
                    // Where it ends here, in an error or a rejection, it ends seldom.
                    None if self.random.percent(15) || attempt == TRIES => return pipeline,
                    None => drop(pipeline.pop()),
                }
            }
        }
        pipeline
    }

    fn stage(&mut self) -> Document {
        let common = ["$match", "$project", "$addFields"];
        let name =
            if self.random.percent(45) { *self.random.of(&common) } else { *self.random.of(&self.grammar.stages) };
        let name = if self.grammar.stages.contains(&name) { name } else { self.grammar.stages[0] };
        let value = match name {
            "$match" => Bson::Document(self.query()),
            "$project" => Bson::Document(self.projection()),
            "$addFields" | "$set" => Bson::Document(self.computed()),
            "$unset" => self.unset(),
            "$sort" => Bson::Document(doc! {self.some_path(): *self.random.of(&[1, -1])}),
            "$limit" => Bson::Int32(self.random.between(1, 3) as i32),
            "$skip" => Bson::Int32(i32::from(self.random.percent(20))),
            "$count" => (*self.random.of(&["n", "a", "_id"])).into(),
            "$replaceRoot" => Bson::Document(doc! {"newRoot": self.root()}),
            "$replaceWith" => self.root(),
            "$unwind" => self.unwind(),
            "$sortByCount" => self.expression(Kind::Any, 1),
            "$bucket" => self.bucket(),
            "$redact" => Bson::Document(
                doc! {"$cond": [self.condition(), *self.random.of(&["$$KEEP", "$$PRUNE", "$$DESCEND"]), "$$DESCEND"]},
            ),
            _ => Bson::Document(self.group()),
        };
        doc! {name: value}
    }

    fn root(&mut self) -> Bson {
        match self.any_expression() {
            object @ Bson::Document(_) if self.random.percent(20) => object,
            _ => self.expression(Kind::Object, 0),
        }
    }

    /// A path of two or three names, of which some may be there.
    fn some_path(&mut self) -> String {
        let names: Vec<String> = self.document.keys().filter(|name| super::paths::is_plain(name)).cloned().collect();
        let mut path = if names.is_empty() || self.random.percent(20) {
            (*self.random.of(&NAMES)).to_owned()
        } else {
            self.random.of(&names).clone()
        };
        for _ in 0..self.random.below(6).saturating_sub(3) {
            path += ".";
            path += *self.random.of(&["a", "b", "c", "d", "0"]);
        }
        path
    }

    fn projection(&mut self) -> Document {
        let (excluding, computing) = (self.random.percent(25), self.random.percent(60));
        let mut projection = Document::new();
        for _ in 0..1 + self.random.below(4) {
            let path = self.some_path();
            if clashes(&projection, &path) && !self.random.percent(2) {
                continue;
            }
            let value = match excluding {
                true => (*self.random.of(&[Bson::Int32(0), Bson::Boolean(false), Bson::Double(0.0)])).clone(),
                false if computing && self.random.percent(50) => self.any_expression(),
                false if self.random.percent(15) => {
                    Bson::Document(doc! {(*self.random.of(&NAMES)): 1, "x": self.any_expression()})
                }
                false => {
                    (*self.random.of(&[Bson::Int32(1), Bson::Boolean(true), Bson::Int64(5), Bson::Double(0.5)])).clone()
                }
            };
            projection.insert(path, value);
        }
        if self.random.percent(30) {
            projection.insert("_id", 0);
        }
        if projection.is_empty() {
            projection.insert("a", 1);
        }
        projection
    }

    fn computed(&mut self) -> Document {
        let mut fields = Document::new();
        for _ in 0..1 + self.random.below(3) {
            let path = self.some_path();
            if !clashes(&fields, &path) {
                fields.insert(path, self.any_expression());
            }
        }
        fields
    }

    fn unset(&mut self) -> Bson {
        let path = self.some_path();
        if self.random.percent(50) {
            return path.into();
        }
        let second = self.some_path();
        let same = doc! {path.clone(): 1};
        if clashes(&same, &second) { vec![path].into() } else { vec![path, second].into() }
    }

    fn unwind(&mut self) -> Bson {
        let path = format!("${}", self.some_path());
        if self.random.percent(50) {
            return path.into();
        }
        let mut unwind = doc! {"path": path};
        if self.random.percent(50) {
            unwind.insert("includeArrayIndex", *self.random.of(&["i", "a", "b.i"]));
        }
        if self.random.percent(50) {
            unwind.insert("preserveNullAndEmptyArrays", self.random.percent(70));
        }
        Bson::Document(unwind)
    }

    fn bucket(&mut self) -> Bson {
        let mut bucket = doc! {"groupBy": self.expression(Kind::Number, 2), "boundaries": [-10, 0, 2, 5, 100]};
        if self.random.percent(70) {
            bucket.insert("default", self.random.of(&[Bson::Int32(1000), Bson::Null]).clone());
        }
        if self.random.percent(40) {
            bucket.insert("output", doc! {"n": {"$sum": self.expression(Kind::Number, 2)}});
        }
        Bson::Document(bucket)
    }

    fn group(&mut self) -> Document {
        const ACCUMULATORS: [&str; 12] = [
            "$sum",
            "$avg",
            "$min",
            "$max",
            "$push",
            "$addToSet",
            "$first",
            "$last",
            "$stdDevPop",
            "$stdDevSamp",
            "$mergeObjects",
            "$count",
        ];
        let mut group = doc! {"_id": if self.random.percent(50) { Bson::Null } else { self.any_expression() }};
        for name in ["n", "m"] {
            if self.random.percent(60) {
                let accumulator = *self.random.of(&ACCUMULATORS);
                let of = match accumulator {
                    "$count" => Bson::Document(Document::new()),
                    "$mergeObjects" => self.expression(Kind::Object, 2),
                    "$push" | "$addToSet" | "$first" | "$last" => self.any_expression(),
                    _ => self.expression(Kind::Number, 2),
                };
                group.insert(name, doc! {accumulator: of});
            }
        }
        group
    }

    /// Puts something where it does not belong, or takes something away.
    fn disturb(&mut self, pipeline: &mut [Document]) {
        let at = self.random.below(pipeline.len());
        let Some(stage) = pipeline.get_mut(at) else { return };
        let mut place = Bson::Document(stage.clone());
        disturb(&mut self.random, &mut place, 0);
        if let Bson::Document(changed) = place {
            *stage = changed;
        }
    }
}

fn disturb(random: &mut Random, value: &mut Bson, depth: usize) {
    let children: Vec<&mut Bson> = match value {
        Bson::Document(document) => document.iter_mut().map(|(_, value)| value).collect(),
        Bson::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    if !children.is_empty() && (depth == 0 || random.percent(75)) {
        let at = random.below(children.len());
        return disturb(random, children.into_iter().nth(at).expect("it is one of them"), depth + 1);
    }
    match value {
        Bson::Array(items) if !items.is_empty() && random.percent(50) => drop(items.pop()),
        Bson::Array(items) => items.push(Bson::Int32(1)),
        Bson::Document(document) => drop(document.insert(*random.of(&["x", "$x", "input", "$add", "a.b"]), 1)),
        other => *other = super::documents::value(random, 1),
    }
}

/// Whether the stage leaves the order of its documents open.
fn is_unordered(stage: &Document) -> bool {
    ["$group", "$sortByCount"].into_iter().any(|name| stage.contains_key(name))
}

/// A stage that sorts the sets that a `$group` has gathered: MongoDB gives them in the order of a hash table.
fn sets_sorted(stage: &Document) -> Option<Document> {
    let group = stage.get_document("$group").ok()?;
    let sets = group.iter().filter(|(_, value)| value.as_document().is_some_and(|of| of.contains_key("$addToSet")));
    let sorted: Document = sets
        .map(|(name, _)| (name.clone(), doc! {"$sortArray": {"input": format!("${name}"), "sortBy": 1}}.into()))
        .collect();
    (!sorted.is_empty()).then(|| doc! {"$set": sorted})
}

/// Whether a path is, begins or continues one that is there.
fn clashes(fields: &Document, path: &str) -> bool {
    fields.keys().any(|key| key == path || key.starts_with(&format!("{path}.")) || path.starts_with(&format!("{key}.")))
}

/// What the pipeline makes of the document; none where it does not come through.
fn result(pipeline: &[Document], document: &Document) -> Option<Document> {
    let program = Program::parse(&json::pipeline(pipeline), Rules::None).ok()?;
    let raw = RawDocumentBuf::try_from(document).ok()?;
    match program.evaluate(&raw, 0) {
        Outcome::Passed(result) => Document::try_from(result.as_ref()).ok(),
        _ => None,
    }
}
