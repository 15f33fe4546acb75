//! How the sources of the simulated sky vary: flux as a pure function of band and time. No noise, no telescope.

use std::f64::consts::TAU;

use super::draw::{Draws, mix, unit};

/// Components of the random Fourier series that stands for a damped random walk.
const MODES: usize = 10;

/// The shape of a light curve.
#[derive(Debug, Clone)]
pub(super) enum Curve {
    /// Does not vary (asteroids between visits, artefacts).
    Constant,
    /// RR Lyrae, Cepheids: a fast rise in the part `rise` of the period, a slow decline.
    Sawtooth { period: f64, phase: f64, amplitude: f64, rise: f64 },
    /// Long-period and delta Scuti stars.
    Sine { period: f64, phase: f64, amplitude: f64 },
    /// Eclipsing binaries: two dips of width `width` (part of the period).
    Eclipses { period: f64, phase: f64, depths: (f64, f64), width: f64 },
    /// Active galactic nuclei: magnitudes as a Gaussian process with the spectrum of a damped random walk.
    DampedRandomWalk { frequencies: [f64; MODES], phases: [f64; MODES], sigma: f64 },
    /// Supernovae: a rise of `rise` days to the peak, then a decline of `decline` days per e-fold with a slower tail.
    Supernova { peak: f64, rise: f64, decline: f64 },
    /// Dwarf novae: an outburst of `length` days every `cycle` days, amplitude in magnitudes.
    Outbursts { phase: f64, cycle: f64, length: f64, amplitude: f64 },
    /// Flare stars: on one day in a few a flare that dies within hours.
    Flares { seed: u64, probability: f64, amplitude: f64, decay: f64 },
}

/// How the amplitude of a variation in magnitudes depends on the band u g r i z y.
const BAND_AMPLITUDE: [f64; 6] = [1.25, 1.0, 0.75, 0.6, 0.55, 0.5];

impl Curve {
    pub(super) fn damped_random_walk(draws: &mut Draws, sigma: f64, tau: f64) -> Self {
        let mut frequencies = [0.0; MODES];
        let mut phases = [0.0; MODES];
        for (frequency, phase) in frequencies.iter_mut().zip(&mut phases) {
            // The spectrum of the walk is a Lorentzian, whose quantiles are a tangent.
            *frequency = (libm::tan(draws.uniform() * TAU / 4.0) / (TAU * tau)).min(1.0);
            *phase = draws.range(0.0, TAU);
        }
        Self::DampedRandomWalk { frequencies, phases, sigma }
    }

    /// Flux now, relative to the flux at the source's reference magnitude. For a supernova the reference is its peak.
    pub(super) fn relative_flux(&self, band: usize, jd: f64) -> f64 {
        let scale = BAND_AMPLITUDE[band];
        let brighter = match self {
            Self::Constant => return 1.0,
            Self::Supernova { peak, rise, decline } => {
                return supernova(band, jd - peak, *rise, *decline);
            }
            Self::Sawtooth { period, phase, amplitude, rise } => {
                let at = (jd / period + phase).rem_euclid(1.0);
                let saw = if at < *rise { at / rise } else { (1.0 - at) / (1.0 - rise) };
                scale * amplitude * (saw * saw * (3.0 - 2.0 * saw) - 0.45)
            }
            Self::Sine { period, phase, amplitude } => 0.5 * scale * amplitude * libm::sin(TAU * (jd / period + phase)),
            Self::Eclipses { period, phase, depths, width } => {
                let at = (jd / period + phase).rem_euclid(1.0);
                let dip = |centre: f64| {
                    let away = (at - centre).abs().min(1.0 - (at - centre).abs()) / width;
                    if away < 1.0 { 1.0 - away * away } else { 0.0 }
                };
                0.15 * (depths.0 + depths.1) - depths.0 * dip(0.0) - depths.1 * dip(0.5)
            }
            Self::DampedRandomWalk { frequencies, phases, sigma } => {
                let days = jd - 2_458_000.5;
                let sum: f64 = frequencies.iter().zip(phases).map(|(f, phase)| libm::cos(TAU * f * days + phase)).sum();
                scale * sigma * libm::sqrt(2.0 / MODES as f64) * sum
            }
            Self::Outbursts { phase, cycle, length, amplitude } => {
                let at = (jd / cycle + phase).rem_euclid(1.0) * cycle;
                let rise = 0.15 * length;
                if at < rise {
                    amplitude * at / rise
                } else {
                    amplitude * (1.0 - (at - rise) / (length - rise)).max(0.0)
                }
            }
            Self::Flares { seed, probability, amplitude, decay } => {
                flares(*seed, *probability, *decay, jd) * amplitude * scale
            }
        };
        libm::exp(0.921_034 * brighter)
    }
}

/// Flux relative to the peak; bluer bands peak earlier and fade faster.
fn supernova(band: usize, days: f64, rise: f64, decline: f64) -> f64 {
    let redness = band as f64 - 1.0;
    let days = days - 1.5 * redness;
    if days < -rise {
        0.0
    } else if days < 0.0 {
        let part = 1.0 + days / rise;
        part * part * (3.0 - 2.0 * part)
    } else {
        let decline = decline * (1.0 + 0.25 * redness);
        0.93 * libm::exp(-days / decline) + 0.07 * libm::exp(-days / 60.0)
    }
}

/// Height of the flare of the day, 0 to 1. A day starts at noon, so that a night has one flare at most.
fn flares(seed: u64, probability: f64, decay: f64, jd: f64) -> f64 {
    let day = jd.floor();
    let hash = mix(seed, day as u64);
    if unit(hash) > probability {
        return 0.0;
    }
    let start = day + 0.45 + 0.5 * unit(mix(hash, 1));
    if jd < start { 0.0 } else { libm::exp(-(jd - start) / decay) }
}
