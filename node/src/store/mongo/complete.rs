//! The documents of a batch that enrichment completes: alerts, cutouts, matches. An alert's document appears here, and is whole.
//!
//! Inserted is first; an alert that was there already, from a delivery that was not finished, is written over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use boom_sky::document::{Writer, tag};
use boom_sky::survey::Survey;
use boom_store::documents::{Complete, Matches};

use super::claim::among;
use super::command::{Kind, document, find};
use super::{Error, Inner, names};

/// How long it may take until the majority has what one server has.
const SOON: Duration = Duration::from_millis(5);

/// What is to be stored of one survey.
#[derive(Debug, Default)]
struct Documents {
    alerts: Numbered,
    cutouts: Numbered,
    matches: HashMap<String, Arc<Matches>>,
}

/// Documents with their ids.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    pub(super) candids: Vec<i64>,
    pub(super) documents: Vec<Vec<u8>>,
}

impl Numbered {
    fn push(&mut self, candid: i64, document: Vec<u8>) {
        self.candids.push(candid);
        self.documents.push(document);
    }
}

impl Inner {
    pub(super) async fn complete(&self, batch: Vec<(&'static Survey, Complete)>) -> Result<(), Error> {
        let mut surveys: Vec<(&'static Survey, Documents)> = Vec::new();
        for (survey, document) in batch {
            if !surveys.iter().any(|known| known.0.name == survey.name) {
                surveys.push((survey, Documents::default()));
            }
            let known = surveys.iter_mut().find(|known| known.0.name == survey.name);
            let documents = &mut known.expect("it was pushed if it was not there").1;
            match document {
                Complete::Alert(candid, bytes) => documents.alerts.push(candid, bytes),
                Complete::Cutouts(candid, bytes) => documents.cutouts.push(candid, bytes),
                Complete::Matches(object_id, matches) => drop(documents.matches.insert(object_id, matches)),
            }
        }
        for (survey, documents) in surveys {
            tokio::try_join!(
                self.complete_alerts(survey, &documents.alerts),
                self.shelf.store(self, survey, documents.cutouts),
                self.complete_matches(survey, &documents.matches),
            )?;
        }
        Ok(())
    }

    async fn complete_alerts(&self, survey: &Survey, alerts: &Numbered) -> Result<(), Error> {
        let collection = names::alerts(survey);
        let written = self.connection.write(Kind::Insert, &collection, &alerts.documents).await?;
        let again = written.duplicates.iter().map(|at| replacement(alerts.candids[*at], &alerts.documents[*at]));
        let again: Vec<_> = again.collect();
        let replaced = self.connection.write(Kind::Update, &collection, &again).await?;
        for at in written.too_large.into_iter().chain(replaced.too_large.iter().map(|at| written.duplicates[*at])) {
            self.refuse(&collection, &alerts.candids[at].to_string());
        }
        Ok(())
    }

    async fn complete_matches(&self, survey: &Survey, matches: &HashMap<String, Arc<Matches>>) -> Result<(), Error> {
        let collection = names::objects(survey);
        let (ids, statements): (Vec<_>, Vec<_>) =
            matches.iter().map(|(id, matches)| (id, matched(id, matches))).unzip();
        let written = self.connection.write(Kind::Update, &collection, &statements).await?;
        for at in written.too_large {
            self.refuse(&collection, ids[at]);
        }
        let mut cache = self.cache();
        for (id, matches) in matches {
            cache.change(&(survey.name, id.clone()), |stored| stored.matches = Some(Arc::clone(matches)));
        }
        Ok(())
    }

    /// Inserts documents that never change.
    pub(super) async fn insert_once(&self, collection: &str, documents: &Numbered) -> Result<(), Error> {
        let connection = &self.connection;
        let written = connection.write(Kind::Insert, collection, &documents.documents).await?;
        written.too_large.iter().for_each(|at| self.refuse(collection, &documents.candids[*at].to_string()));
        let there: Vec<i64> = written.duplicates.iter().map(|at| documents.candids[*at]).collect();
        if there.is_empty() {
            return Ok(());
        }
        // What somebody else has just written counts when the majority has it.
        loop {
            let query = find(collection, |writer| among(there.iter().copied(), writer), &[("_id", 1)], None);
            if connection.find("reading what is stored", &query).await?.len() == there.len() {
                return Ok(());
            }
            connection.pause(SOON).await?;
        }
    }
}

/// The statement that writes an alert over, all but the time at which it was first made.
fn replacement(candid: i64, alert: &[u8]) -> Vec<u8> {
    document(|writer| {
        let query = writer.open_document("q");
        writer.int64("_id", candid);
        writer.close(query);
        let pipeline = writer.open_array("u");
        writer.index(tag::DOCUMENT, 0);
        let stage = writer.open_root();
        let with = writer.open_document("$replaceWith");
        let merged = writer.open_array("$mergeObjects");
        writer.index(tag::DOCUMENT, 0);
        let new = writer.open_root();
        writer.document("$literal", alert);
        writer.close(new);
        writer.index(tag::DOCUMENT, 1);
        first_made(writer);
        writer.close(merged);
        writer.close(with);
        writer.close(stage);
        writer.close(pipeline);
    })
}

fn first_made(writer: &mut Writer<'_>) {
    let old = writer.open_root();
    let made = writer.open_document("created_at");
    let known = writer.open_array("$ifNull");
    for (index, value) in ["$created_at", "$$REMOVE"].into_iter().enumerate() {
        writer.index(tag::STRING, index);
        writer.string_body(value);
    }
    writer.close(known);
    writer.close(made);
    writer.close(old);
}

/// The statement that gives an object what the catalogs say.
fn matched(object_id: &str, matches: &Matches) -> Vec<u8> {
    document(|writer| {
        let query = writer.open_document("q");
        writer.string("_id", object_id);
        writer.close(query);
        let update = writer.open_document("u");
        let set = writer.open_document("$set");
        writer.document("cross_matches", &matches.document);
        writer.int64(names::MATCHED, matches.version.cast_signed());
        writer.close(set);
        writer.close(update);
    })
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    #[test]
    fn an_alert_that_is_written_over_keeps_when_it_was_made() {
        let alert = document(|writer| writer.double("created_at", 2.0));
        let statement = Document::from_reader(replacement(7, &alert).as_slice()).unwrap();
        let merged = doc! {"$mergeObjects": [
            {"$literal": {"created_at": 2.0}}, {"created_at": {"$ifNull": ["$created_at", "$$REMOVE"]}},
        ]};
        assert_eq!(statement, doc! {"q": {"_id": 7_i64}, "u": [{"$replaceWith": merged}]});
    }
}
