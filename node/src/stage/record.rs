//! The record of an alert that passes, and its two encodings: Avro for subscribers, one JSON line per filter for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::GenericSingleObjectWriter;
use apache_avro::types::Value;
pub use boom_client::results::SCHEMA;
use boom_sky::alert::Cutouts;
use boom_sky::lightcurve::PointHead;
use bson::{Bson, RawDocument};

use super::filter::Filter;

/// So many bytes may a result have as Avro: a topic takes no more, with what is around it.
pub const MAX_BYTES: usize = 15 << 20;

/// An alert with the filters that it passed.
#[derive(Debug, Clone)]
pub struct ResultRecord {
    /// The alert's id.
    pub candid: i64,
    /// Its object.
    pub object_id: String,
    /// Its survey.
    pub survey: &'static str,
    /// Time and position.
    pub head: PointHead,
    /// The filters, with what they annotate.
    pub passed: Vec<Passed>,
    /// Classifier scores.
    pub scores: Vec<(Arc<str>, f32)>,
    /// Derived properties.
    pub properties: bson::Document,
    /// The light curve as far as the filters may see it.
    pub photometry: Vec<PhotometryPoint>,
    /// The object in other surveys.
    pub survey_matches: Vec<SurveyMatch>,
    /// The stamps.
    pub cutouts: Cutouts,
}

/// A filter that the alert passed.
#[derive(Debug, Clone)]
pub struct Passed {
    /// The filter's name.
    pub name: Arc<str>,
    /// The filter's version.
    pub version: Arc<str>,
    /// When, JD.
    pub passed_at: f64,
    /// What the subscriber receives.
    pub annotations: bson::Document,
}

/// A point of the light curve in a result.
#[derive(Debug, Clone, Copy)]
pub struct PhotometryPoint {
    /// The survey.
    pub survey: &'static str,
    /// The series that it is of.
    pub origin: &'static str,
    /// Its numbers.
    pub head: PointHead,
    /// Whether the survey has access programmes.
    pub has_programs: bool,
}

/// The same object in another survey.
#[derive(Debug, Clone)]
pub struct SurveyMatch {
    /// The other survey.
    pub survey: &'static str,
    /// Its id there.
    pub object_id: String,
    /// Right ascension there, degrees.
    pub ra: f64,
    /// Declination there, degrees.
    pub dec: f64,
}

impl Passed {
    /// Of a filter and the document that its pipeline gave.
    pub fn new(filter: &Filter, document: &RawDocument, passed_at: f64) -> Self {
        let annotations = document.get_document("annotations").ok();
        let annotations = annotations.and_then(|annotations| bson::Document::try_from(annotations).ok());
        Self::with(filter, annotations.unwrap_or_default(), passed_at)
    }

    /// Of a filter and what it annotates.
    pub fn with(filter: &Filter, annotations: bson::Document, passed_at: f64) -> Self {
        let (name, version) = (Arc::clone(&filter.name), Arc::from(filter.version()));
        Self { name, version, passed_at, annotations }
    }
}

/// What made the results of a run: versions of the code, the models and the catalogs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Version of the program.
    pub code: String,
    /// Models by survey, with their versions.
    pub models: BTreeMap<String, Vec<(String, String)>>,
    /// Catalogs with their versions.
    pub catalogs: Vec<(String, String)>,
}

impl Provenance {
    fn models(&self, survey: &str) -> &[(String, String)] {
        self.models.get(survey).map_or(&[], Vec::as_slice)
    }
}

impl ResultRecord {
    /// Why no topic would take it, if so. Only what could be too large is encoded to know it.
    pub fn too_large(&self) -> Option<String> {
        let cutouts: usize = self.cutouts.named().iter().map(|stamp| stamp.1.len()).sum();
        let annotations: usize = self.passed.iter().map(|passed| as_bytes(&passed.annotations)).sum();
        let points = self.photometry.len() * std::mem::size_of::<PhotometryPoint>();
        // As text a document has more bytes than as BSON, though not eight times as many.
        let at_most = cutouts + 8 * (annotations + as_bytes(&self.properties)) + 2 * points;
        if at_most <= MAX_BYTES {
            return None;
        }
        let mut encoded = Vec::new();
        let writer = GenericSingleObjectWriter::new_with_capacity(&SCHEMA, 64);
        let wrote = writer.and_then(|mut to| to.write_value(self.avro(&Provenance::default()), &mut encoded));
        let bytes = match wrote {
            Ok(bytes) => bytes,
            Err(error) => return Some(format!("its result can not be encoded: {error}")),
        };
        (bytes > MAX_BYTES).then(|| {
            format!(
                "its result has {bytes} bytes, where one may have {MAX_BYTES}: the cutouts have {cutouts}, {} light-curve points {points}, and \
                 the annotations of {} filters {annotations}; let the filters annotate less",
                self.photometry.len(),
                self.passed.len(),
            )
        })
    }

