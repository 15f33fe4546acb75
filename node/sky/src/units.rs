//! Units and the conversions between them: times, magnitudes and fluxes, angles, coordinates.
//!
//! Every formula that turns one unit into another lives here, with its source. No survey's quirk does: missing-value marks and
//! zero points of a survey are its descriptor's.

use std::f64::consts::LN_10;

/// Julian date in UTC, days.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Jd(pub f64);

/// AB magnitude.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Mag(pub f64);

/// Flux density in nanojansky; negative where the difference image is.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct NanoJansky(pub f64);

/// Angle in seconds of arc.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Arcsec(pub f64);

/// AB magnitude of one nanojansky: 2.5 log10(3631e9) = 31.400 (Oke & Gunn 1983, ApJ 266, 713, with the zero point rounded
/// to 31.4 as the Rubin data products do).
pub const AB_ZERO_POINT: f64 = 31.4;

/// 2.5 / ln 10 = 1.0857…: a small relative flux error times this is the magnitude error.
pub const POGSON: f64 = 2.5 / LN_10;

impl Mag {
    /// The flux of this magnitude: 10^(-0.4 (m - 31.4)) nJy.
    pub fn flux(self) -> NanoJansky {
        NanoJansky(10f64.powf(-0.4 * (self.0 - AB_ZERO_POINT)))
    }
}

impl NanoJansky {
    /// Calibrates instrumental counts whose zero point is `zero_point` (the magnitude of one count).
    pub fn from_counts(counts: f64, zero_point: f64) -> Self {
        Self(counts * 10f64.powf(0.4 * (AB_ZERO_POINT - zero_point)))
    }

    /// The magnitude of this flux: -2.5 log10(f) + 31.4; `None` where the flux is not positive and finite.
    pub fn mag(self) -> Option<Mag> {
        (self.0 > 0.0 && self.0.is_finite()).then(|| Mag(-2.5 * self.0.log10() + AB_ZERO_POINT))
    }

    /// The 5-sigma limiting magnitude of this flux *error*: -2.5 log10(5 f) + 31.4; `None` where it is not positive and finite.
    pub fn limiting_mag(self) -> Option<Mag> {
        NanoJansky(5.0 * self.0).mag()
    }

    /// The magnitude error of this flux with the error `flux_err`: 1.0857 |err / flux|; `None` where that is not finite.
    pub fn mag_error(self, flux_err: NanoJansky) -> Option<f64> {
        let error = POGSON * (flux_err.0 / self.0).abs();
        error.is_finite().then_some(error)
    }

    /// The flux error of this flux with the magnitude error `mag_err`: |flux| err / 1.0857, the inverse of
    /// [`NanoJansky::mag_error`].
    pub fn error_from_mag(self, mag_err: f64) -> NanoJansky {
        NanoJansky(self.0.abs() * mag_err / POGSON)
    }
}

impl Arcsec {
    /// The angle in degrees.
    pub fn degrees(self) -> f64 {
        self.0 / 3600.0
    }

    /// The angle in radians.
    pub fn radians(self) -> f64 {
        self.degrees().to_radians()
    }

    /// An angle given in degrees.
    pub fn from_degrees(degrees: f64) -> Self {
        Self(degrees * 3600.0)
    }
}

/// Julian date of the modified Julian date 0.
const MJD_EPOCH: f64 = 2_400_000.5;

/// Julian date of 1970-01-01T00:00:00 UTC.
const UNIX_EPOCH: f64 = 2_440_587.5;

const SECONDS_A_DAY: f64 = 86_400.0;

/// Every leap second: (UTC modified Julian date from which it holds, TAI - UTC in seconds). Source: IERS Bulletin C
/// (<https://hpiers.obspm.fr/iers/bul/bulc/Leap_Second.dat>); none announced after 2017-01-01.
const LEAP_SECONDS: [(u32, u32); 28] = [
    (41_317, 10),
    (41_499, 11),
    (41_683, 12),
    (42_048, 13),
    (42_413, 14),
    (42_778, 15),
    (43_144, 16),
    (43_509, 17),
    (43_874, 18),
    (44_239, 19),
    (44_786, 20),
    (45_151, 21),
    (45_516, 22),
    (46_247, 23),
    (47_161, 24),
    (47_892, 25),
    (48_257, 26),
    (48_804, 27),
    (49_169, 28),
    (49_534, 29),
    (50_083, 30),
    (50_630, 31),
    (51_179, 32),
    (53_736, 33),
    (54_832, 34),
    (56_109, 35),
    (57_204, 36),
    (57_754, 37),
];

