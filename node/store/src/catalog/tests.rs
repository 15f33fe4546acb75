//! Catalog files from end to end: written, opened, matched, damaged; and each format imported.

mod formats;

use std::fs;
use std::path::{Path, PathBuf};

use boom_sky::crossmatch::{DistanceRule, MatchRule, separation_arcsec};
use bson::{Document, RawDocument, doc};
use tempfile::TempDir;

use super::*;

fn column(name: &str, kind: ColumnType) -> Column {
    Column { name: name.to_owned(), kind }
}

fn galaxies() -> CatalogSpec {
    let columns = vec![
        column("objname", ColumnType::String),
        column("ra", ColumnType::Double),
        column("dec", ColumnType::Double),
        column("z", ColumnType::Double),
        column("n", ColumnType::Long),
    ];
    CatalogSpec { name: "NED".to_owned(), ra: "ra".to_owned(), dec: "dec".to_owned(), columns }
}

/// Name, position, redshift.
type Galaxy = (&'static str, f64, f64, f64);

const SEC: f64 = 1.0 / 3600.0;

const GALAXIES: [Galaxy; 5] = [
    ("far", 10.0, 20.0 + 29.0 * SEC, 0.05),
    ("too far", 10.0, 20.0 + 31.0 * SEC, 0.05),
    ("near", 10.0, 20.0 - 200.0 * SEC, 0.001),
    ("close", 10.0, 20.0 + SEC, 0.1),
    ("no redshift", 10.0, 20.0, f64::NAN),
];

fn write(dir: &Path, rows: &[Galaxy]) -> Written {
    let mut writer = CatalogWriter::new(galaxies()).unwrap();
    for (name, ra, dec, z) in rows {
        let row = [Cell::Text(name), Cell::Double(*ra), Cell::Double(*dec), Cell::Double(*z), Cell::Int(1)];
        writer.push(&row).unwrap();
    }
    writer.write(dir, ImportRecord::default()).unwrap()
}

fn opened(galaxies: &[Galaxy]) -> (TempDir, Catalog) {
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), galaxies);
    let catalog = Catalog::open(&written.path).unwrap();
    (dir, catalog)
}

fn rule(radius_arcsec: f64) -> MatchRule {
    MatchRule { catalog: "NED".to_owned(), radius_arcsec, projection: vec![], max_results: None, distance: None }
}

fn by_distance() -> MatchRule {
    let distance = DistanceRule { redshift: "z".to_owned(), distance_max: 30.0, distance_max_near: 300.0 };
    MatchRule { distance: Some(distance), ..rule(300.0) }
}

fn matched(catalog: &Catalog, ra: f64, dec: f64, rule: &MatchRule) -> Vec<Document> {
    let mut out = b"before".to_vec();
    let count = catalog.matches(ra, dec, rule, &mut Scratch::default(), &mut out).unwrap();
    let matches = documents(&out[6..]);
    assert_eq!(matches.len(), count);
    matches
}

/// An array that stands alone is encoded as a document with the keys 0, 1, …
fn documents(array: &[u8]) -> Vec<Document> {
    let elements = RawDocument::from_bytes(array).unwrap().iter().enumerate().map(|(at, element)| {
        let (key, value) = element.unwrap();
        assert_eq!(key.as_str(), at.to_string());
        Document::try_from(value.as_document().unwrap()).unwrap()
    });
    elements.collect()
}

fn names(matches: &[Document]) -> Vec<&str> {
    matches.iter().map(|document| document.get_str("objname").unwrap()).collect()
}

#[test]
fn a_match_is_the_row_with_its_distance_nearest_first() {
    let (_dir, catalog) = opened(&GALAXIES);
    let matches = matched(&catalog, 10.0, 20.0, &rule(30.0));
    assert_eq!(names(&matches), ["no redshift", "close", "far"]);
    let distance = separation_arcsec(10.0, 20.0, 10.0, 20.0 + SEC);
    let close =
        doc! {"objname": "close", "ra": 10.0, "dec": 20.0 + SEC, "z": 0.1, "n": 1i64, "distance_arcsec": distance};
    assert_eq!(matches[1], close);
    // A redshift that is NaN is absent.
    assert_eq!(matches[0], doc! {"objname": "no redshift", "ra": 10.0, "dec": 20.0, "n": 1i64, "distance_arcsec": 0.0});
    assert!(matched(&catalog, 190.0, -20.0, &rule(30.0)).is_empty());
    assert!(matched(&catalog, f64::NAN, 20.0, &rule(30.0)).is_empty());
}

#[test]
fn a_projection_keeps_its_columns_and_the_position() {
    let (_dir, catalog) = opened(&GALAXIES);
    let rule = MatchRule { projection: vec!["z".to_owned()], max_results: Some(2), ..rule(30.0) };
    let matches = matched(&catalog, 10.0, 20.0, &rule);
    assert_eq!(matches.len(), 2);
    assert_eq!(matches[1].keys().collect::<Vec<_>>(), ["ra", "dec", "z", "distance_arcsec"]);
}

#[test]
fn the_distance_rule_orders_by_kpc_and_leaves_out_what_has_no_redshift() {
    let (_dir, catalog) = opened(&GALAXIES);
    let matches = matched(&catalog, 10.0, 20.0, &by_distance());
    assert_eq!(names(&matches), ["near", "close", "far"]);
    let kpc: Vec<f64> = matches.iter().map(|document| document.get_f64("distance_kpc").unwrap()).collect();
    assert_eq!(kpc[0], -1.0);
    assert!((kpc[1] - 2.0).abs() < 1e-6 && (kpc[2] - 29.0).abs() < 1e-6, "{kpc:?}");
}

