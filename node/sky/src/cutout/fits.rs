//! The part of FITS that stamps use: the primary header and one 2-D image behind it (FITS standard 4.0,
//! <https://fits.gsfc.nasa.gov/fits_standard.html>). Tables, extensions and compressed images are not read here.

use super::{CutoutError, Stamp};

const BLOCK: usize = 2880;
const CARD: usize = 80;

/// Most header blocks looked through for `END`: 2304 cards, far beyond any stamp's.
const HEADER_BLOCKS: usize = 64;

/// What the header says of the image.
#[derive(Debug, Default, PartialEq)]
struct Header {
    bitpix: Option<i64>,
    axes: Option<i64>,
    width: Option<i64>,
    height: Option<i64>,
    scale: Option<f64>,
    zero: Option<f64>,
    blank: Option<i64>,
    /// Where the data begins, bytes.
    data: usize,
}

/// Reads the primary image of the FITS `file` into `stamp`, which may take at most `bound` bytes of pixels.
pub(super) fn read(file: &[u8], bound: usize, stamp: &mut Stamp) -> Result<(), CutoutError> {
    let header = header(file)?;
    let wrong = |what: &str, found: Option<i64>| match found {
        Some(found) => CutoutError::Header(format!("{what} is {found}")),
        None => CutoutError::Header(format!("{what} is missing")),
    };
    if header.axes != Some(2) {
        return Err(wrong("NAXIS", header.axes));
    }
    let size = |what, value: Option<i64>| {
        value.and_then(|value| usize::try_from(value).ok()).ok_or_else(|| wrong(what, value))
    };
    let (width, height) = (size("NAXIS1", header.width)?, size("NAXIS2", header.height)?);
    let bytes = match header.bitpix {
        Some(bits @ (8 | 16 | 32 | -32 | -64)) => bits.unsigned_abs() as usize / 8,
        other => return Err(wrong("BITPIX", other)),
    };
    let pixels = width.checked_mul(height).filter(|pixels| pixels.checked_mul(4).is_some_and(|size| size <= bound));
    let Some(pixels) = pixels else {
        return Err(CutoutError::TooLarge { width, height, limit: "the bytes allowed for a stamp" });
    };
    let found = &file[header.data.min(file.len())..];
    let data =
        found.get(..pixels * bytes).ok_or(CutoutError::Truncated { expected: pixels * bytes, found: found.len() })?;
    (stamp.width, stamp.height) = (width, height);
    stamp.pixels.clear();
    fill(data, &header, &mut stamp.pixels);
    Ok(())
}

/// Appends the pixels of `data`: big-endian, value = zero + scale * stored.
fn fill(data: &[u8], header: &Header, pixels: &mut Vec<f32>) {
    let (scale, zero) = (header.scale.unwrap_or(1.0), header.zero.unwrap_or(0.0));
    let physical = |stored: f64| (zero + scale * stored) as f32;
    let integer = |stored: i64| {
        if header.blank == Some(stored) { f32::NAN } else { physical(stored as f64) }
    };
    match header.bitpix {
        Some(-32) if scale == 1.0 && zero == 0.0 => {
            pixels.extend(data.as_chunks().0.iter().map(|&bytes| f32::from_be_bytes(bytes)));
        }
        Some(-32) => {
            let values = data.as_chunks().0.iter();
            pixels.extend(values.map(|&bytes| physical(f32::from_be_bytes(bytes).into())));
        }
        Some(-64) => {
            pixels.extend(data.as_chunks().0.iter().map(|&bytes| physical(f64::from_be_bytes(bytes))));
        }
        Some(32) => {
            pixels.extend(data.as_chunks().0.iter().map(|&bytes| integer(i32::from_be_bytes(bytes).into())));
        }
        Some(16) => {
            pixels.extend(data.as_chunks().0.iter().map(|&bytes| integer(i16::from_be_bytes(bytes).into())));
        }
        _ => pixels.extend(data.iter().map(|&byte| integer(byte.into()))),
    }
}

fn header(file: &[u8]) -> Result<Header, CutoutError> {
    let not_fits = |why: &str| CutoutError::NotFits(why.to_owned());
    if !file.starts_with(b"SIMPLE  =") {
        return Err(not_fits("it does not begin with SIMPLE"));
    }
    let mut header = Header::default();
    for (index, card) in file.chunks_exact(CARD).take(HEADER_BLOCKS * (BLOCK / CARD)).enumerate() {
        let (keyword, value) = card.split_at(8);
        let place = match keyword {
            b"END     " => {
                header.data = (index + 1).next_multiple_of(BLOCK / CARD) * CARD;
                return Ok(header);
            }
            b"BITPIX  " => &mut header.bitpix,
            b"NAXIS   " => &mut header.axes,
            b"NAXIS1  " => &mut header.width,
            b"NAXIS2  " => &mut header.height,
            b"BLANK   " => &mut header.blank,
            b"BSCALE  " => {
                header.scale = Some(real(value).ok_or_else(|| bad_card(card))?);
                continue;
            }
            b"BZERO   " => {
                header.zero = Some(real(value).ok_or_else(|| bad_card(card))?);
                continue;
            }
            _ => continue,
        };
        *place = Some(text(value).and_then(|text| text.parse().ok()).ok_or_else(|| bad_card(card))?);
    }
    Err(not_fits("its header has no END"))
}

fn bad_card(card: &[u8]) -> CutoutError {
    CutoutError::Header(format!("the card `{}` does not hold a number", String::from_utf8_lossy(card).trim_end()))
}

/// The value of a card, without its comment.
fn text(value: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?.strip_prefix("= ")?;
    Some(value.split('/').next()?.trim())
}

/// A real number; FITS also writes the exponent as D.
fn real(value: &[u8]) -> Option<f64> {
    let text = text(value)?;
    text.parse().or_else(|_| text.replace(['D', 'd'], "E").parse()).ok().filter(|value: &f64| value.is_finite())
}
