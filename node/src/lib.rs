//! The BOOM node: the stages that every alert goes through, the ports to the outside with their adapters, and the standalone job.
//!
//! The stages name no survey; a survey is a descriptor in `boom_sky`. What is outside (files, stores, runtimes) is behind a port.
#![forbid(unsafe_code)]

pub mod books;
pub mod catalogs;
pub mod cluster;
pub mod compute;
pub mod config;
pub mod fair;
pub mod filters;
pub mod handover;
pub mod pipeline;
pub mod pool;
pub mod positions;
pub mod schemas;
pub mod scorer;
pub mod setup;
pub mod shares;
pub mod simulated_sky;
pub mod sink;
pub mod source;
pub mod stage;
pub mod standalone;
pub mod stats;
pub mod store;
pub mod summary;
pub mod tally;
