//! Ingest: packets to alerts. What can not be decoded becomes a dead letter with its bytes and the reason.

use std::sync::Arc;

use boom_sky::alert::{Alert, Origin};
use boom_sky::schema::{Decoder, Undecoded};

use super::{DeadLetter, Problem, Received};
use crate::compute::unpanicked;
use crate::source::{Fault, Packet};

/// What a batch of packets gave.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The alerts, in the packets' order.
    pub received: Vec<Received>,
    /// What gave none.
    pub dead: Vec<DeadLetter>,
}

/// Decodes a batch.
pub fn decode(decoder: &Decoder, packets: &[Packet]) -> Decoded {
    let mut decoded = Decoded::default();
    for packet in packets {
        if let Some(Fault { reason, message }) = &packet.fault {
            let problem = Problem { stage: "source", reason, message: message.clone() };
            decoded.dead.push(DeadLetter::new(packet, 0, None, problem));
            continue;
        }
        let outcomes = match unpanicked(|| decoder.decode(&packet.bytes)) {
            Ok(outcomes) => outcomes,
            Err(why) => {
                tracing::error!(packet = %packet.name, "the packet is a dead letter: {why}");
                let problem = Problem::of(&packet.name, "ingest", "defect", why);
                decoded.dead.push(DeadLetter::new(packet, 0, None, problem));
                continue;
            }
        };
        for (record, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(alert) => decoded.received.push(received(packet, record, alert)),
                Err(Undecoded { error, survey }) => {
                    let problem = Problem::of(&packet.name, "ingest", error.reason(), error);
                    decoded.dead.push(DeadLetter::new(packet, record, survey, problem));
                }
            }
        }
    }
    decoded
}

/// The alert that a record of a packet gave.
pub fn received(packet: &Packet, record: u32, alert: Alert) -> Received {
    let origin = Origin { source: Arc::clone(&packet.source), partition: 0, offset: packet.offset, record };
    let retry_of = packet.retry_of.clone().filter(|first| first.record == record);
    Received { alert, origin, retry_of }
}
