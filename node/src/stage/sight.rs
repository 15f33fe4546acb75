//! What permissions leave of an alert's own document. Where they cut the light curve, the properties that are made of it are made again of
//! the points that are left: a peak magnitude is a point's.

use boom_sky::document::{Writer, elements};
use boom_sky::lightcurve::Series;
use boom_sky::properties::{LightCurves, OF_LIGHT_CURVES, Scratch};
use boom_sky::survey::Survey;
use boom_store::documents::Ingested;
use bson::RawDocument;

use super::Received;
use super::enrich::Enriched;
use super::filter::Group;

/// The field of the alert's document that holds what is derived.
const PROPERTIES: &str = "properties";

/// What the filters of a group see of one alert's document.
#[derive(Debug)]
pub(super) struct Sight {
    /// In place of the document, where a point is not for them to see.
    cut: Option<Vec<u8>>,
}

impl Sight {
    /// What the group sees of an alert.
    pub(super) fn new(
        group: &Group,
        received: &Received,
        ingested: &Ingested,
        enriched: &Enriched,
        scratch: &mut Scratch,
    ) -> Self {
        let alert = &received.alert;
        let curves = || {
            let others = ingested.alias_objects.iter().map(|other| (other.survey, other.state.series.as_slice()));
            std::iter::once((alert.survey, ingested.object.series.as_slice())).chain(others)
        };
        let sees_all = |(survey, all): (&Survey, &[Series])| {
            survey.access.is_none()
                || all.iter().flat_map(Series::iter).all(|point| group.may_see(survey, point.head.program))
        };
        if curves().all(sees_all) {
            return Self { cut: None };
        }
        let left = |(survey, all): (&Survey, &[Series])| -> Vec<Series> {
            all.iter().map(|series| series.only(|point| group.may_see(survey, point.program))).collect()
        };
        let left: Vec<Vec<Series>> = curves().map(left).collect();
        let left: Vec<&[Series]> = left.iter().map(Vec::as_slice).collect();
        let left = LightCurves { own: left[0], others: &left[1..] };
        let mut cut = Vec::with_capacity(enriched.document.len());
        let mut writer = Writer::new(&mut cut);
        let root = writer.open_root();
        copy(&enriched.document, &mut writer, |name, value, writer| {
            let replaced = name == PROPERTIES;
            if replaced {
                let properties = writer.open_document(PROPERTIES);
                copy(value, writer, |name, _, _| OF_LIGHT_CURVES.contains(&name));
                left.write(&alert.head, scratch, writer);
                writer.close(properties);
            }
            replaced
        });
        writer.close(root);
        Self { cut: Some(cut) }
    }

    /// The alert's document as it is seen.
    pub(super) fn document<'a>(&'a self, enriched: &'a Enriched) -> &'a [u8] {
        self.cut.as_deref().unwrap_or(&enriched.document)
    }
}

/// Copies the elements of a document, in their order, but those that `instead` (their name and the bytes of their value) has dealt with.
fn copy(document: &[u8], writer: &mut Writer<'_>, mut instead: impl FnMut(&str, &[u8], &mut Writer<'_>) -> bool) {
    let mut rest = elements(document);
    let document = RawDocument::from_bytes(document).expect("the document's own writer ends what it begins");
    for element in document.iter_elements() {
        let element = element.expect("the document's own writer ends what it begins");
        let name = element.key().as_str();
        // Type byte, name, nought, value.
        let (own, behind) = rest.split_at(2 + name.len() + element.size());
        if !instead(name, &own[2 + name.len()..], writer) {
            writer.buffer().extend_from_slice(own);
        }
        rest = behind;
    }
}
