//! The archival catalogs that fit the simulated sky: the galaxies that host its transients and nuclei, and its variable stars.

use super::Population;
use super::population::{self, Source};
use super::sky::Schedule;

/// A value of a catalog's column.
#[derive(Debug, Clone, PartialEq)]
pub enum CatalogValue {
    /// A number.
    Number(f64),
    /// A word.
    Text(String),
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedRow {
    /// Name of the entry, unique in its catalog.
    pub name: String,
    /// Right ascension in degrees.
    pub ra: f64,
    /// Declination in degrees.
    pub dec: f64,
    /// Values of the catalog's columns, in their order.
    pub values: Vec<CatalogValue>,
}

/// A catalog of the simulated sky.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedCatalog {
    /// `SimGalaxies` or `SimVariables`.
    pub name: &'static str,
    /// Names of the columns beside name, ra and dec.
    pub columns: &'static [&'static str],
    /// The entries.
    pub rows: Vec<SimulatedRow>,
}

/// Columns: redshift, r magnitude, scale length in arcsec. / class, r magnitude, period in days (0 for none).
pub(super) fn of(schedule: &Schedule) -> Vec<SimulatedCatalog> {
    let mut galaxies =
        SimulatedCatalog { name: "SimGalaxies", columns: &["z", "rmag", "scale_arcsec"], rows: Vec::new() };
    let mut variables =
        SimulatedCatalog { name: "SimVariables", columns: &["type", "rmag", "period"], rows: Vec::new() };
    let visits = (schedule.nights.min(schedule.instrument.revisit as u64)) as i64;
    for night in 0..visits {
        for place in 0..schedule.visits_a_night() {
            let visit = schedule.visit(night, place);
            if schedule.history(&visit).last().is_some_and(|earlier| earlier.night == night) {
                continue;
            }
            for slot in 0..schedule.most_sources() {
                let Some(source) = population::lasting_source(schedule, &visit, slot) else {
                    continue;
                };
                galaxies.rows.extend(galaxy(&source, visit.field, slot));
                variables.rows.extend(variable(&source, visit.field, slot));
            }
        }
    }
    vec![galaxies, variables]
}

fn galaxy(source: &Source, field: u64, slot: u64) -> Option<SimulatedRow> {
    let host = source.host.as_ref()?;
    let values = [host.redshift, host.magnitude, host.scale].map(CatalogValue::Number).to_vec();
    Some(SimulatedRow { name: format!("SimGal {field}-{slot}"), ra: host.ra, dec: host.dec, values })
}

fn variable(source: &Source, field: u64, slot: u64) -> Option<SimulatedRow> {
    if !matches!(source.population, Population::Variable | Population::Flare) {
        return None;
    }
    let values = vec![
        CatalogValue::Text(source.kind.to_owned()),
        CatalogValue::Number(source.magnitudes[2]),
        CatalogValue::Number(source.period.unwrap_or(0.0)),
    ];
    Some(SimulatedRow { name: format!("SimVar {field}-{slot}"), ra: source.ra, dec: source.dec, values })
}
