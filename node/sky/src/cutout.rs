//! Cutout stamps: from the bytes in a packet to an image, and from three images to the triplet that a classifier takes.
//!
//! Input is hostile: every size is checked before anything is allocated, and what cannot be used is an error with its reason,
//! never a NaN. Which model wants which cutouts is not known here.

use std::fmt;

use libdeflater::{DecompressionError, Decompressor};

mod fits;

/// Side of the stamps that the classifiers take, pixels.
pub const SIDE: usize = 63;

/// Values of a triplet: 63 rows of 63 pixels with 3 channels, channel last.
pub const TRIPLET: usize = SIDE * SIDE * 3;

/// What a stamp that is smaller than 63x63 is padded with at its bottom and right: the convention that the classifiers were
/// trained with (Kowalski, <https://github.com/skyportal/kowalski>, `make_triplet`).
const PADDING: f32 = 1e-9;

/// Most bytes that a stamp may take once inflated, and most that its pixels may take as `f32`, unless another bound is set.
pub const DEFAULT_BOUND: usize = 4 << 20;

/// Why a stamp gives no image, or an image no input of a classifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CutoutError {
    /// There are no bytes.
    #[error("there is no stamp")]
    Missing,
    /// Neither gzip nor FITS.
    #[error("the stamp is neither gzip nor FITS: it begins with {0:02x?}")]
    NotGzip(Vec<u8>),
    /// Gzip that ends early or fails its checksum.
    #[error("the stamp's gzip data is broken")]
    BrokenGzip,
    /// Inflates to more than the bound.
    #[error("the stamp inflates to more than the {0} bytes allowed")]
    Bomb(usize),
    /// The inflated bytes are not FITS.
    #[error("the stamp is not FITS: {0}")]
    NotFits(String),
    /// FITS of a kind that is not read.
    #[error("the stamp's FITS header is not one of a 2-D image: {0}")]
    Header(String),
    /// The header promises more pixels than there are bytes.
    #[error("the stamp's FITS data is cut short: {expected} bytes are announced, {found} are there")]
    Truncated {
        /// Bytes that the header announces.
        expected: usize,
        /// Bytes behind the header.
        found: usize,
    },
    /// An image larger than the classifiers' 63x63, or than the bound.
    #[error("the stamp is {width}x{height}, larger than {limit}")]
    TooLarge {
        /// Pixels a row.
        width: usize,
        /// Rows.
        height: usize,
        /// The largest that is taken, in words.
        limit: &'static str,
    },
    /// Every pixel is zero or NaN, so there is nothing to normalise by.
    #[error("the stamp is empty: every pixel is zero or NaN")]
    Empty,
    /// The squares of the pixels do not sum to a finite single-precision number.
    #[error("the stamp's L2 norm is not finite in f32: a pixel is infinite or as large as {largest:e}")]
    NotFinite {
        /// The largest pixel in absolute value, rounded to an integer exponent.
        largest: LargestPixel,
    },
}

/// A pixel value inside an error that is compared in tests (bitwise).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LargestPixel(u32);

impl LargestPixel {
    /// The value.
    pub fn value(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl fmt::Debug for LargestPixel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl fmt::LowerExp for LargestPixel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e}", self.value())
    }
}

/// One of the three stamps of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cutout {
    /// The new image.
    Science,
    /// The reference image.
    Template,
    /// Their difference.
    Difference,
}

impl Cutout {
    /// All three, in the order of a triplet's channels.
    pub const ALL: [Self; 3] = [Self::Science, Self::Template, Self::Difference];

    /// Its name: "science", "template" or "difference".
    pub fn name(self) -> &'static str {
        match self {
            Self::Science => "science",
            Self::Template => "template",
            Self::Difference => "difference",
        }
    }
}

impl fmt::Display for Cutout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an alert has no triplet, and by which of its stamps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no triplet, because of the {cutout} stamp: {reason}")]
pub struct NoTriplet {
    /// The stamp that cannot be used.
    pub cutout: Cutout,
    /// What is wrong with it.
    #[source]
    pub reason: CutoutError,
}

/// An image: `height` rows of `width` pixels, in the order of the FITS file (the first row is its lowest).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stamp {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The pixels, row by row; NaN where the survey has none.
    pub pixels: Vec<f32>,
}

/// What the reading of stamps keeps between calls, so that a call allocates nothing. One for each thread.
pub struct Scratch {
    decompressor: Decompressor,
    inflated: Vec<u8>,
    stamp: Stamp,
    bound: usize,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::with_bound(DEFAULT_BOUND)
    }
}

impl Scratch {
    /// A scratch whose stamps may take at most `bound` bytes inflated, and as many as `f32` pixels.
    pub fn with_bound(bound: usize) -> Self {
        Self { decompressor: Decompressor::new(), inflated: Vec::new(), stamp: Stamp::default(), bound }
    }

    /// Reads a stamp (FITS, gzipped or not) into the scratch's image, which the next call overwrites.
    ///
    /// # Errors
    /// Whatever keeps the bytes from being one 2-D image within the bound.
    pub fn read(&mut self, bytes: &[u8]) -> Result<&Stamp, CutoutError> {
        let file = match bytes {
            [] => return Err(CutoutError::Missing),
            [0x1f, 0x8b, ..] => inflate(&mut self.decompressor, bytes, &mut self.inflated, self.bound)?,
            [b'S', b'I', b'M', b'P', ..] if bytes.len() > self.bound => {
                return Err(CutoutError::Bomb(self.bound));
            }
            [b'S', b'I', b'M', b'P', ..] => bytes,
            _ => return Err(CutoutError::NotGzip(bytes[..bytes.len().min(4)].to_vec())),
        };
        fits::read(file, self.bound, &mut self.stamp)?;
        Ok(&self.stamp)
    }
}

