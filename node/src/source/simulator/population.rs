//! What is in the simulated sky: the source in each slot of a field, with its kind, position, brightness, light curve, host and neighbours.
//! A source is a pure function of (seed, field, slot), or, for what is seen only once, of (seed, visit, slot). No photometry, no packets.

use super::draw::{Draws, mix};
use super::lightcurve::Curve;
use super::sky::{Schedule, Visit};
use super::{ArtefactKind, Population};

/// A galaxy under or beside a source.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) ra: f64,
    pub(super) dec: f64,
    /// Offset of the host from the source, arcsec east and north.
    pub(super) offset: (f64, f64),
    pub(super) magnitude: f64,
    pub(super) redshift: f64,
    /// Scale length of its exponential disc in arcsec, and axis ratio.
    pub(super) scale: f64,
    pub(super) axis_ratio: f64,
    /// Rotation, radians.
    pub(super) angle: f64,
}

/// One thing that may raise an alert.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) population: Population,
    /// Class in words: "RRab", "Ia", "dipole", …
    pub(super) kind: &'static str,
    pub(super) artefact: Option<ArtefactKind>,
    pub(super) ra: f64,
    pub(super) dec: f64,
    /// Magnitude at relative flux 1, bands u g r i z y.
    pub(super) magnitudes: [f64; 6],
    pub(super) curve: Curve,
    /// Whether the template holds it at relative flux 1 (a star, a nucleus) or not at all (supernovae, asteroids).
    pub(super) in_template: bool,
    pub(super) host: Option<Host>,
    pub(super) period: Option<f64>,
    /// Seen in one visit only.
    pub(super) once: bool,
    /// Number that the draws about this source start from.
    pub(super) seed: u64,
}

/// What lives in the slots, by turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Variable,
    Agn,
    Supernova,
    Flare,
    Asteroid,
    Artefact,
}

/// Forty slots in a fixed, mixed order: 12 variables, 4 AGN, 8 supernovae, 6 flares, 4 asteroids, 6 artefacts. Many of the supernovae and
/// flares are faint at any one time.
const CYCLE: [Slot; 40] = {
    use Slot::{Agn as G, Artefact as X, Asteroid as R, Flare as F, Supernova as S, Variable as V};
    [
        V, S, X, F, R, V, G, S, F, V, X, S, V, F, R, V, S, X, G, V, F, S, V, R, X, V, S, F, G, V, X, S, V, R, F, V, S,
        X, G, V,
    ]
};

fn slot_of(schedule: &Schedule, slot: u64) -> Slot {
    if slot < schedule.most_sources() {
        CYCLE[(slot % 40) as usize]
    } else if slot.is_multiple_of(5) {
        Slot::Asteroid
    } else {
        Slot::Artefact
    }
}

/// The source in `slot` as `visit` sees it.
pub(super) fn source(schedule: &Schedule, visit: &Visit, slot: u64) -> Source {
    let kind = slot_of(schedule, slot);
    let once = matches!(kind, Slot::Asteroid | Slot::Artefact);
    let seed =
        if once { mix(visit.seed, slot) } else { mix(mix(mix(schedule.seed, 0x736f_7572_6365), visit.field), slot) };
    let mut draws = Draws::new(seed);
    let (ra, dec) = position(schedule, visit.field, &mut draws);
    let blank = Source {
        population: Population::Variable,
        kind: "",
        artefact: None,
        ra,
        dec,
        magnitudes: [0.0; 6],
        curve: Curve::Constant,
        in_template: false,
        host: None,
        period: None,
        once,
        seed,
    };
    let deeper = schedule.instrument.deeper;
    match kind {
        Slot::Variable => variable(blank, &mut draws, deeper),
        Slot::Agn => agn(blank, &mut draws, deeper),
        Slot::Supernova => supernova(blank, &mut draws, schedule),
        Slot::Flare => flare(blank, &mut draws, deeper),
        Slot::Asteroid => asteroid(blank, &mut draws, visit),
        Slot::Artefact => artefact(blank, &mut draws, visit),
    }
}

/// Source of a slot that keeps its place in the field from visit to visit, or nothing for the slots of what is seen once.
pub(super) fn lasting_source(schedule: &Schedule, visit: &Visit, slot: u64) -> Option<Source> {
    if matches!(slot_of(schedule, slot), Slot::Asteroid | Slot::Artefact) {
        None
    } else {
        Some(source(schedule, visit, slot))
    }
}

