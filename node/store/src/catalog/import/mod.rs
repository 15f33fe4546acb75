//! Importing a table: recognise the file, choose the columns, hand every row to the writer. The formats are in their modules.

mod csv;
mod fits;
mod parquet;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::error::{ImportError, hint};
use super::format::ImportRecord;
use super::row::{Cell, Column};
use super::write::{CatalogSpec, CatalogWriter};

/// What to make of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The catalog's name: letters, digits, `_` and `-`.
    pub name: String,
    /// The column with the right ascension in degrees; recognised when not given.
    pub ra: Option<String>,
    /// The column with the declination in degrees; recognised when not given.
    pub dec: Option<String>,
    /// The columns to keep besides the position; empty: all.
    pub columns: Vec<String>,
    /// The directory of the catalog file.
    pub out_dir: PathBuf,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSummary {
    /// The catalog's name.
    pub name: String,
    /// The hash of its contents.
    pub version: String,
    /// Its file.
    pub path: PathBuf,
    /// The length of the file.
    pub bytes: u64,
    /// Rows in the catalog.
    pub rows: u64,
    /// Rows of the table left out, because their position is missing or impossible.
    pub refused: u64,
    /// The first of them, counted from 1.
    pub first_refused: Option<u64>,
    /// The column taken for right ascension.
    pub ra: String,
    /// The column taken for declination.
    pub dec: String,
    /// The columns of the catalog.
    pub columns: Vec<Column>,
    /// Columns of the table that cannot be kept.
    pub skipped: Vec<SkippedColumn>,
}

/// A column that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedColumn {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A table of one of the formats: its columns are known, its rows not yet read.
trait Table {
    /// What can be read, and what not.
    fn columns(&self) -> (&[Column], &[SkippedColumn]);

