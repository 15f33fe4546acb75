//! A compiled pipeline, cheap to clone, with its version and what it reads.

use std::sync::{Arc, OnceLock};

use bson::RawDocument;
use sha2::{Digest, Sha256};

use crate::check;
use crate::dialect::Dialect;
use crate::parse::paths::ReadPath;
use crate::parse::{self, Parsed, Problem};
use crate::reads::Reads;
use crate::share::{FilterSet, Outcome};

/// Which rules a pipeline must keep beyond those of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// The rules of a filter: at least one `$match`, a last `$project` that keeps `objectId`, the ids untouched.
    Filter,
    /// None.
    None,
}

/// A compiled pipeline.
#[derive(Debug, Clone)]
pub struct Program {
    core: Arc<Core>,
    /// The set of this program alone, made when it is first evaluated alone.
    alone: Arc<OnceLock<FilterSet>>,
}

#[derive(Debug)]
struct Core {
    parsed: Parsed,
    version: String,
    digest: [u8; 32],
}

impl Program {
    /// Compiles a pipeline written in JSON (relaxed or canonical Extended JSON).
    ///
    /// # Errors
    /// All problems, each with its path into the JSON.
    pub fn parse(json: &str, rules: Rules) -> Result<Program, Vec<Problem>> {
        Program::parse_in(json, rules, &Dialect::default())
    }

    /// As [`Program::parse`], in a dialect: with the extensions that it has.
    ///
    /// # Errors
    /// All problems, each with its path into the JSON.
    pub fn parse_in(json: &str, rules: Rules, dialect: &Dialect) -> Result<Program, Vec<Problem>> {
        let (parsed, source) = parse::parse(json, dialect)?;
        let problems = if rules == Rules::Filter { check::rules(&source.stages) } else { Vec::new() };
        if !problems.is_empty() {
            return Err(problems);
        }
        let digest: [u8; 32] = Sha256::digest(source.canonical.as_bytes()).into();
        let version = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Program { core: Arc::new(Core { parsed, version, digest }), alone: Arc::default() })
    }

    /// The content's hash: the first 16 hexadecimal digits of the SHA-256 of the canonical JSON. Blanks and the spelling of numbers do
    /// not change it, the order of keys does, and so does the content of the sky maps that it names.
    pub fn version(&self) -> &str {
        &self.core.version
    }

    /// What the program reads of an alert.
    pub fn reads(&self) -> &Reads {
        &self.core.parsed.access.reads
    }

    /// The paths of the alert that it reads, in the order in which they are written, with their places in the JSON.
    pub fn paths(&self) -> Vec<ReadPath> {
        self.core.parsed.paths.all()
    }

    /// Evaluates the program alone, with the default [`Budget`](crate::Budget). `now_ms` is the alert's time, milliseconds since 1970.
    pub fn evaluate(&self, document: &RawDocument, now_ms: i64) -> Outcome {
        let alone = self.alone.get_or_init(|| {
            // Without its own set, so that the two do not hold each other.
            FilterSet::new(vec![Program { core: self.core.clone(), alone: Arc::default() }])
        });
        let mut result = Outcome::Rejected;
        alone.evaluate(document, now_ms, &mut alone.scratch(), |_, outcome| result = outcome.clone());
        result
    }

    pub(crate) fn parsed(&self) -> &Parsed {
        &self.core.parsed
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        self.core.digest
    }
}
