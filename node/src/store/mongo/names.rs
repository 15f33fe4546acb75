//! The names of collections, and of the fields that the store itself reads: the one place where they stand. What a document holds besides is
//! the matter of `boom_sky`.

use boom_sky::survey::Survey;

/// Alerts, by candid.
pub(super) fn alerts(survey: &Survey) -> String {
    format!("{}_alerts", survey.name)
}

/// Objects with their light curves, by objectId.
pub(super) fn objects(survey: &Survey) -> String {
    format!("{}_alerts_aux", survey.name)
}

/// How a collection of cutouts ends.
pub(super) const CUTOUTS: &str = "_alerts_cutouts";

/// Cutouts, by candid.
pub(super) fn cutouts(survey: &Survey) -> String {
    format!("{}{CUTOUTS}", survey.name)
}

/// Which delivery of a candid was the first, by candid.
pub(super) fn claims(survey: &Survey) -> String {
    format!("{}_alerts_claims", survey.name)
}

/// Filters, of all surveys.
pub(super) const FILTERS: &str = "filters";

/// What of an object is the store's own.
pub(super) const OWN: &str = "boom";
/// In it: counts the changes of the light curve.
pub(super) const REVISION: &str = "boom.revision";
/// In it: the HEALPix cell in which the object lies.
pub(super) const CELL: &str = "boom.cell";
/// In it: the version of the catalogs behind `cross_matches`.
pub(super) const MATCHED: &str = "boom.matched";

/// The indexes of a collection: name, key.
pub(super) fn indexes(survey: &Survey) -> [(String, &'static [(&'static str, &'static str)]); 4] {
    [
        (alerts(survey), &[("coordinates.radec_geojson", "2dsphere"), ("objectId", ""), ("candidate.jd", "")]),
        (objects(survey), &[("coordinates.radec_geojson", "2dsphere"), (CELL, "")]),
        (cutouts(survey), &[]),
        (claims(survey), &[]),
    ]
}
