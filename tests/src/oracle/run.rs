//! A run: units of one document and many pipelines, several at a time, and what is counted and found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bson::{Bson, Document, doc};
use mongodb::{Client, Collection};
use serde_json::json;

use super::answer::{Answer, Pair};
use super::expression::Generator;
use super::intended::INTENDED;
use super::random::Random;
use super::shrink::{smaller_documents, smaller_pipelines};
use super::{Grammar, documents, json};

/// Pipelines for each document.
const PIPELINES: u64 = 40;
/// Units under way at a time, each with a connection and a collection of its own.
const LANES: usize = 8;
/// So many times a disagreement may be tried smaller.
const ATTEMPTS: usize = 1500;
/// So many disagreements are made smaller; the others are counted only. What is intended is seen on the least pair, where nothing hides
/// behind it.
const SHRUNK: u64 = 3000;

/// What to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What all choices come from.
    pub seed: u64,
    /// Pairs, at least.
    pub cases: u64,
    /// Operators that are to be in most pipelines; all where there are none.
    pub only: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Pairs that were compared.
    pub pairs: u64,
    /// What MongoDB said of them: a document, a rejection, an error, a limit.
    pub answers: BTreeMap<char, u64>,
    /// Pairs with each stage and operator, and those of them without an error.
    pub operators: BTreeMap<String, (u64, u64)>,
    /// Intended differences by name.
    pub intended: BTreeMap<&'static str, u64>,
    /// Disagreements by what is in them: how many, and the first as a line of JSON.
    pub disagreements: BTreeMap<String, (u64, String)>,
    /// What the tables of the generator have and the language has not.
    pub absent: Vec<&'static str>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// The share of pairs on which MongoDB had no error.
    pub fn without_error(&self) -> f64 {
        let count = |letter| self.answers.get(&letter).copied().unwrap_or_default() as f64;
        (count('d') + count('r')) / (self.pairs as f64).max(1.0)
    }

    fn merge(&mut self, other: Report) {
        self.pairs += other.pairs;
        other.answers.into_iter().for_each(|(letter, count)| *self.answers.entry(letter).or_default() += count);
        other.intended.into_iter().for_each(|(name, count)| *self.intended.entry(name).or_default() += count);
        for (name, (all, sound)) in other.operators {
            let entry = self.operators.entry(name).or_default();
            *entry = (entry.0 + all, entry.1 + sound);
        }
        for (signature, (count, line)) in other.disagreements {
            self.disagreements.entry(signature).or_insert((0, line)).0 += count;
        }
    }
}

/// What the lanes share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    grammar: Grammar,
    alerts: Vec<Document>,
    next: AtomicU64,
    shrunk: AtomicU64,
}

