//! JSON as it was written: keys in order, duplicates kept, whole numbers apart from others, Extended JSON literals resolved.
//!
//! Turns into constants; knows nothing of stages and operators.

use std::fmt::Write as _;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::literal;
use crate::expr::Constant;
use crate::raw;
use crate::value::Value;
use crate::write;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(String),
    /// Milliseconds since 1970.
    Date(i64),
    ObjectId([u8; 12]),
    MinKey,
    MaxKey,
    Undefined,
    /// Seconds since 1970 in the upper half, a count in the lower.
    Timestamp(u64),
    /// Pattern and options.
    Regex(String, String),
    /// Of a rarer type: its type byte and its bytes.
    Other(u8, Vec<u8>),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// How a message calls it.
    pub(crate) fn shown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        if text.chars().count() > 60 {
            text = text.chars().take(59).chain(['…']).collect();
        }
        text
    }

    /// The one way to write it: compact, in its own order, numbers by type. Equal texts are equal programs.
    pub(crate) fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Json::Null => write!(out, "null"),
            Json::Bool(b) => write!(out, "{b}"),
            Json::Int(n) => write!(out, "{n}"),
            Json::Long(n) => write!(out, "{{\"$numberLong\":\"{n}\"}}"),
            Json::Double(x) if x.is_finite() => write!(out, "{x:?}"),
            Json::Double(x) => {
                write!(out, "{{\"$numberDouble\":\"{}\"}}", crate::number::general(*x))
            }
            Json::Text(text) => write!(out, "{}", serde_json::Value::from(text.as_str())),
            Json::Date(ms) => write!(out, "{{\"$date\":{{\"$numberLong\":\"{ms}\"}}}}"),
            Json::ObjectId(id) => {
                write!(out, "{{\"$oid\":\"{}\"}}", bson::oid::ObjectId::from_bytes(*id).to_hex())
            }
            Json::MinKey => write!(out, "{{\"$minKey\":1}}"),
            Json::MaxKey => write!(out, "{{\"$maxKey\":1}}"),
            Json::Undefined => write!(out, "{{\"$undefined\":true}}"),
            Json::Regex(pattern, options) => {
                let (pattern, options) =
                    (serde_json::Value::from(pattern.as_str()), serde_json::Value::from(options.as_str()));
                write!(out, "{{\"$regularExpression\":{{\"pattern\":{pattern},\"options\":{options}}}}}")
            }
            Json::Timestamp(t) => {
                write!(out, "{{\"$timestamp\":{{\"t\":{},\"i\":{}}}}}", t >> 32, t & 0xffff_ffff)
            }
            Json::Other(kind, bytes) => {
                literal::write(*kind, bytes, out);
                Ok(())
            }
            Json::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    out.push(if at == 0 { '[' } else { ',' });
                    item.write(out);
                }
                out.push_str(if items.is_empty() { "[]" } else { "]" });
                Ok(())
            }
            Json::Object(fields) => {
                for (at, (name, value)) in fields.iter().enumerate() {
                    let _ =
                        write!(out, "{}{}:", if at == 0 { '{' } else { ',' }, serde_json::Value::from(name.as_str()));
                    value.write(out);
                }
                out.push_str(if fields.is_empty() { "{}" } else { "}" });
                Ok(())
            }
        };
    }

    /// Whether it is an object with this key alone.
    pub(crate) fn is_lone(&self, wanted: &str) -> bool {
        matches!(self, Json::Object(fields) if fields.len() == 1 && fields[0].0 == wanted)
    }

    /// The constant that it is.
    pub(crate) fn constant(&self) -> Constant {
        let scalar = match self {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Int(n) => Value::Int32(*n),
            Json::Long(n) => Value::Int64(*n),
            Json::Double(x) => Value::Double(*x),
            Json::Date(ms) => Value::Date(*ms),
            Json::ObjectId(id) => Value::ObjectId(*id),
            Json::MinKey => Value::MinKey,
            Json::MaxKey => Value::MaxKey,
            Json::Undefined => Value::Undefined,
            Json::Timestamp(t) => Value::Timestamp(*t),
            Json::Text(text) => return Constant::Text(text.as_str().into()),
            Json::Regex(pattern, options) => {
                return Constant::Bytes(raw::REGEX, format!("{pattern}\0{options}\0").into_bytes().into());
            }
            Json::Other(kind, bytes) => return Constant::Bytes(*kind, bytes.as_slice().into()),
            Json::Array(items) => {
                let constants: Vec<_> = items.iter().map(Json::constant).collect();
                return array_constant(&constants);
            }
            Json::Object(fields) => {
                let constants: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.constant())).collect();
                let bytes = write::constant(constants.iter().map(|(name, c)| (*name, c.value())));
                return Constant::Bytes(raw::DOCUMENT, bytes.into());
            }
        };
        Constant::Scalar(scalar)
    }
}

