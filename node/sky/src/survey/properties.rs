//! Properties that follow from one detection alone: is it a star, beside a bright star, a known solar-system body?
//!
//! A survey's descriptor names the rule and the fields that it reads; the pipeline hands in their values. What needs the light curve
//! (`stationary`, photstats) is computed for every survey alike in [`crate::lightcurve`].

/// What a survey's properties are derived from, and how.
#[derive(Debug, Clone, Copy)]
pub struct Properties {
    /// Fields of the detection, in the order in which `derive` takes them.
    pub fields: &'static [&'static str],
    /// The rule; a value that is missing is NaN.
    pub derive: fn(&[f64]) -> Derived,
    /// A star catalog that says more, when it is configured.
    pub catalog: Option<&'static StarCatalog>,
}

/// Star or galaxy by the rows of a catalog around the object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StarCatalog {
    /// Name of the catalog in `cross_matches`.
    pub name: &'static str,
    /// Column with the probability of being a star.
    pub score: &'static str,
    /// Column with the magnitude.
    pub magnitude: &'static str,
    /// A row this near (arcsec) with a score above a half makes it a star.
    pub star_arcsec: f64,
    /// A row this near (arcsec), with a score above a half and at least this bright, makes it near a bright star.
    pub bright: (f64, f64),
}

/// What one detection says; a property that the survey does not define is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Derived {
    /// A known solar-system body.
    pub rock: Option<bool>,
    /// On a star.
    pub star: Option<bool>,
    /// Beside a bright star, whose residuals look like transients.
    pub near_brightstar: Option<bool>,
}

/// A survey that defines none.
pub const NO_PROPERTIES: fn(&[f64]) -> Derived = |_| Derived::default();

/// Rows of a star catalog, as `(distance_arcsec, score, magnitude)`, judged by its rule: `(star, near_brightstar)`.
pub fn judge_stars(rule: &StarCatalog, rows: impl Iterator<Item = (f64, f64, f64)>) -> (bool, bool) {
    let (mut star, mut bright) = (false, false);
    for (distance, _, magnitude) in rows.filter(|row| row.1 > 0.5) {
        star |= distance <= rule.star_arcsec;
        bright |= distance <= rule.bright.0 && magnitude <= rule.bright.1;
    }
    (star, bright)
}

/// The rule of packets that carry their three nearest PS1 sources, Gaia neighbours and solar-system match.
pub mod star_galaxy {
    use super::Derived;

    /// What [`derive`] reads, in its order.
    pub static FIELDS: &[&str] = &[
        "ssdistnr",
        "ssmagnr",
        "neargaiabright",
        "maggaiabright",
        "sgscore1",
        "distpsnr1",
        "srmag1",
        "sgscore2",
        "distpsnr2",
        "srmag2",
        "sgscore3",
        "distpsnr3",
        "srmag3",
        "sgmag1",
        "simag1",
        "szmag1",
    ];

    /// Comparisons with NaN are false, so a missing value never makes a property true.
    pub fn derive(values: &[f64]) -> Derived {
        let &[ssdist, ssmag, gaia_distance, gaia_mag, s1, d1, r1, s2, d2, r2, s3, d3, r3, g1, i1, z1] = values else {
            return Derived::default();
        };
        let rock = (0.0..12.0).contains(&ssdist) && ssmag >= 0.0;
        let red = r1 > 0.0 && (present(z1) && r1 - z1 > 3.0 || present(i1) && r1 - i1 > 3.0);
        let star = s1 > 0.76 && (0.0..=2.0).contains(&d1) || s1 > 0.2 && (0.0..=1.0).contains(&d1) && red;
        let bright_gaia = (0.0..=20.0).contains(&gaia_distance) && gaia_mag > 0.0 && gaia_mag <= 12.0;
        let bright_ps1 = |s: f64, d: f64, r: f64| s > 0.49 && (0.0..=20.0).contains(&d) && r > 0.0 && r <= 15.0;
        let ambiguous =
            s1 == 0.5 && (0.0..0.5).contains(&d1) && [g1, r1, i1].iter().any(|mag| present(*mag) && *mag < 17.0);
        let near_brightstar =
            bright_gaia || bright_ps1(s1, d1, r1) || bright_ps1(s2, d2, r2) || bright_ps1(s3, d3, r3) || ambiguous;
        Derived { rock: Some(rock), star: Some(star), near_brightstar: Some(near_brightstar) }
    }

