//! What the code must not know: stages name no survey, the pure crates touch neither clock, disk, net nor runtime.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use boom_sky::survey::SURVEYS;
use boom_tests::shared::repository;

/// What a pure crate does not use: other crates, and what of the standard library reaches outside.
const IMPURE_CRATES: [&str; 5] = ["tokio", "tonic", "rdkafka", "tracing", "mongodb"];
const IMPURE_STD: [&str; 5] = ["SystemTime", "Instant", "fs", "net", "process"];

/// The Rust files at or below a path, without those that hold tests only.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.unwrap().path()) {
        let stem = entry.file_stem().unwrap();
        if entry.is_dir() && stem != "tests" {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            found.push(entry);
        }
    }
    found
}

/// The numbered lines of a file before its test module, which stands last.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].lines().enumerate().map(|(number, line)| (number + 1, line))
}

/// Every line of the sources below `paths` that `is_wrong` complains about.
fn complaints(paths: &[&str], is_wrong: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut read = 0;
    for path in paths.iter().flat_map(|path| sources(&repository().join(path))) {
        let text = fs::read_to_string(&path).unwrap();
        read += 1;
        for (number, line) in lines(&text) {
            found.extend(is_wrong(line).map(|what| format!("{}:{number}: {what}: {}", path.display(), line.trim())));
        }
    }
    assert!(read >= paths.len(), "there are sources to look at");
    found
}

/// The identifiers of a line of code; of a comment, none.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

#[test]
fn the_stages_name_no_survey() {
    let names: Vec<String> = SURVEYS.iter().map(|survey| survey.name.to_lowercase()).collect();
    let paths = ["node/src/stage", "node/src/pipeline", "node/src/store", "node/src/sink", "node/store/src/documents"];
    let found = complaints(&paths, |line| {
        let line = line.to_lowercase();
        names.iter().find(|name| line.contains(name.as_str())).cloned()
    });
    assert!(found.is_empty(), "a survey is data, and stages do not know which there are:\n{}", found.join("\n"));
}

#[test]
fn the_pure_crates_use_no_clock_disk_net_or_runtime() {
    let found = complaints(&["coordinator/plan/src", "node/sky/src", "node/filter/src"], |line| {
        let impure = |name: &&str| IMPURE_CRATES.contains(name) || IMPURE_STD.contains(name);
        let code = line.split("//").next().unwrap_or_default();
        let reaches = code.contains("::") || code.contains("use ");
        identifiers(line).find(impure).filter(|_| reaches).map(str::to_owned)
    });
    assert!(found.is_empty(), "pure crates decide, shells act:\n{}", found.join("\n"));
}

#[test]
fn the_pure_crates_depend_on_no_runtime() {
    for path in ["coordinator/plan/Cargo.toml", "node/sky/Cargo.toml", "node/filter/Cargo.toml"] {
        let text = fs::read_to_string(repository().join(path)).unwrap();
        let section = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        for line in section.lines() {
            let name = line.split([' ', '=', '.']).next().unwrap();
            assert!(!IMPURE_CRATES.contains(&name), "{path} depends on {name}");
        }
    }
}

#[test]
fn a_violation_would_be_found() {
    let line = "    let now = std::time::Instant::now(); // tokio";
    assert_eq!(identifiers(line).filter(|name| IMPURE_STD.contains(name)).count(), 1);
    assert!(!identifiers(line).any(|name| name == "tokio"), "comments may name things");
    assert_eq!(lines("a\n#[cfg(test)]\nmod tests {\nb\n}\n").count(), 1);
    assert!(sources(&repository().join("node/src/stage")).len() > 3);
}
