//! `boomctl filter check`: all problems of filter files, and the fields in them that no alert has.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use boom_filter::{Problem, Rules};
use boom_sky::survey::Survey;
use clap::Args;
use serde_json::{Value, json};

use super::INVALID;
use super::dialect::DialectArgs;
use super::fields::{self, Warning};
use super::file::{read, report};
use crate::{output, store};

/// Check filter files: all problems, each with its path into the JSON. Exit code 2 when there is one.
///
/// A field that no alert of the filter's survey has is a warning, with the nearest name; with --strict it is a problem. A bare pipeline is
/// checked against --survey; without it, what is unknown to every survey is warned of. What stages have made is not looked up.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Filters: a pipeline, or a document {survey, permissions, pipeline}
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A field that no alert has is a problem
    #[arg(long)]
    strict: bool,
    /// The survey of bare pipelines [default: all]
    #[arg(long, value_parser = store::survey)]
    survey: Option<&'static Survey>,
    #[command(flatten)]
    dialect: DialectArgs,
    /// Print one JSON line a file, with its version, its problems and its warnings
    #[arg(long)]
    json: bool,
}

/// What is said of a file.
#[derive(Debug, Default)]
struct Checked {
    version: Option<String>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl CheckArgs {
    /// Checks them.
    ///
    /// # Errors
    /// A file can not be read.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        let dialect = self.dialect.dialect()?;
        for path in &self.files {
            let checked = match read(path, Rules::Filter, &dialect)? {
                Err(problems) => Checked { problems, ..Checked::default() },
                Ok(filter) => {
                    let warnings = fields::unknown(&filter, &fields::surveys(&filter, self.survey));
                    Checked { version: Some(filter.program.version().to_owned()), problems: Vec::new(), warnings }
                }
            };
            let checked = if self.strict { checked.strict() } else { checked };
            if !checked.problems.is_empty() {
                code = ExitCode::from(INVALID);
            }
            let name = path.display().to_string();
            if self.json {
                output::line(&checked.json(&name))?;
                continue;
            }
            report(path, &checked.problems)?;
            for warning in &checked.warnings {
                writeln!(io::stderr(), "{name}: warning: {warning}")?;
            }
            if let (Some(version), true) = (&checked.version, checked.problems.is_empty()) {
                let warned = match checked.warnings.len() {
                    0 => String::new(),
                    1 => ", one warning".to_owned(),
                    several => format!(", {several} warnings"),
                };
                writeln!(io::stdout(), "{name}: no problem{warned}, version {version}")
                    .context("writing to standard output")?;
            }
        }
        Ok(code)
    }
}

impl Checked {
    /// With warnings as problems.
    fn strict(mut self) -> Self {
        let warnings = self.warnings.drain(..);
        self.problems.extend(warnings.map(|warning| Problem { path: warning.path, message: warning.message }));
        self
    }

    fn json(&self, file: &str) -> Value {
        let problem = |problem: &Problem| json!({"path": problem.path, "message": problem.message});
        let problems: Vec<_> = self.problems.iter().map(problem).collect();
        let warnings: Vec<_> = self.warnings.iter().map(Warning::json).collect();
        json!({"file": file, "version": self.version, "problems": problems, "warnings": warnings})
    }
}
