//! Who owns which partition, and how many workers each node gives each stage: the decisions of the control plane, and the state machines
//! of coordinator and node that carry them through.
//!
//! Pure: facts and the time come in as arguments, decisions with their reasons come out. No clock, network, disk, log, thread, async
//! runtime or randomness; ordered maps only, so that the same input always gives the same answer. The shells do what the actions say.
#![forbid(unsafe_code)]

pub mod assign;
pub mod audit;
pub mod coordinator;
pub mod error;
pub mod facts;
pub mod fleet;
pub mod handover;
pub mod id;
pub mod lease;
pub mod message;
pub mod node;
pub mod orders;
pub mod plan;
pub mod quota;
pub mod reason;
pub mod reconcile;
pub mod replay;
pub mod scale;
pub mod share;
pub mod time;
pub mod topics;

pub use error::Error;
