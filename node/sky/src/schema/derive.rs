//! What the broker adds to a measurement: time as JD, the band's name, fluxes from magnitudes and magnitudes from fluxes.
//!
//! One rule for every survey, by the descriptor's [`Point`]; a name that the survey's own record has is never written again.

use super::DecodeError;
use super::compile::Slot;
use super::decode::Slots;
use crate::document::Writer;
use crate::lightcurve::{Band, PointHead};
use crate::survey::{BandAt, FluxAt, Point, Time};
use crate::units::{Jd, Mag, NanoJansky};

/// A detection has at least this signal-to-noise ratio.
const DETECTION_SNR: f64 = 3.0;

/// Times outside are mistakes: 1858 to 2132.
const POSSIBLE_JD: std::ops::Range<f64> = 2_400_000.0..2_500_000.0;

/// Derives one kind of measurement.
#[derive(Debug)]
pub(super) struct Deriver {
    point: &'static Point,
    /// Names that the survey's own record has.
    own: Vec<&'static str>,
    /// Whether a position that can not be is an error (the detection's own) or just unknown.
    strict: bool,
}

/// Every name that is ever derived.
const NAMES: [&str; 18] = [
    "jd", "band", "psfFlux", "psfFluxErr", "snr_psf", "apFlux", "apFluxErr", "snr_ap", "magpsf", "sigmapsf",
    "diffmaglim", "isdiffpos", "chipsf", "magap", "sigmagap", "mag", "magerr", "snr",
];

/// The numbers that went into a point's head, with what only the document gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) head: PointHead,
    aperture: (f64, f64),
}

impl Deriver {
    pub(super) fn new(point: &'static Point, record: &[&str], strict: bool) -> Self {
        let own = NAMES.into_iter().filter(|name| record.contains(name)).collect();
        Self { point, own, strict }
    }

    /// Reads the numbers of a point.
    ///
    /// # Errors
    /// The time, the band or (of a detection) the position is missing or impossible.
    pub(super) fn measure(&self, slots: &Slots<'_>, at: &str) -> Result<Measured, DecodeError> {
        let jd = self.time(slots, at)?;
        let (ra, dec) = (slots.real(Slot::Ra), slots.real(Slot::Dec));
        if self.strict {
            possible(slots, Slot::Ra, (0.0, 360.0), &format!("{at}.ra"))?;
            possible(slots, Slot::Dec, (-90.0, 90.0), &format!("{at}.dec"))?;
        }
        let psf = self.flux(slots, Slot::Psf, Slot::PsfError);
        let aperture = self.flux(slots, Slot::Aperture, Slot::ApertureError);
        let head = PointHead {
            jd,
            flux: psf.0,
            flux_error: psf.1,
            ra,
            dec,
            stamp: f64::NAN,
            band: self.band(slots, at)?,
            program: 0,
        };
        Ok(Measured { head, aperture })
    }

    fn time(&self, slots: &Slots<'_>, at: &str) -> Result<f64, DecodeError> {
        let (Time::Jd(field) | Time::Mjd(field) | Time::MjdTai(field)) = self.point.time;
        let jd = self.julian(slots.real(Slot::Time));
        if slots.is_none(Slot::Time) {
            return Err(DecodeError::MissingField(format!("{at}.{field}")));
        }
        if !POSSIBLE_JD.contains(&jd) {
            let value = format!("{} (a date between 1858 and 2132 is possible)", slots.real(Slot::Time));
            return Err(DecodeError::Impossible { field: format!("{at}.{field}"), value });
        }
        Ok(jd)
    }

    /// A time of this record's system as JD, UTC.
    pub(super) fn julian(&self, time: f64) -> f64 {
        match self.point.time {
            Time::Jd(_) => time,
            Time::Mjd(_) => Jd::from_mjd_utc(time).0,
            Time::MjdTai(_) => Jd::from_mjd_tai(time).0,
        }
    }

    fn band(&self, slots: &Slots<'_>, at: &str) -> Result<Band, DecodeError> {
        let impossible = |field: &str, value: String| DecodeError::Impossible { field: format!("{at}.{field}"), value };
        match self.point.band {
            BandAt::Name(field) => {
                let name = slots.text(Slot::Band).unwrap_or_default();
                Band::new(name).ok_or_else(|| impossible(field, format!("`{name}` (a band's name has at most 4 letters)")))
            }
            BandAt::Number(field, names) => {
                let number = slots.integer(Slot::Band);
                let name = number.and_then(|n| names.get(usize::try_from(n).ok()?.checked_sub(1)?));
                let name = name.ok_or_else(|| match number {
                    None => DecodeError::MissingField(format!("{at}.{field}")),
                    Some(n) => impossible(field, format!("{n} (1 to {} are {})", names.len(), names.join(", "))),
                })?;
                Ok(Band::new(name).expect("a descriptor's bands are short"))
            }
        }
    }

