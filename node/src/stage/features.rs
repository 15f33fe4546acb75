//! What models and properties are made of: numbers of the detection, and of the object's light curve up to it.

use boom_sky::document::Writer;
use boom_sky::lightcurve::photstats::{self, PhotPoint, Photstats};
use boom_sky::lightcurve::{PointHead, Series};
use boom_sky::units::{NanoJansky, POGSON};

use crate::scorer::manifest::Derived;

/// A detection has at least this signal-to-noise ratio.
const DETECTION_SNR: f64 = 3.0;

/// Detections nearer in time than this, in days, are of one visit.
const STATIONARY_SPAN: f64 = 0.01;

/// The detections of a light curve up to an alert, its own included.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Time and magnitude of each, in the order of time.
    detections: Vec<(f64, f64)>,
}

impl History {
    /// From the series of alert detections.
    pub fn new(detections: &Series, jd: f64) -> Self {
        let until = detections.iter().map(|point| point.head).filter(|head| head.jd <= jd);
        let magnitudes = until.filter_map(|head| Some((head.jd, NanoJansky(head.flux.abs()).mag()?.0)));
        Self { detections: magnitudes.collect() }
    }

    /// Whether the object was seen at this place at two times.
    pub fn stationary(&self) -> bool {
        match (self.detections.first(), self.detections.last()) {
            (Some(first), Some(last)) => last.0 - first.0 > STATIONARY_SPAN,
            _ => false,
        }
    }

    /// A value that a model wants, NaN where there is none. `counts` are `ncovhist` and `ndethist`.
    pub fn derived(&self, which: Derived, jd: f64, counts: (f64, f64)) -> f64 {
        let brightest = self.detections.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a });
        let faintest = self.detections.iter().map(|point| point.1).reduce(f64::max);
        let first = self.detections.first().map(|point| point.0);
        let value = match which {
            Derived::Age => first.map(|first| jd - first),
            Derived::DaysSincePeak => brightest.map(|peak| jd - peak.0),
            Derived::DaysToPeak => first.zip(brightest).map(|(first, peak)| peak.0 - first),
            Derived::PeakmagSoFar => brightest.map(|peak| peak.1),
            Derived::MaxmagSoFar => faintest,
            Derived::Nnondet => Some(counts.0 - counts.1),
        };
        value.unwrap_or(f64::NAN)
    }
}

/// The points of a light curve that photstats are made of: detections up to the alert, forced ones too, of the alert's own sign, so that
/// a variable above its reference is not mixed with itself below.
pub fn photometry(series: &[Series], alert: &PointHead, out: &mut Vec<PhotPoint>) {
    for head in series.iter().flat_map(Series::iter).map(|point| point.head) {
        let snr = head.flux.abs() / head.flux_error;
        let same_sign = (head.flux > 0.0) == (alert.flux > 0.0);
        if head.jd <= alert.jd
            && snr >= DETECTION_SNR
            && same_sign
            && let Some(mag) = NanoJansky(head.flux.abs()).mag()
        {
            out.push(PhotPoint { jd: head.jd, mag: mag.0, mag_err: POGSON / snr, band: head.band });
        }
    }
}

/// What [`write_light_curve`] writes, which is last among the properties.
pub const OF_LIGHT_CURVE: [&str; 3] = ["stationary", "photstats", "multisurvey_photstats"];

/// What is kept from one light curve to the next.
#[derive(Debug, Default)]
pub struct PhotScratch {
    points: Vec<PhotPoint>,
    photstats: Photstats,
}

/// Writes the properties that are made of light curves: the object's own, and those of the same object in other surveys.
pub fn write_light_curve<'a>(
    own: &[Series],
    others: impl Iterator<Item = &'a [Series]>,
    alert: &PointHead,
    writer: &mut Writer<'_>,
    PhotScratch { points, photstats }: &mut PhotScratch,
) {
    let [stationary, of_survey, of_all] = OF_LIGHT_CURVE;
    writer.boolean(stationary, History::new(&own[0], alert.jd).stationary());
    points.clear();
    photometry(own, alert, points);
    photstats::write(writer, of_survey, photstats.compute(points));
    for other in others {
        photometry(other, alert, points);
    }
    photstats::write(writer, of_all, photstats.compute(points));
}

#[cfg(test)]
mod tests {
    use boom_sky::lightcurve::Band;
    use boom_sky::units::Mag;

    use super::*;

    fn head(jd: f64, mag: f64, sign: f64) -> PointHead {
        let flux = sign * Mag(mag).flux().0;
        let band = Band::new("g").unwrap();
        PointHead { jd, flux, flux_error: flux.abs() / 10.0, ra: 1.0, dec: 1.0, stamp: jd, band, program: 1 }
    }

    fn series(points: &[(f64, f64, f64)]) -> Series {
        let mut series = Series::default();
        for point in points {
            series.push(&head(point.0, point.1, point.2), &[]);
        }
        series
    }

    #[test]
    fn the_light_curve_of_a_model_ends_with_the_alert() {
        let history =
            History::new(&series(&[(1.0, 19.0, 1.0), (3.0, 17.0, 1.0), (4.0, 18.0, 1.0), (9.0, 12.0, 1.0)]), 4.0);
        let derived = |which| history.derived(which, 4.0, (30.0, 12.0));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(derived(Derived::Age), 3.0));
        assert!(close(derived(Derived::DaysSincePeak), 1.0));
        assert!(close(derived(Derived::DaysToPeak), 2.0));
        assert!(close(derived(Derived::PeakmagSoFar), 17.0));
        assert!(close(derived(Derived::MaxmagSoFar), 19.0));
        assert!(close(derived(Derived::Nnondet), 18.0));
        assert!(History::default().derived(Derived::Age, 4.0, (0.0, 0.0)).is_nan());
    }

    #[test]
    fn detections_of_one_visit_are_not_stationary() {
        assert!(!History::new(&series(&[(1.0, 19.0, 1.0), (1.009, 19.0, 1.0)]), 2.0).stationary());
        assert!(History::new(&series(&[(1.0, 19.0, 1.0), (1.02, 19.0, 1.0)]), 2.0).stationary());
    }

    #[test]
    fn photometry_leaves_out_later_points_noise_and_the_other_sign() {
        let mut all = series(&[(1.0, 19.0, 1.0), (2.0, 19.0, -1.0), (9.0, 19.0, 1.0)]);
        all.push(&PointHead { flux_error: 1e9, ..head(3.0, 19.0, 1.0) }, &[]);
        let mut points = Vec::new();
        photometry(&[all], &head(5.0, 19.0, 1.0), &mut points);
        assert_eq!(points.len(), 1);
        assert!((points[0].mag - 19.0).abs() < 1e-9 && (points[0].mag_err - POGSON / 10.0).abs() < 1e-12);
    }
}
