//! What filters cost per alert, in one thread: cats150 alone, 25 copies, without its first `$match`, and a filter over the whole light
//! curve, on a document made here with the size and the types of a ZTF alert.

#![allow(clippy::print_stdout, reason = "a benchmark speaks on standard output")]

use std::hint::black_box;
use std::path::PathBuf;

use boom_filter::{FilterSet, Outcome, Program, Rules};
use bson::{Bson, Document, RawDocumentBuf, doc};
use criterion::{Criterion, criterion_group, criterion_main};

const OURS: &str = include_str!("../tests/data/young_transient.json");

/// cats150 when it is there, else a filter of ours of the same size, and which it was.
fn filter() -> (&'static str, String) {
    let shared = std::env::var("BOOM_SHARED")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = shared.join("filters/cats150.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => ("cats150", text),
        Err(e) => {
            println!(
                "SKIPPED: {} is not here ({e}): a filter of ours of the same size takes its place",
                path.display()
            );
            ("young_transient", OURS.to_owned())
        }
    }
}

fn padding(document: &mut Document, prefix: &str, upto: usize) {
    for n in 0..upto.saturating_sub(document.len()) {
        let value: Bson = match n % 5 {
            0 => Bson::Int32(n as i32),
            1 => Bson::String(format!("value{n}")),
            2 => Bson::Boolean(n % 2 == 0),
            _ => Bson::Double(n as f64 * 0.37),
        };
        document.insert(format!("{prefix}{n}"), value);
    }
}

/// An alert with 100 fields in its candidate, 40 previous candidates of 40 fields, 20 forced photometry points of 35 fields.
fn alert() -> RawDocumentBuf {
    let mut candidate = doc! {
        "jd": 2_459_000.75, "fid": 1, "pid": 12_345_678_901_i64, "diffmaglim": 20.5, "programid": 1, "isdiffpos": true,
        "nbad": 0, "ra": 150.1, "dec": 2.2, "magpsf": 18.25, "sigmapsf": 0.06, "magap": 18.3, "fwhm": 2.1,
    };
    padding(&mut candidate, "early", 50);
    candidate.extend(doc! {
        "rb": 0.8, "drb": 0.99, "ssdistnr": -999.0, "ssmagnr": -999.0, "distpsnr1": 3.0, "sgscore1": 0.1, "srmag1": 20.0,
        "sgmag1": 20.1, "simag1": 20.2, "distpsnr2": 8.0, "sgscore2": 0.3, "srmag2": 21.0, "distpsnr3": 12.0, "sgscore3": 0.2,
        "srmag3": 21.5, "ndethist": 12, "jdstarthist": 2_458_990.1,
    });
    padding(&mut candidate, "late", 100);
    let point = |n: i32| {
        let jd = 2_459_000.75 - 0.5 * f64::from(n) - 4.0;
        let mut point = doc! { "jd": jd, "fid": n % 2 + 1, "pid": i64::from(n) };
        padding(&mut point, "early", 12);
        point.extend(doc! { "magpsf": 19.0, "sigmapsf": 0.1, "isdiffpos": true, "ssdistnr": -999.0 });
        padding(&mut point, "late", 40);
        Bson::Document(point)
    };
    let forced = |n: i32| {
        let jd = 2_459_000.75 - f64::from(n);
        let mut point = doc! { "jd": jd, "fid": 1 };
        padding(&mut point, "early", 20);
        point.extend(doc! { "mag": 20.4, "magerr": 0.2, "snr": 5.5, "procstatus": "0" });
        padding(&mut point, "late", 35);
        Bson::Document(point)
    };
    let document = doc! {
        "_id": 2_695_378_462_115_010_012_i64, "objectId": "ZTF20aaaaaaa", "candidate": candidate,
        "prv_candidates": (0..40).map(point).collect::<Vec<_>>(), "fp_hists": (0..20).map(forced).collect::<Vec<_>>(),
        "cross_matches": { "NED": [] }, "aliases": { "LSST": [] },
    };
    RawDocumentBuf::try_from(&document).expect("a document that was just made is written as BSON")
}

fn program(text: &str, rules: Rules) -> Program {
    match Program::parse(text, rules) {
        Ok(program) => program,
        Err(problems) => {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn without_first_match(text: &str) -> String {
    let pipeline: serde_json::Value = serde_json::from_str(text).expect("the filter was parsed before");
    let stages = pipeline.as_array().expect("the filter was parsed before");
    serde_json::Value::from(stages[1..].to_vec()).to_string()
}

const WHOLE_CURVE: &str = r#"[{"$match": {"candidate.drb": {"$gt": 0.1}}}, {"$project": {"objectId": 1, "annotations": {
    "brightest": {"$min": "$prv_candidates.magpsf"}, "mean": {"$avg": "$prv_candidates.magpsf"},
    "points": {"$size": {"$filter": {"input": "$prv_candidates", "as": "p", "cond": {"$lt": ["$$p.magpsf", 19.5]}}}},
    "forced": {"$max": "$fp_hists.snr"}}}}]"#;

fn bench(criterion: &mut Criterion) {
    let (name, text) = filter();
    let alert = alert();
    println!("the alert has {} bytes", alert.as_bytes().len());
    let one = program(&text, Rules::Filter);
    let mut rejected = one.clone();
    if let Ok(program) = Program::parse(&text.replace("\"$gt\": 0.5", "\"$gt\": 99.5"), Rules::Filter) {
        rejected = program;
    }
    let sets = [
        (format!("{name} passes all its stages"), vec![one.clone()]),
        (format!("{name} rejects by its first $match"), vec![rejected]),
        (format!("{name}, 25 copies"), (0..25).map(|_| program(&text, Rules::Filter)).collect()),
        (format!("{name} without its first $match"), vec![program(&without_first_match(&text), Rules::None)]),
        ("a filter over the whole light curve".to_owned(), vec![program(WHOLE_CURVE, Rules::Filter)]),
    ];
    for (label, programs) in sets {
        let set = FilterSet::new(programs);
        let mut scratch = set.scratch();
        let mut first = None;
        set.evaluate(&alert, 0, &mut scratch, |_, outcome| first = Some(outcome.clone()));
        let first = match first {
            Some(Outcome::Passed(_)) => "passed".to_owned(),
            Some(Outcome::Rejected) => "rejected".to_owned(),
            Some(Outcome::Failed(error)) => error.to_string(),
            None => "nothing".to_owned(),
        };
        criterion.bench_function(&format!("{label} ({first})"), |b| {
            b.iter(|| {
                set.evaluate(black_box(&alert), 0, &mut scratch, |_, outcome| {
                    black_box(outcome);
                })
            });
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
