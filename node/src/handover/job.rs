//! A stage's work on a batch, as something that can be done here or elsewhere; and which queue leads to who can do it.

use std::collections::BTreeMap;

use boom_plan::quota::Stage;
use boom_proto::v1::{answer, task};
use xxhash_rust::xxh3::Xxh3;

/// What a worker must have, by name: the program, models, catalogs, filters.
pub type Versions = BTreeMap<String, String>;

/// A stage's work on a batch.
pub trait Job: Clone + Send + Sync + 'static {
    /// What comes of it.
    type Output: Send + 'static;

    /// Which stage it is of.
    const STAGE: Stage;

    /// The alerts, or packets, that it is about.
    fn alerts(&self) -> usize;

    /// Does it.
    fn run(&self) -> Self::Output;

    /// What a worker must have to do it in the very same way.
    fn versions(&self) -> Versions;

    /// What a worker needs to know; none where there is nothing to do for one.
    fn work(&self) -> Option<task::Work>;

    /// What comes of it when a worker has done it; none where that is not whole.
    fn read(&self, outcome: answer::Outcome) -> Option<Self::Output>;
}

/// What every worker must have.
pub fn program() -> Versions {
    Versions::from([("boom".to_owned(), env!("CARGO_PKG_VERSION").to_owned())])
}

/// The queue of a stage's work for those who have these versions.
pub fn queue(stage: Stage, versions: &Versions) -> String {
    let mut hash = Xxh3::new();
    for text in versions.iter().flat_map(|(name, version)| [name, version]) {
        hash.update(text.as_bytes());
        hash.update(&[0]);
    }
    format!("{stage}:{:016x}", hash.digest())
}

/// What of `wanted` one lacks that has `has`, as a sentence.
pub fn lacks(wanted: &BTreeMap<String, String>, has: &Versions) -> Option<String> {
    let (name, version) = wanted.iter().find(|(name, version)| has.get(*name) != Some(version))?;
    let has = has.get(name).map_or("none", String::as_str);
    Some(format!("it has {name} in version {has}, not {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(of: &[(&str, &str)]) -> Versions {
        of.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
    }

    #[test]
    fn who_has_other_versions_reads_another_queue_and_says_what_it_lacks() {
        let (old, new) = (versions(&[("boom", "1"), ("model a", "7")]), versions(&[("boom", "1"), ("model a", "8")]));
        assert_eq!(queue(Stage::Enrich, &old), queue(Stage::Enrich, &old.clone()));
        assert_ne!(queue(Stage::Enrich, &old), queue(Stage::Enrich, &new));
        assert_ne!(queue(Stage::Enrich, &old), queue(Stage::Filter, &old));
        assert_eq!(lacks(&old, &old), None);
        assert_eq!(lacks(&new, &old).unwrap(), "it has model a in version 7, not 8");
        assert_eq!(lacks(&new, &program()).unwrap().split(',').next(), Some("it has boom in version 0.1.0"));
    }
}
