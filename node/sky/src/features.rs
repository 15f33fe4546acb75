//! Many numeric fields of one encoded BSON document in a single pass.
//!
//! Only the top level is read, and only numbers come out; documents are written elsewhere (`document`), and which fields a model
//! or a property needs is not known here.

use crate::document::tag;

/// A wanted name and its place in the row.
#[derive(Debug, Clone)]
struct Wanted {
    name: Box<[u8]>,
    slot: u32,
}

/// Finds a fixed set of names in documents and writes their values into a row of `f64`.
///
/// Built once; [`Extractor::extract`] allocates nothing. Names are looked up through an open-addressed table whose hash is chosen,
/// when it is built, so that few of the wanted names collide.
#[derive(Debug, Clone)]
pub struct Extractor {
    wanted: Vec<Wanted>,
    /// Index + 1 into `wanted`, 0 where free; its length is a power of two.
    table: Vec<u16>,
    multiplier: u64,
    shift: u32,
    /// Names asked for more than once: (from slot, to slot).
    copies: Vec<(u32, u32)>,
    width: usize,
}

/// The numbers tried as hash multipliers; odd, with mixed bits (multiples of the golden ratio's 64 bits).
const MULTIPLIERS: u64 = 64;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Extractor {
    /// An extractor of `names`, whose order is the order of the row. A name that is given twice fills both slots.
    ///
    /// # Panics
    /// Where more than 65,000 names are given.
    pub fn new(names: &[impl AsRef<str>]) -> Self {
        let mut wanted: Vec<Wanted> = Vec::with_capacity(names.len());
        let mut copies = Vec::new();
        for (slot, name) in (0u32..).zip(names) {
            let name = name.as_ref().as_bytes();
            match wanted.iter().find(|known| &*known.name == name) {
                Some(known) => copies.push((known.slot, slot)),
                None => wanted.push(Wanted { name: name.into(), slot }),
            }
        }
        assert!(wanted.len() < 65_000, "an extractor takes fewer than 65,000 names");
        let size = (wanted.len() * 4).next_power_of_two().max(16);
        let shift = 64 - size.trailing_zeros();
        let multiplier = (1..=MULTIPLIERS)
            .map(|i| GOLDEN.wrapping_mul(i) | 1)
            .min_by_key(|&multiplier| collisions(&wanted, size, multiplier, shift))
            .expect("there are multipliers to try");
        let mut extractor = Self { wanted, table: vec![0; size], multiplier, shift, copies, width: names.len() };
        for index in 0..extractor.wanted.len() {
            let mut at = hash(&extractor.wanted[index].name, multiplier, shift);
            while extractor.table[at] != 0 {
                at = (at + 1) % size;
            }
            extractor.table[at] = index as u16 + 1;
        }
        extractor
    }

    /// How many values a row has: the number of names given.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Reads the top level of the encoded `document` once and writes each name's value into its slot of `out` (length
    /// [`Extractor::width`]): doubles and integers as they are, booleans as 0 and 1, NaN where the field is missing or not a
    /// number. Returns whether the document could be read to its end; reading stops at the first malformed element and what was
    /// found until there stays.
    ///
    /// # Panics
    /// Where `out` is shorter than the row.
    pub fn extract(&self, document: &[u8], out: &mut [f64]) -> bool {
        let out = &mut out[..self.width];
        out.fill(f64::NAN);
        let whole = self.walk(document, out).is_some();
        for &(from, to) in &self.copies {
            out[to as usize] = out[from as usize];
        }
        whole
    }

    fn walk(&self, document: &[u8], out: &mut [f64]) -> Option<()> {
        let length = i32::from_le_bytes(document.get(..4)?.try_into().ok()?);
        let document = document.get(..usize::try_from(length).ok()?)?;
        let mut at = 4;
        loop {
            let kind = *document.get(at)?;
            if kind == 0 {
                return (at + 1 == document.len()).then_some(());
            }
            let rest = &document[at + 1..];
            let key = &rest[..key_length(rest)?];
            let value = &rest[key.len() + 1..];
            let size = value_size(kind, value)?;
            let value = value.get(..size)?;
            if let Some(number) = number(kind, value)
                && let Some(slot) = self.slot(key)
            {
                out[slot] = number;
            }
            at += 1 + key.len() + 1 + size;
        }
    }

    #[inline]
    fn slot(&self, key: &[u8]) -> Option<usize> {
        let mut at = hash(key, self.multiplier, self.shift);
        loop {
            let index = usize::from(self.table[at]).checked_sub(1)?;
            let wanted = &self.wanted[index];
            if &*wanted.name == key {
                return Some(wanted.slot as usize);
            }
            at = (at + 1) & (self.table.len() - 1);
        }
    }
}

/// How many of the names do not get their first place in a table of `size`.
fn collisions(wanted: &[Wanted], size: usize, multiplier: u64, shift: u32) -> usize {
    let mut taken = vec![false; size];
    let hits = wanted.iter().map(|wanted| hash(&wanted.name, multiplier, shift));
    hits.filter(|&at| std::mem::replace(&mut taken[at], true)).count()
}

/// A place in the table from the length, the first four and the last four bytes of a name.
#[inline]
fn hash(name: &[u8], multiplier: u64, shift: u32) -> usize {
    let word = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32,
        _ => name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    ((word ^ (name.len() as u64) << 27).wrapping_mul(multiplier) >> shift) as usize
}

