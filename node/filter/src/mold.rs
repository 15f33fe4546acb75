//! Layouts of whole documents: the bytes that tell one, and where the wanted fields are in every document that has them.
//!
//! The points of a light curve are laid out alike: the same headers (type byte, name, nought) and the same lengths of strings in the same
//! places, only the values between them differ. What has all of these bytes is laid out so, with certainty; it needs no walk. Nothing
//! here knows what is wanted, or evaluates.

use crate::raw;
use crate::view::Cell;

/// Larger documents are walked.
const LONGEST: usize = 4096;
/// So many layouts are kept for one kind of document.
const MOST: usize = 8;
/// Bytes that are compared before it is looked whether they were the same.
const BLOCK: usize = 8;

/// One layout: eight bytes at a time, which of them are compared and what they are; the bytes behind the last eight are in `rest`.
#[derive(Debug)]
struct Mold {
    length: usize,
    words: Box<[[u64; BLOCK]]>,
    masks: Box<[[u64; BLOCK]]>,
    /// Of each slot that the document has: its number, and its cell relative to the document.
    cells: Box<[(u16, Cell)]>,
}

/// The layouts of one kind of document that came again, and the lengths of those that came once.
#[derive(Debug, Default)]
pub(crate) struct Molds {
    molds: Vec<Mold>,
    next: usize,
    missed: [u32; MOST],
    next_missed: usize,
}

impl Molds {
    /// The cells of a document, relative to it, when its layout is known. A layout becomes known when a length comes again; `slot` gives
    /// the slot of a wanted name.
    #[inline]
    pub(crate) fn cells(&mut self, document: &[u8], slot: impl Fn(&[u8]) -> Option<u16>) -> Option<&[(u16, Cell)]> {
        let known = self.molds.iter().position(|mold| mold.fits(document));
        match known {
            Some(at) => Some(&self.molds[at].cells),
            None => self.learn(document, slot),
        }
    }

    #[cold]
    fn learn(&mut self, document: &[u8], slot: impl Fn(&[u8]) -> Option<u16>) -> Option<&[(u16, Cell)]> {
        let length = document.len();
        if length > LONGEST {
            return None;
        }
        let Some(again) = self.missed.iter().position(|missed| *missed == length as u32) else {
            self.missed[self.next_missed] = length as u32;
            self.next_missed = (self.next_missed + 1) % MOST;
            return None;
        };
        self.missed[again] = 0;
        let mold = Mold::of(document, slot)?;
        let at = self.next;
        self.next = (at + 1) % MOST;
        if at == self.molds.len() {
            self.molds.push(mold)
        } else {
            self.molds[at] = mold
        }
        Some(&self.molds[at].cells)
    }
}

impl Mold {
    /// The layout of a document; none when it is broken, or when where it ends is written in other bytes than lengths.
    fn of(document: &[u8], slot: impl Fn(&[u8]) -> Option<u16>) -> Option<Mold> {
        let length = document.len();
        let mut compared = vec![0; length];
        compared.get_mut(..4)?.fill(u8::MAX);
        let mut cells: Vec<(u16, Cell)> = Vec::new();
        let mut at = 4;
        while let Some(element) = raw::element(document, at).ok()? {
            let told = match element.kind {
                raw::REGEX | raw::DB_POINTER => return None,
                raw::STRING | raw::CODE | raw::SYMBOL | raw::DOCUMENT | raw::ARRAY => 4,
                raw::CODE_WITH_SCOPE | raw::BINARY => 4,
                _ => 0,
            };
            compared[at..element.at + told].fill(u8::MAX);
            if let Some(slot) = slot(&document[element.name_at..element.name_end])
                && cells.iter().all(|(known, _)| *known != slot)
            {
                cells.push((slot, Cell::relative(element.kind, element.at as u32, element.end as u32)));
            }
            at = element.end;
        }
        compared[at..].fill(u8::MAX);
        let (words, masks) = (blocks(document), blocks(&compared));
        let words = words.iter().zip(&masks).map(|(word, mask)| std::array::from_fn(|at| word[at] & mask[at]));
        Some(Mold { length, words: words.collect(), masks, cells: cells.into() })
    }

