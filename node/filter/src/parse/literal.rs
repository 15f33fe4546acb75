//! Extended JSON literals of the rarer BSON types: decimal128, binary, timestamp, code, symbol, pointer.
//!
//! The common ones are in `parse::json`.

use bson::Bson;

use super::json::Json;
use crate::decimal::Decimal;
use crate::raw;

/// The literal of that key; none when the value is no such literal.
pub(super) fn read(key: &str, value: &Json) -> Option<Json> {
    match (key, value) {
        ("$numberDecimal", Json::Text(text)) => {
            Some(Json::Other(raw::DECIMAL, Decimal::parse_exactly(text)?.bytes().to_vec()))
        }
        ("$timestamp", Json::Object(fields)) => timestamp(fields),
        ("$binary" | "$uuid" | "$code" | "$symbol" | "$dbPointer", _) => {
            let mut text = format!("{{\"{key}\":");
            value.write(&mut text);
            text.push('}');
            let json: serde_json::Value = serde_json::from_str(&text).ok()?;
            other(Bson::try_from(json).ok()?)
        }
        _ => None,
    }
}

fn timestamp(fields: &[(String, Json)]) -> Option<Json> {
    let part = |name: &str| match fields.iter().find(|(n, _)| n == name)?.1 {
        Json::Int(n) => u32::try_from(n).ok(),
        Json::Long(n) => u32::try_from(n).ok(),
        _ => None,
    };
    let (seconds, count) = (part("t")?, part("i")?);
    (fields.len() == 2).then_some(Json::Timestamp(u64::from(seconds) << 32 | u64::from(count)))
}

/// `{"$code": …, "$scope": {…}}`.
pub(super) fn code_with_scope(code: &Json, scope: &Json) -> Option<Json> {
    let mut text = "{\"$code\":".to_owned();
    code.write(&mut text);
    text.push_str(",\"$scope\":");
    scope.write(&mut text);
    text.push('}');
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    other(Bson::try_from(json).ok()?)
}

/// A value of a type that is kept as its bytes.
fn other(bson: Bson) -> Option<Json> {
    let kept = matches!(
        bson,
        Bson::Binary(_)
            | Bson::JavaScriptCode(_)
            | Bson::JavaScriptCodeWithScope(_)
            | Bson::Symbol(_)
            | Bson::DbPointer(_)
    );
    if !kept {
        return None;
    }
    let document = bson::doc! { "": bson }.to_vec().ok()?;
    let element = raw::element(&document, 4).ok()??;
    Some(Json::Other(element.kind, document[element.at..element.end].to_vec()))
}

/// The one way to write it.
pub(super) fn write(kind: u8, bytes: &[u8], out: &mut String) {
    if kind == raw::DECIMAL {
        out.push_str(&format!("{{\"$numberDecimal\":\"{}\"}}", Decimal::read(bytes)));
        return;
    }
    let length = (bytes.len() + 7) as i32;
    let document = [&length.to_le_bytes()[..], &[kind, 0], bytes, &[0]].concat();
    let value = bson::Document::from_reader(&*document).ok().and_then(|mut document| document.remove(""));
    out.push_str(&value.map_or_else(|| "null".to_owned(), |value| value.into_canonical_extjson().to_string()));
}
