//! What the documents are that filters see: every field with its types, its unit and a line on what it is.
//!
//! Nothing is listed here: two packets of each survey, one that holds everything and one that holds as little as can be, go through the very
//! code that makes the documents of real ones, and what comes out is the schema. What a field means stands in `table.txt`.

mod derive;
mod find;
mod json;

pub use find::Unknown;

use crate::document::tag;

/// A type of BSON, as `bsonType` and `$type` call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// 64-bit float.
    Double,
    /// UTF-8 text.
    String,
    /// A document.
    Object,
    /// An array.
    Array,
    /// Bytes.
    Binary,
    /// True or false.
    Bool,
    /// UTC milliseconds.
    Date,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::String => "string",
            Self::Object => "object",
            Self::Array => "array",
            Self::Binary => "binData",
            Self::Bool => "bool",
            Self::Date => "date",
            Self::Int => "int",
            Self::Long => "long",
        }
    }

    /// Of a BSON element; `None` for null, which no document holds and a sample holds where anything may stand.
    fn of(tag: u8) -> Option<Self> {
        Some(match tag {
            tag::DOUBLE => Self::Double,
            tag::STRING => Self::String,
            tag::DOCUMENT => Self::Object,
            tag::ARRAY => Self::Array,
            tag::BINARY => Self::Binary,
            tag::BOOLEAN => Self::Bool,
            tag::DATETIME => Self::Date,
            tag::INT32 => Self::Int,
            tag::INT64 => Self::Long,
            _ => return None,
        })
    }
}

/// What a value can be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Its types; anything where there is none.
    pub kinds: Vec<Kind>,
    /// The fields of a document that have a name of their own.
    pub fields: Vec<Field>,
    /// What a document holds under any other name; nothing where that is not told.
    pub others: Option<Box<Shape>>,
    /// The elements of an array.
    pub items: Option<Box<Shape>>,
}

/// A field of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Whether every document has it.
    pub always: bool,
    /// What it holds.
    pub shape: Shape,
    /// Its unit; empty where it has none or none is known.
    pub unit: &'static str,
    /// What it is; empty where that is not known.
    pub doc: &'static str,
}

/// The documents of one survey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSchema {
    /// The survey's name.
    pub survey: &'static str,
    /// The document.
    pub root: Shape,
}

/// What `table.txt` says: the end of a path, a unit, what it is.
fn table() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let lines = include_str!("table.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let mut parts = line.splitn(3, '|').map(str::trim);
        Some((parts.next()?, parts.next()?, parts.next()?))
    })
}
