//! Names of elements, laid out so that writing one is a copy of a fixed length: the most frequent act of decoding.
//!
//! What is written is what [`crate::document::Writer::key`] writes.

/// Bytes that are copied for every name.
const PADDED: usize = 40;

/// An element's type (to be filled in), name and NUL.
#[derive(Debug)]
pub(super) struct Key {
    padded: [u8; PADDED],
    length: usize,
    /// What does not fit in `padded`.
    rest: Vec<u8>,
}

impl Key {
    /// The key of a name of at most 38 bytes that is known when the program is compiled.
    pub(super) const fn short(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut padded = [0; PADDED];
        let mut at = 0;
        while at < bytes.len() {
            padded[at + 1] = bytes[at];
            at += 1;
        }
        assert!(bytes.len() + 2 <= PADDED, "the name is short");
        Self { padded, length: bytes.len() + 2, rest: Vec::new() }
    }

    /// The key of any name; the specification of Avro keeps NUL out of names.
    pub(super) fn new(name: &str) -> Self {
        let whole = [&[0], name.as_bytes(), &[0]].concat();
        let (first, rest) = whole.split_at(whole.len().min(PADDED));
        let mut padded = [0; PADDED];
        padded[..first.len()].copy_from_slice(first);
        Self { padded, length: first.len(), rest: rest.to_vec() }
    }

    /// Whether it is the key of that name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.padded[1..self.length].iter().chain(&self.rest).copied().eq(name.bytes().chain([0]))
    }

    /// Writes type and name; the value is to follow.
    #[inline]
    pub(super) fn write(&self, tag: u8, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.padded);
        out[start] = tag;
        out.truncate(start + self.length);
        if !self.rest.is_empty() {
            out.extend_from_slice(&self.rest);
        }
    }

    /// Writes an element whose value has a fixed length.
    #[inline]
    pub(super) fn element<const N: usize>(&self, tag: u8, value: [u8; N], out: &mut Vec<u8>) {
        self.write(tag, out);
        out.extend_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Writer, tag};

    #[test]
    fn a_key_of_any_length_is_what_the_writer_writes() {
        for length in [1, 6, 37, 38, 39, 40, 41, 100] {
            let name = "n".repeat(length);
            let (mut ours, mut expected) = (vec![7], vec![7]);
            Key::new(&name).element(tag::INT32, 5i32.to_le_bytes(), &mut ours);
            Writer::new(&mut expected).int32(&name, 5);
            assert_eq!(ours, expected, "{length}");
            assert!(Key::new(&name).is(&name) && !Key::new(&name).is(&name[1..]));
        }
        let (mut ours, mut expected) = (Vec::new(), Vec::new());
        const { Key::short("magpsf") }.element(tag::DOUBLE, 1f64.to_le_bytes(), &mut ours);
        Writer::new(&mut expected).double("magpsf", 1.0);
        assert_eq!(ours, expected);
    }
}
