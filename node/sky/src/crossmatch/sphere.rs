//! Geometry on the unit sphere: positions, separations, HEALPix cells. No catalog, no row.
//!
//! HEALPix is Górski et al. 2005 (ApJ 622, 759) in the nested scheme; cells are those of `cdshealpix`.

use std::f64::consts::TAU;
use std::ops::Range;

use cdshealpix::compass_point::MainWind::{self, C, E, N, NE, NW, S, SE, SW, W};
use cdshealpix::{best_starting_depth, has_best_starting_depth, nested};

/// The HEALPix order of every key: the finest there is, cells of 0.4 milliarcseconds.
pub const DEPTH: u8 = 29;

/// Arcseconds in one radian.
const ARCSEC_PER_RADIAN: f64 = 360.0 * 3600.0 / TAU;

/// One more than the greatest key of the sky at [`DEPTH`].
const SKY_END: u64 = 12 << (2 * DEPTH);

/// No cell of order k reaches further from its centre than this over 2^k (radians).
///
/// The largest is 0.841 at order 0 and tends to 1.069 from below (healpy's `max_pixrad` times nside).
const CELL_REACH: f64 = 1.08;

/// A cell and its neighbours; at eight corners of the sky one of them is missing.
const WINDS: [MainWind; 9] = [S, SE, E, SW, C, NE, W, NW, N];

/// Whether `ra_deg`, `dec_deg` can be a place on the sky: both finite and the declination within ±90°. Any finite right
/// ascension is a place; it is taken modulo 360°.
pub fn is_position(ra_deg: f64, dec_deg: f64) -> bool {
    ra_deg.is_finite() && (-90.0..=90.0).contains(&dec_deg)
}

/// The unit vector towards a position in degrees.
pub fn unit_vector(ra_deg: f64, dec_deg: f64) -> [f64; 3] {
    from_radians(ra_deg.rem_euclid(360.0).to_radians(), dec_deg.to_radians())
}

fn from_radians(lon: f64, lat: f64) -> [f64; 3] {
    let (sin_lon, cos_lon) = lon.sin_cos();
    let (sin_lat, cos_lat) = lat.sin_cos();
    [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
}

/// The squared straight distance between two unit vectors.
#[inline]
pub(super) fn chord_squared(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    let (x, y, z) = (a[0] - b[0], a[1] - b[1], a[2] - b[2]);
    x * x + y * y + z * z
}

/// The angle of a squared chord, in arcseconds.
pub(super) fn chord_to_arcsec(chord_squared: f64) -> f64 {
    let chord = chord_squared.sqrt();
    let angle = if chord_squared < 1e-4 {
        // 2 asin(c/2), below half a degree: the next term is under 1e-15 of the first.
        chord * (1.0 + chord_squared * (1.0 / 24.0 + chord_squared * (3.0 / 640.0)))
    } else {
        2.0 * chord.atan2((4.0 - chord_squared).max(0.0).sqrt())
    };
    angle * ARCSEC_PER_RADIAN
}

/// The squared chord of an angle in arcseconds; of half a circle or more, the diameter's.
pub(super) fn arcsec_to_chord(arcsec: f64) -> f64 {
    let half = (arcsec / ARCSEC_PER_RADIAN / 2.0).clamp(0.0, TAU / 4.0);
    (2.0 * half.sin()).powi(2)
}

/// The great-circle distance of two positions in degrees, in arcseconds.
///
/// From the chord between unit vectors: good to 1e-9" for small angles, also at the poles and across right ascension 0, and to a
/// milliarcsecond towards the antipode.
pub fn separation_arcsec(ra1_deg: f64, dec1_deg: f64, ra2_deg: f64, dec2_deg: f64) -> f64 {
    chord_to_arcsec(chord_squared(&unit_vector(ra1_deg, dec1_deg), &unit_vector(ra2_deg, dec2_deg)))
}

/// The nested HEALPix cell of order [`DEPTH`] that holds a position in degrees.
///
/// # Panics
/// When the position is none (see [`is_position`]): check it where it enters.
pub fn healpix(ra_deg: f64, dec_deg: f64) -> u64 {
    assert!(is_position(ra_deg, dec_deg), "ra {ra_deg}, dec {dec_deg} is no position on the sky");
    nested::hash(DEPTH, ra_deg.rem_euclid(360.0).to_radians(), dec_deg.to_radians())
}

/// The cells that hold a cone, as ranges of order-29 keys: in order, apart from each other, at most nine.
///
/// An iterator over the ranges; it also yields what lies around the cone, so the distance is still to be checked.
#[derive(Debug, Clone)]
pub struct Cover {
    depth: u8,
    cells: [u64; 12],
    next: usize,
    len: usize,
}

impl Cover {
    /// The order of the cells, and the cells in order.
    pub(super) fn cells(&self) -> (u8, &[u64]) {
        (self.depth, &self.cells[self.next..self.len])
    }
}

impl Iterator for Cover {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let first = *self.cells[..self.len].get(self.next)?;
        let mut end = first;
        while self.cells[..self.len].get(self.next) == Some(&end) {
            end += 1;
            self.next += 1;
        }
        Some(keys_of(self.depth, first).start..keys_of(self.depth, end).start)
    }
}

/// The order-29 keys of a cell.
pub(super) fn keys_of(depth: u8, cell: u64) -> Range<u64> {
    let shift = 2 * (DEPTH - depth);
    (cell << shift).min(SKY_END)..((cell + 1) << shift).min(SKY_END)
}

