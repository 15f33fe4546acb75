//! What the broker adds to a measurement: time as JD, the band's name, fluxes from magnitudes and magnitudes from fluxes.
//!
//! One rule for every survey, by the descriptor's [`Point`]; a name that the survey's own record has is never written again.

use super::DecodeError;
use super::compile::Slot;
use super::decode::Slots;
use super::key::Key;
use crate::document::{Writer, tag};
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
    /// Names that the survey's own record has, a bit each.
    own: u32,
    /// Whether a position or a time that can not be is an error (the detection's own) or just unknown (a point of its history).
    strict: bool,
}

/// Every name that is ever derived.
#[derive(Debug, Clone, Copy)]
enum Name {
    Jd,
    Band,
    PsfFlux,
    PsfFluxErr,
    SnrPsf,
    ApFlux,
    ApFluxErr,
    SnrAp,
    Magpsf,
    Sigmapsf,
    Diffmaglim,
    Isdiffpos,
    Chipsf,
    Magap,
    Sigmagap,
    Mag,
    Magerr,
    Snr,
}

/// In the order of [`Name`].
static KEYS: [Key; Name::Snr as usize + 1] = [
    Key::short("jd"),
    Key::short("band"),
    Key::short("psfFlux"),
    Key::short("psfFluxErr"),
    Key::short("snr_psf"),
    Key::short("apFlux"),
    Key::short("apFluxErr"),
    Key::short("snr_ap"),
    Key::short("magpsf"),
    Key::short("sigmapsf"),
    Key::short("diffmaglim"),
    Key::short("isdiffpos"),
    Key::short("chipsf"),
    Key::short("magap"),
    Key::short("sigmagap"),
    Key::short("mag"),
    Key::short("magerr"),
    Key::short("snr"),
];

/// The numbers that went into a point's head, with what only the document gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) head: PointHead,
    aperture: (f64, f64),
}

impl Deriver {
    pub(super) fn new(point: &'static Point, record: &[&str], strict: bool) -> Self {
        let has = |(bit, key): (usize, &Key)| u32::from(record.iter().any(|name| key.is(name))) << bit;
        let own = KEYS.iter().enumerate().map(has).sum();
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
        if !self.strict && !POSSIBLE_JD.contains(&jd) {
            // Of the light curve only points at a time that can be are kept; the alert itself is as good as before.
            return Ok(f64::NAN);
        }
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
                Band::new(name)
                    .ok_or_else(|| impossible(field, format!("`{name}` (a band's name has at most 4 letters)")))
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
                if value != Slot::Psf || v <= none || !zero_point.is_finite() {
                    return (f64::NAN, f64::NAN);
                }
                let one = NanoJansky::from_counts(1.0, zero_point).0;
                (v * one, if e <= none { f64::NAN } else { e * one })
            }
        }
    }

    /// Whether a name is to be written, and how.
    #[inline]
    fn key(&self, name: Name) -> Option<&'static Key> {
        (self.own & (1 << name as u32) == 0).then(|| &KEYS[name as usize])
    }

    /// Writes a number where there is one.
    #[inline]
    fn put(&self, name: Name, value: f64, out: &mut Vec<u8>) {
        if let (true, Some(key)) = (value.is_finite(), self.key(name)) {
            key.element(tag::DOUBLE, value.to_le_bytes(), out);
        }
    }

    /// Appends the derived fields to the open document.
    pub(super) fn write(&self, measured: &Measured, out: &mut Vec<u8>) {
        let head = &measured.head;
        let (flux, error) = (head.flux, head.flux_error);
        let (aperture, aperture_error) = measured.aperture;
        self.put(Name::Jd, head.jd, out);
        self.put(Name::PsfFlux, flux, out);
        self.put(Name::PsfFluxErr, error, out);
        self.put(Name::SnrPsf, flux.abs() / error, out);
        self.put(Name::ApFlux, aperture, out);
        self.put(Name::ApFluxErr, aperture_error, out);
        self.put(Name::SnrAp, aperture.abs() / aperture_error, out);
        if !matches!(self.point.flux, FluxAt::Magnitude { .. }) {
            self.write_magnitudes(measured, out);
        }
        if let (true, Some(key)) = (head.band != Band::default(), self.key(Name::Band)) {
            key.write(tag::STRING, out);
            Writer::new(out).string_body(head.band.as_str());
        }
    }

    /// Appends what a record of fluxes does not have itself.
    fn write_magnitudes(&self, measured: &Measured, out: &mut Vec<u8>) {
        let (flux, error) = (measured.head.flux, measured.head.flux_error);
        let (mag, mag_error) = magnitude(flux, error);
        self.put(Name::Magpsf, mag, out);
        self.put(Name::Sigmapsf, mag_error, out);
        if self.key(Name::Diffmaglim).is_some() {
            self.put(Name::Diffmaglim, NanoJansky(error).limiting_mag().map_or(f64::NAN, |mag| mag.0), out);
        }
        let (magap, magap_error) = magnitude(measured.aperture.0, measured.aperture.1);
        self.put(Name::Magap, magap, out);
        self.put(Name::Sigmagap, magap_error, out);
        if matches!(self.point.flux, FluxAt::Counts { .. }) {
            let positive = flux > 0.0;
            self.put(Name::Mag, if positive { mag } else { f64::NAN }, out);
            self.put(Name::Magerr, if positive { mag_error } else { f64::NAN }, out);
            self.put(Name::Snr, flux / error, out);
        }
        if let (true, Some(key)) = (flux.is_finite(), self.key(Name::Isdiffpos)) {
            key.element(tag::BOOLEAN, [u8::from(flux > 0.0)], out);
        }
    }

    /// Appends what only a detection has, unless its record has it.
    pub(super) fn write_fit(&self, slots: &Slots<'_>, out: &mut Vec<u8>) {
        self.put(Name::Chipsf, slots.real(Slot::Chi2) / slots.real(Slot::FitPoints), out);
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
