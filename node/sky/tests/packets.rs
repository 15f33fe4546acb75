//! Packets made here, right and wrong: required and unknown fields, nulls, positions that can not be, named types, codecs, and bytes
//! that are cut or changed. No real packet is needed.

#![allow(clippy::unwrap_used, reason = "in a test the panic is the message")]

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use boom_sky::alert::Alert;
use boom_sky::document::Writer;
use boom_sky::schema::{DecodeError, Decoder};
use boom_sky::units::Mag;
use bson::Document;
use proptest::prelude::*;
use serde_json::json;

const JD: f64 = 2_460_449.878_460_6;
const MAX_BYTES: usize = 1 << 20;

fn nullable(kind: &str) -> serde_json::Value {
    json!(["null", kind])
}

/// The fields of a detection or of an earlier one, as ZTF's schema 3.3 has them, but fewer.
fn measurement(earlier: bool) -> Vec<serde_json::Value> {
    let kind = |name: &str| if earlier { nullable(name) } else { json!(name) };
    vec![
        json!({"name": "jd", "type": "double"}),
        json!({"name": "fid", "type": "int"}),
        json!({"name": "diffmaglim", "type": nullable("float")}),
        json!({"name": "programid", "type": "int"}),
        json!({"name": "isdiffpos", "type": kind("string")}),
        json!({"name": "ra", "type": kind("double")}),
        json!({"name": "dec", "type": kind("double")}),
        json!({"name": "magpsf", "type": kind("float")}),
        json!({"name": "sigmapsf", "type": kind("float")}),
        json!({"name": "ssnamenr", "type": nullable("string")}),
    ]
}