/// The keys that hold every position within `radius_arcsec` of `ra_deg`, `dec_deg`.
///
/// The order is the finest at which the cell of the centre and its neighbours hold the cone wherever it lies. A position or a
/// radius that is none (NaN, negative) gets an empty cover.
pub fn cover(ra_deg: f64, dec_deg: f64, radius_arcsec: f64) -> Cover {
    let mut cover = Cover { depth: 0, cells: [0; 12], next: 0, len: 0 };
    if !is_position(ra_deg, dec_deg) || radius_arcsec.is_nan() || radius_arcsec < 0.0 {
        return cover;
    }
    // A little wider, because hash and radius are rounded: 1e-6 of it and 20 microarcseconds.
    let radius = radius_arcsec / ARCSEC_PER_RADIAN * (1.0 + 1e-6) + 1e-10;
    if !has_best_starting_depth(radius) {
        cover.cells = std::array::from_fn(|cell| cell as u64);
        cover.len = cover.cells.len();
        return cover;
    }
    cover.depth = best_starting_depth(radius);
    let layer = nested::get(cover.depth);
    let centre = layer.hash(ra_deg.rem_euclid(360.0).to_radians(), dec_deg.to_radians());
    let around = layer.neighbours(centre, true);
    for &cell in WINDS.iter().filter_map(|&wind| around.get(wind)) {
        cover.cells[cover.len] = cell;
        cover.len += 1;
    }
    cover.cells[..cover.len].sort_unstable();
    cover
}

/// Whether a cell of order `depth` may reach within `radius_arcsec` of `centre`; false only when it certainly does not.
pub(super) fn cell_may_touch(depth: u8, cell: u64, centre: &[f64; 3], radius_arcsec: f64) -> bool {
    let (lon, lat) = nested::center(depth, cell);
    let reach = CELL_REACH / (1u64 << depth) as f64 * ARCSEC_PER_RADIAN;
    chord_squared(&from_radians(lon, lat), centre) <= arcsec_to_chord(radius_arcsec + reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vincenty's formula, which holds at every distance.
    fn vincenty(ra1: f64, dec1: f64, ra2: f64, dec2: f64) -> f64 {
        let (d, b1, b2) = ((ra2 - ra1).to_radians(), dec1.to_radians(), dec2.to_radians());
        let y = (b2.cos() * d.sin()).hypot(b1.cos() * b2.sin() - b1.sin() * b2.cos() * d.cos());
        y.atan2(b1.sin() * b2.sin() + b1.cos() * b2.cos() * d.cos()) * ARCSEC_PER_RADIAN
    }

    #[test]
    fn separations_agree_with_vincenty_from_the_poles_to_the_antipode() {
        let places = [
            (0.0, 90.0),
            (123.0, -90.0),
            (359.9999, 0.0),
            (0.0001, 0.0),
            (180.0, 45.0),
            (180.0003, 45.0),
            (90.0, -89.9999),
        ];
        for (ra1, dec1) in places {
            for (ra2, dec2) in places {
                let (ours, theirs) = (separation_arcsec(ra1, dec1, ra2, dec2), vincenty(ra1, dec1, ra2, dec2));
                let tolerance = if theirs < 324_000.0 { 1e-8 } else { 1e-3 };
                assert!((ours - theirs).abs() < tolerance, "{ra1} {dec1} {ra2} {dec2}: {ours} {theirs}");
            }
        }
        assert!((separation_arcsec(0.0, 0.0, 180.0, 0.0) - 648_000.0).abs() < 1e-6);
    }

    #[test]
    fn no_cell_reaches_further_than_the_bound_that_rejects_it() {
        for depth in 0..=12u8 {
            let cells = 12u64 << (2 * depth);
            for cell in (0..cells).step_by((cells / 4001).max(1) as usize) {
                let (lon, lat) = nested::center(depth, cell);
                for (vertex_lon, vertex_lat) in nested::vertices(depth, cell) {
                    let chord = chord_squared(&from_radians(lon, lat), &from_radians(vertex_lon, vertex_lat));
                    let reach = chord_to_arcsec(chord) / ARCSEC_PER_RADIAN;
                    assert!(reach <= CELL_REACH / f64::from(1 << depth), "order {depth}, cell {cell}: {reach}");
                }
            }
        }
    }

    #[test]
    fn a_cover_is_a_few_ranges_in_order_that_hold_their_centre() {
        for (ra, dec) in [(0.0, 0.0), (360.0, 0.0), (-0.5, 12.0), (45.0, 90.0), (45.0, -90.0), (45.0, 41.81)] {
            for radius in [0.0, 0.1, 2.0, 300.0, 3600.0, 400_000.0] {
                let ranges: Vec<_> = cover(ra, dec, radius).collect();
                assert!(!ranges.is_empty() && ranges.len() <= 9);
                assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?}");
                assert!(ranges.iter().any(|range| range.contains(&healpix(ra, dec))));
            }
        }
        assert!(cover(1.0, 1.0, 400_000.0).eq(std::iter::once(0..SKY_END)));
    }

    #[test]
    fn a_position_or_a_radius_that_is_none_covers_nothing() {
        for (ra, dec, radius) in [(f64::NAN, 0.0, 1.0), (0.0, 90.1, 1.0), (0.0, 0.0, -1.0), (0.0, 0.0, f64::NAN)] {
            assert_eq!(cover(ra, dec, radius).count(), 0);
        }
    }
}