    /// A magnitude of -999 says that there is none.
    fn present(magnitude: f64) -> bool {
        magnitude > 0.0
    }
}

/// The rule of packets that name the solar-system body themselves.
pub mod solar_system {
    use super::{Derived, StarCatalog};

    /// What [`derive`] reads.
    pub static FIELDS: &[&str] = &["ssObjectId"];

    /// The star/galaxy catalog of the Legacy Survey for Rubin.
    pub static LSPSC: StarCatalog =
        StarCatalog { name: "LSPSC", score: "score", magnitude: "mag_white", star_arcsec: 1.0, bright: (20.0, 15.0) };

    /// A body has an id that is not 0.
    pub fn derive(values: &[f64]) -> Derived {
        let rock = values.first().is_some_and(|id| id.is_finite() && *id != 0.0);
        Derived { rock: Some(rock), ..Derived::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f64 = -999.0;

    fn ztf(changes: &[(&str, f64)]) -> Derived {
        let values: Vec<f64> = star_galaxy::FIELDS
            .iter()
            .map(|field| changes.iter().find(|change| change.0 == *field).map_or(NONE, |change| change.1))
            .collect();
        star_galaxy::derive(&values)
    }

    #[test]
    fn sentinels_alone_make_no_property_true() {
        let none = Derived { rock: Some(false), star: Some(false), near_brightstar: Some(false) };
        assert_eq!(ztf(&[]), none);
        assert_eq!(star_galaxy::derive(&[f64::NAN; 16]), none);
    }

    #[test]
    fn a_known_asteroid_within_twelve_arcsec_is_a_rock() {
        assert_eq!(ztf(&[("ssdistnr", 0.0), ("ssmagnr", 0.0)]).rock, Some(true));
        assert_eq!(ztf(&[("ssdistnr", 12.0), ("ssmagnr", 18.0)]).rock, Some(false));
        assert_eq!(ztf(&[("ssdistnr", 3.0), ("ssmagnr", NONE)]).rock, Some(false));
    }

    #[test]
    fn a_star_is_a_high_score_or_a_very_red_neighbour() {
        assert_eq!(ztf(&[("sgscore1", 0.77), ("distpsnr1", 2.0)]).star, Some(true));
        assert_eq!(ztf(&[("sgscore1", 0.76), ("distpsnr1", 2.0)]).star, Some(false));
        let red = [("sgscore1", 0.3), ("distpsnr1", 1.0), ("srmag1", 20.0), ("szmag1", 16.9)];
        assert_eq!(ztf(&red).star, Some(true));
        assert_eq!(ztf(&red[..3]).star, Some(false), "a missing z magnitude is not very red");
    }

    #[test]
    fn near_a_bright_star_looks_at_gaia_and_three_ps1_sources() {
        assert_eq!(ztf(&[("neargaiabright", 20.0), ("maggaiabright", 12.0)]).near_brightstar, Some(true));
        assert_eq!(ztf(&[("sgscore3", 0.5), ("distpsnr3", 19.0), ("srmag3", 15.0)]).near_brightstar, Some(true));
        assert_eq!(ztf(&[("sgscore3", 0.5), ("distpsnr3", 19.0), ("srmag3", 15.1)]).near_brightstar, Some(false));
        assert_eq!(ztf(&[("sgscore1", 0.5), ("distpsnr1", 0.4), ("simag1", 16.0)]).near_brightstar, Some(true));
    }

    #[test]
    fn a_star_catalog_row_counts_only_with_a_stellar_score() {
        let rows = [(0.5, 0.4, 10.0), (15.0, 0.9, 14.0)];
        assert_eq!(judge_stars(&solar_system::LSPSC, rows.into_iter()), (false, true));
    }
}
