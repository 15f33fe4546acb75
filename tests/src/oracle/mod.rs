//! The oracle: random pipelines on random documents, answered by the filter language and by a real MongoDB, and where the two differ.
//!
//! `run` compares and counts; the generator is `documents`, `expression` (by the table in `operators`), `query` and `stages`; `shrink` makes
//! of a disagreement the least one that is left; `intended` lists the differences that are meant.

mod alerts;
mod answer;
mod constants;
mod documents;
mod expression;
mod grammar;
mod intended;
mod json;
mod operators;
mod paths;
mod query;
mod random;
mod run;
mod shrink;
mod stages;

pub use alerts::alerts;
pub use answer::{Answer, Pair};
pub use grammar::Grammar;
pub use intended::{INTENDED, Intended};
pub use run::{Report, Settings, run};