#[test]
fn a_rule_that_cannot_be_followed_is_refused_with_the_nearest_name() {
    let (_dir, catalog) = opened(&GALAXIES);
    catalog.check(&by_distance()).unwrap();
    let message = |rule: MatchRule| catalog.check(&rule).unwrap_err().to_string();
    let unknown = message(MatchRule { projection: vec!["objnam".to_owned()], ..rule(1.0) });
    assert_eq!(
        unknown,
        "catalog NED has no column \"objnam\" (did you mean \"objname\"?); it has: objname, ra, dec, z, n"
    );
    let mut no_number = by_distance();
    no_number.distance.as_mut().unwrap().redshift = "objname".to_owned();
    assert!(message(no_number).contains("no column of numbers \"objname\""));
    for radius in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(message(rule(radius)).contains("radius_arcsec"));
    }
}

#[test]
fn the_same_rows_have_the_same_version_in_any_order_and_other_rows_another() {
    let dir = tempfile::tempdir().unwrap();
    let version = |galaxies: &[Galaxy]| write(dir.path(), galaxies).version;
    let mut twins = GALAXIES.to_vec();
    twins.extend([("twin a", 10.0, 20.0, 0.1), ("twin b", 10.0, 20.0, 0.1)]);
    let first = version(&twins);
    let bytes = fs::read(dir.path().join("NED.boomcat")).unwrap();
    twins.reverse();
    assert_eq!(version(&twins), first);
    assert_eq!(fs::read(dir.path().join("NED.boomcat")).unwrap(), bytes);
    twins[0].3 = 0.2;
    assert_ne!(version(&twins), first);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary stays");
}

#[test]
fn what_is_written_is_what_is_opened() {
    let (_dir, catalog) = opened(&GALAXIES);
    assert_eq!((catalog.name(), catalog.len(), catalog.is_empty()), ("NED", 5, false));
    assert_eq!(catalog.columns(), galaxies().columns);
    assert_eq!(catalog.position_columns(), ("ra", "dec"));
    assert_eq!(catalog.version().len(), 32);
    catalog.verify().unwrap();
}

#[test]
fn a_file_cut_anywhere_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &GALAXIES).path;
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = Catalog::open(&path).expect_err("a cut file does not open");
        assert!(matches!(error, CatalogError::Foreign { .. } | CatalogError::Damaged { .. }), "{error}");
    }
    fs::write(&path, [&bytes[..], b"x"].concat()).unwrap();
    assert!(Catalog::open(&path).unwrap_err().to_string().contains("should be"));
}

#[test]
fn a_file_with_any_byte_changed_is_found_damaged_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = write(dir.path(), &GALAXIES).path;
    let bytes = fs::read(&path).unwrap();
    let mut unnoticed = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        fs::write(&path, &changed).unwrap();
        let Ok(catalog) = Catalog::open(&path) else { continue };
        for rule in [rule(300.0), by_distance()] {
            let _ = catalog.matches(10.0, 20.0, &rule, &mut Scratch::default(), &mut Vec::new());
        }
        unnoticed += u32::from(catalog.verify().is_ok());
    }
    assert!(unnoticed < 64, "only the padding of the header is nobody's: {unnoticed}");
}

#[test]
fn a_damaged_row_is_an_error_and_leaves_the_output_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &GALAXIES).path;
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] = 1;
    fs::write(&path, &bytes).unwrap();
    let catalog = Catalog::open(&path).unwrap();
    let mut out = b"before".to_vec();
    let error = catalog.matches(10.0, 20.0, &rule(300.0), &mut Scratch::default(), &mut out).unwrap_err();
    assert!(error.to_string().contains("row 4 is not readable"), "{error}");
    assert_eq!(out, b"before");
    assert!(catalog.verify().is_err());
}

#[test]
fn a_foreign_file_and_another_format_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &GALAXIES).path;
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    fs::write(&path, &bytes).unwrap();
    assert!(Catalog::open(&path).unwrap_err().to_string().contains("has catalog format 9, this program reads 1"));
    fs::write(&path, "objname,ra,dec").unwrap();
    assert!(Catalog::open(&path).unwrap_err().to_string().contains("is not a catalog file"));
    assert!(Catalog::open(&dir.path().join("none.boomcat")).unwrap_err().to_string().starts_with("opening catalog"));
}

#[test]
fn a_directory_is_a_set_and_two_of_one_name_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &GALAXIES);
    fs::write(dir.path().join("README"), "not a catalog").unwrap();
    let set = CatalogSet::open_dir(dir.path()).unwrap();
    assert_eq!(set.iter().map(Catalog::name).collect::<Vec<_>>(), ["NED"]);
    assert_eq!(set.get("NED").map(Catalog::len), Some(5));
    fs::copy(dir.path().join("NED.boomcat"), dir.path().join("copy.boomcat")).unwrap();
    assert!(matches!(CatalogSet::open_dir(dir.path()), Err(CatalogError::Twice { .. })));
    assert!(matches!(CatalogSet::open_dir(&dir.path().join("none")), Err(CatalogError::Io { .. })));
}

#[test]
fn a_catalog_that_cannot_be_is_refused_before_its_first_row() {
    let refused = |spec: CatalogSpec| CatalogWriter::new(spec).unwrap_err().to_string();
    assert!(refused(CatalogSpec { name: "../x".to_owned(), ..galaxies() }).contains("letters, digits"));
    assert!(refused(CatalogSpec { ra: "objname".to_owned(), ..galaxies() }).contains("position column \"objname\""));
    let mut spec = galaxies();
    spec.columns.push(column("z", ColumnType::Double));
    assert!(refused(spec).contains("two columns \"z\""));
    let mut spec = galaxies();
    spec.columns.push(column("distance_arcsec", ColumnType::Double));
    assert!(refused(spec).contains("what a match adds"));
}
