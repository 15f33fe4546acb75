//! Building a catalog file from rows: order them, hash them, write them under another name and rename. No reading of tables.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use boom_sky::crossmatch::{bucket_table, healpix, is_position, unit_vector};
use boom_sky::document::Writer;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use super::error::CatalogError;
use super::format::{EXTENSION, Header, ImportRecord};
use super::open::{DISTANCE_ARCSEC, DISTANCE_KPC};
use super::row::{Cell, Column, write_cell};

/// Documents are collected in pieces of about this many bytes, so that collecting never copies them.
const PIECE: usize = 16 << 20;

/// What a catalog is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogSpec {
    /// Its name: letters, digits, `_` and `-`. It names the file and the matches.
    pub name: String,
    /// The column with the right ascension in degrees.
    pub ra: String,
    /// The column with the declination in degrees.
    pub dec: String,
    /// All columns, the position's among them.
    pub columns: Vec<Column>,
}

/// A row that was left out, because its position is missing or impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the row has no possible position")]
pub struct NoPosition;

/// A catalog file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// The hash of its contents.
    pub version: String,
    /// Its rows.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
}

/// Collects rows in memory (their documents and 40 bytes each) and writes the file.
#[derive(Debug)]
pub struct CatalogWriter {
    spec: CatalogSpec,
    ra: usize,
    dec: usize,
    rows: Vec<Row>,
    pieces: Vec<Vec<u8>>,
    encoded: Vec<u8>,
}

#[derive(Debug)]
struct Row {
    key: u64,
    ra: f64,
    dec: f64,
    piece: u32,
    start: u32,
    length: u32,
}

impl CatalogWriter {
    /// An empty catalog.
    ///
    /// # Errors
    /// [`CatalogError::Spec`] for a name that cannot name a file, a column that is there twice or has no usable name, and
    /// positions that are not among the columns or not numbers.
    pub fn new(spec: CatalogSpec) -> Result<Self, CatalogError> {
        let bad = |what: String| CatalogError::Spec { name: spec.name.clone(), what };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if spec.name.is_empty() || spec.name.len() > 64 || !spec.name.chars().all(allowed) {
            return Err(bad("a name is 1 to 64 letters, digits, _ and -".to_owned()));
        }
        for (at, Column { name, .. }) in spec.columns.iter().enumerate() {
            if name.is_empty() || name.contains('\0') {
                return Err(bad(format!("column {} has no usable name", at + 1)));
            }
            if spec.columns[..at].iter().any(|other| other.name == *name) {
                return Err(bad(format!("there are two columns {name:?}")));
            }
            if name == DISTANCE_ARCSEC || name == DISTANCE_KPC {
                return Err(bad(format!("column {name:?} is what a match adds; leave it out")));
            }
        }
        let place = |wanted: &str| {
            let found = spec.columns.iter().position(|column| column.name == wanted);
            let found = found.filter(|&at| spec.columns[at].kind.is_number());
            found.ok_or_else(|| {
                bad(format!("the position column {wanted:?} is not a column of numbers (decimal degrees)"))
            })
        };
        let (ra, dec) = (place(&spec.ra)?, place(&spec.dec)?);
        Ok(Self { spec, ra, dec, rows: Vec::new(), pieces: Vec::new(), encoded: Vec::new() })
    }

