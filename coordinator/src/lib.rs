//! The coordinator's shell: what carries out the decisions of boom-plan. The election and the plan's store, the control loop, the services
//! for nodes and operators, the topic lists, what monitoring asks.
//!
//! No decisions about the fleet are made here.
#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod election;
mod enrolment;
mod error;
pub mod events;
pub mod http;
pub mod leader;
pub mod metrics;
mod run;
pub mod service;
pub mod store;
pub mod topics;

pub use error::Error;
pub use run::{Addresses, run};
