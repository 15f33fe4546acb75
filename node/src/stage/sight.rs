//! What permissions leave of an alert's document. Where they cut the light curve, the properties that are made of it are made again of
//! the points that are left: a peak magnitude is a point's.

use boom_sky::document::{Writer, elements};
use boom_sky::lightcurve::Series;
use boom_sky::survey::Survey;
use boom_store::documents::Ingested;
use bson::RawDocument;

use super::Received;
use super::enrich::Enriched;
use super::features::{OF_LIGHT_CURVE, PhotScratch, write_light_curve};
use super::filter::Group;

/// The field of the alert's document that holds what is derived.
const PROPERTIES: &str = "properties";

/// What the filters of a group see of one alert's properties.
#[derive(Debug)]
pub(super) struct Sight {
    /// In place of those in the document, where a point is not for them to see.
    cut: Option<Vec<u8>>,
}

impl Sight {
    /// What the group sees of an alert.
    pub(super) fn new(
        group: &Group,
        received: &Received,
        ingested: &Ingested,
        enriched: &Enriched,
        scratch: &mut PhotScratch,
    ) -> Self {
        let alert = &received.alert;
        let sees = |survey: &Survey, series: &[Series]| {
            survey.access.is_none()
                || series.iter().flat_map(Series::iter).all(|point| group.may_see(survey, point.head.program))
        };
        let others = || ingested.alias_objects.iter();
        if sees(alert.survey, &ingested.object.series) && others().all(|other| sees(other.survey, &other.state.series))
        {
            return Self { cut: None };
        }
        let own = left(group, alert.survey, &ingested.object.series);
        let others: Vec<_> = others().map(|other| left(group, other.survey, &other.state.series)).collect();
        let mut cut = Vec::new();
        let mut writer = Writer::new(&mut cut);
        let root = writer.open_root();
        if let Some(whole) = properties(&enriched.document) {
            copy(whole, &mut writer, |name, _| OF_LIGHT_CURVE.contains(&name));
        }
        write_light_curve(&own, others.iter().map(Vec::as_slice), &alert.head, &mut writer, scratch);
        writer.close(root);
        Self { cut: Some(cut) }
    }

    /// Writes the elements of an alert's document as they are seen.
    pub(super) fn write(&self, document: &[u8], writer: &mut Writer<'_>) {
        match (&self.cut, RawDocument::from_bytes(document)) {
            (Some(cut), Ok(document)) => copy(document, writer, |name, writer| {
                let replaced = name == PROPERTIES;
                if replaced {
                    writer.document(PROPERTIES, cut);
                }
                replaced
            }),
            _ => writer.elements_of(document),
        }
    }

    /// The properties as they are seen.
    pub(super) fn properties(&self, document: &[u8]) -> bson::Document {
        let seen = match &self.cut {
            Some(cut) => RawDocument::from_bytes(cut).ok(),
            None => properties(document),
        };
        seen.and_then(|seen| bson::Document::try_from(seen).ok()).unwrap_or_default()
    }
}

/// The points that the group sees.
fn left(group: &Group, survey: &Survey, series: &[Series]) -> Vec<Series> {
    let of_one = |all: &Series| {
        let mut left = Series::default();
        for point in all.iter().filter(|point| group.may_see(survey, point.head.program)) {
            left.push(&point.head, point.document);
        }
        left
    };
    series.iter().map(of_one).collect()
}

fn properties(document: &[u8]) -> Option<&RawDocument> {
    RawDocument::from_bytes(document).ok()?.get_document(PROPERTIES).ok()
}

/// Copies the elements of a document, in their order, but those that `instead` has dealt with.
fn copy(document: &RawDocument, writer: &mut Writer<'_>, instead: impl Fn(&str, &mut Writer<'_>) -> bool) {
    let mut rest = elements(document.as_bytes());
    for element in document.iter_elements() {
        let element = element.expect("the document's own writer ends what it begins");
        let name = element.key().as_str();
        // Type byte, name, nought, value.
        let (own, behind) = rest.split_at(2 + name.len() + element.size());
        if !instead(name, writer) {
            writer.buffer().extend_from_slice(own);
        }
        rest = behind;
    }
}
