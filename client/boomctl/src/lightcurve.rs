//! What of a light curve is drawn: detections with their errors, and limits where nothing was detected. Pure; drawing is `chart`'s.

use boom_sky::lightcurve::{Band, PointHead, Series};
use boom_sky::units::NanoJansky;

/// A forced measurement of less signal-to-noise than this is a limit.
const DETECTION_SNR: f64 = 3.0;

/// One mark in the drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mark {
    /// When, JD.
    pub(crate) jd: f64,
    /// Band.
    pub(crate) band: Band,
    /// AB magnitude: of the difference's absolute value, or of the 5-sigma limit.
    pub(crate) mag: f64,
    /// What was seen.
    pub(crate) kind: Kind,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// A source, with the error of its magnitude.
    Detection(f64),
    /// Nothing down to the magnitude.
    Limit,
}

/// The marks of an object's series, in the order of time.
pub(crate) fn marks(series: &[Series]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = series.iter().flat_map(Series::iter).filter_map(|point| mark(&point.head)).collect();
    marks.sort_by(|a, b| a.jd.total_cmp(&b.jd).then(a.band.cmp(&b.band)));
    marks
}

fn mark(head: &PointHead) -> Option<Mark> {
    let (flux, error) = (NanoJansky(head.flux.abs()), NanoJansky(head.flux_error));
    let seen = head.flux.is_finite() && flux.0 >= DETECTION_SNR * error.0.max(0.0);
    let (mag, kind) = match flux.mag().filter(|_| seen) {
        Some(mag) => (mag, Kind::Detection(flux.mag_error(error).unwrap_or(0.0))),
        None => (error.limiting_mag()?, Kind::Limit),
    };
    head.jd.is_finite().then_some(Mark { jd: head.jd, band: head.band, mag: mag.0, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(flux: f64, flux_error: f64) -> PointHead {
        let band = Band::new("r").expect("r is a band");
        PointHead { jd: 2_460_000.5, flux, flux_error, ra: 0.0, dec: 0.0, stamp: 0.0, band, program: 1 }
    }

    #[test]
    fn what_is_below_three_sigma_is_a_limit() {
        let weak = mark(&point(20.0, 10.0)).expect("it has an error");
        // 5 x 10 nJy: 31.4 - 2.5 log10(50).
        assert_eq!(weak.kind, Kind::Limit);
        assert!((weak.mag - 27.152_574_989).abs() < 1e-6, "{weak:?}");
        let none = mark(&point(f64::NAN, 10.0)).expect("it has a limit");
        assert_eq!((none.kind, none.mag), (Kind::Limit, weak.mag));
    }

    #[test]
    fn a_detection_below_the_template_is_drawn_by_its_absolute_flux() {
        let above = mark(&point(1000.0, 10.0)).expect("it is a detection");
        assert_eq!(mark(&point(-1000.0, 10.0)), Some(above));
        assert!((above.mag - 23.9).abs() < 1e-9);
        assert!(matches!(above.kind, Kind::Detection(error) if (error - 0.010_857).abs() < 1e-6));
    }

    #[test]
    fn a_point_with_neither_flux_nor_error_is_left_out() {
        assert_eq!(mark(&point(f64::NAN, f64::NAN)), None);
        assert_eq!(mark(&point(0.0, 0.0)), None);
    }
}
