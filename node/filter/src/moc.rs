//! Sky maps: multi-order coverage maps of the IVOA's standard (MOC 2.0, <https://www.ivoa.net/documents/MOC/>), from their bytes.
//!
//! The maps are of space, in ICRS; FITS, ASCII and JSON are told apart by their first byte. What the standard forbids is refused here,
//! before and after the reader: it trusts its input. No file is opened.

use std::fmt::Write as _;
use std::io::Cursor;
use std::sync::Arc;

use moc::deser::ascii::from_ascii_ivoa;
use moc::deser::fits::{MocIdxType, MocQtyType, from_fits_ivoa};
use moc::deser::json::from_json_aladin;
use moc::elemset::range::HpxRanges;
use moc::idx::Idx;
use moc::moc::range::RangeMOC;
use moc::moc::{
    CellMOCIntoIterator, CellMOCIterator, CellOrCellRangeMOCIntoIterator, CellOrCellRangeMOCIterator, RangeMOCIterator,
};
use moc::qty::Hpx;
use moc::ranges::SNORanges;
use sha2::{Digest, Sha256};

/// The finest order of the standard; ranges are kept at it.
const DEPTH: u8 = 29;
/// One more than the last cell of the sky at [`DEPTH`].
const SKY_END: u64 = 12 << (2 * DEPTH);
/// Larger maps are refused: what is published has some megabytes.
const MAX_BYTES: usize = 64 << 20;

/// The keywords that a FITS table begins with, which have values.
const MANDATORY: [&[u8]; 7] =
    [b"SIMPLE  ", b"XTENSION", b"BITPIX  ", b"NAXIS   ", b"PCOUNT  ", b"GCOUNT  ", b"TFIELDS "];

/// A part of the sky. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SkyMap(Arc<Prepared>);

#[derive(Debug)]
struct Prepared {
    cells: HpxRanges<u64>,
    digest: String,
}

/// Why bytes are no sky map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SkyMapError(String);

fn refuse<T>(message: impl Into<String>) -> Result<T, SkyMapError> {
    Err(SkyMapError(message.into()))
}

impl SkyMap {
    /// Bytes that the file of a map may have.
    pub const MAX_BYTES: usize = MAX_BYTES;

    /// Reads a map from the bytes of its file: FITS, ASCII or JSON.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<SkyMap, SkyMapError> {
        if bytes.len() > MAX_BYTES {
            return refuse(format!("the map has {} bytes, at most {MAX_BYTES} are allowed", bytes.len()));
        }
        let cells = if bytes.starts_with(b"SIMPLE") {
            fits(bytes)?
        } else {
            let text = std::str::from_utf8(bytes)
                .or_else(|_| refuse("a sky map is FITS, ASCII or JSON; this is none of them"))?;
            if text.trim_start().starts_with('{') { json(text)? } else { ascii(text)? }
        };
        let cells = cells.into_moc_ranges();
        let (mut last, mut hash) = (None, Sha256::new());
        for range in cells.iter() {
            if range.start >= range.end || range.end > SKY_END || last.is_some_and(|last| range.start < last) {
                return refuse(format!(
                    "the cells {} to {} of order {DEPTH} are out of order or outside the sky",
                    range.start, range.end
                ));
            }
            last = Some(range.end);
            hash.update(range.start.to_le_bytes());
            hash.update(range.end.to_le_bytes());
        }
        if last.is_none() {
            return refuse("the map is empty: no point of the sky lies in it");
        }
        let mut digest = String::new();
        hash.finalize().iter().for_each(|byte| write!(digest, "{byte:02x}").expect("a string takes what is written"));
        Ok(SkyMap(Arc::new(Prepared { cells, digest })))
    }

    /// The SHA-256 of what the map covers, however it was written.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Whether a point (degrees, ICRS) lies in the map: a finite right ascension, a declination within ±90.
    pub(crate) fn contains(&self, ra: f64, dec: f64) -> bool {
        let cell = cdshealpix::nested::hash(DEPTH, ra.rem_euclid(360.0).to_radians(), dec.to_radians());
        self.0.cells.contains_val(&cell)
    }

    /// How many ranges of cells the map has: what a look into it costs is their logarithm.
    pub(crate) fn ranges(&self) -> usize {
        self.0.cells.0.0.len()
    }
}

type Cells = RangeMOC<u64, Hpx<u64>>;

fn fits(bytes: &[u8]) -> Result<Cells, SkyMapError> {
    fits_rows(bytes)?;
    match from_fits_ivoa(Cursor::new(bytes))
        .or_else(|error| refuse(format!("this is no FITS of a sky map: {error}")))?
    {
        MocIdxType::U16(map) => of_space(map),
        MocIdxType::U32(map) => of_space(map),
        MocIdxType::U64(map) => of_space(map),
    }
}

