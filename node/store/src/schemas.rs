//! Writer schemas in a directory: one folder a version, its documents inside, as Rubin publishes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use boom_sky::schema::decoder::SchemaDocuments;

/// The schemas of a directory by their Confluent id (major * 100 + minor): its folders of versions, or those of its folders.
///
/// # Errors
/// The directory can not be read, or holds no folder of a version.
pub fn load(directory: &Path) -> Result<HashMap<u32, SchemaDocuments>, String> {
    let mut found = HashMap::new();
    for folder in folders(directory)? {
        match folder.file_name().and_then(|name| id(name.to_str()?)) {
            Some(id) => drop(found.insert(id, documents(&folder)?)),
            None => {
                for inner in folders(&folder)? {
                    if let Some(id) = inner.file_name().and_then(|name| id(name.to_str()?)) {
                        found.insert(id, documents(&inner)?);
                    }
                }
            }
        }
    }
    if found.is_empty() {
        return Err(format!("the schemas {} hold no folder of a version (9.0, 10.0, …)", directory.display()));
    }
    Ok(found)
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> String + use<'_> {
    move |error| format!("the schemas {} can not be read: {error}", path.display())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let read = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>());
    let mut paths = read.map_err(unreadable(directory))?;
    paths.sort();
    Ok(paths)
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>, String> {
    Ok(entries(directory)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn documents(folder: &Path) -> Result<SchemaDocuments, String> {
    let files = entries(folder)?.into_iter();
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "avsc"));
    files.map(|file| std::fs::read_to_string(&file).map_err(unreadable(&file))).collect()
}

/// The id of a version's folder.
fn id(name: &str) -> Option<u32> {
    let (major, minor) = name.split_once('.')?;
    major.parse::<u32>().ok()?.checked_mul(100)?.checked_add(minor.parse().ok()?)
}

/// The ids, for people.
pub fn versions(found: &HashMap<u32, SchemaDocuments>) -> String {
    let mut ids: Vec<_> = found.keys().copied().collect();
    ids.sort_unstable();
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    format!("ids {}", ids.join(", "))
}
