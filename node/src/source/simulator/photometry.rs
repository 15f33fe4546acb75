//! What a visit measures of a source: difference flux with its error, position, detection. The same (source, visit) gives the same
//! measurement wherever it is asked for: in the alert of that visit, and in the history of every later one.

use super::draw::{Draws, Noise, mix};
use super::population::Source;
use super::sky::{Instrument, Visit, flux_of, magnitude_of};

/// Signal-to-noise ratio from which a source raises an alert.
pub(super) const DETECTION: f64 = 5.0;

/// One measurement on one difference image.
#[derive(Debug, Clone)]
pub(super) struct Photometry {
    /// Science minus template, in the survey's flux units (ZTF: DN at the visit's zero point, LSST: nanojansky).
    pub(super) flux: f64,
    pub(super) error: f64,
    /// What the template holds of the point source.
    pub(super) template: f64,
    /// Number that further draws about this measurement start from.
    pub(super) seed: u64,
}

impl Photometry {
    pub(super) fn of(instrument: &Instrument, noise: &Noise, source: &Source, visit: &Visit) -> Self {
        let unit = flux_of(source.magnitudes[visit.band], visit.zero_point);
        let total = unit * source.curve.relative_flux(visit.band, visit.jd);
        let template = if source.in_template { unit } else { 0.0 };
        let under = source.host.as_ref().map_or(0.0, |host| host_in_aperture(host.magnitude, host.scale, visit));
        let shot = (total.max(template) + under) / instrument.gain;
        let systematic = 0.008 * (total - template).abs() + 0.002 * template + 0.006 * under;
        let error = libm::sqrt(visit.faint_error * visit.faint_error + shot + systematic * systematic);
        let seed = mix(source.seed, visit.serial as u64);
        Self { flux: total - template + error * noise.normal(seed), error, template, seed }
    }

    pub(super) fn snr(&self) -> f64 {
        self.flux.abs() / self.error
    }

    pub(super) fn is_detected(&self) -> bool {
        self.snr() >= DETECTION
    }

    pub(super) fn is_positive(&self) -> bool {
        self.flux >= 0.0
    }

    /// Magnitude of the absolute difference flux, and its error.
    pub(super) fn magnitude(&self, visit: &Visit) -> (f64, f64) {
        (magnitude_of(self.flux, visit.zero_point), 1.085_736 * self.error / self.flux.abs())
    }

    /// Measured position in degrees.
    pub(super) fn position(&self, instrument: &Instrument, source: &Source, visit: &Visit) -> (f64, f64) {
        let mut draws = Draws::new(mix(self.seed, 0x706f_7369));
        let sigma = (visit.psf * instrument.pixel / self.snr() + 0.02 * instrument.pixel) / 3600.0;
        let dec = source.dec + sigma * draws.normal();
        ((source.ra + sigma * draws.normal() / libm::cos(source.dec.to_radians())).rem_euclid(360.0), dec)
    }
}

/// Roughly what part of an extended galaxy lies under the PSF.
fn host_in_aperture(magnitude: f64, scale: f64, visit: &Visit) -> f64 {
    flux_of(magnitude, visit.zero_point) / (1.0 + scale * scale)
}
