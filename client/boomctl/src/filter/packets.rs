//! Alert packets from files: of any survey, framed in any way, with the writer schemas of a directory where they have none inside.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use boom_sky::alert::Alert;
use boom_sky::schema::Decoder;
use boom_sky::survey::Survey;
use boom_store::schemas;
use clap::Args;

use crate::{Usage, store};

/// A packet larger than this is refused.
const MAX_PACKET: usize = 64 << 20;

/// How packets are read.
#[derive(Debug, Args)]
pub(crate) struct PacketArgs {
    /// Take packets whose schema names no survey as this survey's
    #[arg(long, value_parser = store::survey)]
    pub(crate) survey: Option<&'static Survey>,
    /// Writer schemas of Confluent-framed packets: a folder a version (9.0, 10.0, …) with its .avsc files
    #[arg(long, value_name = "DIR")]
    schemas: Option<PathBuf>,
}

impl PacketArgs {
    /// What decodes them.
    ///
    /// # Errors
    /// The directory of schemas is none.
    pub(crate) fn decoder(&self) -> anyhow::Result<Decoder> {
        let (by_id, hint) = match &self.schemas {
            Some(directory) => {
                let found = schemas::load(directory).map_err(Usage)?;
                let hint = format!("{} has {}", directory.display(), schemas::versions(&found));
                (found, hint)
            }
            None => (HashMap::new(), "--schemas DIR says where writer schemas are looked up by id".to_owned()),
        };
        Ok(Decoder::new(self.survey, by_id, hint, MAX_PACKET))
    }
}

/// The alerts of a file, or why there is none; one behind the other where it holds several.
pub(crate) fn read(decoder: &Decoder, path: &Path) -> Vec<Result<Alert, String>> {
    let named = |error: String| format!("{}: {error}", path.display());
    match fs::read(path) {
        Ok(bytes) => {
            let alerts = decoder.decode(&bytes).into_iter();
            alerts.map(|alert| alert.map_err(|wrong| named(wrong.error.to_string()))).collect()
        }
        Err(error) => vec![Err(named(error.to_string()))],
    }
}
