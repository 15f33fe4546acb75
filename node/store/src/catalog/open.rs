//! An open catalog: checked when it is opened, then matched against positions without copying anything but the matches.

use std::fs::File;
use std::path::{Path, PathBuf};

use boom_sky::crossmatch::{Hit, IndexView, Match, MatchRule, healpix, is_position, select, unit_vector};
use boom_sky::document::{Writer, tag};

use super::error::{CatalogError, hint};
use super::format::{Header, ImportRecord, Layout};
use super::map::Map;
use super::row::{Column, Elements};
use super::write::Digest;

/// The names that a match adds to its row.
pub(super) const DISTANCE_ARCSEC: &str = "distance_arcsec";
pub(super) const DISTANCE_KPC: &str = "distance_kpc";

/// A catalog file, mapped into memory. Shared between threads without a lock.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    header: Header,
    layout: Layout,
    map: Map,
}

/// What one thread reuses from match to match.
#[derive(Debug, Default)]
pub struct Scratch {
    hits: Vec<Hit>,
    matches: Vec<Match>,
}

impl Catalog {
    /// Opens a catalog and checks its header, its length and its tables (it reads 36 bytes a row);
    /// the documents of the rows are checked when they are read, or all at once by [`Catalog::verify`].
    ///
    /// # Errors
    /// When the file cannot be read, is no catalog, has another format, or is damaged.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let file = File::open(path).map_err(CatalogError::io("opening catalog", path))?;
        let length = file.metadata().map_err(CatalogError::io("opening catalog", path))?.len();
        if length == 0 {
            return Err(CatalogError::Foreign { path: path.to_owned() });
        }
        let map = Map::of(&file).map_err(CatalogError::io("mapping catalog", path))?;
        let (header, layout) = Header::decode(path, &map)?;
        let catalog = Self { path: path.to_owned(), header, layout, map };
        catalog.index()?.validate().map_err(|error| CatalogError::damaged(path, error.to_string()))?;
        let offsets = catalog.offsets()?;
        let ends_fit = offsets.first() == Some(&0) && offsets.last() == Some(&catalog.header.row_bytes);
        if !ends_fit || !offsets.is_sorted() {
            return Err(CatalogError::damaged(path, "its row offsets are out of order"));
        }
        Ok(catalog)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name under which its matches are stored.
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// The hash of its contents (32 hexadecimal digits): the same rows and columns have the same version in any order.
    pub fn version(&self) -> &str {
        &self.header.version
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.header.rows as usize
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.header.rows == 0
    }

    /// Its columns, the position's among them.
    pub fn columns(&self) -> &[Column] {
        &self.header.columns
    }

    /// The names of the columns that hold right ascension and declination (degrees).
    pub fn position_columns(&self) -> (&str, &str) {
        (&self.header.ra, &self.header.dec)
    }

    /// Where it came from.
    pub fn import_record(&self) -> &ImportRecord {
        &self.header.import
    }

    /// The length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Whether a rule can be followed with this catalog; to be asked once, before the first match.
    ///
    /// # Errors
    /// [`CatalogError::Rule`] for a radius that is none, [`CatalogError::Column`] for a column that is not there.
    pub fn check(&self, rule: &MatchRule) -> Result<(), CatalogError> {
        let bad = |what: String| Err(CatalogError::Rule { catalog: self.name().to_owned(), what });
        if !(rule.radius_arcsec > 0.0 && rule.radius_arcsec <= 36_000.0) {
            return bad(format!(
                "radius_arcsec is {}, allowed is above 0 and up to 36000 (10 degrees)",
                rule.radius_arcsec
            ));
        }
        for column in &rule.projection {
            if !self.columns().iter().any(|other| other.name == *column) {
                return Err(self.no_column("column", column));
            }
        }
        let Some(distance) = &rule.distance else { return Ok(()) };
        if !self.columns().iter().any(|column| column.name == distance.redshift && column.kind.is_number()) {
            return Err(self.no_column("column of numbers", &distance.redshift));
        }
        for (key, value) in [("distance_max", distance.distance_max), ("distance_max_near", distance.distance_max_near)]
        {
            if !(value > 0.0 && value.is_finite()) {
                return bad(format!("{key} is {value}, and must be above 0"));
            }
        }
        Ok(())
    }

    fn no_column(&self, wanted: &'static str, column: &str) -> CatalogError {
        let hint = hint(column, self.columns().iter().map(|column| column.name.as_str()));
        CatalogError::Column { catalog: self.name().to_owned(), wanted, column: column.to_owned(), hint }
    }

