//! CSV tables: comma, semicolon, tab or bar between the cells, names in the first line, `#` before comments.
//!
//! The file is read twice: the types of the columns are those that all of its cells have.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};

use super::super::error::ImportError;
use super::super::row::{Cell, Column, ColumnType};
use super::{SkippedColumn, Table, inflated, usable};

/// What stands for "no value" in a column of numbers.
const MISSING: [&str; 6] = ["nan", "null", "none", "na", "n/a", "--"];

pub(super) struct CsvTable {
    path: PathBuf,
    delimiter: u8,
    columns: Vec<Column>,
    places: Vec<usize>,
    skipped: Vec<SkippedColumn>,
}

impl CsvTable {
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let delimiter = delimiter(path)?;
        let mut reader = reader(path, delimiter)?;
        let broken = |error: csv::Error| ImportError::table(path, error);
        let names = reader.headers().map_err(broken)?.clone();
        let mut kinds = vec![None; names.len()];
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(broken)? {
            for (kind, cell) in kinds.iter_mut().zip(&record) {
                *kind = widen(*kind, text(path, &record, cell)?);
            }
        }
        let kinds = kinds.into_iter().map(|kind| kind.unwrap_or(ColumnType::String));
        let columns = names.iter().zip(kinds).map(|(name, kind)| Column { name: name.to_owned(), kind });
        let mut skipped = Vec::new();
        let (columns, places) = usable(columns.zip(0..).collect(), &mut skipped);
        Ok(Self { path: path.to_owned(), delimiter, columns, places, skipped })
    }
}

impl Table for CsvTable {
    fn columns(&self) -> (&[Column], &[SkippedColumn]) {
        (&self.columns, &self.skipped)
    }

    fn read(&mut self, wanted: &[usize], each: &mut dyn FnMut(&[Cell<'_>])) -> Result<(), ImportError> {
        let mut reader = reader(&self.path, self.delimiter)?;
        let mut record = ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|error| ImportError::table(&self.path, error))? {
            let cell = |&at: &usize| {
                let value = text(&self.path, &record, record.get(self.places[at]).unwrap_or_default())?;
                Ok(cell(self.columns[at].kind, value))
            };
            let cells = wanted.iter().map(cell).collect::<Result<Vec<_>, ImportError>>()?;
            each(&cells);
        }
        Ok(())
    }
}

fn reader(path: &Path, delimiter: u8) -> Result<Reader<Box<dyn BufRead>>, ImportError> {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).comment(Some(b'#')).trim(Trim::All);
    Ok(builder.from_reader(inflated(path)?))
}

/// What occurs most often in the first line that is no comment.
fn delimiter(path: &Path) -> Result<u8, ImportError> {
    let mut lines = inflated(path)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line).map_err(|error| ImportError::table(path, error))?;
        if read == 0 || !(line.starts_with(b"#") || line.trim_ascii().is_empty()) {
            break;
        }
    }
    let count = |delimiter: u8| line.iter().filter(|&&byte| byte == delimiter).count();
    Ok(*b"|\t;,".iter().max_by_key(|&&delimiter| count(delimiter)).expect("four delimiters are not none"))
}

fn text<'a>(path: &Path, record: &ByteRecord, cell: &'a [u8]) -> Result<&'a str, ImportError> {
    std::str::from_utf8(cell).map_err(|_| {
        let line = record.position().map_or(0, csv::Position::line);
        ImportError::table(path, format!("line {line} is not UTF-8 text"))
    })
}

fn is_missing(value: &str) -> bool {
    value.is_empty() || MISSING.iter().any(|missing| value.eq_ignore_ascii_case(missing))
}

/// The type of a column after one more cell.
fn widen(kind: Option<ColumnType>, value: &str) -> Option<ColumnType> {
    if kind == Some(ColumnType::String) || is_missing(value) {
        return kind;
    }
    if is_identifier(value) {
        return Some(ColumnType::String);
    }
    if kind != Some(ColumnType::Double) && value.parse::<i64>().is_ok() {
        return Some(ColumnType::Long);
    }
    Some(if value.parse::<f64>().is_ok() { ColumnType::Double } else { ColumnType::String })
}

/// Digits after a leading zero are a name, not a number: `007` would come back as 7.
fn is_identifier(value: &str) -> bool {
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value).as_bytes();
    value.len() > 1 && digits == value.as_bytes() && digits[0] == b'0' && digits.iter().all(u8::is_ascii_digit)
}

fn cell(kind: ColumnType, value: &str) -> Cell<'_> {
    match kind {
        ColumnType::String if value.is_empty() => Cell::Missing,
        ColumnType::String => Cell::Text(value),
        ColumnType::Double => value.parse().map_or(Cell::Missing, Cell::Double),
        _ => value.parse().map_or(Cell::Missing, Cell::Int),
    }
}
