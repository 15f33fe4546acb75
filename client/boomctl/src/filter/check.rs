//! `boomctl filter check`: all problems of filter files.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use boom_filter::{Problem, Rules};
use clap::Args;
use serde_json::json;

use super::INVALID;
use super::file::{read, report};
use crate::output;

/// Check filter files: all problems, each with its path into the JSON. Exit code 2 when there is one.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Filters: a pipeline, or a document {survey, permissions, pipeline}
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON line a file, with its version and its problems
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    /// Checks them.
    ///
    /// # Errors
    /// A file can not be read.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for path in &self.files {
            let checked = read(path, Rules::Filter)?;
            if checked.is_err() {
                code = ExitCode::from(INVALID);
            }
            match checked {
                checked if self.json => {
                    let version = checked.as_ref().ok().map(|filter| filter.program.version());
                    let problems = checked.as_ref().err().into_iter().flatten();
                    let one = |problem: &Problem| json!({"path": problem.path, "message": problem.message});
                    let problems: Vec<_> = problems.map(one).collect();
                    output::line(
                        &json!({"file": path.display().to_string(), "version": version, "problems": problems}),
                    )?;
                }
                Ok(filter) => {
                    let (path, version) = (path.display(), filter.program.version());
                    writeln!(io::stdout(), "{path}: no problem, version {version}")
                        .context("writing to standard output")?;
                }
                Err(problems) => report(path, &problems)?,
            }
        }
        Ok(code)
    }
}
