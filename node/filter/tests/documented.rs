//! The filters of docs/filters-extensions.md, as they stand there: each passes an alert that it is meant for, and rejects another.

mod common;

use std::collections::BTreeMap;

use boom_filter::{Dialect, Outcome, Program, Rules, SkyMap};
use common::NOW;
use serde_json::{Value, json};

/// The extensions of the document, each with the filter behind its heading.
fn documented() -> BTreeMap<String, Program> {
    let text = include_str!("../../../docs/filters-extensions.md");
    // The cells around (150, 2) of order 5: about 2 degrees.
    let cell = cdshealpix::nested::hash(5, 150_f64.to_radians(), 2_f64.to_radians());
    let map = SkyMap::parse(format!("5/{cell}").as_bytes()).expect("it is a map");
    let dialect = Dialect::extended(BTreeMap::from([("S250101x".to_owned(), map)]));
    let sections = text.split("\n## `").skip(1).map(|section| {
        let (name, rest) = section.split_once('`').expect("a heading names an extension");
        let filter =
            rest.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("a filter stands there");
        let refused = common::problems(filter, Rules::Filter);
        assert!(refused.contains(name) && refused.contains("is an extension"), "{name} is used: {refused}");
        let program = Program::parse_in(filter, Rules::Filter, &dialect)
            .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        (name.to_owned(), program)
    });
    sections.collect()
}

/// An alert at a place, on the Julian date of [`NOW`], with detections so many days before.
fn alert(ra: f64, dec: f64, ago: &[f64]) -> Value {
    let jd = NOW as f64 / 86_400_000.0 + 2_440_587.5;
    let points: Vec<Value> = ago.iter().map(|ago| json!({"jd": jd - ago, "magpsf": 18.5})).collect();
    json!({
        "_id": 1, "objectId": "ZTF20aaaaaaa",
        "candidate": {"jd": jd, "ra": ra, "dec": dec, "drb": 0.99, "ndethist": 1, "magpsf": 18.25}, "prv_candidates": points,
    })
}

#[test]
fn each_documented_filter_passes_one_alert_and_rejects_another() {
    let filters = documented();
    assert_eq!(
        filters.keys().collect::<Vec<_>>(),
        ["$boom.coneDistance", "$boom.galactic", "$boom.inMoc", "$boom.mjd"]
    );
    let cases = [
        (
            "$boom.coneDistance",
            alert(10.6847, 42.2691, &[]),
            alert(10.6847, 43.3, &[]),
            json!({"arcmin_from_m31": 60.0}),
        ),
        ("$boom.inMoc", alert(150.0, 2.0, &[]), alert(150.0, 12.0, &[]), json!({"event": "S250101x", "mag": 18.25})),
        (
            "$boom.galactic",
            alert(192.859_48, 87.128_25, &[]),
            alert(266.405, -28.936, &[]),
            json!({"l": 122.932, "b": 30.0}),
        ),
        (
            "$boom.mjd",
            alert(1.0, 1.0, &[5.0, 1.5, 0.0]),
            alert(1.0, 1.0, &[5.0, 2.5, 0.0]),
            json!({"mjd": [59_104.018_518_518_52, 59_105.518_518_518_52]}),
        ),
    ];
    for (name, passes, does_not, annotations) in cases {
        let Outcome::Passed(found) = filters[name].evaluate(&common::document(&passes), NOW) else {
            panic!("{name} passes")
        };
        let found =
            bson::Bson::Document(bson::Document::try_from(found.as_ref()).expect("it is BSON")).into_relaxed_extjson();
        assert_eq!(rounded(&found["annotations"]), rounded(&annotations), "{name}");
        let rejected = filters[name].evaluate(&common::document(&does_not), NOW);
        assert!(matches!(rejected, Outcome::Rejected), "{name}: {rejected:?}");
    }
}

/// To what a Julian date can tell, some tens of microseconds.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!((number.as_f64().expect("a number") * 1e8).round() / 1e8),
        Value::Array(items) => items.iter().map(rounded).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), rounded(value))).collect())
        }
        other => other.clone(),
    }
}
