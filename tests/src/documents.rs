//! The documents of a night as a store holds them at its end, so that those of a cluster can be compared with those of standalone.
//!
//! What is of the run and not of the night is left out: where a packet stood, and when a document was written.

use std::collections::BTreeMap;
use std::path::Path;

use boom_sky::survey::{LSST, Survey, ZTF};
use boom_store::documents::Store;
use bson::Document;
use mongodb::Client;
use sha2::{Digest as _, Sha256};

use crate::kafka::wait;
use crate::registry::{NOVEL, NOVELTY};

/// The surveys of a night.
const SURVEYS: [&Survey; 2] = [&ZTF, &LSST];

/// A document by its collection and id.
type Key = (String, String);

/// All documents of a store: whole, and of cutouts the hash.
#[derive(Debug, Default)]
pub struct Documents {
    whole: BTreeMap<Key, Document>,
    cutouts: BTreeMap<Key, Vec<u8>>,
}

impl Documents {
    fn take(&mut self, collection: &str, mut document: Document) {
        for of_the_run in ["origin", "created_at", "updated_at", "boom"] {
            document.remove(of_the_run);
        }
        // Which alias was learnt first is of the run too.
        if let Ok(aliases) = document.get_document_mut("aliases") {
            for (_, ids) in aliases.iter_mut() {
                if let Some(ids) = ids.as_array_mut() {
                    ids.sort_by_key(ToString::to_string);
                }
            }
        }
        let id = document.get("_id").expect("a document has an id").to_string();
        let key = (collection.to_owned(), id);
        if collection.ends_with("_cutouts") {
            let hash = Sha256::digest(document.to_vec().expect("a document has bytes")).to_vec();
            assert!(self.cutouts.insert(key.clone(), hash).is_none(), "twice: {key:?}");
        } else {
            assert!(self.whole.insert(key.clone(), document).is_none(), "twice: {key:?}");
        }
    }

    /// What standalone has written of the alerts of these candids.
    pub fn of_standalone(out: &Path, candids: impl IntoIterator<Item = i64>) -> Self {
        let store = Store::open(&out.join("store"), false).expect("the store is there");
        let read = |bytes: Vec<u8>| Document::from_reader(bytes.as_slice()).expect("a document is BSON");
        let (mut found, mut objects) = (Self::default(), BTreeMap::new());
        for candid in candids {
            for (survey, alert) in store.alerts(candid).expect("the store is read") {
                let alert = read(alert);
                let object = alert.get_str("objectId").expect("an alert is of an object").to_owned();
                objects.insert((survey.name, object), survey);
                found.take(&format!("{}_alerts", survey.name), alert);
                let cutouts = store.cutouts(survey, candid).expect("the store is read").expect("an alert has cutouts");
                found.take(&format!("{}_alerts_cutouts", survey.name), read(cutouts));
            }
        }
        for ((name, object), survey) in objects {
            let aux = store.aux(survey, &object).expect("the store is read").expect("an alert has its object");
            found.take(&format!("{name}_alerts_aux"), read(aux));
        }
        found
    }

    /// All that is in the database of the broker.
    pub fn of_mongodb(uri: &str) -> Self {
        Self::of_database(uri, "boom")
    }

    /// All that is in a database.
    pub fn of_database(uri: &str, name: &str) -> Self {
        wait(async {
            let database = Client::with_uri_str(uri).await.expect("an URI").database(name);
            let mut found = Self::default();
            for survey in SURVEYS {
                for of in ["alerts", "alerts_cutouts", "alerts_aux"] {
                    let name = format!("{}_{of}", survey.name);
                    let collection = database.collection::<Document>(&name);
                    let mut cursor = collection.find(Document::new()).await.expect("MongoDB answers");
                    while cursor.advance().await.expect("MongoDB answers") {
                        found.take(&name, cursor.deserialize_current().expect("a document is BSON"));
                    }
                }
            }
            found
        })
    }
}

/// The names in `properties`. Their values come of the light curve: an alert that is delivered again after a kill may see points that its
/// successors, which were stored before the kill, brought of the same times, with other last digits.
fn names(properties: Option<&bson::Bson>) -> Option<Vec<&String>> {
    Some(properties?.as_document()?.keys().collect())
}

/// Panics unless both hold the same documents, each of them whole.
#[track_caller]
pub fn assert_complete(expected: &Documents, found: &Documents) {
    for (key, wanted) in &expected.whole {
        let found = found.whole.get(key).unwrap_or_else(|| panic!("not stored: {key:?}"));
        // Bytes, since what is no number is not equal to itself.
        let of = |value: Option<&bson::Bson>| {
            let mut document = Document::new();
            document.extend(value.map(|value| ("value".to_owned(), value.clone())));
            document.to_vec().expect("a document has bytes")
        };
        for name in wanted.keys().chain(found.keys()) {
            let (wanted, found) = (wanted.get(name), found.get(name));
            if name == NOVELTY && wanted.is_none() {
                assert_eq!(found.and_then(bson::Bson::as_i32), Some(NOVEL), "{name} of {key:?} is kept");
                continue;
            }
            if name == "properties" {
                assert_eq!(names(wanted), names(found), "properties of {key:?}");
                continue;
            }
            assert!(of(wanted) == of(found), "{name} of {key:?} is not {wanted:?} but {found:?}");
        }
    }
    for (key, wanted) in &expected.cutouts {
        assert!(found.cutouts.get(key) == Some(wanted), "the cutouts of {key:?} are others, or none");
    }
    let of = |documents: &Documents| (documents.whole.len(), documents.cutouts.len());
    assert_eq!(of(found), of(expected), "documents, cutouts: there are more than those of the night");
}
