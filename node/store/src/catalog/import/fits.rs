//! FITS binary tables (FITS standard 4.0, section 7.3): the first one of the file that is not a compressed image.
//!
//! Scalar columns of type L, B, I, J, K, E, D and strings (A) are read, with TNULL, TSCAL and TZERO; arrays, bits, complex
//! numbers and variable-length columns are set aside. The file is read once, front to back.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::super::error::ImportError;
use super::super::row::{Cell, Column, ColumnType};
use super::{SkippedColumn, Table, usable};

const BLOCK: usize = 2880;
const CARD: usize = 80;

/// A header of more blocks than this is none (36,000 cards).
const MOST_BLOCKS: usize = 1000;

/// A row of more bytes than this is none.
const MOST_ROW_BYTES: u64 = 1 << 26;

pub(super) struct FitsTable {
    path: PathBuf,
    input: Box<dyn BufRead>,
    row_bytes: usize,
    rows: u64,
    columns: Vec<Column>,
    places: Vec<usize>,
    fields: Vec<Field>,
    skipped: Vec<SkippedColumn>,
}

/// Where a column lies in a row and how it is to be read.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    code: u8,
    start: usize,
    width: usize,
    null: Option<i64>,
    scale: f64,
    zero: f64,
}

impl FitsTable {
    pub(super) fn open(path: &Path, mut input: Box<dyn BufRead>) -> Result<Self, ImportError> {
        let broken = |what: String| ImportError::table(path, what);
        loop {
            let header = Header::read(&mut input).map_err(|error| broken(format!("no binary table in it: {error}")))?;
            if header.text("XTENSION") != Some("BINTABLE") || header.value("ZIMAGE") == Some("T") {
                let length = header.data_bytes().ok_or_else(|| broken("an HDU of impossible size".to_owned()))?;
                let skipped = io::copy(&mut (&mut input).take(length), &mut io::sink());
                skipped.map_err(|error| broken(error.to_string()))?;
                continue;
            }
            if header.value("ZTABLE") == Some("T") {
                return Err(broken("its table is tile-compressed; uncompress it (funpack) first".to_owned()));
            }
            return Self::of_header(path, input, &header).map_err(broken);
        }
    }

    fn of_header(path: &Path, input: Box<dyn BufRead>, header: &Header) -> Result<Self, String> {
        let need = |key: &str| header.integer(key).ok_or_else(|| format!("its table has no usable {key}"));
        let (row_bytes, rows, count) = (need("NAXIS1")?, need("NAXIS2")?, need("TFIELDS")?);
        if row_bytes > MOST_ROW_BYTES || count > 999 {
            return Err(format!("its table claims {count} columns of {row_bytes} bytes"));
        }
        let (mut columns, mut fields, mut skipped, mut start) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for number in 1..=count {
            let name = header.text(&format!("TTYPE{number}")).unwrap_or_default().to_owned();
            let form = header.text(&format!("TFORM{number}")).unwrap_or_default();
            let (repeat, code, width) =
                form_of(form).ok_or_else(|| format!("column {name:?} has the unknown TFORM {form:?}"))?;
            let field = Field::of(header, number, code, start..start + width);
            start += width;
            match field.kind(repeat) {
                Some(kind) => {
                    columns.push((Column { name, kind }, fields.len()));
                    fields.push(field);
                }
                None => skipped.push(SkippedColumn { name, reason: format!("columns of TFORM {form} are not read") }),
            }
        }
        if start as u64 != row_bytes {
            return Err(format!("its columns take {start} bytes a row and NAXIS1 says {row_bytes}"));
        }
        let (columns, places) = usable(columns, &mut skipped);
        Ok(Self { path: path.to_owned(), input, row_bytes: start, rows, columns, places, fields, skipped })
    }
}

impl Table for FitsTable {
    fn columns(&self) -> (&[Column], &[SkippedColumn]) {
        (&self.columns, &self.skipped)
    }

    fn read(&mut self, wanted: &[usize], each: &mut dyn FnMut(&[Cell<'_>])) -> Result<(), ImportError> {
        let mut row = vec![0; self.row_bytes];
        for number in 1..=self.rows {
            self.input.read_exact(&mut row).map_err(|error| {
                let what = format!("row {number} of {} cannot be read: {error}", self.rows);
                ImportError::table(&self.path, what)
            })?;
            let cell = |&at: &usize| {
                let not_text = || {
                    let what = format!("row {number}: column {:?} is not text", self.columns[at].name);
                    ImportError::table(&self.path, what)
                };
                self.fields[self.places[at]].cell(&row).ok_or_else(not_text)
            };
            let cells = wanted.iter().map(cell).collect::<Result<Vec<_>, ImportError>>()?;
            each(&cells);
        }
        self.rows = 0;
        Ok(())
    }
}

impl Field {
    fn of(header: &Header, number: u64, code: u8, at: std::ops::Range<usize>) -> Self {
        let float =
            |key: &str| header.value(&format!("{key}{number}")).and_then(|value| value.replace('D', "E").parse().ok());
        let null = header.value(&format!("TNULL{number}")).and_then(|value| value.parse().ok());
        let (scale, zero) = (float("TSCAL").unwrap_or(1.0), float("TZERO").unwrap_or(0.0));
        Self { code, start: at.start, width: at.len(), null, scale, zero }
    }

    /// What the column holds for us; nothing when it is set aside.
    fn kind(&self, repeat: usize) -> Option<ColumnType> {
        let plain = self.scale == 1.0 && self.zero == 0.0;
        match self.code {
            b'A' if repeat > 0 => Some(ColumnType::String),
            _ if repeat != 1 => None,
            b'L' => Some(ColumnType::Bool),
            b'B' | b'I' | b'J' if plain => Some(ColumnType::Int),
            b'K' if plain => Some(ColumnType::Long),
            b'B' | b'I' | b'J' if self.is_shifted() => Some(ColumnType::Long),
            b'B' | b'I' | b'J' | b'K' | b'E' | b'D' => Some(ColumnType::Double),
            _ => None,
        }
    }

    /// Whether TZERO makes another integer of it, as for unsigned ones.
    fn is_shifted(&self) -> bool {
        self.scale == 1.0 && self.zero.fract() == 0.0 && self.zero.abs() <= f64::from(u32::MAX)
    }

    /// The cell of a row; nothing when it is text that is not UTF-8.
    fn cell<'a>(&self, row: &'a [u8]) -> Option<Cell<'a>> {
        let bytes = &row[self.start..self.start + self.width];
        Some(match self.code {
            b'A' => {
                let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
                match std::str::from_utf8(text).ok()?.trim_end() {
                    "" => Cell::Missing,
                    text => Cell::Text(text),
                }
            }
            b'L' => match bytes[0] {
                b'T' => Cell::Bool(true),
                b'F' => Cell::Bool(false),
                _ => Cell::Missing,
            },
            b'E' => self.scaled(big_endian(bytes).map(f32::from_be_bytes)?.into()),
            b'D' => self.scaled(big_endian(bytes).map(f64::from_be_bytes)?),
            _ => self.integer(bytes)?,
        })
    }