    /// Reads the rows once, giving `each` the cells of the `wanted` columns (positions in `columns`, in ascending order).
    fn read(&mut self, wanted: &[usize], each: &mut dyn FnMut(&[Cell<'_>])) -> Result<(), ImportError>;
}

/// Pairs of names, in lower case, that hold a position in degrees; the first pair that a table has is taken.
const POSITIONS: [(&str, &str); 23] = [
    ("ra", "dec"),
    ("ra_deg", "dec_deg"),
    ("radeg", "dedeg"),
    ("radeg", "decdeg"),
    ("_raj2000", "_dej2000"),
    ("_raj2000", "_decj2000"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("ra_j2000", "dec_j2000"),
    ("ra_icrs", "de_icrs"),
    ("_ra_icrs", "_de_icrs"),
    ("_ra", "_de"),
    ("_ra", "_dec"),
    ("ramean", "decmean"),
    ("ra_mean", "dec_mean"),
    ("alpha_j2000", "delta_j2000"),
    ("ra2000", "dec2000"),
    ("ra", "de"),
    ("ra", "decl"),
    ("ra", "declination"),
    ("rightascension", "declination"),
    ("right_ascension", "declination"),
    ("alpha", "delta"),
];

/// Reads a Parquet, CSV or FITS table (the latter two also gzipped) and writes the catalog of it.
///
/// # Errors
/// When the table cannot be read, a column is not there, or the catalog cannot be written.
pub fn import(file: &Path, options: &ImportOptions) -> Result<ImportSummary, ImportError> {
    let mut table = open(file)?;
    let (columns, skipped) = table.columns();
    let (ra, dec) = position(file, columns, options)?;
    let wanted = choose(file, columns, options, [&ra, &dec])?;
    let kept: Vec<Column> = wanted.iter().map(|&at| columns[at].clone()).collect();
    let skipped = skipped.to_vec();
    let spec = CatalogSpec { name: options.name.clone(), ra: ra.clone(), dec: dec.clone(), columns: kept.clone() };
    let mut writer = CatalogWriter::new(spec)?;
    let (mut read, mut refused, mut first_refused) = (0, 0, None);
    table.read(&wanted, &mut |cells| {
        read += 1;
        if writer.push(cells).is_err() {
            refused += 1;
            first_refused.get_or_insert(read);
        }
    })?;
    if writer.is_empty() {
        return Err(ImportError::NoRows { path: file.to_owned(), read, ra, dec });
    }
    let source = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let record = ImportRecord { source, rows_read: read, rows_refused: refused };
    let written = writer.write(&options.out_dir, record)?;
    let name = options.name.clone();
    let (path, bytes, rows, version) = (written.path, written.bytes, written.rows, written.version);
    Ok(ImportSummary { name, version, path, bytes, rows, refused, first_refused, ra, dec, columns: kept, skipped })
}

/// Opens a table by what its first bytes say.
fn open(path: &Path) -> Result<Box<dyn Table>, ImportError> {
    let file = File::open(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    let mut first = [0; 4];
    let got =
        BufReader::new(&file).read(&mut first).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    if first == *b"PAR1" {
        return Ok(Box::new(parquet::ParquetTable::open(path)?));
    }
    let mut text = inflated(path)?;
    let start = text.fill_buf().map_err(|error| ImportError::table(path, error))?;
    match start {
        _ if got == 0 => Err(ImportError::table(path, "the file is empty")),
        start if start.starts_with(b"SIMPLE  =") => Ok(Box::new(fits::FitsTable::open(path, text)?)),
        start if start.contains(&0) => {
            Err(ImportError::table(path, "neither Parquet, nor FITS, nor CSV text (the latter two may be gzipped)"))
        }
        _ => Ok(Box::new(csv::CsvTable::open(path)?)),
    }
}

/// The bytes of a file, inflated when they are gzipped.
fn inflated(path: &Path) -> Result<Box<dyn BufRead>, ImportError> {
    let failed = |source: io::Error| ImportError::Read { path: path.to_owned(), source };
    let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(failed)?);
    let gzipped = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped { Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// The columns of the position: those named, else the first pair that is there and holds numbers.
fn position(path: &Path, columns: &[Column], options: &ImportOptions) -> Result<(String, String), ImportError> {
    let named = |name: &Option<String>| name.as_ref().map(|name| find(path, columns, name)).transpose();
    let (ra, dec) = (named(&options.ra)?, named(&options.dec)?);
    let numbers =
        |wanted: &str| columns.iter().find(|column| column.kind.is_number() && column.name.to_lowercase() == wanted);
    let pair = POSITIONS
        .iter()
        .find_map(|(ra_name, dec_name)| Some((ra.or_else(|| numbers(ra_name))?, dec.or_else(|| numbers(dec_name))?)));
    let Some((ra, dec)) = pair.or(ra.zip(dec)) else {
        let columns = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(ImportError::Position { path: path.to_owned(), columns });
    };
    for column in [ra, dec] {
        if !column.kind.is_number() {
            let what =
                format!("column {:?} holds no numbers; a position is two columns of decimal degrees", column.name);
            return Err(ImportError::table(path, what));
        }
    }
    Ok((ra.name.clone(), dec.name.clone()))
}

fn find<'a>(path: &Path, columns: &'a [Column], name: &str) -> Result<&'a Column, ImportError> {
    columns.iter().find(|column| column.name == name).ok_or_else(|| {
        let hint = hint(name, columns.iter().map(|column| column.name.as_str()));
        ImportError::Column { path: path.to_owned(), column: name.to_owned(), hint }
    })
}

/// Which columns to keep, in the order of the table.
fn choose(
    path: &Path,
    columns: &[Column],
    options: &ImportOptions,
    position: [&str; 2],
) -> Result<Vec<usize>, ImportError> {
    for name in &options.columns {
        find(path, columns, name)?;
    }
    let keep = |name: &String| {
        options.columns.is_empty() || options.columns.contains(name) || position.contains(&name.as_str())
    };
    Ok((0..columns.len()).filter(|&at| keep(&columns[at].name)).collect())
}

/// Sets aside columns that cannot be kept: without a name, or with the name of one before them.
fn usable(columns: Vec<(Column, usize)>, skipped: &mut Vec<SkippedColumn>) -> (Vec<Column>, Vec<usize>) {
    let (mut kept, mut places): (Vec<Column>, Vec<usize>) = (Vec::new(), Vec::new());
    for (column, place) in columns {
        let reason = if column.name.is_empty() || column.name.contains('\0') {
            "it has no usable name"
        } else if kept.iter().any(|other| other.name == column.name) {
            "a column before it has the same name"
        } else {
            kept.push(column);
            places.push(place);
            continue;
        };
        skipped.push(SkippedColumn { name: column.name, reason: reason.to_owned() });
    }
    (kept, places)
}
