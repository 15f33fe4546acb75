//! Tests of the statistics: exact small cases, and random light curves against a least-squares of another kind.

use bson::doc;
use proptest::prelude::*;

use super::*;

const START: f64 = 2_461_000.5;

fn point(day: f64, mag: f64, mag_err: f64, band: &str) -> PhotPoint {
    PhotPoint { jd: START + day, mag, mag_err, band: Band::new(band).unwrap() }
}

fn one_band(points: &[PhotPoint]) -> BandStats {
    let mut photstats = Photstats::default();
    let bands = photstats.compute(points);
    assert_eq!(bands.len(), 1);
    bands[0].1
}

/// Weighted least squares by a Givens rotation of the rows [1, t | m] / err into triangular form: no sums of squares, no means.
/// Returns the rate, its error and chi-squared.
fn givens(points: &[PhotPoint]) -> (f64, f64, f64) {
    let mut rows: Vec<[f64; 3]> =
        points.iter().map(|p| [1.0 / p.mag_err, (p.jd - points[0].jd) / p.mag_err, p.mag / p.mag_err]).collect();
    for column in 0..2 {
        for below in column + 1..rows.len() {
            let (a, b) = (rows[column][column], rows[below][column]);
            let length = a.hypot(b);
            let (cos, sin) = (a / length, b / length);
            let (upper, lower) = (rows[column], rows[below]);
            rows[column] = std::array::from_fn(|k| cos * upper[k] + sin * lower[k]);
            rows[below] = std::array::from_fn(|k| cos * lower[k] - sin * upper[k]);
        }
    }
    let chi2 = rows[2..].iter().map(|row| row[2] * row[2]).sum();
    (rows[1][2] / rows[1][1], 1.0 / rows[1][1].abs(), chi2)
}

#[test]
fn a_rise_and_a_fade_are_measured_up_to_and_from_the_peak() {
    let points = [
        point(0.0, 20.0, 0.1, "g"),
        point(2.0, 18.0, 0.1, "g"),
        point(4.0, 18.5, 0.1, "g"),
        point(6.0, 19.0, 0.1, "g"),
    ];
    let stats = one_band(&points);
    assert_eq!((stats.peak_jd, stats.peak_mag, stats.peak_mag_err), (START + 2.0, 18.0, 0.1));
    assert_eq!(stats.dt, 6.0);
    let rising = stats.rising.unwrap();
    assert!((rising.rate + 1.0).abs() < 1e-12 && rising.red_chi2.is_none(), "{rising:?}");
    assert!((rising.rate_error - 0.1 / 2f64.sqrt()).abs() < 1e-12, "{rising:?}");
    assert_eq!((rising.nb_data, rising.dt), (2, 2.0));
    let fading = stats.fading.unwrap();
    assert!((fading.rate - 0.25).abs() < 1e-12 && fading.red_chi2.unwrap() < 1e-20, "{fading:?}");
    assert!((fading.rate_error - 0.1 / 8f64.sqrt()).abs() < 1e-12, "{fading:?}");
    assert_eq!((fading.nb_data, fading.dt), (3, 4.0));
}

#[test]
fn one_point_has_a_peak_and_no_slope() {
    let stats = one_band(&[point(0.0, 19.0, 0.1, "r")]);
    assert_eq!((stats.peak_mag, stats.dt, stats.rising, stats.fading), (19.0, 0.0, None, None));
}

#[test]
fn a_span_of_a_hundredth_of_a_day_gives_no_slope() {
    let part = |day| one_band(&[point(0.0, 20.0, 0.1, "g"), point(day, 19.0, 0.1, "g")]).rising;
    assert_eq!(part(0.0099), None);
    assert!(part(0.0101).is_some());
}

#[test]
fn a_change_within_the_errors_of_the_extreme_points_gives_no_slope() {
    let part = |faint_err| one_band(&[point(0.0, 19.5, faint_err, "g"), point(1.0, 19.25, 0.125, "g")]).rising;
    assert_eq!(part(0.125), None, "19.25 + 0.125 is not below 19.5 - 0.125");
    assert!(part(0.124).is_some());
}

#[test]
fn of_two_equal_peaks_the_earlier_counts() {
    let stats = one_band(&[point(0.0, 20.0, 0.1, "g"), point(1.0, 18.0, 0.1, "g"), point(2.0, 18.0, 0.1, "g")]);
    assert_eq!(stats.peak_jd, START + 1.0);
}

