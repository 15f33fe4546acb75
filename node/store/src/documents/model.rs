//! What goes into the store and comes out of it: claims, matches, aliases, documents. No keys, no engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use boom_sky::alert::Origin;
use boom_sky::document::{Writer, tag};
use boom_sky::survey::Survey;

use super::object::ObjectState;

/// What the store says of an alert that is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Never seen.
    New,
    /// The same packet again: it goes on, repairing and completing.
    Redelivery,
    /// The same candid from elsewhere: counted, and not delivered again.
    Repeat(Origin),
}

/// Catalog rows near an object, and the versions of the catalogs that gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matches {
    /// Hash of the names, versions and rules of all catalogs.
    pub version: u64,
    /// The BSON document `cross_matches`.
    pub document: Vec<u8>,
}

impl Matches {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_le_bytes().to_vec();
        out.extend_from_slice(&self.document);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, document) = bytes.split_first_chunk()?;
        Some(Self { version: u64::from_le_bytes(*version), document: document.to_vec() })
    }
}

/// The same object in other surveys: survey name to ids, in the order in which they were learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases(pub BTreeMap<String, Vec<String>>);

impl Aliases {
    /// The BSON document `aliases`.
    pub fn document(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let root = writer.open_root();
        for (survey, ids) in &self.0 {
            let array = writer.open_array(survey);
            for (index, id) in ids.iter().enumerate() {
                writer.index(tag::STRING, index);
                writer.string_body(id);
            }
            writer.close(array);
        }
        writer.close(root);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let document = bson::RawDocument::from_bytes(bytes).ok()?;
        let mut aliases = BTreeMap::new();
        for entry in document {
            let (survey, ids) = entry.ok()?;
            let ids = ids.as_array()?.into_iter().map(|id| Some(id.ok()?.as_str()?.to_owned()));
            aliases.insert(survey.to_string(), ids.collect::<Option<Vec<_>>>()?);
        }
        Some(Self(aliases))
    }

    /// This with one more; the same when it was known.
    pub(super) fn with(&self, survey: &str, id: &str) -> Option<Self> {
        let known = self.0.get(survey).is_some_and(|ids| ids.iter().any(|known| known == id));
        (!known).then(|| {
            let mut more = self.clone();
            more.0.entry(survey.to_owned()).or_default().push(id.to_owned());
            more
        })
    }
}

/// An object in another survey, as it was when the alert was stored.
#[derive(Debug, Clone)]
pub struct AliasObject {
    /// The other survey.
    pub survey: &'static Survey,
    /// Its id there.
    pub object_id: String,
    /// Its light curve.
    pub state: Arc<ObjectState>,
}

/// An alert as stored: what the store says of it, and its object after it.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// New, again, or a repeat.
    pub claim: Claim,
    /// Position and light curve of the object, with all alerts up to this one.
    pub object: Arc<ObjectState>,
    /// Catalog matches, if they have been computed.
    pub matches: Option<Arc<Matches>>,
    /// Its ids in other surveys.
    pub aliases: Arc<Aliases>,
    /// The objects behind the aliases.
    pub alias_objects: Vec<AliasObject>,
}

/// A document that is complete.
#[derive(Debug, Clone)]
pub enum Complete {
    /// The alert, with its scores and properties.
    Alert(i64, Vec<u8>),
    /// Its cutouts.
    Cutouts(i64, Vec<u8>),
    /// Catalog matches of an object.
    Matches(String, Arc<Matches>),
}
