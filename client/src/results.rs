//! What passes the filters, as subscribers receive it: typed alerts from a topic of results, committed ones only.
//!
//! A result is in Avro's single-object encoding: two bytes of mark, the schema's CRC-64-AVRO fingerprint, the datum. The schema is
//! `result.avsc`, which nodes write with; a record of another one is an error that names it, never a guess.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use boom_plan::orders::Start;
use futures_util::stream::{Stream, unfold};
use serde::{Deserialize, Deserializer, Serialize};

pub use crate::records::ReaderConfig;
use crate::records::{self, Record, Records};

/// The Avro schema of results.
pub static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse_str(include_str!("result.avsc")).expect("the schema of results is Avro"));

/// How a single object begins.
pub const MARK: [u8; 2] = [0xc3, 0x01];

/// The mark with the fingerprint.
const HEADER: usize = 10;

static FINGERPRINT: LazyLock<[u8; 8]> = LazyLock::new(|| {
    let bytes = SCHEMA.fingerprint::<Rabin>().bytes;
    bytes.try_into().expect("a CRC-64 has eight bytes")
});

static DATUM: LazyLock<GenericDatumReader<'static>> =
    LazyLock::new(|| GenericDatumReader::builder(&SCHEMA).build().expect("the schema of results resolves"));

/// An alert that passed one filter or more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "result")]
pub struct Alert {
    /// Its id.
    pub candid: i64,
    /// Its object.
    #[serde(rename = "objectId")]
    pub object_id: String,
    /// Time of the detection, Julian date (UTC).
    pub jd: f64,
    /// Right ascension, degrees.
    pub ra: f64,
    /// Declination, degrees.
    pub dec: f64,
    /// Its survey.
    pub survey: String,
    /// The filters that it passed.
    #[serde(rename = "filters")]
    pub passed: Vec<Passed>,
    /// Scores of the classifiers.
    pub classifications: Vec<Classification>,
    /// Derived properties.
    #[serde(deserialize_with = "json")]
    pub properties: serde_json::Value,
    /// The light curve, as far as the filters may see it.
    pub photometry: Vec<Point>,
    /// The new image, as received.
    #[serde(rename = "cutoutScience", with = "apache_avro::serde::bytes_opt")]
    pub cutout_science: Option<Vec<u8>>,
    /// The reference image, as received.
    #[serde(rename = "cutoutTemplate", with = "apache_avro::serde::bytes_opt")]
    pub cutout_template: Option<Vec<u8>>,
    /// Science minus template, as received.
    #[serde(rename = "cutoutDifference", with = "apache_avro::serde::bytes_opt")]
    pub cutout_difference: Option<Vec<u8>>,
    /// The same object in other surveys.
    pub survey_matches: BTreeMap<String, Vec<SurveyMatch>>,
    /// What made this.
    pub provenance: Provenance,
}

/// A filter that an alert passed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "passed")]
pub struct Passed {
    /// `name@version`.
    pub filter_id: String,
    /// Its name.
    #[serde(rename = "filter_name")]
    pub filter: String,
    /// Its version, the hash of its content.
    #[serde(rename = "filter_version")]
    pub version: String,
    /// When, Julian date (UTC).
    pub passed_at: f64,
    /// What its pipeline annotates.
    #[serde(deserialize_with = "json")]
    pub annotations: serde_json::Value,
}

/// The score of a classifier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "classification")]
pub struct Classification {
    /// Its name.
    pub classifier: String,
    /// The score.
    pub score: f64,
}

/// A point of the light curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "point")]
pub struct Point {
    /// Julian date (UTC).
    pub jd: f64,
    /// Difference flux, nJy.
    pub flux: Option<f64>,
    /// nJy; of a non-detection the 1-sigma limit.
    pub flux_err: Option<f64>,
    /// Its band.
    pub band: String,
    /// The series of the object that it is of.
    pub origin: String,
    /// The access programme, where the survey has them.
    pub programid: Option<i32>,
    /// Its survey.
    pub survey: String,
    /// Right ascension, degrees.
    pub ra: Option<f64>,
    /// Declination, degrees.
    pub dec: Option<f64>,
}

/// The same object in another survey.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "survey_match")]
pub struct SurveyMatch {
    /// Its id there.
    #[serde(rename = "objectId")]
    pub object_id: String,
    /// Right ascension there, degrees.
    pub ra: f64,
    /// Declination there, degrees.
    pub dec: f64,
}

/// What made a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "provenance")]
pub struct Provenance {
    /// Version of the program.
    pub code: String,
    /// Models with their versions.
    pub models: BTreeMap<String, String>,
    /// Catalogs with their versions.
    pub catalogs: BTreeMap<String, String>,
}

/// Text that is JSON.
fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<serde_json::Value, D::Error> {
    let text = String::deserialize(deserializer)?;
    serde_json::from_str(&text).map_err(serde::de::Error::custom)
}

/// Why there is no next alert.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka.
    #[error(transparent)]
    Records(#[from] records::Error),
    /// A record that is no result.
    #[error("the record {place} is no result: {problem}; see whether the topic is one of results")]
    NoResult {
        /// Where.
        place: String,
        /// Why.
        problem: String,
    },
    /// A result in a schema that is not known.
    #[error(
        "the result {place} has the schema {found}, and this version knows {known}: use the boom-client of the nodes that write it"
    )]
    Schema {
        /// Where.
        place: String,
        /// Its fingerprint, CRC-64-AVRO.
        found: String,
        /// The one that is known.
        known: String,
    },
}

impl Error {
    /// Whether it may go by itself.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Records(error) if error.is_retryable())
    }
}

/// Whether a record looks like a result.
pub fn is_result(value: &[u8]) -> bool {
    value.starts_with(&MARK)
}

