//! The catalogs of a run, each with its rule: which rows near an object its alerts carry.

use boom_sky::crossmatch::MatchRule;
use boom_sky::document::{Writer, tag};
use boom_sky::survey::Survey;
use boom_store::catalog::{CatalogError, CatalogSet, Scratch};
use xxhash_rust::xxh3::Xxh3;

use crate::config::Crossmatch;

/// Radius of a catalog that the configuration does not name, arcsec.
const USUAL_RADIUS: f64 = 2.0;

/// Catalogs with their rules.
#[derive(Debug)]
pub struct Catalogs {
    set: CatalogSet,
    rules: Vec<(Crossmatch, MatchRule)>,
    version: u64,
}

/// What one thread keeps between matches.
#[derive(Debug, Default)]
pub struct MatchScratch(Scratch);

impl Catalogs {
    /// Puts catalogs and the configured rules together.
    ///
    /// # Errors
    /// A rule that its catalog can not follow.
    pub fn new(set: CatalogSet, rules: &[Crossmatch]) -> Result<Self, CatalogError> {
        let mut hash = Xxh3::new();
        let mut kept = Vec::new();
        for catalog in set.iter() {
            let named = rules.iter().find(|rule| rule.catalog == catalog.name());
            let configured = named.cloned().unwrap_or_else(|| usual(catalog.name()));
            let rule = configured.rule();
            catalog.check(&rule)?;
            hash.update(catalog.name().as_bytes());
            hash.update(catalog.version().as_bytes());
            hash.update(format!("{configured:?}").as_bytes());
            kept.push((configured, rule));
        }
        Ok(Self { set, rules: kept, version: hash.digest() })
    }

    /// Hash of names, versions and rules: matches of another version are computed again.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The catalogs with their versions.
    pub fn versions(&self) -> Vec<(String, String)> {
        self.set.iter().map(|catalog| (catalog.name().to_owned(), catalog.version().to_owned())).collect()
    }

    /// The document `cross_matches` of a position (degrees). A catalog whose rows are damaged there has no matches, and says so in the log.
    pub fn matches(&self, survey: &Survey, position: (f64, f64), scratch: &mut MatchScratch) -> Vec<u8> {
        let mut document = Vec::new();
        let mut writer = Writer::new(&mut document);
        let root = writer.open_root();
        for (catalog, (configured, rule)) in self.set.iter().zip(&self.rules) {
            let surveys = &configured.surveys;
            if !surveys.is_empty() && !surveys.iter().any(|name| name.eq_ignore_ascii_case(survey.name)) {
                continue;
            }
            let before = writer.buffer().len();
            writer.key(tag::ARRAY, catalog.name());
            if let Err(error) = catalog.matches(position.0, position.1, rule, &mut scratch.0, writer.buffer()) {
                tracing::error!("matching with {}: {error}", catalog.name());
                writer.buffer().truncate(before);
            }
        }
        writer.close(root);
        document
    }
}

fn usual(name: &str) -> Crossmatch {
    Crossmatch {
        catalog: name.to_owned(),
        surveys: Vec::new(),
        radius_arcsec: USUAL_RADIUS,
        columns: Vec::new(),
        max_results: 0,
        distance: None,
    }
}