fn position(schedule: &Schedule, field: u64, draws: &mut Draws) -> (f64, f64) {
    let (ra, dec) = schedule.centre(field);
    let radius = schedule.instrument.field_radius;
    let dec = dec + draws.range(-radius, radius);
    let ra = ra + draws.range(-radius, radius) / libm::cos(dec.to_radians());
    (ra.rem_euclid(360.0), dec)
}

/// Magnitudes in u g r i z y from r and g - r.
fn colours(r: f64, g_r: f64) -> [f64; 6] {
    [r + 2.2 * g_r, r + g_r, r, r - 0.4 * g_r, r - 0.6 * g_r, r - 0.7 * g_r]
}

fn variable(mut source: Source, draws: &mut Draws, deeper: f64) -> Source {
    source.in_template = true;
    let r = 14.3 + 4.6 * libm::sqrt(draws.uniform()) + deeper;
    let phase = draws.uniform();
    let (kind, g_r, period, curve) = match draws.below(10) {
        0..=2 => {
            let period = draws.range(0.44, 0.78);
            ("RRab", 0.25, period, Curve::Sawtooth { period, phase, amplitude: draws.range(0.6, 1.2), rise: 0.15 })
        }
        3 => {
            let period = draws.log_range(2.0, 30.0);
            ("CEP", 0.6, period, Curve::Sawtooth { period, phase, amplitude: draws.range(0.5, 1.1), rise: 0.3 })
        }
        4 | 5 => {
            let period = draws.log_range(0.6, 8.0);
            let depth = draws.range(0.5, 1.5);
            let depths = (depth, depth * draws.range(0.2, 0.9));
            ("EA", 0.5, period, Curve::Eclipses { period, phase, depths, width: draws.range(0.04, 0.09) })
        }
        6 | 7 => {
            let period = draws.range(0.24, 0.6);
            let depth = draws.range(0.35, 0.8);
            ("EW", 0.6, period, Curve::Eclipses { period, phase, depths: (depth, 0.9 * depth), width: 0.25 })
        }
        8 => {
            let period = draws.range(0.05, 0.2);
            ("DSCT", 0.2, period, Curve::Sine { period, phase, amplitude: draws.range(0.3, 0.6) })
        }
        _ => {
            let period = draws.range(120.0, 420.0);
            ("M", 1.5, period, Curve::Sine { period, phase, amplitude: draws.range(2.0, 4.5) })
        }
    };
    source.kind = kind;
    source.period = Some(period);
    source.magnitudes = colours(r, g_r + draws.range(-0.08, 0.08));
    source.curve = curve;
    source
}

fn host(source: &Source, draws: &mut Draws, magnitude: f64, redshift: f64, distance: f64) -> Host {
    let direction = draws.range(0.0, std::f64::consts::TAU);
    let offset = (distance * libm::cos(direction), distance * libm::sin(direction));
    Host {
        ra: (source.ra + offset.0 / 3600.0 / libm::cos(source.dec.to_radians())).rem_euclid(360.0),
        dec: source.dec + offset.1 / 3600.0,
        offset,
        magnitude,
        redshift,
        scale: (0.25 / redshift.max(0.01)).clamp(0.5, 6.0) * draws.range(0.6, 1.2) + 0.3,
        axis_ratio: draws.range(0.4, 1.0),
        angle: draws.range(0.0, std::f64::consts::PI),
    }
}

fn agn(mut source: Source, draws: &mut Draws, deeper: f64) -> Source {
    source.population = Population::Agn;
    source.kind = if draws.chance(0.7) { "QSO" } else { "Sy1" };
    source.in_template = true;
    let r = draws.range(16.6, 19.0) + deeper;
    let redshift = if source.kind == "QSO" { draws.range(0.3, 2.5) } else { draws.range(0.02, 0.2) };
    source.magnitudes = colours(r, draws.range(0.05, 0.35));
    let sigma = draws.range(0.18, 0.4);
    let tau = draws.log_range(60.0, 400.0);
    source.curve = Curve::damped_random_walk(draws, sigma, tau);
    let magnitude = r + if source.kind == "QSO" { 2.5 } else { draws.range(-0.5, 0.8) };
    source.host = Some(host(&source, draws, magnitude, redshift, 0.03));
    source
}

