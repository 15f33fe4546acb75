//! What can be wrong with a message. Here too: fields that have to be there, and lists that have each key once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// A message that can not be understood. The same message again has the same end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field that has to be there is not.
    #[error("reading a message: `{0}` is missing")]
    Missing(&'static str),
    /// A field has a value of an enumeration that this version does not know.
    #[error("reading a message: `{field}` has the value {value}, which this version does not know")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i32,
    },
    /// A number is greater than it can be.
    #[error("reading a message: `{field}` is {value}, which is too much")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A list has a key twice.
    #[error("reading a message: `{field}` has {key} twice")]
    Twice {
        /// The field.
        field: &'static str,
        /// The key.
        key: String,
    },
    /// A name, pattern or plan that can not be used.
    #[error("reading a message: {0}")]
    Domain(#[from] boom_plan::Error),
}

impl Error {
    /// Whether the same call may succeed elsewhere or later: never.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// The value of a field that has to be there.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Error> {
    value.ok_or(Error::Missing(field))
}

/// The entries as a map; each key may come once.
pub(crate) fn map<K: Ord + Display, V>(
    entries: impl IntoIterator<Item = Result<(K, V), Error>>,
    field: &'static str,
) -> Result<BTreeMap<K, V>, Error> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let (key, value) = entry?;
        if map.contains_key(&key) {
            return Err(Error::Twice { field, key: key.to_string() });
        }
        map.insert(key, value);
    }
    Ok(map)
}

/// The entries as a set; each may come once.
pub(crate) fn set<K: Ord + Display>(
    entries: impl IntoIterator<Item = Result<K, Error>>,
    field: &'static str,
) -> Result<BTreeSet<K>, Error> {
    Ok(map(entries.into_iter().map(|entry| Ok((entry?, ()))), field)?.into_keys().collect())
}
