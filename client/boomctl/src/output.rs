//! How data leaves: documents as Extended JSON, one a line, and the styles of a terminal.
//!
//! Colours are always written here; `anstream` takes them out where standard output is no terminal, and under NO_COLOR.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use bson::{Bson, Document, RawDocument};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

/// Headings and names.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What needs attention.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();

/// Width of the output where it is not known, columns.
const DEFAULT_SIZE: (u16, u16) = (100, 40);

/// Whether documents are wanted rather than a summary.
pub(crate) fn wants_json(json: bool) -> bool {
    json || !io::stdout().is_terminal()
}

/// Whether what is written to standard output keeps its colours.
pub(crate) fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Columns and rows of the terminal.
pub(crate) fn size() -> (usize, usize) {
    let (width, height) = terminal_size::terminal_size().map_or(DEFAULT_SIZE, |(width, height)| (width.0, height.0));
    (usize::from(width).clamp(40, 200), usize::from(height).clamp(10, 200))
}

/// Writes a value as one line.
pub(crate) fn line(value: &Value) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{value}").context("writing to standard output")
}

/// Writes a value over several lines.
pub(crate) fn pretty(value: &Value) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{value:#}").context("writing to standard output")
}

/// Writes a text, with a line end behind it.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}").context("writing to standard output")
}

/// A table for people; the columns of these numbers are numbers.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    numbers: &[usize],
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// How many alerts wait, as far as that is known.
pub(crate) fn lag(known: u64, unknown: u32) -> String {
    match unknown {
        0 => known.to_string(),
        unknown => format!("{known}, and in {unknown} partitions it is not known"),
    }
}

/// Writes a BSON document as one line of relaxed Extended JSON.
pub(crate) fn document_line(bytes: &[u8]) -> anyhow::Result<()> {
    line(&relaxed(document(bytes)?))
}

/// The document that the bytes are.
pub(crate) fn document(bytes: &[u8]) -> anyhow::Result<Document> {
    let raw = RawDocument::from_bytes(bytes).context("the stored document is damaged")?;
    Document::try_from(raw).context("the stored document is damaged")
}

/// Relaxed Extended JSON.
pub(crate) fn relaxed(document: Document) -> Value {
    unsigned_nan(Bson::Document(document)).into_relaxed_extjson()
}

/// Canonical Extended JSON.
pub(crate) fn canonical(document: Document) -> Value {
    unsigned_nan(Bson::Document(document)).into_canonical_extjson()
}

/// Extended JSON knows one NaN, without a sign; the processor makes both.
fn unsigned_nan(value: Bson) -> Bson {
    match value {
        Bson::Double(number) if number.is_nan() => Bson::Double(f64::NAN),
        Bson::Array(items) => Bson::Array(items.into_iter().map(unsigned_nan).collect()),
        Bson::Document(fields) => {
            Bson::Document(fields.into_iter().map(|(key, value)| (key, unsigned_nan(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_of_either_sign_is_written_without_one() {
        let document = bson::doc! { "a": [-f64::NAN], "b": { "c": f64::NAN }, "d": -0.0 };
        let text = canonical(document).to_string();
        assert_eq!(
            text,
            r#"{"a":[{"$numberDouble":"NaN"}],"b":{"c":{"$numberDouble":"NaN"}},"d":{"$numberDouble":"-0.0"}}"#
        );
    }
}