/// TAI - UTC in seconds at a modified Julian date in TAI; before 1972 the value of 1972 (10 s).
fn tai_minus_utc(mjd_tai: f64) -> f64 {
    let holds = |&&(mjd, offset): &&(u32, u32)| mjd_tai >= f64::from(mjd) + f64::from(offset) / SECONDS_A_DAY;
    LEAP_SECONDS.iter().rev().find(holds).map_or(10.0, |&(_, offset)| f64::from(offset))
}

impl Jd {
    /// The UTC Julian date of a modified Julian date in TAI. Within a leap second the UTC second before it runs twice.
    pub fn from_mjd_tai(mjd_tai: f64) -> Self {
        Self(mjd_tai - tai_minus_utc(mjd_tai) / SECONDS_A_DAY + MJD_EPOCH)
    }

    /// The Julian date of a modified Julian date in UTC.
    pub fn from_mjd_utc(mjd: f64) -> Self {
        Self(mjd + MJD_EPOCH)
    }

    /// Milliseconds since 1970-01-01T00:00:00 UTC, rounded; a date out of range gives the nearest end of `i64`, NaN gives 0.
    pub fn unix_millis(self) -> i64 {
        ((self.0 - UNIX_EPOCH) * SECONDS_A_DAY * 1e3).round() as i64
    }

    /// The Julian date of milliseconds since 1970-01-01T00:00:00 UTC.
    pub fn from_unix_millis(millis: i64) -> Self {
        Self(millis as f64 / (SECONDS_A_DAY * 1e3) + UNIX_EPOCH)
    }
}

/// Rotation from ICRS to galactic axes (ESA 1997, *The Hipparcos and Tycho Catalogues*, vol. 1, eq. 1.5.11, with the digits of
/// IAU SOFA `iauIcrs2g`).
const ICRS_TO_GALACTIC: [[f64; 3]; 3] = [
    [-0.05487556041621537, -0.873437090234885, -0.4838350155487132],
    [0.49410942787558365, -0.4448296299600112, 0.7469822444972188],
    [-0.8676661490190047, -0.19807637343120152, 0.4559837761750669],
];

