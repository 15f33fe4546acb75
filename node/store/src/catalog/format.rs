//! The layout of a catalog file. Where each part lies and what the header says; no search, no writing of rows.
//!
//! ```text
//! 0   magic (8 bytes)   format u32   header length u32   xxh3-64 of the header u64   length of the file u64
//! 32  header (JSON), padded to 64
//!     keys     u64 × rows          order-29 nested HEALPix, ascending
//!     vectors  f64 × 3 × rows      unit vectors in the same order
//!     offsets  u64 × (rows + 1)    where each row's document begins among the documents
//!     buckets  u32 × buckets       first row of each cell of a coarse order, then the number of rows
//!     rows     BSON documents, one after the other
//! ```
//! All numbers are little-endian, and read in place; a machine of the other kind does not compile this.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::CatalogError;
use super::row::Column;

/// The extension of catalog files.
pub const EXTENSION: &str = "boomcat";

/// The first bytes of every catalog file.
const MAGIC: [u8; 8] = *b"BOOMCAT\n";

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

/// The length of what stands before the header.
const PREFIX: usize = 32;

const _: () = assert!(cfg!(target_endian = "little"), "catalog files are read in place and are little-endian");

/// Where the catalog came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportRecord {
    /// The table's file name, or what made the rows.
    pub source: String,
    /// Rows of the table.
    pub rows_read: u64,
    /// Rows without a possible position, left out.
    pub rows_refused: u64,
}

/// What the file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) rows: u64,
    pub(super) buckets: u64,
    pub(super) row_bytes: u64,
    pub(super) ra: String,
    pub(super) dec: String,
    pub(super) columns: Vec<Column>,
    pub(super) import: ImportRecord,
}

/// Where the parts lie, in bytes from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) keys: Range<usize>,
    pub(super) vectors: Range<usize>,
    pub(super) offsets: Range<usize>,
    pub(super) buckets: Range<usize>,
    pub(super) rows: Range<usize>,
}

impl Layout {
    /// The layout for a header of `header_length` bytes, unless it is larger than memory can be.
    pub(super) fn of(header: &Header, header_length: usize) -> Option<Self> {
        let rows = usize::try_from(header.rows).ok()?;
        let start = PREFIX.checked_add(header_length)?.checked_next_multiple_of(64)?;
        let part = |start: usize, count: usize, size: usize| Some(start..start.checked_add(count.checked_mul(size)?)?);
        let keys = part(start, rows, 8)?;
        let vectors = part(keys.end, rows, 24)?;
        let offsets = part(vectors.end, rows.checked_add(1)?, 8)?;
        let buckets = part(offsets.end, usize::try_from(header.buckets).ok()?, 4)?;
        let rows = part(buckets.end, usize::try_from(header.row_bytes).ok()?, 1)?;
        Some(Self { keys, vectors, offsets, buckets, rows })
    }
}

impl Header {
    /// What stands before the parts: prefix, header and padding; and where the parts lie.
    pub(super) fn encode(&self) -> Option<(Vec<u8>, Layout)> {
        let json = serde_json::to_vec(self).ok()?;
        let layout = Layout::of(self, json.len())?;
        let mut front = Vec::with_capacity(layout.keys.start);
        front.extend_from_slice(&MAGIC);
        front.extend_from_slice(&FORMAT.to_le_bytes());
        front.extend_from_slice(&u32::try_from(json.len()).ok()?.to_le_bytes());
        front.extend_from_slice(&xxh3_64(&json).to_le_bytes());
        front.extend_from_slice(&(layout.rows.end as u64).to_le_bytes());
        front.extend_from_slice(&json);
        front.resize(layout.keys.start, 0);
        Some((front, layout))
    }

    /// Reads the front of a file and checks that the file is as long as the parts need.
    pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<(Self, Layout), CatalogError> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(CatalogError::Foreign { path: path.to_owned() });
        }
        let damaged = |what: &str| CatalogError::damaged(path, what);
        let short = || damaged("it ends within its header");
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let found = u32_at(8).ok_or_else(short)?;
        if found != FORMAT {
            return Err(CatalogError::Format { path: path.to_owned(), found, supported: FORMAT });
        }
        let header_length = u32_at(12).ok_or_else(short)? as usize;
        let (checksum, length) = (u64_at(16).ok_or_else(short)?, u64_at(24).ok_or_else(short)?);
        if length != bytes.len() as u64 {
            return Err(damaged(&format!("it is {} bytes long and should be {length}", bytes.len())));
        }
        let json = bytes.get(PREFIX..PREFIX + header_length).ok_or_else(short)?;
        if xxh3_64(json) != checksum {
            return Err(damaged("its header does not match its checksum"));
        }
        let header: Self = serde_json::from_slice(json).map_err(|error| damaged(&format!("its header: {error}")))?;
        let layout = Layout::of(&header, header_length).filter(|layout| layout.rows.end == bytes.len());
        Ok((header, layout.ok_or_else(|| damaged("its parts do not fit its length"))?))
    }
}
