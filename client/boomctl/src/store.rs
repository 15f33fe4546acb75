//! Opening the store of a run for a look, and saying where something was looked for. Nothing is written to a store here.

use std::path::{Path, PathBuf};

use anyhow::bail;
use boom_sky::survey::{SURVEYS, Survey};
use boom_store::documents::{Store, StoreError};
use clap::Args;

use crate::Usage;

/// Which store, and what of it.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// Directory of the store: `store` in the --out of a run
    #[arg(long = "store", value_name = "DIR")]
    path: PathBuf,
    /// Look at this survey only [default: all]
    #[arg(long, value_parser = survey)]
    survey: Option<&'static Survey>,
}

/// The survey of that name.
pub(crate) fn survey(name: &str) -> Result<&'static Survey, String> {
    Survey::by_name(name).ok_or_else(|| format!("it is no survey; {} are", names(SURVEYS)))
}

impl StoreArgs {
    /// Opens the store.
    pub(crate) fn open(&self) -> anyhow::Result<Store> {
        let path = &self.path;
        if !is_store(path) {
            if is_store(&path.join("store")) {
                let inside = path.join("store");
                return Err(Usage(format!(
                    "{} is not a store, but {} is: take that one",
                    path.display(),
                    inside.display()
                ))
                .into());
            }
            return Err(StoreError::NotThere(path.clone()).into());
        }
        Store::open(path, false).map_err(|error| match error {
            StoreError::InUse(path) => anyhow::anyhow!(
                "the store {} is in use: the run that writes it, or another boomctl, has it open; wait for that to end, or stop it (Ctrl-C \
                 loses nothing)",
                path.display()
            ),
            error => error.into(),
        })
    }

    /// The surveys to look at.
    pub(crate) fn surveys(&self) -> Vec<&'static Survey> {
        self.survey.map_or_else(|| SURVEYS.to_vec(), |survey| vec![survey])
    }

    /// The alert documents of that id in the surveys looked at; an error when there is none.
    pub(crate) fn alerts(&self, store: &Store, candid: i64) -> anyhow::Result<Vec<(&'static Survey, Vec<u8>)>> {
        let mut found = store.alerts(candid)?;
        let elsewhere = names(&found.iter().map(|(survey, _)| *survey).collect::<Vec<_>>());
        found.retain(|(survey, _)| self.survey.is_none_or(|only| only.name == survey.name));
        if found.is_empty() {
            let hint = if elsewhere.is_empty() { String::new() } else { format!("; there is one of {elsewhere}") };
            bail!("no alert {candid} in {}: looked at {}{hint}", self.path.display(), names(&self.surveys()));
        }
        Ok(found)
    }

    /// An error that says where an object was looked for.
    pub(crate) fn no_object(&self, object_id: &str) -> anyhow::Error {
        anyhow::anyhow!("no object {object_id} in {}: looked at {}", self.path.display(), names(&self.surveys()))
    }
}

/// Whether a store was ever made there: opening anything else would make one.
fn is_store(path: &Path) -> bool {
    path.join("keyspaces").is_dir()
}

/// Names with commas between them.
pub(crate) fn names(surveys: &[&Survey]) -> String {
    surveys.iter().map(|survey| survey.name).collect::<Vec<_>>().join(", ")
}
