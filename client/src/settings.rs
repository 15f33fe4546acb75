//! Configuration of every program: commented defaults, a TOML file over them, the environment over both; all problems at once.
//!
//! What the keys mean is the matter of the program; nothing here opens what they name.

use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

/// Everything that is wrong with a configuration, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration can not be used:\n  {}", .0.join("\n  "))]
pub struct Problems(pub Vec<String>);

/// A configuration that is being read, section by section.
#[derive(Debug)]
pub struct Settings {
    table: Table,
    known: Vec<String>,
    /// What was found wrong so far; a program adds to it what it finds itself.
    pub problems: Vec<String>,
}

impl Settings {
    /// Puts the layers together: `defaults` (TOML), a file (where it stands and its text), and the variables that begin with `prefix`, whose
    /// names go on as `SECTION__KEY`.
    ///
    /// # Panics
    /// The defaults are not TOML.
    pub fn layered(
        defaults: &str,
        file: Option<(&Path, &str)>,
        prefix: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut table: Table = defaults.parse().expect("the defaults are TOML");
        let known = table.keys().cloned().collect();
        let mut problems = Vec::new();
        if let Some((path, text)) = file {
            match text.parse::<Table>() {
                Ok(own) => overlay(&mut table, own),
                Err(error) => problems.push(format!("{}: {}", path.display(), error.to_string().trim_end())),
            }
        }
        for (name, text) in environment {
            if let Some(path) = name.strip_prefix(prefix) {
                let value = format!("x = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("x"));
                let path = path.to_lowercase();
                set(&mut table, &path.split("__").collect::<Vec<_>>(), value.unwrap_or(Value::String(text)));
            }
        }
        Self { table, known, problems }
    }

    /// Takes one section; unknown keys and wrong types are problems. A section that is not there at all gives nothing.
    pub fn section<T: for<'de> Deserialize<'de>>(&mut self, name: &str) -> Option<T> {
        let value = self.table.remove(name)?;
        let problems = &mut self.problems;
        let mut unknown = |path: serde_ignored::Path<'_>| problems.push(format!("`{name}.{path}` is not known"));
        match serde_ignored::deserialize(value, &mut unknown) {
            Ok(read) => Some(read),
            Err(error) => {
                self.problems.push(format!("`{name}`: {}", error.to_string().trim_end()));
                None
            }
        }
    }

    /// The problem of a number that is out of its range, if it is.
    pub fn range<T: PartialOrd + std::fmt::Display>(&mut self, name: &str, value: T, low: T, high: T) {
        if value < low || value > high {
            self.problems.push(format!("`{name}` is {value}: {low} to {high} is possible"));
        }
    }

    /// All sections are taken: what is left is not known.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish(mut self) -> Result<(), Problems> {
        let known = self.known.join(", ");
        self.problems.extend(self.table.keys().map(|key| format!("`{key}` is not known: {known} are")));
        if self.problems.is_empty() { Ok(()) } else { Err(Problems(self.problems)) }
    }
}

fn overlay(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            // Where a secret is, is one thing: a file is not added to a variable.
            (Some(Value::Table(base)), Value::Table(over)) if !is_secret(&over) => overlay(base, over),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

fn is_secret(table: &Table) -> bool {
    table.len() == 1 && ["file", "variable"].iter().any(|key| table.contains_key(*key))
}

fn set(table: &mut Table, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return;
    }
    let inner = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        set(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Queue {
        length: u32,
        name: String,
    }

    const DEFAULTS: &str = "[queue]\nlength = 8\nname = 'a'\n";

    fn load(text: &str, environment: &[(&str, &str)]) -> (Option<Queue>, Result<(), Problems>) {
        let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Settings::layered(DEFAULTS, Some((Path::new("boom.toml"), text)), "BOOM_TEST__", pairs);
        let queue = settings.section::<Queue>("queue");
        if let Some(queue) = &queue {
            settings.range("queue.length", queue.length, 1, 100);
        }
        (queue, settings.finish())
    }

    #[test]
    fn a_file_replaces_defaults_and_the_environment_replaces_both() {
        let variables = [("BOOM_TEST__QUEUE__LENGTH", "16"), ("BOOM_TEST__QUEUE__NAME", "b c"), ("HOME", "/")];
        let (queue, ended) = load("[queue]\nlength = 9", &variables);
        assert_eq!((queue.unwrap(), ended), (Queue { length: 16, name: "b c".to_owned() }, Ok(())));
        assert_eq!(load("[queue]\nlength = 9", &[]).0.unwrap().length, 9);
    }

    #[test]
    fn a_file_with_a_secret_takes_the_place_of_a_variable() {
        let (defaults, own) = ("[a]\nuri = { variable = 'X' }", "[a]\nuri = { file = 'x' }");
        let mut settings = Settings::layered(defaults, Some((Path::new("boom.toml"), own)), "NONE__", [].into_iter());
        let section: Option<Table> = settings.section("a");
        assert_eq!(section, own.parse::<Table>().unwrap()["a"].as_table().cloned());
    }

    #[test]
    fn all_problems_are_listed_at_once_with_their_place() {
        let (_, ended) = load("colour = 1\n[queue]\nlength = 0\nspeed = 3", &[("BOOM_TEST__QUEUE__FAST", "true")]);
        let all = ended.unwrap_err().0.join("\n");
        for part in ["`colour` is not known: queue", "`queue.speed`", "`queue.length` is 0: 1 to 100", "`queue.fast`"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_named_with_its_line() {
        let Problems(problems) = load("[queue", &[]).1.unwrap_err();
        assert!(problems[0].contains("boom.toml") && problems[0].contains("line 1"), "{problems:?}");
    }
}
