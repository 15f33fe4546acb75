//! The SDK: what a program needs that talks to a BOOM cluster.
//!
//! [`Cluster`] asks the coordinators and gives orders; [`results`] reads what passes the filters; [`deadletters`] and [`progress`] are what
//! nodes write beside it. How the cluster's parts are reached is here once, for the programs of the cluster itself too; nothing here decides
//! anything for it.
#![forbid(unsafe_code)]

pub mod channel;
pub mod control;
pub mod deadletters;
pub mod kafka;
pub mod produce;
#[cfg(feature = "program")]
pub mod program;
pub mod progress;
pub mod records;
pub mod results;
mod route;
pub mod secret;
pub mod settings;
mod topics;

pub use channel::Cluster;
