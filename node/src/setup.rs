//! What standalone and a node of a cluster put together in the same way: decoder, catalogs, models, what results say of their making.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use boom_sky::schema::Decoder;
use boom_sky::survey::{SURVEYS, Survey};
use boom_sky::units::Jd;
use boom_store::catalog::CatalogSet;
use boom_store::schemas;

use crate::catalogs::Catalogs;
use crate::config::Config;
use crate::scorer::{self, Backend};
use crate::stage::enrich::Enricher;
use crate::stage::record::Provenance;

/// The command line, or what it or the configuration names, is at fault: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// An error that is the user's to mend.
pub fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    UsageError(error.to_string()).into()
}

/// The time by the machine's clock, JD.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Jd::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).0
}

/// The decoder. `survey` takes packets whose schema names none; `directory` has the writer schemas of Confluent ids.
///
/// # Errors
/// What is wrong with the directory.
pub fn decoder(
    survey: Option<&'static Survey>,
    directory: Option<&Path>,
    config: &Config,
) -> anyhow::Result<Arc<Decoder>> {
    let (by_id, hint) = match directory {
        Some(directory) => {
            let found = schemas::load(directory).map_err(usage)?;
            let hint = format!(
                "{} has {} of {}; add the schema there, or name another directory with --schemas",
                directory.display(),
                found.len(),
                schemas::versions(&found)
            );
            (found, hint)
        }
        None => (HashMap::new(), "no --schemas DIR is given, where writer schemas are looked up by id".to_owned()),
    };
    let registry = &config.schemas.registry;
    let hint = if registry.is_empty() { hint } else { format!("{hint}; nor has the registry {registry} given it") };
    Ok(Arc::new(Decoder::new(survey, by_id, hint, config.input.max_packet_bytes)))
}

/// The catalogs of a directory; without one, none.
///
/// # Errors
/// What is wrong with them or with what is asked of them.
pub fn catalogs(directory: Option<&Path>, config: &Config) -> anyhow::Result<Catalogs> {
    let set = directory.map(CatalogSet::open_dir).transpose().map_err(usage)?.unwrap_or_default();
    Catalogs::new(set, &config.crossmatch).map_err(usage)
}

/// The runtime of models.
pub fn backend(config: &Config) -> Backend {
    let configured = (!config.models.onnxruntime.is_empty()).then(|| PathBuf::from(&config.models.onnxruntime));
    Backend::choose(configured.as_deref(), std::env::var_os("ORT_DYLIB_PATH"))
}

/// The models of some directories.
///
/// # Errors
/// All that is wrong with them.
pub fn models(directories: &[PathBuf], config: &Config) -> anyhow::Result<Vec<scorer::Model>> {
    let backend = backend(config);
    if directories.is_empty() {
        tracing::info!("no directory of models is given: alerts get no scores");
        return Ok(Vec::new());
    }
    let loaded = scorer::load(directories, &backend);
    if !loaded.problems.is_empty() {
        let all: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        return Err(usage(format!("the models can not be used:\n  {}", all.join("\n  "))));
    }
    for (_, line) in &loaded.left_out {
        tracing::info!("{line}");
    }
    if !loaded.models.is_empty() {
        tracing::info!("{} models run on {backend}", loaded.models.len());
    }
    Ok(loaded.models)
}

/// What a result carries of what made it.
pub fn provenance(enricher: &Enricher) -> Provenance {
    let models = SURVEYS.iter().map(|survey| (survey.name.to_owned(), enricher.model_versions(survey)));
    Provenance {
        code: env!("CARGO_PKG_VERSION").to_owned(),
        models: models.filter(|(_, models)| !models.is_empty()).collect(),
        catalogs: enricher.catalogs().versions(),
    }
}
