//! Catalog files: one memory-mapped, HEALPix-ordered file a catalog, `NAME.boomcat`.
//!
//! `format` is the layout, `map` the memory map, `open` reading and matching, `set` a directory of them, `row` the encoding of
//! one row, `write` building a file, `import` reading Parquet, CSV and FITS tables. Which rows match is decided in
//! `boom_sky::crossmatch`; nothing here knows a survey.

mod error;
mod format;
mod import;
mod map;
mod open;
mod row;
mod set;
#[cfg(test)]
mod tests;
mod write;

pub use error::{CatalogError, ImportError};
pub use format::{EXTENSION, ImportRecord};
pub use import::{ImportOptions, ImportSummary, SkippedColumn, import};
pub use open::{Catalog, Scratch};
pub use row::{Cell, Column, ColumnType};
pub use set::CatalogSet;
pub use write::{CatalogSpec, CatalogWriter, NoPosition, Written};
