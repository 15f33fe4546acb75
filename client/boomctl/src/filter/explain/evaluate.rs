//! Parts of a pipeline as pipelines of their own: what the engine itself says of them.

use boom_filter::{Budget, Dialect, EvalError, FilterSet, Outcome, Program, Rules};
use bson::{Bson, Document, RawDocument};
use serde_json::{Value, json};

use super::super::file::multiplies;
use crate::output;

/// What a pipeline is evaluated on: a document, the alert's time (ms), and the extensions that there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct On<'d> {
    pub(super) document: &'d RawDocument,
    pub(super) now: i64,
    pub(super) dialect: &'d Dialect,
}

impl On<'_> {
    /// What these stages make of the document; an error for stages that can not stand alone.
    pub(super) fn run(&self, stages: &[Value]) -> Result<Outcome, String> {
        Ok(program(stages, self.dialect)?.evaluate(self.document, self.now))
    }

    /// How many documents these stages make of it.
    pub(super) fn count(&self, stages: &[Value]) -> usize {
        if !multiplies(stages) {
            return 1;
        }
        let all =
            program(stages, self.dialect).ok().and_then(|program| program.evaluate_all(self.document, self.now).ok());
        all.map_or(0, |all| all.len())
    }

    /// Whether the document matches a query.
    pub(super) fn matches(&self, query: &Value) -> Result<bool, String> {
        match self.run(&[json!({"$match": query})])? {
            Outcome::Passed(_) => Ok(true),
            Outcome::Rejected => Ok(false),
            Outcome::Failed(error) => Err(error.fault().message.clone()),
        }
    }

    /// The value of an expression, `None` where it is missing.
    pub(super) fn value(&self, expression: &Value) -> Result<Option<Bson>, String> {
        match self.run(&[json!({"$replaceWith": {"value": expression}})])? {
            Outcome::Passed(document) => {
                let document = Document::try_from(document.as_ref()).map_err(|error| error.to_string())?;
                Ok(document.get("value").cloned())
            }
            Outcome::Rejected => Ok(None),
            Outcome::Failed(error) => Err(error.fault().message.clone()),
        }
    }

    /// Whether an expression is true.
    pub(super) fn is_true(&self, expression: &Value) -> Result<bool, String> {
        self.matches(&json!({"$expr": expression}))
    }

    /// How many steps of the budget a program needs.
    pub(super) fn steps(&self, program: &Program) -> u64 {
        let most = Budget::default();
        let enough = |steps: u64| {
            let set = FilterSet::with_budget(vec![program.clone()], Budget { steps, ..most });
            let mut spent = false;
            set.evaluate(self.document, self.now, &mut set.scratch(), |_, outcome| {
                spent = matches!(outcome, Outcome::Failed(EvalError::Budget(_)));
            });
            !spent
        };
        let (mut least, mut most) = (0, most.steps);
        while least < most {
            let middle = least.midpoint(most);
            if enough(middle) { most = middle } else { least = middle + 1 }
        }
        least
    }
}

/// A pipeline of these stages.
fn program(stages: &[Value], dialect: &Dialect) -> Result<Program, String> {
    let text = Value::from(stages).to_string();
    Program::parse_in(&text, Rules::None, dialect)
        .map_err(|problems| problems.first().map_or_else(String::new, ToString::to_string))
}

/// A value as people read it, not too long.
pub(super) fn shown(value: Option<Bson>) -> String {
    let Some(value) = value else { return "missing".to_owned() };
    if let Bson::Array(items) = &value
        && items.len() > 6
    {
        let first: Vec<_> = items.iter().take(4).map(|item| shown(Some(item.clone()))).collect();
        return format!("[{}, … {} elements]", first.join(", "), items.len());
    }
    let mut document = Document::new();
    document.insert("value", value);
    short(&output::relaxed(document)["value"])
}

/// JSON, not too long.
pub(super) fn short(value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST - 1).chain(['…']).collect() }
}
