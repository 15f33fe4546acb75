//! A filter without the permission for an access programme does not see, count or return a point of it: by whatever operator or stage, its
//! answer over an alert with points of programmes 1 and 2 is the one over the same alert with the points of programme 2 never there.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test the panic is the message")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boom_filter::{Program, Rules};
use boom_node::catalogs::Catalogs;
use boom_node::stage::Received;
use boom_node::stage::enrich::Enricher;
use boom_node::stage::filter::{Filter, Filters};
use boom_node::stage::record::{Provenance, ResultRecord};
use boom_sky::alert::{Alert, Cutouts, Origin};
use boom_sky::lightcurve::{Band, PointHead, Series};
use boom_sky::survey::Survey;
use boom_sky::units::Mag;
use boom_store::catalog::CatalogSet;
use boom_store::documents::{AliasObject, Aliases, Claim, Ingested, ObjectState};
use bson::{RawDocumentBuf, rawdoc};
use serde_json::{Value, json};

const JD: f64 = 2_460_000.5;
/// The magnitude of the hidden points; no other has it.
const HIDDEN: f64 = 13.0625;

fn point(ago: f64, mag: f64, program: u8) -> (PointHead, RawDocumentBuf) {
    let (jd, flux) = (JD - ago, Mag(mag).flux().0);
    let head = PointHead {
        jd,
        flux,
        flux_error: flux / 20.0,
        ra: 10.0,
        dec: 20.0,
        stamp: jd,
        band: Band::new(if ago < 1.0 { "g" } else { "r" }).unwrap(),
        program,
    };
    let document = rawdoc! {
        "jd": jd, "magpsf": mag, "sigmapsf": 0.0625, "fid": if ago < 1.0 { 1 } else { 2 }, "programid": i32::from(program), "isdiffpos": true,
        "psfFlux": flux, "band": head.band.as_str(), "text": format!("p{program}"), "deep": { "snr": mag, "list": [mag, 1.0] },
    };
    (head, document)
}

/// A series of points (days before the alert, magnitude, programme), without the hidden ones if so wished.
fn series(points: &[(f64, f64, u8)], whole: bool) -> Series {
    let mut series = Series::default();
    for (ago, mag, program) in points.iter().filter(|point| whole || point.1 != HIDDEN) {
        let (head, document) = point(*ago, *mag, *program);
        series.push(&head, document.as_bytes());
    }
    series
}

/// A light curve of ZTF: detections, non-detections, forced photometry.
fn of_ztf(whole: bool) -> Vec<Series> {
    let detections =
        [(40.0, HIDDEN, 2), (3.0, 18.5, 1), (2.0, HIDDEN, 2), (0.75, 18.25, 1), (0.5, HIDDEN, 2), (0.0, 18.0, 1)];
    let limits = [(9.0, HIDDEN, 2), (8.0, 20.5, 1), (0.25, HIDDEN, 2)];
    let forced = [(400.0, HIDDEN, 2), (30.0, 19.5, 1), (20.0, HIDDEN, 2), (10.0, HIDDEN, 2), (0.125, 19.0, 1)];
    [&detections[..], &limits, &forced].map(|points| series(points, whole)).into()
}

/// An alert of a survey, with the ZTF light curve its own or its alias's.
fn scene(survey: &str, whole: bool) -> (Received, Ingested) {
    let survey = Survey::by_name(survey).unwrap();
    let own = survey.name == "ZTF";
    let (head, candidate) = point(0.0, 18.0, u8::from(own));
    let light_curve = if own {
        of_ztf(whole)
    } else {
        vec![series(&[(5.0, 19.25, 0), (0.0, 18.0, 0)], whole), series(&[(6.0, 19.75, 0)], whole)]
    };
    let alert = Alert {
        survey,
        candid: 42,
        object_id: "ZTF20aaaaaaa".to_owned(),
        head,
        candidate: candidate.into_bytes(),
        other: Vec::new(),
        series: light_curve.clone(),
        cutouts: Cutouts::default(),
    };
    let state = |series| Arc::new(ObjectState { ra: 10.0, dec: 20.0, series });
    let alias = || AliasObject {
        survey: Survey::by_name("ZTF").unwrap(),
        object_id: "ZTF20b".to_owned(),
        state: state(of_ztf(whole)),
    };
    let aliases = if own { BTreeMap::new() } else { BTreeMap::from([("ZTF".to_owned(), vec!["ZTF20b".to_owned()])]) };
    let ingested = Ingested {
        claim: Claim::New,
        object: state(light_curve),
        matches: None,
        aliases: Arc::new(Aliases(aliases)),
        alias_objects: if own { Vec::new() } else { vec![alias()] },
    };
    let origin = Origin { source: "test".into(), partition: 0, offset: 0, record: 0 };
    (Received { alert, origin, retry_of: None }, ingested)
}

