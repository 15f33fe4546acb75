//! `boomctl schema`: what the documents of a survey hold, and the filter language, for people and for editors.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use boom_sky::fields::{Field, Shape};
use boom_sky::survey::{SURVEYS, Survey};
use clap::Args;

use crate::output::{BOLD, DIM};
use crate::store::names;

/// Show what a filter sees of an alert of a survey: every field with its type, its unit and what it is; or the filter language itself.
///
/// `schema SURVEY` is a tree, or with --json a JSON Schema with bsonType, as MongoDB's $jsonSchema has it. In the tree, ? marks what is not in
/// every document and * any name. `schema filter` is the JSON Schema (draft 2020-12) of filter files, which editors check and complete with.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// ZTF, LSST, DECam, WINTER, or filter
    #[arg(value_name = "SURVEY|filter", value_parser = of)]
    of: Of,
    /// Print a JSON Schema
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Survey(&'static Survey),
    Filter,
}

fn of(name: &str) -> Result<Of, String> {
    if name.eq_ignore_ascii_case("filter") {
        return Ok(Of::Filter);
    }
    let survey = Survey::by_name(name).map(Of::Survey);
    survey.ok_or_else(|| format!("it is no survey; {} are, and `filter` is the filter language", names(SURVEYS)))
}

impl SchemaArgs {
    /// Shows it.
    ///
    /// # Errors
    /// The answer can not be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.of {
            Of::Filter => pretty(&boom_filter::json_schema())?,
            Of::Survey(survey) if self.json => pretty(&survey.document_schema().json_schema())?,
            Of::Survey(survey) => {
                let mut lines = Vec::new();
                tree(&survey.document_schema().root, 0, &mut lines);
                let mut out = anstream::stdout().lock();
                for line in &lines {
                    let (indent, Line { name, kind, about, .. }) = ("  ".repeat(line.depth), line);
                    let width = 36_usize.saturating_sub(indent.len() + name.chars().count()).max(1);
                    let about = if about.is_empty() { String::new() } else { format!(" {DIM}{about}{DIM:#}") };
                    let kind = if about.is_empty() { kind.clone() } else { format!("{kind:<8}") };
                    writeln!(out, "{indent}{BOLD}{name}{BOLD:#}{:width$}{kind}{about}", "")
                        .context("writing to standard output")?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn pretty(schema: &serde_json::Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(schema).context("writing the schema")?;
    writeln!(std::io::stdout().lock(), "{text}").context("writing to standard output")
}

/// A field as it is printed.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    depth: usize,
    name: String,
    kind: String,
    about: String,
}

fn tree(shape: &Shape, depth: usize, lines: &mut Vec<Line>) {
    for field in &shape.fields {
        let name = if field.always { field.name.clone() } else { format!("{}?", field.name) };
        lines.push(Line { depth, name, kind: kind(&field.shape), about: about(field) });
        tree(&field.shape, depth + 1, lines);
    }
    if let Some(others) = &shape.others {
        lines.push(Line { depth, name: "*".to_owned(), kind: kind(others), about: String::new() });
        tree(others, depth + 1, lines);
    }
    if let Some(items) = &shape.items {
        tree(items, depth, lines);
    }
}

/// The types of a value; of an array also those of its elements.
fn kind(shape: &Shape) -> String {
    if shape.kinds.is_empty() {
        return "any".to_owned();
    }
    let own = shape.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join("|");
    match &shape.items {
        Some(items) => format!("{own} of {}", kind(items)),
        None => own,
    }
}

fn about(field: &Field) -> String {
    match (field.unit, field.doc) {
        ("", doc) => doc.to_owned(),
        (unit, "") => format!("[{unit}]"),
        (unit, doc) => format!("[{unit}] {doc}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_says_type_unit_and_what_it_is() {
        let survey = Survey::by_name("ZTF").expect("it is one");
        let mut lines = Vec::new();
        tree(&survey.document_schema().root, 0, &mut lines);
        let line = |depth, name: &str, kind: &str, about: &str| {
            let wanted = Line { depth, name: name.into(), kind: kind.into(), about: about.into() };
            assert!(lines.contains(&wanted), "{wanted:?}");
        };
        line(1, "magpsf?", "double", "[mag] PSF magnitude of the difference, of its absolute value");
        line(1, "jd", "double", "[d] Julian date of the exposure, UTC");
        line(
            0,
            "prv_candidates",
            "array of object",
            "light curve: detections, the alert's own included, up to 365 days back",
        );
        line(1, "*", "array of object", "");
        line(2, "*", "any", "");
    }
}
