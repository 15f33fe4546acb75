//! Matches from a catalog file of two million galaxies: 2" and 300" with the distance rule, to encoded BSON.
#![allow(missing_docs)] // criterion's macros make public items without comments

use std::hint::black_box;

use boom_sky::crossmatch::{DistanceRule, MatchRule};
use boom_store::catalog::{Catalog, CatalogSpec, CatalogWriter, Cell, Column, ColumnType, ImportRecord, Scratch};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const ROWS: usize = 2_000_000;

fn anywhere(rng: &mut Pcg64Mcg) -> (f64, f64) {
    (rng.random_range(0.0..360.0), rng.random_range(-1.0..1.0f64).asin().to_degrees())
}

fn spec() -> CatalogSpec {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let columns = vec![
        column("objname", ColumnType::String),
        column("ra", ColumnType::Double),
        column("dec", ColumnType::Double),
        column("objtype", ColumnType::String),
        column("z", ColumnType::Double),
        column("z_unc", ColumnType::Double),
        column("Mstar", ColumnType::Double),
        column("Mstar_unc", ColumnType::Double),
    ];
    CatalogSpec { name: "NED".to_owned(), ra: "ra".to_owned(), dec: "dec".to_owned(), columns }
}

/// Galaxies all over the sky, three in four with a redshift; and places beside some of them.
fn catalog(dir: &std::path::Path) -> (Catalog, Vec<(f64, f64)>) {
    let mut rng = Pcg64Mcg::seed_from_u64(2);
    let mut writer = CatalogWriter::new(spec()).expect("the columns are usable");
    let mut places = Vec::new();
    for number in 0..ROWS {
        let (ra, dec) = anywhere(&mut rng);
        let name = format!("WISEA J{number:012}");
        let z = if number % 4 == 0 { Cell::Missing } else { Cell::Double(rng.random_range(0.0..0.3)) };
        let (ra_cell, dec_cell) = (Cell::Double(ra), Cell::Double(dec));
        let mass = Cell::Double(rng.random_range(8.0..12.0));
        let unc = Cell::Double(0.001);
        writer.push(&[Cell::Text(&name), ra_cell, dec_cell, Cell::Text("G"), z, unc, mass, unc]).expect("a position");
        if number % 499 == 0 {
            places.push((ra + 1e-4, dec));
        }
    }
    let written = writer.write(dir, ImportRecord::default()).expect("the directory is writable");
    (Catalog::open(&written.path).expect("what was written opens"), places)
}

fn matches(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (catalog, places) = catalog(dir.path());
    let plain = MatchRule {
        catalog: "NED".to_owned(),
        radius_arcsec: 2.0,
        projection: vec![],
        max_results: None,
        distance: None,
    };
    let projected = MatchRule { projection: vec!["objname".to_owned(), "z".to_owned()], ..plain.clone() };
    let distance = DistanceRule { redshift: "z".to_owned(), distance_max: 30.0, distance_max_near: 300.0 };
    let by_distance = MatchRule { radius_arcsec: 300.0, distance: Some(distance), ..plain.clone() };
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    for (what, rule) in [("2\"", plain), ("2\", two columns", projected), ("300\", distance rule", by_distance)] {
        let mut next = places.iter().cycle();
        c.bench_function(&format!("matches in a file of 2,000,000 rows, {what}"), |b| {
            b.iter(|| {
                let &(ra, dec) = next.next().expect("a cycle has no end");
                out.clear();
                catalog.matches(ra, dec, black_box(&rule), &mut scratch, &mut out).expect("no row is damaged")
            });
        });
    }
    c.bench_function("open a catalog of 2,000,000 rows", |b| {
        b.iter(|| Catalog::open(black_box(catalog.path())).expect("it opened before").len());
    });
}

criterion_group!(benches, matches);
criterion_main!(benches);