/// A constant array of constants.
pub(crate) fn array_constant(items: &[Constant]) -> Constant {
    let names: Vec<_> = (0..items.len()).map(|at| at.to_string()).collect();
    let bytes = write::constant(names.iter().map(String::as_str).zip(items.iter().map(Constant::value)));
    Constant::Bytes(raw::ARRAY, bytes.into())
}

/// A constant document of constants.
pub(crate) fn document_constant(fields: &[(Box<str>, Constant)]) -> Constant {
    let there = fields.iter().map(|(name, constant)| (&**name, constant.value()));
    let bytes = write::constant(there.filter(|(_, value)| !value.is_missing()));
    Constant::Bytes(raw::DOCUMENT, bytes.into())
}

/// An Extended JSON literal, when the object is one; an error says what is wrong with it.
pub(crate) fn literal(fields: &[(String, Json)]) -> Option<Result<Json, String>> {
    if let [(code, text), (scope, variables)] = fields
        && code == "$code"
        && scope == "$scope"
    {
        return Some(
            literal::code_with_scope(text, variables).ok_or_else(|| "this is no code with a scope".to_owned()),
        );
    }
    let [(key, value)] = fields else { return None };
    let read = match key.as_str() {
        "$numberInt" => text(value).and_then(|t| t.parse().ok()).map(Json::Int),
        "$numberLong" => text(value).and_then(|t| t.parse().ok()).map(Json::Long),
        "$numberDouble" => text(value).and_then(|t| t.parse().ok()).map(Json::Double),
        "$oid" => text(value).and_then(|t| bson::oid::ObjectId::parse_str(t).ok()).map(|id| Json::ObjectId(id.bytes())),
        "$date" => date(value).map(Json::Date),
        "$minKey" => Some(Json::MinKey),
        "$maxKey" => Some(Json::MaxKey),
        "$undefined" => Some(Json::Undefined),
        "$regularExpression" => regex(value),
        "$numberDecimal" | "$binary" | "$uuid" | "$timestamp" | "$code" | "$symbol" | "$dbPointer" => {
            literal::read(key, value)
        }
        _ => return None,
    };
    Some(read.ok_or_else(|| format!("{} is no `{key}` of Extended JSON", value.shown())))
}

fn text(value: &Json) -> Option<&str> {
    match value {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

fn date(value: &Json) -> Option<i64> {
    match value {
        Json::Text(text) => bson::DateTime::parse_rfc3339_str(text).ok().map(|d| d.timestamp_millis()),
        Json::Int(n) => Some(i64::from(*n)),
        Json::Long(n) => Some(*n),
        _ => None,
    }
}

fn regex(value: &Json) -> Option<Json> {
    let Json::Object(fields) = value else { return None };
    let field = |name: &str| fields.iter().find(|(n, _)| n == name).and_then(|(_, v)| text(v));
    let (pattern, options) = (field("pattern")?, field("options").unwrap_or_default());
    let broken = pattern.contains('\0') || options.contains('\0');
    (!broken).then(|| Json::Regex(pattern.to_owned(), options.to_owned()))
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Json, E> {
        Ok(Json::Bool(b))
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Json, E> {
        Ok(i32::try_from(n).map_or(Json::Long(n), Json::Int))
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Json, E> {
        match i64::try_from(n) {
            Ok(n) => self.visit_i64(n),
            Err(_) => Ok(Json::Double(n as f64)),
        }
    }

    fn visit_f64<E>(self, x: f64) -> Result<Json, E> {
        Ok(Json::Double(x))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(field) = fields.next_entry()? {
            all.push(field);
        }
        Ok(Json::Object(all))
    }
}
