//! What flows into a pipeline: packets, and between them the orders that must keep their place among the packets.

use std::sync::Arc;

use boom_client::progress::Counts;
use tokio::sync::oneshot;

use crate::books;
use crate::source::Packet;

/// One thing that flows in.
#[derive(Debug)]
pub enum Item {
    /// A packet.
    Packet(Packet),
    /// An input begins, or begins again after its end: what was decided of it elsewhere counts from here on.
    Begin(Begin),
    /// Nothing more of an input counts.
    End(End),
}

/// The beginning of an input.
#[derive(Debug)]
pub struct Begin {
    /// Which.
    pub source: Arc<str>,
    /// Packets of this assignment count, and no others.
    pub assignment: u64,
    /// How far it has been decided, and its books, if something of it has.
    pub decided: Option<(u64, Vec<books::Partition>)>,
    /// What this producer has counted of its replay before, if it is of one.
    pub counts: Counts,
}

/// The end of an input.
#[derive(Debug)]
pub struct End {
    /// Which.
    pub source: Arc<str>,
    /// Told when all that came of it before is committed, or never will be.
    pub done: oneshot::Sender<()>,
}

impl From<Packet> for Item {
    fn from(packet: Packet) -> Self {
        Self::Packet(packet)
    }
}