/// Runs it.
///
/// # Errors
/// The server is gone.
pub async fn run(client: &Client, settings: Settings, alerts: Vec<Document>) -> anyhow::Result<Report> {
    let begin = Instant::now();
    let grammar = Grammar::new(&settings.only);
    let absent = grammar.absent.clone();
    let shared = Shared { settings, grammar, alerts, next: AtomicU64::new(0), shrunk: AtomicU64::new(0) };
    let shared = Arc::new(shared);
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let collection = client.database("oracle").collection(&format!("lane{lane}"));
            tokio::spawn(Lane { shared: shared.clone(), collection, held: None, report: Report::default() }.run())
        })
        .collect();
    let mut report = Report { absent, ..Report::default() };
    let mut failures = Vec::new();
    for lane in lanes {
        match lane.await.context("a lane of the oracle")? {
            Ok(found) => report.merge(found),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    // Which of them the server ended on is not known here.
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    report.elapsed = begin.elapsed();
    Ok(report)
}

/// One unit after the other.
#[derive(Debug)]
struct Lane {
    shared: Arc<Shared>,
    collection: Collection<Document>,
    held: Option<Document>,
    report: Report,
}

impl Lane {
    async fn run(mut self) -> anyhow::Result<Report> {
        loop {
            let unit = self.shared.next.fetch_add(1, Ordering::Relaxed);
            if unit * PIPELINES >= self.shared.settings.cases {
                return Ok(self.report);
            }
            for pair in self.pairs(unit) {
                self.compare(pair).await?;
            }
        }
    }

    /// A document with its pipelines.
    fn pairs(&self, unit: u64) -> Vec<Pair> {
        let mut random = Random::of_unit(self.shared.settings.seed, unit);
        let document = documents::document(&mut random, &self.shared.alerts);
        let mut generator = Generator::new(random, &self.shared.grammar, document.clone());
        let mut pair = || Pair { pipeline: generator.pipeline(&document), document: document.clone() };
        (0..PIPELINES).map(|_| pair()).collect()
    }

    async fn compare(&mut self, pair: Pair) -> anyhow::Result<()> {
        let (mongod, boom) = self.answers(&pair).await?;
        self.report.pairs += 1;
        *self.report.answers.entry(mongod.letter()).or_default() += 1;
        let sound = matches!(mongod, Answer::Documents(_));
        for name in names(&pair.pipeline) {
            let entry = self.report.operators.entry(name).or_default();
            *entry = (entry.0 + 1, entry.1 + u64::from(sound));
        }
        if mongod.agrees(&boom) {
            return Ok(());
        }
        if self.shared.shrunk.fetch_add(1, Ordering::Relaxed) >= SHRUNK {
            let line = "too many disagreements: this one was not made smaller".to_owned();
            self.report.disagreements.entry("others".to_owned()).or_insert((0, line)).0 += 1;
            return Ok(());
        }
        let (pair, mongod, boom) = self.least(pair, (mongod, boom)).await?;
        if let Some(name) = intended(&pair, &mongod, &boom) {
            *self.report.intended.entry(name).or_default() += 1;
            return Ok(());
        }
        let signature = format!("{}{} {}", mongod.letter(), boom.letter(), names(&pair.pipeline).join(" "));
        let mut line = shown(&pair);
        line["mongod"] = mongod.shown();
        line["boom"] = boom.shown();
        self.report.disagreements.entry(signature).or_insert((0, line.to_string())).0 += 1;
        Ok(())
    }

    /// What MongoDB says, and what we say.
    async fn answers(&mut self, pair: &Pair) -> anyhow::Result<(Answer, Answer)> {
        if self.held.as_ref() != Some(&pair.document) {
            self.held = None;
            self.collection.delete_many(doc! {}).await?;
            self.collection.insert_one(&pair.document).await?;
            self.held = Some(pair.document.clone());
        }
        let mongod = Answer::of_mongod(&self.collection, &pair.pipeline).await;
        let mongod = mongod.with_context(|| format!("asking MongoDB about {}", shown(pair)))?;
        Ok((mongod, Answer::of_boom(pair)))
    }

    /// The least pair on which the two disagree in the same way.
    async fn least(&mut self, mut pair: Pair, mut answers: (Answer, Answer)) -> anyhow::Result<(Pair, Answer, Answer)> {
        let letters = |answers: &(Answer, Answer)| (answers.0.letter(), answers.1.letter());
        let mut attempts = 0;
        // The pipeline first: with a small one, little of the document matters.
        let mut steps = [smaller_pipelines, smaller_documents, smaller_pipelines].into_iter();
        let mut step = steps.next();
        'smaller: while let Some(smaller) = step {
            for candidate in smaller(&pair) {
                attempts += 1;
                if attempts > ATTEMPTS {
                    break 'smaller;
                }
                // A document that MongoDB does not take is no candidate.
                let found = match self.answers(&candidate).await {
                    Ok(found) => found,
                    Err(error) if is_gone(&error) => return Err(error),
                    Err(_) => continue,
                };
                if !found.0.agrees(&found.1) && letters(&found) == letters(&answers) {
                    (pair, answers) = (candidate, found);
                    continue 'smaller;
                }
            }
            step = steps.next();
        }
        Ok((pair, answers.0, answers.1))
    }
}

fn intended(pair: &Pair, mongod: &Answer, boom: &Answer) -> Option<&'static str> {
    INTENDED.iter().find(|intended| (intended.applies)(pair, mongod, boom)).map(|intended| intended.name)
}

/// Whether the server does not answer any more.
fn is_gone(error: &anyhow::Error) -> bool {
    use mongodb::error::ErrorKind;
    let kind = error.downcast_ref::<mongodb::error::Error>().map(|error| &*error.kind);
    matches!(kind, Some(ErrorKind::Io(_) | ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. }))
}

fn shown(pair: &Pair) -> serde_json::Value {
    json!({
        "pipeline": pair.pipeline.iter().map(|stage| json::relaxed(&Bson::Document(stage.clone()))).collect::<Vec<_>>(),
        "document": json::relaxed(&Bson::Document(pair.document.clone())),
    })
}

/// The stages and operators of a pipeline, each once, in order.
fn names(pipeline: &[Document]) -> Vec<String> {
    fn inside(value: &Bson, names: &mut Vec<String>) {
        match value {
            Bson::Document(document) => document.iter().for_each(|(name, value)| {
                if name.starts_with('$') {
                    names.push(name.clone());
                }
                inside(value, names);
            }),
            Bson::Array(items) => items.iter().for_each(|item| inside(item, names)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    pipeline.iter().for_each(|stage| inside(&Bson::Document(stage.clone()), &mut all));
    all.sort();
    all.dedup();
    all
}
