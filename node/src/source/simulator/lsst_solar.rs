//! What an LSST packet says about an asteroid. Plausible numbers, not a dynamical model.

use super::Subject;
use super::draw::{Draws, mix};
use super::lsst_facts::DiaSource;

/// One asteroid at one time.
#[derive(Debug, Clone)]
pub(super) struct Asteroid {
    pub(super) source: i64,
    pub(super) id: i64,
    pub(super) number: i32,
    pub(super) designation: String,
    pub(super) packed: String,
    pub(super) ecliptic: (f64, f64),
    pub(super) galactic: (f64, f64),
    pub(super) elongation: f32,
    pub(super) phase: f32,
    /// Astronomical units, km/s, magnitudes, degrees a day, arcsec.
    pub(super) distance: f32,
    pub(super) rate: f32,
    pub(super) magnitude: f32,
    pub(super) absolute: f64,
    pub(super) motion: f32,
    pub(super) offset: f32,
    pub(super) ephemeris: (f64, f64),
    pub(super) semi_major_axis: f64,
    pub(super) eccentricity: f64,
    /// Degrees.
    pub(super) inclination: f64,
    pub(super) node: f64,
    pub(super) perihelion: f64,
    pub(super) anomaly: f64,
}

impl Asteroid {
    pub(super) fn new(subject: &Subject<'_>, found: &DiaSource, id: i64) -> Self {
        let mut draws = Draws::new(mix(subject.source.seed, 0x736f_6c61));
        let number = (id % 2_000_000_000) as i32;
        let half_month = |draws: &mut Draws| (b'A' + draws.below(24) as u8) as char;
        let (first, second, cycle) = (half_month(&mut draws), half_month(&mut draws), draws.below(300));
        let semi_major_axis = draws.range(2.1, 3.3);
        let eccentricity = draws.range(0.02, 0.25);
        let distance = semi_major_axis * (1.0 + eccentricity * draws.range(-1.0, 1.0));
        let magnitude = subject.source.magnitudes[found.band];
        let offset = draws.range(0.02, 0.4);
        Self {
            source: found.id,
            id,
            number,
            designation: format!("2014 {first}{second}{cycle}"),
            packed: format!("K14{first}{:02}{second}", cycle % 100),
            ecliptic: ecliptic(found.ra, found.dec),
            galactic: galactic(found.ra, found.dec),
            elongation: draws.range(110.0, 178.0) as f32,
            phase: draws.range(1.0, 20.0) as f32,
            distance: distance as f32,
            rate: draws.range(-5.0, 5.0) as f32,
            magnitude: magnitude as f32,
            absolute: magnitude - 5.0 * libm::log10(distance * (distance - 0.9)),
            motion: draws.range(0.12, 0.35) as f32,
            offset: offset as f32,
            ephemeris: (found.ra + offset * 0.8 / 3600.0, found.dec + offset * 0.6 / 3600.0),
            semi_major_axis,
            eccentricity,
            inclination: draws.range(0.5, 20.0),
            node: draws.range(0.0, 360.0),
            perihelion: draws.range(0.0, 360.0),
            anomaly: draws.range(0.0, 360.0),
        }
    }

    /// Years, by Kepler's third law.
    pub(super) fn period(&self) -> f64 {
        self.semi_major_axis * libm::sqrt(self.semi_major_axis)
    }
}

/// Turns equatorial coordinates (degrees) into a system whose pole is at `pole` and whose ascending node on the equator is at `node.0`,
/// counted from `node.1`.
fn rotate(ra: f64, dec: f64, pole: (f64, f64), origin: f64) -> (f64, f64) {
    let (ra, dec, tilt) = ((ra - pole.0).to_radians(), dec.to_radians(), pole.1.to_radians());
    let sine = libm::sin(dec) * libm::sin(tilt) + libm::cos(dec) * libm::cos(tilt) * libm::cos(ra);
    let east = libm::cos(dec) * libm::sin(ra);
    let north = libm::sin(dec) * libm::cos(tilt) - libm::cos(dec) * libm::sin(tilt) * libm::cos(ra);
    let longitude = origin - libm::atan2(east, north).to_degrees();
    (longitude.rem_euclid(360.0), libm::asin(sine.clamp(-1.0, 1.0)).to_degrees())
}

/// Ecliptic longitude and latitude, J2000.
fn ecliptic(ra: f64, dec: f64) -> (f64, f64) {
    rotate(ra, dec, (270.0, 66.560_708_3), 90.0)
}

/// Galactic longitude and latitude, J2000.
fn galactic(ra: f64, dec: f64) -> (f64, f64) {
    rotate(ra, dec, (192.859_48, 27.128_25), 122.931_92)
}