#[test]
fn unusable_points_are_ignored() {
    let mut points = vec![point(0.0, 20.0, 0.1, "g"), point(1.0, 19.0, 0.1, "g")];
    let expected = one_band(&points);
    points.push(point(f64::NAN, 15.0, 0.1, "g"));
    points.push(point(2.0, f64::NEG_INFINITY, 0.1, "g"));
    points.push(point(2.0, 15.0, f64::NAN, "g"));
    points.push(point(2.0, 15.0, 0.0, "r"));
    points.push(point(1.0, 19.5, 0.1, "g"));
    assert_eq!(one_band(&points), expected);
    assert_eq!(Photstats::default().compute(&[]), []);
}

#[test]
fn the_document_holds_what_there_is() {
    let points = [point(0.0, 20.0, 0.125, "Hs"), point(1.0, 18.0, 0.125, "Hs"), point(0.0, 17.0, 0.25, "g")];
    let mut photstats = Photstats::default();
    let mut buffer = Vec::new();
    let mut writer = Writer::new(&mut buffer);
    let root = writer.open_root();
    write(&mut writer, "photstats", photstats.compute(&points));
    writer.close(root);
    let read = bson::Document::from_reader(&*buffer).unwrap();
    let rising = doc! {"rate": -2.0, "rate_error": 32f64.sqrt().recip(), "nb_data": 2, "dt": 1.0};
    let hs = doc! {"peak_jd": START + 1.0, "peak_mag": 18.0, "peak_mag_err": 0.125, "dt": 1.0, "rising": rising};
    let g = doc! {"peak_jd": START, "peak_mag": 17.0, "peak_mag_err": 0.25, "dt": 0.0};
    assert_eq!(read, doc! {"photstats": {"Hs": hs, "g": g}});
}

#[test]
fn a_band_is_one_to_four_printable_characters() {
    assert_eq!(Band::new("Hs").unwrap().as_str(), "Hs");
    assert_eq!(Band::new("abcd").unwrap().as_str(), "abcd");
    assert!(Band::new("abcde").is_none() && Band::new("a\0").is_none());
}

fn curve() -> impl Strategy<Value = Vec<PhotPoint>> {
    let one = (0.0f64..400.0, 14.0f64..22.0, 0.005f64..0.4, 0usize..3)
        .prop_map(|(day, mag, err, band)| point(day, mag, err, ["g", "r", "i"][band]));
    prop::collection::vec(one, 0..80)
}

proptest! {
    #[test]
    fn every_slope_is_the_weighted_least_squares_one(points in curve()) {
        let mut photstats = Photstats::default();
        for (band, stats) in photstats.compute(&points).to_vec() {
            let mut of_band: Vec<PhotPoint> = points.iter().copied().filter(|p| p.band == band).collect();
            of_band.sort_by(|a, b| a.jd.partial_cmp(&b.jd).unwrap());
            let peak = of_band.iter().map(|p| p.mag).fold(f64::INFINITY, f64::min);
            prop_assert_eq!(stats.peak_mag, peak);
            prop_assert_eq!(stats.dt, of_band.last().unwrap().jd - of_band[0].jd);
            let before: Vec<_> = of_band.iter().copied().filter(|p| p.jd <= stats.peak_jd).collect();
            let after: Vec<_> = of_band.iter().copied().filter(|p| p.jd >= stats.peak_jd).collect();
            for (part, slope) in [(before, stats.rising), (after, stats.fading)] {
                let faint = part.iter().copied().max_by(|a, b| a.mag.partial_cmp(&b.mag).unwrap()).unwrap();
                let dt = part.last().unwrap().jd - part[0].jd;
                let wanted = part.len() > 1 && dt > 0.01 && peak + stats.peak_mag_err < faint.mag - faint.mag_err;
                prop_assert_eq!(slope.is_some(), wanted);
                let Some(slope) = slope else { continue };
                let (rate, rate_error, chi2) = givens(&part);
                prop_assert!((slope.rate - rate).abs() <= 1e-8 * rate_error.max(rate.abs()), "{slope:?} {rate}");
                prop_assert!((slope.rate_error - rate_error).abs() <= 1e-8 * rate_error);
                prop_assert_eq!((slope.nb_data, slope.dt), (part.len(), dt));
                match slope.red_chi2 {
                    Some(red) => {
                        let expected = chi2 / (part.len() - 2) as f64;
                        prop_assert!((red - expected).abs() <= 1e-8 * expected.max(1.0), "{red} {expected}");
                    }
                    None => prop_assert_eq!(part.len(), 2),
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_points_changes_nothing(points in curve(), by in 0usize..80) {
        let mut turned = points.clone();
        turned.reverse();
        let length = turned.len();
        if length > 0 {
            turned.rotate_left(by % length);
        }
        let expected = Photstats::default().compute(&points).to_vec();
        prop_assert_eq!(Photstats::default().compute(&turned).to_vec(), expected);
    }
}
