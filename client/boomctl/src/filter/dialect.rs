//! Which extensions a command allows, and the sky maps that they look into.

use std::path::PathBuf;

use boom_filter::{Dialect, SkyMap};
use boom_store::sky_maps;
use clap::Args;

/// What the language has beyond MongoDB's.
#[derive(Debug, Clone, Args)]
pub(crate) struct DialectArgs {
    /// Allow the extensions ($boom.coneDistance, $boom.galactic, $boom.inMoc, $boom.mjd), as a node with `extensions = true`
    #[arg(long)]
    extensions: bool,
    /// Directory with the sky maps of $boom.inMoc: *.fits, *.txt and *.json, named by their files
    #[arg(long, value_name = "DIR", requires = "extensions")]
    sky_maps: Option<PathBuf>,
}

impl DialectArgs {
    /// The dialect.
    ///
    /// # Errors
    /// All that is wrong with the sky maps.
    pub(crate) fn dialect(&self) -> anyhow::Result<Dialect> {
        let read = match (&self.sky_maps, self.extensions) {
            (_, false) => return Ok(Dialect::default()),
            (None, true) => Dialect::with_maps([]),
            (Some(directory), true) => sky_maps::read(directory, SkyMap::MAX_BYTES).and_then(Dialect::with_maps),
        };
        read.map_err(|problems| anyhow::anyhow!("the sky maps can not be used:\n  {}", problems.join("\n  ")))
    }
}
