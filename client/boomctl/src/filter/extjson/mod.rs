//! Extended JSON to BSON and back, straight and without a tree in between: what `filter eval` does most.
//!
//! What is frequent is written out here (documents, arrays, texts, numbers, dates); everything else goes through the `bson` crate.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

use boom_sky::units::Jd;
use bson::RawDocument;

/// The alert's time, ms since 1970: `candidate.jd`, where it has one.
pub(crate) fn time(document: &RawDocument) -> Option<i64> {
    let jd = document.get_document("candidate").ok()?.get_f64("jd").ok()?;
    Some(Jd(jd).unix_millis())
}

#[cfg(test)]
mod tests {
    use bson::Bson;
    use serde_json::{Value, json};

    use super::*;
    use crate::output;

    /// Through here and through the `bson` crate: the same bytes, and the same text again.
    fn agrees(text: &str) {
        let value: Value = serde_json::from_str(text).expect("the test's text is JSON");
        let Ok(Bson::Document(document)) = Bson::try_from(value) else { panic!("{text} is no document") };
        let mut expected = Vec::new();
        document.to_writer(&mut expected).expect("it can be written");
        let raw = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(raw.as_bytes(), expected, "{text}");
        let mut out = Vec::new();
        write(&raw, &mut out).expect("it is sound");
        assert_eq!(String::from_utf8_lossy(&out), output::canonical(document).to_string());
    }

    #[test]
    fn every_type_is_read_and_written_as_the_bson_crate_does() {
        for text in [
            "{}",
            r#"{"a": 1, "b": -2147483648, "c": 2147483648, "d": 9223372036854775807, "e": 1.5, "f": 1e300, "g": -0.0}"#,
            r#"{"a": {"$numberInt": "-4"}, "b": {"$numberLong": "4"}, "c": {"$numberDouble": "4"}, "d": {"$numberDouble": "NaN"}}"#,
            r#"{"a": {"$numberDouble": "Infinity"}, "b": {"$numberDouble": "-Infinity"}, "c": {"$numberDouble": "1e-7"}}"#,
            r#"{"a": [1, [2, {"b": []}], {}], "t": true, "f": false, "n": null, "s": "", "é": "\"\\\n\u0001\u00e9\ud83d\ude00"}"#,
            r#"{"d": {"$date": {"$numberLong": "-5"}}, "e": {"$date": "2024-05-01T12:00:00.5Z"}, "u": {"$undefined": true}}"#,
            r#"{"o": {"$oid": "0123456789abcdef01234567"}, "m": {"$minKey": 1}, "x": {"$maxKey": 1}, "y": {"$numberDecimal": "1.50"}}"#,
            r#"{"r": {"$regularExpression": {"pattern": "a", "options": "i"}}, "b": {"$binary": {"base64": "AQI=", "subType": "00"}}}"#,
            r#"{"t": {"$timestamp": {"t": 1, "i": 2}}, "c": {"$code": "f"}, "s": {"$symbol": "x"}, "z": 0.1, "w": 123456789.125}"#,
            r#"{"a": {"$gt": 5, "$lt": {"$numberInt": "6"}}}"#,
        ] {
            agrees(text);
        }
        let many: serde_json::Map<_, _> =
            (0..1000).map(|i| (format!("k{i}"), json!([i, f64::from(i) / 7.0]))).collect();
        agrees(&Value::Object(many).to_string());
    }

    #[test]
    fn what_is_no_document_is_told() {
        for (text, said) in [
            ("{", "not JSON"),
            ("[1]", "not a document"),
            ("5", "not a document"),
            ("{} {}", "not JSON"),
            (r#"{"a": {"$numberInt": "x"}}"#, "not Extended JSON"),
            (r#"{"a": {"$numberInt": 5}}"#, "not Extended JSON"),
            (r#"{"a": {"$numberInt": "5", "b": 1}}"#, "not Extended JSON"),
            (r#"{"a": {"$oid": "5"}}"#, "not Extended JSON"),
            (r#"{"a": 1, "a": 2}"#, "twice"),
            ("{\"a\\u0000b\": 1}", "nought"),
        ] {
            let error = read(text.as_bytes()).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(read(format!("{{\"a\": {deep}}}").as_bytes()).is_err(), "it nests too deep, and nothing overflows");
    }
}
