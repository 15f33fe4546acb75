//! Radius searches in a catalog of two million rows: uniform over the sky, and with a dense field (100,000 rows in a square
//! degree, as in the plane of the Galaxy).
#![allow(missing_docs)] // criterion's macros make public items without comments

use std::hint::black_box;

use boom_sky::crossmatch::{Index, cover};
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const ROWS: usize = 2_000_000;
const IN_FIELD: usize = 100_000;

/// Uniform positions; the last `IN_FIELD` lie within half a degree of (300, 20).
fn catalog(rng: &mut Pcg64Mcg) -> Vec<(f64, f64)> {
    let anywhere =
        |rng: &mut Pcg64Mcg| (rng.random_range(0.0..360.0), rng.random_range(-1.0..1.0f64).asin().to_degrees());
    let mut positions: Vec<(f64, f64)> = (0..ROWS - IN_FIELD).map(|_| anywhere(rng)).collect();
    positions.extend((0..IN_FIELD).map(|_| in_field(rng)));
    positions
}

fn in_field(rng: &mut Pcg64Mcg) -> (f64, f64) {
    (300.0 + rng.random_range(-0.5..0.5) / 20f64.to_radians().cos(), 20.0 + rng.random_range(-0.5..0.5))
}

fn searches(c: &mut Criterion) {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let positions = catalog(&mut rng);
    let (index, _) = Index::build(&positions);
    let view = index.view();
    let beside_a_row = |rng: &mut Pcg64Mcg| positions[rng.random_range(0..ROWS - IN_FIELD)];
    let sky: Vec<(f64, f64)> = (0..4096).map(|_| beside_a_row(&mut rng)).collect();
    let field: Vec<(f64, f64)> = (0..4096).map(|_| in_field(&mut rng)).collect();
    let mut hits = Vec::new();
    for (place, centres) in [("sky", &sky), ("dense field", &field)] {
        for radius in [2.0, 300.0] {
            let mut next = centres.iter().cycle();
            c.bench_function(&format!("search {radius}\" in 2,000,000 rows, {place}"), |b| {
                b.iter(|| {
                    let &(ra, dec) = next.next().expect("a cycle has no end");
                    view.search(ra, dec, black_box(radius), &mut hits);
                    hits.len()
                });
            });
        }
    }
    let mut next = sky.iter().cycle();
    c.bench_function("cover 2\"", |b| {
        b.iter(|| {
            let &(ra, dec) = next.next().expect("a cycle has no end");
            cover(ra, dec, black_box(2.0)).count()
        });
    });
}

criterion_group!(benches, searches);
criterion_main!(benches);
