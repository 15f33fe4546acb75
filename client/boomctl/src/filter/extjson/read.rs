//! Extended JSON to BSON bytes.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use boom_sky::document::tag;
use bson::{Bson, RawDocumentBuf};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// BSON's type of a text inside an array or document.
const NO_DOCUMENT: &str = "the line is not a document";

/// The document that the text is.
///
/// # Errors
/// It is not JSON, not Extended JSON, or no document.
pub(crate) fn read(text: &[u8]) -> Result<RawDocumentBuf, String> {
    let mut out = vec![0];
    let text = std::str::from_utf8(text).map_err(|error| format!("the line is not JSON: {error}"))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Element { out: &mut out, at: 0 }.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => match error.to_string() {
            said if said.starts_with("the line is") => said,
            said => format!("the line is not Extended JSON: {said}"),
        },
        _ => format!("the line is not JSON: {error}"),
    })?;
    if out[0] != tag::DOCUMENT {
        return Err(format!("{NO_DOCUMENT} but a value of BSON type {}", out[0]));
    }
    out.remove(0);
    RawDocumentBuf::from_bytes(out).map_err(|error| format!("{NO_DOCUMENT}: {error}"))
}

/// A value to be appended; its type goes to where its name begins.
struct Element<'o> {
    out: &'o mut Vec<u8>,
    at: usize,
}

/// A name, borrowed where it can be.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Element<'_> {
    fn put(self, kind: u8, value: &[u8]) {
        self.out[self.at] = kind;
        self.out.extend_from_slice(value);
    }

    /// What the `bson` crate makes of a value.
    fn other<E: Error>(self, value: Value) -> Result<(), E> {
        let wrong = |error: &dyn std::fmt::Display| E::custom(format!("the line is not Extended JSON: {error}"));
        let value = Bson::try_from(value).map_err(|error| wrong(&error))?;
        let kind = value.element_type() as u8;
        let mut document = bson::Document::new();
        document.insert("", value);
        let mut bytes = Vec::new();
        document.to_writer(&mut bytes).map_err(|error| wrong(&error))?;
        // Behind the length, the type and the empty name, before the end.
        self.put(kind, &bytes[6..bytes.len() - 1]);
        Ok(())
    }

    /// An object whose first key is of Extended JSON.
    fn extended<'de, A: MapAccess<'de>>(self, first: &str, mut map: A) -> Result<(), A::Error> {
        if let "$numberInt" | "$numberLong" | "$numberDouble" = first {
            let Name(text) = map.next_value()?;
            let plain = match first {
                "$numberInt" => text.parse::<i32>().ok().map(|n| self.put(tag::INT32, &n.to_le_bytes())),
                "$numberLong" => text.parse::<i64>().ok().map(|n| self.put(tag::INT64, &n.to_le_bytes())),
                _ => text.parse::<f64>().ok().map(|n| self.put(tag::DOUBLE, &n.to_le_bytes())),
            };
            let wrong = |what: String| Err(A::Error::custom(format!("the line is not Extended JSON: {what}")));
            return match (plain, map.next_key::<Name<'_>>()?) {
                (Some(()), None) => Ok(()),
                (None, _) => wrong(format!("`{text}` is no {first}")),
                (_, Some(Name(more))) => wrong(format!("`{more}` stands beside `{first}`")),
            };
        }
        let value: Value = map.next_value()?;
        let mut all = Map::new();
        all.insert(first.to_owned(), value);
        while let Some((name, value)) = map.next_entry()? {
            all.insert(name, value);
        }
        self.other(Value::Object(all))
    }
}

/// Ends a document or an array that began at `start`.
fn end(out: &mut Vec<u8>, start: usize) {
    out.push(0);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extended JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(tag::NULL, &[]);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(tag::BOOLEAN, &[u8::from(value)]);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        match i32::try_from(value) {
            Ok(small) => self.put(tag::INT32, &small.to_le_bytes()),
            Err(_) => self.put(tag::INT64, &value.to_le_bytes()),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(tag::DOUBLE, &value.to_le_bytes());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.out[self.at] = tag::STRING;
        let length = u32::try_from(value.len() + 1).unwrap_or(u32::MAX);
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(0);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { out, at } = self;
        out[at] = tag::ARRAY;
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut index = 0;
        loop {
            let element = out.len();
            boom_sky::document::Writer::new(out).index(0, index);
            if items.next_element_seed(Element { out, at: element })?.is_none() {
                out.truncate(element);
                break;
            }
            index += 1;
        }
        end(out, start);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next: Option<Name<'de>> = map.next_key()?;
        if let Some(Name(first)) = &next
            && is_extended(first)
        {
            return self.extended(first, map);
        }
        let Self { out, at } = self;
        out[at] = tag::DOCUMENT;
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut seen = Vec::new();
        while let Some(Name(name)) = next {
            if name.as_bytes().contains(&0) {
                return Err(A::Error::custom("the line is not a document: a name holds a nought"));
            }
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            seen.push(hasher.finish());
            let element = out.len();
            out.push(0);
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            map.next_value_seed(Element { out, at: element })?;
            next = map.next_key()?;
        }
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("the line is not a document: a name is there twice"));
        }
        end(out, start);
        Ok(())
    }
}

/// Whether a first key makes an object a value of Extended JSON, or could.
fn is_extended(name: &str) -> bool {
    const KEYS: [&str; 19] = [
        "$numberInt",
        "$numberLong",
        "$numberDouble",
        "$numberDecimal",
        "$oid",
        "$date",
        "$binary",
        "$uuid",
        "$regularExpression",
        "$regex",
        "$options",
        "$timestamp",
        "$minKey",
        "$maxKey",
        "$undefined",
        "$code",
        "$scope",
        "$symbol",
        "$dbPointer",
    ];
    name.starts_with('$') && KEYS.contains(&name)
}
