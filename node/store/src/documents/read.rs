//! Reading what is committed, as the documents that users know: alerts, objects with their light curves, cutouts.

use std::sync::Arc;

use boom_sky::alert::{Origin, write_coordinates};
use boom_sky::document::{EMPTY, Writer};
use boom_sky::survey::{SURVEYS, Survey};
use bson::RawDocument;

use super::{Aliases, ObjectState, Store, StoreError, alert_key, object_key};

/// The origin that an alert document records.
pub(super) fn origin(alert: &[u8]) -> Result<Origin, StoreError> {
    let read = || {
        let origin = RawDocument::from_bytes(alert).ok()?.get_document("origin").ok()?;
        Some(Origin {
            source: Arc::from(origin.get_str("source").ok()?),
            partition: origin.get_i32("partition").ok()?,
            offset: origin.get_i64("offset").ok()?.cast_unsigned(),
            record: origin.get_i32("record").ok()?.cast_unsigned(),
        })
    };
    read().ok_or_else(|| StoreError::Damaged("an alert document without its origin".to_owned()))
}

impl Store {
    /// The alert documents of that id, one for each survey that has it.
    ///
    /// # Errors
    /// The disk fails.
    pub fn alerts(&self, candid: i64) -> Result<Vec<(&'static Survey, Vec<u8>)>, StoreError> {
        let found = SURVEYS.iter().map(|survey| {
            let document = self.get(&self.alerts, &alert_key(survey, candid))?;
            Ok(document.map(|document| (*survey, document.to_vec())))
        });
        found.filter_map(Result::transpose).collect()
    }

    /// The cutouts document of an alert.
    ///
    /// # Errors
    /// The disk fails.
    pub fn cutouts(&self, survey: &Survey, candid: i64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get(&self.cutouts, &alert_key(survey, candid))?.map(|document| document.to_vec()))
    }

    /// Position and light curve of an object.
    ///
    /// # Errors
    /// The disk fails, or what is stored is damaged.
    pub fn object(&self, survey: &Survey, object_id: &str) -> Result<Option<Arc<ObjectState>>, StoreError> {
        self.object_state(&self.pending(), &object_key(survey, object_id))
    }

    /// The ids of an object in other surveys.
    ///
    /// # Errors
    /// The disk fails, or what is stored is damaged.
    pub fn aliases(&self, survey: &Survey, object_id: &str) -> Result<Arc<Aliases>, StoreError> {
        self.aliases_of(&self.pending(), &object_key(survey, object_id))
    }

    /// The `{S}_alerts_aux` document of an object.
    ///
    /// # Errors
    /// The disk fails, or what is stored is damaged.
    pub fn aux(&self, survey: &Survey, object_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(object) = self.object(survey, object_id)? else {
            return Ok(None);
        };
        let matches = self.stored_matches(&object_key(survey, object_id))?;
        let aliases = self.aliases(survey, object_id)?;
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let root = writer.open_root();
        writer.string("_id", object_id);
        for (name, series) in survey.series.iter().zip(&object.series) {
            series.write_array(name, |_| true, &mut writer);
        }
        writer.document("cross_matches", matches.as_ref().map_or(&EMPTY, |matches| &matches.document));
        writer.document("aliases", &aliases.document());
        write_coordinates(object.ra, object.dec, &mut writer);
        writer.int32("version", 1);
        writer.close(root);
        Ok(Some(out))
    }
}
