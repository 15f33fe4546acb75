//! Making a store: it is made under another name and moved to its place when it is whole, so that a process that is killed in between
//! leaves nothing behind that could not be opened.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use super::{Store, StoreError};

/// Makes the store at `path` and opens it.
pub(super) fn create(path: &Path) -> Result<Store, StoreError> {
    let failed =
        |source: io::Error| StoreError::Engine { path: path.to_owned(), doing: "making it", source: source.into() };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed)?;
    // Only one process makes it; the lock goes with the handle, however the process ends.
    let directory = File::open(parent).map_err(failed)?;
    directory.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => StoreError::InUse(path.to_owned()),
        TryLockError::Error(error) => failed(error),
    })?;
    if !path.is_dir() {
        let unfinished = path.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(failed)?;
        }
        drop(Store::open_there(&unfinished, true)?);
        fs::rename(&unfinished, path).map_err(failed)?;
        directory.sync_all().map_err(failed)?;
    }
    Store::open_there(path, false)
}
