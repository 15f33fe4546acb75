//! Ingest: packets to alerts. What can not be decoded becomes a dead letter with its bytes and the reason.

use std::sync::Arc;

use boom_sky::alert::Origin;
use boom_sky::schema::Decoder;

use super::{DeadLetter, Received};
use crate::source::Packet;

/// What a batch of packets gave.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The alerts, in the packets' order.
    pub received: Vec<Received>,
    /// What gave none.
    pub dead: Vec<DeadLetter>,
}

/// Decodes a batch.
pub fn decode(decoder: &Decoder, packets: Vec<Packet>) -> Decoded {
    let mut decoded = Decoded::default();
    for packet in packets {
        let Packet { source, offset, name, bytes, fault, .. } = packet;
        let origin = |record| Origin { source: Arc::clone(&source), partition: 0, offset, record };
        if let Some(fault) = fault {
            decoded.dead.push(DeadLetter {
                origin: origin(0),
                name,
                survey: None,
                stage: "source",
                reason: fault.reason,
                message: fault.message,
                bytes: Arc::from(bytes),
            });
            continue;
        }
        for (record, outcome) in (0..).zip(decoder.decode(&bytes)) {
            match outcome {
                Ok(alert) => decoded.received.push(Received { alert, origin: origin(record) }),
                Err(undecoded) => decoded.dead.push(DeadLetter {
                    origin: origin(record),
                    name: name.clone(),
                    survey: undecoded.survey,
                    stage: "ingest",
                    reason: undecoded.error.reason(),
                    message: format!("{name}: {}", undecoded.error),
                    bytes: Arc::from(bytes.as_slice()),
                }),
            }
        }
    }
    decoded
}
