//! What the tests share: running the binary, and a small ZTF packet made here.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.
#![allow(clippy::unwrap_used)] // A helper of tests, not a `#[test]` itself.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use apache_avro::types::Value;
use apache_avro::{Schema, Writer};
use boom_sky::schema::Decoder;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Id of the alert.
pub const CANDID: i64 = 2_475_433_850_015_010_009;
/// Id of its object.
pub const OBJECT: &str = "ZTF23abcdefg";
/// Side of its stamps.
pub const STAMP: usize = 21;

pub fn boomctl(arguments: &[&str]) -> Output {
    boomctl_with(arguments, "")
}

pub fn boomctl_with(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boomctl"));
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json_lines(output: &Output) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

pub fn decoder() -> Decoder {
    Decoder::new(None, HashMap::new(), String::new(), 1 << 20)
}

/// A packet with one earlier detection and one non-detection.
pub struct ZtfPacket {
    pub candid: i64,
    pub jd: f64,
    pub earlier: f64,
    pub magnitude: f64,
    pub program: i32,
    pub template: Vec<u8>,
}

impl Default for ZtfPacket {
    fn default() -> Self {
        Self { candid: CANDID, jd: 2_460_000.5, earlier: 2_459_990.5, magnitude: 18.5, program: 1, template: stamp() }
    }
}

const SCHEMA: &str = r#"{"type": "record", "namespace": "ztf", "name": "alert", "fields": [
    {"name": "objectId", "type": "string"},
    {"name": "candid", "type": "long"},
    {"name": "candidate", "type": {"type": "record", "name": "candidate", "fields": [
        {"name": "jd", "type": "double"}, {"name": "fid", "type": "int"}, {"name": "programid", "type": "int"},
        {"name": "candid", "type": "long"}, {"name": "isdiffpos", "type": "string"},
        {"name": "ra", "type": "double"}, {"name": "dec", "type": "double"},
        {"name": "magpsf", "type": "float"}, {"name": "sigmapsf", "type": "float"},
        {"name": "diffmaglim", "type": ["float", "null"]}]}},
    {"name": "prv_candidates", "type": ["null", {"type": "array", "items": {"type": "record", "name": "prv_candidate", "fields": [
        {"name": "jd", "type": "double"}, {"name": "fid", "type": "int"}, {"name": "programid", "type": "int"},
        {"name": "candid", "type": ["long", "null"]}, {"name": "isdiffpos", "type": ["string", "null"]},
        {"name": "ra", "type": ["double", "null"]}, {"name": "dec", "type": ["double", "null"]},
        {"name": "magpsf", "type": ["float", "null"]}, {"name": "sigmapsf", "type": ["float", "null"]},
        {"name": "diffmaglim", "type": ["float", "null"]}]}}]},
    {"name": "cutoutScience", "type": {"type": "record", "name": "cutout", "fields": [
        {"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}]}},
    {"name": "cutoutTemplate", "type": "ztf.cutout"},
    {"name": "cutoutDifference", "type": "ztf.cutout"}]}"#;

impl ZtfPacket {
    pub fn bytes(&self) -> Vec<u8> {
        let schema = Schema::parse_str(SCHEMA).unwrap();
        let previous = [self.point(self.earlier, true), self.point(self.earlier - 1.0, false)];
        let (science, difference) = (stamp(), stamp());
        let mut writer = Writer::new(&schema, Vec::new()).unwrap();
        let packet = record([
            ("objectId", Value::String(OBJECT.into())),
            ("candid", Value::Long(self.candid)),
            ("candidate", self.candidate()),
            ("prv_candidates", Value::Union(1, Box::new(Value::Array(previous.into())))),
            ("cutoutScience", cutout(&science)),
            ("cutoutTemplate", cutout(&self.template)),
            ("cutoutDifference", cutout(&difference)),
        ]);
        writer.append_value(packet).unwrap();
        writer.into_inner().unwrap()
    }

    fn candidate(&self) -> Value {
        record([
            ("jd", Value::Double(self.jd)),
            ("fid", Value::Int(2)),
            ("programid", Value::Int(self.program)),
            ("candid", Value::Long(self.candid)),
            ("isdiffpos", Value::String("t".into())),
            ("ra", Value::Double(150.0)),
            ("dec", Value::Double(2.5)),
            ("magpsf", Value::Float(self.magnitude as f32)),
            ("sigmapsf", Value::Float(0.1)),
            ("diffmaglim", Value::Union(0, Box::new(Value::Float(20.5)))),
        ])
    }

    /// An earlier measurement in g.
    fn point(&self, jd: f64, seen: bool) -> Value {
        let maybe = |value: Value| {
            if seen { Value::Union(0, Box::new(value)) } else { Value::Union(1, Box::new(Value::Null)) }
        };
        record([
            ("jd", Value::Double(jd)),
            ("fid", Value::Int(1)),
            ("programid", Value::Int(self.program)),
            ("candid", maybe(Value::Long(self.candid - 1000))),
            ("isdiffpos", maybe(Value::String("t".into()))),
            ("ra", maybe(Value::Double(150.0))),
            ("dec", maybe(Value::Double(2.5))),
            ("magpsf", maybe(Value::Float(19.0))),
            ("sigmapsf", maybe(Value::Float(0.15))),
            ("diffmaglim", Value::Union(0, Box::new(Value::Float(20.25)))),
        ])
    }
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn cutout(stamp: &[u8]) -> Value {
    record([("fileName", Value::String("stamp.fits.gz".into())), ("stampData", Value::Bytes(stamp.to_vec()))])
}

/// A gzipped FITS image: a flat sky with one bright pixel, the first of the second row, and a NaN.
fn stamp() -> Vec<u8> {
    let cards = [
        "SIMPLE  =                    T".to_owned(),
        "BITPIX  =                  -32".to_owned(),
        "NAXIS   =                    2".to_owned(),
        format!("NAXIS1  = {STAMP:20}"),
        format!("NAXIS2  = {STAMP:20}"),
        "END".to_owned(),
    ];
    let mut file: Vec<u8> = cards.iter().flat_map(|card| format!("{card:80}").into_bytes()).collect();
    file.resize(2880, b' ');
    let pixel = |at: usize| match at {
        STAMP => 500f32,
        7 => f32::NAN,
        _ => 10.0,
    };
    (0..STAMP * STAMP).for_each(|at| file.extend_from_slice(&pixel(at).to_be_bytes()));
    file.resize(file.len().next_multiple_of(2880), 0);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&file).unwrap();
    gzip.finish().unwrap()
}
