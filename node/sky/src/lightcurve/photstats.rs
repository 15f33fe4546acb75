//! Statistics of a light curve, band by band: the peak, and how fast the object rose to it and faded from it.
//!
//! Points come in as magnitudes and statistics go out; which points of which survey, and where the result is stored, is decided
//! elsewhere.

use std::cmp::Ordering;

use super::series::Band;
use crate::document::Writer;

/// One detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhotPoint {
    /// Time, Julian date in UTC.
    pub jd: f64,
    /// Magnitude.
    pub mag: f64,
    /// Its 1-sigma error, positive.
    pub mag_err: f64,
    /// Band.
    pub band: Band,
}

/// A straight line through the magnitudes of a part of the light curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Change of magnitude per day; negative while the object brightens.
    pub rate: f64,
    /// 1-sigma error of `rate` from the points' own errors, mag/day.
    pub rate_error: f64,
    /// Chi-squared over the degrees of freedom (`nb_data` - 2); `None` where there are none.
    pub red_chi2: Option<f64>,
    /// Points fitted.
    pub nb_data: usize,
    /// Time from the first to the last point fitted, days.
    pub dt: f64,
}

/// What is known of one band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandStats {
    /// Time of the brightest point; of the earliest of several.
    pub peak_jd: f64,
    /// Magnitude of the brightest point.
    pub peak_mag: f64,
    /// Its error.
    pub peak_mag_err: f64,
    /// Time from the first to the last point of the band, days.
    pub dt: f64,
    /// The line through the points up to and including the peak.
    pub rising: Option<Slope>,
    /// The line through the points from the peak, it included.
    pub fading: Option<Slope>,
}

/// A part of the light curve that spans less, in days, gives no slope: points of one visit.
const SHORTEST: f64 = 0.01;

/// Computes statistics, keeping its memory between calls. One for each thread.
#[derive(Debug, Default)]
pub struct Photstats {
    points: Vec<PhotPoint>,
    bands: Vec<(Band, BandStats)>,
}

impl Photstats {
    /// The statistics of each band that has a point, in the order of the bands' names.
    ///
    /// The points may come in any order. Those with a value that is not finite or an error that is not positive are ignored, and
    /// of several at one time in one band the brightest counts. A slope is there where its part of the light curve spans more
    /// than 0.01 d and varies beyond its errors: the part's brightest magnitude plus that point's error is below its faintest
    /// magnitude minus that point's error.
    pub fn compute(&mut self, points: &[PhotPoint]) -> &[(Band, BandStats)] {
        self.points.clear();
        self.points.extend(points.iter().filter(|point| usable(point)));
        self.points.sort_unstable_by(order);
        self.points.dedup_by(|next, kept| next.band == kept.band && next.jd == kept.jd);
        self.bands.clear();
        self.bands.extend(self.points.chunk_by(|a, b| a.band == b.band).map(|points| (points[0].band, stats(points))));
        &self.bands
    }
}

fn usable(point: &PhotPoint) -> bool {
    point.jd.is_finite() && point.mag.is_finite() && point.mag_err.is_finite() && point.mag_err > 0.0
}

/// Band, then time, then the brightest and the best measured first, so that the order of arrival is of no effect.
fn order(a: &PhotPoint, b: &PhotPoint) -> Ordering {
    let magnitude = || a.mag.total_cmp(&b.mag).then(a.mag_err.total_cmp(&b.mag_err));
    a.band.cmp(&b.band).then(a.jd.total_cmp(&b.jd)).then_with(magnitude)
}

/// The statistics of one band's points, sorted by time.
fn stats(points: &[PhotPoint]) -> BandStats {
    let peak = extreme(points, Ordering::Less);
    BandStats {
        peak_jd: points[peak].jd,
        peak_mag: points[peak].mag,
        peak_mag_err: points[peak].mag_err,
        dt: span(points),
        rising: slope(&points[..=peak]),
        fading: slope(&points[peak..]),
    }
}