/// What came of the filters: a line for each, and the record of those that passed.
struct Answers {
    each: Vec<String>,
    record: Option<ResultRecord>,
}

fn judge(programs: &[Program], survey: &str, whole: bool, seen: &[u8]) -> Answers {
    let (received, ingested) = scene(survey, whole);
    let permissions = BTreeMap::from([("ZTF".to_owned(), seen.to_vec())]);
    let filters = programs.iter().enumerate().map(|(at, program)| Filter {
        name: at.to_string().into(),
        survey: None,
        permissions: permissions.clone(),
        program: program.clone(),
    });
    let filters = Filters::new(filters.collect());
    let enricher = Enricher::new(Vec::new(), Catalogs::new(CatalogSet::default(), &[]).unwrap());
    let enriched = enricher.enrich(&[(&received, &ingested)], JD).remove(0);
    let mut judged = filters.judge(&received, &ingested, &enriched, JD, &mut filters.judging());
    assert_eq!(judged.verdicts.len(), programs.len(), "every filter was asked");
    assert!(judged.results.len() <= 1, "the filters see the same");
    let mut each = vec![String::new(); programs.len()];
    judged.verdicts.iter().for_each(|(at, verdict)| each[*at] = format!("{verdict:?}"));
    judged.failures.iter().for_each(|(at, error)| each[*at] += error);
    let record = judged.results.pop();
    for passed in record.iter().flat_map(|record| &record.passed) {
        each[passed.name.parse::<usize>().unwrap()] += &passed.annotations.to_string();
    }
    Answers { each, record }
}

/// What is asked of an alert, as it is written.
type Written = Vec<(String, Program)>;

fn parsed(name: &str, stages: &[Value], out: &mut Written) {
    let last = json!({"$project": {"objectId": 1, "annotations": {"all": "$$ROOT"}}});
    let pipeline = json!([&[json!({"$match": {"objectId": {"$exists": true}}})], stages, &[last]].concat());
    if let Ok(program) = Program::parse(&pipeline.to_string(), Rules::None) {
        out.push((name.to_owned(), program));
    }
}