fn of_space<T: Idx>(map: MocQtyType<T, Cursor<&[u8]>>) -> Result<Cells, SkyMapError> {
    match map {
        MocQtyType::Hpx(map) => Ok(map.collect_to_u64::<Hpx<u64>>()),
        _ => refuse("the map is of time or frequency; a sky map is of space alone"),
    }
}

/// Refuses a file that is shorter than its header says, of which the reader would take what there is.
fn fits_rows(bytes: &[u8]) -> Result<(), SkyMapError> {
    let (mut ends, mut width, mut rows, mut nuniq) = (0, 0_u64, 0_u64, false);
    for (at, card) in bytes.chunks_exact(80).enumerate() {
        if let Some(byte) = card.iter().find(|byte| !(b' '..=b'~').contains(byte)) {
            return refuse(format!("the byte {byte} stands in no header of a FITS file, which is printable ASCII"));
        }
        let mandatory = MANDATORY.contains(&&card[..8]);
        if mandatory && card[10..60].trim_ascii().is_empty() {
            return refuse(format!("the header's `{}` has no value", String::from_utf8_lossy(&card[..8]).trim_end()));
        }
        let number = || std::str::from_utf8(&card[9..]).ok().and_then(|v| v.split('/').next()?.trim().parse().ok());
        match &card[..8] {
            b"NAXIS1  " => width = number().unwrap_or(u64::MAX),
            b"NAXIS2  " => rows = number().unwrap_or(u64::MAX),
            b"ORDERING" => nuniq = card[9..].windows(5).any(|word| word == b"NUNIQ"),
            b"END     " => ends += 1,
            _ => {}
        }
        if ends == 2 {
            let data = bytes.get(((at + 1) * 80).next_multiple_of(2880)..).unwrap_or_default();
            let wanted = width.checked_mul(rows).filter(|wanted| *wanted <= data.len() as u64);
            let Some(wanted) = wanted else {
                return refuse(format!("the table of {rows} rows of {width} bytes is longer than the file"));
            };
            return if nuniq { fits_cells(&data[..wanted as usize], width as usize) } else { Ok(()) };
        }
    }
    refuse("the FITS file ends within its headers")
}

/// Refuses numbers of cells (4 · 4^order + cell) that are none.
fn fits_cells(data: &[u8], width: usize) -> Result<(), SkyMapError> {
    if !matches!(width, 2 | 4 | 8) {
        return refuse(format!("a row of {width} bytes holds no number of a cell: 2, 4 or 8 bytes do"));
    }
    for row in data.chunks_exact(width) {
        let cell = row.iter().fold(0, |cell: u64, byte| cell << 8 | u64::from(*byte));
        if !(4..16 << (2 * DEPTH)).contains(&cell) {
            return refuse(format!("{cell} is the number (NUNIQ) of no cell"));
        }
    }
    Ok(())
}

/// The ASCII form; commas as in version 1 of the standard, and the `s` that may stand before a map of space.
fn ascii(text: &str) -> Result<Cells, SkyMapError> {
    let text = text.trim();
    let text = text.strip_prefix('s').unwrap_or(text).replace(',', " ");
    let odd = text.chars().find(|c| !(c.is_ascii_digit() || c.is_ascii_whitespace() || matches!(c, '/' | '-' | '+')));
    if let Some(odd) = odd {
        return refuse(format!("{odd:?} stands in no sky map: one is FITS, JSON or a list such as `3/1-4 9 5/100`"));
    }
    for number in text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty()) {
        if number.parse().map_or(true, |n: u64| n >= SKY_END) {
            return refuse(format!("{number} is no cell of any order"));
        }
    }
    for before in text.split('/').rev().skip(1) {
        let order = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        if order.parse().map_or(true, |n: u64| n > u64::from(DEPTH)) {
            return refuse(format!("`{order}/` is no order: 0 to {DEPTH} are"));
        }
    }
    let map = from_ascii_ivoa::<u64, Hpx<u64>>(&text)
        .or_else(|error| refuse(format!("this is no list of cells: {error}")))?;
    Ok(map.into_cellcellrange_moc_iter().ranges().into_range_moc())
}

/// The JSON form: cells by order.
fn json(text: &str) -> Result<Cells, SkyMapError> {
    let orders: std::collections::BTreeMap<String, Vec<u64>> = serde_json::from_str(text)
        .or_else(|error| refuse(format!("this is no sky map, which is {{\"order\": [cell, …], …}}: {error}")))?;
    for (order, cells) in &orders {
        let depth = order.parse().ok().filter(|depth: &u8| *depth <= DEPTH && depth.to_string() == *order);
        let Some(depth) = depth else { return refuse(format!("`{order}` is no order: 0 to {DEPTH} are")) };
        if let Some(cell) = cells.iter().find(|cell| **cell >= 12 << (2 * depth)) {
            return refuse(format!("{cell} is no cell of order {depth}"));
        }
    }
    let map =
        from_json_aladin::<u64, Hpx<u64>>(text).or_else(|error| refuse(format!("this is no sky map: {error}")))?;
    Ok(map.into_cell_moc_iter().ranges().into_range_moc())
}
