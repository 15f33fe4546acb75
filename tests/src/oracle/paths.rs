//! What a document has at which path, and of which kind a value is.

use bson::Bson;

use super::operators::Kind;

/// A path or a variable, and what it gives (of an array, something like it).
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) value: Bson,
}

/// Paths are followed so deep.
const DEPTH: usize = 5;
/// More are not looked at.
const MOST: usize = 400;

/// Notes the value and what is in it, as expressions see it: `$a.b` of an array of documents is an array.
pub(crate) fn look(text: &str, value: &Bson, seen: &mut Vec<Seen>) {
    inside(text, value, DEPTH, seen);
}

fn inside(text: &str, value: &Bson, depth: usize, seen: &mut Vec<Seen>) {
    let name = text.rsplit('.').next().unwrap_or(text);
    if seen.len() > MOST || depth == 0 || name.trim_start_matches('$').is_empty() {
        return;
    }
    seen.push(Seen { text: text.to_owned(), value: value.clone() });
    match value {
        Bson::Document(document) => {
            for (name, value) in document.iter().filter(|(name, _)| is_plain(name)) {
                inside(&format!("{text}.{name}"), value, depth - 1, seen);
            }
        }
        Bson::Array(items) => {
            let names = items.iter().take(2).filter_map(Bson::as_document).flat_map(|document| document.keys());
            let mut names: Vec<&String> = names.filter(|name| is_plain(name)).collect();
            names.sort();
            names.dedup();
            for name in names {
                let values = items.iter().filter_map(|item| item.as_document()?.get(name)).cloned().collect();
                inside(&format!("{text}.{name}"), &Bson::Array(values), depth - 1, seen);
            }
        }
        _ => {}
    }
}

/// Whether paths can name the field.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains('.') && !name.starts_with('$')
}

/// Whether the value is of that kind.
pub(crate) fn fits(value: &Bson, kind: Kind) -> bool {
    let all = |of: Kind| matches!(value, Bson::Array(items) if items.iter().all(|item| fits(item, of)));
    match kind {
        Kind::Any => true,
        Kind::Number => matches!(value, Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_)),
        Kind::Int => matches!(value, Bson::Int32(_)),
        Kind::Bool => matches!(value, Bson::Boolean(_)),
        Kind::Text => matches!(value, Bson::String(_)),
        Kind::Date => matches!(value, Bson::DateTime(_) | Bson::Timestamp(_) | Bson::ObjectId(_)),
        Kind::Id => matches!(value, Bson::ObjectId(_)),
        Kind::Array => matches!(value, Bson::Array(_)),
        Kind::Numbers => all(Kind::Number),
        Kind::Texts => all(Kind::Text),
        Kind::Documents => all(Kind::Object),
        Kind::Object => matches!(value, Bson::Document(_)),
        _ => false,
    }
}
