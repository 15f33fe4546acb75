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