    /// Flux and error in nJy, NaN where there is none.
    fn flux(&self, slots: &Slots<'_>, value: Slot, error: Slot) -> (f64, f64) {
        let (v, e) = (slots.real(value), slots.real(error));
        match self.point.flux {
            FluxAt::Magnitude { .. } if v.is_finite() => {
                let sign = if slots.truth(Slot::Sign).unwrap_or(true) { 1.0 } else { -1.0 };
                let flux = Mag(v).flux();
                (sign * flux.0, flux.error_from_mag(e).0)
            }
            FluxAt::Magnitude { .. } if value == Slot::Psf => {
                let limit = slots.real(Slot::Limit);
                (f64::NAN, if limit.is_finite() { Mag(limit).flux().0 / 5.0 } else { f64::NAN })
            }
            FluxAt::Magnitude { .. } => (f64::NAN, f64::NAN),
            FluxAt::NanoJansky { .. } => (v, e),
            FluxAt::Counts { none, .. } => {
                let zero_point = slots.real(Slot::ZeroPoint);
                if v <= none || !zero_point.is_finite() {
                    return (f64::NAN, f64::NAN);
                }
                let error = if e <= none { f64::NAN } else { NanoJansky::from_counts(e, zero_point).0 };
                (NanoJansky::from_counts(v, zero_point).0, error)
            }
        }
    }

    /// Appends the derived fields to the open document.
    pub(super) fn write(&self, measured: &Measured, writer: &mut Writer<'_>) {
        let head = &measured.head;
        let mut put = |name: &str, value: f64| {
            if value.is_finite() && !self.own.contains(&name) {
                writer.double(name, value);
            }
        };
        let (flux, error) = (head.flux, head.flux_error);
        let snr = flux.abs() / error;
        put("jd", head.jd);
        put("psfFlux", flux);
        put("psfFluxErr", error);
        put("snr_psf", snr);
        put("apFlux", measured.aperture.0);
        put("apFluxErr", measured.aperture.1);
        put("snr_ap", measured.aperture.0.abs() / measured.aperture.1);
        if !matches!(self.point.flux, FluxAt::Magnitude { .. }) {
            let (mag, mag_error) = magnitude(flux, error);
            put("magpsf", mag);
            put("sigmapsf", mag_error);
            put("diffmaglim", NanoJansky(error).limiting_mag().map_or(f64::NAN, |mag| mag.0));
            let (mag, mag_error) = magnitude(measured.aperture.0, measured.aperture.1);
            put("magap", mag);
            put("sigmagap", mag_error);
        }
        if matches!(self.point.flux, FluxAt::Counts { .. }) {
            let (mag, mag_error) = magnitude(flux.max(0.0), error);
            put("mag", mag);
            put("magerr", mag_error);
            put("snr", flux / error);
        }
        if flux.is_finite() && !matches!(self.point.flux, FluxAt::Magnitude { .. }) && !self.own.contains(&"isdiffpos") {
            writer.boolean("isdiffpos", flux > 0.0);
        }
        if !self.own.contains(&"band") && head.band != Band::default() {
            writer.string("band", head.band.as_str());
        }
    }

    /// Appends what only a detection has, unless its record has it.
    pub(super) fn write_fit(&self, slots: &Slots<'_>, writer: &mut Writer<'_>) {
        let reduced = slots.real(Slot::Chi2) / slots.real(Slot::FitPoints);
        if reduced.is_finite() && !self.own.contains(&"chipsf") {
            writer.double("chipsf", reduced);
        }
    }
}

/// Magnitude and error of a detection, of the flux's absolute value.
fn magnitude(flux: f64, error: f64) -> (f64, f64) {
    let size = NanoJansky(flux.abs());
    if size.0 / error < DETECTION_SNR || !error.is_finite() {
        return (f64::NAN, f64::NAN);
    }
    let mag = size.mag().map_or(f64::NAN, |mag| mag.0);
    (mag, size.mag_error(NanoJansky(error)).unwrap_or(f64::NAN))
}

fn possible(slots: &Slots<'_>, slot: Slot, range: (f64, f64), field: &str) -> Result<(), DecodeError> {
    let value = slots.real(slot);
    if slots.is_none(slot) {
        return Err(DecodeError::MissingField(field.to_owned()));
    }
    if !(range.0..=range.1).contains(&value) {
        let value = format!("{value} ({} to {} degrees are possible)", range.0, range.1);
        return Err(DecodeError::Impossible { field: field.to_owned(), value });
    }
    Ok(())
}
