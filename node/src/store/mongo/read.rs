//! Reading what is stored, as the documents that users know: alerts, objects with their light curves, cutouts.

use std::sync::Arc;

use boom_sky::document::Writer;
use boom_sky::survey::{SURVEYS, Survey};
use boom_store::documents::ObjectState;

use super::call::Connection;
use super::command::find;
use super::{Error, MongoDb, names, object};

/// The one document that a filter finds.
pub(super) async fn one(
    connection: &Connection,
    collection: &str,
    filter: impl FnOnce(&mut Writer<'_>),
) -> Result<Option<Vec<u8>>, Error> {
    let query = find(collection, filter, &[], None);
    let found = connection.find("reading a document", &query).await?;
    Ok(found.into_iter().next().map(|document| document.as_bytes().to_vec()))
}

impl MongoDb {
    /// The alert documents of that id, one for each survey that has it.
    ///
    /// # Errors
    /// MongoDB refuses the query, or it is to stop.
    pub async fn alerts(&self, candid: i64) -> Result<Vec<(&'static Survey, Vec<u8>)>, Error> {
        let mut found = Vec::new();
        for survey in SURVEYS {
            let by_id = |writer: &mut Writer<'_>| writer.int64("_id", candid);
            let alert = one(&self.0.connection, &names::alerts(survey), by_id).await?;
            found.extend(alert.map(|alert| (*survey, alert)));
        }
        Ok(found)
    }

    /// The cutouts document of an alert.
    ///
    /// # Errors
    /// As [`Self::alerts`].
    pub async fn cutouts(&self, survey: &Survey, candid: i64) -> Result<Option<Vec<u8>>, Error> {
        self.0.shelf.read(&self.0.connection, survey, candid).await
    }

    /// The `{S}_alerts_aux` document of an object, with what under `boom` is the store's own.
    ///
    /// # Errors
    /// As [`Self::alerts`].
    pub async fn aux(&self, survey: &Survey, object_id: &str) -> Result<Option<Vec<u8>>, Error> {
        one(&self.0.connection, &names::objects(survey), |writer| writer.string("_id", object_id)).await
    }

    /// Position and light curve of an object.
    ///
    /// # Errors
    /// As [`Self::alerts`].
    pub async fn object(&self, survey: &Survey, object_id: &str) -> Result<Option<Arc<ObjectState>>, Error> {
        let found = self.aux(survey, object_id).await?;
        let found = found.as_deref().and_then(|bytes| bson::RawDocument::from_bytes(bytes).ok());
        Ok(found.map(|found| object::read(survey, found, (f64::NAN, f64::NAN)).state))
    }
}