/// Galactic longitude (0 to 360) and latitude, in degrees, of ICRS (J2000) right ascension and declination in degrees.
pub fn galactic(ra: f64, dec: f64) -> (f64, f64) {
    let (sin_ra, cos_ra) = ra.to_radians().sin_cos();
    let (sin_dec, cos_dec) = dec.to_radians().sin_cos();
    let icrs = [cos_dec * cos_ra, cos_dec * sin_ra, sin_dec];
    let [x, y, z] = ICRS_TO_GALACTIC.map(|[a, b, c]| a * icrs[0] + b * icrs[1] + c * icrs[2]);
    let l = y.atan2(x).to_degrees();
    (if l < 0.0 { l + 360.0 } else { l }, z.atan2(x.hypot(y)).to_degrees())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64, tolerance: f64) {
        assert!((left - right).abs() <= tolerance, "{left} is not {right} within {tolerance}");
    }

    #[test]
    fn magnitudes_and_nanojanskys_convert_both_ways() {
        close(Mag(31.4).flux().0, 1.0, 1e-12);
        close(Mag(23.9).flux().0, 1000.0, 1e-9);
        close(Mag(18.9).flux().0, 100_000.0, 1e-7);
        assert_eq!(NanoJansky(1000.0).mag(), Some(Mag(23.9)));
        assert_eq!(NanoJansky(1.0).mag(), Some(Mag(31.4)));
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(NanoJansky(none).mag(), None);
        }
    }

    #[test]
    fn a_ten_percent_flux_error_is_0_1086_mag() {
        close(NanoJansky(200.0).mag_error(NanoJansky(20.0)).unwrap(), 0.108_573_620_475_812_94, 1e-15);
        close(NanoJansky(-200.0).mag_error(NanoJansky(20.0)).unwrap(), 0.108_573_620_475_812_94, 1e-15);
        assert_eq!(NanoJansky(0.0).mag_error(NanoJansky(20.0)), None);
        close(NanoJansky(-200.0).error_from_mag(0.108_573_620_475_812_94).0, 20.0, 1e-12);
    }

    #[test]
    fn the_limit_is_the_magnitude_of_five_times_the_error() {
        close(NanoJansky(200.0).limiting_mag().unwrap().0, 23.9, 1e-12);
        assert_eq!(NanoJansky(0.0).limiting_mag(), None);
    }

    #[test]
    fn counts_with_a_zero_point_become_nanojanskys() {
        close(NanoJansky::from_counts(10.0, 26.4).0, 1000.0, 1e-9);
        close(NanoJansky::from_counts(-3.0, 31.4).0, -3.0, 1e-15);
    }

    #[test]
    fn tai_runs_37_s_ahead_of_utc_since_2017() {
        // 2026-01-01T00:00:37 TAI is 2026-01-01T00:00:00 UTC.
        let jd = Jd::from_mjd_tai(61_041.0 + 37.0 / 86_400.0);
        close(jd.0, 2_461_041.5, 1e-9);
        assert_eq!(jd.unix_millis(), 1_767_225_600_000);
    }

    #[test]
    fn a_leap_second_steps_where_bulletin_c_says() {
        // 2016-12-31T23:59:59 UTC is 36 s behind TAI, 2017-01-01T00:00:00 UTC is 37 s behind.
        close(tai_minus_utc(57_754.0 + 35.0 / 86_400.0), 36.0, 0.0);
        close(tai_minus_utc(57_754.0 + 37.0 / 86_400.0), 37.0, 0.0);
        close(tai_minus_utc(51_179.5), 32.0, 0.0);
        close(tai_minus_utc(41_317.0), 10.0, 0.0);
        close(tai_minus_utc(30_000.0), 10.0, 0.0);
        let rises = |pair: &[(u32, u32)]| pair[0].0 < pair[1].0 && pair[0].1 + 1 == pair[1].1;
        assert!(LEAP_SECONDS.windows(2).all(rises), "each leap second adds one");
    }

    #[test]
    fn julian_dates_become_unix_milliseconds() {
        assert_eq!(Jd(2_440_587.5).unix_millis(), 0);
        assert_eq!(Jd(2_451_544.5).unix_millis(), 946_684_800_000);
        assert_eq!(Jd::from_mjd_utc(51_544.0), Jd(2_451_544.5));
        assert_eq!(Jd::from_unix_millis(946_684_800_000), Jd(2_451_544.5));
        assert_eq!(Jd(f64::NAN).unix_millis(), 0);
    }

    #[test]
    fn the_galactic_frame_is_the_iau_one() {
        // The galactic centre and the north galactic pole (Reid & Brunthaler 2004, ApJ 616, 872, J2000).
        let (l, b) = galactic(266.404_988_29, -28.936_177_76);
        close(l.min(360.0 - l), 0.0, 1e-5);
        close(b, 0.0, 1e-5);
        close(galactic(192.859_48, 27.128_25).1, 90.0, 1e-4);
        // The check of IAU SOFA's t_sofa_c: icrs2g and g2icrs.
        let (l, b) = galactic(5.933_807_430_222_719_f64.to_degrees(), -1.178_487_061_357_944_6_f64.to_degrees());
        close(l, 5.585_053_606_381_855_f64.to_degrees(), 1e-11);
        close(b, -45.0, 1e-11);
    }

    #[test]
    fn arcseconds_are_degrees_times_3600() {
        assert_eq!(Arcsec(3600.0).degrees(), 1.0);
        assert_eq!(Arcsec::from_degrees(0.5), Arcsec(1800.0));
        close(Arcsec(1.0).radians(), 4.848_136_811_095_36e-6, 1e-20);
    }
}
