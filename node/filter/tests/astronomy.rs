//! The extensions: against published values, against the definition of HEALPix's cells, and what they refuse.

mod common;

use std::collections::BTreeMap;

use boom_filter::{Dialect, FilterSet, Outcome, Problem, Program, Rules, SkyMap};
use bson::Bson;
use common::NOW;
use moc::elemset::range::HpxRanges;
use moc::moc::range::RangeMOC;
use moc::moc::{RangeMOCIntoIterator, RangeMOCIterator};
use moc::qty::Hpx;
use proptest::prelude::*;
use serde_json::{Value, json};

fn map(text: &str) -> SkyMap {
    SkyMap::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn dialect(maps: &[(&str, &str)]) -> Dialect {
    Dialect::extended(maps.iter().map(|(name, text)| ((*name).to_owned(), map(text))).collect())
}

fn parse(expression: &Value, dialect: &Dialect) -> Result<Program, Vec<Problem>> {
    Program::parse_in(&json!([{"$project": {"_id": 0, "r": expression}}]).to_string(), Rules::None, dialect)
}

/// What an expression gives on a document, or its error.
fn run(expression: &Value, document: &Value, dialect: &Dialect) -> Result<Option<Bson>, String> {
    let program = parse(expression, dialect).unwrap_or_else(|problems| panic!("{problems:?}"));
    match program.evaluate(&common::document(document), NOW) {
        Outcome::Passed(answer) => Ok(bson::Document::try_from(answer.as_ref()).expect("it is BSON").remove("r")),
        Outcome::Failed(error) => Err(error.to_string()),
        Outcome::Rejected => panic!("nothing rejects"),
    }
}

fn number(expression: &Value, document: &Value) -> f64 {
    match run(expression, document, &dialect(&[])) {
        Ok(Some(Bson::Double(x))) => x,
        other => panic!("{expression} on {document}: {other:?}"),
    }
}

/// With the arguments in the document, as alerts have them.
fn distance(ra1: f64, dec1: f64, ra2: f64, dec2: f64) -> f64 {
    number(&json!({"$boom.coneDistance": ["$a", "$b", "$c", "$d"]}), &json!({"a": ra1, "b": dec1, "c": ra2, "d": dec2}))
}

fn galactic(ra: f64, dec: f64) -> (f64, f64) {
    let document = json!({"ra": ra, "dec": dec});
    let of = |part: &str| {
        number(
            &json!({"$let": {"vars": {"g": {"$boom.galactic": ["$ra", "$dec"]}}, "in": format!("$$g.{part}")}}),
            &document,
        )
    };
    (of("l"), of("b"))
}

fn inside(name: &str, ra: f64, dec: f64, dialect: &Dialect) -> bool {
    let call = json!({"$boom.inMoc": {"moc": name, "ra": "$ra", "dec": "$dec"}});
    match run(&call, &json!({"ra": ra, "dec": dec}), dialect) {
        Ok(Some(Bson::Boolean(inside))) => inside,
        other => panic!("{name} at {ra} {dec}: {other:?}"),
    }
}

#[track_caller]
fn near(found: f64, published: f64, within: f64) {
    assert!((found - published).abs() <= within, "{found} is not {published} within {within}");
}

#[test]
fn distances_are_the_published_ones() {
    // Meeus, Astronomical Algorithms, example 17.a: Arcturus and Spica.
    near(distance(213.9154, 19.1825, 201.2983, -11.1614) / 3600.0, 32.7930, 5e-5);
    // Astropy's SkyCoord.separation: 3d48m10.29850788s.
    near(distance(17.76, 13.45, 16.08, 16.89), 3.0 * 3600.0 + 48.0 * 60.0 + 10.298_507_88, 1e-7);
}

#[test]
fn distances_are_exact_where_they_are_known() {
    for (ra, dec) in [(0.0, 0.0), (10.68, 41.27), (359.999, -89.9), (123.456, 90.0)] {
        assert_eq!(distance(ra, dec, ra, dec), 0.0, "a point is where it is");
        near(distance(ra, dec, ra + 360.0, dec), 0.0, 1e-9);
        near(distance(ra, dec, ra + 180.0, -dec), 648_000.0, 1e-9);
    }
    near(distance(0.0, -90.0, 77.0, 90.0), 648_000.0, 1e-9);
    near(distance(5.0, 0.0, 95.0, 0.0), 324_000.0, 1e-9);
    near(distance(359.5, 0.0, 0.5, 0.0), 3600.0, 1e-9);
    near(distance(12.0, 90.0, 200.0, 89.0), 3600.0, 1e-9);
    for exponent in 1..=12 {
        let arcsec = 10_f64.powi(-exponent);
        let found = distance(0.0, 0.0, arcsec / 3600.0, 0.0);
        near(found / arcsec, 1.0, 1e-14);
        near(distance(0.0, 0.0, 0.0, -arcsec / 3600.0) / arcsec, 1.0, 1e-14);
    }
}

#[test]
fn galactic_coordinates_are_those_of_the_hipparcos_catalogue() {
    let (l, b) = galactic(266.404_99, -28.936_17);
    near((l + 180.0).rem_euclid(360.0), 180.0, 2e-5);
    near(b, 0.0, 2e-5);
    near(galactic(192.859_48, 27.128_25).1, 90.0, 1e-9);
    near(galactic(12.859_48, -27.128_25).1, -90.0, 1e-9);
    near(galactic(0.0, 90.0).0, 122.931_92, 1e-9);
    near(galactic(0.0, 90.0).1, 27.128_25, 1e-9);
    // Astropy's SkyCoord.galactic, which goes through FK5 and so is off by some milliarcseconds.
    for (ra, dec, l, b) in [
        (36.29, -89.65, 302.775_097_241_958_9, -27.449_305_272_874_522),
        (87.49, -55.21, 263.200_827_121_875_65, -30.601_565_158_262_577),
        (26.08, -85.56, 301.742_803_680_408_77, -31.445_538_743_691_67),
        (43.36, -42.13, 252.008_416_003_933_2, -60.995_896_845_554_55),
    ] {
        near(galactic(ra, dec).0, l, 2e-5);
        near(galactic(ra, dec).1, b, 1e-5);
    }
    // The rotation as the catalogue prints it (volume 1, equation 1.5.11).
    let printed = [
        [-0.054_875_560_4, -0.873_437_090_2, -0.483_835_015_5],
        [0.494_109_427_9, -0.444_829_630_0, 0.746_982_244_5],
        [-0.867_666_149_0, -0.198_076_373_4, 0.455_983_776_2],
    ];
    let vector = |lon: f64, lat: f64| {
        let (lon, lat) = (lon.to_radians(), lat.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    for (ra, dec) in [(0.0, 0.0), (10.684_58, 41.269_17), (83.82, -5.39), (266.4, -29.0), (192.0, 27.0), (340.0, -75.0)]
    {
        let (l, b) = galactic(ra, dec);
        for (row, found) in printed.iter().zip(vector(l, b)) {
            let turned: f64 = row.iter().zip(vector(ra, dec)).map(|(a, b)| a * b).sum();
            near(found, turned, 3e-10);
        }
    }
}

#[test]
fn modified_julian_dates_are_those_of_their_definition() {
    let of = |value: Value| number(&json!({"$boom.mjd": "$t"}), &json!({ "t": value }));
    assert_eq!(of(json!(2_400_000.5)), 0.0);
    assert_eq!(of(json!(2_459_000.75)), 59_000.25);
    assert_eq!(of(json!(2_451_545)), 51_544.5, "J2000.0");
    assert_eq!(of(json!({"$numberDecimal": "2451545.0"})), 51_544.5);
    assert_eq!(of(json!({"$date": {"$numberLong": "0"}})), 40_587.0, "1970-01-01");
    assert_eq!(of(json!({"$date": {"$numberLong": "946728000000"}})), 51_544.5, "2000-01-01T12:00:00Z");
    assert_eq!(of(json!({"$date": {"$numberLong": "-43200000"}})), 40_586.5);
}

/// Base cell 4 is centred on (0, 0) and ends at right ascension ±45 on the equator and at sin δ = ±2/3 on its meridian (Górski et al. 2005).
#[test]
fn a_map_ends_where_its_cells_do() {
    let edge = (2.0_f64 / 3.0).asin().to_degrees();
    let maps = dialect(&[
        ("four", "0/4"),
        ("north", "0/0-3"),
        ("south", "0/8-11"),
        ("sky", "0/0-11"),
        ("tiny", "29/0"),
        ("gap", "1/0 2 3"),
    ]);
    for (ra, dec, within) in [
        (0.0, 0.0, true),
        (44.999_999, 0.0, true),
        (45.000_001, 0.0, false),
        (315.000_001, 0.0, true),
        (-44.999_999, 0.0, true),
        (314.999_999, 0.0, false),
        (0.0, edge - 1e-6, true),
        (0.0, edge + 1e-6, false),
        (360.0, 1e-6 - edge, true),
        (0.0, -edge - 1e-6, false),
        (180.0, 0.0, false),
    ] {
        assert_eq!(inside("four", ra, dec, &maps), within, "{ra} {dec}");
    }
    assert!(inside("north", 12.0, 90.0, &maps) && inside("south", 300.0, -90.0, &maps));
    assert!(!inside("north", 12.0, -90.0, &maps) && !inside("south", 300.0, 90.0, &maps));
    for at in 0..400 {
        let (ra, dec) = (f64::from(at) * 7.3 - 700.0, f64::from(at) * 0.45 - 90.0);
        assert!(inside("sky", ra, dec, &maps), "{ra} {dec}");
        // Base cell 0 without the southernmost quarter of it, whose corner is at (45, 0).
        let first = cdshealpix::nested::hash(1, ra.rem_euclid(360.0).to_radians(), dec.to_radians());
        assert_eq!(inside("gap", ra, dec, &maps), [0, 2, 3].contains(&first));
    }
    // The first cell of order 29, of 0.4 mas, has its southern corner at (45, 0).
    assert!(inside("tiny", 45.0, 5e-8, &maps) && !inside("tiny", 45.0, 1e-6, &maps));
}

fn written(map: &str) -> (RangeMOC<u64, Hpx<u64>>, Vec<u8>) {
    let cells: Vec<u64> = map.split(' ').map(|cell| cell.parse().expect("a cell")).collect();
    let ranges = HpxRanges::new_from(cells.iter().map(|cell| cell << 48..(cell + 1) << 48).collect());
    let map = RangeMOC::new(5, ranges);
    let mut fits = Vec::new();
    map.clone().into_range_moc_iter().to_fits_ivoa(None, None, &mut fits).expect("a vector takes what is written");
    (map, fits)
}

#[test]
fn the_serialisations_of_one_map_are_one_map() {
    let (range, fits) = written("0 5 6 7 12287");
    let mut nuniq = Vec::new();
    moc::deser::fits::hpx_cells_to_fits_ivoa(range.into_range_moc_iter().cells(), None, None, &mut nuniq)
        .expect("it is written");
    let all = [
        SkyMap::parse(&fits).expect("FITS of ranges"),
        SkyMap::parse(&nuniq).expect("FITS of cells"),
        map("5/0 5-7 12287"),
        map("s5/0,5-7,12287\n29/"),
        map("5/0 12287 6 5 7"),
        map(r#"{"5": [0, 5, 6, 7, 12287]}"#),
        map(r#" {"5": [5, 6, 7], "6": [0, 1, 2, 3, 49148, 49149, 49150, 49151], "29": []}"#),
    ];
    for one in &all {
        assert_eq!(one.digest(), all[0].digest());
    }
    assert_ne!(map("5/0 5-7").digest(), all[0].digest());
}

#[test]
fn what_is_no_sky_map_is_refused_with_its_reason() {
    let (_, fits) = written("3 9 27");
    let mut garbled = fits.clone();
    garbled[2880 + 8 * 80 + 11] = 206;
    let mut blank = fits.clone();
    blank[2880 + 80 + 10..2880 + 160].fill(b' ');
    let time = br#"t61/1 3 s3/1"#;
    for (bytes, reason) in [
        (&b""[..], "no list of cells"),
        (b"\x00\xff", "none of them"),
        (b"3/", "empty"),
        (b"{}", "empty"),
        (b"30/1", "`30/` is no order"),
        (b"3/1 3/99999", "no list of cells"),
        (b"3/1 18446744073709551615", "no cell of any order"),
        (b"3/1 2 1", "no list of cells"),
        (b"hello", "'h' stands in no sky map"),
        (time, "'t' stands in no sky map"),
        (br#"{"5": [0, 12288]}"#, "12288 is no cell of order 5"),
        (br#"{"31": [0]}"#, "`31` is no order"),
        (br#"{"5": ["x"]}"#, "this is no sky map"),
        (br#"{"5": [1], "4": [0]}"#, "overlapping"),
        (&fits[..2880], "ends within its headers"),
        (&fits[..5760], "longer than the file"),
        (&blank, "`BITPIX` has no value"),
        (&garbled, "the byte 206 stands in no header"),
    ] {
        let error = SkyMap::parse(bytes).expect_err("it is no sky map").to_string();
        assert!(error.contains(reason), "{:?}: {error}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
}

#[test]
fn extensions_are_refused_unless_they_are_switched_on() {
    for (name, args) in [
        ("$boom.coneDistance", json!(["$ra", "$dec", 1, 2])),
        ("$boom.galactic", json!(["$ra", "$dec"])),
        ("$boom.inMoc", json!({"moc": "x", "ra": 1, "dec": 2})),
        ("$boom.mjd", json!("$jd")),
    ] {
        let problems = common::problems(&json!([{"$project": {"r": {name: args}}}]).to_string(), Rules::None);
        assert!(
            problems.starts_with(&format!("[0].$project.r.{name}: `{name}` is an extension; switch it on with")),
            "{problems}"
        );
    }
    let unknown = common::problems(r#"[{"$project": {"r": {"$mjd": 1}}}]"#, Rules::None);
    assert!(unknown.contains("no operator") && !unknown.contains("$boom"), "{unknown}");
    let near = parse(&json!({"$boom.mdj": 1}), &dialect(&[])).expect_err("it is no operator");
    assert!(near[0].message.contains("did you mean `$boom.mjd`?"), "{near:?}");
}

#[test]
fn a_map_that_is_not_there_is_a_problem_with_the_nearest_name() {
    let call = json!({"$boom.inMoc": {"moc": "sdss_dr8", "ra": "$ra", "dec": "$dec"}});
    let problem = |dialect: &Dialect| parse(&call, dialect).expect_err("there is no such map")[0].to_string();
    let found = problem(&dialect(&[("sdss_dr9", "0/1"), ("gw", "0/2")]));
    assert!(
        found.starts_with("[0].$project.r.$boom.inMoc.moc: `sdss_dr8` is no sky map; did you mean `sdss_dr9`?"),
        "{found}"
    );
    assert!(problem(&dialect(&[])).contains("there are none"));
    let computed = parse(&json!({"$boom.inMoc": {"moc": ["$x"], "ra": 1, "dec": 2}}), &dialect(&[("x", "0/1")]));
    assert!(computed.expect_err("a map is named")[0].message.contains("the name of a sky map"));
}

#[test]
fn the_version_covers_the_maps_that_are_named() {
    let call = json!({"$boom.inMoc": {"moc": "gw", "ra": "$ra", "dec": "$dec"}});
    let of = |maps: &[(&str, &str)]| parse(&call, &dialect(maps)).expect("it is a pipeline");
    let (first, same, other) =
        (of(&[("gw", "0/1")]), of(&[("gw", r#"{"0": [1]}"#), ("x", "0/5")]), of(&[("gw", "0/4")]));
    assert_eq!(first.version(), same.version());
    assert_ne!(first.version(), other.version());
    let plain = parse(&json!("$a"), &dialect(&[("gw", "0/1")])).expect("it is a pipeline");
    assert_eq!(plain.version(), parse(&json!("$a"), &Dialect::default()).expect("it is a pipeline").version());
    // Two maps of one name in one set, as while a new one is taken in: each program keeps its own.
    let set = FilterSet::new(vec![first, other, same]);
    let mut answers = Vec::new();
    set.evaluate(&common::document(&json!({"ra": 0, "dec": 0})), NOW, &mut set.scratch(), |at, outcome| {
        answers.push((at, common::answer(outcome)["document"]["r"].clone()));
    });
    answers.sort_by_key(|(at, _)| *at);
    assert_eq!(answers, [(0, json!(false)), (1, json!(true)), (2, json!(false))]);
}

#[test]
fn nothing_in_is_null_out_and_what_is_no_number_is_refused() {
    let maps = dialect(&[("m", "0/4")]);
    let calls = [
        json!({"$boom.coneDistance": ["$ra", "$dec", 1, 2]}),
        json!({"$boom.coneDistance": [1, 2, "$ra", "$dec"]}),
        json!({"$boom.galactic": ["$ra", "$dec"]}),
        json!({"$boom.inMoc": {"moc": "m", "ra": "$ra", "dec": "$dec"}}),
    ];
    for call in &calls {
        for nothing in
            [json!({}), json!({"ra": 1}), json!({"dec": 1}), json!({"ra": null, "dec": {"$undefined": true}})]
        {
            assert_eq!(run(call, &nothing, &maps), Ok(Some(Bson::Null)), "{call} on {nothing}");
        }
        for (ra, dec) in [
            (json!("10"), json!(1)),
            (json!([1]), json!(null)),
            (json!(true), json!(1)),
            (json!(1), json!({"$date": {"$numberLong": "0"}})),
            (json!(1), json!(90.000_001)),
            (json!(null), json!(-91)),
            (json!(1), json!({"$numberDouble": "NaN"})),
            (json!({"$numberDouble": "NaN"}), json!(1)),
            (json!({"$numberDouble": "Infinity"}), json!(1)),
        ] {
            let document = json!({"ra": ra, "dec": dec});
            let error = run(call, &document, &maps).expect_err("it is no point");
            assert!(error.starts_with("[0].$project.r.$boom."), "{call} on {document}: {error}");
        }
    }
    let mjd = json!({"$boom.mjd": "$t"});
    assert_eq!(run(&mjd, &json!({}), &maps), Ok(Some(Bson::Null)));
    assert!(run(&mjd, &json!({"t": "2459000.5"}), &maps).is_err());
    let constant = parse(&json!({"$boom.galactic": [0, 91]}), &maps).expect_err("it always fails");
    assert!(constant[0].message.contains("always fails"), "{constant:?}");
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-400.0..400.0).prop_map(Value::from)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finite_numbers_never_make_nan(ra1 in anything(), dec1 in -90.0..=90.0, ra2 in anything(), dec2 in -90.0..=90.0) {
        let d = number(&json!({"$boom.coneDistance": ["$a", "$b", "$c", "$d"]}), &json!({"a": ra1, "b": dec1, "c": ra2, "d": dec2}));
        prop_assert!((0.0..=648_000.000_000_1).contains(&d), "{}", d);
        let (l, b) = galactic(ra1.as_f64().unwrap(), dec1);
        prop_assert!((0.0..360.0).contains(&l) && (-90.0..=90.0).contains(&b), "{} {}", l, b);
    }

    #[test]
    fn no_bytes_are_a_map_that_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), cut in any::<prop::sample::Index>(), whole in any::<bool>(),
        text in "[s0-9/ +,-]{0,30}", json in r#"\{("[0-9]{1,2}": ?\[[0-9]{0,20}\],? ?){0,3}\}"#,
    ) {
        let (range, fits) = written("0 5 6 7 12287");
        let mut nuniq = Vec::new();
        moc::deser::fits::hpx_cells_to_fits_ivoa(range.into_range_moc_iter().cells(), None, None, &mut nuniq).expect("it is written");
        for mut bytes in [fits, nuniq] {
            for (at, byte) in &flips {
                // The headers' cards and the table, seldom the blanks between them.
                let at = at.index(bytes.len() / 3) * 3;
                bytes[at] = *byte;
            }
            let end = if whole { bytes.len() } else { cut.index(bytes.len()) };
            if let Ok(map) = SkyMap::parse(&bytes[..end]) {
                inside("m", 10.0, 10.0, &Dialect::extended(BTreeMap::from([("m".to_owned(), map)])));
            }
        }
        let _ = SkyMap::parse(text.as_bytes());
        let _ = SkyMap::parse(json.as_bytes());
    }
}
