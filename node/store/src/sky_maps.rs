//! Sky maps in a directory: their bytes by name. What the bytes say is read by others.

use std::path::{Path, PathBuf};

/// What the files of sky maps end in: FITS, ASCII, JSON.
const EXTENSIONS: [&str; 3] = ["fits", "txt", "json"];
/// A directory with more maps than this is a mistake.
const MAX_MAPS: usize = 1000;

/// A sky map's name (its file without the ending), what people call its file, and the file's bytes.
pub type NamedMap = (String, String, Vec<u8>);

/// The sky maps of a directory in the order of their names; other files are left alone. None may have more bytes than `max_bytes`.
///
/// # Errors
/// All that is wrong with them, each with its file.
pub fn read(directory: &Path, max_bytes: usize) -> Result<Vec<NamedMap>, Vec<String>> {
    let shown = directory.display();
    let paths = paths(directory).map_err(|error| vec![format!("the sky maps {shown} can not be read: {error}")])?;
    if paths.is_empty() {
        return Err(vec![format!("the sky maps {shown}: there is no .fits, .txt or .json file")]);
    }
    if paths.len() > MAX_MAPS {
        return Err(vec![format!("the sky maps {shown}: there are {}, at most {MAX_MAPS} are possible", paths.len())]);
    }
    let (mut maps, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        match bytes(&path, max_bytes) {
            Ok(bytes) => maps.push((name, path.display().to_string(), bytes)),
            Err(problem) => problems.push(format!("{}: {problem}", path.display())),
        }
    }
    if problems.is_empty() { Ok(maps) } else { Err(problems) }
}

fn paths(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn bytes(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("the sky map can not be read: {error}");
    let size = path.metadata().map_err(unreadable)?.len();
    if size > max_bytes as u64 {
        return Err(format!("the sky map has {size} bytes, at most {max_bytes} are possible"));
    }
    std::fs::read(path).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_named_by_its_file_and_every_problem_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
        let none = read(directory.path(), 10).unwrap_err();
        assert!(none[0].contains("no .fits, .txt or .json"), "{none:?}");
        write("footprint.txt", b"3/1");
        write("GW170817.FITS", b"SIMPLE");
        write("notes.md", b"a file of another kind");
        let maps = read(directory.path(), 10).unwrap();
        let names: Vec<&str> = maps.iter().map(|map| map.0.as_str()).collect();
        assert_eq!(names, ["GW170817", "footprint"]);
        assert_eq!(maps[1].2, b"3/1");
        write("large.json", &[b' '; 11]);
        let problems = read(directory.path(), 10).unwrap_err();
        assert!(problems[0].contains("large.json") && problems[0].contains("11 bytes, at most 10"), "{problems:?}");
        let gone = read(&directory.path().join("gone"), 10).unwrap_err();
        assert!(gone[0].contains("gone"), "{gone:?}");
    }
}
