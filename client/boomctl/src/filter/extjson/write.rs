//! BSON to canonical Extended JSON.

use std::io::Write;

use bson::raw::RawBsonRef;
use bson::{Bson, RawDocument};

use crate::output;

/// Appends the document.
///
/// # Errors
/// The bytes are no document.
pub(crate) fn write(document: &RawDocument, out: &mut Vec<u8>) -> Result<(), String> {
    let mut between = b'{';
    for element in document {
        let (name, value) = element.map_err(|error| format!("the resulting document can not be read: {error}"))?;
        out.push(between);
        text(name.as_str(), out);
        out.push(b':');
        self::value(value, out)?;
        between = b',';
    }
    out.extend_from_slice(if between == b'{' { b"{}" } else { b"}" });
    Ok(())
}

fn value(value: RawBsonRef<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    // Writing to memory can not fail.
    let _ = match value {
        RawBsonRef::Document(document) => return write(document, out),
        RawBsonRef::Array(items) => {
            let mut between = b'[';
            for item in items {
                let item = item.map_err(|error| format!("the resulting document can not be read: {error}"))?;
                out.push(between);
                self::value(item, out)?;
                between = b',';
            }
            out.extend_from_slice(if between == b'[' { b"[]" } else { b"]" });
            Ok(())
        }
        RawBsonRef::String(string) => {
            text(string, out);
            Ok(())
        }
        RawBsonRef::Boolean(value) => write!(out, "{value}"),
        RawBsonRef::Null => write!(out, "null"),
        RawBsonRef::Int32(number) => write!(out, r#"{{"$numberInt":"{number}"}}"#),
        RawBsonRef::Int64(number) => write!(out, r#"{{"$numberLong":"{number}"}}"#),
        RawBsonRef::Double(number) if number.is_nan() => write!(out, r#"{{"$numberDouble":"NaN"}}"#),
        RawBsonRef::Double(number) if number.is_infinite() => {
            write!(out, r#"{{"$numberDouble":"{}Infinity"}}"#, if number < 0.0 { "-" } else { "" })
        }
        RawBsonRef::Double(number) if number.fract() == 0.0 => write!(out, r#"{{"$numberDouble":"{number}.0"}}"#),
        RawBsonRef::Double(number) => write!(out, r#"{{"$numberDouble":"{number}"}}"#),
        RawBsonRef::DateTime(date) => {
            write!(out, r#"{{"$date":{{"$numberLong":"{}"}}}}"#, date.timestamp_millis())
        }
        other => {
            let other =
                Bson::try_from(other).map_err(|error| format!("the resulting document can not be read: {error}"))?;
            let mut document = bson::Document::new();
            document.insert("v", other);
            write!(out, "{}", output::canonical(document)["v"])
        }
    };
    Ok(())
}

/// A text in quotes.
fn text(text: &str, out: &mut Vec<u8>) {
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\' && b != 0x7f);
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a text is JSON, and memory takes it");
    }
}