    #[inline]
    fn fits(&self, document: &[u8]) -> bool {
        if document.len() != self.length {
            return false;
        }
        let (whole, rest) = document.as_chunks::<{ 8 * BLOCK }>();
        let same = |bytes: &[u8; 8 * BLOCK], at: usize| {
            let (Some(word), Some(mask)) = (self.words.get(at), self.masks.get(at)) else { return false };
            let (bytes, _) = bytes.as_chunks::<8>();
            let mut other = 0;
            for ((bytes, word), mask) in bytes.iter().zip(word).zip(mask) {
                other |= (u64::from_le_bytes(*bytes) & mask) ^ word;
            }
            other == 0
        };
        let mut last = [0; 8 * BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        whole.iter().enumerate().all(|(at, bytes)| same(bytes, at)) && same(&last, whole.len())
    }
}

/// The bytes in blocks of words, noughts behind the last of them.
fn blocks(bytes: &[u8]) -> Box<[[u64; BLOCK]]> {
    let (whole, rest) = bytes.as_chunks::<{ 8 * BLOCK }>();
    let mut last = [0; 8 * BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let words = |bytes: &[u8; 8 * BLOCK]| {
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
    };
    whole.iter().chain(std::iter::once(&last)).map(words).collect()
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::{MOST, Molds};
    use crate::raw;
    use crate::view::Cell;

    const WANTED: [&[u8]; 3] = [b"jd", b"text", b"inner"];

    fn bytes(document: &Document) -> Vec<u8> {
        RawDocumentBuf::try_from(document).expect("it is BSON").into_bytes()
    }

    fn cells(molds: &mut Molds, document: &[u8]) -> Option<Vec<(u16, Cell)>> {
        let slot = |name: &[u8]| WANTED.iter().position(|wanted| *wanted == name).map(|at| at as u16);
        molds.cells(document, slot).map(<[_]>::to_vec)
    }

    fn walked(document: &[u8]) -> Vec<(u16, Cell)> {
        let found = |(at, name): (usize, &&[u8])| {
            let found = raw::find(document, name).expect("it is sound")?;
            Some((at as u16, Cell::relative(found.kind, found.at as u32, found.end as u32)))
        };
        WANTED.iter().enumerate().filter_map(found).collect()
    }

    fn point(jd: f64, text: &str) -> Document {
        doc! { "id": jd as i64, "jd": jd, "none": null, "text": text, "good": jd > 1.0, "inner": { "a": jd }, "last": 1 }
    }

    #[test]
    fn a_layout_that_came_twice_is_known_with_its_cells() {
        let mut molds = Molds::default();
        assert_eq!(cells(&mut molds, &bytes(&point(1.0, "abc"))), None);
        for (jd, text) in [(2.0, "xyz"), (3.0, "\u{1}jd"), (-0.0, "   ")] {
            let document = bytes(&point(jd, text));
            assert_eq!(cells(&mut molds, &document), Some(walked(&document)));
        }
    }

    #[test]
    fn what_differs_in_a_name_a_type_or_a_length_has_another_layout() {
        let mut molds = Molds::default();
        let first = bytes(&point(1.0, "abc"));
        cells(&mut molds, &first);
        assert!(cells(&mut molds, &first).is_some());
        for at in 0..first.len() {
            let mut other = first.clone();
            other[at] ^= 1;
            let Ok(_) = raw::find(&other, b"nothing") else {
                assert_eq!(cells(&mut molds, &other), None, "byte {at}");
                continue;
            };
            for _ in 0..2 {
                if let Some(cells) = cells(&mut molds, &other) {
                    assert_eq!(cells, walked(&other), "byte {at}");
                }
            }
        }
    }

    #[test]
    fn many_layouts_are_not_all_kept() {
        let mut molds = Molds::default();
        for round in 0..3 {
            for length in 0..3 * MOST {
                let document = bytes(&point(1.0, &"x".repeat(length)));
                if let Some(cells) = cells(&mut molds, &document) {
                    assert_eq!(cells, walked(&document), "{round}");
                }
            }
        }
        assert!(molds.molds.len() <= MOST);
    }
}