/// The operators of the language, as the parser lists them.
fn operators() -> BTreeSet<String> {
    let problems = Program::parse(r#"[{"$project": {"r": {"$nothingOfTheKind": 1}}}]"#, Rules::None).unwrap_err();
    let message = &problems[0].message;
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// Every way of writing arguments that some operator has, around a value of the light curve.
fn arguments(s: &str) -> Vec<Value> {
    let of = |field: &str| json!({"$map": {"input": s, "in": format!("$$this.{field}")}});
    let first = |field: &str| json!({"$arrayElemAt": [of(field), 0]});
    let mut all = vec![
        json!(s),
        json!([s]),
        json!([s, 0]),
        json!([s, 1]),
        json!([s, -1]),
        json!([0, s]),
        json!([s, s]),
        json!([s, []]),
        json!([[s], [s]]),
        json!([s, 2, 1]),
        json!([s, s, s]),
        json!([HIDDEN, of("magpsf")]),
        json!([of("magpsf"), [HIDDEN]]),
        json!([of("magpsf"), HIDDEN]),
        json!([[["a", s]]]),
        json!([[{"k": "a", "v": s}]]),
        json!([{"$size": {"$ifNull": [s, []]}}]),
        json!([0, {"$size": {"$ifNull": [s, []]}}]),
        json!({"a": s}),
        json!({"input": s, "in": "$$this"}),
        json!({"input": s, "cond": {"$ne": ["$$this.magpsf", 18.5]}}),
        json!({"input": s, "initialValue": [], "in": {"$concatArrays": ["$$value", ["$$this"]]}}),
        json!({"input": s, "sortBy": {"magpsf": 1}}),
        json!({"input": of("magpsf"), "n": 2}),
        json!({"input": of("magpsf"), "p": [0.5], "method": "approximate"}),
        json!({"input": of("magpsf"), "method": "approximate"}),
        json!({"field": "magpsf", "input": {"$arrayElemAt": [s, 0]}}),
        json!({"field": "x", "input": {"s": s}, "value": s}),
        json!({"field": "x", "input": {"s": s, "x": 1}}),
        json!({"inputs": [s, of("jd")]}),
        json!({"inputs": [s, of("jd")], "useLongestLength": true}),
        json!({"vars": {"v": s}, "in": "$$v"}),
        json!({"if": {"$isArray": [s]}, "then": s, "else": 0}),
        json!({"branches": [{"case": {"$gt": [s, 0]}, "then": s}], "default": 0}),
    ];
    for field in ["magpsf", "jd", "text", "programid"] {
        let (one, all_of) = (first(field), of(field));
        all.extend([
            one.clone(),
            json!([one]),
            json!([one, 1]),
            json!([1, one]),
            json!([one, one]),
            json!([one, 0, 1]),
            all_of.clone(),
            json!([all_of]),
            json!({"input": one, "regex": "p"}),
            json!({"input": one, "find": "p", "replacement": "q"}),
            json!({"input": one, "chars": "p"}),
            json!({"input": one, "to": "string", "onError": 0}),
            json!([one, "p"]),
            json!(["p", one]),
            json!([one, "p", "q"]),
            json!({"date": {"$toDate": {"$toLong": one}}}),
            json!({"date": {"$toDate": {"$toLong": one}}, "format": "%Y"}),
            json!({"$toDate": {"$toLong": one}}),
            json!({"startDate": {"$toDate": {"$toLong": one}}, "unit": "day", "amount": 1}),
            json!({"startDate": {"$toDate": {"$toLong": one}}, "endDate": {"$toDate": {"$toLong": one}}, "unit": "millisecond"}),
            json!({"date": {"$toDate": {"$toLong": one}}, "unit": "year"}),
            json!({"dateString": {"$toString": one}, "onError": one}),
            json!({"year": {"$add": [2000, {"$toInt": one}]}}),
        ]);
    }
    all
}

/// Every operator on the light curve, however it can be reached; and those for which no way of writing was found.
fn expressions(paths: &[&str]) -> (Written, BTreeSet<String>) {
    let (mut all, mut missing) = (Vec::new(), operators());
    for operator in operators() {
        for (path, arguments) in paths.iter().map(|path| (path, arguments(path))) {
            for arguments in arguments {
                let before = all.len();
                parsed(
                    &format!("{operator} {path}"),
                    &[json!({"$project": {"objectId": 1, "r": {&operator: arguments}}})],
                    &mut all,
                );
                if all.len() > before {
                    missing.remove(&operator);
                }
            }
        }
    }
    (all, missing)
}

/// Every operator of `$match`, and every stage, on a series.
fn queries_and_stages(path: &str) -> Written {
    let mut all = Vec::new();
    let under = |field: &str| format!("{path}.{field}");
    let values = [json!(HIDDEN), json!(18.5), json!(2), json!(1), json!(JD - 2.0), json!("p2"), json!(null)];
    let mut queries: Vec<Value> = (0..8).map(|n| json!({path: {"$size": n}})).collect();
    for index in 0..7 {
        queries.push(json!({format!("{path}.{index}"): {"$exists": true}}));
        queries.push(json!({format!("{path}.{index}.magpsf"): {"$lt": 15}}));
        queries.push(json!({format!("{path}.{index}.deep.list.0"): HIDDEN}));
    }
    for field in ["magpsf", "programid", "jd", "text", "deep.snr", "deep.list"] {
        for value in &values {
            for operator in ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"] {
                queries.push(json!({under(field): {operator: value}}));
                queries.push(json!({path: {"$elemMatch": {field: {operator: value}}}}));
                queries.push(json!({under(field): {"$not": {operator: value}}}));
            }
            for operator in ["$in", "$nin", "$all"] {
                queries.push(json!({under(field): {operator: [value]}}));
            }
            queries.push(json!({"$nor": [{under(field): value}]}));
            queries.push(json!({"$or": [{under(field): value}, {"objectId": 0}]}));
            queries.push(json!({"$and": [{under(field): value}, {path: {"$ne": []}}]}));
            queries.push(json!({"$expr": {"$in": [value, format!("${}", under(field))]}}));
        }
        queries.push(json!({under(field): {"$type": "number"}}));
        queries.push(json!({under(field): {"$mod": [2, 0]}}));
        queries.push(json!({under(field): {"$regex": "2"}}));
        queries.push(json!({under(field): {"$bitsAllSet": 2}}));
        queries.push(json!({under(field): {"$size": 2}}));
        queries.push(json!({path: {"$all": [{"$elemMatch": {field: {"$exists": true}}}]}}));
    }
    for query in queries {
        parsed(&format!("$match {query}"), &[json!({"$match": query})], &mut all);
    }
    let fields = format!("${path}.magpsf");
    for stages in [
        json!([]),
        json!([{"$project": {"objectId": 1, path: 1}}]),
        json!([{"$project": {"objectId": 1, under("magpsf"): 1}}]),
        json!([{"$project": {"candidate": 0}}]),
        json!([{"$project": {under("jd"): 0}}]),
        json!([{"$unset": under("jd")}]),
        json!([{"$addFields": {under("new"): 1}}]),
        json!([{"$addFields": {"n": {"$size": {"$ifNull": [format!("${path}"), []]}}}}]),
        json!([{"$set": {"candidate": "$$ROOT"}}]),
        json!([{"$set": {"candidate": fields}}]),
        json!([{"$replaceWith": {"objectId": "x", "all": {"$objectToArray": "$$ROOT"}}}]),
        json!([{"$replaceRoot": {"newRoot": {"$mergeObjects": ["$$ROOT", {"x": 1}]}}}]),
        json!([{"$replaceWith": {"$mergeObjects": format!("${path}")}}]),
        json!([{"$project": {"r": {"$objectToArray": "$$CURRENT"}}}]),
        json!([{"$unwind": format!("${path}")}]),
        json!([{"$unwind": {"path": format!("${path}"), "includeArrayIndex": "at"}}, {"$skip": 2}]),
        json!([{"$unwind": format!("${path}")}, {"$count": "n"}]),
        json!([{"$unwind": format!("${path}")}, {"$sort": {under("magpsf"): 1}}, {"$limit": 1}]),
        json!([{"$unwind": format!("${path}")}, {"$group": {"_id": format!("${}", under("programid")), "n": {"$sum": 1}}}]),
        json!([{"$unwind": format!("${path}")}, {"$sortByCount": format!("${}", under("programid"))}]),
        json!([{"$group": {"_id": null, "all": {"$push": fields}}}]),
    ] {
        parsed(&format!("{stages}"), stages.as_array().unwrap(), &mut all);
    }
    all
}

/// Whatever is asked, points of programme 2 might never have been there; and those who may see them do see them.
fn nothing_is_seen(survey: &str, written: &Written, permissions: &[&[u8]]) {
    let (names, programs): (Vec<&str>, Vec<Program>) =
        written.iter().map(|(name, program)| (name.as_str(), program.clone())).unzip();
    let all = judge(&programs, survey, true, &[1, 2]);
    for seen in permissions {
        let cut = judge(&programs, survey, true, seen);
        let never = judge(&programs, survey, false, seen);
        for (name, (cut, never)) in names.iter().zip(cut.each.iter().zip(&never.each)) {
            assert_eq!(cut, never, "{survey} seen by {seen:?}: {name}");
        }
        assert_eq!(format!("{:?}", cut.record), format!("{:?}", never.record));
        let differ = all.each.iter().zip(&cut.each).filter(|(all, cut)| all != cut).count();
        assert!(differ * 5 > names.len(), "the points matter to {differ} of {} only", names.len());
    }
}

#[test]
fn no_operator_reaches_a_point_that_is_not_to_be_seen() {
    for (survey, paths, permissions) in [
        ("ZTF", &["$prv_candidates", "$$ROOT.fp_hists", "$$CURRENT.prv_nondetections"][..], &[&[1_u8][..]][..]),
        ("LSST", &["$ZTF.prv_candidates", "$$ROOT.ZTF.fp_hists"], &[&[1], &[3]]),
    ] {
        let (written, missing) = expressions(paths);
        let unreachable = ["$literal", "$sampleRate"].map(str::to_owned);
        let missing: Vec<&String> = missing.iter().filter(|name| !unreachable.contains(name)).collect();
        assert!(missing.is_empty(), "no way of writing these on a light curve is known here: {missing:?}");
        nothing_is_seen(survey, &written, permissions);
    }
}

#[test]
fn no_query_and_no_stage_reaches_a_point_that_is_not_to_be_seen() {
    for path in ["prv_candidates", "prv_nondetections", "fp_hists"] {
        nothing_is_seen("ZTF", &queries_and_stages(path), &[&[1]]);
    }
    for path in ["ZTF.prv_candidates", "ZTF.fp_hists"] {
        nothing_is_seen("LSST", &queries_and_stages(path), &[&[1], &[]]);
    }
}

/// Peak magnitudes and slopes are points, or made of them.
#[test]
fn properties_of_the_light_curve_are_made_of_points_that_are_seen() {
    let mut written = Vec::new();
    for path in [
        "$properties",
        "$properties.photstats",
        "$properties.multisurvey_photstats",
        "$properties.photstats.r.peak_mag",
        "$$ROOT",
    ] {
        parsed(path, &[json!({"$project": {"objectId": 1, "r": path}})], &mut written);
    }
    let programs: Vec<Program> = written.iter().map(|(_, program)| program.clone()).collect();
    for survey in ["ZTF", "LSST"] {
        let hidden = HIDDEN.to_string();
        let cut = judge(&programs, survey, true, &[1]);
        assert_eq!(cut.each, judge(&programs, survey, false, &[1]).each);
        assert!(!cut.each.iter().any(|answer| answer.contains(&hidden)), "{:?}", cut.each);
        let all = judge(&programs, survey, true, &[1, 2]);
        assert!(all.each[4].contains(&hidden) && all.each[2].contains("13."), "{:?}", all.each);
    }
}

#[test]
fn the_record_of_a_result_has_no_point_that_is_not_to_be_seen() {
    let mut written = Vec::new();
    parsed("all", &[], &mut written);
    let programs = [written.remove(0).1];
    for (survey, seen, points, surveys) in [
        ("ZTF", &[1][..], 6, 1),
        ("ZTF", &[1, 2], 13, 1),
        ("LSST", &[1], 9, 2),
        ("LSST", &[], 3, 1),
        ("LSST", &[1, 2], 16, 2),
    ] {
        let record = judge(&programs, survey, true, seen).record.unwrap();
        assert_eq!(record.photometry.len(), points, "{survey} seen by {seen:?}");
        let may = |survey: &str, program: u8| survey != "ZTF" || seen.contains(&program);
        assert!(record.photometry.iter().all(|point| may(point.survey, point.head.program)));
        assert_eq!(record.photometry.iter().map(|point| point.survey).collect::<BTreeSet<_>>().len(), surveys);
        if !seen.contains(&2) {
            let never = judge(&programs, survey, false, seen).record.unwrap();
            let provenance = Provenance::default();
            assert_eq!(record.avro(&provenance), never.avro(&provenance));
            let line = |record: &ResultRecord| {
                let mut out = Vec::new();
                record.json_lines(&provenance, &mut out);
                String::from_utf8(out).unwrap()
            };
            assert_eq!(line(&record), line(&never));
            assert!(!line(&record).contains(&HIDDEN.to_string()));
        }
    }
}

#[test]
fn an_alert_of_a_programme_that_is_not_to_be_seen_is_not_judged() {
    let mut written = Vec::new();
    parsed("all", &[], &mut written);
    let filter = Filter {
        name: "none".into(),
        survey: None,
        permissions: BTreeMap::from([("ZTF".to_owned(), vec![2])]),
        program: written.remove(0).1,
    };
    let filters = Filters::new(vec![filter]);
    let (received, ingested) = scene("ZTF", true);
    let enricher = Enricher::new(Vec::new(), Catalogs::new(CatalogSet::default(), &[]).unwrap());
    let enriched = enricher.enrich(&[(&received, &ingested)], JD).remove(0);
    let judged = filters.judge(&received, &ingested, &enriched, JD, &mut filters.judging());
    assert!(judged.verdicts.is_empty() && judged.results.is_empty() && judged.failures.is_empty());
}
