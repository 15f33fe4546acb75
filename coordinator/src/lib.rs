//! The coordinator's shell: what carries out the decisions of boom-plan. So far the election and the plan's store.
//!
//! No decisions about the fleet are made here.
#![forbid(unsafe_code)]

pub mod election;
pub mod store;
