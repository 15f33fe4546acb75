//! Filters from files: one JSON file each, named by it; the built-in ones where no directory is given. Filters that change while alerts flow, from
//! files or from the collection `filters`: `watch`.
//!
//! A file holds a pipeline, or a document `{survey, permissions, pipeline}`. Every problem of every file is found before a run starts.

mod collection;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boom_filter::{Dialect, FilterFile, Rules, SkyMap};
use boom_sky::survey::{SURVEYS, Survey};
use boom_store::sky_maps;

use crate::config::Filters as Settings;
use crate::stage::filter::Filter;

pub use watch::{Place, Watch};

/// The filters that show what filters are for.
const BUILT_IN: [(&str, &str); 3] = [
    ("young_rising_near_galaxy", include_str!("../../deploy/filters/young_rising_near_galaxy.json")),
    ("variable_outburst", include_str!("../../deploy/filters/variable_outburst.json")),
    ("fast_mover", include_str!("../../deploy/filters/fast_mover.json")),
];

/// A filter file larger than this is a mistake.
const MAX_BYTES: u64 = 4 << 20;

/// Everything that is wrong with the filters, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the filters can not be used:\n  {}", .0.join("\n  "))]
pub struct Problems(pub Vec<String>);

/// The filters of a directory, in the order of their names; the built-in ones without a directory.
///
/// # Errors
/// All that is wrong with them, each with its file and the path into its JSON.
pub fn load(directory: Option<&Path>, settings: &Settings) -> Result<Vec<Filter>, Problems> {
    let dialect = dialect(settings).map_err(Problems)?;
    let mut problems = Vec::new();
    let mut filters = Vec::new();
    let texts = match directory {
        None => built_in(),
        Some(directory) => files(directory).map_err(|problem| Problems(vec![problem]))?,
    };
    for (name, text) in texts {
        let parsed = text.map_err(|problem| vec![problem]).and_then(|text| parse(&name, &text, settings, &dialect));
        match parsed {
            Ok(filter) => filters.push(filter),
            Err(own) => problems.extend(own.into_iter().map(|problem| format!("{name}.json: {problem}"))),
        }
    }
    if problems.is_empty() { Ok(filters) } else { Err(Problems(problems)) }
}

/// The extensions that filters may use.
fn dialect(settings: &Settings) -> Result<Dialect, Vec<String>> {
    let directory = Path::new(&settings.sky_maps);
    match (settings.extensions, settings.sky_maps.is_empty()) {
        (false, _) => Ok(Dialect::default()),
        (true, true) => Dialect::with_maps([]),
        (true, false) => Dialect::with_maps(sky_maps::read(directory, SkyMap::MAX_BYTES)?),
    }
}

/// A filter's name and text, or why it has none.
type Named = (String, Result<String, String>);

fn built_in() -> Vec<Named> {
    BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), Ok((*text).to_owned()))).collect()
}

fn files(directory: &Path) -> Result<Vec<Named>, String> {
    let unreadable = |error: std::io::Error| format!("{}: can not be read: {error}", directory.display());
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(format!("{}: there is no .json file in it", directory.display()));
    }
    paths.sort();
    Ok(paths.iter().map(|path| (stem(path), read(path))).collect())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

fn read(path: &Path) -> Result<String, String> {
    let size = path.metadata().map_err(|error| format!("can not be read: {error}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("has {size} bytes, where a filter may have {MAX_BYTES}"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("can not be read: {error}"))
}

/// One filter from its text.
fn parse(name: &str, text: &str, settings: &Settings, dialect: &Dialect) -> Result<Filter, Vec<String>> {
    let surveys: Vec<&str> = SURVEYS.iter().map(|survey| survey.name).collect();
    let file = FilterFile::parse_in(text, Rules::Filter, &surveys, dialect)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    Ok(Filter {
        name: Arc::from(name),
        survey: file.survey.as_deref().and_then(Survey::by_name),
        permissions: file.permissions.unwrap_or_else(|| settings.permissions.clone()),
        program: file.program,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FILTER: &str = r#"[
        {"$match": {"$expr": {"$boom.inMoc": {"moc": "gw", "ra": "$candidate.ra", "dec": "$candidate.dec"}}}},
        {"$project": {"objectId": 1, "annotations": {"mjd": {"$boom.mjd": "$candidate.jd"}}}}
    ]"#;

    fn loaded(extensions: bool, maps: &[(&str, &str)]) -> Result<Vec<Filter>, String> {
        let directory = tempfile::tempdir().unwrap();
        let (filters, sky_maps) = (directory.path().join("filters"), directory.path().join("maps"));
        for (folder, files) in [(&filters, &[("gw_follow_up.json", FILTER)][..]), (&sky_maps, maps)] {
            std::fs::create_dir(folder).unwrap();
            files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
        }
        let mut settings = Config::load(None, std::iter::empty()).unwrap().filters;
        settings.extensions = extensions;
        settings.sky_maps = if maps.is_empty() { String::new() } else { sky_maps.display().to_string() };
        load(Some(&filters), &settings).map_err(|problems| problems.to_string())
    }

    #[test]
    fn extensions_are_refused_until_they_are_switched_on() {
        let off = loaded(false, &[]).unwrap_err();
        assert!(off.contains("gw_follow_up.json: [0].$match.$expr") && off.contains("extensions = true"), "{off}");
        let unmapped = loaded(true, &[]).unwrap_err();
        assert!(unmapped.contains("`gw` is no sky map") && unmapped.contains("sky_maps"), "{unmapped}");
        assert_eq!(loaded(true, &[("gw.txt", "0/1-4")]).unwrap().len(), 1);
    }

    #[test]
    fn a_filter_of_another_map_is_another_version() {
        let version = |map: &str| loaded(true, &[("gw.txt", map)]).unwrap()[0].version().to_owned();
        assert_eq!(version("0/1-4"), version("0/1 2 3 4"));
        assert_ne!(version("0/1-4"), version("0/1-5"));
    }

    #[test]
    fn every_problem_of_a_sky_map_names_its_file() {
        let all = loaded(
            true,
            &[("gw.txt", "0/12"), ("other.json", "{\"x\": []}"), ("same.txt", "0/1"), ("same.json", "{\"0\": [1]}")],
        );
        let all = all.unwrap_err();
        for part in ["gw.txt: ", "other.json: `x` is no order", "another sky map of the name `same`"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }
}
