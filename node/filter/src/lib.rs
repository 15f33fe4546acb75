//! The filter language of the broker: MongoDB aggregation pipelines over one alert document, compiled once and evaluated in process.
//!
//! [`Program::parse`] gives a compiled pipeline or *all* of its problems; [`FilterSet`] evaluates many programs on one alert with MongoDB's
//! answer, in microseconds, within a [`Budget`]. Pure: no clock (the alert's time is an argument), no randomness, no file, no log.
#![forbid(unsafe_code)]

mod all;
mod bits;
mod calendar;
mod check;
mod compare;
mod decimal;
mod dialect;
mod eval;
mod expr;
mod file;
mod gate;
mod introsort;
mod lanes;
mod language;
mod many;
mod moc;
mod mold;
mod number;
mod number_text;
mod parse;
mod pcre;
mod plan;
mod program;
mod project;
mod query;
mod raw;
mod reads;
mod redact;
mod scan;
mod share;
mod stage;
mod texts;
mod value;
mod view;
mod write;
mod zone;

pub use dialect::Dialect;
pub use eval::{Budget, EvalError, Fault};
pub use file::FilterFile;
pub use language::{Arguments, Entry, Language, json_schema, language};
pub use moc::{SkyMap, SkyMapError};
pub use parse::Problem;
pub use parse::paths::ReadPath;
pub use program::{Program, Rules};
pub use reads::Reads;
pub use share::{FilterSet, Outcome, Scratch};
