//! The catalogs of a directory. No matching.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::CatalogError;
use super::format::EXTENSION;
use super::open::Catalog;

/// The catalogs of a directory, by name.
#[derive(Debug, Default)]
pub struct CatalogSet {
    catalogs: BTreeMap<String, Catalog>,
}

impl CatalogSet {
    /// Opens every `*.boomcat` file of a directory; other files are left alone.
    ///
    /// # Errors
    /// When the directory cannot be read, a file cannot be opened, or two hold catalogs of one name.
    pub fn open_dir(dir: &Path) -> Result<Self, CatalogError> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(CatalogError::io("listing the catalogs of", dir))? {
            let path = entry.map_err(CatalogError::io("listing the catalogs of", dir))?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut set = Self::default();
        for path in paths {
            set.insert(Catalog::open(&path)?)?;
        }
        Ok(set)
    }

    /// Adds an opened catalog.
    ///
    /// # Errors
    /// When there is one of its name.
    pub fn insert(&mut self, catalog: Catalog) -> Result<(), CatalogError> {
        if let Some(first) = self.catalogs.get(catalog.name()) {
            let (first, second) = (first.path().to_owned(), catalog.path().to_owned());
            return Err(CatalogError::Twice { name: catalog.name().to_owned(), first, second });
        }
        self.catalogs.insert(catalog.name().to_owned(), catalog);
        Ok(())
    }

    /// The catalog of a name.
    pub fn get(&self, name: &str) -> Option<&Catalog> {
        self.catalogs.get(name)
    }

    /// All catalogs in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Catalog> {
        self.catalogs.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.catalogs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.catalogs.is_empty()
    }
}
