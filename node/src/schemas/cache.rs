//! Schemas on disk: `ID.json`, each whole or not there. What another registry gave is not taken: its ids mean something else.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boom_sky::schema::decoder::SchemaDocuments;
use serde::{Deserialize, Serialize};

use super::registry::{Error, MAX_BYTES};

/// The directory, and whose schemas are in it.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    directory: Arc<Path>,
    registry: Arc<str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    registry: String,
    documents: SchemaDocuments,
}

impl Cache {
    pub(super) fn open(directory: PathBuf, registry: String) -> Result<Self, Error> {
        let made = fs::create_dir_all(&directory);
        made.map_err(|source| Error::Directory { path: directory.clone(), source })?;
        Ok(Self { directory: directory.into(), registry: registry.into() })
    }

    /// The schema, if it is there. What can not be read is as good as not there: the registry has it.
    pub(super) async fn read(&self, id: u32) -> Option<SchemaDocuments> {
        let (cache, path) = (self.clone(), self.path(id));
        let read =
            tokio::task::spawn_blocking(move || cache.take(id)).await.unwrap_or_else(|e| Err(io::Error::other(e)));
        read.unwrap_or_else(|error| {
            tracing::warn!("the schema {} can not be read, the registry is asked: {error}", path.display());
            None
        })
    }

    /// Keeps a schema. If the disk does not take it, the next start asks the registry again.
    pub(super) async fn write(&self, id: u32, documents: SchemaDocuments) {
        let (cache, path) = (self.clone(), self.path(id));
        let put = tokio::task::spawn_blocking(move || cache.put(id, documents)).await;
        if let Err(error) = put.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!("the schema {} can not be kept, the next start needs the registry: {error}", path.display());
        }
    }

    fn path(&self, id: u32) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn take(&self, id: u32) -> io::Result<Option<SchemaDocuments>> {
        let file = match File::open(self.path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut text = String::new();
        // Quoting may double what the registry gave.
        file.take(2 * MAX_BYTES as u64 + 4096).read_to_string(&mut text)?;
        let entry: Entry = serde_json::from_str(&text)?;
        Ok((*entry.registry == *self.registry).then_some(entry.documents))
    }

    fn put(&self, id: u32, documents: SchemaDocuments) -> io::Result<()> {
        let entry = Entry { registry: self.registry.as_ref().to_owned(), documents };
        let new = self.directory.join(format!("{id}.json.{}.new", std::process::id()));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&entry)?)?;
        file.sync_all()?;
        fs::rename(&new, self.path(id))?;
        File::open(&self.directory)?.sync_all()
    }
}