    /// The record as Avro.
    pub fn avro(&self, provenance: &Provenance) -> Value {
        let text = |text: &str| Value::String(text.to_owned());
        let filters = self.passed.iter().map(|passed| {
            record([
                ("filter_id", Value::String(format!("{}@{}", passed.name, passed.version))),
                ("filter_name", text(&passed.name)),
                ("filter_version", text(&passed.version)),
                ("passed_at", Value::Double(passed.passed_at)),
                ("annotations", Value::String(relaxed(&passed.annotations).to_string())),
            ])
        });
        let classifications = self
            .scores
            .iter()
            .map(|(name, score)| record([("classifier", text(name)), ("score", Value::Double(f64::from(*score)))]));
        let mut matches: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for other in &self.survey_matches {
            let value = record([
                ("objectId", text(&other.object_id)),
                ("ra", Value::Double(other.ra)),
                ("dec", Value::Double(other.dec)),
            ]);
            matches.entry(other.survey.to_owned()).or_default().push(value);
        }
        let versions = |of: &[(String, String)]| Value::Map(of.iter().map(|(n, v)| (n.clone(), text(v))).collect());
        let stamp = |bytes: &[u8]| optional(1, (!bytes.is_empty()).then(|| Value::Bytes(bytes.to_vec())));
        record([
            ("candid", Value::Long(self.candid)),
            ("objectId", text(&self.object_id)),
            ("jd", Value::Double(self.head.jd)),
            ("ra", Value::Double(self.head.ra)),
            ("dec", Value::Double(self.head.dec)),
            ("survey", text(self.survey)),
            ("filters", Value::Array(filters.collect())),
            ("classifications", Value::Array(classifications.collect())),
            ("properties", Value::String(relaxed(&self.properties).to_string())),
            ("photometry", Value::Array(self.photometry.iter().map(PhotometryPoint::avro).collect())),
            ("cutoutScience", stamp(&self.cutouts.science)),
            ("cutoutTemplate", stamp(&self.cutouts.template)),
            ("cutoutDifference", stamp(&self.cutouts.difference)),
            ("survey_matches", Value::Map(matches.into_iter().map(|(name, of)| (name, Value::Array(of))).collect())),
            (
                "provenance",
                record([
                    ("code", text(&provenance.code)),
                    ("models", versions(provenance.models(self.survey))),
                    ("catalogs", versions(&provenance.catalogs)),
                ]),
            ),
        ])
    }

    /// One JSON line for each filter that the alert passed, without cutouts.
    pub fn json_lines(&self, provenance: &Provenance, out: &mut Vec<u8>) {
        let classifications: serde_json::Map<_, _> =
            self.scores.iter().map(|(name, score)| (name.to_string(), f64::from(*score).into())).collect();
        let versions = |of: &[(String, String)]| -> serde_json::Map<_, _> {
            of.iter().map(|(name, version)| (name.clone(), version.as_str().into())).collect()
        };
        for passed in &self.passed {
            let line = serde_json::json!({
                "candid": self.candid,
                "objectId": self.object_id,
                "survey": self.survey,
                "jd": self.head.jd,
                "ra": self.head.ra,
                "dec": self.head.dec,
                "filter": *passed.name,
                "filter_version": *passed.version,
                "annotations": relaxed(&passed.annotations),
                "classifications": classifications,
                "properties": relaxed(&self.properties),
                "provenance": {
                    "code": provenance.code,
                    "models": versions(provenance.models(self.survey)),
                    "catalogs": versions(&provenance.catalogs),
                },
            });
            out.extend_from_slice(line.to_string().as_bytes());
            out.push(b'\n');
        }
    }
}

impl PhotometryPoint {
    fn avro(&self) -> Value {
        let head = &self.head;
        let number = |value: f64| optional(1, value.is_finite().then_some(Value::Double(value)));
        record([
            ("jd", Value::Double(head.jd)),
            ("flux", number(head.flux)),
            ("flux_err", number(head.flux_error)),
            ("band", Value::String(head.band.as_str().to_owned())),
            ("origin", Value::String(self.origin.to_owned())),
            ("programid", optional(1, self.has_programs.then_some(Value::Int(head.program.into())))),
            ("survey", Value::String(self.survey.to_owned())),
            ("ra", number(head.ra)),
            ("dec", number(head.dec)),
        ])
    }
}

/// The bytes of a document as BSON.
fn as_bytes(document: &bson::Document) -> usize {
    document.to_vec().map_or(usize::MAX / 64, |bytes| bytes.len())
}

fn relaxed(document: &bson::Document) -> serde_json::Value {
    Bson::Document(document.clone()).into_relaxed_extjson()
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A value of a union whose first variant is null.
fn optional(variant: u32, value: Option<Value>) -> Value {
    match value {
        Some(value) => Value::Union(variant, Box::new(value)),
        None => Value::Union(0, Box::new(Value::Null)),
    }
}
