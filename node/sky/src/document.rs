//! Writing BSON documents straight into a byte buffer: the one writer of the hot path.
//!
//! Nothing here reads a document (that is `bson::RawDocument`), and nothing here knows a survey. Keys are `&str` without NUL; a
//! key that holds one is a programming error caught in debug builds.

/// BSON element types that the writer emits (<https://bsonspec.org/spec.html>).
pub mod tag {
    /// 64-bit IEEE 754 float.
    pub const DOUBLE: u8 = 0x01;
    /// UTF-8 string.
    pub const STRING: u8 = 0x02;
    /// Embedded document.
    pub const DOCUMENT: u8 = 0x03;
    /// Array: a document whose keys are "0", "1", …
    pub const ARRAY: u8 = 0x04;
    /// Binary with a subtype.
    pub const BINARY: u8 = 0x05;
    /// Boolean.
    pub const BOOLEAN: u8 = 0x08;
    /// UTC milliseconds since the Unix epoch.
    pub const DATETIME: u8 = 0x09;
    /// Null.
    pub const NULL: u8 = 0x0a;
    /// 32-bit integer.
    pub const INT32: u8 = 0x10;
    /// 64-bit integer.
    pub const INT64: u8 = 0x12;
}

/// Where an open document or array began; closing it needs this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an opened document must be closed"]
pub struct Open(usize);

/// Appends BSON to a buffer that the caller keeps and reuses.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `buffer`.
    pub fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self { buffer }
    }

    /// The bytes written so far, with whatever stood in the buffer before.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer
    }

    /// Opens a top-level document.
    pub fn open_root(&mut self) -> Open {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; 4]);
        Open(start)
    }

    /// Opens a document under `key`.
    pub fn open_document(&mut self, key: &str) -> Open {
        self.key(tag::DOCUMENT, key);
        self.open_root()
    }

    /// Opens an array under `key`; its elements are written with [`Writer::index`] keys.
    pub fn open_array(&mut self, key: &str) -> Open {
        self.key(tag::ARRAY, key);
        self.open_root()
    }

    /// Closes what `open` opened, writing its length.
    pub fn close(&mut self, open: Open) {
        self.buffer.push(0);
        let length = i32::try_from(self.buffer.len() - open.0).expect("a document is far smaller than 2 GiB");
        self.buffer[open.0..open.0 + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Writes an element's type and name.
    pub fn key(&mut self, tag: u8, key: &str) {
        debug_assert!(!key.as_bytes().contains(&0), "a key holds no NUL");
        self.buffer.push(tag);
        self.buffer.extend_from_slice(key.as_bytes());
        self.buffer.push(0);
    }

    /// Writes an array element's type and decimal index.
    pub fn index(&mut self, tag: u8, index: usize) {
        self.buffer.push(tag);
        if index < 10 {
            self.buffer.push(b'0' + index as u8);
        } else {
            let mut digits = [0u8; 20];
            let mut at = digits.len();
            let mut rest = index;
            while rest > 0 {
                at -= 1;
                digits[at] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            self.buffer.extend_from_slice(&digits[at..]);
        }
        self.buffer.push(0);
    }

    /// A double.
    pub fn double(&mut self, key: &str, value: f64) {
        self.key(tag::DOUBLE, key);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// A 32-bit integer.
    pub fn int32(&mut self, key: &str, value: i32) {
        self.key(tag::INT32, key);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// A 64-bit integer.
    pub fn int64(&mut self, key: &str, value: i64) {
        self.key(tag::INT64, key);
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &str, value: bool) {
        self.key(tag::BOOLEAN, key);
        self.buffer.push(u8::from(value));
    }

    /// A string.
    pub fn string(&mut self, key: &str, value: &str) {
        self.key(tag::STRING, key);
        self.string_body(value);
    }

    /// A string without its key (after [`Writer::index`]).
    pub fn string_body(&mut self, value: &str) {
        let length = i32::try_from(value.len() + 1).expect("a string is far smaller than 2 GiB");
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(value.as_bytes());
        self.buffer.push(0);
    }

    /// Generic binary (subtype 0).
    pub fn binary(&mut self, key: &str, value: &[u8]) {
        self.key(tag::BINARY, key);
        let length = i32::try_from(value.len()).expect("a binary is far smaller than 2 GiB");
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.push(0);
        self.buffer.extend_from_slice(value);
    }

    /// A whole document, already encoded, under `key`.
    pub fn document(&mut self, key: &str, encoded: &[u8]) {
        self.key(tag::DOCUMENT, key);
        self.buffer.extend_from_slice(encoded);
    }

    /// A whole array, already encoded, under `key`.
    pub fn array(&mut self, key: &str, encoded: &[u8]) {
        self.key(tag::ARRAY, key);
        self.buffer.extend_from_slice(encoded);
    }

    /// Any element whose value is already encoded as BSON type `tag`.
    pub fn encoded(&mut self, tag: u8, key: &str, value: &[u8]) {
        self.key(tag, key);
        self.buffer.extend_from_slice(value);
    }

    /// The elements of an encoded document (what lies between its length and its end), appended to the one that is open.
    pub fn elements_of(&mut self, encoded: &[u8]) {
        self.buffer.extend_from_slice(elements(encoded));
    }
}

/// The elements of an encoded document: its bytes without the length in front and the end mark behind.
pub fn elements(encoded: &[u8]) -> &[u8] {
    &encoded[4..encoded.len() - 1]
}

/// An encoded document without elements, or an empty array.
pub const EMPTY: [u8; 5] = [5, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use bson::RawDocument;

    use super::*;

    #[test]
    fn what_is_written_reads_back_as_bson() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        let root = writer.open_root();
        writer.int64("candid", 7);
        let inner = writer.open_document("candidate");
        writer.double("magpsf", 18.5);
        writer.string("band", "g");
        writer.boolean("isdiffpos", true);
        writer.close(inner);
        let array = writer.open_array("numbers");
        for i in 0..12 {
            writer.index(tag::INT32, i);
            writer.buffer().extend_from_slice(&(i as i32).to_le_bytes());
        }
        writer.close(array);
        writer.close(root);
        let read = bson::Document::try_from(RawDocument::from_bytes(&buffer).unwrap()).unwrap();
        let numbers: Vec<i32> = (0..12).collect();
        assert_eq!(
            read,
            bson::doc! {"candid": 7i64, "candidate": {"magpsf": 18.5, "band": "g", "isdiffpos": true}, "numbers": numbers}
        );
    }
}