/// The alert of a record.
///
/// # Errors
/// It is none, or in a schema that is not known.
pub fn decode(record: &Record) -> Result<Alert, Error> {
    let wrong = |problem: String| Error::NoResult { place: record.place(), problem };
    let value = record.value.as_deref().unwrap_or_default();
    if value.len() < HEADER || !is_result(value) {
        return Err(wrong("it does not begin as Avro's single objects do".to_owned()));
    }
    let (header, mut datum) = value.split_at(HEADER);
    if header[MARK.len()..] != *FINGERPRINT {
        let (found, known) = (hex(&header[MARK.len()..]), hex(&*FINGERPRINT));
        return Err(Error::Schema { place: record.place(), found, known });
    }
    DATUM.read_deser(&mut datum).map_err(|error| wrong(error.to_string()))
}

/// A fingerprint as it is usually written, the highest byte first.
fn hex(fingerprint: &[u8]) -> String {
    fingerprint.iter().rev().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads results.
#[derive(Debug)]
pub struct Reader {
    records: Records,
}

impl Reader {
    /// Begins to read.
    ///
    /// # Errors
    /// Kafka does not answer, or has no such topic.
    pub async fn open(config: ReaderConfig) -> Result<Self, Error> {
        Ok(Self { records: Records::open(config).await? })
    }

    /// The next alert; waits for one. One that can not be read is an error, and the reader then goes on behind it.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn next(&mut self) -> Result<Alert, Error> {
        decode(&self.records.next().await?)
    }

    /// The alerts as a stream that does not end.
    pub fn alerts(&mut self) -> impl Stream<Item = Result<Alert, Error>> + Send + '_ {
        unfold(self, |reader| async move { Some((reader.next().await, reader)) })
    }

    /// All alerts that were given so far are done with: who comes back under the same group gets none of them.
    ///
    /// # Errors
    /// Kafka does not answer, or another reader has got the partitions in the meantime.
    pub async fn commit(&self) -> Result<(), Error> {
        Ok(self.records.commit().await?)
    }
}

/// A configuration without a group, from the oldest record on.
impl ReaderConfig {
    /// All that is in the topic, and then what comes.
    pub fn new(connection: crate::kafka::Connection, topic: &str) -> Self {
        Self { connection, topic: topic.to_owned(), group: None, from: Start::Earliest }
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::GenericSingleObjectWriter;
    use apache_avro::types::Value;

    use super::*;

    fn written(alert: &Alert) -> Vec<u8> {
        // Written as a node writes: JSON is text.
        let text = |value: &serde_json::Value| Value::String(value.to_string());
        let mut value = apache_avro::to_value(alert).unwrap();
        let set = |value: &mut Value, name: &str, new: Value| {
            let Value::Record(fields) = value else { panic!("a record") };
            fields.iter_mut().find(|field| field.0 == name).unwrap().1 = new;
        };
        set(&mut value, "properties", text(&alert.properties));
        let Value::Record(fields) = &mut value else { panic!("a record") };
        let Value::Array(filters) = &mut fields.iter_mut().find(|field| field.0 == "filters").unwrap().1 else {
            panic!("an array")
        };
        for (filter, passed) in filters.iter_mut().zip(&alert.passed) {
            set(filter, "annotations", text(&passed.annotations));
        }
        let value = value.resolve(&SCHEMA).unwrap();
        let mut writer = GenericSingleObjectWriter::new_with_capacity(&SCHEMA, 64).unwrap();
        let mut bytes = Vec::new();
        writer.write_value(value, &mut bytes).unwrap();
        bytes
    }

    fn alert() -> Alert {
        let passed = Passed {
            filter_id: "young@ab".to_owned(),
            filter: "young".to_owned(),
            version: "ab".to_owned(),
            passed_at: 2_461_000.5,
            annotations: serde_json::json!({"mag": 18.25}),
        };
        let point =
            Point { jd: 2_461_000.25, flux: Some(9.5), band: "g".to_owned(), programid: Some(1), ..Point::default() };
        let other = SurveyMatch { object_id: "1".to_owned(), ra: 1.0, dec: 2.0 };
        Alert {
            candid: -7,
            object_id: "ZTF18abc".to_owned(),
            jd: 2_461_000.25,
            passed: vec![passed],
            classifications: vec![Classification { classifier: "braai".to_owned(), score: 0.5 }],
            properties: serde_json::json!({"rock": false}),
            photometry: vec![point],
            cutout_science: Some(vec![1, 2, 3]),
            survey_matches: BTreeMap::from([("LSST".to_owned(), vec![other])]),
            ..Alert::default()
        }
    }

    fn record(value: Vec<u8>) -> Record {
        Record { topic: "boom.results".to_owned(), partition: 3, offset: 17, value: Some(value), ..Record::default() }
    }

    #[test]
    fn an_alert_is_read_as_it_was_written() {
        assert_eq!(decode(&record(written(&alert()))).unwrap(), alert());
    }

    #[test]
    fn a_schema_that_is_not_known_is_named() {
        let mut bytes = written(&alert());
        bytes[2..10].copy_from_slice(&[0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]);
        let error = decode(&record(bytes)).unwrap_err().to_string();
        assert!(error.starts_with("the result boom.results/3@17 has the schema 0123456789abcdef"), "{error}");
    }

    #[test]
    fn what_is_no_result_is_said_with_its_place() {
        let mut cut = written(&alert());
        cut.truncate(40);
        for bytes in [vec![], b"Obj\x01".to_vec(), cut] {
            let error = decode(&record(bytes)).unwrap_err().to_string();
            assert!(error.starts_with("the record boom.results/3@17 is no result"), "{error}");
        }
    }
}
