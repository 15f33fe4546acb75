//! What a node has on its own disk: catalog index files, writer schemas, sky maps, and (without a database) the documents.
//!
//! Nothing here decides anything about an alert; it reads and writes. Unsafe code stands in `catalog/map.rs` alone.
#![deny(unsafe_code)]

pub mod catalog;
pub mod documents;
pub mod schemas;
pub mod sky_maps;
