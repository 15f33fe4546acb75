//! Pipelines and documents as text: Extended JSON, plain where the type of a number is plain from how it is written.

use bson::{Bson, Document};
use serde_json::Value;

/// A pipeline as a filter has it.
pub(crate) fn pipeline(stages: &[Document]) -> String {
    Value::Array(stages.iter().map(|stage| relaxed(&Bson::Document(stage.clone()))).collect()).to_string()
}

/// A value; 32-bit numbers and finite doubles as they are.
pub(crate) fn relaxed(value: &Bson) -> Value {
    match value {
        Bson::Int32(n) => Value::from(*n),
        Bson::Double(x) if x.is_finite() => Value::from(*x),
        Bson::Array(items) => items.iter().map(relaxed).collect(),
        Bson::Document(document) => {
            Value::Object(document.iter().map(|(name, value)| (name.clone(), relaxed(value))).collect())
        }
        other => other.clone().into_canonical_extjson(),
    }
}
