//! Raw BSON bytes: sizes of values, walking a document, finding a field. Every read is checked: a broken document is [`Malformed`].
//!
//! No comparison and no evaluation.

/// A document whose bytes are not BSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) const DOUBLE: u8 = 0x01;
pub(crate) const STRING: u8 = 0x02;
pub(crate) const DOCUMENT: u8 = 0x03;
pub(crate) const ARRAY: u8 = 0x04;
pub(crate) const BINARY: u8 = 0x05;
pub(crate) const UNDEFINED: u8 = 0x06;
pub(crate) const OBJECT_ID: u8 = 0x07;
pub(crate) const BOOL: u8 = 0x08;
pub(crate) const DATE: u8 = 0x09;
pub(crate) const NULL: u8 = 0x0a;
pub(crate) const REGEX: u8 = 0x0b;
pub(crate) const DB_POINTER: u8 = 0x0c;
pub(crate) const CODE: u8 = 0x0d;
pub(crate) const SYMBOL: u8 = 0x0e;
pub(crate) const CODE_WITH_SCOPE: u8 = 0x0f;
pub(crate) const INT32: u8 = 0x10;
pub(crate) const TIMESTAMP: u8 = 0x11;
pub(crate) const INT64: u8 = 0x12;
pub(crate) const DECIMAL: u8 = 0x13;
pub(crate) const MAX_KEY: u8 = 0x7f;
pub(crate) const MIN_KEY: u8 = 0xff;

/// One element of a document: its type byte, and where its name and its value are in the bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    pub(crate) kind: u8,
    pub(crate) name_at: usize,
    pub(crate) name_end: usize,
    pub(crate) at: usize,
    pub(crate) end: usize,
}

fn length(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let word = bytes.get(at..at + 4).ok_or(Malformed)?;
    let word: [u8; 4] = word.try_into().map_err(|_| Malformed)?;
    usize::try_from(i32::from_le_bytes(word)).map_err(|_| Malformed)
}

fn c_string(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let rest = bytes.get(at..).ok_or(Malformed)?;
    // Names of elements are short.
    if let Some(n) = rest.iter().take(4).position(|byte| *byte == 0) {
        return Ok(at + n + 1);
    }
    memchr::memchr(0, rest).map(|n| at + n + 1).ok_or(Malformed)
}

/// The end of the value of this type that begins at `at`.
#[inline]
pub(crate) fn value_end(bytes: &[u8], kind: u8, at: usize) -> Result<usize, Malformed> {
    let end = match kind {
        DOUBLE | DATE | TIMESTAMP | INT64 => at + 8,
        INT32 => at + 4,
        BOOL => at + 1,
        STRING | CODE | SYMBOL => at + 4 + length(bytes, at)?.max(1),
        DOCUMENT | ARRAY | CODE_WITH_SCOPE => at + length(bytes, at)?.max(5),
        BINARY => at + 5 + length(bytes, at)?,
        OBJECT_ID => at + 12,
        DECIMAL => at + 16,
        NULL | UNDEFINED | MIN_KEY | MAX_KEY => at,
        REGEX => c_string(bytes, c_string(bytes, at)?)?,
        DB_POINTER => at + 16 + length(bytes, at)?.max(1),
        _ => return Err(Malformed),
    };
    if end < bytes.len() { Ok(end) } else { Err(Malformed) }
}

/// The element at `at`, or none at the document's end. `bytes` is the whole document, `at` begins at 4.
#[inline]
pub(crate) fn element(bytes: &[u8], at: usize) -> Result<Option<Element>, Malformed> {
    match bytes.get(at) {
        None => return Err(Malformed),
        Some(0) if at + 1 == bytes.len() => return Ok(None),
        Some(_) => {}
    }
    let kind = bytes[at];
    let value_at = c_string(bytes, at + 1)?;
    let end = value_end(bytes, kind, value_at)?;
    Ok(Some(Element { kind, name_at: at + 1, name_end: value_at - 1, at: value_at, end }))
}

/// The first element of that name.
pub(crate) fn find(bytes: &[u8], name: &[u8]) -> Result<Option<Element>, Malformed> {
    let mut at = 4;
    while let Some(element) = element(bytes, at)? {
        if &bytes[element.name_at..element.name_end] == name {
            return Ok(Some(element));
        }
        at = element.end;
    }
    Ok(None)
}

/// Whether these bytes can be walked as a document: its length is its own and its last byte is nought.
#[inline]
pub(crate) fn is_framed(bytes: &[u8]) -> bool {
    bytes.len() >= 5 && length(bytes, 0) == Ok(bytes.len()) && bytes.last() == Some(&0)
}