fn supernova(mut source: Source, draws: &mut Draws, schedule: &Schedule) -> Source {
    source.population = Population::Supernova;
    let (kind, absolute, rise, decline, g_r) = match draws.below(10) {
        0..=6 => ("Ia", -19.2, 16.0, 22.0, 0.0),
        7 | 8 => ("II", -17.2, 9.0, 60.0, 0.15),
        _ => ("Ibc", -17.6, 14.0, 18.0, 0.4),
    };
    source.kind = kind;
    let peak = 15.8 + 3.8 * libm::cbrt(draws.uniform()) + schedule.instrument.deeper;
    source.magnitudes = colours(peak, g_r + draws.range(-0.08, 0.08));
    // Hubble's law with 70 km/s/Mpc: near enough for a label.
    let distance = libm::exp10((peak - absolute + draws.range(-0.3, 0.3) - 25.0) / 5.0);
    let redshift = (70.0 * distance / 299_792.458).min(1.2);
    let epochs = (-45.0, 22.0);
    source.curve = Curve::Supernova {
        peak: schedule.instrument.first_night + draws.range(epochs.0, epochs.1 + schedule.nights as f64),
        rise: rise * draws.range(0.85, 1.15) * (1.0 + redshift),
        decline: decline * draws.range(0.8, 1.2) * (1.0 + redshift),
    };
    if draws.chance(0.93) {
        let scale = (0.25 / redshift.max(0.01)).clamp(0.5, 6.0);
        let offset = scale * draws.range(0.2, 1.6);
        let magnitude = peak + draws.range(-1.5, 2.5);
        source.host = Some(host(&source, draws, magnitude, redshift, offset));
    }
    source
}

fn flare(mut source: Source, draws: &mut Draws, deeper: f64) -> Source {
    source.population = Population::Flare;
    source.in_template = true;
    if draws.chance(0.65) {
        source.kind = "UGSS";
        let cycle = draws.log_range(14.0, 60.0);
        source.period = Some(cycle);
        source.magnitudes = colours(draws.range(18.8, 21.3) + deeper, draws.range(-0.1, 0.4));
        source.curve = Curve::Outbursts {
            phase: draws.uniform(),
            cycle,
            length: draws.range(5.0, 11.0),
            amplitude: draws.range(2.2, 5.0),
        };
    } else {
        source.kind = "UV";
        source.magnitudes = colours(draws.range(15.8, 18.8) + deeper, draws.range(1.2, 1.6));
        source.curve = Curve::Flares {
            seed: draws.bits(),
            probability: draws.range(0.2, 0.8),
            amplitude: draws.range(0.8, 2.5),
            decay: draws.range(0.03, 0.12),
        };
    }
    source
}

fn asteroid(mut source: Source, draws: &mut Draws, visit: &Visit) -> Source {
    source.population = Population::Asteroid;
    source.kind = "MBA";
    let r = visit.limit - 0.15 - 3.5 * draws.uniform() * draws.uniform();
    source.magnitudes = [r; 6];
    source
}

fn artefact(mut source: Source, draws: &mut Draws, visit: &Visit) -> Source {
    source.population = Population::Artefact;
    let (artefact, kind) = match draws.below(10) {
        0 | 1 => (ArtefactKind::CosmicRay, "cosmic ray"),
        2 | 3 => (ArtefactKind::HotPixel, "hot pixel"),
        4..=6 => (ArtefactKind::Dipole, "dipole"),
        7 => (ArtefactKind::Streak, "streak"),
        8 => (ArtefactKind::Spike, "diffraction spike"),
        _ => (ArtefactKind::Ghost, "ghost"),
    };
    source.artefact = Some(artefact);
    source.kind = kind;
    let bright = if matches!(artefact, ArtefactKind::Dipole | ArtefactKind::Spike) { 4.0 } else { 3.0 };
    let r = visit.limit - 0.1 - bright * draws.uniform() * draws.uniform();
    source.magnitudes = [r; 6];
    source
}

/// Letters of a ZTF object name: seven digits in base 26.
pub(super) fn letters(mut number: u64) -> String {
    let mut name = [b'a'; 7];
    for letter in name.iter_mut().rev() {
        *letter = b'a' + (number % 26) as u8;
        number /= 26;
    }
    String::from_utf8_lossy(&name).into_owned()
}

/// A number that no other object of the simulated sky has: lasting sources first, then those seen once, visit by visit.
pub(super) fn object_number(schedule: &Schedule, visit: &Visit, slot: u64, once: bool) -> u64 {
    let stride = schedule.most_sources();
    if !once {
        return visit.field * stride + slot;
    }
    let before = schedule.fields() * stride;
    let burst = match schedule.burst {
        // Slots beyond the stride exist in one visit only.
        Some(_) if slot >= stride => return before + slot - stride,
        Some((_, factor)) => (factor * schedule.sources as f64) as u64,
        None => 0,
    };
    before + burst + (visit.serial + schedule.visits_a_night() as i64 * 40) as u64 * stride + slot
}
