//! Documents of real packets against extracts that an independent decoding gave: fastavro for the fields, and the formulas of the
//! surveys' documentation (AB fluxes in nanojansky, IAU SOFA for the galactic frame and for TAI) evaluated apart from this code.
//!
//! The packets are read from `$BOOM_SHARED`, or `shared` beside the repository; the extracts are in `golden/`.

#![allow(clippy::unwrap_used, reason = "in a test the panic is the message")]
#![allow(clippy::print_stderr, reason = "a test that is left out must say so")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use boom_sky::alert::Alert;
use boom_sky::document::Writer;
use boom_sky::lightcurve::Series;
use boom_sky::schema::Decoder;
use bson::{Bson, Document};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// Relative difference of two numbers that are the same.
const TOLERANCE: f64 = 1e-9;

/// Difference in days of two times that are the same: a microsecond and what a double holds of a Julian date.
const SAME_TIME: f64 = 2e-9;

/// The folder of the real packets; says loudly that the test is left out when there is none.
fn shared(folder: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let root = std::env::var_os("BOOM_SHARED").map_or_else(beside, PathBuf::from);
    let found = root.join(folder);
    if found.is_dir() {
        return Some(root);
    }
    eprintln!("SKIPPED: {} is not here: BOOM_SHARED names the folder of the real packets", found.display());
    None
}

/// A decoder with the writer schemas of every version of LSST by their ids, where they are.
fn decoder(root: &Path) -> Decoder {
    let mut by_id = HashMap::new();
    for (version, id) in [("9.0", 900), ("10.0", 1000), ("11.0", 1100), ("11.1", 1101)] {
        let folder = root.join("schemas/lsst").join(version);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "avsc"));
        files.sort();
        by_id.insert(id, files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect());
    }
    Decoder::new(None, by_id, "the ids 900 to 1101 are known".to_owned(), 16 << 20)
}

fn one(decoder: &Decoder, packet: &[u8]) -> Alert {
    let mut alerts = decoder.decode(packet);
    assert_eq!(alerts.len(), 1);
    alerts.remove(0).unwrap()
}

fn document(encoded: &[u8]) -> Document {
    Document::from_reader(encoded).unwrap()
}

fn body(alert: &Alert) -> Document {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let root = writer.open_root();
    alert.write_body(&mut writer);
    writer.close(root);
    document(&bytes)
}

fn at<'d>(document: &'d Document, path: &str) -> Option<&'d Bson> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (document.get(first)?, rest) {
        (value, None) => Some(value),
        (Bson::Document(inner), Some(rest)) => at(inner, rest),
        _ => None,
    }
}

/// Whether a stored value is the expected one: numbers of the same kind, reals within the tolerance.
fn same(path: &str, stored: &Bson, expected: &Value) -> bool {
    match (stored, expected) {
        (Bson::Double(stored), Value::Number(number)) if number.is_f64() => {
            let expected = number.as_f64().unwrap();
            let time = path.ends_with("jd") || path.ends_with("jdstarthist");
            let allowed = if time { SAME_TIME } else { TOLERANCE * expected.abs() };
            (stored - expected).abs() <= allowed
        }
        (Bson::Int32(stored), Value::Number(number)) => number.as_i64() == Some((*stored).into()),
        (Bson::Int64(stored), Value::Number(number)) => number.as_i64() == Some(*stored),
        (Bson::String(stored), Value::String(expected)) => stored == expected,
        (Bson::Boolean(stored), Value::Bool(expected)) => stored == expected,
        (Bson::Array(stored), Value::Array(expected)) => {
            stored.len() == expected.len() && stored.iter().zip(expected).all(|(s, e)| same(path, s, e))
        }
        _ => false,
    }
}

fn compare(what: &str, stored: &Document, expected: &Value, wrong: &mut Vec<String>) {
    for (path, expected) in expected.as_object().unwrap() {
        match at(stored, path) {
            Some(found) if same(path, found, expected) => {}
            found => wrong.push(format!("{what} {path}: {found:?}, where {expected} is expected")),
        }
    }
}

