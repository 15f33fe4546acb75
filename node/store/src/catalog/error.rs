//! What can go wrong with a catalog file and with an import. No formatting of tables, no logging.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can go wrong when catalog files are written, opened and matched.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The system refused a file operation.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is none of ours.
    #[error("{path} is not a catalog file; make one with `boomctl catalog import`")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a format that this program does not read.
    #[error("{path} has catalog format {found}, this program reads {supported}; import the catalog again")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The one that is read.
        supported: u32,
    },
    /// The file is a catalog but not whole.
    #[error("{path} is damaged ({what}); import the catalog again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Two files of one directory hold catalogs of the same name.
    #[error("{first} and {second} both hold the catalog {name}; remove one of them")]
    Twice {
        /// The name.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A rule names a column that the catalog has not, or a redshift column that holds no numbers.
    #[error("catalog {catalog} has no {wanted} {column:?}{hint}")]
    Column {
        /// The catalog.
        catalog: String,
        /// What was looked for: a column, a column of numbers.
        wanted: &'static str,
        /// The name that was looked for.
        column: String,
        /// The nearest name and all names.
        hint: String,
    },
    /// A rule cannot be followed.
    #[error("rule for catalog {catalog}: {what}")]
    Rule {
        /// The catalog.
        catalog: String,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// A catalog cannot be written as asked.
    #[error("catalog {name:?}: {what}")]
    Spec {
        /// The name asked for.
        name: String,
        /// What is wrong and what is allowed.
        what: String,
    },
}

impl CatalogError {
    /// For `map_err` after a file operation.
    pub(super) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// A damaged file.
    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// Whether the same call may succeed later with nothing changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::Interrupted)
    }
}

/// What can go wrong when a table is imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The table could not be read from disk.
    #[error("reading {path}: {source}")]
    Read {
        /// The table.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no table that is read here, or a broken one.
    #[error("{path}: {what}")]
    Table {
        /// The table.
        path: PathBuf,
        /// What is wrong, where in it.
        what: String,
    },
    /// A named column does not exist.
    #[error("{path} has no column {column:?}{hint}")]
    Column {
        /// The table.
        path: PathBuf,
        /// The name asked for.
        column: String,
        /// The nearest name and all names.
        hint: String,
    },
    /// The columns of the position were not named and are not recognised.
    #[error(
        "{path}: cannot tell which columns are the position; name them with --ra and --dec (decimal degrees); it has: {columns}"
    )]
    Position {
        /// The table.
        path: PathBuf,
        /// All names.
        columns: String,
    },
    /// No row has a position.
    #[error("{path}: none of its {read} rows has a possible position in {ra}, {dec} (decimal degrees)")]
    NoRows {
        /// The table.
        path: PathBuf,
        /// Rows read.
        read: u64,
        /// The column taken for right ascension.
        ra: String,
        /// The column taken for declination.
        dec: String,
    },
    /// The catalog could not be written.
    #[error(transparent)]
    Write(#[from] CatalogError),
}

impl ImportError {
    /// Whether the same call may succeed later with nothing changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.kind() == io::ErrorKind::Interrupted,
            Self::Write(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// A table that is broken or not understood.
    pub(super) fn table(path: &Path, what: impl ToString) -> Self {
        Self::Table { path: path.to_owned(), what: what.to_string() }
    }
}

/// ` (did you mean "x"?); it has: a, b, c`, for messages about a name that is not there.
pub(super) fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let lower = wanted.to_lowercase();
    let nearest = names.clone().map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name));
    let nearest = nearest.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score > 0.7);
    let nearest = nearest.map_or(String::new(), |(_, name)| format!(" (did you mean {name:?}?)"));
    format!("{nearest}; it has: {}", names.collect::<Vec<_>>().join(", "))
}
