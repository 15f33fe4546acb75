//! One row: its cells, its encoding as BSON, and walking the elements of an encoded one. No file.

use boom_sky::document::{Writer, tag};
use serde::{Deserialize, Serialize};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// True or false.
    Bool,
    /// A 32-bit integer.
    Int,
    /// A 64-bit integer.
    Long,
    /// A double.
    Double,
    /// Text.
    String,
}

impl ColumnType {
    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Long | Self::Double)
    }
}

/// A column of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, as in the table it came from.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// The value of one row in one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// Null, or a float that is not finite: absent from the row's document.
    Missing,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Double(f64),
    /// Text.
    Text(&'a str),
}

impl Cell<'_> {
    /// The cell as a number, when it is a finite one.
    pub fn number(&self) -> Option<f64> {
        match *self {
            Self::Int(value) => Some(value as f64),
            Self::Double(value) => Some(value).filter(|value| value.is_finite()),
            _ => None,
        }
    }
}

/// Writes one cell as an element; a cell that is missing or does not fit its column is left out.
pub(super) fn write_cell(writer: &mut Writer<'_>, column: &Column, cell: Cell<'_>) {
    let name = &column.name;
    match (column.kind, cell) {
        (ColumnType::Bool, Cell::Bool(value)) => writer.boolean(name, value),
        (ColumnType::Int, Cell::Int(value)) => match i32::try_from(value) {
            Ok(value) => writer.int32(name, value),
            Err(_) => writer.int64(name, value),
        },
        (ColumnType::Long, Cell::Int(value)) => writer.int64(name, value),
        (ColumnType::Double, cell) => {
            if let Some(value) = cell.number() {
                writer.double(name, value);
            }
        }
        // Tables of fixed-width text pad it; what is only padding is missing.
        (ColumnType::String, Cell::Text(value)) if value.trim_end().is_empty() => {}
        (ColumnType::String, Cell::Text(value)) => writer.string(name, value.trim_end()),
        _ => {}
    }
}

/// One element of an encoded row.
pub(super) struct Element<'a> {
    tag: u8,
    /// The name of the column.
    pub(super) name: &'a [u8],
    value: &'a [u8],
    /// The element with its type and its name, as it stands in the row.
    pub(super) bytes: &'a [u8],
}

impl Element<'_> {
    /// The value as a number.
    pub(super) fn number(&self) -> Option<f64> {
        match self.tag {
            tag::DOUBLE => Some(f64::from_le_bytes(self.value.try_into().ok()?)),
            tag::INT32 => Some(f64::from(i32::from_le_bytes(self.value.try_into().ok()?))),
            tag::INT64 => Some(i64::from_le_bytes(self.value.try_into().ok()?) as f64),
            _ => None,
        }
    }
}

/// The elements of an encoded row, `None` where it is damaged.
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Walks a row; nothing when it is not as long as it says.
    pub(super) fn of(row: &'a [u8]) -> Option<Self> {
        let said = i32::from_le_bytes(*row.first_chunk()?);
        let whole = row.len() >= 5 && usize::try_from(said) == Ok(row.len()) && row.last() == Some(&0);
        whole.then(|| Self { rest: &row[4..row.len() - 1] })
    }

    /// The next element: `Ok(None)` at the end, an error where the row is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Element<'a>>, Damaged> {
        if self.rest.is_empty() { Ok(None) } else { self.step().map(Some).ok_or(Damaged) }
    }

    fn step(&mut self) -> Option<Element<'a>> {
        let (&tag, after_tag) = self.rest.split_first()?;
        let name_length = after_tag.iter().position(|&byte| byte == 0)?;
        let (name, value) = (&after_tag[..name_length], &after_tag[name_length + 1..]);
        let length = match tag {
            tag::DOUBLE | tag::INT64 => 8,
            tag::INT32 => 4,
            tag::BOOLEAN => 1,
            tag::STRING => 4 + usize::try_from(i32::from_le_bytes(*value.first_chunk()?)).ok()?,
            _ => return None,
        };
        let value = value.get(..length)?;
        let (bytes, rest) = self.rest.split_at(1 + name_length + 1 + length);
        self.rest = rest;
        Some(Element { tag, name, value, bytes })
    }
}

/// A row that cannot be walked to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damaged;