    fn integer(&self, bytes: &[u8]) -> Option<Cell<'static>> {
        let value = match self.code {
            b'B' => i64::from(bytes[0]),
            b'I' => big_endian(bytes).map(i16::from_be_bytes)?.into(),
            b'J' => big_endian(bytes).map(i32::from_be_bytes)?.into(),
            _ => big_endian(bytes).map(i64::from_be_bytes)?,
        };
        Some(if self.null == Some(value) {
            Cell::Missing
        } else if self.is_shifted() && (self.code != b'K' || self.zero == 0.0) {
            Cell::Int(value + self.zero as i64)
        } else {
            self.scaled(value as f64)
        })
    }

    fn scaled(&self, value: f64) -> Cell<'static> {
        Cell::Double(value * self.scale + self.zero)
    }
}

fn big_endian<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Repeat, type and bytes of a TFORM such as `12A`, `E`, `1PB(20)`.
fn form_of(form: &str) -> Option<(usize, u8, usize)> {
    let digits = form.bytes().take_while(u8::is_ascii_digit).count();
    let repeat: usize = if digits == 0 { 1 } else { form[..digits].parse().ok()? };
    let code = *form.as_bytes().get(digits)?;
    let width = match code {
        b'X' => repeat.div_ceil(8),
        b'L' | b'B' | b'A' => repeat,
        b'I' => repeat.checked_mul(2)?,
        b'J' | b'E' => repeat.checked_mul(4)?,
        b'K' | b'D' | b'C' | b'P' => repeat.checked_mul(8)?,
        b'M' | b'Q' => repeat.checked_mul(16)?,
        _ => return None,
    };
    (width as u64 <= MOST_ROW_BYTES).then_some((repeat, code, width))
}

/// The cards of one HDU.
struct Header {
    cards: HashMap<String, String>,
}

impl Header {
    fn read(input: &mut dyn Read) -> io::Result<Self> {
        let mut cards = HashMap::new();
        let mut block = [0; BLOCK];
        for _ in 0..MOST_BLOCKS {
            input.read_exact(&mut block)?;
            for card in block.as_chunks::<CARD>().0 {
                let card = String::from_utf8_lossy(card);
                let key = card.get(..8).unwrap_or_default().trim_end();
                if key == "END" {
                    return Ok(Self { cards });
                }
                if let Some(value) = card.get(8..).and_then(|rest| rest.strip_prefix("= ")) {
                    cards.entry(key.to_owned()).or_insert_with(|| value_of(value));
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a header without end"))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.cards.get(key).map(String::as_str)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.value(key).map(str::trim)
    }

    fn integer(&self, key: &str) -> Option<u64> {
        self.value(key)?.parse().ok()
    }

    /// The length of the data after this header, with its padding.
    fn data_bytes(&self) -> Option<u64> {
        let axes = self.integer("NAXIS")?;
        if axes == 0 {
            return Some(0);
        }
        let mut elements = 1u64;
        // A first axis of 0 marks random groups, whose size is that of the other axes.
        for axis in 1..=axes {
            let length = self.integer(&format!("NAXIS{axis}"))?;
            let groups = axis == 1 && length == 0 && self.value("GROUPS") == Some("T");
            elements = elements.checked_mul(if groups { 1 } else { length })?;
        }
        let (extra, groups) = (self.integer("PCOUNT").unwrap_or(0), self.integer("GCOUNT").unwrap_or(1));
        let bits: i64 = self.value("BITPIX")?.parse().ok()?;
        let bytes = elements.checked_add(extra)?.checked_mul(groups)?.checked_mul(bits.unsigned_abs() / 8)?;
        bytes.checked_next_multiple_of(BLOCK as u64)
    }
}

/// A card's value without its comment: the inside of quotes, or what stands before the slash.
fn value_of(card: &str) -> String {
    let card = card.trim_start();
    let Some(quoted) = card.strip_prefix('\'') else {
        return card.split('/').next().unwrap_or_default().trim().to_owned();
    };
    let mut value = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\'' {
            value.push(character);
        } else if characters.next_if_eq(&'\'').is_some() {
            value.push('\'');
        } else {
            break;
        }
    }
    value.trim_end().to_owned()
}
