//! Positions and times as people write them: sexagesimal, and the civil date of a Julian one.

use boom_sky::units::Jd;

/// Right ascension (degrees) as hours, minutes, seconds to 1 ms, and declination as degrees, minutes, seconds to 0.01".
pub(crate) fn sexagesimal(ra: f64, dec: f64) -> String {
    // In the last digit's unit, so that 59.9996 s carries instead of becoming 60.000 s.
    let time = (ra.rem_euclid(360.0) / 15.0 * 3_600_000.0).round() as u64 % 86_400_000;
    let angle = (dec.abs() * 360_000.0).round() as u64;
    let sign = if dec < 0.0 && angle > 0 { '-' } else { '+' };
    let (h, m, s, ms) = (time / 3_600_000, time / 60_000 % 60, time / 1000 % 60, time % 1000);
    let (d, minute, second, part) = (angle / 360_000, angle / 6000 % 60, angle / 100 % 60, angle % 100);
    format!("{h:02}:{m:02}:{s:02}.{ms:03} {sign}{d:02}:{minute:02}:{second:02}.{part:02}")
}

/// The date and time of a Julian date, UTC, to the second.
pub(crate) fn civil(jd: f64) -> String {
    let text = bson::DateTime::from_millis((Jd(jd).unix_millis() + 500) / 1000 * 1000).try_to_rfc3339_string();
    text.map_or_else(|_| format!("JD {jd}"), |text| text.replace('T', " ").replace('Z', ""))
}

/// The date of a Julian date, UTC; with the time of day to the minute where `clock`.
pub(crate) fn date(jd: f64, clock: bool) -> String {
    let text = civil(jd);
    text.get(..if clock { 16 } else { 10 }).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_in_sexagesimal() {
        // M31, and the galactic centre (SIMBAD: 00 42 44.330 +41 16 07.50; 17 45 40.036 -29 00 28.17).
        assert_eq!(sexagesimal(10.684_708_33, 41.268_75), "00:42:44.330 +41:16:07.50");
        assert_eq!(sexagesimal(266.416_816_67, -29.007_825), "17:45:40.036 -29:00:28.17");
    }

    #[test]
    fn seconds_carry_and_a_small_southern_declination_keeps_its_sign() {
        assert_eq!(sexagesimal(359.999_999_999, 9.999_999_999), "00:00:00.000 +10:00:00.00");
        assert_eq!(sexagesimal(15.0, -0.5), "01:00:00.000 -00:30:00.00");
        assert_eq!(sexagesimal(0.0, -0.000_000_1), "00:00:00.000 +00:00:00.00");
    }

    #[test]
    fn a_julian_date_is_written_as_a_civil_one() {
        assert_eq!(civil(2_451_545.0), "2000-01-01 12:00:00");
        assert_eq!(date(2_451_544.5, false), "2000-01-01");
        assert_eq!(date(2_451_545.75, true), "2000-01-02 06:00");
    }
}