    /// Appends the rows that `rule` keeps around a position (degrees) to `out`, as one BSON array of documents, and says how
    /// many they are. A document holds the projected columns, the position's columns, `distance_arcsec`, and with a distance
    /// rule `distance_kpc`. A position that is none has an empty array.
    ///
    /// # Errors
    /// When a row is damaged; `out` is then as it was.
    pub fn matches(
        &self,
        ra: f64,
        dec: f64,
        rule: &MatchRule,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<usize, CatalogError> {
        let Scratch { hits, matches } = scratch;
        self.index()?.search(ra, dec, rule.radius_arcsec, hits);
        let mut failed = None;
        select(
            rule,
            hits,
            |row| {
                self.redshift(row, rule).unwrap_or_else(|error| {
                    failed.get_or_insert(error);
                    None
                })
            },
            matches,
        );
        if let Some(error) = failed {
            return Err(error);
        }
        let start = out.len();
        let written = self.write_matches(rule, matches, out);
        if written.is_err() {
            out.truncate(start);
        }
        written.map(|()| matches.len())
    }

    fn write_matches(&self, rule: &MatchRule, matches: &[Match], out: &mut Vec<u8>) -> Result<(), CatalogError> {
        let mut writer = Writer::new(out);
        let array = writer.open_root();
        for (at, found) in matches.iter().enumerate() {
            writer.index(tag::DOCUMENT, at);
            let document = writer.open_root();
            self.write_row(found.row, rule, &mut writer)?;
            writer.double(DISTANCE_ARCSEC, found.distance_arcsec);
            if let Some(distance_kpc) = found.distance_kpc {
                writer.double(DISTANCE_KPC, distance_kpc);
            }
            writer.close(document);
        }
        writer.close(array);
        Ok(())
    }

    /// Appends the projected elements of a row.
    fn write_row(&self, row: u32, rule: &MatchRule, writer: &mut Writer<'_>) -> Result<(), CatalogError> {
        let wanted = |name: &[u8]| {
            rule.projection.iter().any(|column| column.as_bytes() == name)
                || name == self.header.ra.as_bytes()
                || name == self.header.dec.as_bytes()
        };
        let mut elements = self.elements(row)?;
        while let Some(element) = elements.next().map_err(|_| self.damaged_row(row))? {
            if rule.projection.is_empty() || wanted(element.name) {
                writer.buffer().extend_from_slice(element.bytes);
            }
        }
        Ok(())
    }

    fn redshift(&self, row: u32, rule: &MatchRule) -> Result<Option<f64>, CatalogError> {
        let Some(distance) = &rule.distance else { return Ok(None) };
        let mut elements = self.elements(row)?;
        while let Some(element) = elements.next().map_err(|_| self.damaged_row(row))? {
            if element.name == distance.redshift.as_bytes() {
                return Ok(element.number());
            }
        }
        Ok(None)
    }

    /// The document of a row, in BSON.
    ///
    /// # Errors
    /// When there is no such row, or it is damaged.
    pub fn row(&self, row: u32) -> Result<&[u8], CatalogError> {
        let at = row as usize;
        let bytes = self.offsets()?.get(at..=at + 1).and_then(|ends| {
            let (from, to) = (usize::try_from(ends[0]).ok()?, usize::try_from(ends[1]).ok()?);
            self.part(&self.layout.rows).get(from..to)
        });
        bytes.filter(|bytes| Elements::of(bytes).is_some()).ok_or_else(|| self.damaged_row(row))
    }

    fn elements(&self, row: u32) -> Result<Elements<'_>, CatalogError> {
        Elements::of(self.row(row)?).ok_or_else(|| self.damaged_row(row))
    }

    fn damaged_row(&self, row: u32) -> CatalogError {
        CatalogError::damaged(&self.path, format!("row {row} is not readable"))
    }

    /// Reads the whole file and checks every row, that it stands where its position belongs, and the version.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`].
    pub fn verify(&self) -> Result<(), CatalogError> {
        let mut digest = Digest::of(&self.header.ra, &self.header.dec, &self.header.columns);
        let (keys, vectors) =
            (self.numbers::<u64>(&self.layout.keys)?, self.numbers::<[f64; 3]>(&self.layout.vectors)?);
        for (row, (&key, vector)) in (0u32..).zip(keys.iter().zip(vectors)) {
            let (ra, dec) = self.position(row)?;
            if !is_position(ra, dec) || healpix(ra, dec) != key || unit_vector(ra, dec) != *vector {
                return Err(self.damaged_row(row));
            }
            digest.row(self.row(row)?);
        }
        if digest.version() == self.version() {
            Ok(())
        } else {
            Err(CatalogError::damaged(&self.path, "its contents do not match its version"))
        }
    }

    /// The position that a row's document states; NaN where it states none.
    fn position(&self, row: u32) -> Result<(f64, f64), CatalogError> {
        let mut position = (f64::NAN, f64::NAN);
        let mut elements = self.elements(row)?;
        while let Some(element) = elements.next().map_err(|_| self.damaged_row(row))? {
            if element.name == self.header.ra.as_bytes() {
                position.0 = element.number().unwrap_or(f64::NAN);
            } else if element.name == self.header.dec.as_bytes() {
                position.1 = element.number().unwrap_or(f64::NAN);
            }
        }
        Ok(position)
    }

    fn part(&self, range: &std::ops::Range<usize>) -> &[u8] {
        self.map.get(range.clone()).unwrap_or_default()
    }

    /// The search table.
    fn index(&self) -> Result<IndexView<'_>, CatalogError> {
        let (keys, vectors, buckets) = (
            self.numbers(&self.layout.keys)?,
            self.numbers(&self.layout.vectors)?,
            self.numbers(&self.layout.buckets)?,
        );
        IndexView::new(keys, vectors, buckets).map_err(|error| CatalogError::damaged(&self.path, error.to_string()))
    }

    fn offsets(&self) -> Result<&[u64], CatalogError> {
        self.numbers(&self.layout.offsets)
    }

    fn numbers<T: bytemuck::AnyBitPattern>(&self, range: &std::ops::Range<usize>) -> Result<&[T], CatalogError> {
        bytemuck::try_cast_slice(self.part(range)).map_err(|error| CatalogError::damaged(&self.path, error.to_string()))
    }
}