/// Inflates into the reused `buffer`, which grows to what the gzip trailer announces and never beyond `bound`.
fn inflate<'a>(
    decompressor: &mut Decompressor,
    bytes: &[u8],
    buffer: &'a mut Vec<u8>,
    bound: usize,
) -> Result<&'a [u8], CutoutError> {
    let trailer = bytes.last_chunk().ok_or(CutoutError::BrokenGzip)?;
    let announced = u32::from_le_bytes(*trailer) as usize;
    // At least 64 KiB, so that the buffer soon fits every stamp of a survey; what is there already costs nothing to keep.
    let wanted = announced.max(64 << 10).min(bound);
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    }
    let mut result = decompressor.gzip_decompress(bytes, buffer);
    if result == Err(DecompressionError::InsufficientSpace) && buffer.len() < bound {
        // A trailer that announces too little: what it hides is still bounded.
        buffer.resize(bound, 0);
        result = decompressor.gzip_decompress(bytes, buffer);
    }
    match result {
        Ok(length) => Ok(&buffer[..length]),
        Err(DecompressionError::InsufficientSpace) => Err(CutoutError::Bomb(bound)),
        Err(DecompressionError::BadData) => Err(CutoutError::BrokenGzip),
    }
}

/// Writes `stamp`, divided by its L2 norm, into channel `channel` of `out`: `size` rows of `size` pixels of `CHANNELS` values
/// (`as_chunks_mut` makes them of a flat slice). NaN counts as 0; a smaller stamp is padded at its bottom and right with 1e-9.
///
/// # Errors
/// Where the stamp is larger than `size`, has no flux, or its norm is not finite in single precision.
///
/// # Panics
/// Where `out` is shorter than `size * size` or `channel` is not below `CHANNELS`.
pub fn normalise_into<const CHANNELS: usize>(
    stamp: &Stamp,
    size: usize,
    out: &mut [[f32; CHANNELS]],
    channel: usize,
) -> Result<(), CutoutError> {
    let (width, height) = (stamp.width, stamp.height);
    if width > size || height > size {
        return Err(CutoutError::TooLarge { width, height, limit: "the classifiers' input" });
    }
    assert!(channel < CHANNELS, "channel {channel} is one of {CHANNELS}");
    // A norm that is accepted is at least 1e-19, so its inverse is finite.
    let scale = norm(&stamp.pixels)?.recip();
    let (image, below) = out[..size * size].split_at_mut(height * size);
    for (y, row) in image.chunks_exact_mut(size).enumerate() {
        let (filled, right) = row.split_at_mut(width);
        for (pixel, &value) in filled.iter_mut().zip(&stamp.pixels[y * width..][..width]) {
            pixel[channel] = clean(value) * scale;
        }
        right.iter_mut().for_each(|pixel| pixel[channel] = PADDING);
    }
    below.iter_mut().for_each(|pixel| pixel[channel] = PADDING);
    Ok(())
}

/// The L2 norm, NaN counted as 0. Squares are summed in single precision, a row or so at a time, and refused where that is not
/// finite: the published scores were computed in single precision, so there is no right score for such a stamp.
fn norm(pixels: &[f32]) -> Result<f32, CutoutError> {
    let mut sum = 0f64;
    for row in pixels.chunks(64) {
        let mut lanes = [0f32; 8];
        let (chunks, rest) = row.as_chunks::<8>();
        for chunk in chunks {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane += clean(value) * clean(value);
            }
        }
        let rest: f32 = rest.iter().map(|&value| clean(value) * clean(value)).sum();
        sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + f64::from(rest);
    }
    let sum = sum as f32;
    if !sum.is_finite() {
        let largest = pixels.iter().fold(0f32, |most, value| most.max(value.abs()));
        return Err(CutoutError::NotFinite { largest: LargestPixel(largest.to_bits()) });
    }
    if sum < f32::MIN_POSITIVE {
        return Err(CutoutError::Empty);
    }
    Ok(sum.sqrt())
}

#[inline]
fn clean(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value }
}

/// Three stamps (FITS, gzipped or not) to the input of a classifier: `out` is `[63, 63, 3]` in row-major order with the channels
/// science, template, difference, each stamp divided by its own L2 norm. After an error the content of `out` is of no use.
///
/// # Errors
/// The first stamp that cannot be used, with the reason.
///
/// # Panics
/// Where `out` is shorter than [`TRIPLET`].
pub fn triplet(stamps: [&[u8]; 3], out: &mut [f32], scratch: &mut Scratch) -> Result<(), NoTriplet> {
    let pixels = out.as_chunks_mut::<3>().0;
    for (channel, (cutout, bytes)) in Cutout::ALL.into_iter().zip(stamps).enumerate() {
        scratch
            .read(bytes)
            .and_then(|stamp| normalise_into(stamp, SIDE, pixels, channel))
            .map_err(|reason| NoTriplet { cutout, reason })?;
    }
    Ok(())
}

/// Appends to `out` the channels of `triplet` (of [`TRIPLET`] values) that `cutouts` names, in that order, channel last: the
/// input of a model that takes other cutouts, or another order, than a triplet has.
pub fn select(triplet: &[f32], cutouts: &[Cutout], out: &mut Vec<f32>) {
    if cutouts == Cutout::ALL {
        out.extend_from_slice(triplet);
        return;
    }
    for pixel in triplet.as_chunks::<3>().0 {
        out.extend(cutouts.iter().map(|&cutout| pixel[cutout as usize]));
    }
}

#[cfg(test)]
mod tests;
