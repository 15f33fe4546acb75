//! What is derived of every survey's alerts alike: `properties`, made of the detection, of the object's light curve up to it, and of what
//! the star catalog of the survey said.
//!
//! The rules of single surveys are data in [`crate::survey::properties`]; no catalog is asked here.

use crate::alert::Alert;
use crate::document::Writer;
use crate::features::Extractor;
use crate::lightcurve::photstats::{self, PhotPoint, Photstats};
use crate::lightcurve::{PointHead, Series};
use crate::survey::Survey;
use crate::units::{NanoJansky, POGSON};

/// A detection has at least this signal-to-noise ratio.
const DETECTION_SNR: f64 = 3.0;

/// Detections nearer in time than this, in days, are of one visit.
const STATIONARY_SPAN: f64 = 0.01;

/// The detections of a light curve up to an alert, its own included.
#[derive(Debug, Clone, Default)]
pub struct Detections {
    /// Time (JD) and magnitude of each, in the order of time.
    pub points: Vec<(f64, f64)>,
}

impl Detections {
    /// From the series of alert detections.
    pub fn new(detections: &Series, jd: f64) -> Self {
        let until = detections.iter().map(|point| point.head).filter(|head| head.jd <= jd);
        let magnitudes = until.filter_map(|head| Some((head.jd, NanoJansky(head.flux.abs()).mag()?.0)));
        Self { points: magnitudes.collect() }
    }

    /// Whether the object was seen at this place at two times.
    pub fn stationary(&self) -> bool {
        match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => last.0 - first.0 > STATIONARY_SPAN,
            _ => false,
        }
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

/// Writes the properties of one survey's alerts.
#[derive(Debug)]
pub struct Properties {
    survey: &'static Survey,
    extractor: Extractor,
}

/// What one thread keeps between alerts.
#[derive(Debug, Default)]
pub struct Scratch {
    points: Vec<PhotPoint>,
    photstats: Photstats,
}

/// The light curves that properties are made of.
#[derive(Debug, Clone, Copy)]
pub struct LightCurves<'a> {
    /// The series of the object itself.
    pub own: &'a [Series],
    /// Those of the same object in other surveys.
    pub others: &'a [&'a [Series]],
}

/// The properties that are made of light curves, which are the last ones.
pub const OF_LIGHT_CURVES: [&str; 3] = ["stationary", "photstats", "multisurvey_photstats"];

impl LightCurves<'_> {
    /// Writes the properties [`OF_LIGHT_CURVES`], as an alert sees them, into the open document.
    pub fn write(&self, alert: &PointHead, scratch: &mut Scratch, writer: &mut Writer<'_>) {
        let [stationary, of_survey, of_all] = OF_LIGHT_CURVES;
        let detections = self.own.first().map_or_else(Detections::default, |own| Detections::new(own, alert.jd));
        writer.boolean(stationary, detections.stationary());
        let Scratch { points, photstats } = scratch;
        points.clear();
        photometry(self.own, alert, points);
        photstats::write(writer, of_survey, photstats.compute(points));
        for other in self.others {
            photometry(other, alert, points);
        }
        photstats::write(writer, of_all, photstats.compute(points));
    }
}

impl Properties {
    /// For the alerts of a survey.
    pub fn new(survey: &'static Survey) -> Self {
        Self { survey, extractor: Extractor::new(survey.properties.fields) }
    }

    /// Writes `properties` into the open document. `stars` is what the survey's star catalog said: a star, near a bright one.
    pub fn write(
        &self,
        alert: &Alert,
        curves: LightCurves<'_>,
        stars: Option<(bool, bool)>,
        scratch: &mut Scratch,
        writer: &mut Writer<'_>,
    ) {
        let rule = &self.survey.properties;
        let mut values = vec![f64::NAN; rule.fields.len()];
        self.extractor.extract(&alert.candidate, &mut values);
        let mut derived = (rule.derive)(&values);
        if let Some((star, bright)) = stars {
            (derived.star, derived.near_brightstar) = (Some(star), Some(bright));
        }
        let properties = writer.open_document("properties");
        for (name, value) in
            [("rock", derived.rock), ("star", derived.star), ("near_brightstar", derived.near_brightstar)]
        {
            if let Some(value) = value {
                writer.boolean(name, value);
            }
        }
        curves.write(&alert.head, scratch, writer);
        writer.close(properties);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lightcurve::Band;
    use crate::units::Mag;

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
    fn detections_of_one_visit_are_not_stationary() {
        assert!(!Detections::new(&series(&[(1.0, 19.0, 1.0), (1.009, 19.0, 1.0)]), 2.0).stationary());
        assert!(Detections::new(&series(&[(1.0, 19.0, 1.0), (1.02, 19.0, 1.0)]), 2.0).stationary());
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
