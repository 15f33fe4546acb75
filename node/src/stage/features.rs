//! What models are made of besides the detection: numbers of the object's light curve up to it.

use boom_sky::lightcurve::Series;
use boom_sky::properties::Detections;

use crate::scorer::manifest::Derived;

/// The detections of a light curve up to an alert, as models see them.
#[derive(Debug, Clone, Default)]
pub struct History(Detections);

impl History {
    /// From the series of alert detections.
    pub fn new(detections: &Series, jd: f64) -> Self {
        Self(Detections::new(detections, jd))
    }

    /// A value that a model wants, NaN where there is none. `counts` are `ncovhist` and `ndethist`.
    pub fn derived(&self, which: Derived, jd: f64, counts: (f64, f64)) -> f64 {
        let brightest = self.0.points.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a });
        let faintest = self.0.points.iter().map(|point| point.1).reduce(f64::max);
        let first = self.0.points.first().map(|point| point.0);
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

#[cfg(test)]
mod tests {
    use boom_sky::lightcurve::{Band, PointHead};
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
}