    /// Adds a row, a cell for each column; the right ascension is brought into [0, 360).
    ///
    /// # Errors
    /// [`NoPosition`] for a right ascension outside [-180, 360] or a declination outside [-90, 90], or one that is missing.
    ///
    /// # Panics
    /// When there are fewer cells than columns.
    pub fn push(&mut self, cells: &[Cell<'_>]) -> Result<(), NoPosition> {
        let (ra, dec) = (cells[self.ra].number().ok_or(NoPosition)?, cells[self.dec].number().ok_or(NoPosition)?);
        if !is_position(ra, dec) || !(-180.0..=360.0).contains(&ra) {
            return Err(NoPosition);
        }
        let ra = Some(ra.rem_euclid(360.0)).filter(|&ra| ra < 360.0).unwrap_or(0.0);
        self.encoded.clear();
        let mut writer = Writer::new(&mut self.encoded);
        let root = writer.open_root();
        for (at, (column, cell)) in self.spec.columns.iter().zip(cells).enumerate() {
            // A right ascension of whole degrees stays a whole number.
            let turned = at == self.ra && cell.number() != Some(ra);
            write_cell(&mut writer, column, if turned { whole_or_double(column, ra) } else { *cell });
        }
        writer.close(root);
        let (piece, start) = self.store_encoded();
        let length = self.encoded.len() as u32;
        self.rows.push(Row { key: healpix(ra, dec), ra, dec, piece, start, length });
        Ok(())
    }

    fn store_encoded(&mut self) -> (u32, u32) {
        if self.pieces.last().is_none_or(|piece| piece.len() + self.encoded.len() > PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE.max(self.encoded.len())));
        }
        let number = self.pieces.len() - 1;
        let piece = &mut self.pieces[number];
        let start = piece.len();
        piece.extend_from_slice(&self.encoded);
        (number as u32, start as u32)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes `NAME.boomcat` in `dir` (made when it is not there): whole and on disk, or not at all.
    ///
    /// # Errors
    /// When the system refuses, or the rows are too many for one file (2^32).
    pub fn write(mut self, dir: &Path, import: ImportRecord) -> Result<Written, CatalogError> {
        let pieces = std::mem::take(&mut self.pieces);
        let document = |row: &Row| &pieces[row.piece as usize][row.start as usize..][..row.length as usize];
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key).then_with(|| document(a).cmp(document(b))));
        let mut digest = Digest::of(&self.spec.ra, &self.spec.dec, &self.spec.columns);
        rows.iter().for_each(|row| digest.row(document(row)));
        let too_many =
            || CatalogError::Spec { name: self.spec.name.clone(), what: "it has 2^32 rows or more".to_owned() };
        if u32::try_from(rows.len()).is_err() {
            return Err(too_many());
        }
        let buckets = bucket_table(&rows.iter().map(|row| row.key).collect::<Vec<_>>());
        let header = Header {
            name: self.spec.name.clone(),
            version: digest.version(),
            rows: rows.len() as u64,
            buckets: buckets.len() as u64,
            row_bytes: rows.iter().map(|row| u64::from(row.length)).sum(),
            ra: self.spec.ra.clone(),
            dec: self.spec.dec.clone(),
            columns: self.spec.columns.clone(),
            import,
        };
        let (front, layout) = header.encode().ok_or_else(too_many)?;
        let path = dir.join(format!("{}.{EXTENSION}", header.name));
        replace(&path, |file| {
            file.write_all(&front)?;
            write_tables(file, &rows, &buckets)?;
            rows.iter().try_for_each(|row| file.write_all(document(row)))
        })?;
        Ok(Written { path, version: header.version, rows: header.rows, bytes: layout.rows.end as u64 })
    }
}

fn whole_or_double(column: &Column, value: f64) -> Cell<'static> {
    if column.kind == super::row::ColumnType::Double { Cell::Double(value) } else { Cell::Int(value as i64) }
}

/// The tables in the order of the layout.
fn write_tables(file: &mut dyn Write, rows: &[Row], buckets: &[u32]) -> io::Result<()> {
    for row in rows {
        file.write_all(&row.key.to_le_bytes())?;
    }
    for row in rows {
        file.write_all(bytemuck::bytes_of(&unit_vector(row.ra, row.dec)))?;
    }
    let mut offset = 0u64;
    file.write_all(&offset.to_le_bytes())?;
    for row in rows {
        offset += u64::from(row.length);
        file.write_all(&offset.to_le_bytes())?;
    }
    file.write_all(bytemuck::cast_slice(buckets))
}

/// Writes a file under another name, brings it to the disk and renames it; a failure leaves nothing behind.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), CatalogError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(CatalogError::io("making the catalog directory", dir))?;
    let temporary = path.with_extension(format!("{EXTENSION}.{}.tmp", std::process::id()));
    let attempt = || -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    attempt().map_err(|source| {
        // What failed is what the caller hears of; that the rest stays behind too would not help.
        let _ = fs::remove_file(&temporary);
        CatalogError::Io { doing: "writing catalog", path: path.to_owned(), source }
    })
}

/// The hash that is a catalog's version: of its columns and its rows in order.
pub(super) struct Digest(Xxh3);

impl Digest {
    /// Of the columns, so far.
    pub(super) fn of(ra: &str, dec: &str, columns: &[Column]) -> Self {
        let mut hash = Xxh3::new();
        for text in [ra, dec] {
            hash.update(text.as_bytes());
            hash.update(&[0]);
        }
        for column in columns {
            hash.update(column.name.as_bytes());
            hash.update(&[0, column.kind as u8]);
        }
        Self(hash)
    }

    /// And of one more row.
    pub(super) fn row(&mut self, document: &[u8]) {
        self.0.update(document);
    }

    /// 32 hexadecimal digits.
    pub(super) fn version(&self) -> String {
        format!("{:032x}", self.0.digest128())
    }
}
