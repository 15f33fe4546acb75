//! The stages that every alert goes through, the same in standalone and in a cluster: ingest, enrich, filter, emit.
//!
//! Each is a function of a batch and of what it was built with; none names a survey, opens a file or waits.

pub mod enrich;
pub mod features;
pub mod filter;
pub mod ingest;
pub mod record;
mod sight;

use std::fmt::Display;
use std::sync::Arc;

use boom_sky::alert::{Alert, Origin};

use crate::source::Packet;

/// An alert that was decoded.
#[derive(Debug, Clone)]
pub struct Received {
    /// The alert.
    pub alert: Alert,
    /// Where it came from.
    pub origin: Origin,
    /// Where it came from when it became the dead letter that is tried once more here.
    pub retry_of: Option<Origin>,
}

/// A packet, or a record in it, that gave no alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came from.
    pub origin: Origin,
    /// What a person would call the packet.
    pub name: String,
    /// The survey, when it could be told.
    pub survey: Option<&'static str>,
    /// The stage that gave up.
    pub stage: &'static str,
    /// A short, bounded name of the reason.
    pub reason: &'static str,
    /// What, where, and what to do.
    pub message: String,
    /// The packet's bytes.
    pub bytes: Arc<[u8]>,
}

/// Why a stage gave up.
#[derive(Debug)]
pub struct Problem {
    /// The stage.
    pub stage: &'static str,
    /// A short, bounded name of the reason.
    pub reason: &'static str,
    /// What, where, and what to do.
    pub message: String,
}

impl Problem {
    /// Of the packet that a person would call so.
    pub fn of(name: &str, stage: &'static str, reason: &'static str, why: impl Display) -> Self {
        Self { stage, reason, message: format!("{name}: {why}") }
    }
}

impl DeadLetter {
    /// The dead letter of a record of a packet.
    pub fn new(packet: &Packet, record: u32, survey: Option<&'static str>, problem: Problem) -> Self {
        let origin = Origin { source: Arc::clone(&packet.source), partition: 0, offset: packet.offset, record };
        let (name, bytes) = (packet.name.clone(), Arc::from(packet.bytes.as_slice()));
        let Problem { stage, reason, message } = problem;
        Self { origin, name, survey, stage, reason, message, bytes }
    }
}