fn compare_series(name: &str, series: &Series, expected: &Value, wrong: &mut Vec<String>) {
    let points: Vec<Document> = series.iter().map(|point| document(point.document)).collect();
    if expected["count"].as_u64() != Some(points.len() as u64) {
        wrong.push(format!("{name}: {} points, where {} are expected", points.len(), expected["count"]));
    }
    for (place, point) in [("first", points.first()), ("last", points.last())] {
        if let (Some(point), Some(expected)) = (point, expected.get(place)) {
            compare(&format!("{name} {place}"), point, expected, wrong);
        }
    }
    let heads: Vec<_> = series.iter().map(|point| point.head).collect();
    for (head, point) in heads.iter().zip(&points) {
        let stored = |field: &str| point.get_f64(field).unwrap_or(f64::NAN);
        let numbers = [(head.jd, "jd"), (head.flux, "psfFlux"), (head.flux_error, "psfFluxErr"), (head.ra, "ra")];
        for (number, field) in numbers {
            if number != stored(field) && !(number.is_nan() && stored(field).is_nan()) {
                wrong.push(format!("{name}: the head's {field} is {number}, the document's {}", stored(field)));
            }
        }
        if point.get("band") != Some(&Bson::from(head.band.as_str())) {
            wrong.push(format!("{name}: the head's band is {}, the document's {:?}", head.band, point.get("band")));
        }
    }
}

fn differences(alert: &Alert, case: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let body = body(alert);
    if alert.survey.name != case["survey"]
        || Some(alert.candid) != case["candid"].as_i64()
        || alert.object_id != case["objectId"]
        || body.get("_id") != Some(&Bson::Int64(alert.candid))
        || body.get("objectId") != Some(&Bson::from(&*alert.object_id))
    {
        wrong.push(format!("it is {} {} {}", alert.survey.name, alert.candid, alert.object_id));
    }
    compare("document", &body, &case["document"], &mut wrong);
    for path in case["absent"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()) {
        if let Some(found) = at(&body, path) {
            wrong.push(format!("document {path}: {found:?}, where nothing is expected"));
        }
    }
    for (name, series) in alert.survey.series.iter().zip(&alert.series) {
        compare_series(name, series, &case["series"][name], &mut wrong);
    }
    for (name, stamp) in alert.cutouts.named() {
        let expected = &case["cutouts"][name];
        let hash = format!("{:016x}", xxh3_64(stamp));
        if expected["length"].as_u64() != Some(stamp.len() as u64) || expected["xxh3"] != hash {
            wrong.push(format!("{name}: {} bytes of hash {hash}, where {expected} is expected", stamp.len()));
        }
    }
    wrong
}

/// Decodes every packet of an extract and compares.
fn check(extract: &str) {
    let cases: Vec<Value> = serde_json::from_str(extract).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let packet = case["packet"].as_str().unwrap();
        let Some(root) = shared(packet.rsplit_once('/').unwrap().0) else { return };
        let alert = one(&decoder(&root), &std::fs::read(root.join(packet)).unwrap());
        wrong.extend(differences(&alert, case).into_iter().map(|line| format!("{packet}: {line}")));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn ztf_packets_give_the_documents_of_an_independent_decoding() {
    check(include_str!("golden/ztf.json"));
}

#[test]
fn lsst_packets_of_four_versions_and_both_framings_give_the_documents_of_an_independent_decoding() {
    check(include_str!("golden/lsst.json"));
}

#[test]
fn the_decam_packet_gives_the_documents_of_an_independent_decoding() {
    check(include_str!("golden/decam.json"));
}

#[test]
fn winter_packets_with_their_repaired_schema_give_the_documents_of_an_independent_decoding() {
    check(include_str!("golden/winter.json"));
}

#[test]
fn every_real_packet_is_an_alert_whose_documents_hold_no_null() {
    for folder in ["alerts/ztf", "alerts/winter", "alerts/decam", "alerts/lsst"] {
        let Some(root) = shared(folder) else { continue };
        let decoder = decoder(&root);
        let mut packets = 0;
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let alert = one(&decoder, &std::fs::read(entry.unwrap().path()).unwrap());
            no_null(&Bson::Document(body(&alert)));
            for point in alert.series.iter().flat_map(Series::iter) {
                no_null(&Bson::Document(document(point.document)));
            }
            packets += 1;
        }
        assert!(packets > 0, "{folder} holds no packet");
    }
}

fn no_null(value: &Bson) {
    match value {
        Bson::Null => panic!("a null is stored"),
        Bson::Double(number) => assert!(number.is_finite(), "{number} is stored"),
        Bson::Document(document) => document.values().for_each(no_null),
        Bson::Array(items) => items.iter().for_each(no_null),
        _ => {}
    }
}

#[test]
fn a_confluent_packet_of_an_unknown_id_is_an_error_that_names_the_id_and_what_is_known() {
    let Some(root) = shared("schemas/lsst") else { return };
    let packet = [&[0][..], &1234u32.to_be_bytes(), &[0; 64]].concat();
    let error = decoder(&root).decode(&packet).remove(0).unwrap_err().error;
    assert_eq!(error.reason(), "unknown_schema");
    assert!(error.to_string().contains("1234") && error.to_string().contains("900 to 1101"), "{error}");
}
