//! Where packets come from: the port, and its adapters.
//!
//! A source pushes packets in a fixed order, numbered from 0 within each `source` name, so that a second run over the same input gives every
//! packet the same origin. It decodes nothing.

pub mod files;
pub mod kafka;
pub mod simulated;
pub mod simulator;

use std::ops::ControlFlow;
use std::sync::Arc;

use boom_sky::alert::Origin;

/// One packet as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Name of the input: a path, `-`, or the simulator.
    pub source: Arc<str>,
    /// Which assignment of the input it was read for; 0 where inputs do not come and go.
    pub assignment: u64,
    /// Its place in the input.
    pub offset: u64,
    /// What a person would call it: a file's name, an archive's member.
    pub name: String,
    /// When the broker took it, milliseconds since 1970; of an input that has no such time nothing.
    pub timestamp: Option<i64>,
    /// Its bytes, or as much of them as is kept.
    pub bytes: Vec<u8>,
    /// Of a dead letter that somebody sent once more: where it came from first.
    pub retry_of: Option<Origin>,
    /// What the source itself found wrong with it; it then goes to the dead letters as it is.
    pub fault: Option<Fault>,
}

/// What is wrong with a packet before anybody looked inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A short, bounded name for counters.
    pub reason: &'static str,
    /// What, where, and what to do.
    pub message: String,
}

/// Why a source could not go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An input that is not there, can not be read, or holds nothing.
    #[error("the input {path} {problem}")]
    Input {
        /// Which.
        path: String,
        /// What is the matter, and what to do.
        problem: String,
    },
    /// Kafka can not be read, and waiting would not help.
    #[error("Kafka can not be read: {0}")]
    Kafka(String),
}

/// Gives packets until its input ends or `emit` breaks. Blocking: it runs on a thread of its own.
pub trait Source: Send {
    /// Pushes every packet, in order.
    ///
    /// # Errors
    /// The input can not be read at all; what is wrong with one packet is that packet's fault.
    fn run(&mut self, emit: &mut dyn FnMut(Packet) -> ControlFlow<()>) -> Result<(), SourceError>;

    /// What tells this input from every other, for an output that belongs to it.
    ///
    /// # Errors
    /// The input can not be read.
    fn identity(&self) -> Result<Vec<String>, SourceError>;

    /// How many packets there will be, when that is known beforehand.
    fn expected(&self) -> Option<u64> {
        None
    }
}
