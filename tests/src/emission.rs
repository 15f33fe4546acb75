//! What a sink is given in tests: emissions of results and dead letters, with books that balance.

use std::sync::Arc;

use boom_node::books::{Books, Fate, Verdict};
use boom_node::sink::Emission;
use boom_node::stage::DeadLetter;
use boom_node::stage::record::{Passed, ResultRecord};
use boom_sky::alert::{Cutouts, Origin};
use boom_sky::lightcurve::{Band, PointHead};

fn head() -> PointHead {
    let band = Band::new("g").expect("g is a band");
    PointHead { jd: 2.46e6, flux: 9.0, flux_error: 1.0, ra: 1.0, dec: 2.0, stamp: 2.46e6, band, program: 1 }
}

fn result(candid: i64) -> ResultRecord {
    let (name, version) = (Arc::from("all"), Arc::from("1"));
    ResultRecord {
        candid,
        object_id: "ZTF18abc".to_owned(),
        survey: "ZTF",
        head: head(),
        passed: vec![Passed { name, version, passed_at: 2.46e6, annotations: bson::Document::new() }],
        scores: vec![(Arc::from("score"), 0.5)],
        properties: bson::Document::new(),
        photometry: Vec::new(),
        survey_matches: Vec::new(),
        cutouts: Cutouts { science: vec![1; 2000], ..Cutouts::default() },
    }
}

/// An emission after `upto` packets, of which each gives a result, and one dead letter behind the last.
pub fn emission(books: &Books, from: i64, upto: i64) -> Emission {
    emission_of("night", books, from, upto)
}

/// The same of an input of that name.
pub fn emission_of(source: &str, books: &Books, from: i64, upto: i64) -> Emission {
    let source: Arc<str> = Arc::from(source);
    let mut books = books.clone();
    for _ in from..upto {
        books.count("ZTF", &source, Fate::Decided);
        books.count_verdict("all", "1", Verdict::Passed, 0);
    }
    books.count("ZTF", &source, Fate::DeadLettered("truncated"));
    let offset = upto.cast_unsigned();
    let letter = DeadLetter {
        origin: Origin { source: Arc::clone(&source), partition: 0, offset, record: 0 },
        name: "a packet".to_owned(),
        survey: None,
        stage: "ingest",
        reason: "truncated",
        message: "it is cut".to_owned(),
        bytes: Arc::from([1, 2, 3].as_slice()),
    };
    Emission {
        last: offset,
        results: (from..upto).map(result).collect(),
        dead_letters: vec![letter],
        progress: [(source.to_string(), offset + 1)].into(),
        touched: [(source.to_string(), None)].into(),
        books,
        ..Emission::default()
    }
}
