//! The SDK: what a program needs that talks to a BOOM cluster.
//!
//! How the cluster's parts are reached is here once, for the programs of the cluster itself too; nothing here decides anything for it.
#![forbid(unsafe_code)]

pub mod kafka;
pub mod secret;
pub mod settings;
