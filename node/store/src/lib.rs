//! What a node keeps on its own disk: catalog index files, and (without a database) the documents.
//!
//! Nothing here decides anything about an alert; it reads and writes. Unsafe code stands in `catalog/map.rs` alone.
#![deny(unsafe_code)]

pub mod catalog;
pub mod documents;
