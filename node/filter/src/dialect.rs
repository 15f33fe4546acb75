//! What the language has beyond MongoDB's: nothing, unless the caller switches the extensions on and hands in their sky maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::moc::SkyMap;

/// The extensions that a pipeline may use. None by default. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Dialect {
    maps: Option<Arc<BTreeMap<String, SkyMap>>>,
}

impl Dialect {
    /// What the name of every extension begins with.
    pub(crate) const PREFIX: &'static str = "$boom.";

    /// With the extensions, and the sky maps of these files: a map's name, what people call its file, and the file's bytes.
    ///
    /// # Errors
    /// All that is wrong with them, each with its file.
    pub fn with_maps(files: impl IntoIterator<Item = (String, String, Vec<u8>)>) -> Result<Dialect, Vec<String>> {
        let (mut maps, mut problems) = (BTreeMap::new(), Vec::new());
        for (name, file, bytes) in files {
            match SkyMap::parse(&bytes) {
                Ok(map) => {
                    if maps.insert(name.clone(), map).is_some() {
                        problems.push(format!("{file}: there is another sky map of the name `{name}`"));
                    }
                }
                Err(error) => problems.push(format!("{file}: {error}")),
            }
        }
        if problems.is_empty() { Ok(Dialect::extended(maps)) } else { Err(problems) }
    }

    /// With the extensions, and these sky maps by name.
    pub fn extended(maps: BTreeMap<String, SkyMap>) -> Dialect {
        Dialect { maps: Some(Arc::new(maps)) }
    }

    /// Whether the extensions are switched on.
    pub fn is_extended(&self) -> bool {
        self.maps.is_some()
    }

    /// The sky map of that name.
    pub(crate) fn map(&self, name: &str) -> Option<&SkyMap> {
        self.maps.as_ref()?.get(name)
    }

    /// The names of the sky maps, in alphabetical order.
    pub fn map_names(&self) -> impl Iterator<Item = &str> {
        self.maps.iter().flat_map(|maps| maps.keys()).map(String::as_str)
    }
}
