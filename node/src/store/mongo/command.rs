//! Commands as the server takes them, made of raw BSON, and what it answers. Nothing is sent here.

use boom_sky::document::{Writer, tag};
use bson::{Bson, Document, RawDocumentBuf};

/// Several commands of so much at once cost less than a large one, which is copied from memory to memory; the server takes 16 MiB and some.
const LARGEST_COMMAND: usize = 1 << 20;
/// No document may be larger.
pub(super) const LARGEST_DOCUMENT: usize = 16 << 20;
/// One command has at most so many statements.
const MOST_STATEMENTS: usize = 1000;
/// What the command around a single document of the largest size may still take.
const ROOM: usize = 4096;

/// Already there.
const DUPLICATE: i32 = 11000;
/// The document would be too large: `BSONObjectTooLarge` and what older checks say.
const TOO_LARGE: [i32; 3] = [10334, 17419, 17420];

/// A write, as many documents or statements of it as one command holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Documents.
    Insert,
    /// Statements `{q, u}`.
    Update,
}

/// What a write did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Documents that were inserted or matched.
    pub(super) n: usize,
    /// Places of those that were there already.
    pub(super) duplicates: Vec<usize>,
    /// Places of those that are too large.
    pub(super) too_large: Vec<usize>,
}

/// What a reply that is no success says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The server's number of it.
    pub(super) code: i32,
    /// The server's words.
    pub(super) message: String,
}

/// A document from a function that writes its elements.
pub(super) fn document(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut writer = Writer::new(&mut bytes);
    let root = writer.open_root();
    write(&mut writer);
    writer.close(root);
    bytes
}

/// An array of strings.
pub(super) fn strings<'a>(key: &str, values: impl IntoIterator<Item = &'a str>, writer: &mut Writer<'_>) {
    let array = writer.open_array(key);
    for (index, value) in values.into_iter().enumerate() {
        writer.index(tag::STRING, index);
        writer.string_body(value);
    }
    writer.close(array);
}

/// An array of 64-bit integers.
pub(super) fn integers(key: &str, values: impl IntoIterator<Item = i64>, writer: &mut Writer<'_>) {
    let array = writer.open_array(key);
    for (index, value) in values.into_iter().enumerate() {
        writer.index(tag::INT64, index);
        writer.buffer().extend_from_slice(&value.to_le_bytes());
    }
    writer.close(array);
}

/// Bytes that were written as one document.
pub(super) fn raw(bytes: Vec<u8>) -> RawDocumentBuf {
    RawDocumentBuf::from_bytes(bytes).expect("the writer closes what it opens")
}

/// Where the documents are cut, so that each part fits into one command.
pub(super) fn parts(documents: &[Vec<u8>]) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, document) in documents.iter().enumerate() {
        if at > from && (bytes + document.len() > LARGEST_COMMAND || at - from == MOST_STATEMENTS) {
            parts.push(from..at);
            (from, bytes) = (at, 0);
        }
        bytes += document.len();
    }
    if from < documents.len() {
        parts.push(from..documents.len());
    }
    parts
}

/// One write, unordered, acknowledged by the majority and journaled within `patience`.
pub(super) fn write(kind: Kind, collection: &str, documents: &[Vec<u8>], patience: i64) -> RawDocumentBuf {
    let (command, field) = match kind {
        Kind::Insert => ("insert", "documents"),
        Kind::Update => ("update", "updates"),
    };
    let mut bytes = Vec::with_capacity(ROOM + documents.iter().map(|document| document.len() + 8).sum::<usize>());
    let mut writer = Writer::new(&mut bytes);
    let root = writer.open_root();
    writer.string(command, collection);
    writer.boolean("ordered", false);
    let concern = writer.open_document("writeConcern");
    writer.string("w", "majority");
    writer.boolean("j", true);
    writer.int64("wtimeout", patience);
    writer.close(concern);
    let array = writer.open_array(field);
    for (index, document) in documents.iter().enumerate() {
        writer.index(tag::DOCUMENT, index);
        writer.buffer().extend_from_slice(document);
    }
    writer.close(array);
    writer.close(root);
    raw(bytes)
}