/// The bytes before the first NUL; `None` where there is none.
#[inline]
fn key_length(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let zeros = word.wrapping_sub(LOW) & !word & (LOW << 7);
        if zeros != 0 {
            return Some(at + (zeros.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    bytes[at..].iter().position(|&byte| byte == 0).map(|found| at + found)
}

/// The bytes that a value of type `kind` takes (<https://bsonspec.org/spec.html>); `None` for an unknown type or a length that
/// cannot be.
#[inline]
fn value_size(kind: u8, value: &[u8]) -> Option<usize> {
    let prefix = || {
        let length = i32::from_le_bytes(*value.first_chunk::<4>()?);
        usize::try_from(length).ok()
    };
    let cstring = |from: usize| key_length(value.get(from..)?).map(|length| from + length + 1);
    match kind {
        tag::DOUBLE | tag::INT64 | tag::DATETIME | 0x11 => Some(8),
        tag::INT32 => Some(4),
        tag::BOOLEAN => Some(1),
        tag::NULL | 0x06 | 0x7f | 0xff => Some(0),
        tag::STRING | 0x0d | 0x0e => prefix()?.checked_add(4),
        tag::DOCUMENT | tag::ARRAY | 0x0f => prefix().filter(|&length| length >= 5),
        tag::BINARY => prefix()?.checked_add(5),
        0x07 => Some(12),
        0x0b => cstring(cstring(0)?),
        0x0c => prefix()?.checked_add(16),
        0x13 => Some(16),
        _ => None,
    }
}

#[inline]
fn number(kind: u8, value: &[u8]) -> Option<f64> {
    match kind {
        tag::DOUBLE => Some(f64::from_le_bytes(*value.first_chunk()?)),
        tag::INT32 => Some(f64::from(i32::from_le_bytes(*value.first_chunk()?))),
        tag::INT64 => Some(i64::from_le_bytes(*value.first_chunk()?) as f64),
        tag::BOOLEAN => Some(f64::from(u8::from(value.first() != Some(&0)))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc, oid::ObjectId};

    use super::*;

    fn encoded(document: &bson::Document) -> Vec<u8> {
        let mut bytes = Vec::new();
        document.to_writer(&mut bytes).unwrap();
        bytes
    }

    fn row(names: &[&str], document: &bson::Document) -> Vec<f64> {
        let extractor = Extractor::new(names);
        let mut out = vec![0.0; extractor.width()];
        assert!(extractor.extract(&encoded(document), &mut out));
        out
    }

    #[test]
    fn numbers_of_every_type_come_out_in_the_order_of_the_names() {
        let document = doc! {
            "magpsf": 18.5, "fid": 2i32, "candid": 2_695_378_462_115_010_012i64, "isdiffpos": true, "rb": false,
            "band": "g", "missing": Bson::Null,
        };
        let out = row(&["candid", "fid", "magpsf", "isdiffpos", "rb", "band", "missing", "absent"], &document);
        assert_eq!(out[..5], [2_695_378_462_115_010_012i64 as f64, 2.0, 18.5, 1.0, 0.0]);
        assert!(out[5..].iter().all(|value| value.is_nan()), "{out:?}");
    }

    #[test]
    fn values_of_every_other_type_are_stepped_over() {
        let document = doc! {
            "string": "x\0y", "document": {"magpsf": 1.0}, "array": [1, 2.5, "three"], "oid": ObjectId::new(),
            "binary": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0; 300] },
            "date": bson::DateTime::from_millis(7), "timestamp": bson::Timestamp { time: 1, increment: 2 },
            "regex": bson::Regex { pattern: "a.c".try_into().unwrap(), options: "i".try_into().unwrap() },
            "code": Bson::JavaScriptCode("f()".into()), "min": Bson::MinKey, "max": Bson::MaxKey, "none": Bson::Undefined,
            "decimal": Bson::Decimal128(bson::Decimal128::from_bytes([0; 16])), "magpsf": 19.25,
        };
        assert_eq!(row(&["magpsf"], &document), [19.25]);
    }

    #[test]
    fn a_name_that_is_asked_for_twice_fills_both_places() {
        assert_eq!(row(&["ra", "dec", "ra"], &doc! {"dec": 2.0, "ra": 1.0}), [1.0, 2.0, 1.0]);
    }

    #[test]
    fn many_alike_names_are_told_apart() {
        let names: Vec<String> = (0..300).map(|i| format!("feature{:03}psf", i * 7)).collect();
        let mut document = bson::Document::new();
        for (i, name) in names.iter().enumerate().rev() {
            document.insert(name, i as i32);
            document.insert(format!("{name}x"), -1);
            document.insert(&name[1..], -1);
        }
        let out = row(&names.iter().map(String::as_str).collect::<Vec<_>>(), &document);
        assert!((0..300).all(|i| out[i] == i as f64), "{out:?}");
    }

    #[test]
    fn short_names_and_the_empty_name_are_found() {
        let names = ["", "l", "b", "ra", "dec", "dec\u{e9}"];
        let document = doc! {"": 0, "l": 1, "b": 2, "ra": 3, "dec": 4, "dec\u{e9}": 5};
        assert_eq!(row(&names, &document), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn malformed_documents_stop_the_reading_and_never_panic() {
        let whole = encoded(&doc! {"ra": 1.0, "name": "abc", "inner": {"x": [1, 2]}, "dec": 2.0, "b": true});
        let extractor = Extractor::new(&["ra", "dec", "b"]);
        let mut out = [0.0; 3];
        for cut in 0..whole.len() {
            assert!(!extractor.extract(&whole[..cut], &mut out), "cut at {cut}");
        }
        for at in 0..whole.len() {
            for value in [0u8, 1, 2, 3, 5, 0x0b, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                extractor.extract(&bytes, &mut out);
            }
        }
        let mut unknown = whole.clone();
        unknown[4 + 1 + 3 + 8] = 0x55;
        assert!(!extractor.extract(&unknown, &mut out));
        assert_eq!(out[0], 1.0, "what stood before the malformed element stays");
        assert!(out[1].is_nan());
    }
}