/// The first point whose magnitude is the least or the greatest.
fn extreme(points: &[PhotPoint], wanted: Ordering) -> usize {
    (1..points.len()).fold(0, |best, i| if points[i].mag.total_cmp(&points[best].mag) == wanted { i } else { best })
}

fn span(points: &[PhotPoint]) -> f64 {
    points[points.len() - 1].jd - points[0].jd
}

/// Weighted least squares of magnitude over time, weights 1/err^2 (Bevington & Robinson 2003, *Data Reduction and Error
/// Analysis*, ch. 6), with both centred on their weighted means so that nothing cancels at a Julian date's size.
fn slope(points: &[PhotPoint]) -> Option<Slope> {
    let dt = span(points);
    let (brightest, faintest) = (points[extreme(points, Ordering::Less)], points[extreme(points, Ordering::Greater)]);
    let varies = brightest.mag + brightest.mag_err < faintest.mag - faintest.mag_err;
    if points.len() < 2 || dt <= SHORTEST || !varies {
        return None;
    }
    let weight = |point: &PhotPoint| 1.0 / (point.mag_err * point.mag_err);
    let start = points[0].jd;
    let (mut sum, mut time, mut mag) = (0.0, 0.0, 0.0);
    for point in points {
        let weight = weight(point);
        sum += weight;
        time += weight * (point.jd - start);
        mag += weight * point.mag;
    }
    let (time, mag) = (time / sum, mag / sum);
    let (mut tt, mut tm) = (0.0, 0.0);
    for point in points {
        let t = point.jd - start - time;
        tt += weight(point) * t * t;
        tm += weight(point) * t * (point.mag - mag);
    }
    let rate = tm / tt;
    let residual = |point: &PhotPoint| (point.mag - mag - rate * (point.jd - start - time)) / point.mag_err;
    let chi2: f64 = points.iter().map(|point| residual(point).powi(2)).sum();
    let red_chi2 = (points.len() > 2).then(|| chi2 / (points.len() - 2) as f64);
    let slope = Slope { rate, rate_error: tt.sqrt().recip(), red_chi2, nb_data: points.len(), dt };
    // Errors of 1e-160 mag and the like overflow: no slope rather than one that is not a number.
    let finite = rate.is_finite() && slope.rate_error.is_finite() && red_chi2.is_none_or(f64::is_finite);
    finite.then_some(slope)
}

/// Writes the statistics as a document under `key`, one document for each band: `{g: {peak_jd, peak_mag, peak_mag_err, dt,
/// rising: {rate, rate_error, red_chi2, nb_data, dt}, fading: {…}}, r: …}`; what there is not is absent.
pub fn write(writer: &mut Writer<'_>, key: &str, bands: &[(Band, BandStats)]) {
    let all = writer.open_document(key);
    for (band, stats) in bands {
        let open = writer.open_document(band.as_str());
        writer.double("peak_jd", stats.peak_jd);
        writer.double("peak_mag", stats.peak_mag);
        writer.double("peak_mag_err", stats.peak_mag_err);
        writer.double("dt", stats.dt);
        write_slope(writer, "rising", stats.rising.as_ref());
        write_slope(writer, "fading", stats.fading.as_ref());
        writer.close(open);
    }
    writer.close(all);
}

fn write_slope(writer: &mut Writer<'_>, key: &str, slope: Option<&Slope>) {
    let Some(slope) = slope else { return };
    let open = writer.open_document(key);
    writer.double("rate", slope.rate);
    writer.double("rate_error", slope.rate_error);
    if let Some(red_chi2) = slope.red_chi2 {
        writer.double("red_chi2", red_chi2);
    }
    writer.int32("nb_data", i32::try_from(slope.nb_data).unwrap_or(i32::MAX));
    writer.double("dt", slope.dt);
    writer.close(open);
}

#[cfg(test)]
mod tests;
