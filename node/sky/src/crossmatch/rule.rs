//! What a survey asks of a catalog, and which of the rows near an alert it keeps, in which order. No geometry, no file.

use super::Hit;

/// One survey's question to one catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchRule {
    /// The catalog's name.
    pub catalog: String,
    /// How far a row may lie from the alert (arcseconds).
    pub radius_arcsec: f64,
    /// The columns of a match besides its position; empty: all.
    pub projection: Vec<String>,
    /// Keep at most so many, after ordering.
    pub max_results: Option<usize>,
    /// Keep by physical distance, for wide searches around galaxies.
    pub distance: Option<DistanceRule>,
}

/// A limit on the projected physical distance to a galaxy of known redshift.
#[derive(Debug, Clone, PartialEq)]
pub struct DistanceRule {
    /// The column that holds the redshift. A row without one is not kept.
    pub redshift: String,
    /// The greatest projected distance (kpc) of a row with a redshift of at least 0.01.
    pub distance_max: f64,
    /// The greatest angular distance (arcseconds) of a row nearer than that, whose redshift says little about its distance.
    pub distance_max_near: f64,
}

/// At this redshift one arcsecond is one kiloparsec, which is the scale of the distance rule.
const REDSHIFT_OF_ONE_KPC_PER_ARCSEC: f64 = 0.05;

/// Below this redshift the angular limit holds.
const NEAR: f64 = 0.01;

/// Up to this redshift no distance in kpc is given.
const NO_DISTANCE: f64 = 0.005;

impl DistanceRule {
    /// The projected distance in kpc (-1 when the redshift is too small to tell) of a row with this redshift that lies
    /// `distance_arcsec` away, or nothing when it is not kept.
    pub fn judge(&self, redshift: f64, distance_arcsec: f64) -> Option<f64> {
        let limit = if redshift < NEAR {
            self.distance_max_near
        } else {
            self.distance_max * REDSHIFT_OF_ONE_KPC_PER_ARCSEC / redshift
        };
        // A redshift that is NaN makes a limit that is NaN, and keeps nothing.
        (distance_arcsec < limit).then(|| {
            if redshift > NO_DISTANCE { distance_arcsec * redshift / REDSHIFT_OF_ONE_KPC_PER_ARCSEC } else { -1.0 }
        })
    }
}

/// A row that the rule keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// The row's number in the catalog.
    pub row: u32,
    /// Great-circle distance from the alert.
    pub distance_arcsec: f64,
    /// Projected distance, -1 when the redshift cannot tell; present with a distance rule.
    pub distance_kpc: Option<f64>,
}

/// Keeps and orders what a search found: `matches` is emptied and filled.
///
/// Without a distance rule the order is that of `hits` (nearest first); with one, rows of unknown distance in kpc come first,
/// then by kpc, then by arcseconds, then by row. `redshift` gives a row's redshift and is asked only with a distance rule.
pub fn select(rule: &MatchRule, hits: &[Hit], mut redshift: impl FnMut(u32) -> Option<f64>, matches: &mut Vec<Match>) {
    matches.clear();
    let keep = rule.max_results.unwrap_or(usize::MAX);
    let Some(distance) = &rule.distance else {
        let plain = |hit: &Hit| Match { row: hit.row, distance_arcsec: hit.distance_arcsec, distance_kpc: None };
        matches.extend(hits.iter().take(keep).map(plain));
        return;
    };
    matches.extend(hits.iter().filter_map(|&Hit { row, distance_arcsec }| {
        let distance_kpc = distance.judge(redshift(row)?, distance_arcsec)?;
        Some(Match { row, distance_arcsec, distance_kpc: Some(distance_kpc) })
    }));
    let kpc = |m: &Match| m.distance_kpc.unwrap_or(-1.0);
    matches.sort_unstable_by(|a, b| {
        let by_distance = kpc(a).total_cmp(&kpc(b)).then(a.distance_arcsec.total_cmp(&b.distance_arcsec));
        by_distance.then(a.row.cmp(&b.row))
    });
    matches.truncate(keep);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ned() -> DistanceRule {
        DistanceRule { redshift: "z".into(), distance_max: 30.0, distance_max_near: 300.0 }
    }

    #[test]
    fn the_distance_rule_keeps_and_measures_as_its_table_says() {
        let table: [(f64, f64, Option<f64>); 13] = [
            // redshift, arcsec, kept with this distance in kpc
            (-0.001, 299.9, Some(-1.0)),
            (0.0, 0.0, Some(-1.0)),
            (0.005, 100.0, Some(-1.0)),
            (0.0051, 100.0, Some(10.2)),
            (0.0099, 299.9, Some(59.3802)),
            (0.0099, 300.0, None),
            (0.01, 149.9, Some(29.98)),
            (0.01, 150.0, None),
            (0.05, 29.9, Some(29.9)),
            (0.05, 30.0, None),
            (1.5, 0.99, Some(29.7)),
            (1.5, 1.0, None),
            (f64::NAN, 0.0, None),
        ];
        for (redshift, arcsec, expected) in table {
            let kpc = ned().judge(redshift, arcsec);
            let same = match (kpc, expected) {
                (Some(kpc), Some(expected)) => (kpc - expected).abs() < 1e-9,
                (kpc, expected) => kpc == expected,
            };
            assert!(same, "z {redshift} at {arcsec}\": {kpc:?}, not {expected:?}");
        }
    }

    fn rule(max_results: Option<usize>, distance: Option<DistanceRule>) -> MatchRule {
        MatchRule { catalog: "NED".into(), radius_arcsec: 300.0, projection: vec![], max_results, distance }
    }

    /// Row, arcsec, redshift.
    const FIELD: [(u32, f64, Option<f64>); 6] = [
        (7, 1.0, Some(0.2)),
        (3, 2.0, None),
        (9, 3.0, Some(0.1)),
        (4, 5.0, Some(0.02)),
        (1, 20.0, Some(0.0)),
        (2, 20.0, Some(0.001)),
    ];

    fn selected(rule: &MatchRule) -> Vec<u32> {
        let hits = FIELD.map(|(row, distance_arcsec, _)| Hit { row, distance_arcsec });
        let mut matches = Vec::new();
        select(rule, &hits, |row| FIELD.iter().find(|entry| entry.0 == row)?.2, &mut matches);
        matches.iter().map(|m| m.row).collect()
    }

    #[test]
    fn without_a_distance_rule_the_nearest_come_first() {
        assert_eq!(selected(&rule(None, None)), [7, 3, 9, 4, 1, 2]);
        assert_eq!(selected(&rule(Some(2), None)), [7, 3]);
    }

    #[test]
    fn with_one_unknown_distances_come_first_then_kpc_and_rows_without_redshift_are_left_out() {
        assert_eq!(selected(&rule(None, Some(ned()))), [1, 2, 4, 7, 9]);
        assert_eq!(selected(&rule(Some(3), Some(ned()))), [1, 2, 4]);
    }
}
