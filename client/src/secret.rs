//! Passwords and tokens: where they are, never what they are. They are read where they are used and kept nowhere.

use std::path::PathBuf;

use serde::Deserialize;

/// Where a secret is. In a configuration: `{ file = "…" }` or `{ variable = "…" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Secret {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

/// Why a secret could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} can not be read from {place}: {problem}")]
pub struct Unreadable {
    /// What it is for.
    pub what: String,
    /// The file or variable.
    pub place: String,
    /// Why.
    pub problem: String,
}

impl Secret {
    /// The secret itself. `what` it is for, for the error.
    ///
    /// # Errors
    /// It is not there, is no text, or is empty.
    pub fn read(&self, what: &str) -> Result<String, Unreadable> {
        let (place, read) = match self {
            Self::File(path) => {
                (path.display().to_string(), std::fs::read_to_string(path).map_err(|error| error.to_string()))
            }
            Self::Variable(name) => {
                // The error of `var` shows a value that is no text.
                let value = std::env::var_os(name).ok_or_else(|| "it is not set".to_owned());
                (name.clone(), value.and_then(|value| value.into_string().map_err(|_| "it is no text".to_owned())))
            }
        };
        let failed = |problem| Unreadable { what: what.to_owned(), place: place.clone(), problem };
        let line = read.map_err(failed)?.lines().next().unwrap_or_default().trim_end().to_owned();
        if line.is_empty() { Err(failed("it is empty".to_owned())) } else { Ok(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_first_line_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\nmore").unwrap();
        assert_eq!(Secret::File(file.path().to_owned()).read("the token").unwrap(), "s3cret");
        std::fs::write(file.path(), "").unwrap();
        let error = Secret::File(file.path().to_owned()).read("the token").unwrap_err().to_string();
        assert!(error.starts_with("the token can not be read") && error.ends_with("it is empty"), "{error}");
    }

    #[test]
    fn one_that_is_not_there_is_an_error_that_says_where() {
        let error = Secret::Variable("BOOM_NO_SUCH_VARIABLE".to_owned()).read("the password").unwrap_err().to_string();
        assert!(error.contains("BOOM_NO_SUCH_VARIABLE: it is not set"), "{error}");
    }
}