/// A writer schema of ZTF 3.3: no `fp_hists`, earlier detections and non-detections in one nullable array.
fn schema_3_3() -> serde_json::Value {
    let candidate = json!({"type": "record", "name": "candidate", "fields": measurement(false)});
    let earlier = json!({"type": "record", "name": "prv_candidate", "fields": measurement(true)});
    let stamp = json!({"type": "record", "name": "cutout", "fields": [
        {"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}]});
    json!({"type": "record", "name": "alert", "namespace": "ztf", "fields": [
        {"name": "schemavsn", "type": "string"},
        {"name": "objectId", "type": "string"},
        {"name": "candid", "type": "long"},
        {"name": "candidate", "type": candidate},
        {"name": "prv_candidates", "type": ["null", {"type": "array", "items": earlier}]},
        {"name": "cutoutScience", "type": ["null", stamp]},
        {"name": "cutoutTemplate", "type": ["null", "ztf.cutout"]},
        {"name": "cutoutDifference", "type": ["null", "ztf.cutout"]},
    ]})
}

fn some(position: u32, value: Value) -> Value {
    Value::Union(position, Box::new(value))
}

fn null() -> Value {
    some(0, Value::Null)
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A detection of magnitude 18 with an error of 0.1, in g, below the template.
fn detection(jd: f64, ra: f64, dec: f64) -> Value {
    record(vec![
        ("jd", Value::Double(jd)),
        ("fid", Value::Int(1)),
        ("diffmaglim", some(1, Value::Float(20.5))),
        ("programid", Value::Int(2)),
        ("isdiffpos", Value::String("f".to_owned())),
        ("ra", Value::Double(ra)),
        ("dec", Value::Double(dec)),
        ("magpsf", Value::Float(18.0)),
        ("sigmapsf", Value::Float(0.1)),
        ("ssnamenr", some(1, Value::String("null".to_owned()))),
    ])
}

/// An earlier measurement: a detection above the template, or a limit of 20 mag.
fn earlier(jd: f64, detected: bool) -> Value {
    let real = |value: f32| if detected { some(1, Value::Float(value)) } else { null() };
    let place = |value: f64| if detected { some(1, Value::Double(value)) } else { null() };
    let sign = if detected { some(1, Value::String("1".to_owned())) } else { null() };
    record(vec![
        ("jd", Value::Double(jd)),
        ("fid", Value::Int(2)),
        ("diffmaglim", some(1, Value::Float(20.0))),
        ("programid", Value::Int(1)),
        ("isdiffpos", sign),
        ("ra", place(10.0)),
        ("dec", place(-5.0)),
        ("magpsf", real(17.0)),
        ("sigmapsf", real(0.05)),
        ("ssnamenr", null()),
    ])
}

fn stamp(bytes: &[u8]) -> Value {
    let name = Value::String("stamp.fits.gz".to_owned());
    some(1, record(vec![("fileName", name), ("stampData", Value::Bytes(bytes.to_vec()))]))
}

fn alert_at(jd: f64, ra: f64, dec: f64) -> Value {
    // The history is not in the order of time.
    let history = [earlier(JD - 1.0, true), earlier(JD - 2.0, false), earlier(JD - 3.0, true)];
    record(vec![
        ("schemavsn", Value::String("3.3".to_owned())),
        ("objectId", Value::String("ZTF18aaaaaaa".to_owned())),
        ("candid", Value::Long(42)),
        ("candidate", detection(jd, ra, dec)),
        ("prv_candidates", some(1, Value::Array(history.to_vec()))),
        ("cutoutScience", stamp(b"science")),
        ("cutoutTemplate", stamp(b"template")),
        ("cutoutDifference", null()),
    ])
}

fn alert() -> Value {
    alert_at(JD, 10.0, -5.0)
}

fn fields(value: &mut Value) -> &mut Vec<(String, Value)> {
    match value {
        Value::Record(fields) => fields,
        Value::Union(_, inner) => fields(inner),
        other => panic!("{other:?} is no record"),
    }
}

fn field<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    &mut fields(value).iter_mut().find(|field| field.0 == name).unwrap().1
}

fn datum(schema: &serde_json::Value, value: Value) -> Vec<u8> {
    let schema = Schema::parse(schema).unwrap();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
}

fn long(value: usize, out: &mut Vec<u8>) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(value.len(), out);
    out.extend_from_slice(value);
}

fn compressed(codec: &str, data: &[u8]) -> Vec<u8> {
    match codec {
        "deflate" => {
            let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
            let mut out = vec![0; compressor.deflate_compress_bound(data.len())];
            let length = compressor.deflate_compress(data, &mut out).unwrap();
            out.truncate(length);
            out
        }
        "snappy" => {
            let mut out = snap::raw::Encoder::new().compress_vec(data).unwrap();
            out.extend_from_slice(&libdeflater::crc32(data).to_be_bytes());
            out
        }
        "zstandard" => zstd::stream::encode_all(data, 3).unwrap(),
        _ => data.to_vec(),
    }
}

/// An object container with one block.
fn container(schema: &serde_json::Value, codec: &str, datums: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    long(2, &mut out);
    bytes(b"avro.schema", &mut out);
    bytes(schema.to_string().as_bytes(), &mut out);
    bytes(b"avro.codec", &mut out);
    bytes(codec.as_bytes(), &mut out);
    long(0, &mut out);
    out.extend_from_slice(&[0xa5; 16]);
    long(datums.len(), &mut out);
    bytes(&compressed(codec, &datums.concat()), &mut out);
    out.extend_from_slice(&[0xa5; 16]);
    out
}

fn packet(value: Value) -> Vec<u8> {
    container(&schema_3_3(), "null", &[datum(&schema_3_3(), value)])
}

fn decoder() -> Decoder {
    Decoder::new(None, HashMap::new(), "none is known".to_owned(), MAX_BYTES)
}

fn decode(packet: &[u8]) -> Result<Alert, DecodeError> {
    let mut alerts = decoder().decode(packet);
    assert_eq!(alerts.len(), 1);
    alerts.remove(0).map_err(|undecoded| undecoded.error)
}

fn body(alert: &Alert) -> Document {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    let root = writer.open_root();
    alert.write_body(&mut writer);
    writer.close(root);
    Document::from_reader(&*bytes).unwrap()
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() <= 1e-9 * right.abs(), "{left} is not {right}");
}

#[test]
fn a_ztf_3_3_packet_without_forced_photometry_is_an_alert() {
    let alert = decode(&packet(alert())).unwrap();
    assert_eq!((alert.survey.name, alert.candid, &*alert.object_id), ("ZTF", 42, "ZTF18aaaaaaa"));
    let body = body(&alert);
    let candidate = body.get_document("candidate").unwrap();
    close(candidate.get_f64("psfFlux").unwrap(), -10f64.powf(0.4 * 13.4));
    assert!(!candidate.get_bool("isdiffpos").unwrap());
    assert_eq!(candidate.get_str("band").unwrap(), "g");
    assert!(candidate.get("ssnamenr").is_none(), "the name `null` is no name");
    assert_eq!(body.get_str("schemavsn").unwrap(), "3.3");

    let jds: Vec<Vec<f64>> =
        alert.series.iter().map(|series| series.iter().map(|point| point.head.jd).collect()).collect();
    assert_eq!(
        jds,
        [vec![JD - 3.0, JD - 1.0, JD], vec![JD - 2.0], vec![]],
        "sorted by time, limits apart, nothing forced"
    );
    let heads: Vec<_> = alert.series[0].iter().map(|point| point.head).collect();
    close(heads[0].flux, Mag(17.0).flux().0);
    assert_eq!(heads.iter().map(|head| head.program).collect::<Vec<_>>(), [1, 1, 2]);
    assert!(heads.iter().all(|head| head.stamp == JD), "every point says which alert brought it");
    let limit = alert.series[1].iter().next().unwrap().head;
    close(limit.flux_error, Mag(20.0).flux().0 / 5.0);
    assert!(limit.flux.is_nan() && limit.ra.is_nan());
    assert_eq!((&*alert.cutouts.science, &*alert.cutouts.difference), (&b"science"[..], &b""[..]));
}

#[test]
fn a_packet_without_history_has_the_detection_alone_in_its_light_curve() {
    let mut value = alert();
    *field(&mut value, "prv_candidates") = null();
    let alert = decode(&packet(value)).unwrap();
    assert_eq!(alert.series.iter().map(|series| series.iter().count()).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn an_earlier_point_at_a_time_that_can_not_be_is_left_out_and_the_alert_stays() {
    let mut value = alert();
    let history = [earlier(f64::NAN, true), earlier(-999.0, false), earlier(JD - 3.0, true)];
    *field(&mut value, "prv_candidates") = some(1, Value::Array(history.to_vec()));
    let alert = decode(&packet(value)).unwrap();
    assert_eq!(alert.series.iter().map(|series| series.iter().count()).collect::<Vec<_>>(), [2, 0, 0]);
}

#[test]
fn a_required_field_that_the_schema_lacks_is_named() {
    for (at, name) in
        [("", "candid"), ("", "objectId"), ("candidate", "jd"), ("candidate", "ra"), ("candidate", "magpsf")]
    {
        let (mut schema, mut value) = (schema_3_3(), alert());
        let without = |fields: &mut Vec<serde_json::Value>| fields.retain(|field| field["name"] != name);
        let top = schema["fields"].as_array_mut().unwrap();
        let path = if at.is_empty() {
            without(top);
            fields(&mut value).retain(|field| field.0 != name);
            name.to_owned()
        } else {
            let inner = top.iter_mut().find(|field| field["name"] == at).unwrap();
            without(inner["type"]["fields"].as_array_mut().unwrap());
            fields(field(&mut value, at)).retain(|field| field.0 != name);
            format!("{at}.{name}")
        };
        let error = decode(&container(&schema, "null", &[datum(&schema, value)])).unwrap_err();
        assert_eq!(error, DecodeError::MissingField(path));
    }
}

/// Lets a field of the candidate be null, and makes it so.
fn nulled(name: &str) -> Vec<u8> {
    let (mut schema, mut value) = (schema_3_3(), alert());
    let top = schema["fields"].as_array_mut().unwrap();
    let candidate = top.iter_mut().find(|field| field["name"] == "candidate").unwrap();
    let inner = candidate["type"]["fields"].as_array_mut().unwrap();
    let target = inner.iter_mut().find(|field| field["name"] == name).unwrap();
    target["type"] = json!(["null", target["type"]]);
    *field(field(&mut value, "candidate"), name) = null();
    container(&schema, "null", &[datum(&schema, value)])
}

#[test]
fn a_required_value_that_is_null_is_named() {
    for name in ["jd", "fid", "ra", "dec", "programid"] {
        let path = format!("candidate.{name}");
        assert_eq!(decode(&nulled(name)).unwrap_err(), DecodeError::MissingField(path));
    }
}

#[test]
fn a_detection_without_magnitude_is_an_alert_without_flux() {
    let alert = decode(&nulled("magpsf")).unwrap();
    assert!(alert.head.flux.is_nan());
    let body = body(&alert);
    let candidate = body.get_document("candidate").unwrap();
    assert!(candidate.get("magpsf").is_none() && candidate.get("psfFlux").is_none());
}

#[test]
fn a_position_or_time_that_can_not_be_is_named_with_its_value() {
    let nan = f64::NAN;
    for (jd, ra, dec, name) in [
        (JD, nan, 0.0, "candidate.ra"),
        (JD, -0.1, 0.0, "candidate.ra"),
        (JD, 360.1, 0.0, "candidate.ra"),
        (JD, 1.0, nan, "candidate.dec"),
        (JD, 1.0, 90.1, "candidate.dec"),
        (JD, 1.0, f64::NEG_INFINITY, "candidate.dec"),
        (nan, 1.0, 1.0, "candidate.jd"),
        (60_000.0, 1.0, 1.0, "candidate.jd"),
    ] {
        let error = decode(&packet(alert_at(jd, ra, dec))).unwrap_err();
        assert!(matches!(&error, DecodeError::Impossible { field, .. } if field == name), "{error}");
    }
    assert!(decode(&packet(alert_at(JD, 360.0, -90.0))).is_ok(), "the ends of the ranges are possible");
}

#[test]
fn fields_that_no_descriptor_names_are_kept_under_their_own_names() {
    let (mut schema, mut value) = (schema_3_3(), alert());
    let long_name = "a_name_that_is_longer_than_any_survey_has_given_until_now";
    let quality = json!({"type": "enum", "name": "quality", "symbols": ["bad", "good"]});
    let inner = json!({"type": "record", "name": "extra", "fields": [
        {"name": "numbers", "type": {"type": "array", "items": ["null", "int"]}},
        {"name": "labels", "type": {"type": "map", "values": "string"}},
        {"name": "quality", "type": quality},
        {"name": "hash", "type": {"type": "fixed", "name": "hash", "size": 2}}]});
    let more = [
        json!({"name": "extra", "type": inner}),
        json!({"name": long_name, "type": "boolean"}),
        json!({"name": "when", "type": {"type": "long", "logicalType": "timestamp-micros"}}),
        json!({"name": "nothing", "type": ["null", "string"]}),
        json!({"name": "nan", "type": "double"}),
    ];
    schema["fields"].as_array_mut().unwrap().extend(more);
    let numbers = vec![some(1, Value::Int(7)), some(1, Value::Int(8))];
    let labels = [("a".to_owned(), Value::String("b".to_owned()))];
    let extra = record(vec![
        ("numbers", Value::Array(numbers)),
        ("labels", Value::Map(labels.into_iter().collect())),
        ("quality", Value::Enum(1, "good".to_owned())),
        ("hash", Value::Fixed(2, vec![1, 2])),
    ]);
    let names = ["extra", long_name, "when", "nothing", "nan"];
    let values = [extra, Value::Boolean(true), Value::TimestampMicros(1_500), null(), Value::Double(f64::NAN)];
    fields(&mut value).extend(names.map(str::to_owned).into_iter().zip(values));
    let body = body(&decode(&container(&schema, "null", &[datum(&schema, value)])).unwrap());
    let hash = bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] };
    let extra = bson::doc! {"numbers": [7, 8], "labels": {"a": "b"}, "quality": "good", "hash": hash};
    assert_eq!(body.get_document("extra").unwrap(), &extra);
    assert_eq!(body.get(long_name), Some(&bson::Bson::Boolean(true)));
    assert_eq!(body.get_datetime("when").unwrap().timestamp_millis(), 1);
    assert!(body.get("nothing").is_none() && body.get("nan").is_none());
}

#[test]
fn a_type_that_is_named_once_is_used_by_reference() {
    let with_difference = |mut value: Value| {
        *field(&mut value, "cutoutDifference") = stamp(b"difference");
        value
    };
    let alert = decode(&packet(with_difference(alert()))).unwrap();
    assert_eq!(alert.cutouts.named().map(|stamp| stamp.1), [&b"science"[..], b"template", b"difference"]);
}

#[test]
fn every_codec_gives_the_same_alert_and_an_unknown_one_is_named() {
    let (schema, datum) = (schema_3_3(), datum(&schema_3_3(), alert()));
    let expected = body(&decode(&packet(alert())).unwrap());
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let alert = decode(&container(&schema, codec, std::slice::from_ref(&datum))).unwrap();
        assert_eq!(body(&alert), expected, "{codec}");
    }
    let error = decode(&container(&schema, "bzip2", &[datum])).unwrap_err();
    assert!(error.to_string().contains("bzip2"), "{error}");
}

#[test]
fn a_block_that_decompresses_to_more_than_allowed_is_too_large() {
    let bomb = vec![vec![0; 2 * MAX_BYTES]];
    for codec in ["deflate", "snappy", "zstandard"] {
        let error = decode(&container(&schema_3_3(), codec, &bomb)).unwrap_err();
        assert_eq!(error.reason(), "too_large", "{codec}: {error}");
    }
    assert_eq!(decode(&vec![b'O'; MAX_BYTES + 1]).unwrap_err().reason(), "too_large");
}

#[test]
fn a_container_of_many_records_gives_them_all_and_one_error_for_what_is_damaged() {
    let mut second = alert();
    *field(&mut second, "candid") = Value::Long(43);
    let good = [datum(&schema_3_3(), alert()), datum(&schema_3_3(), second)];
    let candids = |packet: &[u8]| -> Vec<Option<i64>> {
        decoder().decode(packet).into_iter().map(|alert| alert.ok().map(|alert| alert.candid)).collect()
    };
    assert_eq!(candids(&container(&schema_3_3(), "null", &good)), [Some(42), Some(43)]);
    let damaged = [good[0].clone(), good[1].clone(), vec![0xff; 3]];
    assert_eq!(candids(&container(&schema_3_3(), "null", &damaged)), [Some(42), Some(43), None]);
}

#[test]
fn what_is_no_packet_says_what_it_is() {
    for (bytes, reason) in
        [(&b""[..], "truncated"), (b"<html>", "not_avro"), (b"Obj", "truncated"), (b"\x00\x00\x00", "truncated")]
    {
        assert_eq!(decode(bytes).unwrap_err().reason(), reason, "{bytes:?}");
    }
    let mut schema = schema_3_3();
    schema["namespace"] = json!("hst");
    let error = decode(&container(&schema, "null", &[vec![0]])).unwrap_err();
    assert!(matches!(&error, DecodeError::UnknownSurvey(name) if name == "hst.alert"), "{error}");
    assert_eq!(
        decode(&container(&json!({"type": "unheard-of"}), "null", &[vec![0]])).unwrap_err().reason(),
        "unknown_survey"
    );
}

#[test]
fn a_packet_that_is_cut_anywhere_is_an_error() {
    let schema = schema_3_3();
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let whole = container(&schema, codec, &[datum(&schema, alert())]);
        let decoder = decoder();
        for length in 0..whole.len() {
            let outcomes = decoder.decode(&whole[..length]);
            assert!(outcomes.iter().all(Result::is_err) && outcomes.len() == 1, "{codec}, {length} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bytes_give_alerts_or_errors_but_never_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        codec in prop::sample::select(vec!["null", "deflate", "snappy", "zstandard"]),
        body_only in any::<bool>(),
    ) {
        let schema = schema_3_3();
        let mut packet = container(&schema, codec, &[datum(&schema, alert())]);
        let header = if body_only { schema.to_string().len() } else { 0 };
        let room = packet.len() - header;
        for (place, value) in changes {
            packet[header + place.index(room)] ^= value;
        }
        for alert in decoder().decode(&packet).into_iter().flatten() {
            body(&alert);
            prop_assert!(alert.head.ra.is_finite() && alert.head.dec.is_finite());
        }
    }
}
