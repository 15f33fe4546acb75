//! A series of light-curve points as it lies in memory and in the embedded store: a fixed head with what the pipeline itself needs,
//! then the point's BSON document.
//!
//! A sorted series is ordered by (jd, band) with one point each. Nothing here decides which of two points stays ([`super::merge`]).

use crate::document::{Writer, tag};

/// A band's name, four ASCII characters at the most; the empty name is "not known".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Band([u8; 4]);

impl Band {
    /// The band of that name, if a name can be that.
    pub fn new(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        if bytes.len() > 4 || !bytes.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut band = [0; 4];
        band[..bytes.len()].copy_from_slice(bytes);
        Some(Self(band))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|b| *b == 0).unwrap_or(4);
        std::str::from_utf8(&self.0[..length]).expect("a band is made of ASCII only")
    }
}

impl std::fmt::Display for Band {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the pipeline needs of a point without reading its document. Missing numbers are NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointHead {
    /// Julian date, UTC.
    pub jd: f64,
    /// Difference flux, nJy, negative below the template.
    pub flux: f64,
    /// Its error, nJy.
    pub flux_error: f64,
    /// Right ascension, degrees.
    pub ra: f64,
    /// Declination, degrees.
    pub dec: f64,
    /// Julian date of the alert that brought the point: of two versions the later stays.
    pub stamp: f64,
    /// Its band.
    pub band: Band,
    /// Access programme; 0 where the survey has none.
    pub program: u8,
}

/// Bytes of an encoded head, the length of the document included.
const HEAD: usize = 6 * 8 + 4 + 4 + 4;

/// Where in it things are: the stamp, the band, the programme, the length of the document.
const STAMP: usize = 40;
const BAND: usize = 48;
const PROGRAM: usize = 52;
const LENGTH: usize = 56;

/// The length of the document behind an encoded head.
fn length(head: &[u8]) -> usize {
    u32::from_le_bytes(head[LENGTH..HEAD].try_into().expect("a length has four bytes")) as usize
}

impl PointHead {
    fn write(&self, length: usize, out: &mut Vec<u8>) {
        let mut head = [0; HEAD];
        let numbers = [self.jd, self.flux, self.flux_error, self.ra, self.dec, self.stamp];
        for (place, value) in head.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = value.to_le_bytes();
        }
        head[BAND..PROGRAM].copy_from_slice(&self.band.0);
        head[PROGRAM] = self.program;
        let length = u32::try_from(length).expect("a point is far smaller than 4 GiB");
        head[LENGTH..].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&head);
    }

    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..HEAD)?;
        let number = |i: usize| Some(f64::from_le_bytes(head[i * 8..i * 8 + 8].try_into().ok()?));
        let band = Band(head[BAND..PROGRAM].try_into().ok()?);
        std::str::from_utf8(&band.0).ok()?;
        let read = Self {
            jd: number(0)?,
            flux: number(1)?,
            flux_error: number(2)?,
            ra: number(3)?,
            dec: number(4)?,
            stamp: number(5)?,
            band,
            program: head[PROGRAM],
        };
        Some((read, length(head)))
    }

    /// The order of points in a series, and what makes two of them the same.
    pub fn key(&self) -> (f64, Band) {
        (self.jd, self.band)
    }
}

/// Points one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    bytes: Vec<u8>,
}

impl Series {
    /// A series from its bytes, whole points only.
    ///
    /// # Errors
    /// None, when the bytes are not a series.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut at = 0;
        while at < bytes.len() {
            let (_, length) = PointHead::read(&bytes[at..])?;
            at = at.checked_add(HEAD + length)?;
        }
        (at == bytes.len()).then_some(Self { bytes })
    }

    /// The bytes, for a store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The heads of the points alone, one behind the other, for a store that keeps the documents elsewhere.
    pub fn heads(&self) -> Vec<u8> {
        self.iter().flat_map(|point| &point.encoded[..HEAD]).copied().collect()
    }

    /// A series from its heads and its documents, which were kept apart.
    ///
    /// # Errors
    /// None, when they do not belong together.
    pub fn from_parts<'a>(heads: &[u8], documents: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(heads.len() * 8);
        let mut heads = heads.chunks_exact(HEAD);
        for document in documents {
            let head = heads.next()?;
            let fits = PointHead::read(head)?.1 == document.len();
            if !fits {
                return None;
            }
            bytes.extend_from_slice(head);
            bytes.extend_from_slice(document);
        }
        (heads.next().is_none() && heads.remainder().is_empty()).then_some(Self { bytes })
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a point behind the others.
    pub fn push(&mut self, head: &PointHead, document: &[u8]) {
        head.write(document.len(), &mut self.bytes);
        self.bytes.extend_from_slice(document);
    }

    /// The points with their documents.
    pub fn iter(&self) -> Points<'_> {
        Points { rest: &self.bytes }
    }

    /// Forgets all points, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Says that the points were brought by an alert of that time; a point without a programme gets the alert's.
    pub fn stamp(&mut self, stamp: f64, program: u8) {
        let mut at = 0;
        while let Some(head) = self.bytes.get_mut(at..at + HEAD) {
            head[STAMP..STAMP + 8].copy_from_slice(&stamp.to_le_bytes());
            if head[PROGRAM] == 0 {
                head[PROGRAM] = program;
            }
            at += HEAD + length(head);
        }
    }

    pub(super) fn push_encoded(&mut self, point: &[u8]) {
        self.bytes.extend_from_slice(point);
    }

    /// The points that `keep` admits.
    pub fn only(&self, keep: impl Fn(&PointHead) -> bool) -> Self {
        let mut kept = Self::default();
        self.iter().filter(|point| keep(&point.head)).for_each(|point| kept.push_encoded(point.encoded));
        kept
    }

    /// The points with their numbers alone: each with an empty document.
    #[must_use]
    pub fn without_documents(&self) -> Self {
        let mut numbers = Self::default();
        self.iter().for_each(|point| numbers.push(&point.head, &[]));
        numbers
    }

    /// Writes the documents of the points that `keep` admits as a BSON array under `key`.
    pub fn write_array(&self, key: &str, keep: impl Fn(&PointHead) -> bool, writer: &mut Writer<'_>) {
        let array = writer.open_array(key);
        for (index, point) in self.iter().filter(|point| keep(&point.head)).enumerate() {
            writer.index(tag::DOCUMENT, index);
            writer.buffer().extend_from_slice(point.document);
        }
        writer.close(array);
    }
}

/// One point of a series.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// Its numbers.
    pub head: PointHead,
    /// Its BSON document.
    pub document: &'a [u8],
    /// Head and document as they are stored.
    pub(super) encoded: &'a [u8],
}

/// Iterates over a series.
#[derive(Debug, Clone)]
pub struct Points<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Points<'a> {
    type Item = Point<'a>;

    fn next(&mut self) -> Option<Point<'a>> {
        let (head, length) = PointHead::read(self.rest)?;
        let (encoded, rest) = self.rest.split_at_checked(HEAD + length)?;
        self.rest = rest;
        Some(Point { head, document: &encoded[HEAD..], encoded })
    }
}
