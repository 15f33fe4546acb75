//! Writer schemas in a directory: one folder a version, its documents inside, as Rubin publishes them.

use std::collections::HashMap;
use std::path::Path;

use boom_sky::schema::decoder::SchemaDocuments;

/// The schemas of a directory by their Confluent id: major * 100 + minor.
///
/// # Errors
/// The directory can not be read, or holds no folder of a version.
pub fn load(directory: &Path) -> Result<HashMap<u32, SchemaDocuments>, String> {
    let unreadable = |path: &Path, error: std::io::Error| format!("the schemas {} can not be read: {error}", path.display());
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(directory).map_err(|error| unreadable(directory, error))? {
        let folder = entry.map_err(|error| unreadable(directory, error))?.path();
        let Some(id) = folder.file_name().and_then(|name| id(name.to_str()?)) else { continue };
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(|error| unreadable(&folder, error))?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "avsc"));
        files.sort();
        let documents: Result<Vec<_>, _> =
            files.iter().map(|file| std::fs::read_to_string(file).map_err(|error| unreadable(file, error))).collect();
        found.insert(id, documents?);
    }
    if found.is_empty() {
        return Err(format!("the schemas {} hold no folder of a version (9.0, 10.0, …)", directory.display()));
    }
    Ok(found)
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