/// A query of what the majority has; `projection` names the fields that are wanted, all without one.
pub(super) fn find(
    collection: &str,
    filter: impl FnOnce(&mut Writer<'_>),
    projection: &[(&str, i32)],
    hint: Option<&str>,
) -> RawDocumentBuf {
    raw(document(|writer| {
        writer.string("find", collection);
        writer.document("filter", &document(filter));
        if !projection.is_empty() {
            let fields = writer.open_document("projection");
            projection.iter().for_each(|(field, wanted)| writer.int32(field, *wanted));
            writer.close(fields);
        }
        if let Some(field) = hint {
            let key = writer.open_document("hint");
            writer.int32(field, 1);
            writer.close(key);
        }
        writer.int32("batchSize", 10_000);
        let concern = writer.open_document("readConcern");
        writer.string("level", "majority");
        writer.close(concern);
    }))
}

/// The reply to a write of `count` documents.
///
/// # Errors
/// A document was refused for a reason that is not its own, or the majority did not acknowledge in time.
pub(super) fn written(reply: &Document) -> Result<Written, Refused> {
    let mut written = Written { n: number(reply.get("n")), ..Written::default() };
    for error in reply.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
        let at = number(error.get("index"));
        match error.get_i32("code").unwrap_or_default() {
            DUPLICATE => written.duplicates.push(at),
            code if TOO_LARGE.contains(&code) => written.too_large.push(at),
            code => return Err(refused(code, error)),
        }
    }
    match reply.get_document("writeConcernError") {
        Ok(error) => Err(refused(error.get_i32("code").unwrap_or_default(), error)),
        Err(_) => Ok(written),
    }
}

fn refused(code: i32, error: &Document) -> Refused {
    Refused { code, message: error.get_str("errmsg").unwrap_or("it does not say why").to_owned() }
}

fn number(value: Option<&Bson>) -> usize {
    let number = match value {
        Some(Bson::Int32(number)) => i64::from(*number),
        Some(Bson::Int64(number)) => *number,
        Some(Bson::Double(number)) => *number as i64,
        _ => 0,
    };
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn a_command_holds_as_much_as_the_server_takes() {
        let small = || vec![0; 10];
        assert!(parts(&[]).is_empty());
        assert_eq!(parts(&[small(), vec![0; LARGEST_COMMAND], small(), small()]), [0..1, 1..2, 2..4]);
        let many: Vec<_> = (0..2 * MOST_STATEMENTS + 1).map(|_| small()).collect();
        assert_eq!(parts(&many).iter().map(std::ops::Range::len).collect::<Vec<_>>(), [1000, 1000, 1]);
    }

    #[test]
    fn a_reply_says_what_was_there_and_what_is_too_large() {
        let reply = doc! {"n": 3, "ok": 1.0, "writeErrors": [
            {"index": 1, "code": 11000, "errmsg": "duplicate"}, {"index": 4, "code": 10334, "errmsg": "large"},
        ]};
        assert_eq!(written(&reply), Ok(Written { n: 3, duplicates: vec![1], too_large: vec![4] }));
    }

    #[test]
    fn a_write_that_the_majority_has_not_is_none() {
        let reply = doc! {"n": 3, "ok": 1.0, "writeConcernError": {"code": 64, "errmsg": "waiting timed out"}};
        assert_eq!(written(&reply).map_err(|refused| refused.code), Err(64));
        let reply = doc! {"n": 3, "ok": 1.0, "writeErrors": [{"index": 1, "code": 112, "errmsg": "conflict"}]};
        assert_eq!(written(&reply).map_err(|refused| refused.code), Err(112));
    }
}
