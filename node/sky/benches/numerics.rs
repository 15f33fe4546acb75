//! Microseconds of the numerical parts of one alert on one thread: stamps to a triplet, fields to features, light curve to
//! photstats. Uses the real ZTF packets where they are, and stamps of noise in any case.

#![allow(clippy::print_stdout, reason = "a bench says on its standard output what it could not read")]

use std::{env, fs, hint::black_box, path::PathBuf};

use apache_avro::{Reader, types::Value};
use boom_sky::{
    cutout::{Cutout, Scratch, TRIPLET, normalise_into, triplet},
    features::Extractor,
    lightcurve::{
        Band,
        photstats::{PhotPoint, Photstats},
    },
};
use bson::{Bson, Document};
use criterion::{Criterion, criterion_group, criterion_main};
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// One alert as the parts take it: the encoded candidate and the three stamps.
struct Alert {
    candidate: Vec<u8>,
    stamps: [Vec<u8>; 3],
}

fn main_fields(record: Value) -> Vec<(String, Value)> {
    match record {
        Value::Record(fields) => fields,
        other => panic!("a packet is a record, not {other:?}"),
    }
}

fn plain(value: Value) -> Option<Bson> {
    match value {
        Value::Union(_, inner) => plain(*inner),
        Value::Double(value) => Some(value.into()),
        Value::Float(value) => Some(f64::from(value).into()),
        Value::Int(value) => Some(value.into()),
        Value::Long(value) => Some(value.into()),
        Value::String(value) => Some(value.into()),
        _ => None,
    }
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Union(_, inner) => bytes(*inner),
        Value::Bytes(bytes) => bytes,
        Value::Record(fields) => {
            fields.into_iter().find(|(name, _)| name == "stampData").map_or_else(Vec::new, |f| bytes(f.1))
        }
        _ => Vec::new(),
    }
}

fn encoded(document: &Document) -> Vec<u8> {
    let mut out = Vec::new();
    document.to_writer(&mut out).expect("a document encodes");
    out
}

/// The packets of `$BOOM_SHARED/alerts/ztf`.
fn real() -> Vec<Alert> {
    let shared = env::var_os("BOOM_SHARED").map_or_else(|| PathBuf::from("../../../shared"), PathBuf::from);
    let folder = shared.join("alerts/ztf");
    let Ok(entries) = fs::read_dir(&folder) else {
        println!("SKIPPED: {} is not here: only stamps of noise are measured", folder.display());
        return Vec::new();
    };
    let mut alerts = Vec::new();
    for entry in entries.flatten() {
        let file = fs::File::open(entry.path()).expect("the packet opens");
        for record in Reader::new(file).expect("the packet is Avro") {
            let mut alert = Alert { candidate: Vec::new(), stamps: Default::default() };
            for (name, value) in main_fields(record.expect("the record reads")) {
                match name.as_str() {
                    "cutoutScience" => alert.stamps[0] = bytes(value),
                    "cutoutTemplate" => alert.stamps[1] = bytes(value),
                    "cutoutDifference" => alert.stamps[2] = bytes(value),
                    "candidate" => {
                        let fields = main_fields(value).into_iter();
                        alert.candidate =
                            encoded(&fields.filter_map(|(name, value)| Some((name, plain(value)?))).collect());
                    }
                    _ => {}
                }
            }
            alerts.push(alert);
        }
    }
    alerts
}

/// A gzipped 63x63 stamp of noise, about as hard to inflate as a survey's.
fn noise(random: &mut Pcg64Mcg) -> Vec<u8> {
    let mut file = String::new();
    for card in ["SIMPLE  = T", "BITPIX  = -32", "NAXIS   = 2", "NAXIS1  = 63", "NAXIS2  = 63", "END"] {
        file.push_str(&format!("{card:80}"));
    }
    let mut file = format!("{file:2880}").into_bytes();
    for _ in 0..63 * 63 {
        let value: f32 = random.random_range(-10.0..10.0);
        file.extend_from_slice(&value.to_be_bytes());
    }
    file.resize(20_160, 0);
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(file.len())];
    let length = compressor.gzip_compress(&file, &mut out).expect("the bound is enough");
    out.truncate(length);
    out
}

fn stamps(criterion: &mut Criterion) {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let made: [Vec<u8>; 3] = std::array::from_fn(|_| noise(&mut random));
    let (mut out, mut scratch) = (vec![0f32; TRIPLET], Scratch::default());
    criterion.bench_function("triplet/noise", |bencher| {
        bencher.iter(|| triplet(made.each_ref().map(Vec::as_slice), &mut out, &mut scratch));
    });
    let alerts = real();
    if !alerts.is_empty() {
        let mut next = alerts.iter().cycle();
        criterion.bench_function("triplet/ztf", |bencher| {
            bencher.iter(|| {
                let alert = next.next().expect("the cycle does not end");
                triplet(alert.stamps.each_ref().map(Vec::as_slice), &mut out, &mut scratch).is_ok()
            });
        });
    }
    let mut inflated = vec![0; 1 << 16];
    let mut decompressor = Decompressor::new();
    criterion.bench_function("gunzip/three", |bencher| {
        bencher.iter(|| made.iter().filter(|bytes| decompressor.gzip_decompress(bytes, &mut inflated).is_ok()).count());
    });
    criterion.bench_function("read/three", |bencher| {
        bencher.iter(|| made.iter().filter(|bytes| scratch.read(bytes).is_ok()).count());
    });
    let stamp = scratch.read(&made[0]).expect("the stamp reads").clone();
    criterion.bench_function("normalise/three", |bencher| {
        bencher.iter(|| {
            for channel in 0..Cutout::ALL.len() {
                normalise_into(black_box(&stamp), 63, out.as_chunks_mut::<3>().0, channel).expect("it normalises");
            }
        });
    });
}

fn features(criterion: &mut Criterion) {
    let (candidate, source) = match real().into_iter().next() {
        Some(alert) => (alert.candidate, "ztf"),
        None => (encoded(&(0..100).map(|i| (format!("field{i}psf"), Bson::Double(i.into()))).collect()), "made"),
    };
    let document = Document::from_reader(&*candidate).expect("the candidate decodes");
    let wanted: Vec<&String> = document.keys().enumerate().filter(|(i, _)| i % 5 < 3).map(|(_, name)| name).collect();
    let extractor = Extractor::new(&wanted);
    let mut row = vec![0.0; extractor.width()];
    let label = format!("features/{source}_{}_of_{}", wanted.len(), document.len());
    criterion.bench_function(&label, |bencher| {
        bencher.iter(|| extractor.extract(black_box(&candidate), &mut row));
    });
}

fn photstats(criterion: &mut Criterion) {
    let mut random = Pcg64Mcg::seed_from_u64(2);
    let bands = ["g", "r", "i"].map(|name| Band::new(name).expect("a short name"));
    let points: Vec<PhotPoint> = (0..60)
        .map(|i| PhotPoint {
            jd: 2_461_000.5 + f64::from(i) + random.random_range(0.0..0.4),
            mag: 18.0 + random.random_range(-1.0..1.0),
            mag_err: random.random_range(0.02..0.2),
            band: bands[i as usize % 3],
        })
        .collect();
    let mut photstats = Photstats::default();
    criterion.bench_function("photstats/60_points", |bencher| {
        bencher.iter(|| photstats.compute(black_box(&points)).len());
    });
}

criterion_group!(benches, stamps, features, photstats);
criterion_main!(benches);
